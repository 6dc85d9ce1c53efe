/* rig_gather.c - in one process: gather random records and read them; copy memory. See rig.h. */
#include "rig_inner.h"

#include <stdlib.h>
#include <string.h>

#define COPY_BYTES ((size_t)256 << 20) /* more than any cache */

double rig_gather(const struct workload *w, double seconds)
{
    unsigned char *block = malloc(rig_block_bytes(w));
    uint32_t ids[WORKLOAD_BATCH];
    uint64_t random = 1, began, now, count = 0;

    if (block == NULL)
        die("out of memory for a block");
    workload_touch(w);
    began = measure_now_ns();
    do {
        workload_draw(w, &random, ids);
        measure_keep(measure_sum(block, rig_copy(w, ids, 0, WORKLOAD_BATCH, block)));
        count += WORKLOAD_BATCH;
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * MEASURE_NS_PER_S);
    free(block);
    return (double)count / ((double)(now - began) / MEASURE_NS_PER_S);
}

double rig_memcpy(double seconds)
{
    unsigned char *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
    uint64_t began, now;
    double bytes = 0;

    if (from == NULL || to == NULL)
        die("out of memory for two blocks of %zu bytes", COPY_BYTES);
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    began = measure_now_ns();
    do {
        memcpy(to, from, COPY_BYTES);
        measure_keep(to[(size_t)bytes % COPY_BYTES]);
        bytes += COPY_BYTES;
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * MEASURE_NS_PER_S);
    free(from);
    free(to);
    return bytes / ((double)(now - began) / MEASURE_NS_PER_S);
}
