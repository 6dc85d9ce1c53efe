/* engine_state.c - what survives a restart, of all jobs; see engine.h. */
#include "engine_inner.h"
#include "lease_rows.h"

#include "../../proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct job *find_number(const struct engine *e, uint32_t number)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (j->saved.number == number)
            return j;
    return NULL;
}

/* Rows of a job that is not configured any more stay as they are; their number is taken. */
static int restore_number(struct engine *e, const struct rows_key *key, const void *value,
                          size_t size, struct reason *why)
{
    const char *name = job_row_name(value, size);
    struct job *j = name != NULL ? engine_find_job(e, name) : NULL;
    int rc;

    if (name == NULL) {
        reason_set(why, "the row of job %u cannot be read", key->job);
        return -OHEM_STATE;
    }
    if (key->job > e->job_number)
        e->job_number = key->job;
    if (j == NULL)
        return 0;
    j->saved.number = key->job;
    rc = job_restore_row(j, key, value, size, why);
    if (rc == 0 && j->saved.session_last > e->session_number)
        e->session_number = j->saved.session_last; /* the audit tells of those that left */
    return rc;
}

static int restore_session(struct engine *e, struct job *j, uint64_t number, const void *value,
                           size_t size, struct reason *why)
{
    struct message_hello hello;
    struct session *s;
    int rc = session_row_read(value, size, &hello, why);

    if (rc == 0 && map_reserve(&e->by_key, e->session_count + 1) != 0) {
        reason_set(why, "no memory for session %" PRIu64, number);
        rc = -OHEM_NOMEM;
    }
    if (rc == 0)
        rc = job_join(j, &hello, 0, number, 0, &s, why);
    if (rc != 0)
        return rc;
    session_row_restore(s, value);
    j->metrics.sessions_opened--; /* it did before */
    map_put(&e->by_key, session_key_hash(&s->key), s);
    e->session_count++;
    return 0;
}

int engine_restore_row(struct engine *e, const struct rows_key *key, const void *value, size_t size,
                       struct reason *why)
{
    struct job *j;

    if (key->table == ROWS_JOB)
        return restore_number(e, key, value, size, why);
    if (key->table == ROWS_SESSION && key->number > e->session_number)
        e->session_number = key->number;
    j = find_number(e, key->job);
    if (j == NULL)
        return 0;
    if (key->table == ROWS_SESSION)
        return restore_session(e, j, key->number, value, size, why);
    return job_restore_row(j, key, value, size, why);
}

/* A job that begins, and may begin with what another knows. */
static void warm_start(struct engine *e, struct job *j)
{
    const struct job *from =
        j->settings.warm_start[0] != '\0' ? engine_find_job(e, j->settings.warm_start) : NULL;

    if (from != NULL && from != j && from->hardness.n == j->hardness.n)
        job_warm_start(j, from);
}

int engine_restore_end(struct engine *e, uint64_t now_ms, struct reason *why)
{
    struct job *j;
    int rc = 0;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (rc == 0)
            rc = job_restore_end(j, now_ms, why);
    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        if (j->saved.number == 0)
            j->saved.number = ++e->job_number;
        if (rc == 0 && !j->saved.restored)
            warm_start(e, j);
    }
    return rc;
}

/* What a batch of before was handed out under shall not fit one of the new life. */
static void succeed(struct engine *e, struct job *old, struct job *new)
{
    new->saved.number = old->saved.number;
    new->saved.life = old->saved.life + 1;
    TAILQ_INSERT_BEFORE(old, new, of_engine);
    TAILQ_REMOVE(&e->jobs, old, of_engine);
    job_free(old);
}

static void end_sessions(struct engine *e, struct job *j)
{
    char text[REASON_BYTES_MAX];
    struct session *s;

    (void)snprintf(text, sizeof text, "job '%s' was begun anew", j->settings.name);
    while ((s = TAILQ_FIRST(&j->sessions)) != NULL) {
        engine_refuse(e, s->peer, 0, (struct token){0}, -OHEM_NO_SESSION, text);
        engine_end_session(e, s, "reset");
    }
}

int engine_reset_job(struct engine *e, struct job *j, struct reason *why)
{
    struct job_settings settings = j->settings;
    struct job *new;
    int rc;

    settings.dataset = job_dataset_to_come(j);
    rc = job_new(&settings, &new, why);
    if (rc != 0)
        return rc;
    end_sessions(e, j);
    succeed(e, j, new);
    warm_start(e, new);
    return 0;
}

bool engine_unsaved(const struct engine *e)
{
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (job_unsaved(j))
            return true;
    return false;
}

bool engine_warming(const struct engine *e)
{
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (j->saved.warming)
            return true;
    return false;
}

int engine_capture(struct engine *e, struct rows *out)
{
    struct job *j;
    size_t bytes = 0;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        bytes += job_capture_bytes(j);
    if (rows_reserve(out, bytes) != 0)
        return -OHEM_NOMEM;
    TAILQ_FOREACH (j, &e->jobs, of_engine)
        job_capture(j, out);
    return 0;
}

void engine_end(struct engine *e)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        j->saved.ended = true;
}

static void tell_durable(struct engine *e, struct session *s, uint64_t now_ms)
{
    (void)now_ms;
    engine_tell_durable(e, s);
}

void engine_committed(struct engine *e)
{
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        job_committed(j);
    engine_each_session(e, 0, tell_durable);
}
