/* selection.h - the mining step: the losses of a batch in, the indices to back-propagate out.
 *
 * Pure functions over a vector of losses. Indices come out ascending, ties are broken by position,
 * a loss that is NaN or infinite is never selected. The M-th largest is found by counting the bits
 * of the floats, not by sorting (largest.h).
 */
#ifndef OHEM_SELECTION_H
#define OHEM_SELECTION_H

#include "../../proto/message.h"

enum selection_rule {
    SELECTION_ALL,      /* every finite loss */
    SELECTION_TOP,      /* the M largest (OHEM: Shrivastava et al., CVPR 2016, section 4) */
    SELECTION_THRESHOLD /* those above a threshold */
};

/* Is what the rule says answered? If not all finite losses are; in shadow what it would have kept
 * is still worked out, for the status. */
enum selection_mode { SELECTION_ON, SELECTION_SHADOW, SELECTION_OFF };

struct selection_policy {
    enum selection_mode mode;
    enum selection_rule rule;
    uint32_t keep_count; /* top: M; 0: M from keep_ratio */
    double keep_ratio;   /* top: 0 < ratio <= 1: M = floor(ratio * K) in double arithmetic */
    double keep_from;    /* top: the share that the job begins with; 0: no schedule */
    uint64_t keep_steps; /* top: after so many steps of the job the share is the final one */
    double threshold;    /* threshold: M = how many losses are above it */
    uint32_t max_keep;   /* threshold: but M at most so many, the hardest; 0: no limit */
    uint32_t min_keep;   /* both: but M at least max(1, min_keep), at most the finite losses */
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

/** The policy by which a trainer is answered: this one, or if it is not on, SELECTION_ALL. */
const struct selection_policy *selection_answered(const struct selection_policy *policy);

/**
 * The share of a batch that `top` keeps at a step, when there is a schedule:
 *   keep_from + (keep - keep_from) * min(1, step / keep_steps)
 * with keep = keep_ratio, or keep_count / K. Hard mining from the first step on may not converge:
 * begin with more, and anneal. A function of the step alone, so that a repeat gets the same answer.
 */
double selection_share(const struct selection_policy *policy, uint64_t step, uint32_t k);

/** Choose. O(K), allocates nothing. @param losses float[k]. @param step of the batch in its job */
void selection_choose(const struct selection_policy *policy, uint64_t step, const float *losses,
                      uint32_t k, struct selection *out);

#endif
