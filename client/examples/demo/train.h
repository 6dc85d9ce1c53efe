/* train.h - one training run: a job's batches in, a trained network's figures out. */
#ifndef TRAIN_H
#define TRAIN_H

#include "idx.h"
#include "metrics.h"

#include <stdint.h>

#define TRAIN_TIMEOUT_MS 20000

struct train_result {
    double seconds; /* of training, without the test */
    uint64_t forward_count, backward_count;
    struct metrics test;
};

/**
 * Train a new network on a job until `backward_max` instances were back-propagated, then test it.
 * The network, its seed and its learning rate are the same for every job.
 * @param test  labels 0 or 1
 * @return 0, or -1 after saying on stderr what is wrong
 */
int train_job(const char *job, uint64_t backward_max, const struct idx *test,
              struct train_result *out);

#endif
