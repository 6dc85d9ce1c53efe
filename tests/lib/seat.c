/* seat.c - sessions and leases for tests; see seat.h. */
#include "seat.h"

#include "../../daemon/engine/lease_rows.h"
#include "../../daemon/engine/rng.h"
#include "test.h"

#include <string.h>

static uint64_t chance(uint64_t seed, uint64_t i, uint64_t below)
{
    return rng_at(rng_make(seed, "leases", RNG_DRAW), i, 0, 0).first % below;
}

struct session *seat_new(uint64_t number, uint32_t credit, uint32_t batch_size)
{
    const struct message_hello hello = {
        .key = {{(uint8_t)number, 7}}, .batch_size = batch_size, .credit = credit};
    struct session *s = session_new(&hello, NULL, 0, number, 0);

    assert_non_null(s);
    return s;
}

void seat_open(struct seat *s, uint64_t number, uint32_t credit, uint32_t batch_size)
{
    *s = (struct seat){.session = seat_new(number, credit, batch_size)};
    assert_int_equal(lease_table_init(&s->table, SEAT_LEASE_MS, SEAT_LATE_MS), 0);
    assert_int_equal(lease_table_reserve(&s->table, credit), 0);
}

void seat_close(struct seat *s)
{
    lease_table_deinit(&s->table);
    session_free(s->session);
}

/* What is in a lease follows from its step. */
static void fill(struct lease *l, uint64_t step)
{
    l->count = (uint32_t)(2 + chance(step, 0, l->session->batch_size - 1));
    l->coverage_count = (uint32_t)chance(step, 1, l->count + 1);
    l->epoch = chance(step, 2, 100);
    l->lsn = chance(step, 3, UINT64_MAX);
    for (uint32_t i = 0; i < l->count; i++) {
        l->ids[i] = (uint32_t)chance(step, 10 + i, SEAT_N);
        l->epochs[i] = (uint32_t)chance(step, 20 + i, 100);
        l->probabilities[i] = (float)chance(step, 30 + i, 1000) / 1000;
        l->weights[i] = (float)chance(step, 40 + i, 1000) / 100;
    }
}

static void answer(struct lease *l, uint64_t step)
{
    struct selection *s = &l->answer.selection;

    l->answer.digest = chance(step, 50, UINT64_MAX);
    l->answer.seq = chance(step, 51, 1000);
    l->answer.lsn = chance(step, 52, 1000);
    l->answer.flags = (uint32_t)chance(step, 53, 4);
    s->nonfinite_count = (uint32_t)chance(step, 55, l->count);
    s->ignored_count = (uint32_t)chance(step, 56, l->count - s->nonfinite_count);
    s->all =
        (struct loss_stats){l->count - s->nonfinite_count - s->ignored_count, 1, (float)step, 3};
    s->count = 1 + (uint32_t)chance(step, 54, s->all.count);
    s->kept = (struct loss_stats){s->count, 4, 5, (float)step};
    for (uint32_t i = 0; i < s->count; i++) {
        s->indices[i] = (uint32_t)chance(step, 60 + i, l->count);
        s->weights[i] = (float)chance(step, 70 + i, 1000);
    }
}

void seat_grant_all(struct seat *s)
{
    for (uint64_t slot = 0; slot < SEAT_GRANTED; slot++) {
        struct lease *l = &s->session->slots[slot];

        fill(l, slot);
        lease_grant(&s->table, l, (struct token){slot, slot + 100}, slot < 2 ? 0 : 10);
    }
    assert_ptr_equal(lease_expire(&s->table, 1000), &s->session->slots[0]);
    assert_ptr_equal(lease_expire(&s->table, 1000), &s->session->slots[1]);
    assert_ptr_equal(lease_close_late(&s->table, 6000), &s->session->slots[0]);
    for (uint64_t slot = 2; slot < 4; slot++) {
        answer(&s->session->slots[slot], slot);
        lease_settle(&s->table, &s->session->slots[slot]);
    }
}

size_t seat_capture(struct seat *s, struct disk *to, int soil)
{
    size_t bytes = lease_capture_bytes(&s->table), count;
    struct rows rows = {0};

    assert_int_equal(rows_reserve(&rows, bytes), 0);
    memset(rows.bytes, soil, rows.capacity);
    lease_capture(&s->table, SEAT_JOB, &rows);
    assert_true(rows.size <= bytes);
    assert_true(TAILQ_EMPTY(&s->table.unsaved));
    disk_write(to, &rows);
    count = rows.count;
    rows_deinit(&rows);
    return count;
}
