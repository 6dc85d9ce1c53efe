/* test_restore.c - a memory that was loaded is the one that was saved, whatever its history.
 *
 * A life of random reports is lived three times: report by report; to some moment, saved, and the
 * rest applied to what was saved; and instance by instance. In strict order they draw the same
 * batches. Growth is part of the life: no score moves.
 */
#include "../../proto/error.h"
#include "../lib/drawer.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct event {
    uint32_t id;
    float loss;
};

static uint64_t chance(uint64_t seed, uint64_t i)
{
    return rng_at(rng_make(seed, "restore", RNG_DRAW), i, 0, 0).first;
}

/* Some ids are met often and some never; one loss in eight is negative, one is 0. */
static struct event event_at(uint64_t seed, uint64_t i, uint32_t n)
{
    double place = rng_unit(chance(seed, 3 * i)),
           size = 40 * rng_unit(chance(seed, 3 * i + 1)) - 24;
    uint64_t kind = chance(seed, 3 * i + 2) % 8;
    float loss = (float)exp2(size);

    return (struct event){
        .id = (uint32_t)(place * place * place * n),
        .loss = kind == 0   ? -loss
                : kind == 1 ? 0
                            : loss,
    };
}

static void live(struct hardness *h, uint64_t seed, uint32_t n, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct event e = event_at(seed, i, n);

        hardness_report(h, e.id, e.loss, i);
    }
}

static void apply(struct hardness *h, uint64_t seed, uint32_t n, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct event e = event_at(seed, i, n);

        hardness_apply(h, e.id, e.loss, i);
    }
}

static void load(struct hardness *h, const struct hardness *from)
{
    memcpy(h->entries, from->entries, from->n * sizeof *from->entries);
}

static void assert_same(const struct hardness *a, const struct hardness *b)
{
    static uint32_t x[HARDNESS_HARDEST_MAX], y[HARDNESS_HARDEST_MAX];
    size_t count = hardness_hardest(a, HARDNESS_HARDEST_MAX, x);

    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->entries, b->entries, a->n * sizeof *a->entries);
    assert_int_equal(a->partition.count, b->partition.count);
    for (unsigned bucket = 0; bucket < PARTITION_BUCKETS; bucket++)
        assert_int_equal(a->partition.buckets[bucket].count, b->partition.buckets[bucket].count);
    for (int percent = 0; percent <= 100; percent++)
        assert_true(hardness_quantile(a, percent / 100.0) == hardness_quantile(b, percent / 100.0));
    assert_true(hardness_mean(a) == hardness_mean(b));
    assert_int_equal(hardness_hardest(b, HARDNESS_HARDEST_MAX, y), count);
    assert_memory_equal(x, y, count * sizeof *x);
}

/* Each scored id is in the bucket of its score, in the bags and in the order. */
static void assert_whole(const struct hardness *h)
{
    uint32_t next[PARTITION_BUCKETS] = {0};

    for (uint32_t id = 0; id < h->n; id++) {
        unsigned b = partition_bucket_of(h->entries[id].score);

        assert_true(partition_has(&h->partition, id) == (h->entries[id].visits > 0));
        if (h->entries[id].visits == 0)
            continue;
        assert_int_equal(partition_at(&h->partition, b, h->partition.place[id]), id);
        if (h->ordered != NULL)
            assert_int_equal(ordered_at(h->ordered, b, next[b]++), id);
    }
}

static int open_memory(struct hardness *h, uint32_t n, bool ordered)
{
    return ordered ? hardness_init_ordered(h, n, 0.3f) : hardness_init(h, n, 0.3f);
}

static void save_and_restore(uint32_t n, uint64_t reports, uint64_t saved, uint64_t seed)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        struct hardness lived, loaded;

        assert_int_equal(open_memory(&lived, n, ordered), 0);
        assert_int_equal(open_memory(&loaded, n, ordered), 0);
        live(&loaded, ~seed, n, 0, n); /* what was there before is forgotten */
        live(&lived, seed, n, 0, saved);
        load(&loaded, &lived);
        live(&lived, seed, n, saved, reports);
        apply(&loaded, seed, n, saved, reports);
        assert_int_equal(hardness_rebuild(&loaded), 0);
        assert_same(&lived, &loaded);
        assert_whole(&lived);
        assert_whole(&loaded);
        live(&lived, seed, n, reports, 2 * reports); /* and life goes on */
        live(&loaded, seed, n, reports, 2 * reports);
        assert_same(&lived, &loaded);
        assert_whole(&loaded);
        hardness_deinit(&lived);
        hardness_deinit(&loaded);
    }
}

static void a_loaded_memory_with_the_rest_applied_is_the_one_that_lived(void **state)
{
    const uint32_t sizes[] = {1, 2, 10, 64, 65, 1000, 1024, 1025, 50000};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        save_and_restore(sizes[i], 4 * sizes[i], 0, i);
        save_and_restore(sizes[i], 4 * sizes[i], 3 * sizes[i], i);
    }
}

static void visits_at_their_limit_are_restored_alike(void **state)
{
    (void)state;
    save_and_restore(2, 3 * HARDNESS_VISITS_MAX, HARDNESS_VISITS_MAX, 7);
}

/* ---- growth ------------------------------------------------------------------------------------
 */

/* From 1 to more than a million, with reports in between; beside it, one that was large at once. */
static void growth_moves_no_score(void **state)
{
    const uint32_t sizes[] = {1, 1, 2, 63, 64, 700, 701, 1024, 40000, 1050000, 1200000};
    const uint32_t last = 1200000;

    (void)state;
    for (int ordered = 0; ordered < 2; ordered++) {
        struct hardness grown, large;

        assert_int_equal(open_memory(&grown, 1, ordered), 0);
        assert_int_equal(open_memory(&large, last, ordered), 0);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct hardness_entry *before = malloc(grown.n * sizeof *before);
            uint32_t n = grown.n;

            assert_non_null(before);
            memcpy(before, grown.entries, n * sizeof *before);
            assert_int_equal(hardness_grow(&grown, sizes[i]), 0);
            assert_memory_equal(before, grown.entries, n * sizeof *before);
            for (uint32_t id = n; id < grown.n; id++)
                assert_false(hardness_story(&grown, id).scored);
            assert_whole(&grown);
            live(&grown, i, sizes[i], 0, 20000);
            live(&large, i, sizes[i], 0, 20000);
            assert_whole(&grown);
            free(before);
        }
        assert_same(&grown, &large);
        hardness_deinit(&grown);
        hardness_deinit(&large);
    }
}

/* In free order the places in the bags count, too. */
static void growth_keeps_every_place_in_the_bags(void **state)
{
    struct hardness grown, same;

    (void)state;
    assert_int_equal(hardness_init(&grown, 5000, 0.5f), 0);
    assert_int_equal(hardness_init(&same, 5000, 0.5f), 0);
    live(&grown, 1, 5000, 0, 40000);
    live(&same, 1, 5000, 0, 40000);
    assert_int_equal(hardness_grow(&grown, 1100000), 0); /* to other pages */
    assert_true(grown.partition.page_shift > same.partition.page_shift);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        for (uint32_t i = 0; i < same.partition.buckets[b].count; i++)
            assert_int_equal(partition_at(&grown.partition, b, i),
                             partition_at(&same.partition, b, i));
    hardness_deinit(&grown);
    hardness_deinit(&same);
}

/* ---- what a damaged disk may hold --------------------------------------------------------------
 */

static void damaged_entries_are_refused_and_change_no_bucket(void **state)
{
    const struct hardness_entry damaged[] = {
        {.visits = 1, .score = NAN},
        {.visits = 1, .score = -NAN},
        {.visits = 1, .score = INFINITY},
        {.visits = 1, .score = -INFINITY},
        {.visits = 1, .score = -1.0f},
        {.visits = 1, .score = -0.0f},
        {.visits = 1, .score = 1, .last_loss = NAN},
        {.visits = 1, .score = 1, .last_loss = INFINITY},
        {.visits = 1, .score = 1, .last_loss = 1, .variance = 0x7f01},
        {.visits = 1, .score = 1, .last_loss = 1, .variance = 0x7f80},
        {.visits = 1, .score = 1, .last_loss = 1, .variance = 0x8000},
        {.score = 1},
        {.last_loss = 1},
        {.last_step = 1},
        {.variance = 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct hardness h;
        struct hardness_entry good;

        assert_int_equal(hardness_init_ordered(&h, 100, 0.5f), 0);
        live(&h, 1, 100, 0, 200);
        good = h.entries[i];
        assert_true(hardness_sound(h.entries, 100));
        h.entries[i] = damaged[i];
        assert_false(hardness_sound(h.entries, 100));
        assert_int_equal(hardness_rebuild(&h), -OHEM_STATE);
        h.entries[i] = good;
        assert_whole(&h);
        hardness_deinit(&h);
    }
}

/* ---- draws -------------------------------------------------------------------------------------
 */

#define N       3000
#define REPORTS 20000

/* The events of one instance after the other: the same scores, and bags in another order. */
static void live_by_instance(struct hardness *h, uint64_t seed)
{
    static struct event events[REPORTS];

    for (uint64_t i = 0; i < REPORTS; i++)
        events[i] = event_at(seed, i, N);
    for (uint32_t id = N; id-- > 0;)
        for (uint64_t i = 0; i < REPORTS; i++)
            if (events[i].id == id)
                hardness_report(h, id, events[i].loss, i);
}

static uint32_t different_draws(struct drawer *a, struct drawer *b)
{
    uint32_t different = 0;

    for (int batch = 0; batch < 200; batch++) {
        const struct sampler_batch *x = drawer_next(a), *y = drawer_next(b);

        assert_int_equal(x->coverage_count, y->coverage_count);
        for (uint32_t i = 0; i < x->count; i++)
            different += x->ids[i] != y->ids[i];
        if (a->hardness.ordered == NULL)
            continue;
        assert_memory_equal(x->probabilities, y->probabilities, x->count * sizeof(float));
        assert_memory_equal(x->weights, y->weights, x->count * sizeof(float));
        assert_int_equal(x->redraw_count, y->redraw_count);
    }
    return different;
}

static void open_pair(struct drawer *a, struct drawer *b, bool ordered)
{
    struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;

    policy.rho = 0.1;
    policy.beta = 0.5;
    policy.alpha = 2;
    drawer_open(a, N, 64, &policy, 9);
    drawer_open(b, N, 64, &policy, 9);
    if (ordered) {
        drawer_order(a);
        drawer_order(b);
    }
}

static void close_pair(struct drawer *a, struct drawer *b)
{
    drawer_close(a);
    drawer_close(b);
}

static void in_strict_order_another_history_of_the_same_scores_draws_the_same(void **state)
{
    struct drawer a, b;

    (void)state;
    for (int ordered = 0; ordered < 2; ordered++) {
        open_pair(&a, &b, ordered);
        live(&a.hardness, 4, N, 0, REPORTS);
        live_by_instance(&b.hardness, 4);
        assert_same(&a.hardness, &b.hardness);
        /* in free order they differ, so the comparison can fail */
        assert_true((different_draws(&a, &b) == 0) == ordered);
        close_pair(&a, &b);
    }
}

static void in_strict_order_a_loaded_memory_draws_as_the_one_that_lived(void **state)
{
    struct drawer a, b;

    (void)state;
    open_pair(&a, &b, true);
    live(&a.hardness, 5, N, 0, REPORTS / 2);
    load(&b.hardness, &a.hardness);
    live(&a.hardness, 5, N, REPORTS / 2, REPORTS);
    apply(&b.hardness, 5, N, REPORTS / 2, REPORTS);
    assert_int_equal(hardness_rebuild(&b.hardness), 0);
    assert_int_equal(different_draws(&a, &b), 0);
    close_pair(&a, &b);
}

TEST_MAIN(TEST(a_loaded_memory_with_the_rest_applied_is_the_one_that_lived),
          TEST(visits_at_their_limit_are_restored_alike), TEST(growth_moves_no_score),
          TEST(growth_keeps_every_place_in_the_bags),
          TEST(damaged_entries_are_refused_and_change_no_bucket),
          TEST(in_strict_order_another_history_of_the_same_scores_draws_the_same),
          TEST(in_strict_order_a_loaded_memory_draws_as_the_one_that_lived))
