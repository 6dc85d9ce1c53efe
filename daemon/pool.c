/* pool.c - a queue for each lane, and threads that take from them in turn; see pool.h. */
#include "pool.h"

#include "../proto/error.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

STAILQ_HEAD(item_list, pool_item);

struct lane {
    struct item_list queue;
    uint32_t running; /* threads that are at one of its items */
};

struct pool {
    pthread_mutex_t lock; /* of all that follows, up to the mark */
    pthread_cond_t work;
    struct lane lanes[POOL_LANES_MAX];
    uint32_t next_lane;    /* where the next thread begins to look */
    uint32_t slow_running; /* threads that are at a slow item */
    uint32_t idle;         /* threads that sleep */
    struct item_list done;
    bool closing;
    /* not changed while the threads run */
    uint32_t lane_count, running_max; /* threads for one lane, and for all slow items */
    pthread_t threads[POOL_THREADS_MAX];
    uint32_t thread_count;
    uv_async_t async;
    pool_done_cb done_cb;
    void *ctx;
};

/* The next item that may be begun, from the lanes in turn; NULL: none. Locked. */
static struct pool_item *take_item(struct pool *p)
{
    for (uint32_t i = 0; i < p->lane_count; i++) {
        struct lane *lane = &p->lanes[(p->next_lane + i) % p->lane_count];
        struct pool_item *item = STAILQ_FIRST(&lane->queue);

        if (item == NULL || lane->running >= p->running_max ||
            (item->slow && p->slow_running >= p->running_max))
            continue;
        STAILQ_REMOVE_HEAD(&lane->queue, entry);
        lane->running++;
        p->slow_running += item->slow;
        p->next_lane = (p->next_lane + i + 1) % p->lane_count;
        return item;
    }
    return NULL;
}

/* Locked. @return whether the loop has to be woken */
static bool put_done(struct pool *p, struct pool_item *item)
{
    bool first = STAILQ_EMPTY(&p->done);

    p->lanes[item->lane].running--;
    p->slow_running -= item->slow;
    STAILQ_INSERT_TAIL(&p->done, item, entry);
    return first;
}

static void *thread_main(void *arg)
{
    struct pool *p = arg;

    (void)pthread_mutex_lock(&p->lock);
    while (!p->closing) {
        struct pool_item *item = take_item(p);

        if (item == NULL) {
            p->idle++;
            (void)pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
            continue;
        }
        (void)pthread_mutex_unlock(&p->lock);
        item->run(item);
        (void)pthread_mutex_lock(&p->lock);
        if (put_done(p, item))
            (void)uv_async_send(&p->async);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void async_cb(uv_async_t *async)
{
    struct pool *p = async->data;
    struct item_list done = STAILQ_HEAD_INITIALIZER(done);
    struct pool_item *item;

    (void)pthread_mutex_lock(&p->lock);
    STAILQ_CONCAT(&done, &p->done);
    (void)pthread_mutex_unlock(&p->lock);
    while ((item = STAILQ_FIRST(&done)) != NULL) {
        STAILQ_REMOVE_HEAD(&done, entry);
        p->done_cb(p->ctx, item);
    }
}

/* Signals are the loop's: its thread has to be woken by them. */
static int start_threads(struct pool *p, uint32_t threads)
{
    sigset_t all, before;
    int rc = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == 0 && p->thread_count < threads) {
        rc = pthread_create(&p->threads[p->thread_count], NULL, thread_main, p);
        p->thread_count += rc == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0 : -OHEM_SYSTEM;
}

static void stop_threads(struct pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->closing = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->thread_count; i++)
        (void)pthread_join(p->threads[i], NULL);
    p->thread_count = 0;
}

/* Nobody will free a pool that was never there. */
static void failed_cb(uv_handle_t *async)
{
    pool_free(async->data);
}

static void init(struct pool *p, uint32_t threads, uint32_t lanes)
{
    p->lane_count = lanes;
    p->running_max = lanes > 1 && threads > 1 ? threads - 1 : threads;
    for (uint32_t i = 0; i < lanes; i++)
        STAILQ_INIT(&p->lanes[i].queue);
    STAILQ_INIT(&p->done);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
}

int pool_new(uv_loop_t *loop, uint32_t threads, uint32_t lanes, pool_done_cb done_cb, void *ctx,
             struct pool **out)
{
    struct pool *p = calloc(1, sizeof *p);

    assert(threads >= 1 && threads <= POOL_THREADS_MAX && lanes >= 1 && lanes <= POOL_LANES_MAX);
    if (p == NULL)
        return -OHEM_NOMEM;
    init(p, threads, lanes);
    p->done_cb = done_cb;
    p->ctx = ctx;
    p->async.data = p;
    if (uv_async_init(loop, &p->async, async_cb) != 0) {
        pool_free(p);
        return -OHEM_SYSTEM;
    }
    if (start_threads(p, threads) != 0) {
        stop_threads(p);
        uv_close((uv_handle_t *)&p->async, failed_cb);
        return -OHEM_SYSTEM;
    }
    *out = p;
    return 0;
}

void pool_push(struct pool *p, struct pool_item *item)
{
    bool wake;

    (void)pthread_mutex_lock(&p->lock);
    STAILQ_INSERT_TAIL(&p->lanes[item->lane].queue, item, entry);
    wake = p->idle > 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (wake) /* without the lock, or the woken thread would wait for it at once */
        (void)pthread_cond_signal(&p->work);
}

void pool_close(struct pool *p)
{
    stop_threads(p);
    uv_close((uv_handle_t *)&p->async, NULL);
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}
