/* test_steps_restart.c - what is open and what is closed when the steps come back from their rows.
 */
#include "../../daemon/engine/steps.h"
#include "../lib/test.h"

#define KEEP_MS 500

/* Give the rows back in the order of their keys. */
static void restore(struct steps *to, const struct rows *rows, uint64_t now_ms)
{
    assert_int_equal(steps_init(to), 0);
    for (int head = 0; head < 2; head++) { /* where the open ones begin stands behind all blocks */
        struct rows_change c;
        size_t at = 0;

        while (rows_next(rows, &at, &c))
            if (c.value != NULL && (c.key.number == UINT64_MAX) == head)
                assert_int_equal(steps_restore(to, c.key.number, c.value, c.size), 0);
    }
    steps_resume(to, now_ms);
}

/* Capture one, and give its rows to another. */
static void pass_on(struct steps *from, struct steps *to, uint64_t now_ms)
{
    struct rows rows = {0};
    size_t bytes = steps_capture_bytes(from);

    steps_capture(from, 1, &rows);
    assert_false(rows.failed);
    assert_true(rows.size <= bytes);
    restore(to, &rows, now_ms);
    rows_deinit(&rows);
    steps_deinit(from);
}

static void skipped_steps_stay_open_for_their_time(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 100 * STEPS_BLOCK, 1000);
    steps_expire(&s, 1000 + KEEP_MS - 1, KEEP_MS);
    assert_false(steps_is_closed(&s, 3));
    steps_set(&s, 3, 77);
    assert_int_equal(steps_fate(&s, 3), 77);
    steps_expire(&s, 3000, KEEP_MS);
    assert_true(steps_is_closed(&s, 3));
    assert_true(steps_is_closed(&s, 99 * STEPS_BLOCK));
    assert_false(steps_is_closed(&s, 100 * STEPS_BLOCK));
    steps_deinit(&s);
}

static void a_block_without_a_row_is_open_when_later_ones_come_back(void **state)
{
    struct steps s, next;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 3, 1000);
    steps_draw(&s, 5 * STEPS_BLOCK, 1000);
    steps_set(&s, 5 * STEPS_BLOCK, 77);
    pass_on(&s, &next, 50);
    assert_false(steps_is_closed(&next, 3));
    assert_int_equal(steps_fate(&next, 5 * STEPS_BLOCK), 77);
    steps_expire(&next, 50 + KEEP_MS - 1, KEEP_MS);
    assert_false(steps_is_closed(&next, 3));
    steps_deinit(&next);
}

static void what_was_closed_is_closed_when_no_block_has_a_row(void **state)
{
    struct steps s, next, third;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 3, 1000);
    steps_set(&s, 3, 77);
    steps_draw(&s, STEPS_BLOCK, 2000);
    steps_expire(&s, 2000, KEEP_MS);
    assert_true(steps_is_closed(&s, 3));
    pass_on(&s, &next, 50);
    assert_true(steps_is_closed(&next, 3));
    assert_false(steps_is_closed(&next, STEPS_BLOCK));
    steps_draw(&next, 9 * STEPS_BLOCK, 60);
    steps_expire(&next, 1000, KEEP_MS);
    pass_on(&next, &third, 50);
    assert_true(steps_is_closed(&third, 8 * STEPS_BLOCK));
    assert_false(steps_is_closed(&third, 9 * STEPS_BLOCK));
    steps_deinit(&third);
}

TEST_MAIN(TEST(skipped_steps_stay_open_for_their_time),
          TEST(a_block_without_a_row_is_open_when_later_ones_come_back),
          TEST(what_was_closed_is_closed_when_no_block_has_a_row))
