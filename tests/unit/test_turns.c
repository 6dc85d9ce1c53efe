/* test_turns.c - the histogram of the loop's turns against a sorted list. */
#include "../../daemon/turns.h"
#include "../lib/test.h"

#include "../../daemon/engine/rng.h"

#include <stdlib.h>

#define COUNT 20000

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void quantiles_are_never_below_the_true_ones_and_13_percent_above_at_most(void **state)
{
    static const double asked[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1};
    static uint64_t times[COUNT];
    static struct turns t;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        times[i] = rng_mix(i) >> rng_mix(~i) % 64; /* of every size */
        turns_add(&t, times[i]);
    }
    qsort(times, COUNT, sizeof times[0], compare);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        double rank = asked[i] * COUNT;
        uint64_t exact = times[(size_t)rank - ((double)(size_t)rank >= rank)];
        uint64_t told = turns_quantile_ns(&t, asked[i]);

        assert_true(told >= exact);
        assert_true((double)told <= (double)exact * 1.13 + 1);
    }
    assert_int_equal(turns_quantile_ns(&t, 1), times[COUNT - 1]);
}

static void the_least_and_the_greatest_have_a_bucket(void **state)
{
    static const uint64_t times[] = {0, 1, 7, 8, 9, 1023, 1024, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct turns t = {.count = 0};

        turns_add(&t, times[i]);
        assert_int_equal(turns_quantile_ns(&t, 0.5), times[i]);
    }
}

static void without_a_turn_there_is_no_time(void **state)
{
    struct turns t = {.count = 0};

    (void)state;
    assert_int_equal(turns_quantile_ns(&t, 0.5), 0);
}

TEST_MAIN(TEST(quantiles_are_never_below_the_true_ones_and_13_percent_above_at_most),
          TEST(the_least_and_the_greatest_have_a_bucket), TEST(without_a_turn_there_is_no_time))
