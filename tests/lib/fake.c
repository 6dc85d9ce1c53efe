/* fake.c - a daemon of a few rules in a thread; see fake.h. */
#include "fake.h"

#include "test.h"

#include "../../proto/error.h"

#include <stdlib.h>
#include <time.h>
#include <zmq.h>

#define TURN_MS 5
#define FOREVER INT64_MAX

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- saying --------------------------------------------------------------------------------- */

static void send(struct fake *f, const void *peer, size_t peer_size, const struct message *m)
{
    struct frames frames;

    codec_encode(m, &frames);
    if (zmq_send(f->socket, peer, peer_size, ZMQ_SNDMORE) < 0)
        return;
    for (size_t i = 0; i < frames.count; i++)
        (void)zmq_send(f->socket, frames.list[i].data, frames.list[i].size,
                       i + 1 < frames.count ? ZMQ_SNDMORE : 0);
}

static void tell(struct fake *f, const struct message *m)
{
    send(f, f->peer, f->peer_size, m);
}

static void send_batch(struct fake *f, struct token token)
{
    static const float numbers[FAKE_K] = {1, 1, 1, 1};
    static const uint64_t offsets[FAKE_K] = {0, 4, 8, 12};
    static const uint32_t sizes[FAKE_K] = {4, 4, 4, 4};
    struct message m = {.type = MESSAGE_BATCH};
    uint64_t ids[FAKE_K];
    uint32_t k = f->batch_size;

    for (size_t i = 0; i < FAKE_K; i++)
        ids[i] = (token.step * FAKE_K + i) % FAKE_N;
    m.batch = (struct message_batch){
        .token = token, .count = k, .record_bytes = 4, .lease_ms = 60000, .bytes = 16};
    m.batch.ids = (struct vector){ids, k};
    m.batch.probabilities = m.batch.weights = (struct vector){numbers, k};
    m.batch.offsets = (struct vector){offsets, k};
    m.batch.sizes = (struct vector){sizes, k};
    m.batch.payload = (struct vector){offsets, 16};
    tell(f, &m);
}

static void fill_slots(struct fake *f)
{
    while (f->out_count < f->credit) {
        struct token token = {.step = f->step++, .tag = f->memory};

        f->out[f->out_count++] = token;
        send_batch(f, token);
    }
}

static void send_error(struct fake *f, const void *peer, size_t size, uint32_t code,
                       enum message_type about, struct token token)
{
    struct message m = {.type = MESSAGE_ERROR};

    m.error = (struct message_error){.code = code, .about = about, .token = token, .text = "no"};
    send(f, peer, size, &m);
}

/* ---- hearing -------------------------------------------------------------------------------- */

static bool is_in(struct vector tokens, struct token token)
{
    for (size_t i = 0; i < tokens.count; i++)
        if (token_equal(vector_token(tokens, i), token))
            return true;
    return false;
}

static size_t find_out(const struct fake *f, struct token token)
{
    size_t i = 0;

    while (i < f->out_count && !token_equal(f->out[i], token))
        i++;
    return i;
}

static void take_hello(struct fake *f, const struct message_hello *h)
{
    struct message m = {.type = MESSAGE_WELCOME};
    bool known = h->memory == f->memory;

    if (f->refuses_hello_with != 0) {
        send_error(f, f->peer, f->peer_size, f->refuses_hello_with, MESSAGE_HELLO,
                   (struct token){0});
        f->peer_size = 0;
        return;
    }
    m.welcome = (struct message_welcome){.major = PROTO_MAJOR,
                                         .minor = PROTO_MINOR,
                                         .boot = f->boot,
                                         .session = f->session,
                                         .job = "default",
                                         .instance_count = FAKE_N,
                                         .record_bytes = 4,
                                         .record_bytes_max = 4,
                                         .generation = 1,
                                         .batch_size = f->batch_size,
                                         .credit = f->credit,
                                         .lease_ms = 60000,
                                         .layout = h->layout,
                                         .memory = f->memory,
                                         .durable = f->durable};
    tell(f, &m);
    for (size_t i = 0; i < f->out_count; i++)
        if (!known || (!is_in(h->held, f->out[i]) && !is_in(h->kept, f->out[i])))
            send_batch(f, f->out[i]);
    for (size_t i = 0; i < h->held.count && known; i++)
        if (find_out(f, vector_token(h->held, i)) == f->out_count)
            f->out[f->out_count++] = vector_token(h->held, i);
    fill_slots(f);
}

static void take_loss(struct fake *f, const struct message_loss *l)
{
    static const uint32_t indices[1] = {3};
    static const float weights[1] = {1};
    struct message m = {.type = MESSAGE_SELECTION};

    f->seq = l->seq > f->seq ? l->seq : f->seq;
    if (f->keeps_answers)
        return;
    if (f->refuses_with != 0 || l->token.tag != f->memory) {
        send_error(f, f->peer, f->peer_size, f->refuses_with != 0 ? f->refuses_with : OHEM_TOKEN,
                   MESSAGE_LOSS, l->token);
        return;
    }
    m.selection = (struct message_selection){.token = l->token,
                                             .seq = l->seq,
                                             .lsn = l->seq,
                                             .flags = f->flags,
                                             .durable_seq = f->durable_seq};
    if ((f->flags & SELECTION_FLAG_FORGOTTEN) == 0 || f->selects_anew) {
        m.selection.all.count = FAKE_K;
        m.selection.kept.count = 1;
        m.selection.share = (struct message_share){.count = 1, .present = 1, .scale = 1};
        m.selection.indices = (struct vector){indices, 1};
        m.selection.weights = (struct vector){weights, 1};
    }
    tell(f, &m);
}

static void take_credit(struct fake *f, struct token token)
{
    size_t i = find_out(f, token);

    if (i == f->out_count) {
        send_error(f, f->peer, f->peer_size, OHEM_TOKEN, MESSAGE_CREDIT, token);
        return;
    }
    f->out[i] = f->out[--f->out_count];
    fill_slots(f);
}

static void answer(struct fake *f, const struct message *m)
{
    struct message a = {.type = MESSAGE_PONG};

    switch (m->type) {
    case MESSAGE_HELLO:
        if (!f->keeps_welcome)
            take_hello(f, &m->hello);
        break;
    case MESSAGE_LOSS:
        take_loss(f, &m->loss);
        break;
    case MESSAGE_CREDIT:
        take_credit(f, m->credit.token);
        break;
    case MESSAGE_PING:
        a.pong = (struct message_pong){m->ping.nonce, f->boot, f->durable_seq};
        tell(f, &a);
        break;
    case MESSAGE_SYNC:
        f->sync_seq = m->sync.seq;
        f->sync_at_ms = f->sync_ms > 0 ? now_ms() + f->sync_ms : FOREVER;
        break;
    default:
        break;
    }
}

static void write_down(struct fake *f, const struct message *m, bool unknown)
{
    struct fake_said *s = &f->said[f->said_count++ % FAKE_SAID_MAX];

    *s = (struct fake_said){.type = m->type, .unknown = unknown};
    if (m->type == MESSAGE_HELLO) {
        s->memory = m->hello.memory;
        s->held_count = m->hello.held.count;
        s->kept_count = m->hello.kept.count;
    } else if (m->type == MESSAGE_LOSS) {
        s->token = m->loss.token;
        s->seq = m->loss.seq;
        s->ids_count = m->loss.ids.count;
    } else if (m->type == MESSAGE_CREDIT) {
        s->token = m->credit.token;
    } else if (m->type == MESSAGE_SYNC) {
        s->seq = m->sync.seq;
    }
}

static void take(struct fake *f, const void *peer, size_t size, const struct message *m)
{
    bool unknown;

    if (m->type == MESSAGE_HELLO) {
        memcpy(f->peer, peer, size);
        f->peer_size = size;
    }
    unknown = size != f->peer_size || memcmp(f->peer, peer, size) != 0;
    write_down(f, m, unknown);
    f->stalled = unknown;
    if (unknown)
        send_error(f, peer, size, OHEM_NO_SESSION, m->type, (struct token){0});
    else
        answer(f, m);
}

/* One message, if one is there. */
static bool receive(struct fake *f)
{
    zmq_msg_t parts[MESSAGE_FRAMES_MAX + 1];
    struct frame frames[MESSAGE_FRAMES_MAX];
    struct message m;
    size_t count = 0;

    do {
        (void)zmq_msg_init(&parts[count]);
        if (zmq_msg_recv(&parts[count], f->socket, ZMQ_DONTWAIT) < 0)
            return false;
        if (count > 0)
            frames[count - 1] =
                (struct frame){zmq_msg_data(&parts[count]), zmq_msg_size(&parts[count])};
        count++;
    } while (zmq_msg_more(&parts[count - 1]) && count <= MESSAGE_FRAMES_MAX);
    if (codec_decode(f->codec, frames, count - 1, &m, NULL) == 0)
        take(f, zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]), &m);
    while (count > 0)
        (void)zmq_msg_close(&parts[--count]);
    return true;
}

/* ---- living --------------------------------------------------------------------------------- */

static void open_socket(struct fake *f)
{
    int none = 0;

    f->socket = zmq_socket(f->context, ZMQ_ROUTER);
    (void)zmq_setsockopt(f->socket, ZMQ_LINGER, &none, sizeof none);
    (void)zmq_setsockopt(f->socket, ZMQ_SNDHWM, &none, sizeof none);
    if (zmq_bind(f->socket, FAKE_ENDPOINT) != 0)
        abort();
}

static void die_or_live(struct fake *f)
{
    if (f->restarts && f->socket != NULL) {
        (void)zmq_close(f->socket);
        f->socket = NULL;
        f->peer_size = 0;
        f->sync_at_ms = 0;
    }
    f->restarts = false;
    if (f->socket == NULL && now_ms() >= f->up_ms)
        open_socket(f);
}

static void write_to_disk(struct fake *f)
{
    struct message m = {.type = MESSAGE_DURABLE};

    if (f->sync_at_ms == 0)
        return;
    if (now_ms() >= f->sync_at_ms)
        f->durable_seq = f->seq;
    if (f->durable_seq < f->sync_seq)
        return;
    f->sync_at_ms = 0;
    m.durable.seq = f->durable_seq;
    tell(f, &m);
}

static void *live(void *data)
{
    struct fake *f = data;
    bool ends = false;

    while (!ends) {
        void *socket;

        fake_lock(f);
        die_or_live(f);
        while (f->socket != NULL && !(f->stalls && f->stalled) && receive(f))
            ;
        if (f->socket != NULL)
            write_to_disk(f);
        ends = f->ends;
        socket = f->socket;
        fake_unlock(f);
        (void)zmq_poll(&(zmq_pollitem_t){.socket = socket, .fd = -1, .events = ZMQ_POLLIN},
                       socket != NULL ? 1 : 0, TURN_MS);
    }
    return NULL;
}

void fake_start(struct fake *f)
{
    f->credit = f->credit > 0 ? f->credit : 4;
    f->batch_size = f->batch_size > 0 ? f->batch_size : FAKE_K;
    f->boot = f->session = 1;
    f->memory = 100;
    f->context = zmq_ctx_new();
    f->codec = codec_new();
    assert_non_null(f->codec);
    open_socket(f);
    assert_int_equal(pthread_mutex_init(&f->mutex, NULL), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, live, f), 0);
}

void fake_stop(struct fake *f)
{
    fake_lock(f);
    f->ends = true;
    fake_unlock(f);
    (void)pthread_join(f->thread, NULL);
    if (f->socket != NULL)
        (void)zmq_close(f->socket);
    (void)zmq_ctx_term(f->context);
    codec_free(f->codec);
    (void)pthread_mutex_destroy(&f->mutex);
}

struct ohem_client *fake_connect(struct ohem_options options)
{
    struct ohem_client *client = NULL;

    options.endpoint = FAKE_ENDPOINT;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("%s", ohem_connect_error());
    return client;
}

struct ohem_client *fake_begin(struct fake *f)
{
    fake_start(f);
    return fake_connect((struct ohem_options)OHEM_OPTIONS_INIT);
}

void fake_end(struct fake *f, struct ohem_client *client)
{
    ohem_close(client);
    fake_stop(f);
}

void fake_lock(struct fake *f)
{
    (void)pthread_mutex_lock(&f->mutex);
}

void fake_unlock(struct fake *f)
{
    (void)pthread_mutex_unlock(&f->mutex);
}

void fake_restart(struct fake *f, int down_ms, bool with_memory)
{
    fake_lock(f);
    f->restarts = true;
    f->up_ms = down_ms >= 0 ? now_ms() + down_ms : FOREVER;
    f->boot++;
    if (!with_memory) {
        f->memory++;
        f->session = 1;
        f->out_count = 0;
        f->seq = f->durable_seq = 0;
    }
    fake_unlock(f);
}

void fake_forget_connection(struct fake *f)
{
    fake_lock(f);
    f->peer_size = 0;
    fake_unlock(f);
}

void fake_forget_session(struct fake *f)
{
    fake_lock(f);
    f->peer_size = 0;
    f->session++;
    fake_unlock(f);
}

void fake_say_bye(struct fake *f)
{
    struct message m = {.type = MESSAGE_BYE};

    fake_lock(f);
    tell(f, &m);
    fake_unlock(f);
}

const struct fake_said *fake_said(struct fake *f, size_t *out_count)
{
    size_t first;

    fake_lock(f);
    assert_true(f->said_count <= FAKE_SAID_MAX);
    for (first = f->said_count; first > 0 && f->said[first - 1].type != MESSAGE_HELLO;)
        first--;
    assert_true(first > 0);
    *out_count = f->said_count - (first - 1);
    fake_unlock(f);
    return &f->said[first - 1];
}
