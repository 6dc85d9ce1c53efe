/* scale_ways.c - see scale_ways.h. */
#include "scale_ways.h"

#include "measure.h"
#include "scale_trace.h"

#include <stdlib.h>
#include <string.h>

static void make_sampler(struct sampler *s, double rho, uint64_t seed)
{
    struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;

    policy.rho = rho;
    if (sampler_init(s, &policy, rng_make(seed, "scale", RNG_DRAW), SCALE_BATCH) != 0)
        die("out of memory for a sampler");
}

void scale_ways_init(struct scale_ways *w, uint32_t n)
{
    *w = (struct scale_ways){.n = n, .random = 1};
    if (hardness_init(&w->hardness, n, SCALE_TRACE_LAMBDA) != 0 ||
        coverage_init(&w->coverage, n, rng_make(1, "scale", RNG_PERMUTATION)) != 0)
        die("out of memory for %u instances", n);
    make_sampler(&w->hard, 1e-9, 1);
    make_sampler(&w->mixed, 0.5, 2);
    binary_tree_init(&w->binary, n);
    fenwick_tree_init(&w->fenwick, n);
    w->batch.ids = scale_take(SCALE_BATCH, sizeof *w->batch.ids);
    w->batch.epochs = scale_take(SCALE_BATCH, sizeof *w->batch.epochs);
    w->batch.probabilities = scale_take(SCALE_BATCH, sizeof *w->batch.probabilities);
    w->batch.weights = scale_take(SCALE_BATCH, sizeof *w->batch.weights);
    w->batch.count = SCALE_BATCH;
}

void scale_ways_deinit(struct scale_ways *w)
{
    free(w->batch.weights);
    free(w->batch.probabilities);
    free(w->batch.epochs);
    free(w->batch.ids);
    fenwick_tree_deinit(&w->fenwick);
    binary_tree_deinit(&w->binary);
    sampler_deinit(&w->mixed);
    sampler_deinit(&w->hard);
    coverage_deinit(&w->coverage);
    hardness_deinit(&w->hardness);
}

/* ---- all that ohemd does: as job.c applies and draws a batch ---- */

static void report_engine(struct scale_ways *w, const struct scale_slice *s, uint32_t first,
                          uint32_t count)
{
    const uint32_t *ids = s->ids + first;

    w->step++;
    hardness_fetch_ahead(&w->hardness, ids, count, 0);
    for (uint32_t i = 0; i < count; i++) {
        hardness_fetch_ahead(&w->hardness, ids, count, i + 1);
        hardness_report(&w->hardness, ids[i], s->losses[first + i], w->step);
    }
}

static void draw_by(struct scale_ways *w, struct sampler *s, uint32_t *ids)
{
    sampler_draw(s, &w->hardness, &w->coverage, w->step++, &w->batch);
    coverage_settle_many(&w->coverage, w->batch.epochs, w->batch.coverage_count, true);
    memcpy(ids, w->batch.ids, SCALE_BATCH * sizeof *ids);
}

static void draw_engine(struct scale_ways *w, uint32_t *ids)
{
    draw_by(w, &w->hard, ids);
}

static void draw_mixed(struct scale_ways *w, uint32_t *ids)
{
    draw_by(w, &w->mixed, ids);
}

/* ---- trees ---- */

static void report_binary(struct scale_ways *w, const struct scale_slice *s, uint32_t first,
                          uint32_t count)
{
    binary_tree_set(&w->binary, s->ids + first, s->scores + first, count);
}

static void report_binary_batched(struct scale_ways *w, const struct scale_slice *s, uint32_t first,
                                  uint32_t count)
{
    binary_tree_set_batched(&w->binary, s->ids + first, s->scores + first, count);
}

static void report_fenwick(struct scale_ways *w, const struct scale_slice *s, uint32_t first,
                           uint32_t count)
{
    fenwick_tree_set(&w->fenwick, s->ids + first, s->scores + first, count);
}

static void fill_chances(struct scale_ways *w, double chances[SCALE_BATCH])
{
    for (uint32_t i = 0; i < SCALE_BATCH; i++)
        chances[i] = rng_unit(rng_mix(w->random++));
}

static void draw_binary(struct scale_ways *w, uint32_t *ids)
{
    double chances[SCALE_BATCH];

    fill_chances(w, chances);
    binary_tree_draw(&w->binary, chances, ids, SCALE_BATCH);
}

static void draw_binary_batched(struct scale_ways *w, uint32_t *ids)
{
    double chances[SCALE_BATCH];

    fill_chances(w, chances);
    binary_tree_draw_batched(&w->binary, chances, ids, SCALE_BATCH);
}

static void draw_fenwick(struct scale_ways *w, uint32_t *ids)
{
    double chances[SCALE_BATCH];

    fill_chances(w, chances);
    fenwick_tree_draw(&w->fenwick, chances, ids, SCALE_BATCH);
}

const struct scale_way scale_way_list[SCALE_WAYS] = {
    [SCALE_ENGINE] = {"ohemd", SCALE_WHOLE, report_engine, draw_engine},
    [SCALE_BINARY] = {"binary tree", SCALE_FIRST_HALF, report_binary, draw_binary},
    [SCALE_BINARY_BATCHED] = {"binary tree by batches", SCALE_SECOND_HALF, report_binary_batched,
                              draw_binary_batched},
    [SCALE_FENWICK] = {"Fenwick tree", SCALE_WHOLE, report_fenwick, draw_fenwick},
    {"ohemd, rho 0.5", SCALE_NONE, NULL, draw_mixed},
};
