/* drawer.h - a sampler with all that it needs, and the probabilities as they should be.
 *
 * drawer_q() is the formula of DESIGN 5 over single instances: no running sums, no batches. What
 * the sampler does is compared with it. One trainer who settles each batch at once.
 */
#ifndef DRAWER_H
#define DRAWER_H

#include "../../daemon/engine/sampler.h"

struct drawer {
    struct hardness hardness;
    struct coverage coverage;
    struct sampler sampler;
    struct sampler_batch batch; /* the last one */
    uint64_t step;              /* of the next batch */
};

/** Asserts that there is memory. */
void drawer_open(struct drawer *d, uint32_t n, uint32_t k, const struct sampler_policy *policy,
                 uint64_t seed);
void drawer_close(struct drawer *d);

/** Strict order from now on; forgets the scores. */
void drawer_order(struct drawer *d);

/** Begin again under another seed and job: step 0, first epoch. The scores stay. */
void drawer_restart(struct drawer *d, uint64_t seed, const char *job);

/** Fixed scores: over eight octaves, one id in seven without a report, one in eleven 0. */
void drawer_score_all(struct drawer *d);

/** Draw the next batch and settle its coverage as reported. Lent until the next. */
const struct sampler_batch *drawer_next(struct drawer *d);

/** q of each id under the scores and the policy as they stand; all 0 without any score. */
void drawer_q(const struct drawer *d, double *q);

#endif
