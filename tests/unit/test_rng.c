/* test_rng.c - the random numbers: Philox as published, and places that have nothing in common. */
#include "../../daemon/engine/rng.h"
#include "../lib/stats.h"
#include "../lib/test.h"

#include <math.h>
#include <stdbool.h>

struct known {
    uint32_t counter[4], key[2], out[4];
};

/* kat_vectors of Random123, philox4x32-10 */
static const struct known known_answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known_answers / sizeof known_answers[0]; i++) {
        uint32_t out[4];

        rng_philox(known_answers[i].counter, known_answers[i].key, out);
        assert_memory_equal(out, known_answers[i].out, sizeof out);
    }
}

static bool same(struct rng_pair a, struct rng_pair b)
{
    return a.first == b.first || a.second == b.second;
}

static void a_place_always_has_the_same_values(void **state)
{
    struct rng_pair a = rng_at(rng_make(7, "job", RNG_DRAW), 1, 2, 3);
    struct rng_pair b = rng_at(rng_make(7, "job", RNG_DRAW), 1, 2, 3);

    (void)state;
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_not_equal(a.first, a.second);
}

static void seed_job_purpose_step_slot_and_redraw_all_matter(void **state)
{
    struct rng r = rng_make(7, "job", RNG_DRAW);
    const struct rng_pair base = rng_at(r, 1, 2, 3);
    const struct rng_pair others[] = {
        rng_at(rng_make(8, "job", RNG_DRAW), 1, 2, 3),
        rng_at(rng_make(UINT64_C(7) + (UINT64_C(1) << 32), "job", RNG_DRAW), 1, 2, 3),
        rng_at(rng_make(7, "jobs", RNG_DRAW), 1, 2, 3),
        rng_at(rng_make(7, "", RNG_DRAW), 1, 2, 3),
        rng_at(rng_make(7, "job", RNG_PERMUTATION), 1, 2, 3),
        rng_at(r, 2, 2, 3),
        rng_at(r, 1 + (UINT64_C(1) << 32), 2, 3),
        rng_at(r, 1 + (UINT64_C(1) << 63), 2, 3),
        rng_at(r, 1, 3, 3),
        rng_at(r, 1, 2 + (1u << 31), 3),
        rng_at(r, 1, 2, 4),
        rng_at(r, 1, 3, 2),
    };

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(same(base, others[i]));
        for (size_t j = 0; j < i; j++)
            assert_false(same(others[j], others[i]));
    }
}

/* One walk through the stream: which coordinate moves. */
enum walk { BY_STEP, BY_SLOT, BY_REDRAW, BY_SEED };

static struct rng_pair at(enum walk walk, uint32_t i)
{
    struct rng r = rng_make(walk == BY_SEED ? i : 1, "job", RNG_DRAW);

    return rng_at(r, walk == BY_STEP ? i : 5, walk == BY_SLOT ? i : 5, walk == BY_REDRAW ? i : 5);
}

static void values_are_uniform_along_every_coordinate(void **state)
{
    (void)state;
    for (int walk = BY_STEP; walk <= BY_SEED; walk++) {
        uint64_t first[100] = {0}, second[100] = {0}, joint[100] = {0}, serial[100] = {0};
        uint64_t before = 0;

        for (uint32_t i = 0; i < 100000; i++) {
            struct rng_pair x = at((enum walk)walk, i);

            first[rng_below(x.first, 100)]++;
            second[rng_below(x.second, 100)]++;
            joint[rng_below(x.first, 10) * 10 + rng_below(x.second, 10)]++;
            serial[before * 10 + rng_below(x.first, 10)]++;
            before = rng_below(x.first, 10);
        }
        assert_true(stats_fit_uniform(first, 100) > STATS_P_MIN);
        assert_true(stats_fit_uniform(second, 100) > STATS_P_MIN);
        assert_true(stats_fit_uniform(joint, 100) > STATS_P_MIN);
        assert_true(stats_fit_uniform(serial, 100) > STATS_P_MIN);
    }
}

static void every_bit_is_set_half_of_the_time(void **state)
{
    struct rng r = rng_make(3, "job", RNG_DRAW);
    uint64_t set[128] = {0};
    const uint32_t draws = 20000;

    (void)state;
    for (uint32_t i = 0; i < draws; i++) {
        struct rng_pair x = rng_at(r, i, 0, 0);

        for (unsigned b = 0; b < 64; b++) {
            set[b] += x.first >> b & 1;
            set[64 + b] += x.second >> b & 1;
        }
    }
    for (unsigned b = 0; b < 128; b++) /* five standard deviations */
        assert_true(fabs((double)set[b] - draws / 2.0) < 5 * sqrt(draws / 4.0));
}

static void below_and_unit_stay_in_their_range(void **state)
{
    (void)state;
    assert_int_equal(rng_below(0, 1), 0);
    assert_int_equal(rng_below(UINT64_MAX, 1), 0);
    assert_int_equal(rng_below(0, UINT32_MAX), 0);
    assert_int_equal(rng_below(UINT64_MAX, UINT32_MAX), UINT32_MAX - 1);
    assert_true(rng_below(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
    assert_int_equal(rng_below(UINT64_C(1) << 63, 10), 5);
    assert_true(rng_unit(0) == 0);
    assert_true(rng_unit(UINT64_MAX) < 1);
    assert_true(rng_unit(UINT64_C(1) << 63) == 0.5);
}

static void mix_has_no_collision_among_close_numbers(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        for (uint64_t j = 0; j < i; j++)
            assert_int_not_equal(rng_mix(i), rng_mix(j));
}

TEST_MAIN(TEST(philox_gives_the_published_answers), TEST(a_place_always_has_the_same_values),
          TEST(seed_job_purpose_step_slot_and_redraw_all_matter),
          TEST(values_are_uniform_along_every_coordinate), TEST(every_bit_is_set_half_of_the_time),
          TEST(below_and_unit_stay_in_their_range), TEST(mix_has_no_collision_among_close_numbers))
