/* rounds.h - what is measured in each round, side by side, and the ratios. */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include "side.h"

/** Choose the inline rig's part_bytes: the fastest for the largest records. */
void rounds_tune(struct bench *b);

/** Every job, until its instances have scores. */
void rounds_warm_up(const struct bench *b);

/** Measure everything once. Odd rounds in another order than even ones. */
void rounds_run(const struct bench *b, int round);

/** What order and a state on disk cost, on the smallest records, with 1 and 4 trainers. */
void rounds_promises(struct bench *b);

/** With 4 sessions on the largest records, on a fresh daemon: how long are the loop's turns? */
void rounds_turns(struct bench *b);

#endif
