/* pool.h - threads that do pieces of work for the loop: a push on the loop's thread, a run on one
 * of the pool's, and done_cb() back on the loop's.
 *
 * Pieces are in lanes (here: data sets). A lane may not hold all threads at once when there are
 * several lanes, nor may all those together whose pieces are known to be slow: a slow disk leaves a
 * thread to the others. libuv's own queue knows no lanes, so a few slow reads would block
 * everybody's.
 */
#ifndef OHEMD_POOL_H
#define OHEMD_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define POOL_LANES_MAX   64u
#define POOL_THREADS_MAX 64u

struct pool;

/* A piece of work; embedded in what it is about. */
struct pool_item {
    void (*run)(struct pool_item *item); /* on a thread of the pool */
    uint32_t lane;
    bool slow; /* it may have to wait for a disk */
    STAILQ_ENTRY(pool_item) entry;
};

/** On the loop's thread, once for each item, in the order in which they were done. */
typedef void (*pool_done_cb)(void *ctx, struct pool_item *item);

/** @return 0, or -OHEM_NOMEM, -OHEM_SYSTEM. */
int pool_new(uv_loop_t *loop, uint32_t threads, uint32_t lanes, pool_done_cb done_cb, void *ctx,
             struct pool **out);

/** Do it soon; items of one lane are begun in the order of their pushes. From the loop's thread. */
void pool_push(struct pool *p, struct pool_item *item);

/** End the threads, after the items that they are at; the others are never run, and done_cb() is
 * not called again. Then run the loop until it is empty, and pool_free(). */
void pool_close(struct pool *p);

/** NULL is allowed. */
void pool_free(struct pool *p);

#endif
