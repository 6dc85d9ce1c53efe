/* infobatch.h - coverage that leaves out some of the easy: InfoBatch (Qin et al., ICLR 2024).
 *
 * There are no hard draws. At its turn in the epoch's order an instance whose score is below the
 * cut is skipped with probability r, and counts 1/(1-r) when it is kept, so that the sum of
 * weight * loss over an epoch stays an unbiased estimate of the sum over all. What is frozen when
 * an epoch is first drawn from lies in its report (coverage.h): r, and the cut, which is the
 * bucket of the mean score then: `below` means in a lower bucket, by the score at the turn.
 *
 * Never skipped: what has no score, what came back, and all in the last epochs of the run.
 */
#ifndef OHEM_INFOBATCH_H
#define OHEM_INFOBATCH_H

#include "sampler.h"

/* Skipped at most, per slot of a batch. The further slots are handed out as they come and count 1:
 * whether they do depends on no chance of their own, so the estimate stays unbiased. */
#define INFOBATCH_SKIPS_PER_SLOT 64u

#define INFOBATCH_RATIO_MAX 0.95 /* r: 19 skipped per slot on the average */

/**
 * Draw a batch: out->count slots of coverage, with p, w and skip_count. With m the instances below
 * the cut, as the scores are now,
 *   stands its chance to be skipped, and is kept:  w = 1/(1-r),  p = (1-r) / (N - r m)
 *   all others:                                    w = 1,        p = 1 / (N - r m)
 * so p is the probability that one slot holds i, over the epoch's key and the chances to be
 * skipped, but for terms of the order 1/N. What comes back stands no further chance, and keeps its
 * w. Chance is keyed by (epoch, id): neither steps nor timing can change it.
 *
 * A batch begins at most one epoch, whatever is skipped: in all it walks over no more than N + what
 * the current epoch has left. Needs coverage_ready() and out->count <= N.
 */
void infobatch_draw(const struct sampler_policy *policy, const struct hardness *h,
                    struct coverage *c, struct sampler_batch *out);

#endif
