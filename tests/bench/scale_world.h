/* scale_world.h - what N instances report, prepared between the measurements.
 *
 * The world knows the score of every instance, so that each way to keep scores is given the same
 * changes, in the form that it takes them. A slice is so many different instances in random order.
 */
#ifndef BENCH_SCALE_WORLD_H
#define BENCH_SCALE_WORLD_H

#include "../../daemon/engine/permutation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCALE_SLICE_MAX (1u << 20)

enum scale_kind {
    SCALE_FIRST, /* the first report of each */
    SCALE_TRACE, /* the next of a recorded sequence of losses, lambda 0.5 */
    SCALE_STEP,  /* a loss that moves the score to the middle of a bucket beside its own */
    SCALE_KINDS
};

struct scale_slice {
    uint32_t count;
    uint32_t ids[SCALE_SLICE_MAX];
    float losses[SCALE_SLICE_MAX];
    float scores[SCALE_SLICE_MAX]; /* after the report */
};

struct scale_world {
    uint32_t n;
    float *scores;   /* [n] */
    uint8_t *phases; /* [n] of the trace */
    struct permutation order;
    uint64_t position, epoch, random;
};

void scale_world_init(struct scale_world *w, uint32_t n);
void scale_world_deinit(struct scale_world *w);

/** The next `count` instances report; fewer at the end of the first reports. @return false: there
 *  is no first report left */
bool scale_world_next(struct scale_world *w, enum scale_kind kind, uint32_t count,
                      struct scale_slice *out);

/** Memory for arrays: zeroed, on lines of the cache, huge pages as the engine has them. */
void *scale_take(size_t count, size_t size);

#endif
