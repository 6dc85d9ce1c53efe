/* rigs.c - gather, inline and round trip without ohemd; see rigs.h.
 *
 * The far side of the ZeroMQ rigs is a process of its own, as the daemon is. It is forked while no
 * ZeroMQ context lives here, and killed by its pid.
 */
#include "rigs.h"

#include "../../proto/codec.h"
#include "measure.h"
#include "serve.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define BLOCK_BYTES  ((size_t)SERVE_BATCH * SERVE_RECORD_BYTES)
#define RIG_FILE     "rig.sock"
#define RIG_ENDPOINT "ipc://" RIG_FILE
#define ANSWER_MS    10000
#define CHECK_EVERY  64 /* gathers between looks at the clock */
#define ADDRESS_MAX  255

/* ---- gather ---- */

static void gather(const unsigned char *records, unsigned char *block, uint64_t *state)
{
    for (size_t i = 0; i < SERVE_BATCH; i++) {
        *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        memcpy(block + i * SERVE_RECORD_BYTES,
               records + (*state >> 33) % SERVE_INSTANCES * SERVE_RECORD_BYTES, SERVE_RECORD_BYTES);
    }
    measure_keep(measure_sum(block, BLOCK_BYTES));
}

double rig_gather(double seconds)
{
    size_t bytes = (size_t)SERVE_INSTANCES * SERVE_RECORD_BYTES, count = 0;
    unsigned char *records = malloc(bytes), *block = malloc(BLOCK_BYTES);
    uint64_t state = 1, began, now;

    if (records == NULL || block == NULL)
        die("out of memory for %zu bytes of records", bytes);
    memset(records, 1, bytes);
    began = measure_now_ns();
    do {
        for (int i = 0; i < CHECK_EVERY; i++)
            gather(records, block, &state);
        count += CHECK_EVERY;
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * 1e9);
    free(records);
    free(block);
    return (double)count / ((double)(now - began) / 1e9);
}

/* ---- over ZeroMQ ---- */

/* The near side of a rig: its context, socket and the other process. */
struct rig {
    void *context, *socket;
    pid_t pid;
};

static void send_frames(void *socket, const struct frames *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (zmq_send(socket, f->list[i].data, f->list[i].size, i + 1 < f->count ? ZMQ_SNDMORE : 0) <
            0)
            die("rig: send: %s", zmq_strerror(zmq_errno()));
}

/* Receive one message. @param read  add up the bytes of its frames */
static void receive(void *socket, bool read)
{
    zmq_msg_t part;
    bool more = true;

    while (more) {
        (void)zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, 0) < 0)
            die("rig: no message within %d ms: %s", ANSWER_MS, zmq_strerror(zmq_errno()));
        more = zmq_msg_more(&part);
        if (read)
            measure_keep(measure_sum(zmq_msg_data(&part), zmq_msg_size(&part)));
        (void)zmq_msg_close(&part);
    }
}

/* For each message that comes, `answer` goes back, until killed. Large frames are lent. */
static void serve_answers(const struct frames *answer)
{
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    char address[ADDRESS_MAX];
    zmq_msg_t part;

    (void)unlink(RIG_FILE);
    if (socket == NULL || zmq_bind(socket, RIG_ENDPOINT) != 0)
        die("rig: bind: %s", zmq_strerror(zmq_errno()));
    for (;;) {
        int size = zmq_recv(socket, address, sizeof address, 0);

        if (size < 0)
            die("rig: receive: %s", zmq_strerror(zmq_errno()));
        receive(socket, false);
        (void)zmq_send(socket, address, (size_t)size, ZMQ_SNDMORE);
        for (size_t i = 0; i < answer->count; i++) {
            (void)zmq_msg_init_data(&part, (void *)(uintptr_t)answer->list[i].data,
                                    answer->list[i].size, NULL, NULL);
            (void)zmq_msg_send(&part, socket, i + 1 < answer->count ? ZMQ_SNDMORE : 0);
        }
    }
}

static void rig_open(struct rig *r, const struct frames *answer)
{
    int answer_ms = ANSWER_MS, linger = 0;

    r->pid = fork();
    if (r->pid < 0)
        die("fork: %s", strerror(errno));
    if (r->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve_answers(answer);
    }
    r->context = zmq_ctx_new();
    r->socket = zmq_socket(r->context, ZMQ_DEALER);
    (void)zmq_setsockopt(r->socket, ZMQ_RCVTIMEO, &answer_ms, sizeof answer_ms);
    (void)zmq_setsockopt(r->socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_connect(r->socket, RIG_ENDPOINT) != 0)
        die("rig: connect: %s", zmq_strerror(zmq_errno()));
}

static void rig_close(struct rig *r)
{
    (void)zmq_close(r->socket);
    (void)zmq_ctx_term(r->context);
    if (kill(r->pid, SIGKILL) != 0 || waitpid(r->pid, NULL, 0) != r->pid)
        die("rig: cannot end its process: %s", strerror(errno));
}

double rig_inline(uint32_t credit, double seconds)
{
    struct frames ask = {.list = {{"", 0}}, .count = 1}, block = {.count = 1};
    void *bytes = calloc(1, BLOCK_BYTES);
    uint64_t began, now, count = 0;
    struct rig r;

    if (bytes == NULL)
        die("out of memory for a block");
    block.list[0] = (struct frame){bytes, BLOCK_BYTES};
    rig_open(&r, &block);
    for (uint32_t i = 0; i < credit; i++)
        send_frames(r.socket, &ask);
    receive(r.socket, true); /* connected, and warm */
    send_frames(r.socket, &ask);
    began = measure_now_ns();
    do {
        receive(r.socket, true);
        send_frames(r.socket, &ask);
        count++;
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * 1e9);
    rig_close(&r);
    free(bytes);
    return (double)count / ((double)(now - began) / 1e9);
}

double rig_round_trip(double seconds)
{
    static const float values[SERVE_BATCH];
    struct message loss = {.type = MESSAGE_LOSS,
                           .loss = {.seq = 1000, .losses = {values, SERVE_BATCH}}};
    struct message selection = {.type = MESSAGE_SELECTION,
                                .selection = {.seq = 1000,
                                              .lsn = 1000,
                                              .kept = {.count = SERVE_BATCH / 2},
                                              .indices = {values, SERVE_BATCH / 2},
                                              .weights = {values, SERVE_BATCH / 2}}};
    struct frames there, back;
    struct samples us = {0};
    uint64_t end;
    double median;
    struct rig r;

    codec_encode(&loss, &there);
    codec_encode(&selection, &back);
    rig_open(&r, &back);
    send_frames(r.socket, &there);
    receive(r.socket, false); /* connected */
    end = measure_now_ns() + (uint64_t)(seconds * 1e9);
    while (measure_now_ns() < end) {
        uint64_t began = measure_now_ns();

        send_frames(r.socket, &there);
        receive(r.socket, true);
        samples_add(&us, (double)(measure_now_ns() - began) / 1e3);
    }
    rig_close(&r);
    median = samples_quantile(&us, 0.5);
    samples_deinit(&us);
    return median;
}
