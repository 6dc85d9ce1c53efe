/* largest.h - the M largest of n floats, by counting and not by sorting.
 *
 * A float's bits, with the sign turned, sort as integers do. One pass counts the values by the
 * upper bits of these keys and takes their statistics; the part that holds the M-th largest is cut
 * again until it is found. What is not finite is not there. O(n), allocates nothing.
 */
#ifndef OHEM_LARGEST_H
#define OHEM_LARGEST_H

#include "../../proto/message.h"

#define LARGEST_PARTS_BITS 11 /* 2048 counters stay in the L1 cache */

struct largest {
    struct loss_stats stats;                  /* over the finite values */
    unsigned shift;                           /* a key's part: its upper 32 - shift bits */
    uint32_t parts[1u << LARGEST_PARTS_BITS]; /* how many keys each has */
};

/* Which are the m largest: all above the value, and of those that equal it the first `ties`. */
struct largest_cut {
    float value;
    uint32_t ties;
};

/** Look at n values. Sums are taken in four lanes, value i in lane i % 4, and these are added in
 *  one order: the mean is the same wherever it is taken. */
void largest_look(struct largest *l, const float *values, uint32_t n);

/**
 * Find the cut that m values reach, 1 <= m <= l->stats.count.
 * @param values  as largest_look() saw them
 * @param keys    scratch, [n]
 */
struct largest_cut largest_find(const struct largest *l, const float *values, uint32_t n,
                                uint32_t m, uint32_t *keys);

/** Where they are: m indices, ascending; of equal values the first. Room for m. */
void largest_write(const struct largest *l, const float *values, uint32_t n, struct largest_cut cut,
                   uint32_t m, uint32_t *indices);

/** The sum of the values at some indices, in four lanes as above. */
double largest_sum(const float *values, const uint32_t *indices, uint32_t count);

/** How many values are above a bound. */
uint32_t largest_count_above(const struct largest *l, const float *values, uint32_t n,
                             double bound);

#endif
