/* rig_index.c - batches as places in the data file, which the client has mapped.
 *
 * A frame of K offsets, and one of K sizes where they differ. The client asks the processor for the
 * beginnings of all records before it reads the first.
 */
#include "rig_inner.h"

#include "../../proto/prefetch.h"

static void answer(struct rig_server *s, const struct rig_peer *peer, uint32_t slot)
{
    const struct workload *w = s->plan->workload;
    uint64_t offsets[WORKLOAD_BATCH];
    uint32_t sizes[WORKLOAD_BATCH];
    bool varied = workload_is_varied(w);

    (void)slot;
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++) {
        offsets[i] = w->offsets[s->ids[i]];
        sizes[i] = w->sizes[s->ids[i]];
    }
    rig_send(s->socket, peer->id, peer->size, true);
    rig_send(s->socket, offsets, sizeof offsets, varied);
    if (varied)
        rig_send(s->socket, sizes, sizeof sizes, false);
}

static uint32_t size_at(const struct workload *w, const uint32_t *sizes, uint32_t i)
{
    return workload_is_varied(w) ? sizes[i] : w->size_min;
}

static double take(struct run_client *c, uint32_t *slot)
{
    const struct workload *w = c->plan->workload;
    uint64_t offsets[WORKLOAD_BATCH], sum = 0;
    uint32_t sizes[WORKLOAD_BATCH];
    double bytes = 0;

    (void)slot;
    rig_receive(c->socket, offsets, sizeof offsets);
    if (workload_is_varied(w))
        rig_receive(c->socket, sizes, sizeof sizes);
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++)
        prefetch_record(w->map + offsets[i], size_at(w, sizes, i), PREFETCH_RECORD_BYTES);
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++) {
        uint32_t size = size_at(w, sizes, i);

        sum += measure_sum(w->map + offsets[i], size);
        bytes += size;
    }
    measure_keep(sum);
    return bytes;
}

const struct rig_ops rig_index_ops = {.answer = answer, .take = take};
