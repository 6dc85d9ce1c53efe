/* desk.c - reports under way by peer, libuv's threads work; see desk.h. */
#include "desk.h"

#include "../proto/items.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/queue.h>

#define SPARE_MAX 4 /* whose memory is kept */

STAILQ_HEAD(letter_list, router_letter);

struct work {
    struct desk_work public; /* first: they are one */
    struct desk *desk;
    struct letter_list waiting; /* of the same peer */
    uint64_t bytes;             /* of the letter */
    uv_work_t request;
    LIST_ENTRY(work) entry; /* under way, or spare */
};

LIST_HEAD(work_list, work);

struct desk {
    uv_loop_t *loop;
    desk_done_cb done_cb;
    desk_next_cb next_cb;
    void *ctx;
    struct work_list busy, spare;
    size_t spare_count;
    uint64_t bytes; /* of letters that wait or are worked through */
    bool closing;
};

struct desk *desk_new(uv_loop_t *loop, desk_done_cb done_cb, desk_next_cb next_cb, void *ctx)
{
    struct desk *d = calloc(1, sizeof *d);

    if (d == NULL)
        return NULL;
    d->loop = loop;
    d->done_cb = done_cb;
    d->next_cb = next_cb;
    d->ctx = ctx;
    return d;
}

bool desk_wants(const struct message *m)
{
    return m->type == MESSAGE_LOSS && items_are_ragged(&m->loss.items) &&
           (m->loss.losses.count >= DESK_ITEMS_MIN || m->loss.items.boxes.count > 0);
}

/* ---- letters -----------------------------------------------------------------------------------
 */

static uint64_t bytes_of(const struct router_letter *letter)
{
    uint64_t bytes = sizeof *letter;

    for (size_t i = 0; i < letter->message.count; i++)
        bytes += letter->message.frames[i].size;
    return bytes;
}

/* Few peers send ragged reports at once. */
static struct work *find(const struct desk *d, uint64_t peer)
{
    struct work *w;

    LIST_FOREACH(w, &d->busy, entry)
    if (w->public.letter->message.peer == peer)
        return w;
    return NULL;
}

bool desk_is_busy(const struct desk *d, uint64_t peer)
{
    return find(d, peer) != NULL;
}

void desk_hold(struct desk *d, struct router_letter *letter)
{
    struct work *w = find(d, letter->message.peer);

    assert(w != NULL);
    d->bytes += bytes_of(letter);
    STAILQ_INSERT_TAIL(&w->waiting, letter, entry);
}

bool desk_is_full(const struct desk *d)
{
    return d->bytes >= DESK_BYTES_MAX;
}

/* ---- room --------------------------------------------------------------------------------------
 */

static void free_work(struct work *w)
{
    ragged_deinit(&w->public.ragged);
    free(w);
}

struct desk_work *desk_take(struct desk *d)
{
    struct work *w = LIST_FIRST(&d->spare);

    if (w != NULL) {
        LIST_REMOVE(w, entry);
        d->spare_count--;
        return &w->public;
    }
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->desk = d;
    STAILQ_INIT(&w->waiting);
    ragged_init(&w->public.ragged);
    return &w->public;
}

void desk_put_back(struct desk *d, struct desk_work *public)
{
    struct work *w = (struct work *)public;

    if (d->spare_count == SPARE_MAX) {
        free_work(w);
        return;
    }
    d->spare_count++;
    LIST_INSERT_HEAD(&d->spare, w, entry);
}

/* ---- work --------------------------------------------------------------------------------------
 */

/* To give back megabytes takes time, too. */
static void drop_items(struct desk_work *w)
{
    struct message_loss *loss = &w->message.loss;

    for (size_t i = 0; i < w->letter->message.count; i++) {
        const void *data = w->letter->message.frames[i].data;

        if (data == loss->losses.data || data == loss->flags.data ||
            data == loss->items.boxes.data || data == loss->items.classes.data)
            router_letter_drop(w->letter, i);
    }
    loss->losses = loss->flags = loss->items.boxes = loss->items.classes = (struct vector){0};
}

static void prepare_answer(struct desk_work *w)
{
    const struct selection *s = &w->ragged.selection;
    struct frame indices = {s->indices, s->count * sizeof *s->indices};

    w->vectors = router_prepare(&indices, 1); /* the weights are all 1: not said */
}

/* A thread that is woken to work must not push aside the loop that woke it: for this thread, and
 * whatever else libuv has it do, which is work of the same kind. */
static void stand_back(void)
{
    struct sched_param none = {0};

    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

static void work_cb(uv_work_t *request)
{
    struct work *w = request->data;

    stand_back();
    ragged_work(&w->public.ragged, &w->public.message.loss);
    drop_items(&w->public);
    prepare_answer(&w->public);
}

static void let_go(struct desk *d, struct router_letter *letter)
{
    if (d->closing)
        router_letter_free(letter);
    else
        d->next_cb(d->ctx, letter);
}

/* What waited may bring the peer's next report: then the rest waits for that. */
static void worked_cb(uv_work_t *request, int status)
{
    struct work *w = request->data;
    struct desk *d = w->desk;
    struct letter_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
    struct router_letter *letter;

    (void)status; /* never cancelled */
    LIST_REMOVE(w, entry);
    d->bytes -= w->bytes;
    if (!d->closing)
        d->done_cb(d->ctx, &w->public);
    router_vectors_free(w->public.vectors);
    w->public.vectors = NULL;
    router_letter_free(w->public.letter);
    STAILQ_CONCAT(&waiting, &w->waiting);
    desk_put_back(d, &w->public);
    while ((letter = STAILQ_FIRST(&waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&waiting, entry);
        d->bytes -= bytes_of(letter);
        let_go(d, letter);
    }
}

void desk_start(struct desk *d, struct desk_work *public)
{
    struct work *w = (struct work *)public;

    w->bytes = bytes_of(public->letter);
    d->bytes += w->bytes;
    w->request.data = w;
    LIST_INSERT_HEAD(&d->busy, w, entry);
    (void)uv_queue_work(d->loop, &w->request, work_cb,
                        worked_cb); /* fails without a callback only */
}

/* ---- ending ------------------------------------------------------------------------------------
 */

void desk_close(struct desk *d)
{
    if (d != NULL)
        d->closing = true;
}

void desk_free(struct desk *d)
{
    struct work *w;

    if (d == NULL)
        return;
    while ((w = LIST_FIRST(&d->spare)) != NULL) {
        LIST_REMOVE(w, entry);
        free_work(w);
    }
    free(d);
}
