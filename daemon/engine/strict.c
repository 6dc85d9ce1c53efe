/* strict.c - the window of batches in strict order; see strict.h. */
#include "strict.h"

#include "../../proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* On disk. To change it: raise the version, read both, write the new one. */
#define ROW_VERSION 1

struct row {
    uint32_t version, count, coverage_count, reserved;
    uint64_t epoch, lsn;
    double bias_share;
    /* then u32 ids[count], u32 epochs[coverage_count], f32 probabilities[count], f32 weights[count]
     */
};

static bool init_batch(struct strict_batch *b, uint32_t k)
{
    b->ids = malloc(k * sizeof *b->ids);
    b->epochs = malloc(k * sizeof *b->epochs);
    b->probabilities = malloc(k * sizeof *b->probabilities);
    b->weights = malloc(k * sizeof *b->weights);
    b->losses = malloc(k * sizeof *b->losses);
    b->selected = malloc(k * sizeof *b->selected);
    return b->ids != NULL && b->epochs != NULL && b->probabilities != NULL && b->weights != NULL &&
           b->losses != NULL && b->selected != NULL;
}

int strict_init(struct strict *s, uint32_t staleness, uint32_t batch_size)
{
    bool whole = true;

    *s = (struct strict){.staleness = staleness, .batch_size = batch_size};
    if (staleness == 0)
        return 0;
    s->window = calloc(staleness, sizeof *s->window);
    for (uint32_t i = 0; s->window != NULL && i < staleness && whole; i++)
        whole = init_batch(&s->window[i], batch_size);
    if (s->window != NULL && whole)
        return 0;
    strict_deinit(s);
    return -OHEM_NOMEM;
}

void strict_deinit(struct strict *s)
{
    for (uint32_t i = 0; s->window != NULL && i < s->staleness; i++) {
        struct strict_batch *b = &s->window[i];

        free(b->ids);
        free(b->epochs);
        free(b->probabilities);
        free(b->weights);
        free(b->losses);
        free(b->selected);
    }
    free(s->window);
    *s = (struct strict){0};
}

static struct strict_batch *place_of(const struct strict *s, uint64_t step)
{
    return &s->window[step % s->staleness];
}

bool strict_may_draw(const struct strict *s)
{
    return s->drawn - s->applied < s->staleness;
}

static struct strict_batch *add(struct strict *s, uint64_t step)
{
    struct strict_batch *b = place_of(s, step);

    b->state = STRICT_READY;
    b->step = step;
    b->reporter = NULL;
    b->reported = b->saved = false;
    s->ready_count++;
    return b;
}

struct strict_batch *strict_draw(struct strict *s)
{
    assert(strict_may_draw(s));
    return add(s, s->drawn++);
}

struct strict_batch *strict_at(const struct strict *s, uint64_t step)
{
    return step >= s->applied && step < s->drawn ? place_of(s, step) : NULL;
}

struct strict_batch *strict_out(const struct strict *s, uint64_t step)
{
    struct strict_batch *b = strict_at(s, step);

    return b != NULL && b->state == STRICT_OUT ? b : NULL;
}

static bool is_held(const struct session *session, uint64_t step)
{
    for (uint32_t i = 0; i < session->credit; i++)
        if (session->slots[i].state != LEASE_FREE && session->slots[i].token.step == step)
            return true;
    for (uint32_t i = 0; i < session->claim_count; i++)
        if (session->claims[i].token.step == step)
            return true;
    return false;
}

struct strict_batch *strict_ready(const struct strict *s, const struct session *session)
{
    if (s->ready_count == 0)
        return NULL;
    for (uint64_t step = s->applied; step < s->drawn; step++) {
        struct strict_batch *b = place_of(s, step);

        if (b->state == STRICT_READY && !is_held(session, step))
            return b;
    }
    return NULL;
}

void strict_set(struct strict *s, struct strict_batch *b, enum strict_state state)
{
    s->ready_count -= b->state == STRICT_READY;
    b->state = state;
    s->ready_count += state == STRICT_READY;
}

struct strict_batch *strict_next(const struct strict *s)
{
    struct strict_batch *b = s->applied < s->drawn ? place_of(s, s->applied) : NULL;

    return b != NULL && b->state == STRICT_DONE ? b : NULL;
}

void strict_applied(struct strict *s)
{
    assert(strict_next(s) != NULL);
    s->applied++;
}

uint64_t strict_applied_seq(const struct strict *s, const struct session *session,
                            uint64_t reported_seq)
{
    uint64_t seq = reported_seq;

    for (uint64_t step = s->applied; step < s->drawn; step++) {
        const struct strict_batch *b = place_of(s, step);

        if (b->state == STRICT_DONE && b->reported && b->reporter == session && b->seq <= seq)
            seq = b->seq - 1;
    }
    return seq;
}

void strict_forget_session(struct strict *s, const struct session *session)
{
    for (uint32_t i = 0; i < s->staleness; i++)
        if (s->window[i].reporter == session)
            s->window[i].reporter = NULL;
}

/* ---- rows --------------------------------------------------------------------------------------
 */

static size_t row_bytes(uint32_t count, uint32_t coverage_count)
{
    return sizeof(struct row) + 4 * (3 * (size_t)count + coverage_count);
}

size_t strict_capture_bytes(const struct strict *s)
{
    return (s->drawn - s->applied) * (row_bytes(s->batch_size, s->batch_size) + ROWS_CHANGE_BYTES) +
           ROWS_CHANGE_BYTES;
}

static void capture_batch(struct strict_batch *b, uint32_t job, struct rows *out)
{
    struct row *row = rows_put(out, (struct rows_key){ROWS_BATCH, job, b->step},
                               row_bytes(b->count, b->coverage_count));
    uint32_t *at;

    if (row == NULL)
        return;
    *row = (struct row){.version = ROW_VERSION,
                        .count = b->count,
                        .coverage_count = b->coverage_count,
                        .epoch = b->epoch,
                        .lsn = b->lsn,
                        .bias_share = b->bias_share};
    at = (uint32_t *)(row + 1);
    memcpy(at, b->ids, b->count * 4);
    memcpy(at += b->count, b->epochs, b->coverage_count * 4);
    memcpy(at += b->coverage_count, b->probabilities, b->count * 4);
    memcpy(at + b->count, b->weights, b->count * 4);
    b->saved = true;
}

void strict_capture(struct strict *s, uint32_t job, struct rows *out)
{
    for (uint64_t step = s->applied; step < s->drawn; step++)
        if (!place_of(s, step)->saved)
            capture_batch(place_of(s, step), job, out);
    if (s->applied > s->saved_applied)
        rows_remove(out, ROWS_BATCH, job, 0, s->applied - 1);
    s->saved_applied = s->applied;
}

static bool is_sound(const struct strict *s, uint64_t step, const struct row *row, size_t size,
                     uint64_t n)
{
    const uint32_t *ids = (const uint32_t *)(row + 1);

    if (size < sizeof *row || row->version != ROW_VERSION || !strict_may_draw(s) ||
        step != s->drawn || row->count < 1 || row->count > s->batch_size ||
        row->coverage_count > row->count || size != row_bytes(row->count, row->coverage_count))
        return false;
    for (uint32_t i = 0; i < row->count; i++)
        if (ids[i] >= n)
            return false;
    return true;
}

int strict_restore(struct strict *s, uint64_t step, const void *value, size_t size, uint64_t n,
                   struct reason *why)
{
    const struct row *row = value;
    const uint32_t *at = (const uint32_t *)(row + 1);
    struct strict_batch *b;

    if (!is_sound(s, step, row, size, n)) {
        reason_set(why, "the batch of step %" PRIu64 " cannot be read", step);
        return -OHEM_STATE;
    }
    b = strict_draw(s);
    b->count = row->count;
    b->coverage_count = row->coverage_count;
    b->epoch = row->epoch;
    b->lsn = row->lsn;
    b->bias_share = row->bias_share;
    memcpy(b->ids, at, b->count * 4);
    memcpy(b->epochs, at += b->count, b->coverage_count * 4);
    memcpy(b->probabilities, at += b->coverage_count, b->count * 4);
    memcpy(b->weights, at + b->count, b->count * 4);
    b->saved = true;
    return 0;
}
