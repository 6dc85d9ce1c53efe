/* loader.c - parcels: filled by the loop, gathered by threads, carried off by ZeroMQ; see loader.h.
 *
 * The loop holds one reference on a parcel until all of it is sent. Whoever drops the last one, on
 * whatever thread, does no more, but wakes the loop if it waits for room: else the loop takes the
 * parcel back when it looks for one. A peer that does not read
 * keeps its parcels for as long as ZeroMQ holds their frames, so each peer may have only a few
 * under way, and of the memory that all of them may take each peer's first parcel is sure.
 */
#include "loader.h"

#include "../proto/error.h"
#include "engine/map.h"
#include "parcel.h"

#include <assert.h>
#include <stdlib.h>

struct loader {
    uv_async_t returned;
    struct pool *pool;
    atomic_bool wanting; /* there was no room: wake the loop when a parcel has left */
    bool closing;
    loader_send_cb send_cb;
    void *ctx;
    struct parcel_list waiting; /* being gathered, or gathered early; in the order of their peers */
    struct parcel_list lent;    /* sent; their frames may be on their way */
    struct parcel_list spare;
    size_t waiting_count;
    struct map per_peer;              /* parcels waiting or lent, by peer */
    uint64_t busy_bytes, spare_bytes; /* payload memory of those; and of the spare ones */
};

/* ---- taking parcels and taking them back -------------------------------------------------------
 */

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

static struct parcel *take_parcel(struct loader *l)
{
    struct parcel *p = TAILQ_FIRST(&l->spare);

    if (p == NULL)
        return parcel_new(l);
    TAILQ_REMOVE(&l->spare, p, entry);
    l->spare_bytes -= p->payload_capacity;
    return p;
}

static void keep_spare(struct loader *l, struct parcel *p)
{
    if (l->spare_bytes + p->payload_capacity > LOADER_BYTES_MAX) {
        parcel_free(p);
        return;
    }
    l->spare_bytes += p->payload_capacity;
    TAILQ_INSERT_HEAD(&l->spare, p, entry); /* the warmest memory goes out first */
}

static void take_back(struct loader *l, struct parcel *p)
{
    TAILQ_REMOVE(&l->lent, p, entry);
    set_peer_count(l, p->public.peer, peer_count(l, p->public.peer) - 1);
    l->busy_bytes -= p->payload_capacity;
    keep_spare(l, p);
}

static void take_back_all(struct loader *l)
{
    struct parcel *p, *next;

    for (p = TAILQ_FIRST(&l->lent); p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        if (atomic_load(&p->refs) == 0)
            take_back(l, p);
    }
}

/* Some frames have left. Other handles of the loop look for room by themselves, after this. */
static void returned_cb(uv_async_t *async)
{
    take_back_all(async->data);
}

size_t loader_room(const struct loader *l)
{
    return LOADER_GATHERS_MAX - l->waiting_count;
}

static bool has_room(struct loader *l, uint64_t peer)
{
    size_t count;

    take_back_all(l);
    count = peer_count(l, peer);
    return count == 0 || (count < LOADER_PER_PEER_MAX && l->busy_bytes < LOADER_BYTES_MAX);
}

/* What leaves between a look that says no and the wish to be woken shows at the second look. */
bool loader_has_room_for(struct loader *l, uint64_t peer)
{
    if (has_room(l, peer))
        return true;
    atomic_store(&l->wanting, true);
    return has_room(l, peer);
}

void loader_ref(struct loader_parcel *parcel)
{
    struct parcel *p = (struct parcel *)parcel;

    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

void loader_unref(struct loader_parcel *parcel)
{
    struct parcel *p = (struct parcel *)parcel;
    struct loader *l = p->loader;

    if (atomic_fetch_sub(&p->refs, 1) == 1 && !l->closing && atomic_exchange(&l->wanting, false))
        (void)uv_async_send(&l->returned);
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/* Must this parcel wait for an earlier one to the same peer? */
static bool is_early(const struct parcel *p)
{
    const struct parcel *other = p;

    while ((other = TAILQ_PREV(other, parcel_list, entry)) != NULL)
        if (other->public.peer == p->public.peer)
            return true;
    return false;
}

static void send_batch(struct loader *l, struct parcel *p)
{
    p->announced = true;
    l->send_cb(l->ctx, &p->public, &p->public.batch);
}

static void send_parts(struct loader *l, struct parcel *p)
{
    for (uint32_t i = 0; i < p->piece_count; i++) {
        struct piece *piece = &p->pieces[i];
        struct message part;

        if (!piece->gathered || piece->sent)
            continue;
        piece->sent = true;
        part = parcel_part(p, piece);
        if (!p->public.dropped)
            l->send_cb(l->ctx, &p->public, &part);
    }
}

/* Send what of a parcel is there. @return whether that was the last of it */
static bool send_ready(struct loader *l, struct parcel *p)
{
    bool in_parts = p->public.batch.batch.parts > 0;

    if (!p->announced && (p->left == 0 || (in_parts && p->left < p->piece_count)))
        send_batch(l, p);
    if (p->announced && in_parts)
        send_parts(l, p);
    return p->left == 0;
}

/* It is sent: the loop's hold on it ends. One that lent nothing is free at once. */
static void finish(struct loader *l, struct parcel *p)
{
    TAILQ_REMOVE(&l->waiting, p, entry);
    TAILQ_INSERT_TAIL(&l->lent, p, entry);
    l->waiting_count--;
    parcel_leave(p);
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        take_back(l, p);
}

/* Gathers end in any order; a session gets its batches in the order of their steps. */
static void send_all_ready(struct loader *l)
{
    struct parcel *p = TAILQ_FIRST(&l->waiting), *next;

    for (; p != NULL; p = next) {
        next = TAILQ_NEXT(p, entry);
        if (!is_early(p) && send_ready(l, p))
            finish(l, p); /* the peer's next parcel stands behind it: this loop comes there */
    }
}

/* pool_done_cb */
static void gathered_cb(void *ctx, struct pool_item *item)
{
    struct loader *l = ctx;
    struct piece *piece = (struct piece *)item;

    piece->gathered = true;
    piece->parcel->left--;
    piece->parcel->public.gather_ns += piece->gather_ns;
    send_all_ready(l);
}

/* ---- gathering ---------------------------------------------------------------------------------
 */

int loader_gather(struct loader *l, const struct loader_order *order)
{
    struct parcel *p = take_parcel(l);
    int rc = p != NULL ? map_reserve(&l->per_peer, l->per_peer.count + 1) : -OHEM_NOMEM;

    if (rc == 0)
        rc = parcel_fill(p, order);
    if (rc != 0) {
        parcel_free(p);
        return rc;
    }
    atomic_store_explicit(&p->refs, 1, memory_order_relaxed);
    TAILQ_INSERT_TAIL(&l->waiting, p, entry);
    l->waiting_count++;
    l->busy_bytes += p->payload_capacity;
    set_peer_count(l, p->public.peer, peer_count(l, p->public.peer) + 1);
    for (uint32_t i = 0; i < p->piece_count; i++)
        pool_push(l->pool, &p->pieces[i].item);
    if (p->piece_count == 0)
        send_all_ready(l);
    return 0;
}

/* ---- making and ending -------------------------------------------------------------------------
 */

int loader_new(uv_loop_t *loop, uint32_t threads, uint32_t lanes, loader_send_cb send_cb, void *ctx,
               struct loader **out)
{
    struct loader *l = calloc(1, sizeof *l);
    int rc;

    if (l == NULL || map_init(&l->per_peer, 0) != 0) {
        free(l);
        return -OHEM_NOMEM;
    }
    l->send_cb = send_cb;
    l->ctx = ctx;
    l->returned.data = l;
    TAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->lent);
    TAILQ_INIT(&l->spare);
    rc = pool_new(loop, threads, lanes, gathered_cb, l, &l->pool);
    if (rc != 0)
        goto err_after_map;
    rc = uv_async_init(loop, &l->returned, returned_cb) == 0 ? 0 : -OHEM_SYSTEM;
    if (rc != 0)
        goto err_after_pool;
    *out = l;
    return 0;

err_after_pool:
    pool_close(l->pool); /* its handle is closed when the loop runs: it stays until then */
err_after_map:
    map_deinit(&l->per_peer);
    free(l);
    return rc;
}

void loader_close(struct loader *l)
{
    struct parcel *p;

    l->closing = true;
    pool_close(l->pool);
    TAILQ_FOREACH (p, &l->waiting, entry)
        parcel_leave(p); /* while the loop can still end rings */
    uv_close((uv_handle_t *)&l->returned, NULL);
}

static void free_list(struct parcel_list *list)
{
    struct parcel *p;

    while ((p = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, p, entry);
        parcel_free(p);
    }
}

void loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    free_list(&l->waiting);
    free_list(&l->lent);
    free_list(&l->spare);
    pool_free(l->pool);
    map_deinit(&l->per_peer);
    free(l);
}
