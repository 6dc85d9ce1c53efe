/* link.c - the client's socket; see link.h. */
#include "link.h"

#include "../proto/error.h"

#include <errno.h>
#include <poll.h>

#define LINGER_MS     1000
#define HEARTBEAT_MS  10000
#define MONITOR       "inproc://monitor" /* each link has a context of its own */
#define PAYLOAD_FRAME 6                  /* of a BATCH */
#define PART_FRAME    1                  /* of a PART */

static int set_option(struct link *l, int option, int value)
{
    return zmq_setsockopt(l->socket, option, &value, sizeof value);
}

/* Who waits for a daemon has nothing to say by which it would notice that another one is there.
 * Without memory for this it notices when it asks. */
static void open_monitor(struct link *l)
{
    size_t size = sizeof l->monitor_descriptor;

    if (zmq_socket_monitor(l->socket, MONITOR, ZMQ_EVENT_CONNECTED) != 0)
        return;
    l->monitor = zmq_socket(l->context, ZMQ_PAIR);
    if (l->monitor != NULL && zmq_connect(l->monitor, MONITOR) == 0)
        (void)zmq_getsockopt(l->monitor, ZMQ_FD, &l->monitor_descriptor, &size);
    l->monitor_is_due = true; /* its descriptor tells of changes only: look once, then wait */
}

static void close_monitor(struct link *l)
{
    (void)zmq_socket_monitor(l->socket, NULL, 0);
    if (l->monitor != NULL)
        (void)zmq_close(l->monitor);
}

int link_open(struct link *l, const char *endpoint, struct reason *why)
{
    size_t size = sizeof l->descriptor;

    l->monitor_descriptor = -1;
    l->codec = codec_new();
    if (l->codec == NULL) {
        reason_set(why, "out of memory");
        return -OHEM_NOMEM;
    }
    l->context = zmq_ctx_new();
    l->socket = l->context != NULL ? zmq_socket(l->context, ZMQ_DEALER) : NULL;
    if (l->socket == NULL) {
        reason_set(why, "cannot make a socket: %s", zmq_strerror(zmq_errno()));
        return -OHEM_SYSTEM;
    }
    (void)zmq_getsockopt(l->socket, ZMQ_FD, &l->descriptor, &size);
    (void)set_option(l, ZMQ_LINGER, LINGER_MS);
    (void)set_option(l, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    (void)set_option(l, ZMQ_IPV6, 1);
    (void)set_option(l, ZMQ_RCVHWM, 0); /* both ways the credit bounds what may be waiting */
    (void)set_option(l, ZMQ_SNDHWM, 0);
    open_monitor(l);
    if (zmq_connect(l->socket, endpoint) == 0)
        return 0;
    reason_set(why, "endpoint '%s': %s", endpoint, zmq_strerror(zmq_errno()));
    return -OHEM_INVALID;
}

static void close_parts(struct link *l)
{
    while (l->count > 0)
        (void)zmq_msg_close(&l->parts[--l->count]);
}

void link_close(struct link *l, bool discard)
{
    close_parts(l);
    if (l->socket != NULL) {
        if (discard)
            (void)set_option(l, ZMQ_LINGER, 0);
        close_monitor(l);
        (void)zmq_close(l->socket);
    }
    while (l->context != NULL && zmq_ctx_term(l->context) != 0 && zmq_errno() == EINTR)
        ; /* a signal: go on waiting */
    codec_free(l->codec);
    *l = (struct link){0};
}

static void send_copied(struct link *l, const struct frame *f, int flags)
{
    int rc;

    do
        rc = zmq_send(l->socket, f->data, f->size, flags);
    while (rc < 0 && zmq_errno() == EINTR);
}

void link_send(struct link *l, const struct message *m)
{
    struct frames f;

    codec_encode(m, &f);
    for (size_t i = 0; i < f.count; i++)
        send_copied(l, &f.list[i], ZMQ_DONTWAIT | (i + 1 < f.count ? ZMQ_SNDMORE : 0));
}

/* zmq_free_fn, on a thread of ZeroMQ's. */
static void sent_cb(void *data, void *items)
{
    (void)data;
    kept_items_unref(items);
}

/* Without memory for its head it is copied. */
static void send_lent(struct link *l, const struct frame *f, struct kept_items *items, int flags)
{
    zmq_msg_t part;
    int rc;

    kept_items_ref(items);
    if (zmq_msg_init_data(&part, (void *)(uintptr_t)f->data, f->size, sent_cb, items) != 0) {
        kept_items_unref(items);
        send_copied(l, f, flags);
        return;
    }
    do
        rc = zmq_msg_send(&part, l->socket, flags);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(&part);
}

static bool lends_from(const struct frame *f, const struct kept_items *items)
{
    const unsigned char *data = f->data;

    return f->size > 0 && data >= items->memory && data < items->memory + items->capacity;
}

void link_send_items(struct link *l, const struct message *m, struct kept_items *items)
{
    struct frames f;

    codec_encode(m, &f);
    for (size_t i = 0; i < f.count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < f.count ? ZMQ_SNDMORE : 0);

        if (lends_from(&f.list[i], items))
            send_lent(l, &f.list[i], items, flags);
        else
            send_copied(l, &f.list[i], flags);
    }
}

/* @return false when nothing is there */
static bool receive_part(struct link *l, zmq_msg_t *part)
{
    int rc;

    (void)zmq_msg_init(part);
    do
        rc = zmq_msg_recv(part, l->socket, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(part);
    return rc >= 0;
}

int link_receive(struct link *l, struct message *out, struct reason *why)
{
    struct frame frames[MESSAGE_FRAMES_MAX];
    zmq_msg_t surplus;
    bool more = true;
    int rc;

    close_parts(l);
    while (more) {
        bool kept = l->count < MESSAGE_FRAMES_MAX;
        zmq_msg_t *part = kept ? &l->parts[l->count] : &surplus;

        if (!receive_part(l, part))
            return 0; /* a message comes whole or not at all: this was its first part */
        more = zmq_msg_more(part);
        if (kept)
            frames[l->count++] = (struct frame){zmq_msg_data(part), zmq_msg_size(part)};
        else
            (void)zmq_msg_close(part);
    }
    rc = codec_decode(l->codec, frames, l->count, out, why);
    return rc == 0 ? 1 : rc;
}

zmq_msg_t *link_payload(struct link *l)
{
    return &l->parts[PAYLOAD_FRAME];
}

zmq_msg_t *link_part_payload(struct link *l)
{
    return &l->parts[PART_FRAME];
}

void link_wait(struct link *l, long ms)
{
    struct pollfd p[] = {{.fd = l->descriptor, .events = POLLIN},
                         {.fd = l->monitor_descriptor, .events = POLLIN}};

    (void)poll(p, 2, (int)ms); /* interrupted or not: the caller looks again */
    l->monitor_is_due = l->monitor_is_due || (p[1].revents & POLLIN) != 0;
}

/* An event is two frames: what, and where. */
bool link_came_back(struct link *l)
{
    uint64_t before = l->connects;
    zmq_msg_t part;

    if (!l->monitor_is_due || l->monitor == NULL)
        return false;
    l->monitor_is_due = false;
    (void)zmq_msg_init(&part);
    while (zmq_msg_recv(&part, l->monitor, ZMQ_DONTWAIT) >= 0 || zmq_errno() == EINTR)
        l->connects += zmq_msg_more(&part) != 0;
    (void)zmq_msg_close(&part);
    return before > 0 && l->connects > before;
}
