/* test_permutation.c - the epoch's order: everything once, and nothing at a favourite place. */
#include "../../daemon/engine/permutation.h"
#include "../lib/stats.h"
#include "../lib/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct permutation order_of(uint64_t n, uint64_t seed, uint64_t epoch)
{
    struct permutation p;

    permutation_init(&p, n, rng_make(seed, "job", RNG_PERMUTATION), epoch);
    return p;
}

static void assert_bijection(const struct permutation *p, uint64_t n, uint8_t *bitmap)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = permutation_at(p, i);

        if (id >= n || bitmap[id / 8] >> id % 8 & 1)
            fail_msg("n %lu, position %lu: id %lu is out of range or twice", (unsigned long)n,
                     (unsigned long)i, (unsigned long)id);
        bitmap[id / 8] = (uint8_t)(bitmap[id / 8] | 1u << id % 8);
    }
}

static void every_size_to_300_is_a_bijection(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 300; n++)
        for (uint64_t seed = 0; seed < 3; seed++)
            for (uint64_t epoch = 0; epoch < 4; epoch++) {
                struct permutation p = order_of(n, seed, epoch);
                uint8_t bitmap[300 / 8 + 1] = {0};

                assert_bijection(&p, n, bitmap);
            }
}

static void sizes_around_powers_of_two_are_bijections(void **state)
{
    static uint8_t bitmap[(1 << 17) / 8];

    (void)state;
    for (unsigned bits = 9; bits <= 16; bits++)
        for (int off = -1; off <= 1; off++) {
            uint64_t n = (UINT64_C(1) << bits) + (uint64_t)(int64_t)off;
            struct permutation p = order_of(n, 5, 1);

            memset(bitmap, 0, sizeof bitmap);
            assert_bijection(&p, n, bitmap);
        }
}

static void the_largest_size_stays_in_range_without_repeats(void **state)
{
    const uint64_t n = UINT64_C(1) << 32;
    struct permutation full = order_of(n, 1, 0), less = order_of(n - 1, 1, 0);
    uint64_t first = permutation_at(&full, 0), last = permutation_at(&full, n - 1);

    (void)state;
    assert_true(first < n && last < n && first != last);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(permutation_at(&full, n - 1 - i * 4000037) < n);
        assert_true(permutation_at(&less, n - 2 - i * 4000037) < n - 1);
    }
}

/* The network as the header tells it, without a table. */
static uint64_t walked(const struct permutation *p, uint64_t x)
{
    uint64_t low_mask = (UINT64_C(1) << p->low_bits) - 1;
    uint64_t high_mask = (UINT64_C(1) << p->high_bits) - 1;

    do {
        uint64_t low = x & low_mask, high = x >> p->low_bits;

        for (unsigned round = 0; round < PERMUTATION_ROUNDS; round += 2) {
            low ^= rng_mix(high + p->keys[round]) & low_mask;
            high ^= rng_mix(low + p->keys[round + 1]) & high_mask;
        }
        x = high << p->low_bits | low;
    } while (x >= p->n);
    return x;
}

static void a_run_is_what_stands_at_each_position(void **state)
{
    static const uint64_t sizes[] = {
        1,     2,     3,         255,     256,       257,           1000,    60000,
        65536, 65537, (1 << 21), 1281167, (1 << 22), (1 << 22) + 1, 5000000, UINT32_MAX};
    uint32_t run[1000];

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (uint64_t step = 0; step < 20; step++) {
            struct permutation p = order_of(sizes[i], 9, step);
            uint64_t position = rng_below(rng_mix(step), sizes[i]);
            uint64_t left = sizes[i] - position;
            uint32_t count = (uint32_t)rng_below(rng_mix(~step), left < 1000 ? left + 1 : 1001);

            permutation_run(&p, position, count, run);
            for (uint32_t k = 0; k < count; k++) {
                assert_int_equal(run[k], permutation_at(&p, position + k));
                assert_int_equal(run[k], walked(&p, position + k));
            }
        }
}

/* Where does each of some ids stand, over many epochs, or over many seeds? */
static void assert_positions_uniform(uint64_t n, uint64_t draws, bool by_seed)
{
    const uint64_t ids[3] = {0, n / 2, n - 1};
    uint64_t *counts[3];

    for (int k = 0; k < 3; k++)
        counts[k] = calloc(n, sizeof *counts[k]);
    for (uint64_t i = 0; i < draws; i++) {
        struct permutation p = order_of(n, by_seed ? i : 11, by_seed ? 3 : i);

        for (uint64_t position = 0; position < n; position++) {
            uint64_t id = permutation_at(&p, position);

            for (int k = 0; k < 3; k++)
                counts[k][position] += id == ids[k];
        }
    }
    for (int k = 0; k < 3; k++) {
        assert_true(stats_fit_uniform(counts[k], n) > STATS_P_MIN);
        free(counts[k]);
    }
}

static void each_id_stands_everywhere_equally_often_at_n_2(void **state)
{
    (void)state;
    assert_positions_uniform(2, 40000, false);
    assert_positions_uniform(2, 40000, true);
}

static void each_id_stands_everywhere_equally_often_at_n_10(void **state)
{
    (void)state;
    assert_positions_uniform(10, 40000, false);
    assert_positions_uniform(10, 40000, true);
}

static void each_id_stands_everywhere_equally_often_at_n_1000(void **state)
{
    (void)state;
    assert_positions_uniform(1000, 10000, false);
    assert_positions_uniform(1000, 10000, true);
}

static void neighbours_in_the_order_are_uniform_pairs(void **state)
{
    uint64_t pairs[90] = {0};

    (void)state;
    for (uint64_t epoch = 0; epoch < 90000; epoch++) {
        struct permutation p = order_of(10, 2, epoch);
        uint64_t a = permutation_at(&p, 4), b = permutation_at(&p, 5);

        pairs[a * 9 + b - (b > a)]++;
    }
    assert_true(stats_fit_uniform(pairs, 90) > STATS_P_MIN);
}

static void all_orders_of_four_are_equally_frequent(void **state)
{
    uint64_t orders[256] = {0}, counts[24];
    size_t met = 0;

    (void)state;
    for (uint64_t epoch = 0; epoch < 48000; epoch++) {
        struct permutation p = order_of(4, 3, epoch);
        uint64_t code = 0;

        for (uint64_t i = 0; i < 4; i++)
            code = code * 4 + permutation_at(&p, i);
        orders[code]++;
    }
    for (size_t code = 0; code < 256; code++)
        if (orders[code] > 0 && met < 24)
            counts[met++] = orders[code];
    assert_int_equal(met, 24);
    assert_true(stats_fit_uniform(counts, 24) > STATS_P_MIN);
}

static uint64_t common_positions(struct permutation a, struct permutation b)
{
    uint64_t common = 0;

    for (uint64_t i = 0; i < a.n; i++)
        common += permutation_at(&a, i) == permutation_at(&b, i);
    return common;
}

static void epochs_seeds_and_sizes_have_orders_of_their_own(void **state)
{
    (void)state;
    /* two random orders share one position on average, and 12 by a chance of 10^-9 */
    assert_true(common_positions(order_of(1000, 1, 0), order_of(1000, 1, 1)) < 12);
    assert_true(common_positions(order_of(1000, 1, 0), order_of(1000, 2, 0)) < 12);
    assert_true(common_positions(order_of(1000, 1, 0), order_of(1000, 1, UINT64_C(1) << 32)) < 12);
    assert_int_equal(common_positions(order_of(1000, 1, 5), order_of(1000, 1, 5)), 1000);
}

static void big_two_to_the_25_is_a_bijection(void **state)
{
    const uint64_t n = UINT64_C(1) << 25;
    uint8_t *bitmap = calloc(n / 8, 1);
    struct permutation p = order_of(n, 1, 2);

    (void)state;
    assert_non_null(bitmap);
    assert_bijection(&p, n, bitmap);
    free(bitmap);
}

TEST_MAIN(TEST(every_size_to_300_is_a_bijection), TEST(sizes_around_powers_of_two_are_bijections),
          TEST(the_largest_size_stays_in_range_without_repeats),
          TEST(a_run_is_what_stands_at_each_position),
          TEST(each_id_stands_everywhere_equally_often_at_n_2),
          TEST(each_id_stands_everywhere_equally_often_at_n_10),
          TEST(each_id_stands_everywhere_equally_often_at_n_1000),
          TEST(neighbours_in_the_order_are_uniform_pairs),
          TEST(all_orders_of_four_are_equally_frequent),
          TEST(epochs_seeds_and_sizes_have_orders_of_their_own),
          TEST(big_two_to_the_25_is_a_bijection))
