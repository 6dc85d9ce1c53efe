/* engine.c - who said what, to whom it goes, and what is answered; see engine.h.
 *
 * Finds the session of a message by its key, hands the message to the session's job, and answers.
 * A session with a free slot stands in the hungry queue; engine_work() serves the queue in turn.
 */
#include "engine_inner.h"

#include "../../proto/error.h"
#include "../../proto/items.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int engine_init(struct engine *e, const struct engine_settings *settings,
                const struct engine_out *out)
{
    *e = (struct engine){.settings = *settings, .out = *out};
    TAILQ_INIT(&e->jobs);
    TAILQ_INIT(&e->hungry);
    return map_init(&e->by_key, settings->sessions_max);
}

void engine_deinit(struct engine *e)
{
    struct job *j;

    while ((j = TAILQ_FIRST(&e->jobs)) != NULL) {
        TAILQ_REMOVE(&e->jobs, j, of_engine);
        job_free(j);
    }
    map_deinit(&e->by_key);
    ragged_deinit(&e->ragged);
    *e = (struct engine){0};
}

int engine_add_job(struct engine *e, const struct job_settings *settings, struct reason *why)
{
    struct job_settings own = *settings;
    struct job *j;
    int rc;

    own.durable = e->settings.durable;
    if (engine_find_job(e, settings->name) != NULL) {
        reason_set(why, "there are two jobs named '%s'", settings->name);
        return -OHEM_EXISTS;
    }
    rc = job_new(&own, &j, why);
    if (rc == 0)
        TAILQ_INSERT_TAIL(&e->jobs, j, of_engine);
    return rc;
}

struct job *engine_find_job(const struct engine *e, const char *name)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (strcmp(j->settings.name, name) == 0)
            return j;
    return NULL;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

int engine_send(struct engine *e, uint64_t peer, const struct message *m)
{
    int rc = e->out.send(e->out.ctx, peer, m);

    if (rc != 0)
        e->metrics.messages_unsent++;
    return rc;
}

static void answer_error(struct engine *e, uint64_t peer, uint32_t about, struct token token,
                         int code, const char *why)
{
    struct message m = {.type = MESSAGE_ERROR};

    m.error.code = (uint32_t)-code;
    m.error.about = about;
    m.error.token = token;
    (void)snprintf(m.error.text, sizeof m.error.text, "%.*s", (int)sizeof m.error.text - 1, why);
    (void)engine_send(e, peer, &m);
}

void engine_refuse(struct engine *e, uint64_t peer, uint32_t about, struct token token, int code,
                   const char *why)
{
    e->metrics.messages_refused++;
    answer_error(e, peer, about, token, code, why);
}

void engine_tell(struct engine *e, const struct session *s, const char *what, const char *detail)
{
    if (e->out.event != NULL)
        e->out.event(e->out.ctx, s, what, detail);
}

/* Without rounds each batch is one; so was what was answered before there were any. */
static struct message_share share_of(const struct session *s, const struct lease_answer *a,
                                     const struct selection *chosen)
{
    if (rounds_are_on(&s->job->rounds) && a->share.count >= chosen->count)
        return a->share;
    return (struct message_share){.count = chosen->count, .present = 1, .scale = 1};
}

/* @param r  the report was ragged: its items are answered; or NULL */
static void answer_selection(struct engine *e, const struct session *s, struct token token,
                             const struct lease_answer *a, uint32_t flags, const struct ragged *r)
{
    const struct selection *chosen = r != NULL ? &r->selection : &a->selection;
    struct message m = {.type = MESSAGE_SELECTION};

    m.selection = (struct message_selection){
        .token = token,
        .seq = a->seq,
        .lsn = a->lsn,
        .flags = flags,
        .durable_seq = s->durable_seq,
        .nonfinite_count = chosen->nonfinite_count,
        .ignored_count = chosen->ignored_count,
        .all = chosen->all,
        .kept = chosen->kept,
        .share = share_of(s, a, chosen),
        .indices = {.data = chosen->indices, .count = chosen->count},
        .weights = {.data = chosen->weights, .count = chosen->weighted ? chosen->count : 0},
    };
    if (r != NULL)
        m.selection.scores = (struct vector){r->scores, r->k};
    (void)engine_send(e, s->peer, &m);
}

static void answer_rounds(struct engine *e, struct job *j, uint64_t now_ms)
{
    const struct round_shard *shard;
    struct round *r;

    while ((r = job_next_round(j, now_ms)) != NULL) {
        ROUND_FOREACH (shard, r)
            answer_selection(e, shard->session, shard->token, &shard->answer, shard->answer.flags,
                             NULL);
        rounds_done(&j->rounds, r);
    }
}

/* What became of a report: who waits for a round is answered with it. */
static void answer_report(struct engine *e, const struct session *s,
                          const struct job_outcome *outcome, const struct ragged *r)
{
    const struct lease *l = outcome->lease;

    if (l != NULL)
        answer_selection(e, s, l->token, &l->answer, outcome->flags, r);
    answer_rounds(e, s->job, s->heard_ms);
}

static void answer_pong(struct engine *e, const struct session *s, uint64_t nonce)
{
    struct message m = {.type = MESSAGE_PONG};

    m.pong.nonce = nonce;
    m.pong.boot = e->settings.boot;
    m.pong.durable_seq = s->durable_seq;
    (void)engine_send(e, s->peer, &m);
}

void engine_tell_durable(struct engine *e, struct session *s)
{
    struct message m = {.type = MESSAGE_DURABLE};

    if (s->sync_seq == 0 || s->durable_seq < s->sync_seq)
        return;
    s->sync_seq = 0;
    m.durable.seq = s->durable_seq;
    (void)engine_send(e, s->peer, &m);
}

static int answer_bye(struct engine *e, uint64_t peer, const struct session_key *key,
                      const char *text)
{
    struct message m = {.type = MESSAGE_BYE};

    m.bye.key = *key;
    (void)snprintf(m.bye.text, sizeof m.bye.text, "%s", text);
    return engine_send(e, peer, &m);
}

/* ---- who is served -----------------------------------------------------------------------------
 */

void engine_feed(struct engine *e, struct session *s)
{
    bool wants =
        s->ready && !s->unreachable && (s->unsent_count > 0 || (s->free_count > 0 && !e->draining));

    if (wants == s->hungry)
        return;
    s->hungry = wants;
    if (wants)
        TAILQ_INSERT_TAIL(&e->hungry, s, hungry_queue);
    else
        TAILQ_REMOVE(&e->hungry, s, hungry_queue);
}

void engine_end_session(struct engine *e, struct session *s, const char *what)
{
    struct job *j = s->job;

    engine_tell(e, s, what, "");
    if (e->out.ended != NULL)
        e->out.ended(e->out.ctx, s);
    if (s->hungry)
        TAILQ_REMOVE(&e->hungry, s, hungry_queue);
    map_remove(&e->by_key, session_key_hash(&s->key));
    e->session_count--;
    job_leave(j, s);
    answer_rounds(e, j, 0);
}

/* Do something for each session; it may end the session. */
void engine_each_session(struct engine *e, uint64_t now_ms,
                         void (*visit)(struct engine *e, struct session *s, uint64_t now_ms))
{
    struct job *j;
    struct session *s, *next;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        for (s = TAILQ_FIRST(&j->sessions); s != NULL; s = next) {
            next = TAILQ_NEXT(s, of_job);
            visit(e, s, now_ms);
        }
}

/* ---- the other messages ------------------------------------------------------------------------
 */

static void handle_credit(struct engine *e, struct session *s, const struct message_credit *credit)
{
    struct reason why;
    int rc = job_release(s->job, s, credit->token, &why);

    if (rc != 0)
        engine_refuse(e, s->peer, MESSAGE_CREDIT, credit->token, rc, why.text);
    engine_feed(e, s);
}

static void handle_loss(struct engine *e, struct session *s, const struct message_loss *loss)
{
    struct reason why;
    struct job_outcome outcome;
    int rc = job_report(s->job, s, loss, &outcome, &why);

    if (rc == 0)
        answer_report(e, s, &outcome, NULL);
    else
        engine_refuse(e, s->peer, MESSAGE_LOSS, loss->token, rc, why.text);
}

static bool begin_ragged(struct engine *e, struct session *s, const struct message_loss *loss,
                         struct ragged *r)
{
    struct reason why;
    int rc = job_begin_ragged(s->job, s, loss, r, &why);

    if (rc != 0)
        engine_refuse(e, s->peer, MESSAGE_LOSS, loss->token, rc, why.text);
    return rc == 0;
}

static void end_ragged(struct engine *e, struct session *s, const struct message_loss *loss,
                       const struct ragged *r)
{
    struct reason why;
    struct job_outcome outcome;
    int rc = job_report_ragged(s->job, s, loss, r, &outcome, &why);

    if (rc == 0)
        answer_report(e, s, &outcome, r);
    else
        engine_refuse(e, s->peer, MESSAGE_LOSS, loss->token, rc, why.text);
}

static void handle_ragged(struct engine *e, struct session *s, const struct message_loss *loss)
{
    if (!begin_ragged(e, s, loss, &e->ragged))
        return;
    ragged_work(&e->ragged, loss);
    end_ragged(e, s, loss, &e->ragged);
}

static void handle_ready(struct engine *e, struct session *s, uint32_t way)
{
    struct reason why;

    if (way != WAY_INLINE && way != s->way) {
        reason_set(&why, "way %u was not offered to this session, but %u", way, s->way);
        engine_refuse(e, s->peer, MESSAGE_READY, (struct token){0}, -OHEM_INVALID, why.text);
        return;
    }
    s->way = way;
    s->ready = true;
    engine_feed(e, s);
}

static void handle_ping(struct engine *e, struct session *s, uint64_t nonce, uint64_t now_ms)
{
    job_keepalive(s->job, s, now_ms);
    answer_pong(e, s, nonce);
}

static void handle_sync(struct engine *e, struct session *s, uint64_t seq)
{
    if (!e->settings.durable) {
        engine_refuse(e, s->peer, MESSAGE_SYNC, (struct token){0}, -OHEM_INVALID,
                      "this daemon writes nothing to disk, so nothing will be durable");
        return;
    }
    s->sync_seq = seq;
    engine_tell_durable(e, s);
}

static void handle_bye(struct engine *e, struct session *s)
{
    uint64_t peer = s->peer;
    struct session_key key = s->key;

    engine_end_session(e, s, "left");
    (void)answer_bye(e, peer, &key, "");
}

/* The key of a message that only a session may send, or NULL. */
static const struct session_key *key_of(const struct message *m)
{
    switch (m->type) {
    case MESSAGE_CREDIT:
        return &m->credit.key;
    case MESSAGE_LOSS:
        return &m->loss.key;
    case MESSAGE_PING:
        return &m->ping.key;
    case MESSAGE_BYE:
        return &m->bye.key;
    case MESSAGE_READY:
        return &m->ready.key;
    case MESSAGE_SYNC:
        return &m->sync.key;
    default:
        return NULL;
    }
}

static struct token token_of(const struct message *m)
{
    if (m->type == MESSAGE_CREDIT)
        return m->credit.token;
    return m->type == MESSAGE_LOSS ? m->loss.token : (struct token){0};
}

/* The session that this peer may speak for, or NULL. */
static struct session *find_session(const struct engine *e, uint64_t peer,
                                    const struct session_key *key)
{
    struct session *s = map_get(&e->by_key, session_key_hash(key));

    return s != NULL && s->peer == peer && session_key_equal(&s->key, key) ? s : NULL;
}

static void handle(struct engine *e, struct session *s, const struct message *m, uint64_t now_ms)
{
    switch (m->type) {
    case MESSAGE_CREDIT:
        handle_credit(e, s, &m->credit);
        job_keepalive(s->job, s, now_ms);
        break;
    case MESSAGE_LOSS:
        if (items_are_ragged(&m->loss.items))
            handle_ragged(e, s, &m->loss);
        else
            handle_loss(e, s, &m->loss);
        job_keepalive(s->job, s, now_ms); /* who works on one batch still means to do the next */
        break;
    case MESSAGE_PING:
        handle_ping(e, s, m->ping.nonce, now_ms);
        break;
    case MESSAGE_BYE:
        handle_bye(e, s);
        break;
    case MESSAGE_SYNC:
        handle_sync(e, s, m->sync.seq);
        break;
    case MESSAGE_READY:
        handle_ready(e, s, m->ready.way);
        break;
    default:
        assert(false && "a message without a key reached a session");
    }
}

/* Who said it: a session that is heard now; or NULL, and it was told so. */
static struct session *hear_session(struct engine *e, uint64_t peer, const struct message *m,
                                    const struct session_key *key, uint64_t now_ms)
{
    struct session *s = find_session(e, peer, key);

    if (s == NULL) {
        engine_refuse(e, peer, m->type, token_of(m), -OHEM_NO_SESSION,
                      "no session of this connection has that key; HELLO comes first");
        return NULL;
    }
    job_heard(s->job, s, now_ms);
    s->unreachable = false;
    engine_feed(e, s);
    return s;
}

bool engine_begin_ragged(struct engine *e, uint64_t peer, const struct message *m, struct ragged *r,
                         uint64_t now_ms)
{
    struct session *s;

    e->metrics.messages_received++;
    s = hear_session(e, peer, m, &m->loss.key, now_ms);
    return s != NULL && begin_ragged(e, s, &m->loss, r);
}

void engine_end_ragged(struct engine *e, uint64_t peer, const struct message *m,
                       const struct ragged *r, uint64_t now_ms)
{
    struct session *s = hear_session(e, peer, m, &m->loss.key, now_ms);

    if (s == NULL)
        return;
    end_ragged(e, s, &m->loss, r);
    job_keepalive(s->job, s, now_ms);
}

void engine_message(struct engine *e, uint64_t peer, const struct message *m, uint64_t now_ms)
{
    const struct session_key *key = key_of(m);
    struct session *s;
    struct reason why;

    e->metrics.messages_received++;
    if (m->type == MESSAGE_HELLO) {
        engine_handle_hello(e, peer, &m->hello, now_ms);
        return;
    }
    if (key == NULL) {
        reason_set(&why, "only the daemon sends messages of type %u", (unsigned)m->type);
        engine_refuse(e, peer, m->type, (struct token){0}, -OHEM_MALFORMED, why.text);
        return;
    }
    s = hear_session(e, peer, m, key, now_ms);
    if (s != NULL)
        handle(e, s, m, now_ms);
}

void engine_malformed(struct engine *e, uint64_t peer, uint32_t type, int code, const char *why)
{
    e->metrics.messages_received++;
    e->metrics.messages_malformed++;
    answer_error(e, peer, type, (struct token){0}, code, why);
}

/* ---- work and time -----------------------------------------------------------------------------
 */

/* An open batch that did not arrive. */
void engine_mark_unsent(struct session *s, struct lease *l)
{
    if (l == NULL || l->state != LEASE_OPEN || l->unsent)
        return;
    l->unsent = true;
    s->unsent_count++;
}

static struct lease *take_unsent(struct session *s)
{
    for (uint32_t i = 0; i < s->credit; i++)
        if (s->slots[i].unsent) {
            s->slots[i].unsent = false;
            s->unsent_count--;
            return &s->slots[i];
        }
    return NULL;
}

/* The next batch for a session: one it lost, or a new one; NULL when none can be drawn now. */
static struct lease *next_batch(struct engine *e, struct session *s, uint64_t now_ms)
{
    if (e->out.has_room != NULL && !e->out.has_room(e->out.ctx, s->peer))
        return NULL;
    if (job_may_resend(s)) {
        s->job->metrics.batches_resent++;
        return take_unsent(s);
    }
    job_prepare(s->job, now_ms);
    return !e->draining && job_ready(s->job, s) ? job_draw(s->job, s, now_ms) : NULL;
}

size_t engine_work(struct engine *e, size_t batches, uint64_t now_ms)
{
    size_t done = 0, fruitless = 0;
    struct session *s;

    while (done < batches && fruitless < e->session_count &&
           (s = TAILQ_FIRST(&e->hungry)) != NULL) {
        struct lease *l = next_batch(e, s, now_ms);

        TAILQ_REMOVE(&e->hungry, s, hungry_queue);
        TAILQ_INSERT_TAIL(&e->hungry, s, hungry_queue);
        if (l == NULL) {
            fruitless++;
            continue;
        }
        fruitless = 0;
        done++;
        engine_feed(e, s);
        e->out.deliver(e->out.ctx, &(struct engine_delivery){
                                       .session = s,
                                       .dataset = &s->job->settings.dataset,
                                       .lease = l,
                                       .slot = (uint32_t)(l - s->slots),
                                       .lease_ms = s->job->settings.lease_ms,
                                   });
    }
    return done;
}

bool engine_may_send(struct engine *e, uint64_t peer, const struct session_key *key,
                     struct token token)
{
    struct session *s = find_session(e, peer, key);
    struct lease *l = s != NULL ? session_find(s, token) : NULL;
    bool fresh;

    if (l == NULL)
        return false;
    fresh = job_send(s->job, s, l);
    engine_feed(e, s);
    return fresh;
}

void engine_undelivered(struct engine *e, uint64_t peer, struct token token, bool unreachable)
{
    struct job *j;
    struct session *s;

    e->metrics.messages_unsent++;
    TAILQ_FOREACH (j, &e->jobs, of_engine)
        TAILQ_FOREACH (s, &j->sessions, of_job) {
            if (s->peer != peer)
                continue;
            engine_mark_unsent(s, session_find(s, token));
            if (unreachable && !s->unreachable)
                engine_tell(e, s, "unreachable", "nothing more is sent to it until it is heard");
            s->unreachable |= unreachable;
            engine_feed(e, s);
        }
}

void engine_tick(struct engine *e, uint64_t now_ms)
{
    struct job *j;
    struct session *s;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        job_expire(j, now_ms);
        answer_rounds(e, j, now_ms);
        while ((s = job_forgotten(j, now_ms)) != NULL)
            engine_end_session(e, s, "forgotten");
    }
}

uint64_t engine_next_due(const struct engine *e)
{
    uint64_t due = UINT64_MAX;
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        uint64_t mine = job_next_due(j);

        due = mine < due ? mine : due;
    }
    return due;
}

static void tell_drain(struct engine *e, struct session *s, uint64_t now_ms)
{
    (void)now_ms;
    engine_feed(e, s);
    if (answer_bye(e, s->peer, &s->key, "the daemon is going down; report what you hold") != 0)
        engine_end_session(e, s, "gone");
}

void engine_drain(struct engine *e)
{
    e->draining = true;
    engine_each_session(e, 0, tell_drain);
}

bool engine_idle(const struct engine *e)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (j->leases.open_count > 0)
            return false;
    return true;
}
