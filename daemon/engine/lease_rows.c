/* lease_rows.c - leases and sessions as rows, and back; see lease_rows.h.
 *
 * The bytes are the machine's own: a state directory does not move between kinds of machines
 * (message.h wants little-endian anyhow). What is read is checked: a damaged row is an error.
 */
#include "lease_rows.h"

#include "../../proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLOT_BITS 8 /* of a lease's number in its table; MESSAGE_CREDIT_MAX fits */

/* On disk, both. To change one: raise its version, read both, write the new one. */
#define LEASE_VERSION   2
#define SESSION_VERSION 1

struct lease_row {
    uint32_t version, state;
    struct token token;
    uint64_t epoch, lsn;
    uint32_t count, coverage_count;
    uint64_t digest, seq, answer_lsn; /* the answer, of a settled one */
    uint32_t flags, selected, nonfinite_count, ignored_count;
    struct loss_stats all, kept;
    struct message_share share;
    uint32_t reserved;
    /* then u32 ids[count], u32 epochs[coverage_count], f32 probabilities[count], f32
     * weights[count], u32 indices[selected], f32 selection weights[selected] */
};

struct session_row {
    uint32_t version, rank, batch_size, credit, credit_asked, layout, ways, reserved;
    struct session_key key;
    uint64_t applied_seq, reports, batches;
    char agent[MESSAGE_AGENT_BYTES_MAX + 8]; /* up to the end of the row */
};

_Static_assert(sizeof(struct session_row) ==
                   offsetof(struct session_row, agent) + MESSAGE_AGENT_BYTES_MAX + 8,
               "no byte of it is left to chance");

/* ---- leases ------------------------------------------------------------------------------------
 */

static uint64_t row_number(const struct lease *l)
{
    return l->session->number << SLOT_BITS | (uint64_t)(l - l->session->slots);
}

uint64_t lease_row_session(uint64_t number)
{
    return number >> SLOT_BITS;
}

static size_t lease_bytes(uint32_t count, uint32_t coverage_count, uint32_t selected)
{
    return sizeof(struct lease_row) +
           4 * (3 * (size_t)count + coverage_count + 2 * (size_t)selected);
}

static uint32_t selected_of(const struct lease *l)
{
    return l->state == LEASE_SETTLED ? l->answer.selection.count : 0;
}

size_t lease_capture_bytes(const struct lease_table *t)
{
    const struct lease *l;
    size_t bytes = 0;

    TAILQ_FOREACH (l, &t->unsaved, unsaved)
        bytes += lease_bytes(l->count, l->coverage_count, selected_of(l)) + ROWS_CHANGE_BYTES;
    return bytes;
}

static unsigned char *copy_to(unsigned char *at, const void *from, size_t count)
{
    memcpy(at, from, 4 * count);
    return at + 4 * count;
}

static void write_lease(struct lease_row *row, const struct lease *l)
{
    const struct lease_answer *a = &l->answer;
    const struct selection *s = &a->selection;
    uint32_t selected = selected_of(l);
    unsigned char *at = (unsigned char *)(row + 1);

    *row = (struct lease_row){.version = LEASE_VERSION,
                              .state = l->state,
                              .token = l->token,
                              .epoch = l->epoch,
                              .lsn = l->lsn,
                              .count = l->count,
                              .coverage_count = l->coverage_count};
    at = copy_to(at, l->ids, l->count);
    at = copy_to(at, l->epochs, l->coverage_count);
    at = copy_to(at, l->probabilities, l->count);
    at = copy_to(at, l->weights, l->count);
    if (l->state != LEASE_SETTLED)
        return;
    row->digest = a->digest;
    row->seq = a->seq;
    row->answer_lsn = a->lsn;
    row->flags = a->flags;
    row->selected = selected;
    row->nonfinite_count = s->nonfinite_count;
    row->ignored_count = s->ignored_count;
    row->all = s->all;
    row->kept = s->kept;
    row->share = a->share;
    at = copy_to(at, s->indices, selected);
    (void)copy_to(at, s->weights, selected);
}

void lease_capture(struct lease_table *t, uint32_t job, struct rows *out)
{
    struct lease *l;

    while ((l = TAILQ_FIRST(&t->unsaved)) != NULL) {
        uint64_t number = row_number(l);
        struct lease_row *row;

        if (l->state == LEASE_FREE) {
            rows_remove(out, ROWS_LEASE, job, number, number);
        } else {
            row = rows_put(out, (struct rows_key){ROWS_LEASE, job, number},
                           lease_bytes(l->count, l->coverage_count, selected_of(l)));
            if (row != NULL)
                write_lease(row, l);
        }
        lease_saved(t, l);
    }
}

static const unsigned char *copy_from(void *to, const unsigned char *at, size_t count)
{
    memcpy(to, at, 4 * count);
    return at + 4 * count;
}

static bool all_are_one(const float *weights, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (weights[i] < 1 || weights[i] > 1)
            return false;
    return true;
}

static void read_answer(struct lease_answer *a, const struct lease_row *row,
                        const unsigned char *at)
{
    a->digest = row->digest;
    a->seq = row->seq;
    a->lsn = row->answer_lsn;
    a->flags = row->flags;
    a->selection.count = row->selected;
    a->selection.nonfinite_count = row->nonfinite_count;
    a->selection.ignored_count = row->ignored_count;
    a->selection.all = row->all;
    a->selection.kept = row->kept;
    a->share = row->share;
    at = copy_from(a->selection.indices, at, row->selected);
    (void)copy_from(a->selection.weights, at, row->selected);
    a->selection.weighted = !all_are_one(a->selection.weights, row->selected);
}

/* Do the answer's numbers say what a SELECTION can say? */
static bool adds_up(const struct lease_row *row)
{
    uint64_t all = (uint64_t)row->all.count + row->nonfinite_count + row->ignored_count;

    return all == row->count && row->kept.count == row->selected &&
           row->selected <= row->all.count && row->share.present <= MESSAGE_ROUND_RANKS_MAX &&
           (row->share.present == 0 || row->share.count >= row->selected);
}

/* Is it as long as it says? Only a settled one has an answer. */
static bool is_whole(const struct lease_row *row, size_t size, uint32_t batch_size)
{
    if (size < sizeof *row || row->version != LEASE_VERSION || row->state < LEASE_OPEN ||
        row->state > LEASE_CLOSED || row->count < 1 || row->count > batch_size ||
        row->coverage_count > row->count)
        return false;
    if (row->state == LEASE_SETTLED ? !adds_up(row) : row->selected > 0)
        return false;
    return size == lease_bytes(row->count, row->coverage_count, row->selected);
}

static bool are_below(const uint32_t *numbers, uint32_t count, uint64_t end)
{
    for (uint32_t i = 0; i < count; i++)
        if (numbers[i] >= end)
            return false;
    return true;
}

static bool is_sound(const struct lease_row *row, size_t size, uint32_t batch_size, uint64_t n)
{
    const uint32_t *ids = (const uint32_t *)(row + 1);

    return is_whole(row, size, batch_size) && are_below(ids, row->count, n) &&
           are_below(ids + 3 * (size_t)row->count + row->coverage_count, row->selected, row->count);
}

int lease_row_restore(struct lease_table *t, struct session *s, uint64_t number, const void *value,
                      size_t size, uint64_t n, struct reason *why)
{
    const struct lease_row *row = value;
    uint64_t slot = number & ((1u << SLOT_BITS) - 1);
    const unsigned char *at = (const unsigned char *)(row + 1);
    struct lease *l;

    if (slot >= s->credit || s->slots[slot].state != LEASE_FREE ||
        !is_sound(row, size, s->batch_size, n)) {
        reason_set(why, "the lease of session %" PRIu64 ", slot %" PRIu64 ", cannot be read",
                   s->number, slot);
        return -OHEM_STATE;
    }
    l = &s->slots[slot];
    l->token = row->token;
    l->epoch = row->epoch;
    l->lsn = row->lsn;
    l->count = row->count;
    l->coverage_count = row->coverage_count;
    at = copy_from(l->ids, at, row->count);
    at = copy_from(l->epochs, at, row->coverage_count);
    at = copy_from(l->probabilities, at, row->count);
    at = copy_from(l->weights, at, row->count);
    read_answer(&l->answer, row, at);
    lease_restore(t, l, (enum lease_state)row->state);
    s->free_count--;
    return 0;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

size_t session_capture_bytes(void)
{
    return sizeof(struct session_row) + ROWS_CHANGE_BYTES;
}

void session_capture(struct session *s, uint32_t job, struct rows *out)
{
    struct session_row *row =
        rows_put(out, (struct rows_key){ROWS_SESSION, job, s->number}, sizeof *row);

    if (row == NULL)
        return;
    *row = (struct session_row){.version = SESSION_VERSION,
                                .rank = s->rank,
                                .batch_size = s->batch_size,
                                .credit = s->credit,
                                .credit_asked = s->credit_asked,
                                .layout = s->layout,
                                .ways = s->ways,
                                .key = s->key,
                                .applied_seq = s->applied_seq,
                                .reports = s->reports,
                                .batches = s->batches};
    memcpy(row->agent, s->agent, sizeof s->agent);
    s->saved = true;
    s->dirty = false;
    s->captured_seq = s->applied_seq;
}

void session_capture_gone(uint64_t number, uint32_t job, struct rows *out)
{
    rows_remove(out, ROWS_SESSION, job, number, number);
    rows_remove(out, ROWS_LEASE, job, number << SLOT_BITS,
                (number << SLOT_BITS) + (1u << SLOT_BITS) - 1);
}

int session_row_read(const void *value, size_t size, struct message_hello *out, struct reason *why)
{
    const struct session_row *row = value;

    if (size != sizeof *row || row->version != SESSION_VERSION || row->batch_size < 1 ||
        row->batch_size > MESSAGE_BATCH_SIZE_MAX || row->credit < 1 ||
        row->credit > MESSAGE_CREDIT_MAX || row->layout > MESSAGE_RECORDS_MAX) {
        reason_set(why, "a session's row cannot be read");
        return -OHEM_STATE;
    }
    *out = (struct message_hello){.key = row->key,
                                  .rank = row->rank,
                                  .batch_size = row->batch_size,
                                  .credit = row->credit,
                                  .layout = row->layout,
                                  .ways = row->ways};
    (void)snprintf(out->agent, sizeof out->agent, "%.*s", (int)sizeof out->agent - 1, row->agent);
    return 0;
}

void session_row_restore(struct session *s, const void *value)
{
    const struct session_row *row = value;

    s->credit_asked = row->credit_asked;
    s->applied_seq = s->captured_seq = s->durable_seq = row->applied_seq;
    s->reports = row->reports;
    s->batches = row->batches;
    s->saved = true;
    s->unreachable = true; /* until it is heard */
}
