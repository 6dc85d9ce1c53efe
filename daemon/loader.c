/* loader.c - parcels: filled by the loop, gathered by a thread, carried off by ZeroMQ; see
 * loader.h.
 *
 * A parcel is owned by the loop, then by one work request, then by the loop again, then by the
 * frames that lent its memory: `refs` counts those. Whoever drops the last reference, on whatever
 * thread, only wakes the loop, which takes the parcel back. A peer that does not read keeps its
 * parcels for as long as ZeroMQ holds their frames, so each peer may have only a few under way, and
 * of the memory that all of them may take each peer's first parcel is sure. Buffers are used again
 * and grow to the largest batch: in steady state nothing is allocated here.
 */
#include "loader.h"

#include "../proto/error.h"
#include "engine/map.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct slot {
    struct loader_parcel parcel; /* first: a parcel is its slot */
    struct loader *loader;
    uv_work_t work;
    atomic_int refs;
    bool gathered; /* records are there, not yet handed to ready_cb */
    uint32_t *ids; /* as the engine has them; the message's are 64 bits wide */
    unsigned char *vectors, *payload;
    size_t ids_capacity, vectors_capacity, payload_capacity; /* bytes */
    TAILQ_ENTRY(slot) entry;                                 /* in one of the loader's lists */
};

TAILQ_HEAD(slot_list, slot);

struct loader {
    uv_loop_t *loop;
    uv_async_t returned;
    bool closing;
    loader_ready_cb ready_cb;
    void *ctx;
    struct slot_list waiting; /* being gathered, or gathered early; in the order of their peers */
    struct slot_list lent;    /* handed to ready_cb; their frames may be on their way */
    struct slot_list spare;
    size_t waiting_count;
    struct map per_peer;              /* parcels waiting or lent, by peer */
    uint64_t busy_bytes, spare_bytes; /* payload memory of those; and of the spare ones */
};

/* ---- taking parcels and taking them back
 * --------------------------------------------------------*/

static size_t peer_count(const struct loader *l, uint64_t peer)
{
    return (size_t)(uintptr_t)map_get(&l->per_peer, peer);
}

static void set_peer_count(struct loader *l, uint64_t peer, size_t count)
{
    map_remove(&l->per_peer, peer);
    if (count > 0)
        map_put(&l->per_peer, peer, (void *)(uintptr_t)count);
}

static void free_slot(struct slot *slot)
{
    free(slot->ids);
    free(slot->vectors);
    free(slot->payload);
    free(slot);
}

static void take_back(struct loader *l, struct slot *slot)
{
    TAILQ_REMOVE(&l->lent, slot, entry);
    set_peer_count(l, slot->parcel.peer, peer_count(l, slot->parcel.peer) - 1);
    l->busy_bytes -= slot->payload_capacity;
    if (l->spare_bytes + slot->payload_capacity > LOADER_BYTES_MAX) {
        free_slot(slot);
        return;
    }
    l->spare_bytes += slot->payload_capacity;
    TAILQ_INSERT_HEAD(&l->spare, slot, entry); /* the warmest memory goes out first */
}

/* Some frames have left. Other handles of the loop look for room by themselves, after this. */
static void returned_cb(uv_async_t *async)
{
    struct loader *l = async->data;
    struct slot *slot, *next;

    for (slot = TAILQ_FIRST(&l->lent); slot != NULL; slot = next) {
        next = TAILQ_NEXT(slot, entry);
        if (atomic_load_explicit(&slot->refs, memory_order_acquire) == 0)
            take_back(l, slot);
    }
}

int loader_new(uv_loop_t *loop, loader_ready_cb ready_cb, void *ctx, struct loader **out)
{
    struct loader *l = calloc(1, sizeof *l);

    if (l == NULL || map_init(&l->per_peer, 0) != 0) {
        free(l);
        return -OHEM_NOMEM;
    }
    l->loop = loop;
    l->ready_cb = ready_cb;
    l->ctx = ctx;
    TAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->lent);
    TAILQ_INIT(&l->spare);
    if (uv_async_init(loop, &l->returned, returned_cb) != 0) {
        map_deinit(&l->per_peer);
        free(l);
        return -OHEM_SYSTEM;
    }
    l->returned.data = l;
    *out = l;
    return 0;
}

size_t loader_room(const struct loader *l)
{
    return LOADER_GATHERS_MAX - l->waiting_count;
}

bool loader_has_room_for(const struct loader *l, uint64_t peer)
{
    size_t count = peer_count(l, peer);

    return count == 0 || (count < LOADER_PER_PEER_MAX && l->busy_bytes < LOADER_BYTES_MAX);
}

/* Memory of at least so many bytes, with some to spare; the old contents are not kept. */
static int ensure(void *buffer, size_t *capacity, size_t size)
{
    void **memory = buffer;
    void *bigger;

    if (size <= *capacity)
        return 0;
    if (*capacity > 0)
        size += size / 8; /* records of many sizes: the next batch may be a little larger */
    bigger = malloc(size);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    free(*memory);
    *memory = bigger;
    *capacity = size;
    return 0;
}

static struct slot *take_slot(struct loader *l)
{
    struct slot *slot = TAILQ_FIRST(&l->spare);

    if (slot != NULL) {
        TAILQ_REMOVE(&l->spare, slot, entry);
        l->spare_bytes -= slot->payload_capacity;
        return slot;
    }
    slot = calloc(1, sizeof *slot);
    if (slot != NULL) {
        slot->loader = l;
        slot->work.data = slot;
    }
    return slot;
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

/* Must this parcel wait for an earlier one to the same peer? */
static bool is_early(const struct slot *slot)
{
    const struct slot *other = slot;

    while ((other = TAILQ_PREV(other, slot_list, entry)) != NULL)
        if (other->parcel.peer == slot->parcel.peer)
            return true;
    return false;
}

static struct slot *next_ready(struct loader *l)
{
    struct slot *slot;

    TAILQ_FOREACH (slot, &l->waiting, entry)
        if (slot->gathered && !is_early(slot))
            return slot;
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
        TAILQ_REMOVE(&l->waiting, slot, entry);
        TAILQ_INSERT_TAIL(&l->lent, slot, entry);
        l->waiting_count--;
        l->ready_cb(l->ctx, &slot->parcel);
    }
}

/* Everything that may fail, before anything is begun. */
static int prepare_slot(struct loader *l, struct slot *slot, uint64_t bytes, size_t k)
{
    int rc = map_reserve(&l->per_peer, l->per_peer.count + 1);

    if (rc == 0)
        rc = ensure(&slot->ids, &slot->ids_capacity, k * sizeof *slot->ids);
    if (rc == 0)
        rc = ensure(&slot->vectors, &slot->vectors_capacity, (2 * k + 1) * 8 + 2 * k * 4);
    if (rc == 0)
        rc = ensure(&slot->payload, &slot->payload_capacity, bytes > 0 ? bytes : 1);
    return rc;
}

int loader_gather(struct loader *l, const struct engine_delivery *delivery,
                  const struct dataset *dataset)
{
    const struct lease *lease = delivery->lease;
    struct slot *slot = take_slot(l);
    int rc;

    if (slot == NULL)
        return -OHEM_NOMEM;
    rc = prepare_slot(l, slot, payload_bytes(dataset, lease->ids, lease->count), lease->count);
    if (rc != 0) {
        free_slot(slot);
        return rc;
    }
    slot->parcel.dataset = dataset;
    slot->gathered = false;
    write_header(slot, delivery);
    write_vectors(slot, lease, dataset);
    atomic_store_explicit(&slot->refs, 1, memory_order_relaxed);
    /* fails for a missing callback only */
    (void)uv_queue_work(l->loop, &slot->work, gather_cb, gathered_cb);
    TAILQ_INSERT_TAIL(&l->waiting, slot, entry);
    l->waiting_count++;
    l->busy_bytes += slot->payload_capacity;
    set_peer_count(l, delivery->peer, peer_count(l, delivery->peer) + 1);
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

static void free_list(struct slot_list *list)
{
    struct slot *slot;

    while ((slot = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, slot, entry);
        free_slot(slot);
    }
}

void loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    assert(l->waiting_count == 0);
    free_list(&l->lent);
    free_list(&l->spare);
    map_deinit(&l->per_peer);
    free(l);
}
