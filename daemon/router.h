/* router.h - the trainers' ZeroMQ socket: messages out and in. The only one to include zmq.h.
 *
 * A ROUTER. Knows what a message is and who its peer is; knows nothing of what it means. Nothing
 * here waits. Its descriptor is edge-triggered: after every send and receive look at
 * router_has_input() again.
 */
#ifndef OHEMD_ROUTER_H
#define OHEMD_ROUTER_H

#include "../proto/codec.h"
#include "config.h"

#include <sys/queue.h>

struct router;

/** A received message. Its frames are lent until router_done(). */
struct router_message {
    uint64_t peer;
    size_t total; /* frames that came; more than count when they were too many */
    size_t count;
    struct frame frames[MESSAGE_FRAMES_MAX];
};

/** A received message that stays. */
struct router_letter {
    struct router_message message;
    STAILQ_ENTRY(router_letter) entry; /* the owner's */
};

#define ROUTER_NO_UID UINT32_MAX

/** What came of router_receive(). */
enum router_receipt {
    ROUTER_NOTHING,
    ROUTER_MESSAGE,
    ROUTER_NAMELESS /* a message of a peer that chose its own address: anybody may use it */
};

/** The memory at `data` is lent to a frame no more. On a thread of ZeroMQ's. */
typedef void (*router_returned_cb)(void *data, void *ctx);

/** Bind. @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM with the reason */
int router_open(const struct config *config, struct router **out, struct reason *why);

/** Waits for what was sent, at most a second; then ZeroMQ's threads are gone. NULL is allowed. */
void router_close(struct router *r);

/** To be watched for readability, and then looked at with router_has_input() (which costs a system
 *  call if anything was sent since router_receive() found nothing). */
int router_descriptor(const struct router *r);
bool router_has_input(const struct router *r);

/** Receive a message, if one is there. After ROUTER_MESSAGE router_done() is due. */
enum router_receipt router_receive(struct router *r, struct router_message *out);
void router_done(struct router *r);

/** Keep the message at hand. @return NULL without memory: it still is at hand */
struct router_letter *router_keep(struct router *r, const struct router_message *m);
void router_letter_free(struct router_letter *letter);

/** Let go of a frame's memory before the others'. On any thread. */
void router_letter_drop(struct router_letter *letter, size_t frame);

/** The uid of the process that sent the message at hand; ROUTER_NO_UID over tcp. A system call. */
uint32_t router_peer_uid(const struct router *r);

/**
 * Send a message; copied.
 * @return 0, or -OHEM_UNREACHABLE: the peer is gone, or does not read
 */
int router_send(struct router *r, uint64_t peer, const struct message *m);

/** Frames of a message to be, copied on whatever thread has the time for it. @return NULL without
 *  memory */
struct router_vectors *router_prepare(const struct frame *list, size_t count);
void router_vectors_free(struct router_vectors *v);

/** router_send() of a message whose first vectors were prepared; they are freed.
 *  @param v  NULL: none was */
int router_send_prepared(struct router *r, uint64_t peer, const struct message *m,
                         struct router_vectors *v);

/**
 * Send a message whose last frame stays where it is until returned_cb() is called: exactly once,
 * also when this fails, and then perhaps before it returns.
 */
int router_send_lent(struct router *r, uint64_t peer, const struct message *m,
                     router_returned_cb returned_cb, void *ctx);

/** ZeroMQ's version, as it says itself. */
const char *router_library_version(void);

#endif
