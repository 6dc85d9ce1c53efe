/* reader_folder.c - image folders: ROOT/CLASS/FILE, a file is an instance.
 *
 * Body: the file's bytes. Key: its path below ROOT. Label: the place of CLASS among the class
 * folders, sorted by bytes, from 0. Files may lie deeper (CLASS/a/b.jpg). Hidden files and folders,
 * and files directly in ROOT, are no instances. Links are followed; a circle of them is an error.
 */
#include "buffer.h"
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEVEL_CLASS 1 /* as fts counts: ROOT is 0 */

struct folder {
    struct reader base;
    FTS *walk;
    size_t root_size; /* bytes of ROOT at the start of every path */
    int32_t label;    /* of the class folder that the walk is in */
    bool labels_only;
    struct buffer body;
};

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void folder_close(struct reader *r)
{
    struct folder *f = (struct folder *)r;

    if (f->walk != NULL)
        (void)fts_close(f->walk);
    buffer_deinit(&f->body);
    free(f);
}

static int check_root(const char *root, struct reason *why)
{
    struct stat info;

    if (stat(root, &info) != 0)
        return reader_fail_errno(root, why);
    if (!S_ISDIR(info.st_mode)) {
        reason_set(why, "%s: not a folder", root);
        return -OHEM_DATASET;
    }
    return 0;
}

static int folder_open(const struct source *s, struct reader **out, struct reason *why)
{
    struct folder *f;
    int rc = check_root(s->paths[0], why);

    if (rc != 0)
        return rc;
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return reader_fail_memory(s->paths[0], why);
    f->base = (struct reader){&reader_folder, true, 0, 0};
    f->label = READER_LABEL_NONE;
    f->labels_only = s->labels_only;
    f->root_size = strlen(s->paths[0]);
    f->walk =
        fts_open((char *const[]){s->paths[0], NULL}, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
    if (f->walk == NULL) {
        rc = reader_fail_errno(s->paths[0], why);
        folder_close(&f->base);
        return rc;
    }
    *out = &f->base;
    return 0;
}

static int fail_size(const char *path, uint64_t size, struct reason *why)
{
    reason_set(why, "%s: %" PRIu64 " bytes or more; at most %u are allowed", path, size,
               READER_RECORD_BYTES_MAX);
    return -OHEM_TOO_LARGE;
}

/* Until the end of the file, whatever stat said of its size. */
static int read_all(struct folder *f, int fd, const char *path, struct reason *why)
{
    for (;;) {
        int rc = buffer_reserve(&f->body, 1);
        ssize_t got;

        if (rc == -OHEM_TOO_LARGE)
            return fail_size(path, f->body.size, why);
        if (rc != 0)
            return reader_fail_memory(path, why);
        got = read(fd, f->body.data + f->body.size, f->body.capacity - f->body.size);
        if (got < 0 && errno != EINTR)
            return reader_fail_errno(path, why);
        if (got == 0)
            return 0;
        if (got > 0)
            f->body.size += (size_t)got;
        if (f->body.size > READER_RECORD_BYTES_MAX)
            return fail_size(path, f->body.size, why);
    }
}

/* O_NONBLOCK: a pipe put in a file's place must not hang us. */
static int read_file(struct folder *f, const FTSENT *entry, struct reason *why)
{
    const char *path = entry->fts_path;
    int fd, rc;

    f->body.size = 0;
    if ((uint64_t)entry->fts_statp->st_size > READER_RECORD_BYTES_MAX)
        return fail_size(path, (uint64_t)entry->fts_statp->st_size, why);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return reader_fail_errno(path, why);
    rc = read_all(f, fd, path, why);
    (void)close(fd);
    return rc;
}

static int enter_folder(struct folder *f, FTSENT *entry, struct reason *why)
{
    if (entry->fts_level < LEVEL_CLASS)
        return 0;
    if (entry->fts_name[0] == '.') {
        (void)fts_set(f->walk, entry, FTS_SKIP);
        return 0;
    }
    if (entry->fts_level > LEVEL_CLASS)
        return 0;
    if (f->label == READER_LABEL_MAX) {
        reason_set(why, "%s: one class folder too many; at most %d are allowed", entry->fts_path,
                   READER_LABEL_MAX + 1);
        return -OHEM_TOO_LARGE;
    }
    f->label++;
    return 0;
}

static bool is_instance(const FTSENT *entry)
{
    return entry->fts_level > LEVEL_CLASS && entry->fts_name[0] != '.';
}

/* Something that is neither a file nor a folder. */
static int fail_entry(const FTSENT *entry, struct reason *why)
{
    const char *text = "neither a file nor a folder";

    if (entry->fts_info == FTS_DC)
        text = "the folder holds itself by a link";
    else if (entry->fts_info == FTS_SLNONE)
        text = "a link to nothing";
    else if (entry->fts_info != FTS_DEFAULT)
        text = strerror(entry->fts_errno);
    reason_set(why, "%s: %s", entry->fts_path, text);
    return -OHEM_DATASET;
}

static int give(struct folder *f, const FTSENT *entry, struct instance *out, struct reason *why)
{
    const char *key = entry->fts_path + f->root_size;
    int rc = f->labels_only ? 0 : read_file(f, entry, why);

    if (rc != 0)
        return rc;
    key += strspn(key, "/");
    f->base.done++;
    *out = (struct instance){key, strlen(key), f->body.data, f->body.size, f->label};
    return 1;
}

static int folder_next(struct reader *r, struct instance *out, struct reason *why)
{
    struct folder *f = (struct folder *)r;
    FTSENT *entry;
    int rc = 0;

    while (rc == 0 && (errno = 0, entry = fts_read(f->walk)) != NULL) {
        if (entry->fts_info == FTS_D)
            rc = enter_folder(f, entry, why);
        else if (entry->fts_info == FTS_DP)
            continue;
        else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
                 entry->fts_info == FTS_DC)
            rc = fail_entry(entry, why);
        else if (is_instance(entry))
            rc = entry->fts_info == FTS_F ? give(f, entry, out, why) : fail_entry(entry, why);
    }
    if (rc == 0 && errno != 0)
        return reader_fail_errno("folder", why);
    return rc;
}

const struct reader_format reader_folder = {
    .name = "folder",
    .usage = "ROOT TARGET",
    .label_from = "the class folders ROOT/CLASS",
    .paths_min = 1,
    .paths_max = 1,
    .open = folder_open,
    .next = folder_next,
    .close = folder_close,
};
