/* rig_inline.c - batches in messages: copied once into a buffer of a pool, which ZeroMQ is lent.
 *
 * A batch larger than part_bytes goes in several messages, sent as soon as each is gathered, so
 * that gathering, sending and receiving overlap. The first message begins with a frame that says
 * how many bytes follow.
 */
#include "rig_inner.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <zmq.h>

#define BUFFERS_MAX 64u

/* A buffer that ZeroMQ gives back on a thread of its own. */
struct buffer {
    atomic_bool lent;
    unsigned char *data;
};

static struct buffer buffers[BUFFERS_MAX]; /* in the server's process */
static uint32_t buffer_count;

static void give_back_cb(void *data, void *hint)
{
    struct buffer *b = hint;

    (void)data;
    atomic_store_explicit(&b->lent, false, memory_order_release);
}

static size_t buffer_bytes(const struct rig_server *s)
{
    size_t part = s->plan->part_bytes + s->plan->workload->size_max;

    return part < s->slot_bytes ? part : s->slot_bytes;
}

/* As many as the credit needs, and some that the I/O thread has not given back yet. */
static void make_buffers(struct rig_server *s)
{
    size_t parts = s->slot_bytes / buffer_bytes(s) + 1;

    while (buffer_count < BUFFERS_MAX && buffer_count < (s->slot_count + 2) * parts) {
        buffers[buffer_count].data = malloc(buffer_bytes(s));
        if (buffers[buffer_count].data == NULL)
            die("out of memory for a buffer of %zu bytes", buffer_bytes(s));
        buffer_count++;
    }
}

/* The lowest that is free: the likeliest to be in a cache. */
static struct buffer *take_buffer(void)
{
    for (;;) {
        for (uint32_t i = 0; i < buffer_count; i++)
            if (!atomic_load_explicit(&buffers[i].lent, memory_order_acquire)) {
                atomic_store_explicit(&buffers[i].lent, true, memory_order_relaxed);
                return &buffers[i];
            }
        (void)sched_yield();
    }
}

static uint64_t batch_bytes(const struct rig_server *s)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++)
        bytes += s->plan->workload->sizes[s->ids[i]];
    return bytes;
}

/* How many records from `from` on are a part. */
static uint32_t part_end(const struct rig_server *s, uint32_t from)
{
    size_t bytes = 0;
    uint32_t to = from;

    while (to < WORKLOAD_BATCH && bytes < s->plan->part_bytes)
        bytes += s->plan->workload->sizes[s->ids[to++]];
    return to;
}

static void send_part(struct rig_server *s, uint32_t from, uint32_t to)
{
    struct buffer *b = take_buffer();
    size_t size = rig_copy(s->plan->workload, s->ids, from, to, b->data);
    zmq_msg_t message;

    if (zmq_msg_init_data(&message, b->data, size, give_back_cb, b) != 0 ||
        zmq_msg_send(&message, s->socket, 0) < 0)
        die("rig: send: %s", zmq_strerror(zmq_errno()));
}

static void answer(struct rig_server *s, const struct rig_peer *peer, uint32_t slot)
{
    uint64_t bytes = batch_bytes(s);

    (void)slot;
    if (buffer_count == 0)
        make_buffers(s);
    for (uint32_t from = 0, to; from < WORKLOAD_BATCH; from = to) {
        to = part_end(s, from);
        rig_send(s->socket, peer->id, peer->size, true);
        if (from == 0)
            rig_send(s->socket, &bytes, sizeof bytes, true);
        send_part(s, from, to);
    }
}

static double take(struct run_client *c, uint32_t *slot)
{
    uint64_t bytes, seen = 0;
    zmq_msg_t part;

    (void)slot;
    rig_receive(c->socket, &bytes, sizeof bytes);
    while (seen < bytes) {
        (void)zmq_msg_init(&part);
        if (zmq_msg_recv(&part, c->socket, 0) < 0)
            die("rig: receive: %s", zmq_strerror(zmq_errno()));
        measure_keep(measure_sum(zmq_msg_data(&part), zmq_msg_size(&part)));
        seen += zmq_msg_size(&part);
        (void)zmq_msg_close(&part);
    }
    return (double)bytes;
}

const struct rig_ops rig_inline_ops = {.answer = answer, .take = take};
