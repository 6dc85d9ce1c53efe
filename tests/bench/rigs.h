/* rigs.h - what the machine can do without ohemd: the limits that its speed is set against.
 *
 * Each does one part of a step as barely as possible, with the sizes of the bench's data set.
 */
#ifndef BENCH_RIGS_H
#define BENCH_RIGS_H

#include <stdint.h>

/** Copy K random records into a block and read it, in this process. @return batches per second. */
double rig_gather(double seconds);

/** A process sends a block in one ZeroMQ frame over ipc for each credit, this one reads it; so many
 *  are on their way at once. @return batches per second. */
double rig_inline(uint32_t credit, double seconds);

/** Frames of a LOSS there, frames of a SELECTION back, over ipc, one at a time.
 *  @return the median in microseconds. */
double rig_round_trip(double seconds);

#endif
