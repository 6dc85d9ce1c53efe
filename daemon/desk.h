/* desk.h - ragged reports are worked through here, off the loop's thread.
 *
 * One report of a peer at a time; what the peer says meanwhile waits, so that nothing overtakes it.
 * Other peers' messages do not wait. All calls are on the loop's thread.
 */
#ifndef OHEMD_DESK_H
#define OHEMD_DESK_H

#include "engine/ragged.h"
#include "router.h"

#include <uv.h>

#define DESK_ITEMS_MIN 8192                  /* a report of fewer, without boxes, is not worth it */
#define DESK_BYTES_MAX (UINT64_C(256) << 20) /* of messages here, about: then none is received */

struct desk;

/* A report on the desk. */
struct desk_work {
    struct ragged ragged;   /* its memory is used again */
    struct message message; /* the LOSS; lends from the letter. When it is done without its items */
    struct router_letter *letter;
    /* What is selected, as frames: indices and weights. NULL: there was no memory, or it is sent */
    struct router_vectors *vectors;
};

/** It is worked through; or nobody wants it any more, when the desk is closing. Then what waited
 * for it comes by desk_next_cb, one after the other: the receiver owns it. */
typedef void (*desk_done_cb)(void *ctx, struct desk_work *w);
typedef void (*desk_next_cb)(void *ctx, struct router_letter *letter);

/** @return NULL without memory */
struct desk *desk_new(uv_loop_t *loop, desk_done_cb done_cb, desk_next_cb next_cb, void *ctx);

/** Is it worth the way? */
bool desk_wants(const struct message *m);

/** Is there a report of this peer? Then its next message is to wait: the letter is taken over. */
bool desk_is_busy(const struct desk *d, uint64_t peer);
void desk_hold(struct desk *d, struct router_letter *letter);

/** No more is to be received until something is done. */
bool desk_is_full(const struct desk *d);

/** Room for a report. Then desk_start(), or desk_put_back(). @return NULL without memory */
struct desk_work *desk_take(struct desk *d);
void desk_put_back(struct desk *d, struct desk_work *w);

/** Its ragged is ready for ragged_work(), its message and its letter are set. */
void desk_start(struct desk *d, struct desk_work *w);

/** Nothing is called back any more; run the loop until it is empty, then desk_free(). NULL is
 *  allowed in both. */
void desk_close(struct desk *d);
void desk_free(struct desk *d);

#endif
