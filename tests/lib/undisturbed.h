/* undisturbed.h - a job in strict order as it runs when nothing happens to it: one trainer, one
 * life.
 *
 * Its losses are trainer_loss(id, step), as everybody's. What a disturbed run of the same job hands
 * out is compared with it, step by step. It runs as far as it is asked.
 */
#ifndef UNDISTURBED_H
#define UNDISTURBED_H

#include "trainer.h"

struct undisturbed {
    struct shell *shell;
    struct trainer trainer;
    uint32_t k;
    uint32_t *ids; /* [step_count * k] */
    uint64_t step_count, capacity;
};

void undisturbed_init(struct undisturbed *u, const struct job_settings *settings,
                      uint32_t broken_share);
void undisturbed_deinit(struct undisturbed *u);

/** The ids of a step; lent until the next call. */
const uint32_t *undisturbed_ids(struct undisturbed *u, uint64_t step);

#endif
