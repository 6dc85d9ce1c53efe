/* workload.h - the data sets that everything is measured on.
 *
 * LMDB folders of pseudo-random bytes in the working directory, made anew. After that the records
 * are known by their place in the data file, which is mapped read-only: nobody writes any more.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKLOAD_BATCH 256u /* K */
#define WORKLOADS      3

struct workload {
    const char *name; /* also its folder and the daemon's name for it */
    const char *meaning;
    uint32_t count;              /* instances */
    uint32_t size_min, size_max; /* bytes of a record; equal: all have one size */
    const unsigned char *map;    /* data.mdb */
    size_t map_bytes;
    uint64_t *offsets; /* [count] of each record in data.mdb */
    uint32_t *sizes;   /* [count] */
    uint64_t bytes;    /* sum of the sizes */
};

/** Say what the workloads are. @param quick  with fewer instances of the largest */
void workload_list(struct workload out[WORKLOADS], bool quick);

/** Make the data set, and map it. */
void workload_make(struct workload *w);

static inline bool workload_is_varied(const struct workload *w)
{
    return w->size_min != w->size_max;
}

static inline const unsigned char *workload_record(const struct workload *w, uint32_t id)
{
    return w->map + w->offsets[id];
}

/** The bytes of a mean batch. */
double workload_batch_bytes(const struct workload *w);

/** Look at every page of the map, that this process need not fault on them later. */
void workload_touch(const struct workload *w);

/** A fast random number, the next of a sequence. */
static inline uint64_t workload_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

/** K random ids. */
void workload_draw(const struct workload *w, uint64_t *state, uint32_t ids[WORKLOAD_BATCH]);

#endif
