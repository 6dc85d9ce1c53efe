/* engine.c - who said what, to whom it goes, and what is answered; see engine.h.
 *
 * Finds the session of a message by its key, hands the message to the session's job, and answers.
 * A session with a free slot stands in the hungry queue; engine_work() serves the queue in turn.
 */
#include "engine.h"

#include "../../proto/error.h"

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
    *e = (struct engine){0};
}

int engine_add_job(struct engine *e, const struct job_settings *settings, struct reason *why)
{
    struct job *j;
    int rc;

    if (engine_find_job(e, settings->name) != NULL) {
        reason_set(why, "there are two jobs named '%s'", settings->name);
        return -OHEM_EXISTS;
    }
    rc = job_new(settings, &j, why);
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

static int send(struct engine *e, uint64_t peer, const struct message *m)
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
    (void)send(e, peer, &m);
}

static void refuse(struct engine *e, uint64_t peer, uint32_t about, struct token token, int code,
                   const char *why)
{
    e->metrics.messages_refused++;
    answer_error(e, peer, about, token, code, why);
}

static void tell(struct engine *e, const struct session *s, const char *what, const char *detail)
{
    if (e->out.event != NULL)
        e->out.event(e->out.ctx, s, what, detail);
}

static void answer_welcome(struct engine *e, const struct session *s)
{
    const struct job *j = s->job;
    struct message m = {.type = MESSAGE_WELCOME};

    m.welcome = (struct message_welcome){
        .major = PROTO_MAJOR,
        .minor = PROTO_MINOR,
        .boot = e->settings.boot,
        .session = s->number,
        .instance_count = j->settings.dataset.instance_count,
        .record_bytes = j->settings.dataset.record_bytes,
        .record_bytes_max = j->settings.dataset.record_bytes_max,
        .generation = j->settings.dataset.generation,
        .batch_size = s->batch_size,
        .credit = s->credit,
        .lease_ms = j->settings.lease_ms,
    };
    memcpy(m.welcome.job, j->settings.name, sizeof m.welcome.job);
    (void)send(e, s->peer, &m);
}

static void answer_selection(struct engine *e, const struct session *s, const struct lease *l,
                             bool repeated)
{
    const struct lease_answer *a = &l->answer;
    struct message m = {.type = MESSAGE_SELECTION};

    m.selection = (struct message_selection){
        .token = l->token,
        .seq = a->seq,
        .lsn = a->lsn,
        .flags = (a->late ? SELECTION_FLAG_LATE : 0) | (repeated ? SELECTION_FLAG_REPEATED : 0),
        .nonfinite_count = a->selection.nonfinite_count,
        .all = a->selection.all,
        .kept = a->selection.kept,
        .indices = {.data = a->selection.indices, .count = a->selection.count},
        .weights = {.data = a->selection.weights, .count = a->selection.count},
    };
    (void)send(e, s->peer, &m);
}

static void answer_pong(struct engine *e, const struct session *s, uint64_t nonce)
{
    struct message m = {.type = MESSAGE_PONG};

    m.pong.nonce = nonce;
    m.pong.boot = e->settings.boot;
    (void)send(e, s->peer, &m);
}

static int answer_bye(struct engine *e, uint64_t peer, const struct session_key *key,
                      const char *text)
{
    struct message m = {.type = MESSAGE_BYE};

    m.bye.key = *key;
    (void)snprintf(m.bye.text, sizeof m.bye.text, "%s", text);
    return send(e, peer, &m);
}

/* ---- who is served -----------------------------------------------------------------------------
 */

static void feed(struct engine *e, struct session *s)
{
    bool wants = !s->unreachable && (s->unsent_count > 0 || (s->free_count > 0 && !e->draining));

    if (wants == s->hungry)
        return;
    s->hungry = wants;
    if (wants)
        TAILQ_INSERT_TAIL(&e->hungry, s, hungry_queue);
    else
        TAILQ_REMOVE(&e->hungry, s, hungry_queue);
}

static void end_session(struct engine *e, struct session *s, const char *what)
{
    tell(e, s, what, "");
    if (s->hungry)
        TAILQ_REMOVE(&e->hungry, s, hungry_queue);
    map_remove(&e->by_key, session_key_hash(&s->key));
    e->session_count--;
    job_leave(s->job, s);
}

/* Do something for each session; it may end the session. */
static void each_session(struct engine *e, uint64_t now_ms,
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

/* ---- HELLO -------------------------------------------------------------------------------------
 */

static bool is_held(struct vector held, struct token token)
{
    for (size_t i = 0; i < held.count; i++)
        if (token_equal(vector_token(held, i), token))
            return true;
    return false;
}

/* An open batch that did not arrive. */
static void mark_unsent(struct session *s, struct lease *l)
{
    if (l == NULL || l->state != LEASE_OPEN || l->unsent)
        return;
    l->unsent = true;
    s->unsent_count++;
}

/* The client says what it holds. What it lacks is sent again if nobody reported it; what it has
 * been answered for and gave back (the CREDIT got lost) is free. */
static void reconcile(struct session *s, struct vector held)
{
    struct reason why;

    for (uint32_t i = 0; i < s->credit; i++) {
        struct lease *l = &s->slots[i];

        if (l->state == LEASE_FREE || is_held(held, l->token))
            continue;
        if (l->state == LEASE_OPEN)
            mark_unsent(s, l);
        else
            (void)job_release(s->job, s, l->token, &why);
    }
}

static int check_same(const struct session *s, const struct message_hello *hello,
                      struct reason *why)
{
    bool same = strcmp(s->job->settings.name, hello->job) == 0 && hello->rank == s->rank &&
                (hello->batch_size == 0 || hello->batch_size == s->batch_size) &&
                (hello->credit == 0 || hello->credit == s->credit);

    if (same)
        return 0;
    reason_set(why,
               "the session is one of job '%s' with rank %u, batch size %u and credit %u; "
               "a session cannot change them",
               s->job->settings.name, s->rank, s->batch_size, s->credit);
    return -OHEM_INVALID;
}

static void resume(struct engine *e, uint64_t peer, struct session *s,
                   const struct message_hello *hello, uint64_t now_ms)
{
    /* over a connection that still stands nothing was lost: what is under way will arrive */
    bool lost = peer != s->peer || s->unreachable;
    struct reason why;
    int rc = check_same(s, hello, &why);

    if (rc != 0) {
        refuse(e, peer, MESSAGE_HELLO, (struct token){0}, rc, why.text);
        return;
    }
    s->peer = peer;
    s->unreachable = false;
    job_heard(s->job, s, now_ms);
    s->job->metrics.sessions_resumed++;
    answer_welcome(e, s);
    if (lost)
        reconcile(s, hello->held);
    feed(e, s);
    tell(e, s, "resumed", "");
}

/* Which jobs there are, as many as fit. */
static void explain_no_job(const struct engine *e, const char *name, struct reason *why)
{
    const struct job *j;
    char names[REASON_BYTES_MAX / 2] = "";

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (strlen(names) + strlen(j->settings.name) + 3 < sizeof names) {
            strcat(names, names[0] != '\0' ? ", " : "");
            strcat(names, j->settings.name);
        }
    reason_set(why, "there is no job '%s'; there are: %s", name, names);
}

static int check_hello(const struct engine *e, const struct message_hello *hello,
                       struct job **out_job, struct reason *why)
{
    struct job *j = engine_find_job(e, hello->job);
    uint64_t bytes;

    if (e->draining) {
        reason_set(why, "the daemon is going down");
        return -OHEM_DRAINING;
    }
    if (j == NULL) {
        explain_no_job(e, hello->job, why);
        return -OHEM_NO_JOB;
    }
    if (e->session_count >= e->settings.sessions_max) {
        reason_set(why, "all %u sessions are taken (sessions_max)", e->settings.sessions_max);
        return -OHEM_LIMIT;
    }
    bytes = j->settings.dataset.record_bytes_max * job_batch_size(j, hello->batch_size);
    if (bytes > e->settings.payload_bytes_max) {
        reason_set(why,
                   "a batch may take %" PRIu64 " bytes, over the limit of %" PRIu64
                   " (payload_bytes_max)",
                   bytes, e->settings.payload_bytes_max);
        return -OHEM_TOO_LARGE;
    }
    *out_job = j;
    return 0;
}

/* A session that is silent and whose peer is gone holds its limits for nothing: end it. */
static void end_if_gone(struct engine *e, struct session *s, uint64_t now_ms)
{
    struct message m = {.type = MESSAGE_PONG};

    m.pong.boot = e->settings.boot;
    if (s->heard_ms + ENGINE_SILENT_MS <= now_ms && send(e, s->peer, &m) != 0)
        end_session(e, s, "gone");
}

/* Let a trainer in, or say why not. */
static int join(struct engine *e, uint64_t peer, const struct message_hello *hello, uint64_t now_ms,
                struct session **out, struct reason *why)
{
    struct job *j = NULL;
    int rc = check_hello(e, hello, &j, why);

    if (rc != 0)
        return rc;
    return job_join(j, hello, peer, e->session_number + 1, now_ms, out, why);
}

static void handle_hello(struct engine *e, uint64_t peer, const struct message_hello *hello,
                         uint64_t now_ms)
{
    struct session *s = map_get(&e->by_key, session_key_hash(&hello->key));
    struct reason why;
    int rc = -OHEM_INVALID;

    if (s != NULL && session_key_equal(&s->key, &hello->key)) {
        resume(e, peer, s, hello, now_ms);
        return;
    }
    if (s != NULL)
        reason_set(&why, "the session key is too close to another's; draw a random one");
    else
        rc = join(e, peer, hello, now_ms, &s, &why);
    if (rc == -OHEM_LIMIT) {
        each_session(e, now_ms, end_if_gone);
        rc = join(e, peer, hello, now_ms, &s, &why);
    }
    if (rc != 0) {
        refuse(e, peer, MESSAGE_HELLO, (struct token){0}, rc, why.text);
        return;
    }
    e->session_number++;
    e->session_count++;
    map_put(&e->by_key, session_key_hash(&s->key), s);
    answer_welcome(e, s);
    feed(e, s);
    tell(e, s, "joined", "");
}

/* ---- the other messages ------------------------------------------------------------------------
 */

static void handle_credit(struct engine *e, struct session *s, const struct message_credit *credit)
{
    struct reason why;
    int rc = job_release(s->job, s, credit->token, &why);

    if (rc != 0)
        refuse(e, s->peer, MESSAGE_CREDIT, credit->token, rc, why.text);
    feed(e, s);
}

static void handle_loss(struct engine *e, struct session *s, const struct message_loss *loss)
{
    struct reason why;
    struct lease *l = NULL;
    bool repeated = false;
    int rc = job_report(s->job, s, loss, &l, &repeated, &why);

    if (rc == 0)
        answer_selection(e, s, l, repeated);
    else
        refuse(e, s->peer, MESSAGE_LOSS, loss->token, rc, why.text);
}

static void handle_ping(struct engine *e, struct session *s, uint64_t nonce, uint64_t now_ms)
{
    job_keepalive(s->job, s, now_ms);
    answer_pong(e, s, nonce);
}

static void handle_bye(struct engine *e, struct session *s)
{
    uint64_t peer = s->peer;
    struct session_key key = s->key;

    end_session(e, s, "left");
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
        handle_loss(e, s, &m->loss);
        job_keepalive(s->job, s, now_ms); /* who works on one batch still means to do the next */
        break;
    case MESSAGE_PING:
        handle_ping(e, s, m->ping.nonce, now_ms);
        break;
    case MESSAGE_BYE:
        handle_bye(e, s);
        break;
    default:
        assert(false && "a message without a key reached a session");
    }
}

void engine_message(struct engine *e, uint64_t peer, const struct message *m, uint64_t now_ms)
{
    const struct session_key *key = key_of(m);
    struct session *s;
    struct reason why;

    e->metrics.messages_received++;
    if (m->type == MESSAGE_HELLO) {
        handle_hello(e, peer, &m->hello, now_ms);
        return;
    }
    if (key == NULL) {
        reason_set(&why, "only the daemon sends messages of type %u", (unsigned)m->type);
        refuse(e, peer, m->type, (struct token){0}, -OHEM_MALFORMED, why.text);
        return;
    }
    s = find_session(e, peer, key);
    if (s == NULL) {
        refuse(e, peer, m->type, token_of(m), -OHEM_NO_SESSION,
               "no session of this connection has that key; HELLO comes first");
        return;
    }
    job_heard(s->job, s, now_ms);
    s->unreachable = false;
    feed(e, s);
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
    if (s->unsent_count > 0) {
        s->job->metrics.batches_resent++;
        return take_unsent(s);
    }
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
        feed(e, s);
        e->out.deliver(e->out.ctx, &(struct engine_delivery){
                                       .peer = s->peer,
                                       .dataset = &s->job->settings.dataset,
                                       .lease = l,
                                       .lease_ms = s->job->settings.lease_ms,
                                   });
    }
    return done;
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
            mark_unsent(s, session_find(s, token));
            if (unreachable && !s->unreachable)
                tell(e, s, "unreachable", "nothing more is sent to it until it is heard");
            s->unreachable |= unreachable;
            feed(e, s);
        }
}

void engine_tick(struct engine *e, uint64_t now_ms)
{
    struct job *j;
    struct session *s;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        job_expire(j, now_ms);
        while ((s = job_forgotten(j, now_ms)) != NULL)
            end_session(e, s, "forgotten");
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
    feed(e, s);
    if (answer_bye(e, s->peer, &s->key, "the daemon is going down; report what you hold") != 0)
        end_session(e, s, "gone");
}

void engine_drain(struct engine *e)
{
    e->draining = true;
    each_session(e, 0, tell_drain);
}

bool engine_idle(const struct engine *e)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (j->leases.open_count > 0)
            return false;
    return true;
}
