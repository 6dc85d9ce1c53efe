/* model.h - the memory of hardness once more, as plainly as it can be said: four arrays.
 *
 * What hardness.h promises, written without looking at hardness.c: no partition, no packed entry.
 * Tests feed it the reports in the order in which the engine says that it applied them (LSN). Exact
 * for a lambda that is a power of two: then no order of the multiplications rounds differently.
 */
#ifndef MODEL_H
#define MODEL_H

#include "../../daemon/engine/hardness.h"

struct model {
    uint32_t n;
    float lambda;
    float *score, *variance, *last_loss;
    uint32_t *visits;
    uint64_t *last_step;
};

/** n instances that nobody reported on. Aborts without memory. */
void model_init(struct model *m, uint32_t n, float lambda);
void model_deinit(struct model *m);

/** One loss; what is not finite is ignored. */
void model_report(struct model *m, uint64_t id, float loss, uint64_t step);

/** Does the engine remember the same of this instance, to the last bit? */
bool model_agrees(const struct model *m, const struct hardness *h, uint32_t id);

/** Instances on which they differ; the first is printed. */
size_t model_differences(const struct model *m, const struct hardness *h);

#endif
