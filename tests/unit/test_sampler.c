/* test_sampler.c - a batch: how many slots of which kind, who is in it, and what its numbers say.
 *
 * How often each instance is drawn is in tests/property/test_draws.c.
 */
#include "../lib/drawer.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct sampler_policy defaults = SAMPLER_POLICY_DEFAULT;

/* ---- the mix of coverage and hard slots --------------------------------------------------------
 */

static void without_scores_coverage_fills_the_batch(void **state)
{
    struct drawer d;

    (void)state;
    drawer_open(&d, 100, 10, &defaults, 1);
    for (int batch = 0; batch < 30; batch++) {
        const struct sampler_batch *b = drawer_next(&d);

        assert_int_equal(b->coverage_count, 10);
        assert_int_equal(b->redraw_count, 0);
        for (uint32_t i = 0; i < 10; i++) {
            assert_true(b->probabilities[i] == 0.01f);
            assert_true(b->weights[i] == 1.0f);
        }
    }
    drawer_close(&d);
}

static void hard_slots_hold_only_what_has_a_score(void **state)
{
    struct drawer d;

    (void)state;
    drawer_open(&d, 100, 10, &defaults, 1);
    drawer_score_all(&d);
    for (int batch = 0; batch < 1000; batch++) {
        const struct sampler_batch *b = drawer_next(&d);

        assert_int_equal(b->coverage_count, 5 + b->fallback_count);
        for (uint32_t i = b->coverage_count; i < b->count; i++)
            assert_true(hardness_story(&d.hardness, b->ids[i]).scored);
    }
    drawer_close(&d);
}

/* Over 1000 batches: each has floor or ceil of rho * K, and the sum is never a whole slot off. */
static void the_fraction_of_a_coverage_slot_is_carried_exactly(void **state)
{
    const double rhos[] = {0.5, 0.3, 0.25, 0.1, 0.7, 1.0 / 3, 0.99, 0.001, 1};
    const uint32_t ks[] = {1, 2, 3, 7, 10, 64};

    (void)state;
    for (size_t r = 0; r < sizeof rhos / sizeof rhos[0]; r++)
        for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++) {
            struct sampler_policy policy = defaults;
            struct drawer d;
            double share = rhos[r] * ks[k];
            uint64_t sum = 0;

            policy.rho = rhos[r];
            policy.unique = false; /* no fallbacks */
            drawer_open(&d, 1000, ks[k], &policy, 1);
            drawer_score_all(&d);
            for (int batch = 1; batch <= 1000; batch++) {
                uint32_t count = drawer_next(&d)->coverage_count;

                sum += count;
                assert_true(count >= floor(share - 1e-6) && count <= ceil(share + 1e-6));
                assert_true((double)sum >= floor(batch * share - 1e-5));
                assert_true((double)sum <= floor(batch * share + 1e-5));
            }
            drawer_close(&d);
        }
}

static void the_bias_waits_rises_stays_and_falls(void **state)
{
    struct sampler_policy p = defaults;

    (void)state;
    p.rho = 0.25;
    p.warmup_epochs = 2;
    p.anneal_in = 4;
    p.anneal_out = 5;
    p.epochs = 20;
    assert_true(sampler_bias_share(&p, 0) == 0);
    assert_true(sampler_bias_share(&p, 1.999) == 0);
    assert_true(sampler_bias_share(&p, 2) == 0);
    assert_true(fabs(sampler_bias_share(&p, 3) - 0.75 / 4) < 1e-12);
    assert_true(fabs(sampler_bias_share(&p, 5) - 0.75 * 3 / 4) < 1e-12);
    assert_true(fabs(sampler_bias_share(&p, 6) - 0.75) < 1e-12);
    assert_true(fabs(sampler_bias_share(&p, 15) - 0.75) < 1e-12);
    assert_true(fabs(sampler_bias_share(&p, 16) - 0.75 * 4 / 5) < 1e-12);
    assert_true(fabs(sampler_bias_share(&p, 19.5) - 0.75 / 10) < 1e-12);
    assert_true(sampler_bias_share(&p, 20) == 0);
    assert_true(sampler_bias_share(&p, 1000) == 0);
}

static void without_annealing_the_bias_is_there_at_once_and_for_ever(void **state)
{
    struct sampler_policy p = defaults;

    (void)state;
    assert_true(sampler_bias_share(&p, 0) == 0.5);
    assert_true(sampler_bias_share(&p, 1e9) == 0.5);
    p.warmup_epochs = 1;
    assert_true(sampler_bias_share(&p, 0.999) == 0);
    assert_true(sampler_bias_share(&p, 1) == 0.5);
    p.anneal_out = 3; /* means nothing without an end */
    assert_true(sampler_bias_share(&p, 1e9) == 0.5);
    p.epochs = 10;
    p.anneal_out = 0;
    assert_true(sampler_bias_share(&p, 9.99) == 0.5);
    p.rho = 1;
    assert_true(sampler_bias_share(&p, 5) == 0);
}

static void a_draw_takes_the_bias_of_its_fractional_epoch(void **state)
{
    struct sampler_policy p = defaults;
    struct drawer d;

    (void)state;
    p.warmup_epochs = 1;
    p.anneal_in = 1;
    p.anneal_out = 1;
    p.epochs = 4;
    drawer_open(&d, 1000, 10, &p, 1);
    drawer_score_all(&d);
    while (d.coverage.epoch < 6) {
        double epoch = coverage_progress(&d.coverage);
        double share = 10 * (1 - sampler_bias_share(&p, epoch));
        const struct sampler_batch *b = drawer_next(&d);
        double planned = b->coverage_count - b->fallback_count;

        if (epoch < 1 || epoch >= 4)
            assert_int_equal(b->coverage_count, 10);
        else
            assert_true(fabs(planned - share) < 1);
    }
    drawer_close(&d);
}

/* ---- coverage under the bias -------------------------------------------------------------------
 */

/* Losses are reported as they would be, so the scores and the bias move all the time. */
static void cover(uint32_t n, uint32_t k, uint64_t epochs)
{
    uint8_t covered[4][300] = {{0}};
    struct drawer d;

    drawer_open(&d, n, k, &defaults, n);
    while (d.coverage.closed_count < epochs) {
        const struct sampler_batch *b = drawer_next(&d);

        for (uint32_t i = 0; i < b->coverage_count; i++)
            if (b->epochs[i] < epochs)
                assert_int_equal(covered[b->epochs[i]][b->ids[i]]++, 0);
        for (uint32_t i = 0; i < k; i++)
            hardness_report(&d.hardness, b->ids[i],
                            (float)(1 + rng_mix(b->ids[i] + d.step) % 1000) / 50, d.step);
    }
    for (uint64_t epoch = 0; epoch < epochs; epoch++)
        for (uint32_t id = 0; id < n; id++)
            assert_int_equal(covered[epoch][id], 1);
    for (size_t back = 0; back < epochs; back++)
        assert_int_equal(coverage_closed(&d.coverage, back)->served, n);
    drawer_close(&d);
}

static void coverage_is_exactly_once_per_epoch_at_all_sizes_to_300(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 300; n++) {
        cover(n, 1, 2);
        cover(n, 1 + n / 3, 3);
        cover(n, n, 3);
    }
}

/* ---- who is in the batch -----------------------------------------------------------------------
 */

static bool repeats(const struct sampler_batch *b, uint32_t slot)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (i != slot && b->ids[i] == b->ids[slot])
            return true;
    return false;
}

static void unique_batches_hold_no_hard_id_twice(void **state)
{
    const uint32_t n_and_k[][2] = {{1000, 32}, {100, 50}, {12, 12}, {5, 4}, {4, 4}, {2, 2}, {1, 1}};

    (void)state;
    for (size_t s = 0; s < sizeof n_and_k / sizeof n_and_k[0]; s++) {
        struct drawer d;

        drawer_open(&d, n_and_k[s][0], n_and_k[s][1], &defaults, s);
        drawer_score_all(&d);
        for (int batch = 0; batch < 1000; batch++) {
            const struct sampler_batch *b = drawer_next(&d);

            for (uint32_t i = b->coverage_count; i < b->count; i++)
                assert_false(repeats(b, i));
            assert_true(b->coverage_count >= b->fallback_count);
        }
        drawer_close(&d);
    }
}

static void without_unique_repeats_stay(void **state)
{
    struct sampler_policy p = defaults;
    struct drawer d;
    uint32_t repeated = 0;

    (void)state;
    p.unique = false;
    drawer_open(&d, 20, 16, &p, 1);
    drawer_score_all(&d);
    for (int batch = 0; batch < 100; batch++) {
        const struct sampler_batch *b = drawer_next(&d);

        assert_int_equal(b->coverage_count, 8);
        assert_int_equal(b->redraw_count, 0);
        assert_int_equal(b->fallback_count, 0);
        for (uint32_t i = 8; i < 16; i++)
            repeated += repeats(b, i);
    }
    assert_true(repeated > 400);
    drawer_close(&d);
}

static void many_ids_need_few_redraws_and_no_fallback(void **state)
{
    struct drawer d;
    uint64_t redrawn = 0;

    (void)state;
    drawer_open(&d, 20000, 16, &defaults, 1);
    drawer_score_all(&d);
    for (int batch = 0; batch < 1000; batch++) {
        redrawn += drawer_next(&d)->redraw_count;
        assert_int_equal(d.batch.fallback_count, 0);
    }
    assert_true(redrawn < 80); /* of 8000 hard draws */
    drawer_close(&d);
}

static void few_ids_are_redrawn_and_what_is_not_found_falls_to_coverage(void **state)
{
    struct drawer d;
    uint64_t redrawn = 0, fallen = 0;

    (void)state;
    drawer_open(&d, 4, 4, &defaults, 1);
    hardness_report(&d.hardness, 0, 4000.0f, 0); /* nearly all of q */
    for (uint32_t id = 1; id < 4; id++)
        hardness_report(&d.hardness, id, 1.0f, 0);
    for (int batch = 0; batch < 1000; batch++) {
        const struct sampler_batch *b = drawer_next(&d);

        redrawn += b->redraw_count;
        fallen += b->fallback_count;
        assert_int_equal(b->coverage_count, 2 + b->fallback_count);
    }
    assert_true(redrawn > 17 * 900);
    assert_true(fallen > 900);
    drawer_close(&d);
}

/* One id has a score: the first hard draw is it, each other one is thrown away 1 + redraws times.
 */
static void redraws_end_at_their_limit(void **state)
{
    const uint32_t limits[] = {0, 1, 16, 100};

    (void)state;
    for (size_t r = 0; r < 4; r++) {
        struct sampler_policy p = defaults;
        const struct sampler_batch *b;
        struct drawer d;
        uint32_t given_up;

        p.redraws = limits[r];
        drawer_open(&d, 1000, 8, &p, 1);
        hardness_report(&d.hardness, 7, 1.0f, 0);
        b = drawer_next(&d);
        given_up = b->redraw_count / (1 + limits[r]);
        assert_int_equal(given_up * (1 + limits[r]), b->redraw_count);
        assert_int_equal(given_up, 3);
        assert_int_equal(b->fallback_count, 3);
        assert_int_equal(b->coverage_count, 7);
        assert_int_equal(b->ids[7], 7);
        drawer_close(&d);
    }
}

/* ---- p and w -----------------------------------------------------------------------------------
 */

static void assert_numbers(const struct drawer *d, const double *q, const struct sampler_batch *b)
{
    const struct sampler_policy *policy = &d->sampler.policy;
    double share = (double)(b->coverage_count - b->fallback_count) / b->count;
    double w[64], sum = 0, max = 0, scale = 1;

    for (uint32_t i = 0; i < b->count; i++) {
        double p = share / d->hardness.n + (1 - share) * q[b->ids[i]];

        assert_true(fabs((double)b->probabilities[i] / p - 1) < 1e-6);
        w[i] = 1 / pow(d->hardness.n * p, policy->beta);
        sum += w[i];
        max = fmax(max, w[i]);
    }
    if (policy->normalise == SAMPLER_MEAN)
        scale = b->count / sum;
    if (policy->normalise == SAMPLER_MAX)
        scale = 1 / max;
    for (uint32_t i = 0; i < b->count; i++)
        assert_true(fabs((double)b->weights[i] / (w[i] * scale) - 1) < 1e-6);
}

static void p_and_w_follow_their_formulas(void **state)
{
    const double betas[] = {0, 0.4, 1}, rhos[] = {0.5, 0.3, 1};
    static double q[500];

    (void)state;
    for (int variant = 0; variant < 81; variant++) {
        struct sampler_policy p = defaults;
        struct drawer d;

        p.normalise = (enum sampler_normalise)(variant % 3);
        p.beta = betas[variant / 3 % 3];
        p.rho = rhos[variant / 9 % 3];
        p.weight = (enum sampler_weight)(variant / 27);
        p.alpha = 0.7;
        drawer_open(&d, 500, 15, &p, 3);
        drawer_score_all(&d);
        drawer_q(&d, q);
        for (int batch = 0; batch < 50; batch++)
            assert_numbers(&d, q, drawer_next(&d));
        drawer_close(&d);
    }
}

static void normalised_weights_have_mean_1_or_max_1(void **state)
{
    struct sampler_policy p = defaults;
    double sum = 0, max = 0;
    struct drawer d;

    (void)state;
    p.beta = 0.5;
    for (int normalise = SAMPLER_MEAN; normalise <= SAMPLER_MAX; normalise++) {
        p.normalise = (enum sampler_normalise)normalise;
        sum = max = 0;
        drawer_open(&d, 500, 20, &p, 3);
        drawer_score_all(&d);
        (void)drawer_next(&d);
        for (uint32_t i = 0; i < 20; i++) {
            sum += (double)d.batch.weights[i];
            max = fmax(max, (double)d.batch.weights[i]);
        }
        assert_true(fabs((normalise == SAMPLER_MEAN ? sum / 20 : max) - 1) < 1e-6);
        drawer_close(&d);
    }
}

static void extreme_policies_ship_positive_finite_numbers(void **state)
{
    const double alphas[] = {0, 8};

    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        struct sampler_policy p = defaults;
        struct drawer d;

        p.weight = (enum sampler_weight)(variant % 3);
        p.alpha = alphas[variant / 3 % 2];
        p.rho = variant / 6 ? 1 : 1e-9;
        p.beta = 1;
        drawer_open(&d, 64, 16, &p, 3);
        drawer_score_all(&d);
        for (int batch = 0; batch < 200; batch++) {
            const struct sampler_batch *b = drawer_next(&d);

            for (uint32_t i = 0; i < 16; i++) {
                assert_true(isfinite(b->weights[i]) && b->weights[i] > 0);
                assert_true(b->probabilities[i] >= 0 && b->probabilities[i] <= 1);
            }
        }
        drawer_close(&d);
    }
}

/* ---- the same again ----------------------------------------------------------------------------
 */

#define TRACE_BATCHES 50
#define TRACE_K       16

/* The ids of some batches, the hard ones only or all. */
static void trace(uint64_t seed, const char *job, uint64_t first_step, uint32_t *ids)
{
    struct drawer d;

    drawer_open(&d, 1000, TRACE_K, &defaults, 0);
    drawer_score_all(&d);
    drawer_restart(&d, seed, job);
    d.step = first_step;
    for (uint32_t i = 0; i < TRACE_BATCHES; i++)
        memcpy(ids + i * TRACE_K, drawer_next(&d)->ids, TRACE_K * sizeof *ids);
    drawer_close(&d);
}

static uint32_t common(const uint32_t *a, const uint32_t *b, bool hard)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < TRACE_BATCHES * TRACE_K; i++)
        same += (i % TRACE_K >= TRACE_K / 2) == hard && a[i] == b[i];
    return same;
}

static void the_same_seed_job_step_and_state_draw_the_same_batches(void **state)
{
    static uint32_t first[TRACE_BATCHES * TRACE_K], second[TRACE_BATCHES * TRACE_K];

    (void)state;
    trace(5, "job", 0, first);
    trace(5, "job", 0, second);
    assert_memory_equal(first, second, sizeof first);
}

static void another_seed_job_or_step_draws_other_batches(void **state)
{
    static uint32_t base[TRACE_BATCHES * TRACE_K], other[TRACE_BATCHES * TRACE_K];

    (void)state;
    trace(5, "job", 0, base);
    trace(6, "job", 0, other);
    assert_true(common(base, other, true) < 40 && common(base, other, false) < 20);
    trace(5, "jot", 0, other);
    assert_true(common(base, other, true) < 40 && common(base, other, false) < 20);
    trace(5, "job", 1000, other);
    assert_true(common(base, other, true) < 40);
    assert_int_equal(common(base, other, false), TRACE_BATCHES * TRACE_K / 2); /* coverage stays */
}

/* Whatever compiler, machine or release: a run that was recorded can be drawn again. */
static void the_sequence_of_a_seed_is_the_recorded_one(void **state)
{
    static uint32_t ids[TRACE_BATCHES * TRACE_K];
    uint64_t digest = 0;

    (void)state;
    trace(2024, "default", 0, ids);
    for (uint32_t i = 0; i < TRACE_BATCHES * TRACE_K; i++)
        digest = rng_mix(digest ^ ids[i]) + 1;
    assert_int_equal(digest, UINT64_C(0xa157c08e98b7641c));
}

TEST_MAIN(TEST(without_scores_coverage_fills_the_batch),
          TEST(hard_slots_hold_only_what_has_a_score),
          TEST(the_fraction_of_a_coverage_slot_is_carried_exactly),
          TEST(the_bias_waits_rises_stays_and_falls),
          TEST(without_annealing_the_bias_is_there_at_once_and_for_ever),
          TEST(a_draw_takes_the_bias_of_its_fractional_epoch),
          TEST(coverage_is_exactly_once_per_epoch_at_all_sizes_to_300),
          TEST(unique_batches_hold_no_hard_id_twice), TEST(without_unique_repeats_stay),
          TEST(many_ids_need_few_redraws_and_no_fallback),
          TEST(few_ids_are_redrawn_and_what_is_not_found_falls_to_coverage),
          TEST(redraws_end_at_their_limit), TEST(p_and_w_follow_their_formulas),
          TEST(normalised_weights_have_mean_1_or_max_1),
          TEST(extreme_policies_ship_positive_finite_numbers),
          TEST(the_same_seed_job_step_and_state_draw_the_same_batches),
          TEST(another_seed_job_or_step_draws_other_batches),
          TEST(the_sequence_of_a_seed_is_the_recorded_one))
