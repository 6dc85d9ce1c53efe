/* layout.c - how each message lies on the wire; see layout.h.
 *
 * The order of a table is the order of the wire: append, never insert (message.h says how to change
 * a message).
 */
#include "layout.h"

#include "error.h"
#include "items.h"
#include "select.h"

#include <inttypes.h>

#define FIELD(field_kind, m, f, low, high, high_name) \
    { \
        .name = #f, .kind = FIELD_##field_kind, .offset = offsetof(struct message, m.f), \
        .min = (low), .max = (high), .limit = (high_name) \
    }
#define ANY_U32(m, f)           FIELD(U32, m, f, 0, UINT32_MAX, NULL)
#define ANY_U64(m, f)           FIELD(U64, m, f, 0, UINT64_MAX, NULL)
#define LIMITED(m, f, low, max) FIELD(U32, m, f, low, max, #max)
#define FLOAT(m, f)             FIELD(F32, m, f, 0, 0, NULL)
#define DOUBLE(m, f)            FIELD(F64, m, f, 0, 0, NULL)
#define STRING(m, f, max)       FIELD(TEXT, m, f, 0, max, #max)
#define SESSION_KEY(m)          FIELD(KEY, m, key, 0, 0, NULL)
#define BATCH_TOKEN(m)          FIELD(TOKEN, m, token, 0, 0, NULL)

#define COLUMN(m, f, bytes, counted_by, extra, max, max_name) \
    { \
        .name = #f, .offset = offsetof(struct message, m.f), .element_bytes = (bytes), \
        .count_field = (counted_by), .count_extra = (extra), .bytes_max = (max), \
        .limit = (max_name) \
    }
#define COUNTED(m, f, type, counted_by, extra) \
    COLUMN(m, f, sizeof(type), counted_by, extra, MESSAGE_FRAME_BYTES_MAX, \
           "MESSAGE_FRAME_BYTES_MAX")
#define COUNTED_AS(label, m, f, type, counted_by) \
    { \
        .name = (label), .offset = offsetof(struct message, m.f), .element_bytes = sizeof(type), \
        .count_field = (counted_by), .bytes_max = MESSAGE_FRAME_BYTES_MAX, \
        .limit = "MESSAGE_FRAME_BYTES_MAX" \
    }
#define UNCOUNTED(m, f, type, max, max_name) \
    COLUMN(m, f, sizeof(type), LAYOUT_NO_COUNT, 0, max, max_name)

static const struct layout_field hello_fields[] = {
    ANY_U32(hello, major),
    ANY_U32(hello, minor),
    SESSION_KEY(hello),
    STRING(hello, job, MESSAGE_NAME_BYTES_MAX),
    LIMITED(hello, rank, 0, MESSAGE_RANK_MAX),
    LIMITED(hello, batch_size, 0, MESSAGE_BATCH_SIZE_MAX),
    LIMITED(hello, credit, 0, MESSAGE_CREDIT_MAX),
    STRING(hello, agent, MESSAGE_AGENT_BYTES_MAX),
    LIMITED(hello, layout, 0, MESSAGE_RECORDS_MAX),
    LIMITED(hello, ways, 0, MESSAGE_WAYS_MAX),
    ANY_U64(hello, memory),
};
static const struct layout_column hello_columns[] = {
    UNCOUNTED(hello, held, struct token, MESSAGE_CREDIT_MAX * sizeof(struct token),
              "MESSAGE_CREDIT_MAX tokens of 16 bytes"),
    UNCOUNTED(hello, kept, struct token, MESSAGE_KEPT_MAX * sizeof(struct token),
              "MESSAGE_KEPT_MAX tokens of 16 bytes"),
};

static const struct layout_field welcome_fields[] = {
    ANY_U32(welcome, major),
    ANY_U32(welcome, minor),
    ANY_U64(welcome, boot),
    ANY_U64(welcome, session),
    STRING(welcome, job, MESSAGE_NAME_BYTES_MAX),
    FIELD(U64, welcome, instance_count, 1, UINT64_MAX, NULL),
    ANY_U64(welcome, record_bytes),
    ANY_U64(welcome, record_bytes_max),
    ANY_U64(welcome, generation),
    LIMITED(welcome, batch_size, 1, MESSAGE_BATCH_SIZE_MAX),
    LIMITED(welcome, credit, 1, MESSAGE_CREDIT_MAX),
    ANY_U64(welcome, lease_ms),
    LIMITED(welcome, layout, 0, MESSAGE_RECORDS_MAX),
    LIMITED(welcome, way, 0, MESSAGE_WAY_MAX),
    STRING(welcome, share, MESSAGE_SHARE_BYTES_MAX),
    FIELD(KEY, welcome, cookie, 0, 0, NULL),
    STRING(welcome, fields, MESSAGE_TEXT_BYTES_MAX),
    ANY_U64(welcome, memory),
    FIELD(U32, welcome, durable, 0, 1, NULL),
    LIMITED(welcome, round, 0, MESSAGE_ROUND_RANKS_MAX),
};

static const struct layout_field credit_fields[] = {SESSION_KEY(credit), BATCH_TOKEN(credit)};

enum { BATCH_COUNT = 2 }; /* its place in the next table */
static const struct layout_field batch_fields[] = {
    BATCH_TOKEN(batch),
    ANY_U64(batch, epoch),
    LIMITED(batch, count, 1, MESSAGE_BATCH_SIZE_MAX),
    LIMITED(batch, coverage_count, 0, MESSAGE_BATCH_SIZE_MAX),
    ANY_U64(batch, record_bytes),
    ANY_U64(batch, lease_ms),
    ANY_U64(batch, lsn),
    LIMITED(batch, way, 0, MESSAGE_WAY_MAX),
    LIMITED(batch, slot, 0, MESSAGE_CREDIT_MAX - 1),
    FIELD(U64, batch, bytes, 0, MESSAGE_PAYLOAD_BYTES_MAX, "MESSAGE_PAYLOAD_BYTES_MAX"),
    LIMITED(batch, parts, 0, MESSAGE_PARTS_MAX),
};
static const struct layout_column batch_columns[] = {
    COUNTED(batch, ids, uint64_t, BATCH_COUNT, 0),
    COUNTED(batch, probabilities, float, BATCH_COUNT, 0),
    COUNTED(batch, weights, float, BATCH_COUNT, 0),
    COUNTED(batch, offsets, uint64_t, BATCH_COUNT, 0),
    COUNTED(batch, sizes, uint32_t, BATCH_COUNT, 0),
    UNCOUNTED(batch, payload, uint8_t, MESSAGE_PAYLOAD_BYTES_MAX, "MESSAGE_PAYLOAD_BYTES_MAX"),
};

/* A vector's own count. */
#define COUNT(label, m, f, low, high) \
    { \
        .name = (label), .kind = FIELD_SIZE, .offset = offsetof(struct message, m.f.count), \
        .min = (low), .max = (high), .limit = #high \
    }
#define MESSAGE_BOX_SIDES_MAX (4 * MESSAGE_BOXES_MAX)

enum {
    LOSS_COUNT = 3,
    LOSS_IDS_COUNT = 4,
    LOSS_FLAGS_COUNT = 5,
    LOSS_ITEMS_COUNT = 9,
    LOSS_BOXES_COUNT = 13,
    LOSS_CLASSES_COUNT = 14
};
static const struct layout_field loss_fields[] = {
    SESSION_KEY(loss),
    BATCH_TOKEN(loss),
    FIELD(U64, loss, seq, 1, UINT64_MAX, NULL),
    COUNT("count", loss, losses, 0, MESSAGE_ITEMS_MAX),
    COUNT("ids.count", loss, ids, 0, MESSAGE_BATCH_SIZE_MAX),
    COUNT("flags.count", loss, flags, 0, MESSAGE_ITEMS_MAX),
    LIMITED(loss, select.rule, 0, MESSAGE_RULE_MAX),
    LIMITED(loss, select.count, 0, MESSAGE_ITEMS_MAX),
    DOUBLE(loss, select.value),
    COUNT("items.count", loss, items.counts, 0, MESSAGE_BATCH_SIZE_MAX),
    LIMITED(loss, items.score, 0, MESSAGE_SCORE_MAX),
    LIMITED(loss, items.top, 0, MESSAGE_ITEMS_MAX),
    DOUBLE(loss, items.iou),
    COUNT("boxes.count", loss, items.boxes, 0, MESSAGE_BOX_SIDES_MAX),
    COUNT("classes.count", loss, items.classes, 0, MESSAGE_BOXES_MAX),
    ANY_U64(loss, round),
};
static const struct layout_column loss_columns[] = {
    COUNTED(loss, losses, float, LOSS_COUNT, 0),
    COUNTED(loss, ids, uint64_t, LOSS_IDS_COUNT, 0),
    COUNTED(loss, flags, uint8_t, LOSS_FLAGS_COUNT, 0),
    COUNTED_AS("items", loss, items.counts, uint32_t, LOSS_ITEMS_COUNT),
    COUNTED_AS("boxes", loss, items.boxes, float, LOSS_BOXES_COUNT),
    COUNTED_AS("classes", loss, items.classes, uint32_t, LOSS_CLASSES_COUNT),
};

enum { SELECTION_KEPT_COUNT = 9, SELECTION_SCORES_COUNT = 15, SELECTION_WEIGHTS_COUNT = 19 };
static const struct layout_field selection_fields[] = {
    BATCH_TOKEN(selection),
    ANY_U64(selection, seq),
    ANY_U64(selection, lsn),
    ANY_U32(selection, flags),
    LIMITED(selection, nonfinite_count, 0, MESSAGE_ITEMS_MAX),
    LIMITED(selection, all.count, 0, MESSAGE_ITEMS_MAX),
    FLOAT(selection, all.mean),
    FLOAT(selection, all.min),
    FLOAT(selection, all.max),
    LIMITED(selection, kept.count, 0, MESSAGE_ITEMS_MAX),
    FLOAT(selection, kept.mean),
    FLOAT(selection, kept.min),
    FLOAT(selection, kept.max),
    ANY_U64(selection, durable_seq),
    LIMITED(selection, ignored_count, 0, MESSAGE_ITEMS_MAX),
    COUNT("scores.count", selection, scores, 0, MESSAGE_BATCH_SIZE_MAX),
    LIMITED(selection, share.count, 0, MESSAGE_ITEMS_MAX),
    LIMITED(selection, share.present, 0, MESSAGE_ROUND_RANKS_MAX),
    FLOAT(selection, share.scale),
    COUNT("weights.count", selection, weights, 0, MESSAGE_ITEMS_MAX),
};
static const struct layout_column selection_columns[] = {
    COUNTED(selection, indices, uint32_t, SELECTION_KEPT_COUNT, 0),
    COUNTED(selection, weights, float, SELECTION_WEIGHTS_COUNT, 0),
    COUNTED(selection, scores, float, SELECTION_SCORES_COUNT, 0),
};

static const struct layout_field ping_fields[] = {SESSION_KEY(ping), ANY_U64(ping, nonce)};
static const struct layout_field pong_fields[] = {ANY_U64(pong, nonce), ANY_U64(pong, boot),
                                                  ANY_U64(pong, durable_seq)};
static const struct layout_field sync_fields[] = {SESSION_KEY(sync), ANY_U64(sync, seq)};
static const struct layout_field durable_fields[] = {ANY_U64(durable, seq)};
static const struct layout_field bye_fields[] = {
    SESSION_KEY(bye),
    STRING(bye, text, MESSAGE_TEXT_BYTES_MAX),
};
static const struct layout_field error_fields[] = {
    FIELD(U32, error, code, 1, INT32_MAX, NULL), /* an int in C, of either sign */
    ANY_U32(error, about),
    BATCH_TOKEN(error),
    STRING(error, text, MESSAGE_TEXT_BYTES_MAX),
};
static const struct layout_field ready_fields[] = {
    SESSION_KEY(ready),
    LIMITED(ready, way, 0, MESSAGE_WAY_MAX),
};
static const struct layout_field part_fields[] = {
    BATCH_TOKEN(part),
    ANY_U64(part, begin),
    LIMITED(part, first, 0, MESSAGE_BATCH_SIZE_MAX - 1),
    LIMITED(part, count, 1, MESSAGE_BATCH_SIZE_MAX),
};
static const struct layout_column part_columns[] = {
    UNCOUNTED(part, payload, uint8_t, MESSAGE_PAYLOAD_BYTES_MAX, "MESSAGE_PAYLOAD_BYTES_MAX"),
};

/* What the fields of a BATCH say together. */
static int check_batch_fields(const struct message_batch *b, struct reason *why)
{
    uint64_t payload = b->way == WAY_INLINE && b->parts == 0 ? b->bytes : 0;

    if (b->coverage_count > b->count) {
        reason_set(why,
                   "BATCH: coverage_count is %" PRIu32 "; at most count %" PRIu32 " is allowed",
                   b->coverage_count, b->count);
        return -OHEM_MALFORMED;
    }
    if (b->parts > b->count || (b->parts > 0 && b->way != WAY_INLINE)) {
        reason_set(why,
                   "BATCH: parts is %" PRIu32 "; at most count %" PRIu32
                   " is allowed, and 0 for way %" PRIu32,
                   b->parts, b->count, b->way);
        return -OHEM_MALFORMED;
    }
    if (b->way != WAY_SHM && b->slot != 0) {
        reason_set(
            why, "BATCH: slot is %" PRIu32 "; 0 is wanted for way %" PRIu32 ", which has no slots",
            b->slot, b->way);
        return -OHEM_MALFORMED;
    }
    if (b->way == WAY_MAP && b->bytes != 0) {
        reason_set(why, "BATCH: bytes is %" PRIu64 "; 0 is wanted for map, which has no block",
                   b->bytes);
        return -OHEM_MALFORMED;
    }
    if (b->payload.count != payload) {
        reason_set(why,
                   "BATCH: the payload has %zu bytes; %" PRIu64
                   " are wanted (bytes, if it is inline and in one piece)",
                   b->payload.count, payload);
        return -OHEM_MALFORMED;
    }
    return 0;
}

/* Records lie one behind the other in the block, perhaps with gaps; in a file (map) they lie
 * anywhere, and the reader checks them against the file. */
static int check_batch(const struct message *m, struct reason *why)
{
    const struct message_batch *b = &m->batch;
    uint64_t end = 0;
    int rc = check_batch_fields(b, why);

    for (uint32_t i = 0; i < b->count && rc == 0; i++) {
        uint64_t begin = vector_u64(b->offsets, i), size = vector_u32(b->sizes, i);

        if (b->record_bytes != 0 && size != b->record_bytes) {
            reason_set(why, "BATCH: sizes[%" PRIu32 "] is %" PRIu64 "; record_bytes is %" PRIu64, i,
                       size, b->record_bytes);
            rc = -OHEM_MALFORMED;
        } else if (b->way != WAY_MAP &&
                   (begin < end || begin > b->bytes || size > b->bytes - begin)) {
            reason_set(why,
                       "BATCH: record %" PRIu32 " lies at %" PRIu64 " with %" PRIu64
                       " bytes; %" PRIu64 "..%" PRIu64 " (bytes) is allowed",
                       i, begin, size, end, b->bytes);
            rc = -OHEM_MALFORMED;
        }
        end = begin + size;
    }
    return rc;
}

/* A vector beside others comes with all of them or not at all. */
static int check_beside(const char *name, size_t count, const char *of, size_t all,
                        struct reason *why)
{
    if (count == 0 || count == all)
        return 0;
    reason_set(why, "LOSS: %s.count is %zu; 0 or %s %zu is allowed", name, count, of, all);
    return -OHEM_MALFORMED;
}

static int check_flags(struct vector flags, struct reason *why)
{
    for (size_t i = 0; i < flags.count; i++)
        if (vector_u8(flags, i) > LOSS_FLAGS_ALL) {
            reason_set(why, "LOSS: flags[%zu] is %u; at most %u is allowed", i,
                       (unsigned)vector_u8(flags, i), LOSS_FLAGS_ALL);
            return -OHEM_MALFORMED;
        }
    return 0;
}

static int check_select(const struct message_select *select, struct reason *why)
{
    struct reason inner;

    if (select_check(select, &inner) == 0)
        return 0;
    reason_set(why, "LOSS: %s", inner.text);
    return -OHEM_MALFORMED;
}

/* A report that is not ragged has losses, as many as a batch may have instances. */
static int check_loss_count(const struct message_loss *l, struct reason *why)
{
    size_t count = l->losses.count;

    if (items_are_ragged(&l->items) || (count >= 1 && count <= MESSAGE_BATCH_SIZE_MAX))
        return 0;
    reason_set(why, "LOSS: count is %zu; 1..%u (MESSAGE_BATCH_SIZE_MAX) is allowed", count,
               MESSAGE_BATCH_SIZE_MAX);
    return count == 0 ? -OHEM_MALFORMED : -OHEM_TOO_LARGE;
}

static int check_items(const struct message_loss *l, struct reason *why)
{
    struct reason inner;
    int rc = items_check(&l->items, l->losses.count, &inner);

    if (rc == 0)
        return 0;
    reason_set(why, "LOSS: %s", inner.text);
    return rc == -OHEM_INVALID ? -OHEM_MALFORMED : rc;
}

static int check_loss(const struct message *m, struct reason *why)
{
    const struct message_loss *l = &m->loss;
    bool ragged = items_are_ragged(&l->items);
    int rc = check_loss_count(l, why);

    if (rc == 0)
        rc = check_beside("ids", l->ids.count, ragged ? "items.count" : "count",
                          ragged ? l->items.counts.count : l->losses.count, why);
    if (rc == 0)
        rc = check_beside("flags", l->flags.count, "count", l->losses.count, why);
    if (rc == 0)
        rc = check_flags(l->flags, why);
    if (rc == 0)
        rc = check_select(&l->select, why);
    return rc == 0 ? check_items(l, why) : rc;
}

/* Indices ascend and lie below n, which is the losses that could be selected and the others. */
static int check_selection(const struct message *m, struct reason *why)
{
    const struct message_selection *s = &m->selection;
    uint64_t n = (uint64_t)s->all.count + s->nonfinite_count + s->ignored_count;
    uint32_t most = s->scores.count > 0 ? MESSAGE_ITEMS_MAX : MESSAGE_BATCH_SIZE_MAX;
    uint64_t low = 0;

    if (s->kept.count > s->all.count) {
        reason_set(why,
                   "SELECTION: kept.count is %" PRIu32 "; at most all.count %" PRIu32 " is allowed",
                   s->kept.count, s->all.count);
        return -OHEM_MALFORMED;
    }
    if (s->weights.count > 0 && s->weights.count != s->kept.count) {
        reason_set(why, "SELECTION: weights.count is %zu; 0 or kept.count %" PRIu32 " is allowed",
                   s->weights.count, s->kept.count);
        return -OHEM_MALFORMED;
    }
    if (s->share.count < s->kept.count) {
        reason_set(why,
                   "SELECTION: share.count is %" PRIu32 "; at least kept.count %" PRIu32
                   " is allowed",
                   s->share.count, s->kept.count);
        return -OHEM_MALFORMED;
    }
    if (n > most) {
        reason_set(why,
                   "SELECTION: all.count, nonfinite_count and ignored_count are %" PRIu64
                   "; at most %" PRIu32 " (%s) is allowed",
                   n, most, s->scores.count > 0 ? "MESSAGE_ITEMS_MAX" : "MESSAGE_BATCH_SIZE_MAX");
        return -OHEM_TOO_LARGE;
    }
    for (uint32_t i = 0; i < s->kept.count; i++) {
        uint32_t index = vector_u32(s->indices, i);

        if (index < low || index >= n) {
            reason_set(why,
                       "SELECTION: indices[%" PRIu32 "] is %" PRIu32 "; they ascend, so at least "
                       "%" PRIu64 " and below %" PRIu64 " is allowed",
                       i, index, low, n);
            return -OHEM_MALFORMED;
        }
        low = (uint64_t)index + 1;
    }
    return 0;
}

#define FIELDS(m) .fields = m##_fields, .field_count = sizeof m##_fields / sizeof m##_fields[0]
#define COLUMNS(m) \
    .columns = m##_columns, .column_count = sizeof m##_columns / sizeof m##_columns[0]

static const struct layout layouts[] = {
    {.type = MESSAGE_HELLO, FIELDS(hello), COLUMNS(hello), .versioned = true},
    {.type = MESSAGE_WELCOME, FIELDS(welcome), .versioned = true},
    {.type = MESSAGE_CREDIT, FIELDS(credit)},
    {.type = MESSAGE_BATCH, FIELDS(batch), COLUMNS(batch), .check = check_batch},
    {.type = MESSAGE_LOSS, FIELDS(loss), COLUMNS(loss), .optional_count = 3, .check = check_loss},
    {.type = MESSAGE_SELECTION,
     FIELDS(selection),
     COLUMNS(selection),
     .optional_count = 2,
     .check = check_selection},
    {.type = MESSAGE_PING, FIELDS(ping)},
    {.type = MESSAGE_PONG, FIELDS(pong)},
    {.type = MESSAGE_BYE, FIELDS(bye)},
    {.type = MESSAGE_ERROR, FIELDS(error)},
    {.type = MESSAGE_READY, FIELDS(ready)},
    {.type = MESSAGE_PART, FIELDS(part), COLUMNS(part)},
    {.type = MESSAGE_SYNC, FIELDS(sync)},
    {.type = MESSAGE_DURABLE, FIELDS(durable)},
};

/* The types are numbered from 1 without a gap, and the table is in their order. */
const struct layout *layout_find(uint64_t type)
{
    return type >= 1 && type <= sizeof layouts / sizeof layouts[0] ? &layouts[type - 1] : NULL;
}

/* An integer field's value, whatever its width. */
uint64_t layout_load(const struct layout_field *f, const struct message *m)
{
    const char *at = (const char *)m + f->offset;

    if (f->kind == FIELD_U32)
        return *(const uint32_t *)at;
    return f->kind == FIELD_U64 ? *(const uint64_t *)at : *(const size_t *)at;
}

void layout_store(const struct layout_field *f, struct message *m, uint64_t value)
{
    char *at = (char *)m + f->offset;

    if (f->kind == FIELD_U32)
        *(uint32_t *)at = (uint32_t)value;
    else if (f->kind == FIELD_U64)
        *(uint64_t *)at = value;
    else
        *(size_t *)at = (size_t)value;
}
