/* recent.h - the last losses of a job, to tell where a new one stands among them.
 *
 * For Selective-Backprop (Jiang et al., arXiv:1910.00762, 2019), which keeps a loss by its
 * percentile in a window of recent ones. Knows no rule.
 */
#ifndef OHEM_RECENT_H
#define OHEM_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define RECENT_LOSSES 1024

struct recent {
    float ring[RECENT_LOSSES];   /* in the order of arrival */
    float sorted[RECENT_LOSSES]; /* ascending, as of the last recent_sort() */
    uint32_t count;              /* in the ring */
    uint32_t next;               /* where the next goes */
    bool is_sorted;
};

/** Add the finite ones; the oldest leave. All zero is an empty window. */
void recent_add(struct recent *r, const float *losses, uint32_t count);

/** Before the next: O(RECENT_LOSSES), nothing when it is sorted. */
void recent_sort(struct recent *r);

/** The share of the window that is below the loss, its equals counted by half: 0..1; 1 while the
 *  window is empty. It is sorted; -0 and 0 are equal. */
double recent_percentile(const struct recent *r, float loss);

#endif
