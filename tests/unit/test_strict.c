/* test_strict.c - the window of strict order: what may be drawn, handed out and applied, and when.
 * Its rows are in test_strict_rows.c. */
#include "../../daemon/engine/strict.h"
#include "../lib/seat.h"
#include "../lib/test.h"

#include <string.h>

#define D 4
#define K 6

static void open_window(struct strict *s)
{
    assert_int_equal(strict_init(s, D, K), 0);
}

/* To lease, to report: the three states in their order. */
static void finish(struct strict *s, uint64_t step)
{
    strict_set(s, strict_at(s, step), STRICT_OUT);
    strict_set(s, strict_at(s, step), STRICT_DONE);
}

static void report(struct strict *s, uint64_t step, struct session *by, uint64_t seq)
{
    struct strict_batch *b = strict_at(s, step);

    finish(s, step);
    b->reported = true;
    b->reporter = by;
    b->seq = seq;
}

static void without_staleness_the_order_is_free_and_nothing_is_kept(void **state)
{
    struct strict s;

    (void)state;
    assert_int_equal(strict_init(&s, 0, K), 0);
    assert_false(strict_is_on(&s));
    assert_null(s.window);
    assert_false(strict_may_draw(&s));
    assert_null(strict_at(&s, 0));
    assert_null(strict_next(&s));
    strict_forget_session(&s, NULL);
    strict_deinit(&s);
}

static void a_window_has_room_for_whole_batches(void **state)
{
    const uint32_t sizes[][2] = {{1, 1}, {D, K}, {STRICT_STALENESS_MAX, 2}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct strict s;

        assert_int_equal(strict_init(&s, sizes[i][0], sizes[i][1]), 0);
        assert_true(strict_is_on(&s));
        for (uint32_t step = 0; step < sizes[i][0]; step++) {
            struct strict_batch *b = strict_draw(&s);

            memset(b->ids, 1, 4 * sizes[i][1]); /* a sanitizer looks at the room */
            memset(b->epochs, 1, 4 * sizes[i][1]);
            memset(b->probabilities, 1, 4 * sizes[i][1]);
            memset(b->weights, 1, 4 * sizes[i][1]);
            memset(b->losses, 1, 4 * sizes[i][1]);
        }
        assert_false(strict_may_draw(&s));
        strict_deinit(&s);
        assert_null(s.window);
    }
}

static void a_batch_is_drawn_when_that_of_d_before_is_applied(void **state)
{
    struct strict s;

    (void)state;
    open_window(&s);
    for (uint64_t step = 0; step < D; step++) {
        assert_true(strict_may_draw(&s));
        assert_int_equal(strict_draw(&s)->step, step);
    }
    for (uint64_t step = D; step < 5 * D; step++) {
        assert_false(strict_may_draw(&s));
        finish(&s, step - D);
        assert_false(strict_may_draw(&s)); /* reported is not applied */
        strict_applied(&s);
        assert_true(strict_may_draw(&s));
        assert_int_equal(strict_draw(&s)->step, step);
    }
    strict_deinit(&s);
}

static void reports_are_applied_in_the_order_of_the_steps(void **state)
{
    struct strict s;

    (void)state;
    open_window(&s);
    for (int i = 0; i < D; i++)
        (void)strict_draw(&s);
    assert_null(strict_next(&s));
    finish(&s, 1);
    finish(&s, 3);
    assert_null(strict_next(&s));
    finish(&s, 0);
    assert_ptr_equal(strict_next(&s), strict_at(&s, 0));
    strict_applied(&s);
    assert_ptr_equal(strict_next(&s), strict_at(&s, 1));
    strict_applied(&s);
    assert_null(strict_next(&s)); /* 3 waits for 2 */
    strict_set(&s, strict_at(&s, 2), STRICT_OUT);
    assert_null(strict_next(&s));
    strict_set(&s, strict_at(&s, 2), STRICT_DONE);
    strict_applied(&s);
    strict_applied(&s);
    assert_null(strict_next(&s));
    assert_int_equal(s.applied, s.drawn);
    strict_deinit(&s);
}

static void only_steps_in_the_window_are_found(void **state)
{
    struct strict s;

    (void)state;
    open_window(&s);
    assert_null(strict_at(&s, 0));
    for (int i = 0; i < D - 1; i++)
        (void)strict_draw(&s);
    finish(&s, 0);
    strict_applied(&s);
    assert_null(strict_at(&s, 0));
    for (uint64_t step = 1; step < D - 1; step++)
        assert_int_equal(strict_at(&s, step)->step, step);
    assert_null(strict_at(&s, D - 1));
    assert_null(strict_at(&s, D + 1)); /* would be where 1 is */
    assert_null(strict_at(&s, UINT64_MAX));
    strict_deinit(&s);
}

/* A place in the window is used again: nothing of the batch before is left. */
static void a_new_batch_is_ready_and_nobodys(void **state)
{
    struct session *session = seat_new(1, 2, K);
    struct strict s;
    struct strict_batch *b;

    (void)state;
    open_window(&s);
    for (int i = 0; i < D; i++)
        (void)strict_draw(&s);
    report(&s, 0, session, 9);
    strict_at(&s, 0)->saved = true;
    strict_applied(&s);
    b = strict_draw(&s);
    assert_int_equal(b->step, D);
    assert_int_equal(b->state, STRICT_READY);
    assert_false(b->reported || b->saved);
    assert_null(b->reporter);
    strict_deinit(&s);
    session_free(session);
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

static void the_first_ready_batch_that_it_does_not_hold_goes_to_a_session(void **state)
{
    struct session *session = seat_new(1, 3, K), *other = seat_new(2, 1, K);
    struct strict s;

    (void)state;
    open_window(&s);
    assert_null(strict_ready(&s, session));
    for (int i = 0; i < D; i++)
        (void)strict_draw(&s);
    assert_int_equal(strict_ready(&s, session)->step, 0);
    strict_set(&s, strict_at(&s, 0), STRICT_OUT);
    assert_int_equal(strict_ready(&s, session)->step, 1);
    session->slots[2].state = LEASE_RETURNED; /* over, and still in its hands */
    session->slots[2].token.step = 1;
    assert_int_equal(strict_ready(&s, session)->step, 2);
    session->claims[0].token.step = 2; /* of an earlier life */
    session->claim_count = 1;
    assert_int_equal(strict_ready(&s, session)->step, 3);
    assert_int_equal(strict_ready(&s, other)->step, 1);
    strict_set(&s, strict_at(&s, 3), STRICT_OUT);
    assert_null(strict_ready(&s, session));
    session->slots[2].state = LEASE_FREE; /* what a free slot says is of the past */
    assert_int_equal(strict_ready(&s, session)->step, 1);
    strict_set(&s, strict_at(&s, 0), STRICT_READY); /* it was given back */
    assert_int_equal(strict_ready(&s, session)->step, 0);
    strict_deinit(&s);
    session_free(session);
    session_free(other);
}

static void ready_batches_are_counted_through_all_states(void **state)
{
    const enum strict_state states[] = {STRICT_READY, STRICT_OUT, STRICT_DONE};
    struct strict s;

    (void)state;
    open_window(&s);
    (void)strict_draw(&s);
    (void)strict_draw(&s);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++) {
            strict_set(&s, strict_at(&s, 0), states[from]);
            strict_set(&s, strict_at(&s, 0), states[to]);
            assert_int_equal(s.ready_count, 1 + (states[to] == STRICT_READY));
        }
    strict_deinit(&s);
}

static void a_sessions_reports_are_applied_up_to_the_first_that_waits(void **state)
{
    struct session *a = seat_new(1, 4, K), *b = seat_new(2, 4, K);
    struct strict s;

    (void)state;
    open_window(&s);
    for (int i = 0; i < D; i++)
        (void)strict_draw(&s);
    assert_int_equal(strict_applied_seq(&s, a, 12), 12); /* none waits */
    report(&s, 3, a, 11);
    report(&s, 1, a, 12);
    report(&s, 2, b, 5);
    assert_int_equal(strict_applied_seq(&s, a, 12), 10);
    assert_int_equal(strict_applied_seq(&s, a, 10), 10);
    assert_int_equal(strict_applied_seq(&s, b, 5), 4);
    finish(&s, 0); /* a release: no report of anybody */
    strict_at(&s, 0)->seq = 1;
    strict_at(&s, 0)->reporter = a;
    assert_int_equal(strict_applied_seq(&s, a, 12), 10);
    for (int i = 0; i < 3; i++)
        strict_applied(&s);
    assert_int_equal(strict_applied_seq(&s, a, 12), 10); /* 12 is, and 11 is not */
    assert_int_equal(strict_applied_seq(&s, b, 5), 5);
    strict_applied(&s);
    assert_int_equal(strict_applied_seq(&s, a, 12), 12);
    strict_deinit(&s);
    session_free(a);
    session_free(b);
}

static void a_session_that_left_is_nowhere_in_the_window(void **state)
{
    struct session *a = seat_new(1, 4, K), *b = seat_new(2, 4, K);
    struct strict s;

    (void)state;
    open_window(&s);
    for (int i = 0; i < D; i++)
        (void)strict_draw(&s);
    report(&s, 1, a, 1);
    report(&s, 2, b, 1);
    report(&s, 3, a, 2);
    strict_forget_session(&s, a);
    assert_true(strict_at(&s, 1)->reporter == NULL && strict_at(&s, 3)->reporter == NULL);
    assert_ptr_equal(strict_at(&s, 2)->reporter, b);
    assert_true(strict_at(&s, 1)->reported); /* and its reports count */
    strict_deinit(&s);
    session_free(a);
    session_free(b);
}

TEST_MAIN(TEST(without_staleness_the_order_is_free_and_nothing_is_kept),
          TEST(a_window_has_room_for_whole_batches),
          TEST(a_batch_is_drawn_when_that_of_d_before_is_applied),
          TEST(reports_are_applied_in_the_order_of_the_steps),
          TEST(only_steps_in_the_window_are_found), TEST(a_new_batch_is_ready_and_nobodys),
          TEST(the_first_ready_batch_that_it_does_not_hold_goes_to_a_session),
          TEST(ready_batches_are_counted_through_all_states),
          TEST(a_sessions_reports_are_applied_up_to_the_first_that_waits),
          TEST(a_session_that_left_is_nowhere_in_the_window))
