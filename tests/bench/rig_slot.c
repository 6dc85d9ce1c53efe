/* rig_slot.c - batches in shared memory: the server copies, a number crosses the socket. */
#include "rig_inner.h"

/* What crosses the socket. */
struct notice {
    uint32_t slot, size;
};

static void prepare(struct rig_server *s)
{
    s->memory = rig_share(s->slot_bytes * s->slot_count);
}

static void answer(struct rig_server *s, const struct rig_peer *peer, uint32_t slot)
{
    struct notice notice = {.slot = slot};

    if (slot >= s->slot_count)
        die("rig: slot %u of %u", slot, s->slot_count);
    notice.size = (uint32_t)rig_copy(s->plan->workload, s->ids, 0, WORKLOAD_BATCH,
                                     s->memory + slot * s->slot_bytes);
    rig_send(s->socket, peer->id, peer->size, true);
    rig_send(s->socket, &notice, sizeof notice, false);
}

static double take(struct run_client *c, uint32_t *slot)
{
    struct notice notice;

    rig_receive(c->socket, &notice, sizeof notice);
    measure_keep(measure_sum(c->memory + notice.slot * c->slot_bytes, notice.size));
    *slot = notice.slot;
    return notice.size;
}

const struct rig_ops rig_slot_ops = {.prepare = prepare, .answer = answer, .take = take};
