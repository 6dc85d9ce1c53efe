/* vectors.c - the wire's test vectors; see vectors.h. */
#include "vectors.h"

#include "test.h"

#include <inttypes.h>
#include <stdlib.h>

#define LINE_BYTES 4096

FILE *vectors_open(const char *name)
{
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/proto/vectors/%s", test_source(), name);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    return file;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* A frame's bytes go to memory of exactly its size, so that a sanitizer sees a step too far. */
static struct frame parse_hex(const char *hex)
{
    size_t size = strlen(hex) / 2;
    unsigned char *bytes = malloc(size > 0 ? size : 1);
    unsigned int byte;

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (unsigned char)byte;
    }
    return (struct frame){.data = bytes, .size = size};
}

static struct frame make_zeros(const char *size)
{
    size_t n = strtoul(size, NULL, 10);

    return (struct frame){.data = calloc(n, 1), .size = n};
}

static void add_frame(struct vectors_block *b, struct frame f)
{
    assert_true(b->frame_count < sizeof b->list / sizeof b->list[0]);
    assert_non_null(f.data);
    b->list[b->frame_count++] = f;
}

static void copy(char *out, size_t out_bytes, const char *text)
{
    assert_true(snprintf(out, out_bytes, "%s", text) < (int)out_bytes);
}

/* Is it the line of that name? Then its value, which may be empty. */
static const char *value_of(const char *line, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(line, name, n) != 0 || (line[n] != ' ' && line[n] != '\0'))
        return NULL;
    return line[n] == ' ' ? line + n + 1 : line + n;
}

static void take_line(struct vectors_block *b, const char *line)
{
    const char *value;

    if ((value = value_of(line, "vector")) != NULL) {
        copy(b->name, sizeof b->name, value);
    } else if ((value = value_of(line, "error")) != NULL) {
        copy(b->error, sizeof b->error, value);
    } else if ((value = value_of(line, "type")) != NULL) {
        copy(b->type, sizeof b->type, value);
    } else if ((value = value_of(line, "reason")) != NULL) {
        assert_true(b->reason_count < VECTORS_REASONS_MAX);
        copy(b->reasons[b->reason_count], sizeof b->reasons[0], value);
        b->reason_count++;
    } else if ((value = value_of(line, "frame")) != NULL) {
        add_frame(b, parse_hex(value));
    } else if ((value = value_of(line, "zeros")) != NULL) {
        add_frame(b, make_zeros(value));
    } else {
        size_t used = strlen(b->fields);

        copy(b->fields + used, sizeof b->fields - used, line);
        copy(b->fields + used + strlen(line), sizeof b->fields - used - strlen(line), "\n");
    }
}

bool vectors_read(FILE *file, struct vectors_block *out)
{
    char line[LINE_BYTES];

    memset(out, 0, sizeof *out);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t size = strcspn(line, "\n");

        assert_true(line[size] == '\n'); /* no line is longer than the buffer */
        line[size] = '\0';
        if (size == 0 && out->name[0] != '\0')
            return true;
        if (size > 0 && line[0] != '#')
            take_line(out, line);
    }
    return out->name[0] != '\0';
}

void vectors_free(struct vectors_block *b)
{
    for (size_t i = 0; i < b->frame_count; i++)
        free((void *)(uintptr_t)b->list[i].data);
}

/* ---- in words ------------------------------------------------------------------------------ */

static void put_binary(FILE *f, const char *name, const struct session_key *key)
{
    (void)fprintf(f, "%s ", name);
    for (size_t i = 0; i < sizeof key->bytes; i++)
        (void)fprintf(f, "%02x", key->bytes[i]);
    (void)fprintf(f, "\n");
}

static void put_key(FILE *f, const struct session_key *key)
{
    put_binary(f, "key", key);
}

static void put_token(FILE *f, struct token t)
{
    (void)fprintf(f, "token %" PRIu64 " %016" PRIx64 "\n", t.step, t.tag);
}

static void put_text(FILE *f, const char *name, const char *text)
{
    (void)fprintf(f, "%s%s%s\n", name, text[0] != '\0' ? " " : "", text);
}

static void put_f32s(FILE *f, const char *name, struct vector v)
{
    (void)fprintf(f, "%s", name);
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, " %.9g", (double)vector_f32(v, i));
    (void)fprintf(f, "\n");
}

static void put_u64s(FILE *f, const char *name, struct vector v)
{
    (void)fprintf(f, "%s", name);
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, " %" PRIu64, vector_u64(v, i));
    (void)fprintf(f, "\n");
}

static void put_u32s(FILE *f, const char *name, struct vector v)
{
    (void)fprintf(f, "%s", name);
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, " %" PRIu32, vector_u32(v, i));
    (void)fprintf(f, "\n");
}

static void put_u8s(FILE *f, const char *name, struct vector v)
{
    (void)fprintf(f, "%s", name);
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, " %d", vector_u8(v, i));
    (void)fprintf(f, "\n");
}

static void put_bytes(FILE *f, const char *name, struct vector v)
{
    const unsigned char *bytes = v.data;

    (void)fprintf(f, "%s%s", name, v.count > 0 ? " " : "");
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, "%02x", bytes[i]);
    (void)fprintf(f, "\n");
}

static void put_stats(FILE *f, const char *name, const struct loss_stats *s)
{
    (void)fprintf(f, "%s.count %" PRIu32 "\n%s.mean %.9g\n%s.min %.9g\n%s.max %.9g\n", name,
                  s->count, name, (double)s->mean, name, (double)s->min, name, (double)s->max);
}

static void put_tokens(FILE *f, const char *name, struct vector v)
{
    (void)fprintf(f, "%s", name);
    for (size_t i = 0; i < v.count; i++)
        (void)fprintf(f, " %" PRIu64 " %016" PRIx64, vector_token(v, i).step,
                      vector_token(v, i).tag);
    (void)fprintf(f, "\n");
}

static void put_hello(FILE *f, const struct message_hello *m)
{
    (void)fprintf(f, "major %" PRIu32 "\nminor %" PRIu32 "\n", m->major, m->minor);
    put_key(f, &m->key);
    put_text(f, "job", m->job);
    (void)fprintf(f, "rank %" PRIu32 "\nbatch_size %" PRIu32 "\ncredit %" PRIu32 "\n", m->rank,
                  m->batch_size, m->credit);
    put_text(f, "agent", m->agent);
    (void)fprintf(f, "layout %" PRIu32 "\nways %" PRIu32 "\nmemory %" PRIu64 "\n", m->layout,
                  m->ways, m->memory);
    put_tokens(f, "held", m->held);
    put_tokens(f, "kept", m->kept);
}

static void put_welcome(FILE *f, const struct message_welcome *m)
{
    (void)fprintf(f,
                  "major %" PRIu32 "\nminor %" PRIu32 "\nboot %" PRIu64 "\nsession %" PRIu64 "\n",
                  m->major, m->minor, m->boot, m->session);
    put_text(f, "job", m->job);
    (void)fprintf(f,
                  "instance_count %" PRIu64 "\nrecord_bytes %" PRIu64 "\nrecord_bytes_max %" PRIu64
                  "\ngeneration %" PRIu64 "\nbatch_size %" PRIu32 "\ncredit %" PRIu32
                  "\nlease_ms %" PRIu64 "\nlayout %" PRIu32 "\nway %" PRIu32 "\n",
                  m->instance_count, m->record_bytes, m->record_bytes_max, m->generation,
                  m->batch_size, m->credit, m->lease_ms, m->layout, m->way);
    put_text(f, "share", m->share);
    put_binary(f, "cookie", &m->cookie);
    put_text(f, "fields", m->fields);
    (void)fprintf(f, "memory %" PRIu64 "\ndurable %" PRIu32 "\nround %" PRIu32 "\n", m->memory,
                  m->durable, m->round);
}

static void put_batch(FILE *f, const struct message_batch *m)
{
    put_token(f, m->token);
    (void)fprintf(f,
                  "epoch %" PRIu64 "\ncount %" PRIu32 "\ncoverage_count %" PRIu32
                  "\nrecord_bytes %" PRIu64 "\nlease_ms %" PRIu64 "\nlsn %" PRIu64 "\nway %" PRIu32
                  "\nslot %" PRIu32 "\nbytes %" PRIu64 "\nparts %" PRIu32 "\n",
                  m->epoch, m->count, m->coverage_count, m->record_bytes, m->lease_ms, m->lsn,
                  m->way, m->slot, m->bytes, m->parts);
    put_u64s(f, "ids", m->ids);
    put_f32s(f, "probabilities", m->probabilities);
    put_f32s(f, "weights", m->weights);
    put_u64s(f, "offsets", m->offsets);
    put_u32s(f, "sizes", m->sizes);
    put_bytes(f, "payload", m->payload);
}

static void put_loss(FILE *f, const struct message_loss *m)
{
    put_key(f, &m->key);
    put_token(f, m->token);
    (void)fprintf(f, "seq %" PRIu64 "\ncount %zu\nids.count %zu\nflags.count %zu\n", m->seq,
                  m->losses.count, m->ids.count, m->flags.count);
    (void)fprintf(f, "select.rule %" PRIu32 "\nselect.count %" PRIu32 "\nselect.value %.9g\n",
                  m->select.rule, m->select.count, m->select.value);
    (void)fprintf(f, "items.count %zu\nitems.score %" PRIu32 "\nitems.top %" PRIu32 "\n",
                  m->items.counts.count, m->items.score, m->items.top);
    (void)fprintf(f, "items.iou %.9g\nboxes.count %zu\nclasses.count %zu\n", m->items.iou,
                  m->items.boxes.count, m->items.classes.count);
    (void)fprintf(f, "round %" PRIu64 "\n", m->round);
    put_f32s(f, "losses", m->losses);
    put_u64s(f, "ids", m->ids);
    put_u8s(f, "flags", m->flags);
    put_u32s(f, "items", m->items.counts);
    put_f32s(f, "boxes", m->items.boxes);
    put_u32s(f, "classes", m->items.classes);
}

static void put_selection(FILE *f, const struct message_selection *m)
{
    put_token(f, m->token);
    (void)fprintf(
        f, "seq %" PRIu64 "\nlsn %" PRIu64 "\nflags %" PRIu32 "\nnonfinite_count %" PRIu32 "\n",
        m->seq, m->lsn, m->flags, m->nonfinite_count);
    put_stats(f, "all", &m->all);
    put_stats(f, "kept", &m->kept);
    (void)fprintf(f, "durable_seq %" PRIu64 "\nignored_count %" PRIu32 "\nscores.count %zu\n",
                  m->durable_seq, m->ignored_count, m->scores.count);
    (void)fprintf(f, "share.count %" PRIu32 "\nshare.present %" PRIu32 "\nshare.scale %.9g\n",
                  m->share.count, m->share.present, (double)m->share.scale);
    (void)fprintf(f, "weights.count %zu\n", m->weights.count);
    put_u32s(f, "indices", m->indices);
    put_f32s(f, "weights", m->weights);
    put_f32s(f, "scores", m->scores);
}

static void put_part(FILE *f, const struct message_part *m)
{
    put_token(f, m->token);
    (void)fprintf(f, "begin %" PRIu64 "\nfirst %" PRIu32 "\ncount %" PRIu32 "\n", m->begin,
                  m->first, m->count);
    put_bytes(f, "payload", m->payload);
}

static void put_message(FILE *f, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_HELLO:
        put_hello(f, &m->hello);
        break;
    case MESSAGE_WELCOME:
        put_welcome(f, &m->welcome);
        break;
    case MESSAGE_CREDIT:
        put_key(f, &m->credit.key);
        put_token(f, m->credit.token);
        break;
    case MESSAGE_BATCH:
        put_batch(f, &m->batch);
        break;
    case MESSAGE_LOSS:
        put_loss(f, &m->loss);
        break;
    case MESSAGE_SELECTION:
        put_selection(f, &m->selection);
        break;
    case MESSAGE_PING:
        put_key(f, &m->ping.key);
        (void)fprintf(f, "nonce %" PRIu64 "\n", m->ping.nonce);
        break;
    case MESSAGE_PONG:
        (void)fprintf(f, "nonce %" PRIu64 "\nboot %" PRIu64 "\ndurable_seq %" PRIu64 "\n",
                      m->pong.nonce, m->pong.boot, m->pong.durable_seq);
        break;
    case MESSAGE_BYE:
        put_key(f, &m->bye.key);
        put_text(f, "text", m->bye.text);
        break;
    case MESSAGE_ERROR:
        (void)fprintf(f, "code %" PRIu32 "\nabout %" PRIu32 "\n", m->error.code, m->error.about);
        put_token(f, m->error.token);
        put_text(f, "text", m->error.text);
        break;
    case MESSAGE_READY:
        put_key(f, &m->ready.key);
        (void)fprintf(f, "way %" PRIu32 "\n", m->ready.way);
        break;
    case MESSAGE_PART:
        put_part(f, &m->part);
        break;
    case MESSAGE_SYNC:
        put_key(f, &m->sync.key);
        (void)fprintf(f, "seq %" PRIu64 "\n", m->sync.seq);
        break;
    case MESSAGE_DURABLE:
        (void)fprintf(f, "seq %" PRIu64 "\n", m->durable.seq);
        break;
    }
}

void vectors_describe(const struct message *m, char *out, size_t out_bytes)
{
    FILE *f = fmemopen(out, out_bytes, "w");

    assert_non_null(f);
    (void)fprintf(f, "message %s\n", message_type_name(m->type));
    put_message(f, m);
    assert_int_equal(fclose(f), 0);
}
