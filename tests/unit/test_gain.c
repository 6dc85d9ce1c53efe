/* test_gain.c - whether drawing by hardness would pay, and who acts on it: the paper's formula and
 * sums over ids, against what is worked out from 256 counts.
 */
#include "../../daemon/engine/gain.h"
#include "../../daemon/engine/sampler.h"
#include "../lib/test.h"

#include <math.h>

#define N 2000u
#define K 50u

static struct hardness hardness;
static struct coverage coverage;
static struct sampler sampler;
static uint32_t ids[K], epochs[K];
static float p[K], weights[K];

static double unit(uint64_t i)
{
    return rng_unit(rng_at(rng_make(7, "gain", RNG_DRAW), i, 0, 0).first);
}

static void open_all(struct sampler_policy policy)
{
    assert_int_equal(hardness_init(&hardness, N, 1), 0);
    assert_int_equal(coverage_init(&coverage, N, rng_make(1, "g", RNG_PERMUTATION)), 0);
    assert_int_equal(sampler_init(&sampler, &policy, rng_make(1, "g", RNG_DRAW), K), 0);
}

static void close_all(void)
{
    sampler_deinit(&sampler);
    coverage_deinit(&coverage);
    hardness_deinit(&hardness);
}

/* All have a score: the middle of a bucket, so that nothing is lost by the buckets. */
static void score_all(double spread)
{
    for (uint32_t id = 0; id < N; id++) {
        unsigned bucket = partition_bucket_of((float)exp2(spread * (unit(id) - 0.5)));

        hardness_report(&hardness, id, (float)partition_bucket_middle(bucket), 0);
    }
}

static struct sampler_batch draw(uint64_t step)
{
    struct sampler_batch batch = {
        .ids = ids, .epochs = epochs, .probabilities = p, .weights = weights, .count = K};

    sampler_draw(&sampler, &hardness, &coverage, step, &batch);
    return batch;
}

static struct sampler_policy policy_of(enum sampler_mode mode)
{
    struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;

    policy.mode = mode;
    return policy;
}

/* 1 / sqrt(1 - |g - u|^2 / |g|^2), as the paper has it. */
static double tau(void)
{
    double sum = 0, apart = 0, squares = 0;

    for (uint32_t id = 0; id < N; id++)
        sum += (double)hardness.entries[id].score;
    for (uint32_t id = 0; id < N; id++) {
        double g = (double)hardness.entries[id].score / sum;

        apart += pow(g - 1.0 / N, 2);
        squares += g * g;
    }
    return 1 / sqrt(1 - apart / squares);
}

static void the_measure_is_that_of_the_paper(void **state)
{
    (void)state;
    for (double spread = 0; spread < 16; spread += 1.5) {
        open_all(policy_of(SAMPLER_ON));
        assert_true(gain_measure(&hardness) == 1);
        score_all(spread);
        assert_true(fabs(gain_measure(&hardness) / tau() - 1) < 1e-6);
        close_all();
    }
}

static void the_average_begins_with_the_first_and_follows_slowly(void **state)
{
    double average = gain_average(0, 3);

    (void)state;
    assert_true(average == 3);
    for (int i = 0; i < 10; i++)
        average = gain_average(average, 1);
    assert_true(fabs(average - (1 + 2 * pow(0.9, 10))) < 1e-12);
}

static void by_itself_it_draws_by_hardness_when_that_pays(void **state)
{
    uint64_t step = 0;

    (void)state;
    open_all(policy_of(SAMPLER_AUTO));
    score_all(0.5);
    for (; step < 20; step++)
        assert_int_equal(draw(step).coverage_count, K);
    assert_false(sampler_is_biased(&sampler));
    score_all(10);
    assert_true(gain_measure(&hardness) > 1.6);
    assert_int_equal(draw(step++).coverage_count, K); /* not at once */
    for (; step < 60; step++)
        (void)draw(step);
    assert_true(sampler_is_biased(&sampler));
    assert_int_equal(draw(step).coverage_count, K / 2);
    score_all(0.5);
    for (; step < 120; step++)
        (void)draw(step);
    assert_int_equal(draw(step).coverage_count, K);
    close_all();
}

static void in_shadow_and_switched_off_nothing_is_drawn_by_hardness(void **state)
{
    static const enum sampler_mode modes[] = {SAMPLER_SHADOW, SAMPLER_OFF};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sampler_outlook o;

        open_all(policy_of(modes[i]));
        score_all(10);
        for (uint64_t step = 0; step < 20; step++) {
            assert_int_equal(draw(step).coverage_count, K);
            for (uint32_t k = 0; k < K; k++)
                assert_true(p[k] == 1.0f / N && weights[k] == 1);
        }
        o = sampler_look(&sampler, &hardness, &coverage); /* and yet it can be asked */
        assert_true(o.bias_share == 0.5 && o.score_ratio > 1.5 && o.overlap < 0.9);
        close_all();
    }
}

/* Sums over all ids of what the header says. */
static void what_the_bias_would_do_is_told(void **state)
{
    (void)state;
    for (double alpha = 0; alpha <= 2; alpha += 0.5) {
        struct sampler_policy policy = policy_of(SAMPLER_SHADOW);
        double total = 0, mean = 0, drawn = 0, overlap = 0;
        struct sampler_outlook o;

        policy.alpha = alpha;
        policy.rho = 0.75;
        open_all(policy);
        o = sampler_look(&sampler, &hardness, &coverage);
        assert_true(o.bias_share == 0 && o.score_ratio == 1 && o.overlap == 1);
        score_all(6);
        for (uint32_t id = 0; id < N; id++) {
            total += pow((double)hardness.entries[id].score, alpha);
            mean += (double)hardness.entries[id].score / N;
        }
        for (uint32_t id = 0; id < N; id++) {
            double q = pow((double)hardness.entries[id].score, alpha) / total;

            drawn += q * (double)hardness.entries[id].score;
            overlap += fmin(0.75 / N + 0.25 * q, 1.0 / N);
        }
        o = sampler_look(&sampler, &hardness, &coverage);
        assert_true(o.bias_share == 0.25);
        assert_true(fabs(o.score_ratio / (drawn / mean) - 1) < 1e-6);
        assert_true(fabs(o.overlap - overlap) < 1e-6);
        close_all();
    }
}

TEST_MAIN(TEST(the_measure_is_that_of_the_paper),
          TEST(the_average_begins_with_the_first_and_follows_slowly),
          TEST(by_itself_it_draws_by_hardness_when_that_pays),
          TEST(in_shadow_and_switched_off_nothing_is_drawn_by_hardness),
          TEST(what_the_bias_would_do_is_told))
