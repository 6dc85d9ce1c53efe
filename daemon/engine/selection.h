/* selection.h - the mining step: the losses of a batch in, the indices to back-propagate out.
 *
 * Pure functions over a vector of losses. Indices come out ascending, ties are broken by position,
 * a loss that is NaN or infinite is never selected, nor is one that is flagged as ignored. The M-th
 * largest is found by counting the bits of the floats, not by sorting (largest.h).
 */
#ifndef OHEM_SELECTION_H
#define OHEM_SELECTION_H

#include "../../proto/message.h"
#include "recent.h"
#include "rng.h"

enum selection_rule {
    SELECTION_ALL,       /* every loss that may be selected */
    SELECTION_TOP,       /* the M largest (OHEM: Shrivastava et al., CVPR 2016, section 4) */
    SELECTION_THRESHOLD, /* those above a threshold */
    SELECTION_NEGPOS,    /* all positives and the hardest negatives (SSD: Liu et al., ECCV 2016) */
    SELECTION_CDF /* each by chance, by its percentile (Selective-Backprop: Jiang et al., 2019) */
};

/* Is what the rule says answered? If not all that may be selected is; in shadow what it would have
 * kept is still worked out, for the status. */
enum selection_mode { SELECTION_ON, SELECTION_SHADOW, SELECTION_OFF };

struct selection_policy {
    enum selection_mode mode;
    enum selection_rule rule;
    bool by_report;      /* a trainer may choose another rule for a report */
    uint32_t keep_count; /* top: M; 0: M from keep_ratio */
    double keep_ratio;   /* top: 0 < ratio <= 1: M = floor(ratio * K) in double arithmetic */
    double keep_from;    /* top: the share that the job begins with; 0: no schedule */
    uint64_t keep_steps; /* top: after so many steps of the job the share is the final one */
    double keep_epochs;  /* top: or after so many epochs: the job makes steps of them. 0: no */
    double threshold;    /* threshold: M = how many losses are above it */
    uint32_t max_keep;   /* threshold: but M at most so many, the hardest; 0: no limit */
    double neg_ratio;    /* negpos: floor(ratio * positives) negatives */
    uint32_t neg_min;    /* negpos: so many when there are no positives */
    double cdf_power;    /* cdf: kept with probability max(floor, percentile^power) */
    double cdf_floor;    /* cdf: above 0 */
    uint32_t min_keep;   /* top, threshold, negpos: but M at least max(1, min_keep), at most those
                            that may be selected. With cdf M is at least 1. */
};

#define SELECTION_POLICY_DEFAULT \
    { \
        .rule = SELECTION_TOP, .by_report = true, .keep_ratio = 0.5, .neg_ratio = 3, .neg_min = 1, \
        .cdf_power = 3, .cdf_floor = 0.05, .min_keep = 1 \
    }

/* What is chosen from. */
struct selection_input {
    const float *losses;         /* float[count] */
    const uint8_t *flags;        /* uint8[count], LOSS_FLAG_*; NULL: all 0 */
    uint32_t count;              /* K */
    uint64_t step;               /* of the batch in its job */
    const struct recent *recent; /* cdf: the losses before this report, sorted */
    struct rng rng;              /* cdf: the chances, by step and position */
};

/* Memory is the caller's, room for K each, and all of it is written to. */
struct selection {
    uint32_t *indices;
    float *weights; /* s: 1, but with cdf 1/probability */
    bool weighted;  /* not all of them are 1 */
    uint32_t count; /* M */
    uint32_t nonfinite_count;
    uint32_t ignored_count;      /* finite and flagged as ignored; the three add up to K: */
    struct loss_stats all, kept; /* all.count is of those that may be selected */
};

/** The policy by which a trainer is answered: this one, or if it is not on, SELECTION_ALL. */
const struct selection_policy *selection_answered(const struct selection_policy *policy);

/** The same policy by the rule that a trainer chose for a report; one that select_check() passed.
 */
struct selection_policy selection_chosen(const struct selection_policy *policy,
                                         const struct message_select *select);

/**
 * Choose. O(K), allocates nothing.
 *
 * With keep_from the share of `top` is annealed, since hard mining from the first step on may not
 * converge: keep_from + (keep - keep_from) * min(1, step / keep_steps), with keep = keep_ratio, or
 * keep_count / K. A function of the step alone, so that a repeat gets the same answer.
 *
 * With `cdf` loss i is kept with probability p_i, and if chance keeps none, the hardest is: that is
 * kept with probability p + product of all (1 - p_j). Weights are the reciprocals of these.
 */
void selection_choose(const struct selection_policy *policy, const struct selection_input *in,
                      struct selection *out);

/** All that may be selected: who wants fewer of them has the statistics, and calls the next. */
void selection_choose_all(const struct selection_input *in, struct selection *out);

/** Fill `kept`: the statistics of those selected. */
void selection_describe(const float *losses, struct selection *out);

#endif
