/* scale_trees.c - see scale_trees.h. */
#include "scale_trees.h"

#include "measure.h"
#include "scale_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES       32u /* descents side by side */
#define SET_AHEAD   8u  /* instances whose paths are fetched ahead */
#define FETCH_STEPS 8u  /* of a path: those above lie in the cache */
#define HOLE_SHIFT  14  /* Fenwick: a hole of one node after so many */

/* ---- binary tree ---- */

void binary_tree_init(struct binary_tree *t, uint32_t n)
{
    *t = (struct binary_tree){.n = n, .leaf_count = 1};
    while (t->leaf_count < n)
        t->leaf_count *= 2;
    t->bytes = 2 * (size_t)t->leaf_count * sizeof *t->sums;
    t->sums = scale_take(2 * (size_t)t->leaf_count, sizeof *t->sums);
}

void binary_tree_deinit(struct binary_tree *t)
{
    free(t->sums);
}

/* The sum on the way up stays in a register; siblings do not wait for it. */
static inline void set_one(struct binary_tree *t, uint32_t id, float weight)
{
    float sum = weight;
    uint32_t i = t->leaf_count + id;

    t->sums[i] = sum;
    for (; i > 1; i /= 2) {
        sum += t->sums[i ^ 1];
        t->sums[i / 2] = sum;
    }
}

void binary_tree_set(struct binary_tree *t, const uint32_t *ids, const float *weights,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        set_one(t, ids[i], weights[i]);
}

/* gcc 12 leaves out calls of functions that only prefetch, unless they are inlined. */
static inline __attribute__((always_inline)) void fetch_path(const struct binary_tree *t,
                                                             uint32_t id)
{
    uint32_t i = t->leaf_count + id;

    for (uint32_t step = 0; step < FETCH_STEPS; step++, i /= 2)
        __builtin_prefetch(&t->sums[i], 1);
}

void binary_tree_set_batched(struct binary_tree *t, const uint32_t *ids, const float *weights,
                             uint32_t count)
{
    for (uint32_t i = 0; i < SET_AHEAD && i < count; i++)
        fetch_path(t, ids[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + SET_AHEAD < count)
            fetch_path(t, ids[i + SET_AHEAD]);
        set_one(t, ids[i], weights[i]);
    }
}

/* Where a descent goes is chance, so a branch could not be foreseen: integers and a mask, as in
 * sampler.c. Neither number is negative, so their bits compare as they do. */
static inline void descend(const struct binary_tree *t, uint32_t *i, double *x)
{
    double sum = t->sums[2 * (size_t)*i];
    int64_t left, have;
    uint32_t right;

    memcpy(&left, &sum, sizeof left);
    memcpy(&have, x, sizeof have);
    right = have >= left;
    left &= -(int64_t)right;
    memcpy(&sum, &left, sizeof sum);
    *x -= sum;
    *i = 2 * *i + right;
}

/* Rounding may lead past the last. */
static uint32_t id_of(const struct binary_tree *t, uint32_t leaf)
{
    return leaf - t->leaf_count < t->n ? leaf - t->leaf_count : t->n - 1;
}

/* All that lies four levels below a node is one line of the cache (Khuong and Morin, "Array layouts
 * for comparison-based searching", JEA 2017, have this for the search). */
static uint32_t draw_one(const struct binary_tree *t, double chance)
{
    double x = chance * (double)t->sums[1];
    uint32_t i = 1;

    while (i < t->leaf_count) {
        __builtin_prefetch(&t->sums[i < t->leaf_count / 8 ? 16 * (size_t)i : 0]);
        descend(t, &i, &x);
    }
    return id_of(t, i);
}

void binary_tree_draw(const struct binary_tree *t, const double *chances, uint32_t *ids,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ids[i] = draw_one(t, chances[i]);
}

static void draw_lanes(const struct binary_tree *t, const double *chances, uint32_t *ids,
                       uint32_t count)
{
    uint32_t at[LANES];
    double x[LANES];

    for (uint32_t lane = 0; lane < count; lane++) {
        at[lane] = 1;
        x[lane] = chances[lane] * (double)t->sums[1];
    }
    for (uint32_t width = 1; width < t->leaf_count; width *= 2)
        for (uint32_t lane = 0; lane < count; lane++) {
            descend(t, &at[lane], &x[lane]);
            __builtin_prefetch(&t->sums[2 * (size_t)(at[lane] < t->leaf_count ? at[lane] : 0)]);
        }
    for (uint32_t lane = 0; lane < count; lane++)
        ids[lane] = id_of(t, at[lane]);
}

void binary_tree_draw_batched(const struct binary_tree *t, const double *chances, uint32_t *ids,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i += LANES)
        draw_lanes(t, chances + i, ids + i, count - i < LANES ? count - i : LANES);
}

/* ---- Fenwick tree ---- */

static inline size_t place_of(uint32_t i)
{
    return (size_t)i + (i >> HOLE_SHIFT);
}

void fenwick_tree_init(struct fenwick_tree *t, uint32_t n)
{
    size_t places;

    *t = (struct fenwick_tree){.n = n, .capacity = 1};
    while (t->capacity <= n)
        t->capacity *= 2;
    places = place_of(t->capacity);
    t->bytes = places * sizeof *t->nodes + n * sizeof *t->weights;
    t->nodes = scale_take(places, sizeof *t->nodes);
    t->weights = scale_take(n, sizeof *t->weights);
    for (uint32_t i = n + 1; i < t->capacity; i++)
        t->nodes[place_of(i)] = INFINITY;
}

void fenwick_tree_deinit(struct fenwick_tree *t)
{
    free(t->nodes);
    free(t->weights);
}

void fenwick_tree_set(struct fenwick_tree *t, const uint32_t *ids, const float *weights,
                      uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        float change = weights[k] - t->weights[ids[k]];

        t->weights[ids[k]] = weights[k];
        t->total += change;
        for (uint32_t i = ids[k] + 1; i <= t->n; i += i & -i)
            t->nodes[place_of(i)] += change;
    }
}

/* With a branch: the processor guesses where it goes on, and where it is right, it need not wait.
 */
static uint32_t find(const struct fenwick_tree *t, double x)
{
    uint32_t before = 0;

    for (uint32_t half = t->capacity / 2; half > 0; half /= 2) {
        double sum = t->nodes[place_of(before + half)];

        if (x >= sum) {
            x -= sum;
            before += half;
        }
    }
    return before < t->n ? before : t->n - 1;
}

void fenwick_tree_draw(const struct fenwick_tree *t, const double *chances, uint32_t *ids,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ids[i] = find(t, chances[i] * t->total);
}
