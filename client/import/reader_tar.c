/* reader_tar.c - tar shards in WebDataset's naming, plain or compressed (gzip, bzip2, xz, zstd,
 * lz4).
 *
 * A sample is a run of members of one shard that share their path up to the first dot of the file
 * name: a/0042.jpg, a/0042.cls -> key "a/0042", members "jpg" and "cls". Members without such a
 * name (no dot, hidden, folders, links) belong to no sample. Nothing is ever unpacked to disk.
 *
 * Body: with --member EXT that member's bytes; else all of them as one msgpack map, name -> bytes,
 * in the order of the shard and in forms of fixed width:
 *
 *   de COUNT(2), then for each member: d9 SIZE(1) name, c6 SIZE(4) bytes     (sizes big-endian)
 *
 * Label: the number in member "cls", when there is one. A shard that is cut within a member is
 * refused; one cut exactly between two members cannot be told from a whole one, as tar's end mark
 * is optional.
 */
#include "buffer.h"
#include "reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TAR_MEMBERS_MAX    64  /* of one sample */
#define TAR_NAME_BYTES_MAX 255 /* of a member's name behind the dot */
#define TAR_KEY_BYTES_MAX  511
#define READ_BYTES         65536u
#define LABEL_MEMBER       "cls"
#define LABEL_BYTES_MAX    32

#define MAP_HEAD_BYTES 3
#define MSGPACK_MAP16  0xde
#define MSGPACK_STR8   0xd9
#define MSGPACK_BIN32  0xc6

struct name {
    char key[TAR_KEY_BYTES_MAX + 1];
    char member[TAR_NAME_BYTES_MAX + 1];
};

struct tar {
    struct reader base;
    const struct source *source;
    struct archive *archive;
    size_t shard_index;    /* of the open one; source->path_count behind the last */
    uint64_t bytes_before; /* of the shards that are done */
    struct name ahead;     /* the member that comes next; its bytes are not yet read */
    bool at_end;

    /* the sample being gathered */
    char key[TAR_KEY_BYTES_MAX + 1];
    char members[TAR_MEMBERS_MAX][TAR_NAME_BYTES_MAX + 1];
    unsigned member_count;
    bool chosen; /* the --member was among them */
    int32_t label;
    struct buffer body;
    struct buffer aside; /* a label that is no part of the body */
};

static const char *shard(const struct tar *t)
{
    return t->source->paths[t->shard_index];
}

static int fail_archive(const struct tar *t, struct reason *why)
{
    const char *text = archive_error_string(t->archive);

    reason_set(why, "%s: offset %" PRId64 ": %s", shard(t),
               (int64_t)archive_read_header_position(t->archive),
               text != NULL ? text : "unreadable");
    return -OHEM_DATASET;
}

static void close_shard(struct tar *t)
{
    if (t->archive != NULL)
        (void)archive_read_free(t->archive);
    t->archive = NULL;
}

/* Only these: what libarchive would hand to another program is not wanted from a stranger's file.
 */
static int open_shard(struct tar *t, struct reason *why)
{
    struct archive *a = archive_read_new();

    if (a == NULL)
        return reader_fail_memory(shard(t), why);
    t->archive = a;
    (void)archive_read_support_filter_gzip(a);
    (void)archive_read_support_filter_bzip2(a);
    (void)archive_read_support_filter_xz(a);
    (void)archive_read_support_filter_zstd(a);
    (void)archive_read_support_filter_lz4(a);
    (void)archive_read_support_format_tar(a);
    if (archive_read_open_filename(a, shard(t), READ_BYTES) != ARCHIVE_OK)
        return fail_archive(t, why);
    return 0;
}

static uint64_t file_size(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && info.st_size > 0 ? (uint64_t)info.st_size : 0;
}

static int next_shard(struct tar *t, struct reason *why)
{
    close_shard(t);
    t->bytes_before += file_size(shard(t));
    t->base.done = t->bytes_before;
    if (++t->shard_index == t->source->path_count) {
        t->at_end = true;
        return 0;
    }
    return open_shard(t, why);
}

/* Split a member's path. @return 1; 0 when it belongs to no sample; -OHEM_TOO_LARGE. */
static int split_name(const struct tar *t, const char *path, struct name *out, struct reason *why)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    const char *dot = strchr(file, '.');
    size_t key_size, member_size;

    if (dot == NULL || dot == file || dot[1] == '\0')
        return 0;
    if (strncmp(path, "./", 2) == 0 && path + 2 <= file)
        path += 2;
    key_size = (size_t)(dot - path);
    member_size = strlen(dot + 1);
    if (key_size > TAR_KEY_BYTES_MAX || member_size > TAR_NAME_BYTES_MAX) {
        reason_set(why,
                   "%s: member '%.80s...': %zu bytes before the first dot and %zu behind it; at "
                   "most %d and %d are allowed",
                   shard(t), path, key_size, member_size, TAR_KEY_BYTES_MAX, TAR_NAME_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    memcpy(out->key, path, key_size);
    out->key[key_size] = '\0';
    memcpy(out->member, dot + 1, member_size + 1);
    return 1;
}

/* Go to the next header. @return 1 at a member of a sample, 0 elsewhere, or an error. */
static int step(struct tar *t, struct reason *why)
{
    struct archive_entry *entry;
    const char *path;
    int rc = archive_read_next_header(t->archive, &entry);

    if (rc == ARCHIVE_EOF)
        return next_shard(t, why);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
        return fail_archive(t, why);
    t->base.done = t->bytes_before + (uint64_t)archive_filter_bytes(t->archive, -1);
    path = archive_entry_pathname(entry);
    if (path == NULL || archive_entry_filetype(entry) != AE_IFREG ||
        archive_entry_hardlink(entry) != NULL)
        return 0;
    return split_name(t, path, &t->ahead, why);
}

/* To the next member that belongs to a sample, or to the end. */
static int advance(struct tar *t, struct reason *why)
{
    int rc = 0;

    while (rc == 0 && !t->at_end)
        rc = step(t, why);
    return rc < 0 ? rc : 0;
}

static int fail_body(const struct tar *t, int rc, struct reason *why)
{
    if (rc == -OHEM_TOO_LARGE)
        reason_set(why, "%s: sample '%s' is over %u bytes", shard(t), t->key,
                   READER_RECORD_BYTES_MAX);
    else
        (void)reader_fail_memory(shard(t), why);
    return rc;
}

/* The bytes of the member ahead, to the end of the buffer. Its header's size is not believed. */
static int read_bytes(struct tar *t, struct buffer *to, struct reason *why)
{
    for (;;) {
        int rc = buffer_reserve(to, READ_BYTES);
        la_ssize_t got;

        if (rc != 0)
            return fail_body(t, rc, why);
        got = archive_read_data(t->archive, to->data + to->size, READ_BYTES);
        if (got < 0)
            return fail_archive(t, why);
        if (got == 0)
            return 0;
        to->size += (size_t)got;
    }
}

static int parse_label(struct tar *t, const unsigned char *text, size_t size, struct reason *why)
{
    char copy[LABEL_BYTES_MAX + 1] = "", *end;
    unsigned long value;

    if (size <= LABEL_BYTES_MAX)
        memcpy(copy, text, size);
    value = strtoul(copy, &end, 10);
    if (copy[0] < '0' || copy[0] > '9' || value > READER_LABEL_MAX || end[strspn(end, " \r\n")]) {
        reason_set(why, "%s: sample '%s': member '%s' holds no number from 0 to %d", shard(t),
                   t->key, LABEL_MEMBER, READER_LABEL_MAX);
        return -OHEM_DATASET;
    }
    t->label = (int32_t)value;
    return 0;
}

static int check_member(struct tar *t, const char *member, struct reason *why)
{
    for (unsigned i = 0; i < t->member_count; i++) {
        if (strcmp(t->members[i], member) == 0) {
            reason_set(why, "%s: sample '%s' has two members '%s'", shard(t), t->key, member);
            return -OHEM_DATASET;
        }
    }
    if (t->member_count == TAR_MEMBERS_MAX) {
        reason_set(why, "%s: sample '%s' has more than %d members", shard(t), t->key,
                   TAR_MEMBERS_MAX);
        return -OHEM_TOO_LARGE;
    }
    (void)strcpy(t->members[t->member_count++], member);
    return 0;
}

/* What stands before a member's bytes in the map; its size is set when the bytes are there. */
static int append_head(struct tar *t, const char *member, struct reason *why)
{
    const unsigned char name_head[] = {MSGPACK_STR8, (unsigned char)strlen(member)};
    const unsigned char bytes_head[] = {MSGPACK_BIN32, 0, 0, 0, 0};
    int rc = buffer_append(&t->body, name_head, sizeof name_head);

    if (rc == 0)
        rc = buffer_append(&t->body, member, name_head[1]);
    if (rc == 0)
        rc = buffer_append(&t->body, bytes_head, sizeof bytes_head);
    return rc == 0 ? 0 : fail_body(t, rc, why);
}

static void set_size(struct tar *t, size_t start)
{
    size_t size = t->body.size - start;

    for (unsigned i = 0; i < 4; i++)
        t->body.data[start - 4 + i] = (unsigned char)(size >> (24 - 8 * i));
}

/* Take the member ahead into the sample. Bytes that nobody wants are skipped by libarchive. */
static int take_member(struct tar *t, struct reason *why)
{
    const char *member = t->ahead.member;
    bool is_chosen = t->source->member != NULL && strcmp(member, t->source->member) == 0;
    bool is_label = strcmp(member, LABEL_MEMBER) == 0;
    bool packed = t->source->member == NULL && !t->source->labels_only;
    bool wanted = packed || (is_chosen && !t->source->labels_only);
    struct buffer *to = wanted ? &t->body : &t->aside;
    size_t start;
    int rc = check_member(t, member, why);

    t->chosen = t->chosen || is_chosen;
    t->aside.size = 0;
    if (rc != 0 || (!wanted && !is_label))
        return rc;
    if (packed)
        rc = append_head(t, member, why);
    start = to->size;
    if (rc == 0)
        rc = read_bytes(t, to, why);
    if (rc == 0 && packed)
        set_size(t, start);
    return rc == 0 && is_label ? parse_label(t, to->data + start, to->size - start, why) : rc;
}

static int begin_sample(struct tar *t, struct reason *why)
{
    const unsigned char head[MAP_HEAD_BYTES] = {MSGPACK_MAP16, 0, 0};

    (void)strcpy(t->key, t->ahead.key);
    t->member_count = 0;
    t->chosen = false;
    t->label = READER_LABEL_NONE;
    t->body.size = 0;
    if (t->source->member != NULL || t->source->labels_only)
        return 0;
    return buffer_append(&t->body, head, sizeof head) == 0 ? 0 : reader_fail_memory(shard(t), why);
}

static int end_sample(struct tar *t, size_t shard_index, struct instance *out, struct reason *why)
{
    if (t->source->member != NULL && !t->chosen) {
        reason_set(why, "%s: sample '%s' has no member '%s'", t->source->paths[shard_index], t->key,
                   t->source->member);
        return -OHEM_DATASET;
    }
    if (t->source->member == NULL && !t->source->labels_only)
        t->body.data[MAP_HEAD_BYTES - 1] = (unsigned char)t->member_count;
    *out = (struct instance){t->key, strlen(t->key), t->body.data, t->body.size, t->label};
    return 1;
}

static int tar_next(struct reader *r, struct instance *out, struct reason *why)
{
    struct tar *t = (struct tar *)r;
    size_t shard_index = t->shard_index;
    int rc;

    if (t->at_end)
        return 0;
    rc = begin_sample(t, why);
    while (rc == 0 && !t->at_end && t->shard_index == shard_index &&
           strcmp(t->ahead.key, t->key) == 0) {
        rc = take_member(t, why);
        if (rc == 0)
            rc = advance(t, why);
    }
    return rc != 0 ? rc : end_sample(t, shard_index, out, why);
}

static void tar_close(struct reader *r)
{
    struct tar *t = (struct tar *)r;

    close_shard(t);
    buffer_deinit(&t->body);
    buffer_deinit(&t->aside);
    free(t);
}

static int tar_open(const struct source *s, struct reader **out, struct reason *why)
{
    struct tar *t = calloc(1, sizeof *t);
    int rc;

    if (t == NULL)
        return reader_fail_memory(s->paths[0], why);
    t->source = s;
    t->base = (struct reader){&reader_tar, true, 0, 0};
    for (size_t i = 0; i < s->path_count; i++)
        t->base.total += file_size(s->paths[i]);
    rc = open_shard(t, why);
    if (rc == 0)
        rc = advance(t, why);
    if (rc != 0) {
        tar_close(&t->base);
        return rc;
    }
    *out = &t->base;
    return 0;
}

const struct reader_format reader_tar = {
    .name = "tar",
    .usage = "TARGET SHARD...",
    .label_from = "a member 'cls' with a number in each sample",
    .paths_min = 1,
    .paths_max = SIZE_MAX,
    .target_first = true,
    .open = tar_open,
    .next = tar_next,
    .close = tar_close,
};
