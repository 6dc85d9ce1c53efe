/* scale_world.c - see scale_world.h. */
#include "scale_world.h"

#include "../../daemon/engine/memory.h"
#include "../../daemon/engine/partition.h"
#include "measure.h"
#include "scale_trace.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64u /* a line of the cache */

void *scale_take(size_t count, size_t size)
{
    size_t size_all = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, size_all);

    if (memory == NULL)
        die("out of memory for %zu bytes", size_all);
    memory_take_large(memory, size_all);
    memset(memory, 0, size_all);
    return memory;
}

static void begin_order(struct scale_world *w)
{
    w->position = 0;
    permutation_init(&w->order, w->n, rng_make(7, "scale", RNG_PERMUTATION), w->epoch++);
}

void scale_world_init(struct scale_world *w, uint32_t n)
{
    *w = (struct scale_world){.n = n};
    w->scores = scale_take(n, sizeof *w->scores);
    w->phases = scale_take(n, sizeof *w->phases);
    begin_order(w);
}

void scale_world_deinit(struct scale_world *w)
{
    free(w->scores);
    free(w->phases);
}

/* The loss that moves a score to the middle of the bucket above or below. */
static float loss_of_step(struct scale_world *w, float score)
{
    unsigned bucket = partition_bucket_of(score), to;
    bool up = bucket == 0 || (bucket < PARTITION_BUCKETS - 1 && (rng_mix(w->random++) & 1));

    to = up ? bucket + 1 : bucket - 1;
    return (float)(2 * partition_bucket_middle(to) - (double)score);
}

static float next_loss(struct scale_world *w, enum scale_kind kind, uint32_t id)
{
    float score;

    switch (kind) {
    case SCALE_FIRST:
        w->phases[id] = scale_trace_begin(id, &score);
        return score;
    case SCALE_STEP:
        return loss_of_step(w, w->scores[id]);
    case SCALE_TRACE:
    case SCALE_KINDS:
        break;
    }
    return scale_trace_next(id, &w->phases[id]);
}

bool scale_world_next(struct scale_world *w, enum scale_kind kind, uint32_t count,
                      struct scale_slice *out)
{
    if (kind == SCALE_FIRST && count > w->n - w->position)
        count = (uint32_t)(w->n - w->position);
    if (count == 0)
        return false;
    if (count > w->n - w->position)
        begin_order(w);
    permutation_run(&w->order, w->position, count, out->ids);
    w->position += count;
    out->count = count;
    for (uint32_t i = 0; i < count; i++) {
        float *score = &w->scores[out->ids[i]], loss = next_loss(w, kind, out->ids[i]);
        float counted = loss > 0 ? loss : 0;

        out->losses[i] = loss;
        *score = kind == SCALE_FIRST ? counted : *score + SCALE_TRACE_LAMBDA * (counted - *score);
        out->scores[i] = *score;
    }
    return true;
}
