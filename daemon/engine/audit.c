/* audit.c - entries, rows of them, and what a row says of an instance; see audit.h. */
#include "audit.h"

#include "../../proto/error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MIN 65536

/* On disk, all. To change one: raise the version, read both, write the new one. */
#define VERSION 1

struct entry { /* one behind the other in a row, each at a multiple of 8 */
    uint32_t version, kind;
    uint32_t bytes; /* of the whole entry */
    uint32_t count;
    uint64_t step, session, lsn;
};

struct draw {
    struct entry entry;
    uint64_t epoch;
    uint32_t coverage_count, weight;
    double alpha, bias_share;
    /* then u32 ids[count], f32 p[count], f32 w[count] */
};

struct report {
    struct entry entry;
    uint32_t flags, selected_count;
    /* then u32 ids[count], f32 losses[count], u32 selected[words_for(count)]: bits */
};

enum { LATE = 1, UNDECIDED = 2 }; /* flags of a report */

static size_t words_for(uint32_t count)
{
    return ((size_t)count + 31) / 32;
}

static size_t padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

static size_t draw_bytes(uint32_t count)
{
    return padded(sizeof(struct draw) + (size_t)count * 12);
}

static size_t report_bytes(uint32_t count)
{
    return padded(sizeof(struct report) + (size_t)count * 8 + words_for(count) * 4);
}

void audit_init(struct audit *a, uint64_t bytes_max)
{
    *a = (struct audit){.on = bytes_max > 0, .bytes_max = bytes_max};
}

void audit_deinit(struct audit *a)
{
    free(a->bytes);
    *a = (struct audit){0};
}

/* ---- entries -----------------------------------------------------------------------------------
 */

int audit_reserve(struct audit *a, uint32_t count)
{
    size_t capacity = a->capacity > 0 ? a->capacity : BYTES_MIN;
    unsigned char *bytes;

    if (!a->on)
        return 0;
    while (capacity - a->size < draw_bytes(count)) /* the larger kind */
        capacity *= 2;
    if (capacity == a->capacity)
        return 0;
    bytes = realloc(a->bytes, capacity);
    if (bytes == NULL)
        return -OHEM_NOMEM;
    a->bytes = bytes;
    a->capacity = capacity;
    return 0;
}

/* The place of the next entry, all zero. */
static void *append(struct audit *a, size_t bytes)
{
    void *at = a->bytes + a->size;

    assert(a->capacity - a->size >= bytes);
    memset(at, 0, bytes);
    a->size += bytes;
    return at;
}

void audit_draw(struct audit *a, const struct audit_draw *draw, const struct sampler_policy *policy)
{
    size_t bytes = draw_bytes(draw->count);
    struct draw *d;
    uint32_t *at;

    if (!a->on)
        return;
    d = append(a, bytes);
    *d = (struct draw){.entry = {.version = VERSION,
                                 .kind = AUDIT_DRAW,
                                 .bytes = (uint32_t)bytes,
                                 .count = draw->count,
                                 .step = draw->step,
                                 .session = draw->session,
                                 .lsn = draw->lsn},
                       .epoch = draw->epoch,
                       .coverage_count = draw->coverage_count,
                       .weight = policy->weight,
                       .alpha = policy->alpha,
                       .bias_share = draw->bias_share};
    at = (uint32_t *)(d + 1);
    memcpy(at, draw->ids, draw->count * 4);
    memcpy(at += draw->count, draw->probabilities, draw->count * 4);
    memcpy(at + draw->count, draw->weights, draw->count * 4);
}

void audit_report(struct audit *a, const struct audit_report *report)
{
    size_t bytes = report_bytes(report->count);
    struct report *r;
    uint32_t *at;

    if (!a->on)
        return;
    r = append(a, bytes);
    *r = (struct report){.entry = {.version = VERSION,
                                   .kind = AUDIT_REPORT,
                                   .bytes = (uint32_t)bytes,
                                   .count = report->count,
                                   .step = report->step,
                                   .session = report->session,
                                   .lsn = report->lsn},
                         .flags = (report->late ? LATE : 0u) | (report->undecided ? UNDECIDED : 0u),
                         .selected_count = report->selected_count};
    at = (uint32_t *)(r + 1);
    memcpy(at, report->ids, report->count * 4);
    memcpy(at += report->count, report->losses, report->count * 4);
    at += report->count;
    for (uint32_t i = 0; i < report->selected_count; i++)
        at[report->selected[i] / 32] |= UINT32_C(1) << report->selected[i] % 32;
}

/* ---- rows --------------------------------------------------------------------------------------
 */

size_t audit_capture_bytes(const struct audit *a)
{
    size_t segments = a->size / (AUDIT_SEGMENT_BYTES / 2) + 2;

    return a->size + (segments + 1) * ROWS_CHANGE_BYTES;
}

/* Entries that go into one row: from `begin`, at least one. @return where the next row begins. */
static size_t segment_end(const struct audit *a, size_t begin)
{
    size_t end = begin;

    while (end < a->size) {
        const struct entry *e = (const void *)(a->bytes + end);

        if (end > begin && end + e->bytes - begin > AUDIT_SEGMENT_BYTES)
            break;
        end += e->bytes;
    }
    return end;
}

static void capture_entries(struct audit *a, uint32_t job, struct rows *out)
{
    for (size_t begin = 0, end = 0; begin < a->size; begin = end) {
        void *row;

        end = segment_end(a, begin);
        row = rows_put(out, (struct rows_key){ROWS_AUDIT, job, a->end + begin}, end - begin);
        if (row != NULL)
            memcpy(row, a->bytes + begin, end - begin);
    }
    a->end += a->size;
    a->size = 0;
}

void audit_capture(struct audit *a, uint32_t job, struct rows *out)
{
    uint64_t begin;

    if (!a->on)
        return;
    capture_entries(a, job, out);
    begin = a->end > a->bytes_max ? a->end - a->bytes_max : 0;
    if (begin <= a->begin)
        return;
    if (begin - a->begin > AUDIT_CUT_BYTES_MAX) /* bytes_max was larger before */
        begin = a->begin + AUDIT_CUT_BYTES_MAX;
    rows_remove(out, ROWS_AUDIT, job, 0, begin - 1);
    a->begin = begin;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool is_sound(const struct entry *e, size_t size)
{
    const struct draw *d = (const void *)e;

    if (size < sizeof *e || e->version != VERSION || e->bytes > size)
        return false;
    if (e->kind == AUDIT_DRAW)
        return e->bytes == draw_bytes(e->count) && d->coverage_count <= e->count &&
               d->weight <= SAMPLER_UNIFORM;
    return e->kind == AUDIT_REPORT && e->bytes == report_bytes(e->count);
}

/* 1 + how many are larger, or as large and before it. */
static uint32_t rank_of(const float *losses, uint32_t count, uint32_t place)
{
    uint32_t rank = 1;

    if (!isfinite(losses[place]))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        rank += isfinite(losses[i]) &&
                (losses[i] > losses[place] || (i < place && losses[i] >= losses[place]));
    return rank;
}

static void fill_draw(const struct draw *d, uint32_t place, struct audit_event *out)
{
    const uint32_t *ids = (const uint32_t *)(d + 1);
    const void *behind = ids + d->entry.count;
    const float *p = behind, *w = p + d->entry.count;

    out->epoch = d->epoch;
    out->coverage = place < d->coverage_count;
    out->coverage_count = d->coverage_count;
    out->weight = (enum sampler_weight)d->weight;
    out->alpha = d->alpha;
    out->bias_share = d->bias_share;
    out->p = p[place];
    out->w = w[place];
}

static void fill_report(const struct report *r, uint32_t place, struct audit_event *out)
{
    const uint32_t *ids = (const uint32_t *)(r + 1);
    const uint32_t *selected = ids + 2 * (size_t)r->entry.count;
    const void *behind = ids + r->entry.count;
    const float *losses = behind;

    out->late = (r->flags & LATE) != 0;
    out->undecided = (r->flags & UNDECIDED) != 0;
    out->selected = (selected[place / 32] >> place % 32 & 1) != 0;
    out->selected_count = r->selected_count;
    out->loss = losses[place];
    out->rank = rank_of(losses, r->entry.count, place);
}

static void tell(const struct entry *e, uint32_t place, audit_event_cb event_cb, void *ctx)
{
    struct audit_event event = {.kind = (enum audit_kind)e->kind,
                                .step = e->step,
                                .session = e->session,
                                .lsn = e->lsn,
                                .count = e->count,
                                .place = place};

    if (e->kind == AUDIT_DRAW)
        fill_draw((const void *)e, place, &event);
    else
        fill_report((const void *)e, place, &event);
    event_cb(ctx, &event);
}

int audit_search(const void *value, size_t size, uint32_t id, audit_event_cb event_cb, void *ctx)
{
    const unsigned char *bytes = value;

    for (size_t at = 0; at < size;) {
        const struct entry *e = (const void *)(bytes + at);
        const void *behind = bytes + at;
        const uint32_t *ids;

        if (!is_sound(e, size - at))
            return -OHEM_STATE;
        ids = e->kind == AUDIT_DRAW ? (const uint32_t *)((const struct draw *)behind + 1)
                                    : (const uint32_t *)((const struct report *)behind + 1);
        for (uint32_t i = 0; i < e->count; i++)
            if (ids[i] == id)
                tell(e, i, event_cb, ctx);
        at += e->bytes;
    }
    return 0;
}
