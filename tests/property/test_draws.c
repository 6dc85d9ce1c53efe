/* test_draws.c - the drawn frequencies are those that the formulas say, by chi-square.
 *
 * Scores are fixed and seeds or steps vary. Seeds are fixed too, so each p-value is a constant; the
 * last of the small cases shows that a slightly wrong formula would be seen.
 */
#include "../lib/drawer.h"
#include "../lib/stats.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX 1000

static const uint32_t sizes[] = {1, 2, 10, N_MAX};
static const double alphas[] = {0.5, 1, 2};

static struct sampler_policy policy_of(enum sampler_weight weight, double alpha, bool unique)
{
    struct sampler_policy p = SAMPLER_POLICY_DEFAULT;

    p.weight = weight;
    p.alpha = alpha;
    p.unique = unique;
    return p;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void the_chi_square_tail_is_that_of_the_tables(void **state)
{
    const double rows[][3] = {{3.841459, 1, 0.05},       {18.307038, 10, 0.05},
                              {124.342113, 100, 0.05},   {23.209251, 10, 0.01},
                              {1074.679449, 1000, 0.05}, {2, 2, 0.36787944},
                              {15.136705, 1, 1e-4},      {0, 3, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(fabs(stats_chi_square_tail(rows[i][0], rows[i][1]) / rows[i][2] - 1) < 1e-5);
}

/* ---- hard slots by themselves ------------------------------------------------------------------
 */

static void count_hard(struct drawer *d, uint32_t batches, uint64_t *counts)
{
    memset(counts, 0, d->hardness.n * sizeof *counts);
    for (uint32_t i = 0; i < batches; i++) {
        const struct sampler_batch *b = drawer_next(d);

        for (uint32_t slot = b->coverage_count; slot < b->count; slot++)
            counts[b->ids[slot]]++;
    }
}

static void assert_hard_slots_follow(enum sampler_weight weight, bool ordered)
{
    static uint64_t counts[N_MAX];
    static double q[N_MAX];

    for (size_t a = 0; a < 3; a++)
        for (size_t s = 0; s < 4; s++) {
            struct sampler_policy policy = policy_of(weight, alphas[a], false);
            struct drawer d;
            double p;

            drawer_open(&d, sizes[s], least(sizes[s], 8), &policy, a * 10 + s);
            if (ordered)
                drawer_order(&d);
            drawer_score_all(&d);
            drawer_q(&d, q);
            count_hard(&d, 20000, counts);
            p = stats_fit(counts, q, sizes[s]);
            print_message("n %u, alpha %g: p %g\n", sizes[s], alphas[a], p);
            assert_true(p > STATS_P_MIN);
            drawer_close(&d);
        }
}

static void hard_slots_are_drawn_in_proportion_to_score_to_the_alpha(void **state)
{
    (void)state;
    assert_hard_slots_follow(SAMPLER_HARD, false);
}

static void hard_slots_are_drawn_in_proportion_to_rank_to_the_minus_alpha(void **state)
{
    (void)state;
    assert_hard_slots_follow(SAMPLER_RANK, false);
}

static void hard_slots_are_drawn_uniformly_from_the_scored(void **state)
{
    (void)state;
    assert_hard_slots_follow(SAMPLER_UNIFORM, false);
}

static void hard_slots_follow_every_weight_in_strict_order_too(void **state)
{
    (void)state;
    assert_hard_slots_follow(SAMPLER_HARD, true);
    assert_hard_slots_follow(SAMPLER_RANK, true);
    assert_hard_slots_follow(SAMPLER_UNIFORM, true);
}

static void hard_slots_of_one_batch_are_independent(void **state)
{
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, false);
    static double q[10], pairs[100];
    static uint64_t counts[100];
    struct drawer d;

    (void)state;
    drawer_open(&d, 10, 4, &policy, 1);
    drawer_score_all(&d);
    drawer_q(&d, q);
    for (uint32_t i = 0; i < 100; i++)
        pairs[i] = q[i / 10] * q[i % 10];
    for (uint32_t i = 0; i < 50000; i++) {
        const struct sampler_batch *b = drawer_next(&d);

        counts[b->ids[2] * 10 + b->ids[3]]++;
    }
    assert_true(stats_fit(counts, pairs, 100) > STATS_P_MIN);
    drawer_close(&d);
}

/* ---- coverage slots by themselves --------------------------------------------------------------
 */

static void coverage_slots_hold_each_id_equally_often_over_seeds(void **state)
{
    static uint64_t counts[N_MAX];

    (void)state;
    for (size_t s = 1; s < 4; s++) {
        struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, true);
        struct drawer d;

        drawer_open(&d, sizes[s], least(sizes[s], 8), &policy, 0);
        drawer_score_all(&d);
        memset(counts, 0, sizeof counts);
        for (uint64_t seed = 0; seed < 20000; seed++) {
            const struct sampler_batch *b;

            drawer_restart(&d, seed, "job");
            b = drawer_next(&d);
            counts[b->ids[seed % (b->count / 2)]]++; /* a planned one, not a fallback */
        }
        assert_true(stats_fit_uniform(counts, sizes[s]) > STATS_P_MIN);
        drawer_close(&d);
    }
}

/* ---- the shipped p -----------------------------------------------------------------------------
 */

/* One slot of the first batch of each seed: a sample of what p speaks of. */
static void count_slots(struct drawer *d, uint64_t seeds, uint64_t *counts, float *shipped)
{
    memset(counts, 0, d->hardness.n * sizeof *counts);
    for (uint64_t seed = 0; seed < seeds; seed++) {
        const struct sampler_batch *b;

        drawer_restart(d, seed, "job");
        b = drawer_next(d);
        counts[b->ids[seed % b->count]]++;
        for (uint32_t i = 0; i < b->count; i++)
            shipped[b->ids[i]] = b->probabilities[i];
    }
}

/* p of each id with half of the slots coverage, and that it was what the batches said. */
static void assert_shipped(const struct drawer *d, const float *shipped, double *p)
{
    uint32_t n = d->hardness.n;

    drawer_q(d, p);
    for (uint32_t id = 0; id < n; id++) {
        p[id] = 0.5 / n + 0.5 * p[id];
        assert_true(shipped[id] == 0 || fabs((double)shipped[id] / p[id] - 1) < 1e-6);
    }
}

static void the_shipped_p_is_the_measured_frequency_without_unique(void **state)
{
    static uint64_t counts[N_MAX];
    static double p[N_MAX];
    const uint32_t n_and_k[][2] = {{2, 2}, {10, 4}, {N_MAX, 8}};

    (void)state;
    for (int weight = SAMPLER_HARD; weight <= SAMPLER_UNIFORM; weight++)
        for (size_t s = 0; s < 3; s++) {
            static float shipped[N_MAX];
            struct sampler_policy policy = policy_of((enum sampler_weight)weight, 1, false);
            struct drawer d;

            drawer_open(&d, n_and_k[s][0], n_and_k[s][1], &policy, 0);
            drawer_score_all(&d);
            memset(shipped, 0, sizeof shipped);
            count_slots(&d, 20000, counts, shipped);
            assert_shipped(&d, shipped, p);
            assert_true(stats_fit(counts, p, n_and_k[s][0]) > STATS_P_MIN);
            drawer_close(&d);
        }
}

/* K = 2, one of them coverage: the hard one avoids it, so its odds are known exactly. */
static void unique_draws_have_their_exact_frequency_in_a_batch_of_two(void **state)
{
    enum { N = 10 };
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 0.5, true);
    uint64_t counts[N] = {0};
    double q[N], hard[N] = {0};
    struct drawer d;

    (void)state;
    drawer_open(&d, N, 2, &policy, 0);
    drawer_score_all(&d);
    drawer_q(&d, q);
    for (int id = 0; id < N; id++)
        for (int covered = 0; covered < N; covered++)
            hard[id] += id == covered ? 0 : q[id] / (1 - q[covered]) / N;
    for (uint64_t seed = 0; seed < 200000; seed++) {
        drawer_restart(&d, seed, "job");
        counts[drawer_next(&d)->ids[1]]++;
    }
    assert_true(stats_fit(counts, hard, N) > STATS_P_MIN);
    assert_true(stats_fit(counts, q, N) < STATS_P_MIN); /* and it is not q */
    drawer_close(&d);
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* The factor of DESIGN 5: what unique can add at most to a frequency. */
static double unique_factor(const double *q, uint32_t n, uint32_t k)
{
    static double sorted[N_MAX];
    double largest = 0;

    memcpy(sorted, q, n * sizeof *q);
    qsort(sorted, n, sizeof *sorted, descending);
    for (uint32_t i = 0; i + 1 < k; i++)
        largest += sorted[i];
    return 1 / (1 - largest);
}

/* Above p by at most the factor; below it by at most the chance to be in the batch already. */
static void unique_frequencies_stay_within_the_stated_factor_of_p(void **state)
{
    enum { K = 16, BATCHES = 40000 };
    static uint64_t counts[N_MAX];
    static double q[N_MAX];
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, true);
    struct drawer d;
    double factor;

    (void)state;
    drawer_open(&d, N_MAX, K, &policy, 4);
    drawer_score_all(&d);
    drawer_q(&d, q);
    factor = unique_factor(q, N_MAX, K);
    assert_true(factor > 1.01 && factor < 1.2);
    for (uint32_t i = 0; i < BATCHES; i++) {
        const struct sampler_batch *b = drawer_next(&d);

        for (uint32_t slot = 0; slot < K; slot++)
            counts[b->ids[slot]]++;
    }
    for (uint32_t id = 0; id < N_MAX; id++) {
        const double slots = (double)K * BATCHES;
        double p = 0.5 / N_MAX + 0.5 * q[id], noise = 4.5 * sqrt(p / slots);
        double measured = (double)counts[id] / slots;

        assert_true(measured <= p * factor + noise);
        assert_true(measured >= p * (1 - (K - 1) * p * factor) - noise);
    }
    drawer_close(&d);
}

/* ---- does the check see anything? --------------------------------------------------------------
 */

static void a_slightly_wrong_weight_is_detected(void **state)
{
    static uint64_t counts[N_MAX];
    static double q[N_MAX], wrong[N_MAX];
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, false);
    struct drawer d;
    double sum = 0;

    (void)state;
    drawer_open(&d, N_MAX, 8, &policy, 3);
    drawer_score_all(&d);
    count_hard(&d, 20000, counts);
    drawer_q(&d, q);
    assert_true(stats_fit(counts, q, N_MAX) > STATS_P_MIN);
    d.sampler.policy.alpha = 1.05;
    drawer_q(&d, wrong);
    assert_true(stats_fit(counts, wrong, N_MAX) < STATS_P_MIN);
    for (uint32_t id = 0; id < N_MAX; id++) { /* one id in ten, a fifth too often */
        wrong[id] = q[id] * (id % 10 == 0 ? 1.2 : 1);
        sum += wrong[id];
    }
    for (uint32_t id = 0; id < N_MAX; id++)
        wrong[id] /= sum;
    assert_true(stats_fit(counts, wrong, N_MAX) < STATS_P_MIN);
    drawer_close(&d);
}

/* ---- 2^25 instances ----------------------------------------------------------------------------
 */

#define BIG_N     (1u << 25)
#define BIG_K     65536u
#define BIG_CELLS (PARTITION_BUCKETS * 16)

static void score_big(struct drawer *d)
{
    for (uint32_t id = 0; id < BIG_N; id++)
        if (id % 8 != 1)
            hardness_report(&d->hardness, id, (float)(1 + (rng_mix(id) & 1023)) / 64, 0);
}

/* Ids fold into cells by their bucket and their low bits. */
static unsigned cell_of(const struct drawer *d, uint32_t id)
{
    return partition_bucket_of(d->hardness.entries[id].score) * 16 + id % 16;
}

static double big_fit(struct drawer *d, double *q, uint32_t batches)
{
    static uint64_t counts[BIG_CELLS];
    static double cells[BIG_CELLS];

    memset(counts, 0, sizeof counts);
    memset(cells, 0, sizeof cells);
    drawer_q(d, q);
    for (uint32_t id = 0; id < BIG_N; id++)
        cells[cell_of(d, id)] += q[id];
    for (uint32_t i = 0; i < batches; i++) {
        const struct sampler_batch *b = drawer_next(d);

        for (uint32_t slot = b->coverage_count; slot < b->count; slot++)
            counts[cell_of(d, b->ids[slot])]++;
    }
    return stats_fit(counts, cells, BIG_CELLS);
}

static void big_hard_slots_follow_their_weights_at_n_2_to_the_25_in_strict_order_too(void **state)
{
    double *q = malloc(BIG_N * sizeof *q);
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, false);
    struct drawer d;

    (void)state;
    assert_non_null(q);
    drawer_open(&d, BIG_N, BIG_K, &policy, 0);
    drawer_order(&d);
    score_big(&d);
    assert_true(big_fit(&d, q, 40) > STATS_P_MIN);
    drawer_close(&d);
    free(q);
}

static void big_hard_slots_follow_their_weights_at_n_2_to_the_25(void **state)
{
    double *q = malloc(BIG_N * sizeof *q);
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, false);
    struct drawer d;

    (void)state;
    assert_non_null(q);
    drawer_open(&d, BIG_N, BIG_K, &policy, 0);
    score_big(&d);
    for (int weight = SAMPLER_HARD; weight <= SAMPLER_UNIFORM; weight++)
        for (size_t a = 0; a < (weight == SAMPLER_UNIFORM ? 1 : 3); a++) {
            sampler_deinit(&d.sampler);
            policy = policy_of((enum sampler_weight)weight, alphas[a], false);
            assert_int_equal(sampler_init(&d.sampler, &policy, rng_make(7, "big", RNG_DRAW), BIG_K),
                             0);
            assert_true(big_fit(&d, q, 40) > STATS_P_MIN);
        }
    drawer_close(&d);
    free(q);
}

static void big_coverage_is_exactly_once_per_epoch_at_n_2_to_the_25_with_the_bias_on(void **state)
{
    uint8_t *covered = calloc(BIG_N, 1);
    struct sampler_policy policy = policy_of(SAMPLER_HARD, 1, true);
    struct drawer d;

    (void)state;
    assert_non_null(covered);
    drawer_open(&d, BIG_N, BIG_K, &policy, 0);
    score_big(&d);
    while (d.coverage.closed_count == 0) {
        const struct sampler_batch *b = drawer_next(&d);

        assert_true(b->coverage_count < b->count); /* the bias is on */
        for (uint32_t i = 0; i < b->coverage_count; i++)
            if (b->epochs[i] == 0)
                covered[b->ids[i]]++;
    }
    for (uint32_t id = 0; id < BIG_N; id++)
        if (covered[id] != 1)
            fail_msg("id %u was covered %u times", id, covered[id]);
    drawer_close(&d);
    free(covered);
}

TEST_MAIN(TEST(the_chi_square_tail_is_that_of_the_tables),
          TEST(hard_slots_are_drawn_in_proportion_to_score_to_the_alpha),
          TEST(hard_slots_are_drawn_in_proportion_to_rank_to_the_minus_alpha),
          TEST(hard_slots_are_drawn_uniformly_from_the_scored),
          TEST(hard_slots_follow_every_weight_in_strict_order_too),
          TEST(hard_slots_of_one_batch_are_independent),
          TEST(coverage_slots_hold_each_id_equally_often_over_seeds),
          TEST(the_shipped_p_is_the_measured_frequency_without_unique),
          TEST(unique_draws_have_their_exact_frequency_in_a_batch_of_two),
          TEST(unique_frequencies_stay_within_the_stated_factor_of_p),
          TEST(a_slightly_wrong_weight_is_detected),
          TEST(big_hard_slots_follow_their_weights_at_n_2_to_the_25),
          TEST(big_hard_slots_follow_their_weights_at_n_2_to_the_25_in_strict_order_too),
          TEST(big_coverage_is_exactly_once_per_epoch_at_n_2_to_the_25_with_the_bias_on))
