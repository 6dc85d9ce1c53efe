/* test_infobatch.c - coverage that leaves out some of the easy: who is skipped, who never, and what
 * the weights make good. Seeds are fixed: each number is a constant.
 */
#include "../../daemon/engine/infobatch.h"
#include "../../proto/error.h"
#include "../lib/drawer.h"
#include "../lib/stats.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N    1000u
#define K    50u
#define EASY 700u /* ids below this have the score LOW, the others HIGH */

/* Middles of buckets; their mean is 2.02, in the bucket from 2 to 2.25. */
#define LOW  1.0625f
#define HIGH 4.25f

static struct sampler_policy policy_of(double ratio)
{
    struct sampler_policy p = SAMPLER_POLICY_DEFAULT;

    p.sampling = SAMPLER_INFOBATCH;
    p.infobatch_ratio = ratio;
    return p;
}

static void score_two_heaps(struct drawer *d)
{
    for (uint32_t id = 0; id < d->hardness.n; id++)
        hardness_report(&d->hardness, id, id < EASY ? LOW : HIGH, 0);
}

/* Two heaps of N ids, and the policy's r. */
static void open_heaps(struct drawer *d, double ratio, uint64_t seed)
{
    struct sampler_policy policy = policy_of(ratio);

    drawer_open(d, N, K, &policy, seed);
    score_two_heaps(d);
}

/* Draw until an epoch is closed. @return how often each id was handed out in it is in `seen` */
static void draw_epoch(struct drawer *d, uint64_t epoch, uint32_t *seen)
{
    memset(seen, 0, d->hardness.n * sizeof *seen);
    while (d->coverage.closed_count <= epoch) {
        const struct sampler_batch *b = drawer_next(d);

        assert_int_equal(b->coverage_count, b->count);
        for (uint32_t i = 0; i < b->count; i++)
            seen[b->ids[i]] += b->epochs[i] == epoch;
    }
}

static void assert_adds_up(const struct coverage_report *r)
{
    assert_true(r->closed);
    assert_int_equal(r->missing, 0);
    assert_int_equal(r->reported + r->released + r->skipped, r->instances);
    assert_int_equal(r->served, r->instances - r->skipped + r->repeated);
}

/* ---- who is skipped ------------------------------------------------------------------------- */

static void an_epoch_is_what_it_handed_out_and_what_it_skipped(void **state)
{
    static uint32_t seen[N];
    uint64_t skipped = 0;
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.5, 1);
    draw_epoch(&d, 0, seen);
    for (uint32_t id = 0; id < N; id++) {
        bool skips = id < EASY && coverage_chance(&d.coverage, 0, id) < 0.5;

        assert_int_equal(seen[id], !skips);
        skipped += skips;
    }
    assert_in_range(skipped, 300, 400); /* 350 +- 13 */
    assert_int_equal(coverage_closed(&d.coverage, 0)->skipped, skipped);
    assert_adds_up(coverage_closed(&d.coverage, 0));
    drawer_close(&d);
}

static void another_epoch_skips_others(void **state)
{
    static uint32_t first[N], second[N];
    uint32_t both = 0;
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.5, 2);
    draw_epoch(&d, 0, first);
    draw_epoch(&d, 1, second);
    for (uint32_t id = 0; id < EASY; id++)
        both += first[id] == 0 && second[id] == 0;
    assert_in_range(both, 130, 220); /* a quarter of 700: 175 +- 11 */
    drawer_close(&d);
}

static void what_has_no_score_is_never_skipped(void **state)
{
    static uint32_t seen[N];
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.9, 3);
    drawer_order(&d); /* forgets the scores */
    for (uint32_t id = 0; id < 10; id++)
        hardness_report(&d.hardness, id, id < 9 ? 1 : 9, 0);
    draw_epoch(&d, 0, seen);
    for (uint32_t id = 9; id < N; id++)
        assert_int_equal(seen[id], 1);
    assert_in_range(coverage_closed(&d.coverage, 0)->skipped, 5, 9);
    drawer_close(&d);
}

static void the_cut_is_frozen_and_the_score_at_its_turn_counts(void **state)
{
    static uint32_t seen[N];
    struct drawer d;
    unsigned cut;

    (void)state;
    open_heaps(&d, 0.5, 4);
    (void)drawer_next(&d);
    cut = coverage_open(&d.coverage, 0)->cut;
    assert_int_equal(cut, partition_bucket_of(2));
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < K; i++)
        seen[d.batch.ids[i]]++;
    /* the heaps change places: those above the cut are the first ones now */
    for (uint32_t id = 0; id < N; id++)
        for (int i = 0; i < 20; i++)
            hardness_report(&d.hardness, id, id < EASY ? 2.1f : 0.5f, 1);
    while (d.coverage.closed_count == 0) {
        const struct sampler_batch *b = drawer_next(&d);

        for (uint32_t i = 0; i < K; i++) {
            assert_true(b->epochs[i] > 0 || b->weights[i] == (b->ids[i] < EASY ? 1.0f : 2.0f));
            seen[b->ids[i]] += b->epochs[i] == 0;
        }
    }
    for (uint32_t id = EASY; id < N; id++) /* seen in the first batch, or by its chance */
        assert_true(seen[id] == 1 || coverage_chance(&d.coverage, 0, id) < 0.5);
    assert_in_range(coverage_closed(&d.coverage, 0)->skipped, 130, 190);
    assert_int_equal(coverage_closed(&d.coverage, 0)->cut, cut);
    drawer_close(&d);
}

static void what_comes_back_is_handed_out_again_with_its_weight(void **state)
{
    struct sampler_policy policy = policy_of(0.75);
    const struct sampler_batch *b;
    struct drawer d;
    uint32_t easy = 0;

    (void)state;
    drawer_open(&d, N, K, &policy, 5);
    score_two_heaps(&d);
    sampler_draw(&d.sampler, &d.hardness, &d.coverage, 0, &d.batch);
    for (uint32_t i = 0; i < K; i++) {
        coverage_return(&d.coverage, (struct coverage_slot){.id = d.batch.ids[i],
                                                            .epoch = d.batch.epochs[i],
                                                            .thinned = d.batch.weights[i] > 1});
        hardness_report(&d.hardness, d.batch.ids[i], 1, 1); /* most of them are below the cut now */
    }
    b = drawer_next(&d);
    for (uint32_t i = 0; i < K; i++) {
        assert_true(b->weights[i] == (b->ids[i] < EASY ? 4.0f : 1.0f));
        easy += b->ids[i] < EASY;
    }
    assert_in_range(easy, 1, K - 1);
    assert_int_equal(coverage_open(&d.coverage, 0)->repeated, K);
    drawer_close(&d);
}

static void the_last_epochs_of_a_run_are_whole(void **state)
{
    static uint32_t seen[N];
    struct sampler_policy policy = policy_of(0.5);
    struct drawer d;

    (void)state;
    policy.epochs = 8; /* the last eighth: one */
    drawer_open(&d, N, K, &policy, 6);
    score_two_heaps(&d);
    for (uint64_t epoch = 0; epoch < 10; epoch++) {
        draw_epoch(&d, epoch, seen);
        assert_int_equal(coverage_closed(&d.coverage, 0)->skipped == 0, epoch >= 7);
        assert_adds_up(coverage_closed(&d.coverage, 0));
    }
    policy.epochs = 0; /* endless: none is the last */
    sampler_set_policy(&d.sampler, &policy);
    for (uint64_t epoch = 10; epoch < 14; epoch++)
        draw_epoch(&d, epoch, seen);
    assert_true(coverage_closed(&d.coverage, 0)->skipped > 300);
    drawer_close(&d);
}

static void another_ratio_waits_for_the_next_epoch(void **state)
{
    struct sampler_policy policy = policy_of(0.9);
    static uint32_t seen[N];
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.5, 7);
    (void)drawer_next(&d);
    sampler_set_policy(&d.sampler, &policy);
    draw_epoch(&d, 0, seen);
    assert_in_range(coverage_closed(&d.coverage, 0)->skipped, 300, 400);
    draw_epoch(&d, 1, seen);
    draw_epoch(&d, 2, seen);
    assert_in_range(coverage_closed(&d.coverage, 0)->skipped, 590, 670); /* 630 +- 8 */
    drawer_close(&d);
}

static void the_order_of_reports_and_strictness_change_nothing(void **state)
{
    struct drawer a, b;

    (void)state;
    open_heaps(&a, 0.5, 8);
    open_heaps(&b, 0.5, 8);
    drawer_order(&b);
    for (uint32_t id = N; id-- > 0;)
        hardness_report(&b.hardness, id, id < EASY ? LOW : HIGH, 0);
    b.step = 1000; /* chance is keyed by epoch and id, not by steps */
    for (int i = 0; i < 60; i++) {
        (void)drawer_next(&a);
        (void)drawer_next(&b);
        assert_memory_equal(a.batch.ids, b.batch.ids, K * sizeof *a.batch.ids);
        assert_memory_equal(a.batch.weights, b.batch.weights, K * sizeof *a.batch.weights);
    }
    drawer_close(&a);
    drawer_close(&b);
}

static void an_epoch_goes_on_from_plain_data(void **state)
{
    struct drawer a, b;

    (void)state;
    open_heaps(&a, 0.5, 9);
    open_heaps(&b, 0.5, 9);
    for (int i = 0; i < 5; i++)
        (void)drawer_next(&a);
    for (uint32_t id = 0; id < N; id++) /* another mean, which must not count */
        for (int i = 0; i < 2; i++) {
            hardness_report(&a.hardness, id, id < EASY ? 1 : 400, 1);
            hardness_report(&b.hardness, id, id < EASY ? 1 : 400, 1);
        }
    b.coverage.position = a.coverage.position;
    b.coverage.open[0] = a.coverage.open[0];
    assert_int_equal(coverage_resume(&b.coverage), 0);
    for (int i = 0; i < 5; i++) {
        (void)drawer_next(&a);
        (void)drawer_next(&b);
        assert_memory_equal(a.batch.ids, b.batch.ids, K * sizeof *a.batch.ids);
    }
    assert_true(b.coverage.open[0].cut == partition_bucket_of(2));
    b.coverage.open[0].cut = PARTITION_BUCKETS;
    assert_int_equal(coverage_resume(&b.coverage), -OHEM_STATE);
    b.coverage.open[0].cut = 3;
    b.coverage.open[0].ratio = 1;
    assert_int_equal(coverage_resume(&b.coverage), -OHEM_STATE);
    drawer_close(&a);
    drawer_close(&b);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void a_batch_walks_over_a_bounded_number_and_begins_one_epoch_at_most(void **state)
{
    uint64_t skipped = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        uint32_t n = 1 + (uint32_t)(rng_mix(seed) % 12), k = 1 + (uint32_t)(rng_mix(~seed) % n);
        struct sampler_policy policy = policy_of(0.95);
        struct drawer d;

        drawer_open(&d, n, k, &policy, seed);
        for (uint32_t id = 0; id < n; id++)
            hardness_report(&d.hardness, id, id == 0 ? 100 : 1, 0);
        for (int i = 0; i < 40; i++) {
            uint64_t epoch = d.coverage.epoch, left = coverage_left(&d.coverage);

            sampler_draw(&d.sampler, &d.hardness, &d.coverage, d.step++, &d.batch);
            assert_true(d.coverage.epoch <= epoch + 1);
            assert_true(d.batch.skip_count + k <= n + left);
            skipped += d.batch.skip_count;
            assert_true(coverage_sound(&d.coverage));
            coverage_settle_many(&d.coverage, d.batch.epochs, k, i % 2 == 0);
            assert_true(coverage_sound(&d.coverage));
        }
        for (size_t back = 0; coverage_closed(&d.coverage, back) != NULL; back++)
            assert_adds_up(coverage_closed(&d.coverage, back));
        drawer_close(&d);
    }
    assert_true(skipped > 10000);
}

static void behind_the_bound_all_come_and_count_once(void **state)
{
    struct sampler_policy policy = policy_of(0.95);
    struct drawer d;
    uint32_t bounded = 0;

    (void)state;
    drawer_open(&d, 100000, 1, &policy, 11);
    for (uint32_t id = 0; id < 100000; id++)
        hardness_report(&d.hardness, id, id == 0 ? 4000 : 0.001f, 0);
    for (int i = 0; i < 2000; i++) {
        const struct sampler_batch *b = drawer_next(&d);

        assert_true(b->skip_count <= INFOBATCH_SKIPS_PER_SLOT);
        if (b->ids[0] != 0)
            assert_true(fabs((double)b->weights[0] -
                             (b->skip_count == INFOBATCH_SKIPS_PER_SLOT ? 1 : 20)) < 1e-4);
        bounded += b->skip_count == INFOBATCH_SKIPS_PER_SLOT;
    }
    assert_in_range(bounded, 40, 110); /* 0.95^64 = 3.8 % of 2000: 75 +- 9 */
    drawer_close(&d);
}

static double now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The loop draws a batch in one go: how long is it away? Prints it; what is asserted is the bound
 * on what a batch walks over. */
static void time_draws(double ratio, uint32_t n, uint32_t k)
{
    struct sampler_policy policy = policy_of(ratio);
    double sum = 0, longest = 0;
    uint64_t skipped = 0;
    struct drawer d;

    drawer_open(&d, n, k, &policy, 15);
    for (uint32_t id = 0; id < n; id++)
        hardness_report(&d.hardness, id, id < n / 1000 ? 1000 : 0.01f, 0);
    for (int i = 0; i < 500; i++) {
        double begin = now_us(), took;

        sampler_draw(&d.sampler, &d.hardness, &d.coverage, d.step++, &d.batch);
        took = now_us() - begin;
        coverage_settle_many(&d.coverage, d.batch.epochs, k, true);
        sum += took;
        longest = took > longest ? took : longest;
        skipped += d.batch.skip_count;
        assert_true(d.batch.skip_count <= INFOBATCH_SKIPS_PER_SLOT * k);
    }
    print_message("N %u, K %u, r %g: %.1f us a batch (at most %.0f), %.0f skipped a batch\n", n, k,
                  ratio, sum / 500, longest, (double)skipped / 500);
    drawer_close(&d);
}

static void big_a_batch_out_of_ten_million_easy_ones_walks_no_further_than_its_bound(void **state)
{
    static const double ratios[] = {1e-9, 0.5, 0.95};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        time_draws(ratios[i], 10000000, 256);
}

/* ---- p and w -------------------------------------------------------------------------------- */

static void p_and_w_are_what_the_header_says(void **state)
{
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.25, 12);
    for (int batch = 0; batch < 30; batch++) {
        const struct sampler_batch *b = drawer_next(&d);

        for (uint32_t i = 0; i < K; i++) {
            bool easy = b->ids[i] < EASY;

            assert_true(b->weights[i] == (easy ? (float)(1 / 0.75) : 1));
            assert_true(b->probabilities[i] == (float)((easy ? 0.75 : 1) / (N - 0.25 * EASY)));
        }
    }
    drawer_close(&d);
}

static void p_is_how_often_a_slot_holds_it(void **state)
{
    static uint64_t counts[N];
    static double p[N];
    double fit;
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.5, 0);
    for (uint64_t seed = 0; seed < 4000; seed++) {
        const struct sampler_batch *b;

        drawer_restart(&d, seed, "job");
        b = drawer_next(&d);
        for (uint32_t i = 0; i < K; i++) {
            counts[b->ids[i]]++;
            p[b->ids[i]] = (double)b->probabilities[i];
        }
    }
    fit = stats_fit(counts, p, N);
    print_message("p %g\n", fit);
    assert_true(fit > STATS_P_MIN);
    drawer_close(&d);
}

/* A loss that has nothing to do with the score. */
static double loss_of(uint32_t id)
{
    return 1 + rng_unit(rng_mix(id + 77));
}

/* The sum over an epoch's slots of w * loss, beside the sum over all instances. */
static void weighted_sums_of_epochs_are_unbiased(double ratio)
{
    double all = 0, variance = 0, mean = 0, plain = 0;
    const uint32_t runs = 2000;
    struct drawer d;

    open_heaps(&d, ratio, 0);
    for (uint32_t id = 0; id < N; id++) {
        all += loss_of(id);
        variance += id < EASY ? loss_of(id) * loss_of(id) * ratio / (1 - ratio) : 0;
    }
    for (uint64_t seed = 0; seed < runs; seed++) {
        drawer_restart(&d, seed, "job");
        while (d.coverage.epoch == 0 && coverage_left(&d.coverage) > 0) {
            const struct sampler_batch *b = drawer_next(&d);

            for (uint32_t i = 0; i < K; i++)
                if (b->epochs[i] == 0) {
                    mean += (double)b->weights[i] * loss_of(b->ids[i]) / runs;
                    plain += loss_of(b->ids[i]) / runs;
                }
        }
    }
    print_message("r %g: %g of %g, off by %g deviations; without w %g\n", ratio, mean, all,
                  (mean - all) / sqrt(variance / runs), plain);
    assert_true(fabs(mean - all) < 3 * sqrt(variance / runs));
    assert_true(fabs(plain - all) > 100 * sqrt(variance / runs));
    drawer_close(&d);
}

static void the_weighted_sum_of_an_epoch_is_an_unbiased_estimate(void **state)
{
    (void)state;
    weighted_sums_of_epochs_are_unbiased(0.5);
    weighted_sums_of_epochs_are_unbiased(0.8);
}

/* ---- growth, and the other sampling ---------------------------------------------------------- */

static void what_joins_is_covered_in_the_epoch_in_which_it_comes(void **state)
{
    static uint32_t seen[N + 200];
    struct drawer d;

    (void)state;
    open_heaps(&d, 0.9, 13);
    (void)drawer_next(&d);
    assert_int_equal(hardness_grow(&d.hardness, N + 200), 0);
    assert_int_equal(coverage_grow(&d.coverage, N + 200), 0);
    draw_epoch(&d, 0, seen);
    for (uint32_t id = N; id < N + 200; id++)
        assert_int_equal(seen[id], 1);
    assert_int_equal(coverage_closed(&d.coverage, 0)->instances, N + 200);
    assert_adds_up(coverage_closed(&d.coverage, 0));
    drawer_close(&d);
}

static void a_mix_skips_nothing_and_has_no_cut(void **state)
{
    struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;
    static uint32_t seen[N];
    struct drawer d;

    (void)state;
    policy.rho = 1;
    drawer_open(&d, N, K, &policy, 14);
    score_two_heaps(&d);
    draw_epoch(&d, 0, seen);
    assert_int_equal(coverage_closed(&d.coverage, 0)->skipped, 0);
    assert_false(coverage_closed(&d.coverage, 0)->frozen);
    assert_true(sampler_is_biased(&d.sampler));
    policy.sampling = SAMPLER_INFOBATCH;
    policy.rho = 0.5;
    sampler_set_policy(&d.sampler, &policy);
    assert_false(sampler_is_biased(&d.sampler));
    assert_true(sampler_bias_share(&policy, 3) == 0);
    draw_epoch(&d, 1, seen);
    assert_true(coverage_closed(&d.coverage, 0)->skipped > 200);
    drawer_close(&d);
}

TEST_MAIN(TEST(an_epoch_is_what_it_handed_out_and_what_it_skipped),
          TEST(another_epoch_skips_others), TEST(what_has_no_score_is_never_skipped),
          TEST(the_cut_is_frozen_and_the_score_at_its_turn_counts),
          TEST(what_comes_back_is_handed_out_again_with_its_weight),
          TEST(the_last_epochs_of_a_run_are_whole), TEST(another_ratio_waits_for_the_next_epoch),
          TEST(the_order_of_reports_and_strictness_change_nothing),
          TEST(an_epoch_goes_on_from_plain_data),
          TEST(a_batch_walks_over_a_bounded_number_and_begins_one_epoch_at_most),
          TEST(behind_the_bound_all_come_and_count_once),
          TEST(big_a_batch_out_of_ten_million_easy_ones_walks_no_further_than_its_bound),
          TEST(p_and_w_are_what_the_header_says), TEST(p_is_how_often_a_slot_holds_it),
          TEST(the_weighted_sum_of_an_epoch_is_an_unbiased_estimate),
          TEST(what_joins_is_covered_in_the_epoch_in_which_it_comes),
          TEST(a_mix_skips_nothing_and_has_no_cut))
