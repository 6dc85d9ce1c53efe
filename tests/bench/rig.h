/* rig.h - what the machine can do without ohemd: the limits that its speed is set against.
 *
 * Each does one part of a step as barely as a C program can, on the same records, with the same
 * credit, and the client reads every byte: no sampler, no reports, no bookkeeping.
 */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include "run.h"

/* A server sends, for each credit that comes back, a batch of random records: */
enum rig_way {
    RIG_INDEX, /* as K offsets into data.mdb, which the client has mapped */
    RIG_SLOT,  /* gathered into a slot of shared memory, whose number it sends */
    RIG_INLINE /* gathered into a buffer that is sent without another copy */
};

struct rig_plan {
    const struct workload *workload;
    enum rig_way way;
    uint32_t credit; /* batches on their way to each client */
    int clients;
    size_t part_bytes; /* RIG_INLINE: a larger batch goes in messages of so many */
    double seconds;
};

/** Measure server and clients over ZeroMQ (ipc, ROUTER and DEALER). */
void rig_run(const struct rig_plan *plan, struct run_result *out);

/** Copy K random records into a block and read it, in this process. @return instances per second.
 */
double rig_gather(const struct workload *w, double seconds);

/** Copy between two blocks that no cache holds. @return bytes per second. */
double rig_memcpy(double seconds);

/** Frames of a LOSS there, frames of a SELECTION back from a server on libuv, one at a time.
 *  @return the median in microseconds. */
double rig_round_trip(const struct workload *w, double seconds);

/** Frames of a LOSS of so many items there, and the same back. @return the median of the time that
 *  one way takes, in microseconds */
double rig_move(const struct workload *w, uint32_t items, double seconds);

#endif
