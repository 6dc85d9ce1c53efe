/* server.c - the engine on the loop; see server.h.
 *
 * The router's descriptor tells of changes only, so nothing is done in its callback: it wakes the
 * loop, and the prepare handle, which runs before every wait, looks at the socket and does a
 * bounded turn of work: receive, let the engine draw, set the timer. While more is left an idle
 * handle keeps the loop from waiting. Batches are sent when their gather is done, which ends in
 * another turn.
 */
#include "server.h"

#include "../proto/codec.h"
#include "../proto/error.h"
#include "changes.h"
#include "desk.h"
#include "job_files.h"
#include "loader.h"
#include "router.h"

#include <inttypes.h>
#include <sodium/core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_RECEIVE_MAX 256     /* messages in a turn of the loop */
#define SERVER_DRAW_MAX    4       /* batches drawn between two looks at the time */
#define SERVER_TURN_NS     2000000 /* of receiving, and of drawing, in a turn of the loop */

struct server {
    const struct config *config;
    struct dataset **datasets;
    uv_loop_t *loop;
    struct router *router; /* NULL once closed */
    struct engine engine;
    struct keeper *keeper;
    struct codec *codec;
    struct loader *loader;
    struct desk *desk;
    struct desk_work *answered; /* whose report is done now, or NULL */
    struct share *share;
    struct generations *generations;
    struct server_timing timing;
    uint64_t turn_at_ns, idle_ns; /* when the last turn ended; waited until then, all together */
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t due, drain;
    void (*drained_cb)(void *ctx);
    void *drained_ctx;
    struct job_files files[CONFIG_JOBS_MAX];
    bool starved; /* a gather found no memory: no more in this turn */
    bool closing;
};

bool server_can_read(const struct server *s)
{
    return keeper_can_read(s->keeper);
}

void server_read(struct server *s, struct state_reading *r)
{
    keeper_read(s->keeper, r);
}

uint64_t server_now_ms(const struct server *s)
{
    return uv_now(s->loop);
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/* The vectors of this message, if they are ready: it answers the report that is done. */
static struct router_vectors *take_vectors(struct server *s, const struct message *m)
{
    struct desk_work *w = s->answered;
    struct router_vectors *vectors;

    if (w == NULL || m->type != MESSAGE_SELECTION ||
        m->selection.indices.data != w->ragged.selection.indices)
        return NULL;
    vectors = w->vectors;
    w->vectors = NULL;
    return vectors;
}

/* engine_out.send: small messages, copied, and answers to ragged reports, which are ready. */
static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    struct server *s = ctx;

    if (s->router == NULL)
        return -OHEM_UNREACHABLE;
    return router_send_prepared(s->router, peer, m, take_vectors(s, m));
}

/* On ZeroMQ's thread. */
static void frame_sent_cb(void *data, void *parcel)
{
    (void)data;
    loader_unref(parcel);
}

/* A block, or a piece of it, goes out without a copy; the rest is small. */
static int send_message(struct server *s, struct loader_parcel *parcel, const struct message *m)
{
    bool lends = m->type == MESSAGE_PART || m->batch.payload.count > 0;

    if (!lends)
        return router_send(s->router, parcel->peer, m);
    loader_ref(parcel);
    return router_send_lent(s->router, parcel->peer, m, frame_sent_cb, parcel);
}

static void count_sent(struct server *s, const struct loader_parcel *parcel)
{
    const struct message_batch *b = &parcel->batch.batch;

    s->timing.batches++;
    s->timing.batches_by_way[b->way]++;
    s->timing.payload_bytes += b->bytes;
}

static bool is_wanted(struct server *s, const struct loader_parcel *parcel)
{
    return !s->closing &&
           engine_may_send(&s->engine, parcel->peer, &parcel->key, parcel->batch.batch.token);
}

/* loader_send_cb */
static void parcel_cb(void *ctx, struct loader_parcel *parcel, const struct message *m)
{
    struct server *s = ctx;
    uint64_t began = uv_hrtime();
    int rc;

    s->timing.gather_ns += parcel->gather_ns;
    parcel->gather_ns = 0;
    if (m->type == MESSAGE_BATCH && !is_wanted(s, parcel)) {
        parcel->dropped = true;
        return;
    }
    rc = send_message(s, parcel, m);
    if (rc != 0) {
        parcel->dropped = true;
        engine_undelivered(&s->engine, parcel->peer, parcel->batch.batch.token,
                           rc == -OHEM_UNREACHABLE);
    } else if (m->type == MESSAGE_BATCH) {
        count_sent(s, parcel);
    }
    s->timing.send_ns += uv_hrtime() - began;
}

/* ---- what the engine asks ----------------------------------------------------------------------
 */

/* engine_out.offer: while the HELLO is at hand */
static void offer_cb(void *ctx, const struct session *session, struct message_welcome *out)
{
    struct server *s = ctx;

    share_offer(s->share, session, router_peer_uid(s->router), out);
}

/* engine_out.ended */
static void ended_cb(void *ctx, const struct session *session)
{
    struct server *s = ctx;

    share_forget(s->share, session->number,
                 generations_serial(s->generations, session->job->settings.dataset.number));
}

/* engine_out.has_room */
static bool has_room_cb(void *ctx, uint64_t peer)
{
    struct server *s = ctx;

    return loader_has_room_for(s->loader, peer);
}

/* engine_out.deliver */
static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct server *s = ctx;
    struct loader_order order = {
        .delivery = d,
        .dataset = s->datasets[d->dataset->number],
        .layout = d->session->layout,
    };
    int rc;

    order.way = share_way(s->share, d->session, &order.ring);
    rc = loader_gather(s->loader, &order);
    if (rc == 0)
        return;
    log_error("server", "batch not gathered, to be tried again step=%" PRIu64 " error=%s",
              d->lease->token.step, error_name(rc));
    s->starved = true;
    engine_undelivered(&s->engine, d->session->peer, d->lease->token, false);
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

static void refuse_message(struct server *s, uint64_t peer, uint32_t type, int code,
                           const char *why)
{
    log_debug("server", "message refused peer=%" PRIx64 " type=%s error=%s why=\"%s\"", peer,
              message_type_name(type), error_name(code), why);
    engine_malformed(&s->engine, peer, type, code, why);
}

/* A message that stays: the one at hand, or a letter already. */
static struct router_letter *keep(struct server *s, const struct router_message *got,
                                  struct router_letter *letter)
{
    letter = letter != NULL ? letter : router_keep(s->router, got);
    if (letter == NULL)
        refuse_message(s, got->peer, 0, -OHEM_NOMEM, "no memory for a message that has to wait");
    return letter;
}

/* A ragged report goes to the desk. @return whether it stays: the letter is no longer the caller's
 */
static bool start_ragged(struct server *s, const struct router_message *got,
                         struct router_letter *letter, const struct message *m)
{
    struct desk_work *w = desk_take(s->desk);
    struct reason why;

    if (w == NULL) {
        refuse_message(s, got->peer, m->type, -OHEM_NOMEM, "no memory for a ragged report");
        return false;
    }
    if (!engine_begin_ragged(&s->engine, got->peer, m, &w->ragged, uv_now(s->loop)) ||
        (letter = keep(s, got, letter)) == NULL) {
        desk_put_back(s->desk, w);
        return false;
    }
    w->letter = letter;
    /* again, since it has moved: it passed before */
    (void)codec_decode(s->codec, letter->message.frames, letter->message.count, &w->message, &why);
    desk_start(s->desk, w);
    return true;
}

/* @param letter  that the message lies in, or NULL: it is at hand
 * @return whether the letter stays with the desk */
static bool take_message(struct server *s, const struct router_message *got,
                         struct router_letter *letter)
{
    struct message m;
    struct reason why;
    int rc;

    if (got->total > got->count) {
        reason_set(&why, "a message of %zu frames, at most %u (MESSAGE_FRAMES_MAX)", got->total,
                   MESSAGE_FRAMES_MAX);
        refuse_message(s, got->peer, 0, -OHEM_TOO_LARGE, why.text);
        return false;
    }
    rc = codec_decode(s->codec, got->frames, got->count, &m, &why);
    if (rc != 0) {
        refuse_message(s, got->peer, m.type, rc, why.text);
        return false;
    }
    if (m.type != MESSAGE_HELLO && desk_is_busy(s->desk, got->peer)) {
        letter = keep(s, got, letter);
        if (letter != NULL)
            desk_hold(s->desk, letter);
        return letter != NULL;
    }
    if (desk_wants(&m))
        return start_ragged(s, got, letter, &m);
    engine_message(&s->engine, got->peer, &m, uv_now(s->loop));
    return false;
}

/* desk_done_cb */
static void ragged_done_cb(void *ctx, struct desk_work *w)
{
    struct server *s = ctx;

    s->answered = w;
    engine_end_ragged(&s->engine, w->letter->message.peer, &w->message, &w->ragged,
                      uv_now(s->loop));
    s->answered = NULL;
}

/* desk_next_cb */
static void letter_cb(void *ctx, struct router_letter *letter)
{
    if (!take_message(ctx, &letter->message, letter))
        router_letter_free(letter);
}

static void receive_some(struct server *s)
{
    uint64_t began = uv_hrtime(), now = began;
    enum router_receipt receipt = ROUTER_MESSAGE;
    struct router_message m;

    for (int i = 0;
         i < SERVER_RECEIVE_MAX && now - began < SERVER_TURN_NS && !desk_is_full(s->desk); i++) {
        receipt = router_receive(s->router, &m);
        if (receipt == ROUTER_NOTHING)
            break;
        if (receipt == ROUTER_MESSAGE)
            (void)take_message(s, &m, NULL);
        else
            s->engine.metrics.messages_discarded++;
        router_done(s->router);
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

static void tell_drained(struct server *s)
{
    void (*drained_cb)(void *) = s->drained_cb;

    (void)uv_timer_stop(&s->drain);
    s->drained_cb = NULL;
    if (drained_cb != NULL)
        drained_cb(s->drained_ctx);
}

/* A turn is all that the loop did since the last one but wait: other handles' callbacks, too. */
static void note_turn(struct server *s)
{
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(s->loop);
    uint64_t passed = now - s->turn_at_ns, waited = idle - s->idle_ns;

    if (s->turn_at_ns > 0)
        turns_add(&s->timing.turns, passed > waited ? passed - waited : 0);
    s->turn_at_ns = now;
    s->idle_ns = idle;
}

static void prepare_cb(uv_prepare_t *prepare)
{
    struct server *s = prepare->data;
    bool more;

    receive_some(s);
    more = draw_some(s);
    set_timer(s);
    more |= !desk_is_full(s->desk) && router_has_input(s->router);
    if (more) /* sends above may have brought news without an edge */
        (void)uv_idle_start(&s->idle, idle_cb);
    else
        (void)uv_idle_stop(&s->idle);
    keeper_turn(s->keeper);
    note_turn(s);
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

static int add_jobs(struct server *s, struct reason *why)
{
    const struct config *c = s->config;

    for (size_t i = 0; i < c->job_count; i++) {
        struct job_settings settings = c->jobs[i].settings;
        uint32_t number = 0;
        int rc;

        while (strcmp(c->datasets[number].name, c->jobs[i].dataset) != 0)
            number++; /* config_check() saw to it that there is one */
        settings.dataset = generations_describe(s->generations, number);
        keeper_fill_secret(s->keeper, settings.secret);
        rc = job_files_read(&c->jobs[i], s->datasets[number], &settings, &s->files[i], why);
        if (rc == 0)
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
        .prefetch_bytes_max = s->config->prefetch_bytes_max,
    };
    struct engine_out out = {.ctx = s,
                             .send = send_cb,
                             .offer = offer_cb,
                             .ended = ended_cb,
                             .has_room = has_room_cb,
                             .deliver = deliver_cb,
                             .event = event_cb};

    keeper_fill_settings(s->keeper, &settings);
    if (engine_init(&s->engine, &settings, &out) != 0) {
        reason_set(why, "no memory for %u sessions", settings.sessions_max);
        return -OHEM_NOMEM;
    }
    return add_jobs(s, why);
}

static void start_handles(struct server *s, int fd)
{
    (void)uv_loop_configure(s->loop, UV_METRICS_IDLE_TIME);
    (void)uv_poll_init(s->loop, &s->poll, fd);
    (void)uv_prepare_init(s->loop, &s->prepare);
    (void)uv_idle_init(s->loop, &s->idle);
    (void)uv_timer_init(s->loop, &s->due);
    (void)uv_timer_init(s->loop, &s->drain);
    s->prepare.data = s->due.data = s->drain.data = s;
    (void)uv_poll_start(&s->poll, UV_READABLE, readable_cb);
    (void)uv_prepare_start(&s->prepare, prepare_cb);
}

/* ---- while it runs -----------------------------------------------------------------------------
 */

struct generations *server_generations(struct server *s)
{
    return s->generations;
}

static void configure_job(struct server *s, size_t i)
{
    struct job_settings settings = s->config->jobs[i].settings;
    char *text = job_files_print(&s->config->jobs[i]);

    settings.text = text;
    job_set_policies(engine_find_job(&s->engine, settings.name), &settings);
    free(s->files[i].text);
    s->files[i].text = text;
}

void server_configure(struct server *s)
{
    const struct config *c = s->config;

    engine_set_limits(&s->engine, c->payload_bytes_max, c->prefetch_bytes_max);
    for (size_t i = 0; i < c->job_count; i++)
        configure_job(s, i);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

/* All that needs no loop any more. */
static void release(struct server *s)
{
    loader_free(s->loader);
    desk_free(s->desk);
    engine_deinit(&s->engine);
    for (size_t i = 0; i < CONFIG_JOBS_MAX; i++)
        job_files_free(&s->files[i]);
    keeper_free(s->keeper);
    share_free(s->share);
    generations_free(s->generations);
    codec_free(s->codec);
    free(s);
}

int server_new(uv_loop_t *loop, const struct config *config, struct dataset **datasets,
               struct server **out, struct reason *why)
{
    struct server *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL || sodium_init() < 0) {
        reason_set(why, "no memory, or no random numbers");
        free(s);
        return -OHEM_NOMEM;
    }
    s->loop = loop;
    s->config = config;
    s->datasets = datasets;
    s->codec = codec_new();
    s->desk = desk_new(loop, ragged_done_cb, letter_cb, s);
    rc = s->codec != NULL && s->desk != NULL ? keeper_open(config, &s->keeper, why) : -OHEM_NOMEM;
    if (rc == 0)
        rc = generations_new(loop, config, datasets, &s->engine, &s->generations);
    if (rc == 0)
        rc = make_engine(s, why);
    if (rc == 0)
        rc = router_open(config, &s->router, why);
    if (rc == 0)
        rc = share_new(loop, config, datasets, &s->share, why);
    if (rc == 0)
        generations_set_share(s->generations, s->share);
    if (rc == 0)
        rc = loader_new(loop, config->gather_threads, (uint32_t)config->dataset_count, parcel_cb, s,
                        &s->loader);
    if (rc != 0) {
        share_close(s->share);
        generations_close(s->generations);
        router_close(s->router);
        (void)uv_run(loop, UV_RUN_DEFAULT); /* until what was closed is gone */
        release(s);
        return rc;
    }
    start_handles(s, router_descriptor(s->router));
    log_info("server", "listening endpoint=%s", config->listen);
    *out = s;
    return 0;
}

/* changes_cb */
static void changed_cb(void *ctx, const char *key, const char *was, const char *is)
{
    const struct job *j = ctx;

    log_warning("job", "setting changed since it ran last name=%s key=%s was=\"%s\" is=\"%s\"",
                j->settings.name, key, was, is);
}

static void log_changes(const struct server *s)
{
    struct job *j;

    TAILQ_FOREACH (j, &s->engine.jobs, of_engine) {
        if (j->saved.restored)
            log_info("job", "goes on name=%s step=%" PRIu64 " epoch=%" PRIu64 " scored=%" PRIu32,
                     j->settings.name, j->step, j->coverage.epoch, j->hardness.partition.count);
        else if (j->settings.warm_start[0] != '\0')
            log_info("job",
                     "begins with the scores of another name=%s warm_start=%s scored=%" PRIu32,
                     j->settings.name, j->settings.warm_start, j->hardness.partition.count);
        if (j->saved.text_before != NULL && j->settings.text != NULL)
            changes_each(j->saved.text_before, j->settings.text, changed_cb, j);
    }
}

/* A job that did not grow while the daemon was down, as its data set did. */
static void say_stays(void *ctx, const char *reason)
{
    (void)ctx;
    log_warning("job", "%s", reason);
}

int server_start(struct server *s, struct reason *why)
{
    int rc = keeper_start(s->keeper, s->loop, &s->engine, why);

    if (rc != 0)
        return rc;
    log_changes(s);
    generations_catch_up(s->generations, say_stays, NULL);
    return 0;
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

const struct share_counts *server_share_counts(const struct server *s)
{
    return share_counts(s->share);
}

void server_get_keeper_status(const struct server *s, struct keeper_status *out)
{
    keeper_get_status(s->keeper, out);
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

int server_finish(struct server *s, struct reason *why)
{
    return keeper_finish(s->keeper, why);
}

void server_close(struct server *s)
{
    s->closing = true;
    keeper_close(s->keeper);
    uv_close((uv_handle_t *)&s->poll, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
    uv_close((uv_handle_t *)&s->idle, NULL);
    uv_close((uv_handle_t *)&s->due, NULL);
    uv_close((uv_handle_t *)&s->drain, NULL);
    router_close(s->router);
    s->router = NULL;
    loader_close(s->loader);
    desk_close(s->desk);
    generations_close(s->generations);
    share_close(s->share);
}

void server_free(struct server *s)
{
    if (s != NULL)
        release(s);
}
