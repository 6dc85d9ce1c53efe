/* test_lease.c - a lease's life as the picture in lease.h draws it, with a table that has no
 * engine. */
#include "../../daemon/engine/lease.h"
#include "../lib/test.h"

#include <stdlib.h>
#include <string.h>

#define LEASE_MS 1000u
#define LATE_MS  5000u
#define SLOTS    8u
#define K        4u
#define BEGIN_MS 100u /* when the tests begin */

/* A table and some slots. The session is never looked into: any address does. */
struct desk {
    struct lease_table table;
    struct lease slots[SLOTS];
    char session;
};

static struct desk *desk_new(void)
{
    struct desk *d = calloc(1, sizeof *d);

    assert_non_null(d);
    assert_int_equal(lease_table_init(&d->table, LEASE_MS, LATE_MS), 0);
    assert_int_equal(lease_table_reserve(&d->table, SLOTS), 0);
    for (size_t i = 0; i < SLOTS; i++)
        assert_int_equal(lease_init(&d->slots[i], (struct session *)(void *)&d->session, K), 0);
    return d;
}

static void desk_free(struct desk *d)
{
    for (size_t i = 0; i < SLOTS; i++)
        lease_deinit(&d->slots[i]);
    lease_table_deinit(&d->table);
    free(d);
}

static struct token token_of(uint64_t step)
{
    return (struct token){.step = step, .tag = step * UINT64_C(0x9e3779b97f4a7c15)};
}

static struct lease *grant(struct desk *d, size_t slot, uint64_t step, uint64_t now_ms)
{
    struct lease *l = &d->slots[slot];

    l->count = K;
    l->coverage_count = K / 2;
    lease_grant(&d->table, l, token_of(step), now_ms);
    return l;
}

static void assert_counts(const struct desk *d, size_t open, size_t returned, size_t settled)
{
    assert_int_equal(d->table.open_count, open);
    assert_int_equal(d->table.returned_count, returned);
    assert_int_equal(d->table.settled_count, settled);
}

/* Grant and let it expire, right at its end. */
static struct lease *grant_and_expire(struct desk *d, size_t slot, uint64_t step, uint64_t now_ms)
{
    struct lease *l = grant(d, slot, step, now_ms);

    assert_ptr_equal(lease_expire(&d->table, now_ms + LEASE_MS), l);
    return l;
}

static void a_new_slot_is_free_with_room_for_its_batch(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = &d->slots[0];

    (void)state;
    assert_int_equal(l->state, LEASE_FREE);
    assert_ptr_equal(l->session, &d->session);
    for (size_t i = 0; i < K; i++) { /* a sanitizer looks at the room */
        l->ids[i] = l->epochs[i] = (uint32_t)i;
        l->probabilities[i] = l->weights[i] = 1.0f;
        l->answer.selection.indices[i] = (uint32_t)i;
        l->answer.selection.weights[i] = 1.0f;
    }
    assert_counts(d, 0, 0, 0);
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    assert_null(lease_find(&d->table, 0));
    desk_free(d);
}

static void a_granted_lease_is_open_and_found_by_its_step(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 7, BEGIN_MS);

    (void)state;
    assert_int_equal(l->state, LEASE_OPEN);
    assert_true(token_equal(l->token, token_of(7)));
    assert_int_equal(l->end_ms, BEGIN_MS + LEASE_MS);
    assert_ptr_equal(lease_find(&d->table, 7), l);
    assert_null(lease_find(&d->table, 8));
    assert_counts(d, 1, 0, 0);
    assert_int_equal(lease_next_due(&d->table), BEGIN_MS + LEASE_MS);
    desk_free(d);
}

static void a_settled_lease_stays_found_and_is_never_due(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 7, BEGIN_MS);

    (void)state;
    lease_settle(&d->table, l);
    assert_int_equal(l->state, LEASE_SETTLED);
    assert_ptr_equal(lease_find(&d->table, 7), l);
    assert_counts(d, 0, 0, 1);
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    assert_null(lease_expire(&d->table, UINT64_MAX - 1));
    assert_null(lease_close_late(&d->table, UINT64_MAX - 1));
    desk_free(d);
}

static void a_lease_ends_at_its_due_time_and_not_before(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 7, BEGIN_MS);

    (void)state;
    assert_null(lease_expire(&d->table, BEGIN_MS + LEASE_MS - 1));
    assert_ptr_equal(lease_expire(&d->table, BEGIN_MS + LEASE_MS), l);
    assert_null(lease_expire(&d->table, BEGIN_MS + LEASE_MS));
    assert_int_equal(l->state, LEASE_RETURNED);
    assert_ptr_equal(lease_find(&d->table, 7), l);
    assert_counts(d, 0, 1, 0);
    assert_int_equal(lease_next_due(&d->table), BEGIN_MS + LEASE_MS + LATE_MS);
    desk_free(d);
}

static void leases_expire_in_the_order_of_their_end(void **state)
{
    struct desk *d = desk_new();

    (void)state;
    for (size_t i = 0; i < SLOTS; i++)
        (void)grant(d, (i * 3) % SLOTS, i, BEGIN_MS + 10 * i);
    for (size_t i = 0; i < SLOTS / 2; i++)
        assert_ptr_equal(lease_expire(&d->table, BEGIN_MS + LEASE_MS + 10 * (SLOTS / 2) - 1),
                         lease_find(&d->table, i));
    assert_null(lease_expire(&d->table, BEGIN_MS + LEASE_MS + 10 * (SLOTS / 2) - 1));
    assert_counts(d, SLOTS / 2, SLOTS / 2, 0);
    desk_free(d);
}

static void an_extended_lease_ends_a_full_lease_later_behind_the_others(void **state)
{
    struct desk *d = desk_new();
    struct lease *first = grant(d, 0, 1, BEGIN_MS), *second = grant(d, 1, 2, BEGIN_MS + 10);

    (void)state;
    lease_extend(&d->table, first, BEGIN_MS + 500);
    assert_int_equal(first->state, LEASE_OPEN);
    assert_int_equal(first->end_ms, BEGIN_MS + 500 + LEASE_MS);
    assert_counts(d, 2, 0, 0);
    assert_int_equal(lease_next_due(&d->table), BEGIN_MS + 10 + LEASE_MS);
    assert_ptr_equal(lease_expire(&d->table, BEGIN_MS + 10 + LEASE_MS), second);
    assert_null(lease_expire(&d->table, BEGIN_MS + 500 + LEASE_MS - 1));
    assert_ptr_equal(lease_expire(&d->table, BEGIN_MS + 500 + LEASE_MS), first);
    desk_free(d);
}

static void a_late_report_settles_a_returned_lease(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant_and_expire(d, 0, 7, BEGIN_MS);

    (void)state;
    lease_settle(&d->table, l);
    assert_int_equal(l->state, LEASE_SETTLED);
    assert_counts(d, 0, 0, 1);
    assert_null(lease_close_late(&d->table, UINT64_MAX - 1));
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    desk_free(d);
}

static void a_returned_lease_closes_late_ms_after_its_end_and_stays_found(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant_and_expire(d, 0, 7, BEGIN_MS);
    const uint64_t close_ms = BEGIN_MS + LEASE_MS + LATE_MS;

    (void)state;
    assert_null(lease_close_late(&d->table, close_ms - 1));
    assert_int_equal(l->state, LEASE_RETURNED);
    assert_ptr_equal(lease_close_late(&d->table, close_ms), l);
    assert_null(lease_close_late(&d->table, close_ms));
    assert_int_equal(l->state, LEASE_CLOSED);
    assert_ptr_equal(lease_find(&d->table, 7), l);
    assert_counts(d, 0, 0, 0);
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    desk_free(d);
}

static void leases_close_in_the_order_of_their_end(void **state)
{
    struct desk *d = desk_new();
    struct lease *first = grant_and_expire(d, 1, 1, BEGIN_MS);
    struct lease *second = grant_and_expire(d, 0, 2, BEGIN_MS + 10);
    const uint64_t close_ms = BEGIN_MS + LEASE_MS + LATE_MS;

    (void)state;
    assert_ptr_equal(lease_close_late(&d->table, close_ms), first);
    assert_null(lease_close_late(&d->table, close_ms + 9));
    assert_int_equal(lease_next_due(&d->table), close_ms + 10);
    assert_ptr_equal(lease_close_late(&d->table, close_ms + 10), second);
    desk_free(d);
}

static void an_open_lease_is_never_closed_before_it_expired(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 7, BEGIN_MS);

    (void)state;
    assert_null(lease_close_late(&d->table, BEGIN_MS + 10 * (LEASE_MS + LATE_MS)));
    assert_int_equal(l->state, LEASE_OPEN);
    desk_free(d);
}

static void a_tick_that_comes_far_too_late_ends_and_closes_at_once(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 7, BEGIN_MS);
    const uint64_t late = BEGIN_MS + LEASE_MS + LATE_MS;

    (void)state;
    assert_ptr_equal(lease_expire(&d->table, late), l);
    assert_int_equal(lease_next_due(&d->table), late);
    assert_ptr_equal(lease_close_late(&d->table, late), l);
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    desk_free(d);
}

static void a_release_frees_an_open_and_a_settled_lease(void **state)
{
    struct desk *d = desk_new();
    struct lease *open = grant(d, 0, 1, BEGIN_MS), *settled = grant(d, 1, 2, BEGIN_MS);

    (void)state;
    lease_settle(&d->table, settled);
    lease_release(&d->table, open);
    lease_release(&d->table, settled);
    assert_int_equal(open->state, LEASE_FREE);
    assert_int_equal(settled->state, LEASE_FREE);
    assert_counts(d, 0, 0, 0);
    assert_null(lease_find(&d->table, 1));
    assert_null(lease_find(&d->table, 2));
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    desk_free(d);
}

static void a_release_frees_a_returned_and_a_closed_lease(void **state)
{
    struct desk *d = desk_new();
    struct lease *closed = grant_and_expire(d, 1, 6, BEGIN_MS - 1);
    struct lease *returned = grant_and_expire(d, 0, 7, BEGIN_MS);

    (void)state;
    assert_ptr_equal(lease_close_late(&d->table, BEGIN_MS - 1 + LEASE_MS + LATE_MS), closed);
    lease_release(&d->table, returned);
    lease_release(&d->table, closed);
    assert_int_equal(returned->state, LEASE_FREE);
    assert_int_equal(closed->state, LEASE_FREE);
    assert_counts(d, 0, 0, 0);
    assert_null(lease_find(&d->table, 6));
    assert_null(lease_find(&d->table, 7));
    assert_null(lease_close_late(&d->table, UINT64_MAX - 1));
    assert_true(lease_next_due(&d->table) == UINT64_MAX);
    desk_free(d);
}

static void a_release_of_a_free_slot_changes_nothing(void **state)
{
    struct desk *d = desk_new();
    struct lease *other = grant(d, 1, 0, BEGIN_MS);

    (void)state;
    lease_release(&d->table, &d->slots[0]); /* its token, all zeros, names step 0 */
    assert_int_equal(d->slots[0].state, LEASE_FREE);
    assert_ptr_equal(lease_find(&d->table, 0), other);
    assert_counts(d, 1, 0, 0);
    desk_free(d);
}

static void a_freed_slot_is_granted_again_with_a_life_of_its_own(void **state)
{
    struct desk *d = desk_new();
    struct lease *l = grant(d, 0, 1, BEGIN_MS);

    (void)state;
    lease_settle(&d->table, l);
    lease_release(&d->table, l);
    assert_ptr_equal(grant(d, 0, 2, BEGIN_MS + 3000), l);
    assert_int_equal(l->state, LEASE_OPEN);
    assert_null(lease_find(&d->table, 1));
    assert_ptr_equal(lease_find(&d->table, 2), l);
    assert_int_equal(lease_next_due(&d->table), BEGIN_MS + 3000 + LEASE_MS);
    desk_free(d);
}

static void the_table_grows_while_leases_are_out(void **state)
{
    struct desk *d = desk_new();

    (void)state;
    for (uint64_t i = 0; i < SLOTS; i++)
        (void)grant(d, i, i, BEGIN_MS + i);
    assert_int_equal(lease_table_reserve(&d->table, 10000), 0);
    for (uint64_t i = 0; i < SLOTS; i++)
        assert_ptr_equal(lease_find(&d->table, i), &d->slots[i]);
    assert_counts(d, SLOTS, 0, 0);
    desk_free(d);
}

TEST_MAIN(TEST(a_new_slot_is_free_with_room_for_its_batch),
          TEST(a_granted_lease_is_open_and_found_by_its_step),
          TEST(a_settled_lease_stays_found_and_is_never_due),
          TEST(a_lease_ends_at_its_due_time_and_not_before),
          TEST(leases_expire_in_the_order_of_their_end),
          TEST(an_extended_lease_ends_a_full_lease_later_behind_the_others),
          TEST(a_late_report_settles_a_returned_lease),
          TEST(a_returned_lease_closes_late_ms_after_its_end_and_stays_found),
          TEST(leases_close_in_the_order_of_their_end),
          TEST(an_open_lease_is_never_closed_before_it_expired),
          TEST(a_tick_that_comes_far_too_late_ends_and_closes_at_once),
          TEST(a_release_frees_an_open_and_a_settled_lease),
          TEST(a_release_frees_a_returned_and_a_closed_lease),
          TEST(a_release_of_a_free_slot_changes_nothing),
          TEST(a_freed_slot_is_granted_again_with_a_life_of_its_own),
          TEST(the_table_grows_while_leases_are_out))
