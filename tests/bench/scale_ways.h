/* scale_ways.h - the ways to keep scores and draw by them that bench-scale sets side by side.
 *
 * All stand at once and are given the same reports, so that the rounds interleave.
 */
#ifndef BENCH_SCALE_WAYS_H
#define BENCH_SCALE_WAYS_H

#include "../../daemon/engine/sampler.h"
#include "scale_trees.h"
#include "scale_world.h"

#define SCALE_BATCH 256u
#define SCALE_WAYS  5

enum scale_way_index { /* those that others are compared with */
                       SCALE_ENGINE,
                       SCALE_BINARY,
                       SCALE_BINARY_BATCHED,
                       SCALE_FENWICK
};

struct scale_ways {
    uint32_t n;
    struct hardness hardness;
    struct coverage coverage;
    struct sampler hard, mixed; /* rho nearly 0, 0.5 */
    struct sampler_batch batch;
    struct binary_tree binary;
    struct fenwick_tree fenwick;
    uint64_t step, random;
};

/* A part of a slice of reports; a structure that has two ways takes half of it in each. */
enum scale_part { SCALE_NONE, SCALE_WHOLE, SCALE_FIRST_HALF, SCALE_SECOND_HALF };

struct scale_way {
    const char *name;
    enum scale_part part;
    /* Apply reports first..first+count-1 of a slice; at most SCALE_BATCH. */
    void (*report)(struct scale_ways *w, const struct scale_slice *s, uint32_t first,
                   uint32_t count);
    /* Draw SCALE_BATCH ids. */
    void (*draw)(struct scale_ways *w, uint32_t *ids);
};

extern const struct scale_way scale_way_list[SCALE_WAYS];

void scale_ways_init(struct scale_ways *w, uint32_t n);
void scale_ways_deinit(struct scale_ways *w);

#endif
