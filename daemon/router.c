/* router.c - the trainers' ZeroMQ socket; see router.h. */
#include "router.h"

#include "../proto/error.h"
#include "unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#define SEND_HWM     1024 /* messages that a slow peer may have waiting */
#define LINGER_MS    1000
#define HEARTBEAT_MS 10000
#define PEER_BYTES   5 /* a routing id made by the ROUTER: a zero, then a number */

struct router {
    void *context, *socket;
    struct unix_socket file;                 /* of an ipc endpoint; fd -1 otherwise */
    zmq_msg_t parts[1 + MESSAGE_FRAMES_MAX]; /* of the message at hand, the address first */
    size_t part_count;
    bool looked; /* nothing was sent since a receive found nothing: what comes now shows */
};

const char *router_library_version(void)
{
    static char text[32];
    int major, minor, patch;

    zmq_version(&major, &minor, &patch);
    (void)snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/* Send a part by copy. A signal may interrupt ZeroMQ's own housekeeping: that is no answer. */
static int send_part(struct router *r, const void *data, size_t size, int flags)
{
    int rc;

    r->looked = false;
    do
        rc = zmq_send(r->socket, data, size, flags | ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    return rc < 0 ? -OHEM_UNREACHABLE : 0;
}

/* The first part decides: EHOSTUNREACH, the peer is gone; EAGAIN, it does not read. */
static int send_address(struct router *r, uint64_t peer)
{
    unsigned char id[PEER_BYTES];

    for (int i = 0; i < PEER_BYTES; i++)
        id[i] = (unsigned char)(peer >> 8 * i);
    return send_part(r, id, sizeof id, ZMQ_SNDMORE);
}

int router_send(struct router *r, uint64_t peer, const struct message *m)
{
    return router_send_prepared(r, peer, m, NULL);
}

/* ---- prepared frames ---- */

struct router_vectors {
    size_t count;
    zmq_msg_t parts[MESSAGE_FRAMES_MAX];
};

void router_vectors_free(struct router_vectors *v)
{
    if (v == NULL)
        return;
    while (v->count > 0)
        (void)zmq_msg_close(&v->parts[--v->count]);
    free(v);
}

struct router_vectors *router_prepare(const struct frame *list, size_t count)
{
    struct router_vectors *v = malloc(sizeof *v);

    if (v == NULL)
        return NULL;
    for (v->count = 0; v->count < count; v->count++) {
        zmq_msg_t *part = &v->parts[v->count];

        if (zmq_msg_init_size(part, list[v->count].size) != 0) {
            router_vectors_free(v);
            return NULL;
        }
        if (list[v->count].size > 0)
            memcpy(zmq_msg_data(part), list[v->count].data, list[v->count].size);
    }
    return v;
}

/* Once a message is begun it must end, and its parts are taken: only a signal can come between. */
static void send_prepared_part(struct router *r, zmq_msg_t *part, int flags)
{
    int rc;

    do
        rc = zmq_msg_send(part, r->socket, flags | ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
}

int router_send_prepared(struct router *r, uint64_t peer, const struct message *m,
                         struct router_vectors *v)
{
    struct frames f;
    int rc = send_address(r, peer);

    if (rc == 0) {
        codec_encode(m, &f);
        for (size_t i = 0; i < f.count; i++) {
            int flags = i + 1 < f.count ? ZMQ_SNDMORE : 0;

            if (v != NULL && i >= 1 && i <= v->count)
                send_prepared_part(r, &v->parts[i - 1], flags);
            else
                (void)send_part(r, f.list[i].data, f.list[i].size, flags);
        }
    }
    router_vectors_free(v);
    return rc;
}

int router_send_lent(struct router *r, uint64_t peer, const struct message *m,
                     router_returned_cb returned_cb, void *ctx)
{
    struct frames f;
    struct frame lent;
    zmq_msg_t part;
    int rc;

    codec_encode(m, &f);
    lent = f.list[f.count - 1];
    /* before the first part goes out: a message that was begun must end */
    if (zmq_msg_init_data(&part, (void *)(uintptr_t)lent.data, lent.size, returned_cb, ctx) != 0) {
        returned_cb((void *)(uintptr_t)lent.data, ctx);
        return -OHEM_NOMEM;
    }
    if (send_address(r, peer) != 0) {
        (void)zmq_msg_close(&part);
        return -OHEM_UNREACHABLE;
    }
    for (size_t i = 0; i + 1 < f.count; i++)
        (void)send_part(r, f.list[i].data, f.list[i].size, ZMQ_SNDMORE);
    do
        rc = zmq_msg_send(&part, r->socket, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(&part);
    return 0;
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

/* @return false when nothing is there; a message comes whole or not at all. */
static bool receive_part(struct router *r, zmq_msg_t *part)
{
    int rc;

    (void)zmq_msg_init(part);
    do
        rc = zmq_msg_recv(part, r->socket, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(part);
    return rc >= 0;
}

/* Receive all parts of a message, and keep as many as it may have. @return how many came. */
static size_t receive_parts(struct router *r)
{
    size_t total = 0;
    zmq_msg_t surplus;
    bool more = true;

    while (more) {
        bool kept = r->part_count < sizeof r->parts / sizeof r->parts[0];
        zmq_msg_t *part = kept ? &r->parts[r->part_count] : &surplus;

        if (!receive_part(r, part))
            return total;
        more = zmq_msg_more(part);
        total++;
        if (kept)
            r->part_count++;
        else
            (void)zmq_msg_close(part);
    }
    return total;
}

/* The peer's address as a number. @return false if the peer chose it: then anybody may use it. */
static bool read_address(zmq_msg_t *part, uint64_t *out_peer)
{
    const unsigned char *id = zmq_msg_data(part);

    if (zmq_msg_size(part) != PEER_BYTES || id[0] != 0)
        return false;
    *out_peer = 0;
    for (int i = 0; i < PEER_BYTES; i++)
        *out_peer |= (uint64_t)id[i] << 8 * i;
    return true;
}

enum router_receipt router_receive(struct router *r, struct router_message *out)
{
    size_t total = receive_parts(r);

    r->looked = total == 0;
    if (total == 0)
        return ROUTER_NOTHING;
    if (!read_address(&r->parts[0], &out->peer)) {
        router_done(r);
        return ROUTER_NAMELESS;
    }
    out->total = total - 1;
    out->count = r->part_count - 1;
    for (size_t i = 0; i < out->count; i++) {
        zmq_msg_t *part = &r->parts[1 + i];

        out->frames[i] = (struct frame){zmq_msg_data(part), zmq_msg_size(part)};
    }
    return ROUTER_MESSAGE;
}

void router_done(struct router *r)
{
    while (r->part_count > 0)
        (void)zmq_msg_close(&r->parts[--r->part_count]);
}

struct kept_letter {
    struct router_letter public; /* first: they are one */
    zmq_msg_t parts[MESSAGE_FRAMES_MAX];
};

/* A small part lies in the zmq_msg_t itself: its frame has moved. */
struct router_letter *router_keep(struct router *r, const struct router_message *m)
{
    struct kept_letter *letter = malloc(sizeof *letter);

    if (letter == NULL)
        return NULL;
    letter->public.message = *m;
    for (size_t i = 0; i < m->count; i++) {
        zmq_msg_t *part = &letter->parts[i];

        (void)zmq_msg_init(part);
        (void)zmq_msg_move(part, &r->parts[1 + i]);
        letter->public.message.frames[i] = (struct frame){zmq_msg_data(part), zmq_msg_size(part)};
    }
    return &letter->public;
}

void router_letter_drop(struct router_letter *public, size_t frame)
{
    struct kept_letter *letter = (struct kept_letter *)public;

    (void)zmq_msg_close(&letter->parts[frame]);
    (void)zmq_msg_init(&letter->parts[frame]);
    public->message.frames[frame] = (struct frame){"", 0};
}

void router_letter_free(struct router_letter *public)
{
    struct kept_letter *letter = (struct kept_letter *)public;

    for (size_t i = 0; i < public->message.count; i++)
        (void)zmq_msg_close(&letter->parts[i]);
    free(letter);
}

uint32_t router_peer_uid(const struct router *r)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof peer;
    int fd = zmq_msg_get(&r->parts[r->part_count - 1], ZMQ_SRCFD);

    /* pid 0: the descriptor is no Unix socket (any more) */
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0)
        return ROUTER_NO_UID;
    return peer.uid;
}

int router_descriptor(const struct router *r)
{
    size_t size = sizeof(int);
    int fd = -1;

    (void)zmq_getsockopt(r->socket, ZMQ_FD, &fd, &size);
    return fd;
}

bool router_has_input(const struct router *r)
{
    int events = 0;
    size_t size = sizeof events;

    if (r->looked)
        return false;
    (void)zmq_getsockopt(r->socket, ZMQ_EVENTS, &events, &size);
    return events & ZMQ_POLLIN;
}

/* ---- making and ending -------------------------------------------------------------------------
 */

static int set_option(struct router *r, int option, int value)
{
    return zmq_setsockopt(r->socket, option, &value, sizeof value);
}

static int open_socket(struct router *r, struct reason *why)
{
    int64_t message_bytes_max = MESSAGE_TRANSPORT_BYTES_MAX;

    r->context = zmq_ctx_new();
    r->socket = r->context != NULL ? zmq_socket(r->context, ZMQ_ROUTER) : NULL;
    if (r->socket != NULL && set_option(r, ZMQ_ROUTER_MANDATORY, 1) == 0 &&
        set_option(r, ZMQ_SNDHWM, SEND_HWM) == 0 && set_option(r, ZMQ_LINGER, LINGER_MS) == 0 &&
        set_option(r, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) == 0 && set_option(r, ZMQ_IPV6, 1) == 0 &&
        zmq_setsockopt(r->socket, ZMQ_MAXMSGSIZE, &message_bytes_max, sizeof message_bytes_max) ==
            0)
        return 0;
    reason_set(why, "cannot make the trainers' socket: %s", zmq_strerror(zmq_errno()));
    return -OHEM_SYSTEM;
}

/* An ipc endpoint's socket is made by us: with its mode from the start, and never another daemon's.
 */
static int bind_endpoint(struct router *r, const struct config *config, struct reason *why)
{
    const char *endpoint = config->listen;
    int rc;

    if (strncmp(endpoint, "ipc://", 6) == 0 && endpoint[6] != '@') {
        rc = unix_socket_open(endpoint + 6, config->socket_mode, &r->file, why);
        if (rc != 0)
            return rc;
        (void)set_option(r, ZMQ_USE_FD, r->file.fd);
    }
    if (zmq_bind(r->socket, endpoint) == 0)
        return 0;
    reason_set(why, "cannot listen on '%s': %s", endpoint, zmq_strerror(zmq_errno()));
    return -OHEM_SYSTEM;
}

int router_open(const struct config *config, struct router **out, struct reason *why)
{
    struct router *r = calloc(1, sizeof *r);
    int rc;

    if (r == NULL) {
        reason_set(why, "%s", error_text(OHEM_NOMEM));
        return -OHEM_NOMEM;
    }
    r->file.fd = -1;
    rc = open_socket(r, why);
    if (rc == 0)
        rc = bind_endpoint(r, config, why);
    if (rc != 0) {
        router_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void router_close(struct router *r)
{
    if (r == NULL)
        return;
    router_done(r);
    if (r->socket != NULL)
        (void)zmq_close(r->socket);
    while (r->context != NULL && zmq_ctx_term(r->context) != 0 && zmq_errno() == EINTR)
        ; /* a signal: go on waiting */
    if (r->file.fd >= 0)
        unix_socket_unlink(&r->file);
    free(r);
}
