/* keeper.c - when rows are captured and committed; see keeper.h. */
#include "keeper.h"

#include "../proto/error.h"
#include "log.h"

#include <inttypes.h>
#include <sodium/randombytes.h>
#include <stdlib.h>
#include <string.h>

struct keeper {
    const struct config *config;
    struct state *state;   /* NULL: nothing is kept */
    struct engine *engine; /* NULL before keeper_start() */
    uv_timer_t due;
    bool started;      /* the state commits on its thread */
    bool waits;        /* something changed that no commit holds: */
    uint64_t since_ms; /* since then */
    uint64_t memory, secret[2];
    uint64_t capture_ns_last, capture_ns_longest;
    uint64_t failing_since_ms; /* 0: it does not fail */
    uint64_t failures;         /* of tries since then */
};

/* ---- the start ---------------------------------------------------------------------------------
 */

static int open_state(struct keeper *k, struct reason *why)
{
    const struct config *c = k->config;
    int rc = state_open(c->state, c->state_bytes_max, &k->state, why);

    if (rc == 0 && c->fresh)
        rc = state_forget(k->state, why);
    if (rc != 0)
        return rc;
    k->memory = state_identity(k->state)->memory;
    memcpy(k->secret, state_identity(k->state)->secret, sizeof k->secret);
    return 0;
}

int keeper_open(const struct config *config, struct keeper **out, struct reason *why)
{
    struct keeper *k = calloc(1, sizeof *k);
    int rc = 0;

    if (k == NULL) {
        reason_set(why, "no memory");
        return -OHEM_NOMEM;
    }
    k->config = config;
    if (config->state[0] != '\0')
        rc = open_state(k, why);
    else
        randombytes_buf(k->secret, sizeof k->secret);
    if (rc != 0) {
        keeper_free(k);
        return rc;
    }
    *out = k;
    return 0;
}

void keeper_fill_settings(const struct keeper *k, struct engine_settings *out)
{
    randombytes_buf(&out->boot, sizeof out->boot);
    out->memory = k->state != NULL ? k->memory : out->boot;
    out->durable = k->state != NULL;
}

void keeper_fill_secret(const struct keeper *k, uint64_t out[2])
{
    memcpy(out, k->secret, sizeof k->secret);
}

/* What a walk through the state does and counts. */
struct restoring {
    struct engine *engine;
    uint64_t rows, bytes, jobs;
};

/* state_row_cb */
static int restore_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                      struct reason *why)
{
    struct restoring *r = ctx;

    r->rows++;
    r->bytes += size;
    r->jobs += key->table == ROWS_JOB;
    return engine_restore_row(r->engine, key, value, size, why);
}

static int restore(struct keeper *k, uv_loop_t *loop, struct reason *why)
{
    struct restoring r = {.engine = k->engine};
    uint64_t began_ns = uv_hrtime();
    struct reason bad = {""};
    int rc = state_load(k->state, restore_cb, &r, &bad);

    uv_update_time(loop); /* that took a while, and leases begin now */
    if (rc == 0)
        rc = engine_restore_end(k->engine, uv_now(loop), &bad);
    if (rc != 0) {
        reason_set(why, "state '%.150s' cannot be restored: %.300s", k->config->state, bad.text);
        return rc;
    }
    log_info("state",
             "%s path=\"%s\" rows=%" PRIu64 " bytes=%" PRIu64 " jobs=%" PRIu64 " seconds=%.3f",
             k->config->fresh ? "begun anew" : "restored", k->config->state, r.rows, r.bytes,
             r.jobs, (double)(uv_hrtime() - began_ns) / 1e9);
    return 0;
}

/* ---- commits -----------------------------------------------------------------------------------
 */

static int capture(struct keeper *k)
{
    uint64_t began_ns = uv_hrtime();
    int rc = engine_capture(k->engine, state_rows(k->state));

    k->capture_ns_last = uv_hrtime() - began_ns;
    if (k->capture_ns_last > k->capture_ns_longest)
        k->capture_ns_longest = k->capture_ns_last;
    if (rc != 0)
        rows_clear(state_rows(k->state));
    return rc;
}

static int commit_now(struct keeper *k, struct reason *why)
{
    int rc = state_commit_now(k->state, why);

    if (rc == 0)
        engine_committed(k->engine);
    return rc;
}

/* All that the engine has, also when it says that it has nothing: a fresh start is a change. */
static int capture_and_commit_now(struct keeper *k, struct reason *why)
{
    int rc = capture(k);

    if (rc != 0) {
        reason_set(why, "state '%.200s': no memory for what is to be written", k->config->state);
        return rc;
    }
    return commit_now(k, why);
}

static void note_failure(struct keeper *k)
{
    const struct state_status *s = state_status(k->state);

    k->failures++;
    if (k->failing_since_ms != 0)
        return;
    k->failing_since_ms = uv_hrtime() / 1000000;
    log_error("state",
              "not saved, serving goes on from memory and it is tried again path=\"%s\" "
              "error=\"%s\"",
              k->config->state, s->last_error.text);
}

static void note_success(struct keeper *k)
{
    uint64_t ms = uv_hrtime() / 1000000 - k->failing_since_ms;

    if (k->failing_since_ms == 0)
        return;
    log_info("state", "saved again path=\"%s\" failures=%" PRIu64 " seconds=%.1f", k->config->state,
             k->failures, (double)ms / 1000);
    k->failing_since_ms = k->failures = 0;
}

/* state_done_cb */
static void done_cb(void *ctx, int rc)
{
    struct keeper *k = ctx;

    if (rc != 0) {
        note_failure(k);
        return;
    }
    note_success(k);
    engine_committed(k->engine);
}

/* The next turn of the loop sees whether something is left. */
static void due_cb(uv_timer_t *timer)
{
    struct keeper *k = timer->data;

    k->waits = false;
    if (capture(k) == 0)
        state_commit(k->state);
    else
        log_error("state", "no memory for what is to be written, to be tried again path=\"%s\"",
                  k->config->state);
}

void keeper_turn(struct keeper *k)
{
    uint64_t now, due;

    if (!k->started || !engine_unsaved(k->engine))
        return;
    now = uv_now(k->due.loop);
    if (!k->waits) {
        k->waits = true;
        k->since_ms = now;
    }
    if (state_rows(k->state) == NULL || uv_is_active((uv_handle_t *)&k->due))
        return;
    due = k->since_ms + k->config->commit_ms;
    (void)uv_timer_start(&k->due, due_cb, due > now ? due - now : 0, 0);
}

int keeper_start(struct keeper *k, uv_loop_t *loop, struct engine *engine, struct reason *why)
{
    int rc;

    k->engine = engine;
    if (k->state == NULL) {
        log_info("state", "scores are kept in memory only: no state directory is set");
        return 0;
    }
    rc = restore(k, loop, why);
    if (rc == 0)
        rc = capture_and_commit_now(k, why);
    while (rc == 0 && engine_warming(engine))
        rc = capture_and_commit_now(k, why);
    if (rc != 0)
        return rc;
    rc = state_start(k->state, loop, done_cb, k);
    if (rc != 0) {
        reason_set(why, "state '%.200s': no thread to write it", k->config->state);
        return rc;
    }
    (void)uv_timer_init(loop, &k->due);
    k->due.data = k;
    k->started = true;
    return 0;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void stop(struct keeper *k)
{
    if (!k->started)
        return;
    k->started = false;
    state_stop(k->state);
    uv_close((uv_handle_t *)&k->due, NULL);
}

int keeper_finish(struct keeper *k, struct reason *why)
{
    int rc = 0;

    if (!k->started)
        return 0;
    stop(k);
    if (state_rows(k->state) == NULL) /* a commit was under way, or could not be made */
        rc = commit_now(k, why);
    engine_end(k->engine);
    if (rc == 0)
        rc = capture_and_commit_now(k, why);
    return rc;
}

bool keeper_can_read(const struct keeper *k)
{
    return k->started;
}

void keeper_read(struct keeper *k, struct state_reading *r)
{
    state_read(k->state, r);
}

void keeper_get_status(const struct keeper *k, struct keeper_status *out)
{
    *out = (struct keeper_status){.path = k->state != NULL ? k->config->state : NULL,
                                  .state = k->state != NULL ? state_status(k->state) : NULL,
                                  .capture_ns_last = k->capture_ns_last,
                                  .capture_ns_longest = k->capture_ns_longest};
}

void keeper_close(struct keeper *k)
{
    if (k != NULL)
        stop(k);
}

void keeper_free(struct keeper *k)
{
    if (k == NULL)
        return;
    state_close(k->state);
    free(k);
}
