/* test_hardness.c - the rolling score, bit for bit, and what is read off all scores.
 *
 * The model below follows DESIGN 5 in float32, one operation per line, and keeps nothing but an
 * array. Lists and quantiles are compared with the sorted array.
 */
#include "../../daemon/engine/hardness.h"
#include "../../daemon/engine/rng.h"
#include "../lib/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct model {
    float score, variance, last_loss;
    uint32_t visits, last_step;
};

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Eight significant bits, to nearest, ties to even: by comparing the two neighbours. */
static float rounded(float x)
{
    uint32_t down_bits = bits_of(x) & 0xffff0000u, up_bits = down_bits + 0x10000u;
    float down, up;
    double below, above;

    memcpy(&down, &down_bits, sizeof down);
    memcpy(&up, &up_bits, sizeof up);
    if (isinf(x))
        return x;
    below = (double)x - (double)down;
    above = (isinf(up) ? 0x1p128 : (double)up) - (double)x;
    if (below != above)
        return below < above ? down : up;
    return (down_bits >> 16) % 2 == 0 ? down : up;
}

static void model_report(struct model *m, float lambda, float loss, uint64_t step)
{
    float l = loss > 0 ? loss : 0;

    if (m->visits == 0) {
        m->score = l;
        m->variance = 0;
    } else {
        float d = l - m->score;
        float square = d * d;
        float pulled = lambda * square;
        float sum = m->variance + pulled;
        float move = lambda * d;

        m->variance = rounded((1 - lambda) * sum);
        m->score = m->score + move;
    }
    m->last_loss = loss;
    m->last_step = (uint32_t)step;
    m->visits = m->visits < HARDNESS_VISITS_MAX ? m->visits + 1 : HARDNESS_VISITS_MAX;
}

static void assert_equals_model(const struct hardness *h, uint32_t id, const struct model *m)
{
    struct hardness_story s = hardness_story(h, id);

    assert_true(s.scored == (m->visits > 0));
    assert_int_equal(bits_of(s.score), bits_of(m->score));
    assert_int_equal(bits_of(s.variance), bits_of(m->variance));
    assert_int_equal(bits_of(s.last_loss), bits_of(m->last_loss));
    assert_int_equal(s.visits, m->visits);
    assert_int_equal(s.last_step, m->last_step);
}

static double unit_at(uint64_t seed, uint64_t i)
{
    return rng_unit(rng_at(rng_make(seed, "hardness", RNG_DRAW), i, 0, 0).first);
}

/* Losses as they come, over all magnitudes, one in eight negative, one in eight exactly 0. */
static float loss_at(uint64_t seed, uint64_t i)
{
    double kind = unit_at(seed, 2 * i);
    float size = (float)exp2(-24 + 40 * unit_at(seed, 2 * i + 1));

    return kind < 0.125 ? -size : kind < 0.25 ? 0 : size;
}

static void scores_are_bit_equal_to_the_formula(void **state)
{
    const float lambdas[] = {0.5f, 0.1f, 0.9f, 1.0f, 1e-3f};

    (void)state;
    for (size_t k = 0; k < sizeof lambdas / sizeof lambdas[0]; k++) {
        struct model model[64] = {{0}};
        struct hardness h;

        assert_int_equal(hardness_init(&h, 64, lambdas[k]), 0);
        for (uint64_t i = 0; i < 400000; i++) {
            uint32_t id = (uint32_t)(unit_at(99, i) * 60); /* four are never met */
            float loss = loss_at(k, i);

            hardness_report(&h, id, loss, i * 1000003);
            model_report(&model[id], lambdas[k], loss, i * 1000003);
            assert_equals_model(&h, id, &model[id]);
        }
        for (uint32_t id = 0; id < 64; id++) {
            assert_equals_model(&h, id, &model[id]);
            assert_true(partition_has(&h.partition, id) == (id < 60));
        }
        assert_int_equal(h.partition.count, 60);
        hardness_deinit(&h);
    }
}

static void the_first_report_sets_the_score(void **state)
{
    struct hardness h;
    struct hardness_story s;

    (void)state;
    assert_int_equal(hardness_init(&h, 3, 0.5f), 0);
    assert_false(hardness_story(&h, 1).scored);
    assert_int_equal(hardness_story(&h, 1).visits, 0);
    hardness_report(&h, 1, 3.0f, 42);
    s = hardness_story(&h, 1);
    assert_true(s.scored && s.score == 3.0f && s.variance == 0 && s.last_loss == 3.0f);
    assert_int_equal(s.visits, 1);
    assert_int_equal(s.last_step, 42);
    assert_false(hardness_story(&h, 0).scored);
    assert_false(hardness_story(&h, 2).scored);
    hardness_deinit(&h);
}

static void a_later_report_pulls_the_score_by_lambda(void **state)
{
    struct hardness h;
    struct hardness_story s;

    (void)state;
    assert_int_equal(hardness_init(&h, 1, 0.25f), 0);
    hardness_report(&h, 0, 4.0f, 0);
    hardness_report(&h, 0, 8.0f, 1);
    s = hardness_story(&h, 0);
    assert_true(s.score == 5.0f);    /* 4 + 0.25 * (8 - 4) */
    assert_true(s.variance == 3.0f); /* 0.75 * (0 + 0.25 * 16) */
    hardness_deinit(&h);
}

static void a_negative_loss_counts_as_zero_but_is_remembered(void **state)
{
    struct hardness h;
    struct hardness_story s;

    (void)state;
    assert_int_equal(hardness_init(&h, 1, 0.5f), 0);
    hardness_report(&h, 0, -2.0f, 0);
    s = hardness_story(&h, 0);
    assert_true(s.scored && s.score == 0 && s.last_loss == -2.0f);
    assert_true(partition_has(&h.partition, 0));
    assert_int_equal(h.partition.buckets[0].count, 1);
    hardness_report(&h, 0, 8.0f, 1);
    hardness_report(&h, 0, -1.0f, 2);
    s = hardness_story(&h, 0);
    assert_true(s.score == 2.0f && s.last_loss == -1.0f);
    hardness_deinit(&h);
}

static void visits_stop_at_their_limit(void **state)
{
    struct hardness h;

    (void)state;
    assert_int_equal(hardness_init(&h, 2, 0.5f), 0);
    for (uint64_t i = 0; i < HARDNESS_VISITS_MAX + 10u; i++)
        hardness_report(&h, 0, i % 2 ? 1.0f : 2.0f, i);
    assert_int_equal(hardness_story(&h, 0).visits, HARDNESS_VISITS_MAX);
    assert_int_equal(hardness_story(&h, 0).last_step, HARDNESS_VISITS_MAX + 9u);
    assert_true(hardness_story(&h, 0).score > 1.0f); /* not begun again */
    assert_true(hardness_story(&h, 0).variance > 0);
    hardness_deinit(&h);
}

static void the_largest_losses_leave_finite_numbers(void **state)
{
    const float losses[] = {FLT_MAX, 0, FLT_MAX, -FLT_MAX, 1, FLT_MAX};
    const float lambdas[] = {0.5f, 1.0f};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct hardness h;

        assert_int_equal(hardness_init(&h, 1, lambdas[k]), 0);
        for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
            hardness_report(&h, 0, losses[i], i);
            assert_true(isfinite(hardness_story(&h, 0).score));
            assert_true(isfinite(hardness_story(&h, 0).variance));
        }
        hardness_deinit(&h);
    }
}

static void an_entry_fills_sixteen_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct hardness_entry), 16);
}

static void the_partition_follows_every_score(void **state)
{
    struct hardness h;

    (void)state;
    assert_int_equal(hardness_init(&h, 500, 0.5f), 0);
    for (uint64_t i = 0; i < 30000; i++)
        hardness_report(&h, (uint32_t)(unit_at(5, i) * 500), loss_at(6, i), i);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        for (uint32_t i = 0; i < h.partition.buckets[b].count; i++) {
            uint32_t id = partition_at(&h.partition, b, i);

            assert_int_equal(partition_bucket_of(hardness_story(&h, id).score), b);
        }
    assert_int_equal(h.partition.count, 500);
    hardness_deinit(&h);
}

/* ---- what is read off all scores, against the sorted array -------------------------------------
 */

struct scored {
    float score;
    uint32_t id;
};

static int harder_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Every third id has no report; scores repeat, some are 0. `sorted` gets the rest, hardest first.
 */
static uint32_t fill(struct hardness *h, uint32_t n, uint64_t seed, struct scored *sorted)
{
    uint32_t count = 0;

    assert_int_equal(hardness_init(h, n, 0.5f), 0);
    for (uint32_t id = 0; id < n; id++) {
        float loss = (float)exp2(floor(unit_at(seed, id) * 60) / 6 - 3);

        if (id % 3 == 2)
            continue;
        hardness_report(h, id, id % 17 == 0 ? 0 : loss, id);
        sorted[count++] = (struct scored){hardness_story(h, id).score, id};
    }
    qsort(sorted, count, sizeof *sorted, harder_first);
    return count;
}

static void the_hardest_are_those_of_the_sorted_array(void **state)
{
    static struct scored sorted[3000];
    static uint32_t ids[HARDNESS_HARDEST_MAX];
    const uint32_t sizes[] = {1, 2, 5, 40, 3000};
    const size_t asked[] = {0, 1, 2, 10, 100, HARDNESS_HARDEST_MAX};

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct hardness h;
        uint32_t count = fill(&h, sizes[k], k, sorted);

        for (size_t a = 0; a < sizeof asked / sizeof asked[0]; a++) {
            size_t expected = asked[a] < count ? asked[a] : count;

            assert_int_equal(hardness_hardest(&h, asked[a], ids), expected);
            for (size_t i = 0; i < expected; i++)
                assert_int_equal(ids[i], sorted[i].id);
        }
        hardness_deinit(&h);
    }
}

static void the_hardest_of_equals_are_the_lowest_ids(void **state)
{
    static uint32_t ids[10];
    struct hardness h;

    (void)state;
    assert_int_equal(hardness_init(&h, 1000, 0.5f), 0);
    for (uint32_t id = 1000; id-- > 0;)
        hardness_report(&h, id, 2.0f, 0);
    assert_int_equal(hardness_hardest(&h, 10, ids), 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(ids[i], i);
    hardness_deinit(&h);
}

static void a_list_over_the_scan_limit_is_still_a_list_of_hardest(void **state)
{
    const uint32_t n = HARDNESS_SCAN_MAX + 1000;
    static uint32_t ids[100];
    struct hardness h;

    (void)state;
    assert_int_equal(hardness_init(&h, n, 0.5f), 0);
    for (uint32_t id = 0; id < n; id++)
        hardness_report(&h, id, id % 100000 == 7 ? 50.0f : 2.0f, 0);
    assert_int_equal(hardness_hardest(&h, 100, ids), 100);
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(ids[i] < n);
        assert_true(i < 11 ? ids[i] == 7 + i * 100000 : hardness_story(&h, ids[i]).score == 2.0f);
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(ids[i], ids[j]);
    }
    hardness_deinit(&h);
}

static void quantiles_are_those_of_the_sorted_array_to_a_bucket(void **state)
{
    static struct scored sorted[3000];
    const uint32_t sizes[] = {1, 2, 5, 40, 3000};

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct hardness h;
        uint32_t count = fill(&h, sizes[k], k, sorted);

        for (int percent = 0; percent <= 100; percent++) {
            double q = percent / 100.0, got = hardness_quantile(&h, q);
            uint32_t low = (uint32_t)floor(q * (count - 1));
            uint32_t high = (uint32_t)fmin(count - 1, ceil(q * count));
            /* ascending order is the sorted array from its end */
            unsigned low_bucket = partition_bucket_of(sorted[count - 1 - low].score);
            unsigned high_bucket = partition_bucket_of(sorted[count - 1 - high].score);

            assert_true(got >= partition_bucket_floor(low_bucket));
            assert_true(got <= partition_bucket_floor(high_bucket + 1));
        }
        hardness_deinit(&h);
    }
}

static void the_mean_is_that_of_the_array_to_the_buckets_precision(void **state)
{
    static struct scored sorted[3000];
    struct hardness h;
    uint32_t count = fill(&h, 3000, 1, sorted);
    double sum = 0;

    (void)state;
    for (uint32_t i = 0; i < count; i++)
        sum += (double)sorted[i].score;
    assert_true(fabs(hardness_mean(&h) / (sum / count) - 1) < 0.0625);
    hardness_deinit(&h);
}

static void without_a_report_there_is_no_quantile_mean_or_hardest(void **state)
{
    uint32_t ids[4];
    struct hardness h;

    (void)state;
    assert_int_equal(hardness_init(&h, 4, 0.5f), 0);
    assert_true(hardness_quantile(&h, 0.5) == 0);
    assert_true(hardness_quantile(&h, 1) == 0);
    assert_true(hardness_mean(&h) == 0);
    assert_int_equal(hardness_hardest(&h, 4, ids), 0);
    hardness_deinit(&h);
}

TEST_MAIN(TEST(scores_are_bit_equal_to_the_formula), TEST(the_first_report_sets_the_score),
          TEST(a_later_report_pulls_the_score_by_lambda),
          TEST(a_negative_loss_counts_as_zero_but_is_remembered), TEST(visits_stop_at_their_limit),
          TEST(the_largest_losses_leave_finite_numbers), TEST(an_entry_fills_sixteen_bytes),
          TEST(the_partition_follows_every_score), TEST(the_hardest_are_those_of_the_sorted_array),
          TEST(the_hardest_of_equals_are_the_lowest_ids),
          TEST(a_list_over_the_scan_limit_is_still_a_list_of_hardest),
          TEST(quantiles_are_those_of_the_sorted_array_to_a_bucket),
          TEST(the_mean_is_that_of_the_array_to_the_buckets_precision),
          TEST(without_a_report_there_is_no_quantile_mean_or_hardest))
