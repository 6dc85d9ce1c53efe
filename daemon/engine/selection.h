/* selection.h - the mining step: the losses of a batch in, the indices to back-propagate out.
 *
 * Pure functions over a vector of losses. Indices come out ascending, ties are broken by position,
 * a loss that is NaN or infinite is never selected. The M-th largest is found by counting the bits
 * of the floats, not by sorting.
 */
#ifndef OHEM_SELECTION_H
#define OHEM_SELECTION_H

#include "../../proto/message.h"

enum selection_rule {
    SELECTION_ALL, /* every finite loss */
    SELECTION_TOP  /* the M largest (OHEM: Shrivastava et al., CVPR 2016, section 4) */
};

struct selection_policy {
    enum selection_rule rule;
    uint32_t keep_count; /* M; 0: M from keep_ratio */
    double keep_ratio;   /* 0 < ratio <= 1: M = floor(ratio * K) in double arithmetic */
    uint32_t min_keep;   /* but M at least max(1, min_keep), at most the finite losses */
};

#define SELECTION_POLICY_DEFAULT \
    { \
        .rule = SELECTION_TOP, .keep_ratio = 0.5, .min_keep = 1 \
    }

/* Memory is the caller's, room for K each, and all of it is written to. */
struct selection {
    uint32_t *indices;
    float *weights; /* s */
    uint32_t count; /* M */
    uint32_t nonfinite_count;
    struct loss_stats all, kept;
};

/** Choose. O(K), allocates nothing. @param losses float[k]. */
void selection_choose(const struct selection_policy *policy, const float *losses, uint32_t k,
                      struct selection *out);

#endif
