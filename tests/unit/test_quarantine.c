/* test_quarantine.c - who is a suspect, where the cut lies, and what comes back of it.
 *
 * The cut is compared with a search that knows no running sums; who is a suspect with the rule's
 * own words, id by id.
 */
#include "../../daemon/engine/quarantine.h"
#include "../../daemon/engine/rng.h"
#include "../../daemon/engine/sampler.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N      21000u
#define JOB    5u
#define BATCH  100u
#define LAMBDA 0.5f

static double chance(uint64_t seed, uint64_t i)
{
    return rng_unit(rng_at(rng_make(seed, "quarantine", RNG_DRAW), i, 0, 0).first);
}

/* Box and Muller: a normal number. */
static double normal(uint64_t seed, uint64_t i)
{
    struct rng_pair p = rng_at(rng_make(seed, "normal", RNG_DRAW), i, 0, 0);

    return sqrt(-2 * log(1 - rng_unit(p.first))) * cos(2 * acos(-1) * rng_unit(p.second));
}

/* ---- the cut -----------------------------------------------------------------------------------
 */

/* A heap of so many scores, log-normal: its middle and width in octaves. */
static void add_heap(uint32_t *counts, uint64_t seed, uint32_t count, double middle, double width)
{
    for (uint32_t i = 0; i < count; i++)
        counts[partition_bucket_of((float)exp2(middle + width * normal(seed, i)))]++;
}

static double cut_of(const uint32_t *counts, double cap)
{
    double explained;
    unsigned bucket = quarantine_find_cut(counts, cap, &explained);

    return bucket > 0 ? log2(partition_bucket_floor(bucket)) : NAN;
}

static void one_heap_has_no_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        uint32_t normals[PARTITION_BUCKETS] = {0}, exponentials[PARTITION_BUCKETS] = {0},
                 flat[PARTITION_BUCKETS] = {0}, powers[PARTITION_BUCKETS] = {0};
        uint32_t count = seed % 2 == 0 ? N : QUARANTINE_EVIDENCE_MIN;

        add_heap(normals, seed, count, -2, 0.5 + (double)seed / 100);
        for (uint32_t i = 0; i < count; i++) {
            double u = 1 - chance(seed, i);

            exponentials[partition_bucket_of((float)-log(u))]++;
            flat[partition_bucket_of((float)u)]++;
            powers[partition_bucket_of(
                (float)(1e-3 * pow(u, -1.0)))]++; /* a long tail of hard ones */
        }
        assert_true(isnan(cut_of(normals, 0.6)));
        assert_true(isnan(cut_of(exponentials, 0.6)));
        assert_true(isnan(cut_of(flat, 0.6)));
        assert_true(isnan(cut_of(powers, 0.6)));
    }
}

/* Clean ones at 2^-3, wrong ones at 2^2.5: 3 to 40 of a hundred. */
static void two_heaps_are_cut_between(void **state)
{
    (void)state;
    for (uint32_t percent = 3; percent <= 40; percent++) {
        uint32_t counts[PARTITION_BUCKETS] = {0};
        double cut;

        add_heap(counts, percent, N / 100 * (100u - percent), -3, 1);
        add_heap(counts, 1000 + percent, N / 100 * percent, 2.5, 0.4);
        cut = cut_of(counts, 0.45);
        if (!(cut > -1 && cut < 2))
            fail_msg("%u %%: a cut at 2^%g", percent, cut);
    }
}

static void a_heap_that_is_larger_than_the_cap_is_not_cut_off(void **state)
{
    uint32_t counts[PARTITION_BUCKETS] = {0};

    (void)state;
    add_heap(counts, 1, N / 10 * 7, -3, 0.5);
    add_heap(counts, 2, N / 10 * 3, 2.5, 0.4);
    assert_true(!isnan(cut_of(counts, 0.31)));
    assert_true(isnan(cut_of(counts, 0.29)));
}

static void a_few_scores_are_no_evidence(void **state)
{
    uint32_t counts[PARTITION_BUCKETS] = {[80] = QUARANTINE_EVIDENCE_MIN - 100, [160] = 99};

    (void)state;
    assert_true(isnan(cut_of(counts, 0.4)));
    counts[160]++;
    assert_true(fabs(cut_of(counts, 0.4) - log2(partition_bucket_floor(121))) <
                0.2); /* the middle */
}

static void nothing_and_one_bucket_have_no_cut(void **state)
{
    uint32_t counts[PARTITION_BUCKETS] = {0};

    (void)state;
    assert_true(isnan(cut_of(counts, 1)));
    counts[100] = N;
    assert_true(isnan(cut_of(counts, 1)));
    counts[100] = 0;
    counts[1] = counts[255] = N / 2;
    assert_true(!isnan(cut_of(counts, 0.5)));
}

/* The share of the variance that the best cut explains, by trying all with sums of their own. */
static double most_explained(const uint32_t *counts)
{
    double best = 0, n = 0, mean = 0, total = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        n += counts[b];
        mean += partition_bucket_middle(b) * counts[b];
    }
    mean /= n;
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        total += counts[b] * pow(partition_bucket_middle(b) - mean, 2);
    for (unsigned cut = 1; cut < PARTITION_BUCKETS; cut++) {
        double count[2] = {0}, sum[2] = {0}, between = 0;

        for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
            count[b >= cut] += counts[b];
            sum[b >= cut] += partition_bucket_middle(b) * counts[b];
        }
        for (int i = 0; i < 2; i++)
            between += count[i] > 0 ? count[i] * pow(sum[i] / count[i] - mean, 2) : 0;
        best = fmax(best, count[0] > 0 && count[1] > 0 ? between / total : 0);
    }
    return best;
}

static void what_is_explained_is_the_most_that_any_cut_explains(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint32_t counts[PARTITION_BUCKETS] = {0};
        double explained;

        for (uint32_t heap = 0; heap < 1 + seed % 4; heap++)
            add_heap(counts, 10 * seed + heap, 2000, -18 + 28 * chance(seed, heap),
                     3 * chance(seed, 100 + heap));
        (void)quarantine_find_cut(counts, 1, &explained);
        assert_true(fabs(explained - most_explained(counts)) < 1e-9);
    }
}

/* ---- suspects ----------------------------------------------------------------------------------
 */

struct ward {
    struct hardness hardness;
    struct quarantine quarantine;
    uint64_t step;
};

static void ward_open(struct ward *w, uint32_t n, struct quarantine_policy policy)
{
    w->step = 0;
    assert_int_equal(hardness_init(&w->hardness, n, LAMBDA), 0);
    assert_int_equal(quarantine_init(&w->quarantine, n, &policy), 0);
}

static void ward_close(struct ward *w)
{
    quarantine_deinit(&w->quarantine);
    hardness_deinit(&w->hardness);
}

static void ward_report(struct ward *w, const uint32_t *ids, const float *losses, uint32_t count)
{
    uint32_t left;

    for (uint32_t i = 0; i < count; i++)
        hardness_report(&w->hardness, ids[i], losses[i], w->step);
    (void)quarantine_see(&w->quarantine, &w->hardness, ids, count, &left);
    w->step++;
}

/* One report of each id below n. */
static void ward_epoch(struct ward *w, uint32_t n, float (*loss_of)(uint32_t id, uint64_t epoch),
                       uint64_t epoch)
{
    for (uint32_t first = 0; first < n; first += BATCH) {
        uint32_t ids[BATCH], count = n - first < BATCH ? n - first : BATCH;
        float losses[BATCH];

        for (uint32_t i = 0; i < count; i++) {
            ids[i] = first + i;
            losses[i] = loss_of(first + i, epoch);
        }
        ward_report(w, ids, losses, count);
    }
}

static bool is_wrong(uint32_t id)
{
    return id % 7 == 3;
}

/* A seventh has a wrong label, and a high loss at each visit; up to epoch 10. */
static float noisy_loss(uint32_t id, uint64_t epoch)
{
    double middle = is_wrong(id) && epoch < 10 ? 2.5 : -3;

    return (float)exp2(middle + 0.5 * normal(epoch, id));
}

static const struct quarantine_policy by_itself = {.on = true, .visits = 4, .cap = 0.4};

static uint32_t count_suspects(const struct ward *w)
{
    uint32_t count = 0;

    for (uint32_t id = quarantine_next(&w->quarantine, 0); id != UINT32_MAX;
         id = quarantine_next(&w->quarantine, id + 1)) {
        assert_true(quarantine_is_suspect(&w->quarantine, id));
        assert_true(hardness_is_aside(&w->hardness, id));
        count++;
    }
    assert_int_equal(count, w->quarantine.suspects);
    assert_int_equal(count, w->hardness.aside_count);
    return count;
}

static void the_wrong_ones_come_in_after_their_visits_and_leave_when_their_loss_falls(void **state)
{
    struct ward w;

    (void)state;
    ward_open(&w, N, by_itself);
    for (uint64_t epoch = 0; epoch < 3; epoch++)
        ward_epoch(&w, N, noisy_loss, epoch);
    assert_int_equal(count_suspects(&w), 0); /* three visits are not enough */
    ward_epoch(&w, N, noisy_loss, 3);
    assert_true(w.quarantine.cut > 0.5 && w.quarantine.cut < 4);
    for (uint32_t id = 0; id < N; id++)
        assert_int_equal(quarantine_is_suspect(&w.quarantine, id), is_wrong(id));
    assert_int_equal(count_suspects(&w), N / 7);
    for (uint64_t epoch = 10; epoch < 20; epoch++)
        ward_epoch(&w, N, noisy_loss, epoch);
    assert_int_equal(count_suspects(&w), 0);
    assert_true(w.quarantine.cut == 0); /* one heap is left */
    ward_close(&w);
}

static float steady_loss(uint32_t id, uint64_t epoch)
{
    (void)epoch;
    return (float)(id + 1);
}

static float wild_loss(uint32_t id, uint64_t epoch)
{
    return id % 2 == 0 ? (float)(id + 1) : (float)(id + 1) * (epoch % 2 == 0 ? 0.1f : 1.9f);
}

static void by_share_the_highest_scores_come_in(void **state)
{
    struct ward w;
    struct quarantine_policy policy = {.on = true, .visits = 2, .cap = 0.4, .share = 0.1};

    (void)state;
    ward_open(&w, 2000, policy);
    for (uint64_t epoch = 0; epoch < 6; epoch++)
        ward_epoch(&w, 2000, steady_loss, epoch);
    assert_true(fabs(w.quarantine.cut / 1800 - 1) < 0.07); /* to a bucket's width */
    for (uint32_t id = 0; id < 2000; id++)
        if (quarantine_is_suspect(&w.quarantine, id) !=
            ((double)steady_loss(id, 0) > w.quarantine.cut))
            assert_true(fabs((double)steady_loss(id, 0) / w.quarantine.cut - 1) < 0.25);
    ward_close(&w);
}

static void the_cap_holds_at_every_report(void **state)
{
    struct ward w;
    struct quarantine_policy policy = {.on = true, .visits = 1, .cap = 0.05, .share = 0.3};

    (void)state;
    ward_open(&w, 2000, policy);
    for (uint64_t epoch = 0; epoch < 3; epoch++)
        for (uint32_t id = 0; id < 2000; id++) {
            ward_report(&w, &id, &(float){steady_loss(id, epoch)}, 1);
            assert_true(w.quarantine.suspects <= 0.05 * hardness_scored(&w.hardness));
        }
    assert_int_equal(count_suspects(&w), 100);
    ward_close(&w);
}

/* Odd ones swing between a tenth and twice their mean. */
static void with_a_cv_only_the_steady_come_in(void **state)
{
    struct ward w;
    struct quarantine_policy policy = {
        .on = true, .visits = 3, .cap = 0.4, .share = 0.2, .cv = 0.2};

    (void)state;
    ward_open(&w, 2000, policy);
    for (uint64_t epoch = 0; epoch < 9; epoch++)
        ward_epoch(&w, 2000, wild_loss, epoch);
    assert_true(count_suspects(&w) > 50);
    for (uint32_t id = 1; id < 2000; id += 2)
        assert_false(quarantine_is_suspect(&w.quarantine, id));
    ward_close(&w);
}

static void a_pardoned_one_never_comes_in_until_it_is_taken_back(void **state)
{
    struct ward w;

    (void)state;
    ward_open(&w, N, by_itself);
    for (uint64_t epoch = 0; epoch < 5; epoch++)
        ward_epoch(&w, N, noisy_loss, epoch);
    quarantine_pardon(&w.quarantine, &w.hardness, 3, true);
    quarantine_pardon(&w.quarantine, &w.hardness, 3, true);
    quarantine_pardon(&w.quarantine, &w.hardness, 4, true); /* which is no suspect */
    assert_int_equal(w.quarantine.pardons, 2);
    assert_true(quarantine_is_pardoned(&w.quarantine, 3) &&
                partition_has(&w.hardness.partition, 3));
    assert_int_equal(count_suspects(&w), N / 7 - 1);
    ward_epoch(&w, N, noisy_loss, 5);
    assert_int_equal(count_suspects(&w), N / 7 - 1);
    quarantine_pardon(&w.quarantine, &w.hardness, 3, false);
    assert_int_equal(w.quarantine.pardons, 1);
    ward_epoch(&w, N, noisy_loss, 6);
    assert_int_equal(count_suspects(&w), N / 7);
    ward_close(&w);
}

/* Whatever comes, the partition and those set aside are all the scored, each in its bucket. */
static void scores_and_buckets_stay_together(void **state)
{
    struct ward w;
    struct quarantine_policy policy = {.on = true, .visits = 2, .cap = 0.5, .share = 0.2};

    (void)state;
    ward_open(&w, 500, policy);
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t id = (uint32_t)(500 * chance(1, i));

        ward_report(&w, &id, &(float){(float)exp2(20 * chance(2, i) - 10)}, 1);
        if (chance(3, i) < 0.01)
            quarantine_pardon(&w.quarantine, &w.hardness, (uint32_t)(500 * chance(4, i)),
                              chance(5, i) < 0.5);
    }
    {
        uint32_t members[PARTITION_BUCKETS] = {0}, scored = 0;

        for (uint32_t id = 0; id < 500; id++) {
            const struct hardness_entry *e = &w.hardness.entries[id];

            if (e->visits == 0)
                continue;
            scored++;
            members[partition_bucket_of(e->score)]++;
            assert_true(quarantine_is_suspect(&w.quarantine, id) !=
                        partition_has(&w.hardness.partition, id));
        }
        assert_int_equal(hardness_scored(&w.hardness), scored);
        for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
            assert_int_equal(hardness_members(&w.hardness, b), members[b]);
    }
    assert_true(count_suspects(&w) > 0);
    ward_close(&w);
}

/* No hard slot has one, coverage has all; their p is that of coverage alone, though others (which
 * are pardoned) with as high a score are drawn. */
static void suspects_are_covered_and_not_drawn_for_their_hardness(void **state)
{
    static const struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;
    uint32_t ids[BATCH], epochs[BATCH], covered = 0, pardoned = 0;
    float p[BATCH], weights[BATCH];
    struct sampler_batch batch = {
        .ids = ids, .epochs = epochs, .probabilities = p, .weights = weights, .count = BATCH};
    struct coverage coverage;
    struct sampler sampler;
    struct ward w;

    (void)state;
    ward_open(&w, 2000, by_itself);
    for (uint64_t epoch = 0; epoch < 5; epoch++)
        ward_epoch(&w, 2000, noisy_loss, epoch);
    for (uint32_t id = 3; id < 1000; id += 7)
        quarantine_pardon(&w.quarantine, &w.hardness, id, true);
    assert_int_equal(coverage_init(&coverage, 2000, rng_make(1, "q", RNG_PERMUTATION)), 0);
    assert_int_equal(sampler_init(&sampler, &policy, rng_make(1, "q", RNG_DRAW), BATCH), 0);
    for (uint64_t step = 0; step < 40; step++) { /* an epoch: half of each batch is coverage */
        sampler_draw(&sampler, &w.hardness, &coverage, step, &batch);
        for (uint32_t i = 0; i < BATCH; i++) {
            if (!quarantine_is_suspect(&w.quarantine, ids[i])) {
                pardoned += i >= batch.coverage_count && is_wrong(ids[i]);
                continue;
            }
            assert_true(i < batch.coverage_count);
            assert_true(fabs((double)p[i] / (0.5 / 2000) - 1) < 1e-6);
            covered++;
        }
    }
    assert_int_equal(covered, w.quarantine.suspects);
    assert_true(pardoned > 100);
    sampler_deinit(&sampler);
    coverage_deinit(&coverage);
    ward_close(&w);
}

static void ids_that_join_are_no_suspects_and_the_others_stay_what_they_are(void **state)
{
    struct ward w;

    (void)state;
    ward_open(&w, N, by_itself);
    for (uint64_t epoch = 0; epoch < 4; epoch++)
        ward_epoch(&w, N, noisy_loss, epoch);
    assert_int_equal(hardness_grow(&w.hardness, 3 * N), 0);
    assert_int_equal(quarantine_grow(&w.quarantine, 3 * N), 0);
    assert_int_equal(count_suspects(&w), N / 7);
    for (uint64_t epoch = 4; epoch < 9; epoch++)
        ward_epoch(&w, 3 * N, noisy_loss, epoch);
    assert_int_equal(count_suspects(&w), 3 * N / 7);
    ward_close(&w);
}

static void switched_off_it_takes_no_memory_and_nobody_is_a_suspect(void **state)
{
    struct ward w;
    struct quarantine_policy off = QUARANTINE_POLICY_DEFAULT;

    (void)state;
    ward_open(&w, 100, off);
    assert_null(w.quarantine.marks);
    quarantine_pardon(&w.quarantine, &w.hardness, 5, true);
    assert_false(quarantine_is_suspect(&w.quarantine, 5));
    assert_false(quarantine_is_pardoned(&w.quarantine, 5));
    assert_int_equal(quarantine_next(&w.quarantine, 0), UINT32_MAX);
    assert_int_equal(quarantine_grow(&w.quarantine, 200), 0);
    ward_close(&w);
}

/* ---- rows --------------------------------------------------------------------------------------
 */

/* Collect what changed, in as much as was promised. @return how many changes */
static size_t capture(struct quarantine *q, struct disk *d)
{
    size_t bytes = quarantine_capture_bytes(q), count;
    struct rows rows = {0};

    assert_int_equal(rows_reserve(&rows, bytes), 0);
    quarantine_capture(q, JOB, &rows);
    assert_true(rows.size <= bytes);
    disk_write(d, &rows);
    count = rows.count;
    rows_deinit(&rows);
    return count;
}

static void what_was_saved_comes_back(void **state)
{
    struct ward w, back;
    struct disk d = {0};

    (void)state;
    ward_open(&w, N, by_itself);
    assert_int_equal(capture(&w.quarantine, &d), 0);
    for (uint64_t epoch = 0; epoch < 5; epoch++)
        ward_epoch(&w, N, noisy_loss, epoch);
    quarantine_pardon(&w.quarantine, &w.hardness, 10, true);
    assert_int_equal(capture(&w.quarantine, &d), 3); /* 8,192 ids a row */
    assert_int_equal(capture(&w.quarantine, &d), 0);
    quarantine_pardon(&w.quarantine, &w.hardness, 9000, true);
    assert_int_equal(capture(&w.quarantine, &d), 1);

    ward_open(&back, N, by_itself);
    memcpy(back.hardness.entries, w.hardness.entries, N * sizeof *w.hardness.entries);
    assert_int_equal(hardness_rebuild(&back.hardness), 0);
    for (size_t i = 0; i < d.count; i++) {
        assert_true(d.rows[i].key.table == ROWS_MARKS && d.rows[i].key.job == JOB);
        assert_int_equal(quarantine_restore(&back.quarantine, d.rows[i].key.number, d.rows[i].value,
                                            d.rows[i].size),
                         0);
    }
    assert_int_equal(quarantine_resume(&back.quarantine, &back.hardness), 0);
    assert_int_equal(back.quarantine.pardons, 2);
    assert_int_equal(count_suspects(&back), count_suspects(&w));
    for (uint32_t id = 0; id < N; id++) {
        assert_int_equal(quarantine_is_suspect(&w.quarantine, id),
                         quarantine_is_suspect(&back.quarantine, id));
        assert_int_equal(quarantine_is_pardoned(&w.quarantine, id),
                         quarantine_is_pardoned(&back.quarantine, id));
    }
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        assert_int_equal(back.hardness.aside[b], w.hardness.aside[b]);
    ward_close(&back);
    ward_close(&w);
    disk_deinit(&d);
}

static void switched_off_the_rows_of_before_are_removed(void **state)
{
    struct quarantine_policy off = QUARANTINE_POLICY_DEFAULT;
    struct ward w, next;
    struct disk d = {0};

    (void)state;
    ward_open(&w, N, by_itself);
    quarantine_pardon(&w.quarantine, &w.hardness, 10, true);
    assert_int_equal(capture(&w.quarantine, &d), 1);
    ward_open(&next, N, off);
    assert_int_equal(quarantine_restore(&next.quarantine, 0, d.rows[0].value, d.rows[0].size), 0);
    assert_int_equal(quarantine_resume(&next.quarantine, &next.hardness), 0);
    assert_false(quarantine_is_pardoned(&next.quarantine, 10));
    assert_int_equal(capture(&next.quarantine, &d), 1);
    assert_int_equal(d.count, 0);
    assert_int_equal(capture(&next.quarantine, &d), 0);
    ward_close(&next);
    ward_close(&w);
    disk_deinit(&d);
}

struct reader {
    uint32_t n;
    uint64_t number;
};

static int read_row(void *ctx, const void *value, size_t size)
{
    const struct reader *r = ctx;
    struct quarantine q;
    int rc;

    assert_int_equal(quarantine_init(&q, r->n, &by_itself), 0);
    rc = quarantine_restore(&q, r->number, value, size);
    quarantine_deinit(&q);
    return rc;
}

static void a_damaged_row_is_refused(void **state)
{
    struct reader r = {10000, 1};
    struct ward w;
    struct disk d = {0};
    const struct disk_row *row;

    (void)state;
    ward_open(&w, r.n, by_itself);
    quarantine_pardon(&w.quarantine, &w.hardness, 9999, true);
    assert_int_equal(capture(&w.quarantine, &d), 1);
    row = &d.rows[0];
    assert_int_equal(row->key.number, 1);
    damage_refused(read_row, &r, row->value, row->size);
    /* both marks; an id behind the last; a row behind the last */
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 8, "\x03", 1), -OHEM_STATE);
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 8, "\x01", 1), 0);
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 8 + 1808 / 4, "\x01", 1),
                     -OHEM_STATE);
    r.number = 2;
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 8, "\x01", 1), -OHEM_STATE);
    ward_close(&w);
    disk_deinit(&d);
}

static void a_suspect_without_a_score_is_refused(void **state)
{
    struct ward w, back;
    struct disk d = {0};

    (void)state;
    ward_open(&w, 7000, by_itself);
    for (uint64_t epoch = 0; epoch < 5; epoch++)
        ward_epoch(&w, 7000, noisy_loss, epoch);
    assert_int_equal(capture(&w.quarantine, &d), 1);
    ward_open(&back, 7000, by_itself);
    assert_int_equal(quarantine_restore(&back.quarantine, 0, d.rows[0].value, d.rows[0].size), 0);
    assert_int_equal(quarantine_resume(&back.quarantine, &back.hardness), -OHEM_STATE);
    ward_close(&back);
    ward_close(&w);
    disk_deinit(&d);
}

TEST_MAIN(TEST(one_heap_has_no_cut), TEST(two_heaps_are_cut_between),
          TEST(a_heap_that_is_larger_than_the_cap_is_not_cut_off),
          TEST(a_few_scores_are_no_evidence), TEST(nothing_and_one_bucket_have_no_cut),
          TEST(what_is_explained_is_the_most_that_any_cut_explains),
          TEST(the_wrong_ones_come_in_after_their_visits_and_leave_when_their_loss_falls),
          TEST(by_share_the_highest_scores_come_in), TEST(the_cap_holds_at_every_report),
          TEST(with_a_cv_only_the_steady_come_in),
          TEST(a_pardoned_one_never_comes_in_until_it_is_taken_back),
          TEST(scores_and_buckets_stay_together),
          TEST(suspects_are_covered_and_not_drawn_for_their_hardness),
          TEST(ids_that_join_are_no_suspects_and_the_others_stay_what_they_are),
          TEST(switched_off_it_takes_no_memory_and_nobody_is_a_suspect),
          TEST(what_was_saved_comes_back), TEST(switched_off_the_rows_of_before_are_removed),
          TEST(a_damaged_row_is_refused), TEST(a_suspect_without_a_score_is_refused))
