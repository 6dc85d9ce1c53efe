/* loader.c - parcels: filled by the loop, gathered by a thread, carried off by ZeroMQ; see
 * loader.h.
 *
 * A parcel is owned by the loop, then by one work request, then by the loop again, then by the
 * frames that lent its memory: `refs` counts those. Whoever drops the last reference, on whatever
 * thread, only wakes the loop, which finds the parcel free again. Buffers grow to the largest batch
 * seen and stay: in steady state nothing is allocated here.
 */
#include "loader.h"

#include "../proto/error.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct loader_parcel parcel; /* first: a parcel is its slot */
    struct loader *loader;
    uv_work_t work;
    atomic_int refs; /* 0: free */
    uint64_t ticket; /* the order of loader_gather() */
    bool gathered;   /* records are there, not yet handed to ready_cb */
    uint32_t *ids;   /* as the engine has them; the message's are 64 bits wide */
    unsigned char *vectors, *payload;
    size_t ids_capacity, vectors_capacity, payload_capacity; /* bytes */
};

struct loader {
    uv_loop_t *loop;
    uv_async_t returned;
    bool closing;
    size_t waiting;   /* parcels not yet handed to ready_cb */
    uint64_t tickets; /* given out */
    loader_ready_cb ready_cb;
    void *ctx;
    size_t slot_count;
    struct slot slots[];
};

/* The loop was woken: its other handles look for room by themselves. */
static void returned_cb(uv_async_t *async)
{
    (void)async;
}

int loader_new(uv_loop_t *loop, size_t parcels_max, loader_ready_cb ready_cb, void *ctx,
               struct loader **out)
{
    struct loader *l = calloc(1, sizeof *l + parcels_max * sizeof l->slots[0]);

    if (l == NULL)
        return -OHEM_NOMEM;
    l->loop = loop;
    l->ready_cb = ready_cb;
    l->ctx = ctx;
    l->slot_count = parcels_max;
    for (size_t i = 0; i < parcels_max; i++) {
        l->slots[i].loader = l;
        l->slots[i].work.data = &l->slots[i];
    }
    if (uv_async_init(loop, &l->returned, returned_cb) != 0) {
        free(l);
        return -OHEM_SYSTEM;
    }
    *out = l;
    return 0;
}

size_t loader_room(const struct loader *l)
{
    size_t room = 0;

    for (size_t i = 0; i < l->slot_count; i++)
        room += atomic_load_explicit(&l->slots[i].refs, memory_order_acquire) == 0;
    return room;
}

/* Memory of at least so many bytes; the old contents are not kept. */
static int ensure(void *buffer, size_t *capacity, size_t size)
{
    void **memory = buffer;
    void *bigger;

    if (size <= *capacity)
        return 0;
    bigger = malloc(size);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    free(*memory);
    *memory = bigger;
    *capacity = size;
    return 0;
}

static struct slot *free_slot(struct loader *l)
{
    size_t i = 0;

    while (atomic_load_explicit(&l->slots[i].refs, memory_order_acquire) != 0)
        i++;
    assert(i < l->slot_count);
    return &l->slots[i];
}

static uint64_t payload_bytes(const struct dataset *dataset, const uint32_t *ids, uint32_t count)
{
    uint64_t bytes = dataset_record_bytes(dataset) * count;

    for (uint32_t i = 0; i < count && dataset_record_bytes(dataset) == 0; i++)
        bytes += dataset_record(dataset, ids[i]).size;
    return bytes;
}

/* Lay the vectors out in the slot's memory, widest first, and fill all but the payload. */
static void write_vectors(struct slot *slot, const struct lease *lease,
                          const struct dataset *dataset)
{
    struct message_batch *b = &slot->parcel.message.batch;
    uint32_t k = lease->count;
    uint64_t *ids = (uint64_t *)(void *)slot->vectors, *offsets = ids + k;
    float *probabilities = (float *)(void *)(offsets + k + 1), *weights = probabilities + k;

    offsets[0] = 0;
    for (uint32_t i = 0; i < k; i++) {
        ids[i] = lease->ids[i];
        offsets[i + 1] = offsets[i] + dataset_record(dataset, lease->ids[i]).size;
    }
    memcpy(slot->ids, lease->ids, k * sizeof *slot->ids);
    memcpy(probabilities, lease->probabilities, k * sizeof *probabilities);
    memcpy(weights, lease->weights, k * sizeof *weights);
    b->ids = (struct vector){ids, k};
    b->probabilities = (struct vector){probabilities, k};
    b->weights = (struct vector){weights, k};
    b->offsets = (struct vector){offsets, k + 1};
    b->payload = (struct vector){slot->payload, offsets[k]};
}

static void write_header(struct slot *slot, const struct engine_delivery *d)
{
    const struct lease *lease = d->lease;

    slot->parcel.peer = d->peer;
    slot->parcel.message.type = MESSAGE_BATCH;
    slot->parcel.message.batch = (struct message_batch){
        .token = lease->token,
        .epoch = lease->epoch,
        .count = lease->count,
        .coverage_count = lease->coverage_count,
        .record_bytes = d->dataset->record_bytes,
        .lease_ms = d->lease_ms,
    };
}

/* On a thread of libuv's pool. */
static void gather_cb(uv_work_t *work)
{
    struct slot *slot = work->data;
    const struct message_batch *b = &slot->parcel.message.batch;
    const uint64_t *offsets = b->offsets.data;
    uint64_t began = uv_hrtime();

    for (uint32_t i = 0; i < b->count; i++)
        memcpy(slot->payload + offsets[i], dataset_record(slot->parcel.dataset, slot->ids[i]).data,
               offsets[i + 1] - offsets[i]);
    slot->parcel.gather_ns = uv_hrtime() - began;
}

static bool is_waiting(const struct slot *slot)
{
    return slot->ticket != 0;
}

/* Must this parcel wait for an earlier one to the same peer? */
static bool is_early(const struct loader *l, const struct slot *slot)
{
    for (size_t i = 0; i < l->slot_count; i++) {
        const struct slot *other = &l->slots[i];

        if (is_waiting(other) && other->ticket < slot->ticket &&
            other->parcel.peer == slot->parcel.peer)
            return true;
    }
    return false;
}

static struct slot *next_ready(struct loader *l)
{
    for (size_t i = 0; i < l->slot_count; i++)
        if (is_waiting(&l->slots[i]) && l->slots[i].gathered && !is_early(l, &l->slots[i]))
            return &l->slots[i];
    return NULL;
}

/* Gathers end in any order; a session gets its batches in the order of their steps. */
static void gathered_cb(uv_work_t *work, int status)
{
    struct slot *slot = work->data;
    struct loader *l = slot->loader;

    (void)status; /* never cancelled */
    slot->gathered = true;
    while ((slot = next_ready(l)) != NULL) {
        slot->ticket = 0;
        l->waiting--;
        l->ready_cb(l->ctx, &slot->parcel);
    }
}

int loader_gather(struct loader *l, const struct engine_delivery *delivery,
                  const struct dataset *dataset)
{
    const struct lease *lease = delivery->lease;
    struct slot *slot = free_slot(l);
    uint64_t bytes = payload_bytes(dataset, lease->ids, lease->count);
    size_t k = lease->count;

    if (ensure(&slot->ids, &slot->ids_capacity, k * sizeof *slot->ids) != 0 ||
        ensure(&slot->vectors, &slot->vectors_capacity, (2 * k + 1) * 8 + 2 * k * 4) != 0 ||
        ensure(&slot->payload, &slot->payload_capacity, bytes > 0 ? bytes : 1) != 0)
        return -OHEM_NOMEM;
    slot->parcel.dataset = dataset;
    write_header(slot, delivery);
    write_vectors(slot, lease, dataset);
    if (uv_queue_work(l->loop, &slot->work, gather_cb, gathered_cb) != 0)
        return -OHEM_SYSTEM;
    atomic_store_explicit(&slot->refs, 1, memory_order_relaxed);
    slot->ticket = ++l->tickets;
    slot->gathered = false;
    l->waiting++;
    return 0;
}

void loader_ref(struct loader_parcel *parcel)
{
    struct slot *slot = (struct slot *)parcel;

    atomic_fetch_add_explicit(&slot->refs, 1, memory_order_relaxed);
}

void loader_unref(struct loader_parcel *parcel)
{
    struct slot *slot = (struct slot *)parcel;
    struct loader *l = slot->loader;

    if (atomic_fetch_sub_explicit(&slot->refs, 1, memory_order_acq_rel) == 1 && !l->closing)
        (void)uv_async_send(&l->returned);
}

void loader_close(struct loader *l)
{
    l->closing = true;
    uv_close((uv_handle_t *)&l->returned, NULL);
}

void loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    assert(l->waiting == 0);
    for (size_t i = 0; i < l->slot_count; i++) {
        free(l->slots[i].ids);
        free(l->slots[i].vectors);
        free(l->slots[i].payload);
    }
    free(l);
}
