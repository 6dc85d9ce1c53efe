/* engine_hello.c - who is let in, who comes back, and what they are told; see engine.h. */
#include "engine_inner.h"

#include "../../proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Until the session is ready each WELCOME carries the offer; without one it is ready. */
static void make_offer(struct engine *e, struct session *s, struct message_welcome *m)
{
    if (!s->ready && e->out.offer != NULL) {
        e->out.offer(e->out.ctx, s, m);
        s->way = m->way;
    }
    s->ready |= s->way == WAY_INLINE;
    m->way = s->way;
}

static void answer_welcome(struct engine *e, struct session *s)
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
        .layout = s->layout,
        .memory = job_memory(j, e->settings.memory),
        .durable = e->settings.durable,
        .round = j->settings.round.ranks,
    };
    memcpy(m.welcome.job, j->settings.name, sizeof m.welcome.job);
    if (j->settings.dataset.fields != NULL)
        (void)snprintf(m.welcome.fields, sizeof m.welcome.fields, "%s", j->settings.dataset.fields);
    make_offer(e, s, &m.welcome);
    (void)engine_send(e, s->peer, &m);
}

static bool has(struct vector tokens, struct token token)
{
    for (size_t i = 0; i < tokens.count; i++)
        if (token_equal(vector_token(tokens, i), token))
            return true;
    return false;
}

/* The client says what it holds, and of what it still keeps the report. What it lacks is sent again
 * if nobody reported it; what it has been answered for and gave back (the CREDIT got lost) is free;
 * for what it keeps, the LOSS and the CREDIT will come. */
static void reconcile(struct session *s, struct vector held, struct vector kept)
{
    struct reason why;

    for (uint32_t i = 0; i < s->credit; i++) {
        struct lease *l = &s->slots[i];

        if (l->state == LEASE_FREE || has(held, l->token) || has(kept, l->token))
            continue;
        if (l->state == LEASE_OPEN)
            engine_mark_unsent(s, l);
        else
            (void)job_release(s->job, s, l->token, &why);
    }
}

/* Tokens of another memory say nothing. */
static struct vector known(const struct engine *e, const struct session *s,
                           const struct message_hello *hello, struct vector tokens)
{
    return hello->memory == job_memory(s->job, e->settings.memory) ? tokens : (struct vector){0};
}

/* What it holds of an earlier life and is not known any more. */
static void claim(const struct engine *e, struct session *s, const struct message_hello *hello)
{
    struct vector held = known(e, s, hello, hello->held);

    for (size_t i = 0; i < held.count; i++)
        job_claim(s, vector_token(held, i));
}

static int check_same(const struct session *s, const struct message_hello *hello,
                      struct reason *why)
{
    bool same =
        strcmp(s->job->settings.name, hello->job) == 0 && hello->rank == s->rank &&
        hello->layout == s->layout &&
        (hello->batch_size == 0 || hello->batch_size == s->batch_size) &&
        (hello->credit == 0 || hello->credit == s->credit || hello->credit == s->credit_asked);

    if (same)
        return 0;
    reason_set(why,
               "the session is one of job '%s' with rank %u, batch size %u, credit %u and layout "
               "%u; a session cannot change them",
               s->job->settings.name, s->rank, s->batch_size, s->credit, s->layout);
    return -OHEM_INVALID;
}

static void resume(struct engine *e, uint64_t peer, struct session *s,
                   const struct message_hello *hello, uint64_t now_ms)
{
    /* over a connection that still stands nothing was lost: what is under way will arrive */
    bool lost = peer != s->peer || s->unreachable;
    struct reason why;
    int rc = check_same(s, hello, &why);

    if (rc == 0)
        rc = job_check_round(s->job, s->rank, s->batch_size, &why);
    if (rc != 0) {
        engine_refuse(e, peer, MESSAGE_HELLO, (struct token){0}, rc, why.text);
        return;
    }
    s->peer = peer;
    s->unreachable = false;
    job_heard(s->job, s, now_ms);
    s->job->metrics.sessions_resumed++;
    answer_welcome(e, s);
    if (lost)
        reconcile(s, known(e, s, hello, hello->held), known(e, s, hello, hello->kept));
    claim(e, s, hello);
    engine_feed(e, s);
    engine_tell(e, s, "resumed", "");
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

static uint64_t batch_bytes_max(const struct job *j, const struct message_hello *hello)
{
    return job_batch_bytes_max(j, job_batch_size(j, hello->batch_size),
                               (enum message_records)hello->layout);
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
    bytes = batch_bytes_max(j, hello);
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
    if (s->heard_ms + ENGINE_SILENT_MS <= now_ms && engine_send(e, s->peer, &m) != 0)
        engine_end_session(e, s, "gone");
}

/* As many batches as the bytes that a session may hold allow, but one. */
static void limit_credit(const struct engine *e, const struct job *j, struct message_hello *wishes)
{
    uint64_t bytes = batch_bytes_max(j, wishes);
    uint64_t credit_max = e->settings.prefetch_bytes_max / (bytes > 0 ? bytes : 1);
    uint32_t credit = wishes->credit > 0 ? wishes->credit : j->settings.credit;

    if (e->settings.prefetch_bytes_max == 0 || credit <= credit_max)
        return;
    wishes->credit = credit_max > 0 ? (uint32_t)credit_max : 1;
}

/* Let a trainer in, or say why not. */
static int join(struct engine *e, uint64_t peer, const struct message_hello *hello, uint64_t now_ms,
                struct session **out, struct reason *why)
{
    struct message_hello wishes = *hello;
    struct job *j = NULL;
    int rc = check_hello(e, hello, &j, why);

    if (rc != 0)
        return rc;
    rc = job_check_round(j, hello->rank, job_batch_size(j, hello->batch_size), why);
    if (rc != 0)
        return rc;
    limit_credit(e, j, &wishes);
    rc = job_join(j, &wishes, peer, e->session_number + 1, now_ms, out, why);
    if (rc != 0)
        return rc;
    (*out)->credit_asked = hello->credit;
    return 0;
}

void engine_handle_hello(struct engine *e, uint64_t peer, const struct message_hello *hello,
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
        engine_each_session(e, now_ms, end_if_gone);
        rc = join(e, peer, hello, now_ms, &s, &why);
    }
    if (rc != 0) {
        engine_refuse(e, peer, MESSAGE_HELLO, (struct token){0}, rc, why.text);
        return;
    }
    e->session_number++;
    e->session_count++;
    map_put(&e->by_key, session_key_hash(&s->key), s);
    claim(e, s, hello);
    answer_welcome(e, s);
    engine_feed(e, s);
    engine_tell(e, s, "joined", "");
}
