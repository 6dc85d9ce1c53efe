/* scale_trace.h - losses of a real training, instance by instance and visit by visit.
 *
 * scale.trace holds the upper halves of floats, little-endian, an instance's visits in a row;
 * scale_record.sh made it. An instance of the bench follows one recorded instance, forwards and
 * then backwards, and so on: no step is larger than a real one. A phase is a place on that way.
 */
#ifndef BENCH_SCALE_TRACE_H
#define BENCH_SCALE_TRACE_H

#include <stdint.h>

#define SCALE_TRACE_INSTANCES 2048u
#define SCALE_TRACE_VISITS    16u
#define SCALE_TRACE_PHASES    (2 * SCALE_TRACE_VISITS - 2)
#define SCALE_TRACE_LAMBDA    0.5f

/** Read it; die() if it is not there or not whole. */
void scale_trace_read(const char *path);

/** The phase in which an instance begins, and the score that it has there. */
uint8_t scale_trace_begin(uint32_t id, float *out_score);

/** Go on. @return the loss that the instance reports */
float scale_trace_next(uint32_t id, uint8_t *phase);

#endif
