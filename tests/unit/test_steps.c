/* test_steps.c - what a step's word says, in a ring that moves; what comes back is in
 * test_steps_rows.c. */
#include "../../daemon/engine/steps.h"
#include "../lib/test.h"

#define KEEP_MS 500
#define RING    ((uint64_t)STEPS_BLOCKS_MAX * STEPS_BLOCK) /* steps that fit at once */

static void a_digest_is_never_taken_for_a_word(void **state)
{
    (void)state;
    for (uint64_t hash = 0; hash < 1000; hash++) {
        assert_true(steps_digest(hash) != STEPS_OPEN);
        assert_true(steps_digest(hash) != STEPS_RELEASED);
        assert_true(hash < 2 || steps_digest(hash) == hash);
    }
    assert_true(steps_digest(UINT64_MAX) == UINT64_MAX);
    assert_true(steps_digest(STEPS_OPEN) != steps_digest(STEPS_RELEASED));
}

static void at_first_every_step_is_open_and_nothing_is_due(void **state)
{
    const uint64_t steps[] = {0, 1, STEPS_BLOCK, RING, UINT64_MAX};
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (int i = 0; i < 5; i++) {
        assert_false(steps_is_closed(&s, steps[i]));
        assert_true(steps_fate(&s, steps[i]) == STEPS_OPEN);
    }
    assert_true(steps_next_due(&s, KEEP_MS) == UINT64_MAX);
    steps_expire(&s, 1000000, KEEP_MS);
    assert_false(s.dirty || steps_is_closed(&s, 0));
    steps_deinit(&s);
}

static void each_step_has_a_word_of_its_own(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (uint64_t step = 0; step < 4 * STEPS_BLOCK; step++) {
        steps_draw(&s, step, step);
        assert_true(steps_fate(&s, step) == STEPS_OPEN);
    }
    for (uint64_t step = 0; step < 4 * STEPS_BLOCK; step += 2)
        steps_set(&s, step, step % 3 == 0 ? STEPS_RELEASED : steps_digest(step));
    for (uint64_t step = 0; step < 4 * STEPS_BLOCK; step++)
        assert_true(steps_fate(&s, step) == (step % 2   ? STEPS_OPEN
                                             : step % 3 ? steps_digest(step)
                                                        : STEPS_RELEASED));
    steps_set(&s, 6, steps_digest(0)); /* a release, and a report after all */
    assert_true(steps_fate(&s, 6) == steps_digest(0));
    steps_deinit(&s);
}

/* ---- the ring ----------------------------------------------------------------------------------
 */

/* As many blocks as there can be, then one more: the oldest is closed, and its place is clean. */
static void a_full_ring_closes_its_oldest_block(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (uint64_t step = 0; step < RING; step += STEPS_BLOCK)
        steps_draw(&s, step, 1);
    steps_set(&s, 0, 70);
    steps_set(&s, STEPS_BLOCK, 71);
    steps_set(&s, RING - 1, 72);
    assert_false(steps_is_closed(&s, 0));
    steps_draw(&s, RING, 1);
    assert_true(steps_is_closed(&s, STEPS_BLOCK - 1));
    assert_false(steps_is_closed(&s, STEPS_BLOCK));
    assert_true(steps_fate(&s, 0) == STEPS_OPEN && steps_fate(&s, RING) == STEPS_OPEN);
    assert_true(steps_fate(&s, STEPS_BLOCK) == 71 && steps_fate(&s, RING - 1) == 72);
    steps_deinit(&s);
}

/* Blocks with words stand where the ring begins and in its middle; it jumps. */
static void jump(uint64_t blocks)
{
    const uint64_t set_at[] = {0, 1, 5, STEPS_BLOCKS_MAX / 2, STEPS_BLOCKS_MAX - 1};
    uint64_t to = STEPS_BLOCKS_MAX - 1 + blocks;
    struct steps s;

    assert_int_equal(steps_init(&s), 0);
    for (int i = 0; i < 5; i++) {
        steps_draw(&s, set_at[i] * STEPS_BLOCK, 1);
        steps_set(&s, set_at[i] * STEPS_BLOCK + 3, 100 + set_at[i]);
    }
    steps_draw(&s, to * STEPS_BLOCK + 3, 2);
    for (int i = 0; i < 5; i++) {
        bool closed = set_at[i] + STEPS_BLOCKS_MAX <= to;

        assert_true(steps_is_closed(&s, set_at[i] * STEPS_BLOCK + 3) == closed);
        assert_true(steps_fate(&s, set_at[i] * STEPS_BLOCK + 3) ==
                    (closed ? STEPS_OPEN : 100 + set_at[i]));
    }
    for (uint64_t b = to + 1 - STEPS_BLOCKS_MAX; b <= to; b++) { /* nothing old shines through */
        bool known = b == 1 || b == 5 || b == STEPS_BLOCKS_MAX / 2 || b == STEPS_BLOCKS_MAX - 1;

        assert_false(steps_is_closed(&s, b * STEPS_BLOCK));
        assert_true(steps_fate(&s, b * STEPS_BLOCK + 3) == (known ? 100 + b : STEPS_OPEN));
        steps_draw(&s, b * STEPS_BLOCK, 3);
        assert_true(steps_fate(&s, b * STEPS_BLOCK + 3) == (known ? 100 + b : STEPS_OPEN));
    }
    assert_true(steps_is_closed(&s, (to + 1 - STEPS_BLOCKS_MAX) * STEPS_BLOCK - 1));
    steps_deinit(&s);
}

static void a_jump_closes_what_no_longer_fits_and_nothing_else(void **state)
{
    const uint64_t jumps[] = {1,
                              2,
                              STEPS_BLOCKS_MAX / 2,
                              STEPS_BLOCKS_MAX - 1,
                              STEPS_BLOCKS_MAX,
                              STEPS_BLOCKS_MAX + 1,
                              2 * STEPS_BLOCKS_MAX - 1,
                              2 * STEPS_BLOCKS_MAX,
                              2 * STEPS_BLOCKS_MAX + 1,
                              10 * STEPS_BLOCKS_MAX + 77,
                              UINT64_C(1) << 50};

    (void)state;
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++)
        jump(jumps[i]);
}

/* A restart in strict order draws again what is in the window, however old that is. */
static void what_is_closed_takes_no_memory_any_more(void **state)
{
    struct steps s;
    size_t used;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 0, 100);
    steps_draw(&s, STEPS_BLOCK, 200);
    steps_expire(&s, 100 + KEEP_MS, KEEP_MS);
    used = s.used;
    for (uint64_t step = 0; step < STEPS_BLOCK; step++) {
        steps_draw(&s, step, 700);
        steps_set(&s, step, 70);
    }
    assert_true(steps_is_closed(&s, 0));
    assert_int_equal(s.used, used); /* there is memory for a full ring, and no more */
    assert_int_equal(s.now_ms, 700);
    steps_deinit(&s);
}

static void the_last_step_of_all_can_be_drawn(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 7, 1);
    steps_draw(&s, UINT64_MAX, 1);
    steps_set(&s, UINT64_MAX, 77);
    assert_true(steps_is_closed(&s, 7));
    assert_true(steps_fate(&s, UINT64_MAX) == 77);
    steps_deinit(&s);
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void a_block_is_closed_its_time_after_its_last_draw(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 0, 100);
    steps_draw(&s, 1, 200);
    steps_draw(&s, STEPS_BLOCK, 250);
    steps_set(&s, 0, 70);
    steps_set(&s, STEPS_BLOCK, 71);
    steps_expire(&s, 200 + KEEP_MS - 1, KEEP_MS);
    assert_false(steps_is_closed(&s, 0));
    assert_true(steps_fate(&s, 0) == 70);
    steps_expire(&s, 200 + KEEP_MS, KEEP_MS);
    assert_true(steps_is_closed(&s, STEPS_BLOCK - 1));
    assert_false(steps_is_closed(&s, STEPS_BLOCK));
    steps_expire(&s, 1000000, KEEP_MS); /* the newest stays */
    assert_true(steps_fate(&s, STEPS_BLOCK) == 71);
    steps_deinit(&s);
}

/* A report does not make a block younger, and what is closed takes none. */
static void a_report_does_not_keep_a_step_open(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 0, 100);
    steps_draw(&s, STEPS_BLOCK, 400);
    steps_set(&s, 0, 70);
    steps_expire(&s, 100 + KEEP_MS, KEEP_MS);
    assert_true(steps_is_closed(&s, 0));
    steps_set(&s, 0, 71);
    assert_true(steps_is_closed(&s, 0));
    assert_true(steps_fate(&s, 0) == STEPS_OPEN);
    steps_draw(&s, 2 * STEPS_BLOCK, 700); /* in memory that was the closed block's */
    for (uint64_t i = 0; i < STEPS_BLOCK; i++)
        assert_true(steps_fate(&s, 2 * STEPS_BLOCK + i) == STEPS_OPEN);
    steps_deinit(&s);
}

/* Before the due time there is nothing to do, at it there is; until none is left to close. */
static void assert_due(struct steps *s)
{
    uint64_t due;

    while ((due = steps_next_due(s, KEEP_MS)) != UINT64_MAX) {
        uint64_t first = s->first;

        assert_true(due > 0);
        steps_expire(s, due - 1, KEEP_MS);
        assert_int_equal(s->first, first);
        steps_expire(s, due, KEEP_MS);
        assert_true(s->first > first);
    }
    steps_expire(s, UINT64_MAX, KEEP_MS);
    assert_int_equal(s->first + 1, s->end);
}

static void the_due_time_is_when_there_is_something_to_close(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (uint64_t b = 0; b < 50; b++)
        steps_draw(&s, b * STEPS_BLOCK, 1000 + 10 * b);
    assert_int_equal(steps_next_due(&s, KEEP_MS), 1000 + KEEP_MS);
    assert_due(&s);
    steps_deinit(&s);
}

static void what_was_skipped_is_due_its_time_after_the_jump(void **state)
{
    struct steps s;

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 40 * STEPS_BLOCK, 1000);
    assert_int_equal(steps_next_due(&s, KEEP_MS), 1000 + KEEP_MS);
    steps_draw(&s, 41 * STEPS_BLOCK, 1100);
    steps_draw(&s, 100 * STEPS_BLOCK, 1200); /* two gaps, and blocks on both sides */
    steps_draw(&s, 101 * STEPS_BLOCK, 1300);
    assert_due(&s);
    steps_deinit(&s);
}

TEST_MAIN(TEST(a_digest_is_never_taken_for_a_word),
          TEST(at_first_every_step_is_open_and_nothing_is_due),
          TEST(each_step_has_a_word_of_its_own), TEST(a_full_ring_closes_its_oldest_block),
          TEST(a_jump_closes_what_no_longer_fits_and_nothing_else),
          TEST(what_is_closed_takes_no_memory_any_more), TEST(the_last_step_of_all_can_be_drawn),
          TEST(a_block_is_closed_its_time_after_its_last_draw),
          TEST(a_report_does_not_keep_a_step_open),
          TEST(the_due_time_is_when_there_is_something_to_close),
          TEST(what_was_skipped_is_due_its_time_after_the_jump))
