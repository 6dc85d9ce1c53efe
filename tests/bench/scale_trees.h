/* scale_trees.h - what others draw by weight with: a binary sum tree, and a Fenwick tree.
 *
 * Of floats, as replay buffers have them (torchrl's SumSegmentTree, Reverb). Written as well as we
 * could: one array each, huge pages, no branch that cannot be foreseen. The binary tree has a
 * batched form, too, in which the processor fetches for many instances at once; no library that we
 * know of has it.
 */
#ifndef BENCH_SCALE_TREES_H
#define BENCH_SCALE_TREES_H

#include <stddef.h>
#include <stdint.h>

/* Node i has the children 2 i and 2 i + 1, which lie in one line of the cache; the root is 1. A
 * parent is always the sum of its children, so nothing drifts. */
struct binary_tree {
    uint32_t n, leaf_count; /* leaf_count: a power of two */
    float *sums;            /* [2 * leaf_count] */
    size_t bytes;
};

/* Node i, from 1, is the sum of the weights of i - (i & -i) .. i - 1. A change adds a difference to
 * nodes, so rounding errors stay: the price of its few steps. Holes keep nodes of high levels,
 * which are a power of two apart, from falling into one set of the cache (Marchini and Vigna,
 * "Compact Fenwick trees for dynamic ranking and selection", SPE 2020). */
struct fenwick_tree {
    uint32_t n, capacity; /* a power of two above n; nodes above n are infinite */
    float *nodes, *weights;
    double total;
    size_t bytes;
};

void binary_tree_init(struct binary_tree *t, uint32_t n);
void binary_tree_deinit(struct binary_tree *t);
void binary_tree_set(struct binary_tree *t, const uint32_t *ids, const float *weights,
                     uint32_t count);
void binary_tree_set_batched(struct binary_tree *t, const uint32_t *ids, const float *weights,
                             uint32_t count);

/** Draw for each chance (0 <= x < 1). */
void binary_tree_draw(const struct binary_tree *t, const double *chances, uint32_t *ids,
                      uint32_t count);
void binary_tree_draw_batched(const struct binary_tree *t, const double *chances, uint32_t *ids,
                              uint32_t count);

void fenwick_tree_init(struct fenwick_tree *t, uint32_t n);
void fenwick_tree_deinit(struct fenwick_tree *t);
void fenwick_tree_set(struct fenwick_tree *t, const uint32_t *ids, const float *weights,
                      uint32_t count);
void fenwick_tree_draw(const struct fenwick_tree *t, const double *chances, uint32_t *ids,
                       uint32_t count);

#endif
