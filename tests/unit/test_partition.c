/* test_partition.c - the buckets' edges, and the bags at their limits. Random operations against a
 * naive model are in tests/property/test_partition_model.c. */
#include "../../daemon/engine/partition.h"
#include "../lib/test.h"

#include <float.h>
#include <math.h>

/* Eight buckets to the octave, linear within it, from 2^-20: written once more, by arithmetic. */
static double edge(unsigned bucket)
{
    return ldexp(1 + (bucket % 8) / 8.0, (int)(bucket / 8) - 20);
}

static void floors_are_eighths_of_octaves(void **state)
{
    (void)state;
    for (unsigned b = 1; b <= PARTITION_BUCKETS; b++)
        assert_true(partition_bucket_floor(b) == edge(b));
    assert_true(partition_bucket_floor(0) <= edge(0));
    assert_true(partition_bucket_floor(PARTITION_BUCKETS) == 0x1p12);
}

static void a_floor_is_in_its_bucket_and_the_float_below_is_not(void **state)
{
    (void)state;
    for (unsigned b = 1; b < PARTITION_BUCKETS; b++) {
        float floor = (float)partition_bucket_floor(b);

        assert_int_equal(partition_bucket_of(floor), b);
        assert_int_equal(partition_bucket_of(nextafterf(floor, 0)), b - 1);
    }
}

static void a_middle_is_in_its_bucket_and_near_all_of_it(void **state)
{
    (void)state;
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double middle = partition_bucket_middle(b);

        assert_int_equal(partition_bucket_of((float)middle), b);
        if (b == 0)
            continue;
        assert_true(middle / partition_bucket_floor(b) <= 1.0625);
        assert_true(partition_bucket_floor(b + 1) / middle <= 1.0625);
        assert_true(middle > partition_bucket_middle(b - 1));
    }
}

static void zero_negative_and_tiny_scores_are_in_bucket_0(void **state)
{
    const float low[] = {0.0f,   -0.0f,   -1.0f,          -FLT_MAX, -FLT_MIN, FLT_MIN,
                         1e-45f, -1e-45f, FLT_MIN / 2.0f, 0x1p-21f, 0x1p-20f};

    (void)state;
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++)
        assert_int_equal(partition_bucket_of(low[i]), 0);
}

static void huge_scores_are_in_the_last_bucket(void **state)
{
    (void)state;
    assert_int_equal(partition_bucket_of(0x1p12f), 255);
    assert_int_equal(partition_bucket_of(0x1p13f), 255);
    assert_int_equal(partition_bucket_of(1e30f), 255);
    assert_int_equal(partition_bucket_of(FLT_MAX), 255);
    assert_int_equal(partition_bucket_of(nextafterf(0x1p12f, 0)), 255);
}

static void the_bucket_never_falls_as_the_score_rises(void **state)
{
    unsigned before = 0;

    (void)state;
    for (float score = 0x1p-22f; score < 0x1p14f; score *= 1.0009f) {
        unsigned bucket = partition_bucket_of(score);

        assert_true(bucket == before || bucket == before + 1);
        before = bucket;
    }
    assert_int_equal(before, 255);
}

static void a_new_partition_is_empty(void **state)
{
    struct partition p;

    (void)state;
    assert_int_equal(partition_init(&p, 1000), 0);
    assert_int_equal(p.count, 0);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        assert_int_equal(p.buckets[b].count, 0);
    for (uint32_t id = 0; id < 1000; id++)
        assert_false(partition_has(&p, id));
    partition_deinit(&p);
}

static void assert_only(const struct partition *p, unsigned bucket, uint32_t n)
{
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        assert_int_equal(p->buckets[b].count, b == bucket ? n : 0);
    assert_int_equal(p->count, n);
}

static void all_ids_fit_into_any_one_bucket(void **state)
{
    const uint32_t sizes[] = {1, 2, 63, 64, 65, 1000, 70000};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct partition p;
        uint32_t n = sizes[i];

        assert_int_equal(partition_init(&p, n), 0);
        for (uint32_t id = 0; id < n; id++)
            partition_insert(&p, id, 0);
        assert_only(&p, 0, n);
        for (unsigned b = 1; b < PARTITION_BUCKETS; b += 127) { /* 1, 128, 255 */
            for (uint32_t id = 0; id < n; id++)
                partition_move(&p, id, b == 1 ? 0 : b - 127, b);
            assert_only(&p, b, n);
        }
        for (uint32_t id = n; id-- > 0;)
            partition_remove(&p, id, 255);
        assert_only(&p, 255, 0);
        partition_deinit(&p);
    }
}

static void the_worst_spread_over_all_buckets_fits(void **state)
{
    struct partition p;
    const uint32_t n = 5000;

    (void)state;
    assert_int_equal(partition_init(&p, n), 0);
    for (uint32_t id = 0; id < n; id++)
        partition_insert(&p, id, id % PARTITION_BUCKETS);
    for (unsigned round = 0; round < 300; round++) /* every bag gives and takes all the time */
        for (uint32_t id = 0; id < n; id++)
            partition_move(&p, id, (id + round) % PARTITION_BUCKETS,
                           (id + round + 1) % PARTITION_BUCKETS);
    for (uint32_t id = 0; id < n; id++)
        partition_remove(&p, id, (id + 300) % PARTITION_BUCKETS);
    assert_int_equal(p.count, 0);
    partition_deinit(&p);
}

static void a_move_to_the_same_bucket_changes_nothing(void **state)
{
    struct partition p;

    (void)state;
    assert_int_equal(partition_init(&p, 3), 0);
    partition_insert(&p, 1, 9);
    partition_move(&p, 1, 9, 9);
    assert_true(partition_has(&p, 1));
    assert_only(&p, 9, 1);
    assert_int_equal(partition_at(&p, 9, 0), 1);
    partition_deinit(&p);
}

TEST_MAIN(TEST(floors_are_eighths_of_octaves),
          TEST(a_floor_is_in_its_bucket_and_the_float_below_is_not),
          TEST(a_middle_is_in_its_bucket_and_near_all_of_it),
          TEST(zero_negative_and_tiny_scores_are_in_bucket_0),
          TEST(huge_scores_are_in_the_last_bucket), TEST(the_bucket_never_falls_as_the_score_rises),
          TEST(a_new_partition_is_empty), TEST(all_ids_fit_into_any_one_bucket),
          TEST(the_worst_spread_over_all_buckets_fits),
          TEST(a_move_to_the_same_bucket_changes_nothing))
