/* test_lease_saved.c - which leases are to be saved, those that an earlier life left, and the
 * latest lease of a step. The life of one is in test_lease.c. */
#include "../../daemon/engine/rng.h"
#include "../lib/seat.h"
#include "../lib/test.h"

#include <string.h>

#define SLOTS 6u
#define K     4u

static struct lease *grant(struct seat *d, size_t slot, uint64_t step, uint64_t now_ms)
{
    lease_grant(&d->table, &d->session->slots[slot], (struct token){step, step}, now_ms);
    return &d->session->slots[slot];
}

/* In the queue of the unsaved: as often as it is dirty. */
static bool is_unsaved(const struct seat *d, const struct lease *l)
{
    const struct lease *each;
    int count = 0;

    TAILQ_FOREACH (each, &d->table.unsaved, unsaved)
        count += each == l;
    assert_int_equal(count, l->dirty);
    return l->dirty;
}

static void each_change_of_state_is_to_be_saved(void **state)
{
    struct seat d;
    struct lease *l;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    l = grant(&d, 0, 7, 0);
    assert_true(is_unsaved(&d, l));
    lease_saved(&d.table, l);
    assert_true(!is_unsaved(&d, l) && l->saved);
    assert_ptr_equal(lease_expire(&d.table, SEAT_LEASE_MS), l);
    assert_true(is_unsaved(&d, l));
    lease_saved(&d.table, l);
    assert_ptr_equal(lease_close_late(&d.table, SEAT_LEASE_MS + SEAT_LATE_MS), l);
    assert_true(is_unsaved(&d, l));
    lease_saved(&d.table, l);
    l = grant(&d, 1, 8, 0);
    lease_saved(&d.table, l);
    lease_settle(&d.table, l);
    assert_true(is_unsaved(&d, l));
    seat_close(&d);
}

/* A heartbeat is no change: when a lease ends is not saved. */
static void a_longer_time_is_not_to_be_saved(void **state)
{
    struct seat d;
    struct lease *l;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    l = grant(&d, 0, 7, 0);
    lease_extend(&d.table, l, 10);
    assert_true(is_unsaved(&d, l)); /* it was before */
    lease_saved(&d.table, l);
    lease_extend(&d.table, l, 20);
    assert_false(is_unsaved(&d, l));
    seat_close(&d);
}

static void what_was_never_saved_leaves_no_row_to_remove(void **state)
{
    struct seat d;
    struct lease *l;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    l = grant(&d, 0, 7, 0);
    lease_settle(&d.table, l);
    lease_release(&d.table, l);
    assert_false(is_unsaved(&d, l));
    assert_false(l->saved);
    lease_release(&d.table, l);
    assert_false(is_unsaved(&d, l));
    seat_close(&d);
}

static void what_was_saved_and_released_has_a_row_to_remove(void **state)
{
    struct seat d;
    struct lease *l;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    l = grant(&d, 0, 7, 0);
    lease_saved(&d.table, l);
    lease_release(&d.table, l);
    assert_true(is_unsaved(&d, l));
    (void)grant(&d, 0, 8, 0); /* in between: the row is that of the new one */
    assert_true(is_unsaved(&d, l));
    lease_release(&d.table, l);
    assert_true(is_unsaved(&d, l)); /* and still there */
    lease_saved(&d.table, l);
    assert_false(is_unsaved(&d, l) || l->saved);
    (void)grant(&d, 0, 9, 0);
    lease_release(&d.table, l);
    assert_false(is_unsaved(&d, l));
    seat_close(&d);
}

/* ---- random lives ------------------------------------------------------------------------------
 */

/* What a row says; a slot that is free has none. */
struct row {
    bool there;
    enum lease_state state;
    uint64_t step;
};

static void save(struct seat *d, struct row *rows)
{
    struct lease *l;

    while ((l = TAILQ_FIRST(&d->table.unsaved)) != NULL) {
        struct row *row = &rows[l - d->session->slots];

        assert_true(l->state != LEASE_FREE || row->there); /* else there is nothing to remove */
        *row = (struct row){l->state != LEASE_FREE, l->state, l->token.step};
        lease_saved(&d->table, l);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        assert_true(rows[i].there == (d->session->slots[i].state != LEASE_FREE));
        assert_true(rows[i].there == d->session->slots[i].saved);
        if (rows[i].there)
            assert_true(rows[i].state == d->session->slots[i].state &&
                        rows[i].step == d->session->slots[i].token.step);
    }
}

static void step_on(struct seat *d, uint64_t c, uint64_t *now_ms)
{
    struct lease *l = &d->session->slots[c / 8 % SLOTS];

    *now_ms += c / 100 % 800;
    switch (c % 8) {
    case 0:
    case 1:
    case 2:
        if (l->state == LEASE_FREE)
            (void)grant(d, (size_t)(l - d->session->slots), *now_ms, *now_ms);
        break;
    case 3:
        if (l->state == LEASE_OPEN || l->state == LEASE_RETURNED)
            lease_settle(&d->table, l);
        break;
    case 4:
        if (l->state == LEASE_OPEN)
            lease_extend(&d->table, l, *now_ms);
        break;
    case 5:
        (void)lease_expire(&d->table, *now_ms);
        break;
    case 6:
        (void)lease_close_late(&d->table, *now_ms);
        break;
    default:
        lease_release(&d->table, l);
    }
    (void)is_unsaved(d, l);
}

static void the_rows_are_as_the_leases_whenever_they_are_saved(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng rng = rng_make(seed, "leases", RNG_DRAW);
        struct row rows[SLOTS] = {{0}};
        uint64_t now_ms = 1;
        struct seat d;

        seat_open(&d, 1, SLOTS, K);
        for (uint64_t i = 0; i < 3000; i++) {
            uint64_t c = rng_at(rng, i, 0, 0).first >> 1;

            step_on(&d, c, &now_ms);
            if (rng_at(rng, i, 1, 0).first % 5 == 0)
                save(&d, rows);
        }
        save(&d, rows);
        seat_close(&d);
    }
}

/* ---- an earlier life ---------------------------------------------------------------------------
 */

static struct lease *restore(struct seat *d, size_t slot, uint64_t step, enum lease_state as)
{
    d->session->slots[slot].token = (struct token){step, step};
    lease_restore(&d->table, &d->session->slots[slot], as);
    assert_int_equal(d->session->slots[slot].state, as);
    assert_true(d->session->slots[slot].saved && !is_unsaved(d, &d->session->slots[slot]));
    return &d->session->slots[slot];
}

static void a_lease_comes_back_as_it_was_with_a_full_time(void **state)
{
    struct seat d;
    struct lease *open, *returned;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    returned = restore(&d, 0, 1, LEASE_RETURNED);
    open = restore(&d, 1, 2, LEASE_OPEN);
    (void)restore(&d, 2, 3, LEASE_SETTLED);
    (void)restore(&d, 3, 4, LEASE_CLOSED);
    lease_resume(&d.table, 100);
    assert_true(d.table.open_count == 1 && d.table.returned_count == 1 &&
                d.table.settled_count == 1);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(lease_find(&d.table, i + 1), &d.session->slots[i]);
    assert_int_equal(lease_next_due(&d.table), 100 + SEAT_LEASE_MS);
    assert_null(lease_expire(&d.table, 100 + SEAT_LEASE_MS - 1));
    assert_ptr_equal(lease_expire(&d.table, 100 + SEAT_LEASE_MS), open);
    assert_null(lease_close_late(&d.table, 100 + SEAT_LATE_MS - 1));
    assert_ptr_equal(lease_close_late(&d.table, 100 + SEAT_LATE_MS), returned);
    lease_release(&d.table, &d.session->slots[2]);
    assert_true(is_unsaved(&d, &d.session->slots[2])); /* it has a row, which is to be removed */
    seat_close(&d);
}

/* In strict order the batch of a step whose lease is over is handed out again. */
static void the_latest_lease_of_a_step_is_found(void **state)
{
    struct seat d;
    struct lease *first, *second;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    first = grant(&d, 4, 7, 0);
    assert_ptr_equal(lease_expire(&d.table, SEAT_LEASE_MS), first);
    second = grant(&d, 2, 7, SEAT_LEASE_MS);
    assert_ptr_equal(lease_find(&d.table, 7), second);
    (void)lease_close_late(&d.table, SEAT_LEASE_MS + SEAT_LATE_MS);
    lease_release(&d.table, first);
    assert_ptr_equal(lease_find(&d.table, 7), second);
    lease_release(&d.table, second);
    assert_null(lease_find(&d.table, 7));
    seat_close(&d);
}

/* Rows come back by session and slot, which says nothing about which was first. */
static void the_latest_lease_of_a_step_is_found_after_a_restart(void **state)
{
    struct seat d;
    struct lease *open;

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    (void)restore(&d, 0, 7, LEASE_RETURNED);
    open = restore(&d, 1, 7, LEASE_OPEN);
    (void)restore(&d, 2, 7, LEASE_CLOSED);
    assert_ptr_equal(lease_find(&d.table, 7), open);
    lease_release(&d.table, &d.session->slots[2]);
    lease_release(&d.table, &d.session->slots[0]);
    assert_ptr_equal(lease_find(&d.table, 7), open);
    seat_close(&d);
}

TEST_MAIN(TEST(each_change_of_state_is_to_be_saved), TEST(a_longer_time_is_not_to_be_saved),
          TEST(what_was_never_saved_leaves_no_row_to_remove),
          TEST(what_was_saved_and_released_has_a_row_to_remove),
          TEST(the_rows_are_as_the_leases_whenever_they_are_saved),
          TEST(a_lease_comes_back_as_it_was_with_a_full_time),
          TEST(the_latest_lease_of_a_step_is_found),
          TEST(the_latest_lease_of_a_step_is_found_after_a_restart))
