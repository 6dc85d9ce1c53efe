/* server.c - the trainers' socket on the loop; see server.h.
 *
 * A ZMQ_FD tells of changes only, so nothing is done in its callback: it wakes the loop, and the
 * prepare handle, which runs before every wait, looks at the socket and does a bounded turn of
 * work: receive, let the engine draw, set the timer. While more is left an idle handle keeps the
 * loop from waiting. Batches are sent when their gather is done, which ends in another turn.
 */
#include "server.h"

#include "../proto/codec.h"
#include "../proto/error.h"
#include "loader.h"
#include "unix_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium/core.h>
#include <sodium/randombytes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define SERVER_RECEIVE_MAX  256     /* messages in a turn of the loop */
#define SERVER_DRAW_MAX     4       /* batches drawn between two looks at the time */
#define SERVER_TURN_NS      2000000 /* of receiving, and of drawing, in a turn of the loop */
#define SERVER_SEND_HWM     1024    /* messages that a slow peer may have waiting */
#define SERVER_LINGER_MS    1000
#define SERVER_HEARTBEAT_MS 10000
#define PEER_BYTES          5 /* a routing id made by the ROUTER: a zero, then a number */

struct server {
    const struct config *config;
    struct dataset *const *datasets;
    uv_loop_t *loop;
    void *context, *socket;
    struct unix_socket file; /* of an ipc endpoint; fd -1 otherwise */
    struct engine engine;
    struct codec *codec;
    struct loader *loader;
    struct server_timing timing;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t due, drain;
    void (*drained_cb)(void *ctx);
    void *drained_ctx;
    bool starved; /* a gather found no memory: no more in this turn */
    bool closing;
};

const char *server_library_version(void)
{
    static char text[32];
    int major, minor, patch;

    zmq_version(&major, &minor, &patch);
    (void)snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

uint64_t server_now_ms(const struct server *s)
{
    return uv_now(s->loop);
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static void peer_bytes(uint64_t peer, unsigned char out[PEER_BYTES])
{
    for (int i = 0; i < PEER_BYTES; i++)
        out[i] = (unsigned char)(peer >> 8 * i);
}

/* Send a part by copy. A signal may interrupt ZeroMQ's own housekeeping: that is no answer. */
static int send_part(struct server *s, const void *data, size_t size, int flags)
{
    int rc;

    do
        rc = zmq_send(s->socket, data, size, flags | ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    return rc < 0 ? -OHEM_UNREACHABLE : 0;
}

/* The first part decides: EHOSTUNREACH, the peer is gone; EAGAIN, it does not read. */
static int send_address(struct server *s, uint64_t peer)
{
    unsigned char id[PEER_BYTES];

    peer_bytes(peer, id);
    return send_part(s, id, sizeof id, ZMQ_SNDMORE);
}

/* engine_out.send: small messages, copied. */
static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    struct server *s = ctx;
    struct frames f;

    if (s->socket == NULL || send_address(s, peer) != 0)
        return -OHEM_UNREACHABLE;
    codec_encode(m, &f);
    for (size_t i = 0; i < f.count; i++)
        (void)send_part(s, f.list[i].data, f.list[i].size, i + 1 < f.count ? ZMQ_SNDMORE : 0);
    return 0;
}

/* On ZeroMQ's thread. */
static void frame_sent_cb(void *data, void *parcel)
{
    (void)data;
    loader_unref(parcel);
}

/* A frame whose bytes stay in the parcel. */
static void send_lent(struct server *s, const struct frame *f, struct loader_parcel *parcel,
                      int flags)
{
    zmq_msg_t part;
    int rc;

    loader_ref(parcel);
    if (zmq_msg_init_data(&part, (void *)(uintptr_t)f->data, f->size, frame_sent_cb, parcel) != 0) {
        loader_unref(parcel);
        (void)send_part(s, NULL, 0, flags); /* out of memory: the message must still end */
        return;
    }
    do
        rc = zmq_msg_send(&part, s->socket, flags | ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(&part);
}

static void send_parcel(struct server *s, struct loader_parcel *parcel)
{
    struct frames f;

    codec_encode(&parcel->message, &f);
    if (send_address(s, parcel->peer) != 0) {
        engine_undelivered(&s->engine, parcel->peer, parcel->message.batch.token, true);
        return;
    }
    (void)send_part(s, f.list[0].data, f.list[0].size, ZMQ_SNDMORE);
    for (size_t i = 1; i < f.count; i++)
        send_lent(s, &f.list[i], parcel, i + 1 < f.count ? ZMQ_SNDMORE : 0);
    s->timing.batches++;
    s->timing.payload_bytes += parcel->message.batch.payload.count;
}

/* loader_ready_cb */
static void gathered_cb(void *ctx, struct loader_parcel *parcel)
{
    struct server *s = ctx;
    uint64_t began = uv_hrtime();

    s->timing.gather_ns += parcel->gather_ns;
    if (!s->closing)
        send_parcel(s, parcel);
    loader_unref(parcel);
    s->timing.send_ns += uv_hrtime() - began;
}

/* engine_out.has_room */
static bool has_room_cb(void *ctx, uint64_t peer)
{
    const struct server *s = ctx;

    return loader_has_room_for(s->loader, peer);
}

/* engine_out.deliver */
static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct server *s = ctx;
    int rc = loader_gather(s->loader, d, s->datasets[d->dataset->number]);

    if (rc == 0)
        return;
    log_error("server", "batch not gathered, to be tried again step=%" PRIu64 " error=%s",
              d->lease->token.step, error_name(rc));
    s->starved = true;
    engine_undelivered(&s->engine, d->peer, d->lease->token, false);
}

/* engine_out.event */
static void event_cb(void *ctx, const struct session *session, const char *what, const char *detail)
{
    (void)ctx;
    log_info("session",
             "%s client=%" PRIu64 " job=%s rank=%u batch_size=%u credit=%u agent=\"%s\"%s%s", what,
             session->number, session->job->settings.name, session->rank, session->batch_size,
             session->credit, session->agent, detail[0] != '\0' ? " " : "", detail);
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

/* The parts of one message, as many as a message of ours may have. */
struct parts {
    zmq_msg_t list[1 + MESSAGE_FRAMES_MAX]; /* the address first */
    size_t count;                           /* kept */
    size_t total;                           /* received: more than count when there were too many */
};

/* @return false when nothing is there; a message comes whole or not at all. */
static bool receive_part(void *socket, zmq_msg_t *part)
{
    int rc;

    (void)zmq_msg_init(part);
    do
        rc = zmq_msg_recv(part, socket, ZMQ_DONTWAIT);
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        (void)zmq_msg_close(part);
    return rc >= 0;
}

/* Receive all parts of a message. @return false when none is there. */
static bool receive_parts(void *socket, struct parts *p)
{
    zmq_msg_t part;
    bool more = true;

    p->count = p->total = 0;
    while (more) {
        if (!receive_part(socket, &part))
            return false;
        more = zmq_msg_more(&part);
        p->total++;
        if (p->count < sizeof p->list / sizeof p->list[0])
            p->list[p->count++] = part;
        else
            (void)zmq_msg_close(&part);
    }
    return true;
}

static void close_parts(struct parts *p)
{
    for (size_t i = 0; i < p->count; i++)
        (void)zmq_msg_close(&p->list[i]);
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

static void refuse_message(struct server *s, uint64_t peer, uint32_t type, int code,
                           const char *why)
{
    log_debug("server", "message refused peer=%" PRIx64 " type=%s error=%s why=\"%s\"", peer,
              message_type_name(type), error_name(code), why);
    engine_malformed(&s->engine, peer, type, code, why);
}

static void take_message(struct server *s, struct parts *p)
{
    struct frame frames[MESSAGE_FRAMES_MAX];
    struct message m;
    struct reason why;
    uint64_t peer;
    int rc;

    if (!read_address(&p->list[0], &peer)) {
        s->engine.metrics.messages_discarded++;
        return;
    }
    if (p->total > p->count) {
        reason_set(&why, "a message of %zu frames, at most %u (MESSAGE_FRAMES_MAX)", p->total - 1,
                   MESSAGE_FRAMES_MAX);
        refuse_message(s, peer, 0, -OHEM_TOO_LARGE, why.text);
        return;
    }
    for (size_t i = 1; i < p->count; i++)
        frames[i - 1] = (struct frame){zmq_msg_data(&p->list[i]), zmq_msg_size(&p->list[i])};
    rc = codec_decode(s->codec, frames, p->count - 1, &m, &why);
    if (rc != 0)
        refuse_message(s, peer, m.type, rc, why.text);
    else
        engine_message(&s->engine, peer, &m, uv_now(s->loop));
}

static void receive_some(struct server *s)
{
    uint64_t began = uv_hrtime(), now = began;
    struct parts p;

    for (int i = 0; i < SERVER_RECEIVE_MAX && now - began < SERVER_TURN_NS; i++) {
        if (!receive_parts(s->socket, &p))
            break;
        take_message(s, &p);
        close_parts(&p);
        now = uv_hrtime();
    }
    s->timing.receive_ns += now - began;
}

/* ---- the turn ----------------------------------------------------------------------------------
 */

static void due_cb(uv_timer_t *timer)
{
    struct server *s = timer->data;

    engine_tick(&s->engine, uv_now(s->loop));
}

static void set_timer(struct server *s)
{
    uint64_t due = engine_next_due(&s->engine), now = uv_now(s->loop);

    if (due == UINT64_MAX)
        (void)uv_timer_stop(&s->due);
    else
        (void)uv_timer_start(&s->due, due_cb, due > now ? due - now : 0, 0);
}

/* @return whether time ran out before the work did */
static bool draw_some(struct server *s)
{
    uint64_t began = uv_hrtime(), now = began;
    size_t drawn = SERVER_DRAW_MAX;

    s->starved = false;
    while (drawn == SERVER_DRAW_MAX && !s->starved && now - began < SERVER_TURN_NS) {
        size_t room = loader_room(s->loader);

        room = room < SERVER_DRAW_MAX ? room : SERVER_DRAW_MAX;
        drawn = engine_work(&s->engine, room, uv_now(s->loop));
        now = uv_hrtime();
    }
    s->timing.draw_ns += now - began;
    return drawn == SERVER_DRAW_MAX && !s->starved;
}

static void idle_cb(uv_idle_t *idle)
{
    (void)idle; /* that it is active keeps the loop from waiting */
}

static bool socket_has_events(struct server *s)
{
    int events = 0;
    size_t size = sizeof events;

    (void)zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &size);
    return events & ZMQ_POLLIN;
}

static void tell_drained(struct server *s)
{
    void (*drained_cb)(void *) = s->drained_cb;

    (void)uv_timer_stop(&s->drain);
    s->drained_cb = NULL;
    if (drained_cb != NULL)
        drained_cb(s->drained_ctx);
}

static void prepare_cb(uv_prepare_t *prepare)
{
    struct server *s = prepare->data;
    uint64_t began = uv_hrtime(), took;
    bool more;

    receive_some(s);
    more = draw_some(s);
    set_timer(s);
    if (socket_has_events(s) || more) /* sends above may have brought news without an edge */
        (void)uv_idle_start(&s->idle, idle_cb);
    else
        (void)uv_idle_stop(&s->idle);
    took = uv_hrtime() - began;
    if (took > s->timing.turn_ns_max)
        s->timing.turn_ns_max = took;
    if (s->engine.draining && engine_idle(&s->engine))
        tell_drained(s);
}

static void readable_cb(uv_poll_t *poll, int status, int events)
{
    (void)poll; /* it woke the loop; prepare_cb() does the work */
    (void)status;
    (void)events;
}

/* ---- making and ending -------------------------------------------------------------------------
 */

static int set_option(struct server *s, int option, int value)
{
    return zmq_setsockopt(s->socket, option, &value, sizeof value);
}

static int open_socket(struct server *s)
{
    int64_t message_bytes_max = MESSAGE_TRANSPORT_BYTES_MAX;

    s->context = zmq_ctx_new();
    if (s->context == NULL)
        return -1;
    (void)zmq_ctx_set(s->context, ZMQ_MAX_SOCKETS, 16);
    s->socket = zmq_socket(s->context, ZMQ_ROUTER);
    if (s->socket == NULL || set_option(s, ZMQ_ROUTER_MANDATORY, 1) != 0 ||
        set_option(s, ZMQ_SNDHWM, SERVER_SEND_HWM) != 0 ||
        set_option(s, ZMQ_LINGER, SERVER_LINGER_MS) != 0 ||
        set_option(s, ZMQ_HEARTBEAT_IVL, SERVER_HEARTBEAT_MS) != 0 || set_option(s, ZMQ_IPV6, 1) ||
        zmq_setsockopt(s->socket, ZMQ_MAXMSGSIZE, &message_bytes_max, sizeof message_bytes_max))
        return -1;
    return 0;
}

/* An ipc endpoint's socket is made by us: with its mode from the start, and never another daemon's.
 */
static int bind_endpoint(struct server *s, struct reason *why)
{
    const char *endpoint = s->config->listen;
    int rc;

    s->file.fd = -1;
    if (strncmp(endpoint, "ipc://", 6) == 0 && endpoint[6] != '@') {
        rc = unix_socket_open(endpoint + 6, s->config->socket_mode, &s->file, why);
        if (rc != 0)
            return rc;
        (void)set_option(s, ZMQ_USE_FD, s->file.fd);
    }
    if (zmq_bind(s->socket, endpoint) == 0)
        return 0;
    reason_set(why, "cannot listen on '%s': %s", endpoint, zmq_strerror(zmq_errno()));
    return -OHEM_SYSTEM;
}

static int add_jobs(struct server *s, struct reason *why)
{
    const struct config *c = s->config;

    for (size_t i = 0; i < c->job_count; i++) {
        struct job_settings settings = c->jobs[i].settings;
        uint32_t number = 0;
        int rc;

        while (strcmp(c->datasets[number].name, c->jobs[i].dataset) != 0)
            number++; /* config_check() saw to it that there is one */
        settings.dataset = (struct job_dataset){
            .instance_count = dataset_count(s->datasets[number]),
            .record_bytes = dataset_record_bytes(s->datasets[number]),
            .record_bytes_max = dataset_record_bytes_max(s->datasets[number]),
            .generation = dataset_fingerprint(s->datasets[number]),
            .number = number,
        };
        randombytes_buf(settings.secret, sizeof settings.secret);
        rc = engine_add_job(&s->engine, &settings, why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int make_engine(struct server *s, struct reason *why)
{
    struct engine_settings settings = {
        .sessions_max = s->config->sessions_max,
        .payload_bytes_max = s->config->payload_bytes_max,
    };
    struct engine_out out = {.ctx = s,
                             .send = send_cb,
                             .has_room = has_room_cb,
                             .deliver = deliver_cb,
                             .event = event_cb};

    randombytes_buf(&settings.boot, sizeof settings.boot);
    if (engine_init(&s->engine, &settings, &out) != 0) {
        reason_set(why, "no memory for %u sessions", settings.sessions_max);
        return -OHEM_NOMEM;
    }
    return add_jobs(s, why);
}

static void start_handles(struct server *s, int fd)
{
    (void)uv_poll_init(s->loop, &s->poll, fd);
    (void)uv_prepare_init(s->loop, &s->prepare);
    (void)uv_idle_init(s->loop, &s->idle);
    (void)uv_timer_init(s->loop, &s->due);
    (void)uv_timer_init(s->loop, &s->drain);
    s->prepare.data = s->due.data = s->drain.data = s;
    (void)uv_poll_start(&s->poll, UV_READABLE, readable_cb);
    (void)uv_prepare_start(&s->prepare, prepare_cb);
}

static void discard(struct server *s)
{
    if (s->socket != NULL)
        (void)zmq_close(s->socket);
    while (s->context != NULL && zmq_ctx_term(s->context) != 0 && zmq_errno() == EINTR)
        ; /* a signal: go on waiting */
    if (s->file.fd >= 0)
        unix_socket_unlink(&s->file);
    s->socket = s->context = NULL;
    s->file.fd = -1;
}

int server_new(uv_loop_t *loop, const struct config *config, struct dataset *const *datasets,
               struct server **out, struct reason *why)
{
    struct server *s = calloc(1, sizeof *s);
    size_t fd_size = sizeof(int);
    int rc, fd = -1;

    if (s == NULL || sodium_init() < 0) {
        reason_set(why, "no memory, or no random numbers");
        free(s);
        return -OHEM_NOMEM;
    }
    s->loop = loop;
    s->config = config;
    s->datasets = datasets;
    s->file.fd = -1;
    s->codec = codec_new();
    rc = make_engine(s, why);
    if (rc != 0)
        goto err;
    rc = -OHEM_SYSTEM;
    if (s->codec == NULL || open_socket(s) != 0) {
        reason_set(why, "cannot make the trainers' socket: %s", zmq_strerror(zmq_errno()));
        goto err;
    }
    rc = bind_endpoint(s, why);
    if (rc != 0)
        goto err;
    (void)zmq_getsockopt(s->socket, ZMQ_FD, &fd, &fd_size);
    rc = loader_new(loop, gathered_cb, s, &s->loader);
    if (rc != 0)
        goto err;
    start_handles(s, fd);
    log_info("server", "listening endpoint=%s", config->listen);
    *out = s;
    return 0;

err:
    discard(s);
    engine_deinit(&s->engine);
    codec_free(s->codec);
    free(s);
    return rc;
}

struct engine *server_engine(struct server *s)
{
    return &s->engine;
}

const struct dataset *server_dataset(const struct server *s, uint32_t number)
{
    return s->datasets[number];
}

const struct server_timing *server_timing(const struct server *s)
{
    return &s->timing;
}

static void drain_cb(uv_timer_t *timer)
{
    struct server *s = timer->data;

    log_warning("server", "batches are still out after drain_ms=%" PRIu64 ", stopping all the same",
                s->config->drain_ms);
    tell_drained(s);
}

void server_drain(struct server *s, void (*done_cb)(void *ctx), void *ctx)
{
    s->drained_cb = done_cb;
    s->drained_ctx = ctx;
    engine_drain(&s->engine);
    (void)uv_timer_start(&s->drain, drain_cb, s->config->drain_ms, 0);
}

void server_close(struct server *s)
{
    s->closing = true;
    uv_close((uv_handle_t *)&s->poll, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
    uv_close((uv_handle_t *)&s->due, NULL);
    uv_close((uv_handle_t *)&s->drain, NULL);
    discard(s); /* waits for what was sent, at most SERVER_LINGER_MS; ZeroMQ's threads end */
    loader_close(s->loader);
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    loader_free(s->loader);
    engine_deinit(&s->engine);
    codec_free(s->codec);
    free(s);
}
