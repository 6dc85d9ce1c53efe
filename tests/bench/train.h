/* train.h - a trainer on libohem that does nothing but read its batches and report losses. */
#ifndef BENCH_TRAIN_H
#define BENCH_TRAIN_H

#include "measure.h"

struct train_plan {
    const char *job;
    uint32_t credit; /* 0: the job's */
    bool report;     /* else batches are released without one */
    double seconds;
};

struct train_result {
    double seconds; /* from the first batch at hand to the last release */
    double batches_per_s;
    struct samples next_us, report_us; /* how long the calls took; samples_deinit() them */
};

/** Connect, train for so long, close. Every byte is read, every instance gets a loss. */
void train_run(const struct train_plan *plan, struct train_result *out);

#endif
