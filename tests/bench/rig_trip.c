/* rig_trip.c - the round trip of a report without ohemd: ZeroMQ on a libuv loop, nothing else.
 *
 * The server is what any that runs ZeroMQ on libuv must be: a poll handle on ZeroMQ's descriptor,
 * which is edge-triggered, so a prepare handle looks at ZMQ_EVENTS before the loop sleeps.
 */
#include "rig_inner.h"

#include "../../proto/codec.h"

#include <stdlib.h>
#include <uv.h>
#include <zmq.h>

struct loop {
    uv_loop_t loop;
    uv_poll_t poll;
    uv_prepare_t prepare;
    void *socket;
    const struct frames *answer;
};

static int events_of(void *socket)
{
    int events = 0;
    size_t size = sizeof events;

    if (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0)
        die("rig: events: %s", zmq_strerror(zmq_errno()));
    return events;
}

static void send_frames(void *socket, const struct frames *f)
{
    for (size_t i = 0; i < f->count; i++)
        rig_send(socket, f->list[i].data, f->list[i].size, i + 1 < f->count);
}

/* Receive a message, and read it. */
static void receive_frames(void *socket)
{
    bool more = true;
    zmq_msg_t part;

    while (more) {
        (void)zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, 0) < 0)
            die("rig: receive: %s", zmq_strerror(zmq_errno()));
        more = zmq_msg_more(&part);
        measure_keep(measure_sum(zmq_msg_data(&part), zmq_msg_size(&part)));
        (void)zmq_msg_close(&part);
    }
}

/* ---- server ---- */

static void work(struct loop *l)
{
    unsigned char peer[RIG_PEER_BYTES];

    while (events_of(l->socket) & ZMQ_POLLIN) {
        int size = zmq_recv(l->socket, peer, sizeof peer, 0);

        if (size < 0)
            die("rig: receive: %s", zmq_strerror(zmq_errno()));
        receive_frames(l->socket);
        rig_send(l->socket, peer, (size_t)size, true);
        send_frames(l->socket, l->answer);
    }
}

static void readable_cb(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    work(poll->data);
}

static void prepare_cb(uv_prepare_t *prepare)
{
    work(prepare->data);
}

static void serve(void *ctx)
{
    struct loop *l = ctx;
    int fd;
    size_t size = sizeof fd;

    l->socket = rig_bind();
    if (zmq_getsockopt(l->socket, ZMQ_FD, &fd, &size) != 0 || uv_loop_init(&l->loop) != 0 ||
        uv_poll_init(&l->loop, &l->poll, fd) != 0 || uv_prepare_init(&l->loop, &l->prepare) != 0)
        die("rig: the loop does not start");
    l->poll.data = l->prepare.data = l;
    if (uv_poll_start(&l->poll, UV_READABLE, readable_cb) != 0 ||
        uv_prepare_start(&l->prepare, prepare_cb) != 0)
        die("rig: the loop does not start");
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
}

/* ---- client ---- */

struct trip {
    struct loop loop;
    struct frames there, back;
};

static struct run_client *open_client(const void *plan, int index)
{
    struct run_client *c = calloc(1, sizeof *c);
    const struct trip *trip = plan;

    (void)index;
    if (c == NULL)
        die("out of memory for a client");
    c->request = &trip->there;
    c->socket = rig_connect();
    return c;
}

static void step(struct run_client *c, struct run_result *out)
{
    uint64_t began = measure_now_ns();

    send_frames(c->socket, c->request);
    receive_frames(c->socket);
    times_add(&out->report, measure_now_ns() - began);
    run_count(out, WORKLOAD_BATCH, 0);
}

static double measure(struct trip *trip, const struct workload *w, double seconds)
{
    static const struct run_kind kind = {.open = open_client, .step = step};
    static struct run_result result;
    struct run run = {.kind = &kind, .plan = trip, .workload = w, .clients = 1, .seconds = seconds};

    result = (struct run_result){0};
    trip->loop.answer = &trip->back;
    run.server = rig_fork(serve, &trip->loop);
    run_clients(&run, &result);
    rig_kill(run.server);
    return times_quantile_us(&result.report, 0.5);
}

double rig_round_trip(const struct workload *w, double seconds)
{
    static const float values[WORKLOAD_BATCH];
    static struct trip trip;
    struct message loss = {.type = MESSAGE_LOSS,
                           .loss = {.seq = 1000, .losses = {values, WORKLOAD_BATCH}}};
    struct message selection = {.type = MESSAGE_SELECTION,
                                .selection = {.seq = 1000,
                                              .lsn = 1000,
                                              .kept = {.count = WORKLOAD_BATCH / 2},
                                              .share = {WORKLOAD_BATCH / 2, 1, 1},
                                              .indices = {values, WORKLOAD_BATCH / 2},
                                              .weights = {values, WORKLOAD_BATCH / 2}}};

    codec_encode(&loss, &trip.there);
    codec_encode(&selection, &trip.back);
    return measure(&trip, w, seconds);
}

double rig_move(const struct workload *w, uint32_t items, double seconds)
{
    static const float values[MESSAGE_ITEMS_MAX];
    static const uint32_t counts[WORKLOAD_BATCH];
    static struct trip trip;
    struct message loss = {.type = MESSAGE_LOSS,
                           .loss = {.seq = 1000,
                                    .losses = {values, items},
                                    .items = {.counts = {counts, WORKLOAD_BATCH}}}};

    codec_encode(&loss, &trip.there);
    codec_encode(&loss, &trip.back);
    return measure(&trip, w, seconds) / 2;
}
