/* link.h - the client's socket: messages out and in. Knows nothing of what they mean.
 *
 * A DEALER. Nothing here waits but link_wait(); a signal that interrupts ZeroMQ is no answer.
 */
#ifndef OHEM_LINK_H
#define OHEM_LINK_H

#include "../proto/codec.h"
#include "kept.h"

#include <stdbool.h>
#include <zmq.h>

struct link {
    void *context, *socket;
    struct codec *codec;
    zmq_msg_t parts[MESSAGE_FRAMES_MAX]; /* of the message received last */
    size_t count;
    int descriptor;         /* of the socket, to wait at */
    void *monitor;          /* tells when the socket connects; NULL: it cannot be told */
    int monitor_descriptor; /* likewise; -1 */
    bool monitor_is_due;    /* it has something to tell */
    uint64_t connects;      /* that it told; the first is no coming back */
};

/** @return 0, or -OHEM_NOMEM, -OHEM_SYSTEM, -OHEM_INVALID (the endpoint) with the reason. After a
 *  failure link_close() is still due. */
int link_open(struct link *l, const char *endpoint, struct reason *why);

/** Close. What was sent has a second to leave, or with `discard` none. */
void link_close(struct link *l, bool discard);

/** Send; copied. Never fails for long queues: what a client sends is bounded by its credit. */
void link_send(struct link *l, const struct message *m);

/** A LOSS of these items: what lends from them is not copied. */
void link_send_items(struct link *l, const struct message *m, struct kept_items *items);

/**
 * Receive a message, if one is there.
 * @param out  its vectors are lent until the next call
 * @return 1, or 0 when none is there, or as codec_decode()
 */
int link_receive(struct link *l, struct message *out, struct reason *why);

/** The frame that the payload of a received BATCH, or PART, lies in; may be moved away. */
zmq_msg_t *link_payload(struct link *l);
zmq_msg_t *link_part_payload(struct link *l);

/** Did the socket connect again since this was last asked? Looks only at what link_wait() saw. */
bool link_came_back(struct link *l);

/** Wait until something can be received, or for so long. Only when link_receive() has just said
 * that nothing is there, and nothing was sent since: the socket tells of changes only. */
void link_wait(struct link *l, long ms);

#endif
