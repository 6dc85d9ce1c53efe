/* shell.c - the fake shell; see shell.h. Its own failures abort: a test cannot go on without
 * memory. */
#include "shell.h"

#include "../../proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BOOT UINT64_C(0x0b007)

struct engine_settings shell_settings(void)
{
    return (struct engine_settings){
        .boot = BOOT, .sessions_max = 1000, .payload_bytes_max = MESSAGE_PAYLOAD_BYTES_MAX};
}

struct job_settings shell_job(const char *name, uint64_t n)
{
    struct job_settings s = {
        .dataset = {.instance_count = n, .record_bytes = 100, .record_bytes_max = 100},
        .seed = 1,
        .lambda = 0.5,
        .sampler = SAMPLER_POLICY_DEFAULT,
        .selection = SELECTION_POLICY_DEFAULT,
        .batch_size = n < 4 ? (uint32_t)n : 4,
        .credit = 2,
        .lease_ms = 1000,
        .late_ms = 5000,
        .secret = {UINT64_C(0x5ec4e7), UINT64_C(0x5ec4e8)},
    };

    assert(strlen(name) < sizeof s.name);
    memcpy(s.name, name, strlen(name) + 1);
    return s;
}

/* ---- parcels -------------------------------------------------------------------------------- */

static void *copy_of(const void *data, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);

    assert(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

static struct vector own_vector(struct parcel *p, size_t slot, struct vector v, size_t element)
{
    p->memory[slot] = copy_of(v.data, v.count * element);
    return (struct vector){.data = p->memory[slot], .count = v.count};
}

static struct parcel *parcel_new(struct shell *s, uint64_t peer)
{
    struct parcel *p = calloc(1, sizeof *p);

    assert(p != NULL && peer >= 1 && peer <= s->peer_count);
    p->peer = peer;
    p->lost = s->links[peer] != SHELL_LINK_UP;
    TAILQ_INSERT_TAIL(&s->parcels, p, queue);
    return p;
}

void parcel_free(struct parcel *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < sizeof p->memory / sizeof p->memory[0]; i++)
        free(p->memory[i]);
    free(p);
}

struct parcel *shell_take(struct shell *s)
{
    struct parcel *p = TAILQ_FIRST(&s->parcels);

    if (p != NULL)
        TAILQ_REMOVE(&s->parcels, p, queue);
    return p;
}

void shell_forget(struct shell *s)
{
    struct parcel *p;

    while ((p = shell_take(s)) != NULL)
        parcel_free(p);
}

/* ---- the engine's side ---------------------------------------------------------------------- */

static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    struct shell *s = ctx;
    struct parcel *p = parcel_new(s, peer);

    p->m = *m;
    if (m->type == MESSAGE_SELECTION) {
        p->m.selection.indices = own_vector(p, 0, m->selection.indices, sizeof(uint32_t));
        p->m.selection.weights = own_vector(p, 1, m->selection.weights, sizeof(float));
    }
    return s->links[peer] == SHELL_LINK_DOWN ? -OHEM_UNREACHABLE : 0;
}

static struct vector wide_ids(struct parcel *p, const struct lease *l)
{
    uint64_t *ids = malloc(l->count * sizeof *ids);

    assert(ids != NULL);
    for (uint32_t i = 0; i < l->count; i++)
        ids[i] = l->ids[i];
    p->memory[0] = ids;
    return (struct vector){.data = ids, .count = l->count};
}

static void note_failure(struct shell *s, uint64_t peer, struct token token)
{
    if (s->failure_count == s->failure_capacity) {
        s->failure_capacity = 2 * s->failure_capacity + 16;
        s->failures = realloc(s->failures, s->failure_capacity * sizeof *s->failures);
        assert(s->failures != NULL);
    }
    s->failures[s->failure_count++] = (struct shell_failure){peer, token};
}

static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct shell *s = ctx;
    const struct lease *l = d->lease;
    uint64_t peer = d->session->peer;
    struct parcel *p = parcel_new(s, peer);
    struct message_batch *b = &p->m.batch;

    p->m.type = MESSAGE_BATCH;
    memcpy(p->job, l->session->job->settings.name, sizeof p->job);
    b->token = l->token;
    b->epoch = l->epoch;
    b->count = l->count;
    b->coverage_count = l->coverage_count;
    b->record_bytes = d->dataset->record_bytes;
    b->lease_ms = l->session->job->settings.lease_ms;
    b->ids = wide_ids(p, l);
    b->probabilities = own_vector(p, 1, (struct vector){l->probabilities, l->count}, sizeof(float));
    b->weights = own_vector(p, 2, (struct vector){l->weights, l->count}, sizeof(float));
    p->epochs = p->memory[3] = copy_of(l->epochs, l->coverage_count * sizeof *l->epochs);
    b->lsn = l->lsn;
    if (s->links[peer] == SHELL_LINK_DOWN)
        note_failure(s, peer, l->token);
}

static void offer_cb(void *ctx, const struct session *session, struct message_welcome *out)
{
    const struct shell *s = ctx;

    assert(!session->ready);
    out->way = s->offer;
}

static void ended_cb(void *ctx, const struct session *session)
{
    struct shell *s = ctx;

    assert(session != NULL);
    s->ended++;
}

static void event_cb(void *ctx, const struct session *session, const char *what, const char *detail)
{
    struct shell *s = ctx;

    assert(session != NULL && what != NULL);
    (void)detail;
    s->events++;
}

/* ---- the test's side ------------------------------------------------------------------------ */

struct shell *shell_new(const struct engine_settings *settings)
{
    struct shell *s = calloc(1, sizeof *s);
    struct engine_out out = {.ctx = s,
                             .send = send_cb,
                             .offer = offer_cb,
                             .ended = ended_cb,
                             .deliver = deliver_cb,
                             .event = event_cb};

    assert(s != NULL);
    TAILQ_INIT(&s->parcels);
    s->now_ms = 1000;
    if (engine_init(&s->engine, settings, &out) != 0)
        abort();
    return s;
}

void shell_free(struct shell *s)
{
    if (s == NULL)
        return;
    engine_deinit(&s->engine);
    shell_forget(s);
    free(s->failures);
    free(s);
}

struct job *shell_add_job(struct shell *s, const struct job_settings *settings)
{
    struct reason why = {.text = ""};

    if (engine_add_job(&s->engine, settings, &why) != 0)
        abort();
    return engine_find_job(&s->engine, settings->name);
}

uint64_t shell_new_peer(struct shell *s)
{
    assert(s->peer_count + 1 < SHELL_PEERS_MAX);
    return ++s->peer_count;
}

void shell_set_link(struct shell *s, uint64_t peer, enum shell_link link)
{
    s->links[peer] = (unsigned char)link;
}

void shell_say(struct shell *s, uint64_t peer, const struct message *m)
{
    engine_message(&s->engine, peer, m, s->now_ms);
}

size_t shell_work(struct shell *s, size_t batches)
{
    size_t drawn = engine_work(&s->engine, batches, s->now_ms);

    for (size_t i = 0; i < s->failure_count; i++)
        engine_undelivered(&s->engine, s->failures[i].peer, s->failures[i].token, true);
    s->failure_count = 0;
    return drawn;
}

void shell_advance(struct shell *s, uint64_t ms, size_t hops)
{
    uint64_t end = s->now_ms + ms, due;

    while (hops-- > 0 && (due = engine_next_due(&s->engine)) <= end) {
        s->now_ms = due > s->now_ms ? due : s->now_ms;
        engine_tick(&s->engine, s->now_ms);
        assert(engine_next_due(&s->engine) > s->now_ms); /* or the shell's timer would spin */
    }
    s->now_ms = end;
    engine_tick(&s->engine, s->now_ms);
}
