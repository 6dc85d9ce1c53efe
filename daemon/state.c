/* state.c - commits off the loop's thread, and again until they are on disk; see state.h.
 *
 * One thread does all, in two lanes: commits, and readings of the audit.
 *
 * There is one list of rows. It is the loop's (IDLE), the thread's (WRITING), or nobody's until the
 * next try (WAITING).
 */
#include "state.h"

#include "../proto/error.h"
#include "state_disk.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

enum stage { IDLE, WRITING, WAITING };

struct state {
    struct state_disk *disk; /* of the thread, while there is one */
    struct rows rows;        /* of the thread while WRITING, as all up to the mark */
    struct pool_item item;
    int rc; /* of the last try; PENDING before it ends */
    struct reason why;
    uint64_t ns, bytes;
    /* the loop's */
    enum stage stage;
    struct state_identity identity;
    struct state_status status;
    struct pool *pool; /* NULL before state_start() */
    bool stopped;
    uv_timer_t retry;
    state_done_cb done_cb;
    void *ctx;
};

#define PENDING 1

enum lane { COMMITS, READS, LANES }; /* of the pool: a commit waits for one read at most */

int state_open(const char *dir, uint64_t bytes_max, struct state **out, struct reason *why)
{
    struct state *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL) {
        reason_set(why, "state '%.200s': no memory", dir);
        return -OHEM_NOMEM;
    }
    rc = state_disk_open(dir, bytes_max, &s->disk, why);
    if (rc != 0) {
        free(s);
        return rc;
    }
    s->identity = s->disk->identity;
    s->status.bytes = state_disk_bytes(s->disk);
    *out = s;
    return 0;
}

const struct state_identity *state_identity(const struct state *s)
{
    return &s->identity;
}

int state_forget(struct state *s, struct reason *why)
{
    int rc = state_disk_forget(s->disk, why);

    s->identity = s->disk->identity;
    return rc;
}

int state_load(struct state *s, state_row_cb row_cb, void *ctx, struct reason *why)
{
    return state_disk_load(s->disk, row_cb, ctx, why);
}

const struct state_status *state_status(const struct state *s)
{
    return &s->status;
}

struct rows *state_rows(struct state *s)
{
    return s->stage == IDLE ? &s->rows : NULL;
}

/* ---- a try -------------------------------------------------------------------------------------
 */

/* On the thread, or where there is none. */
static void try(struct state *s)
{
    uint64_t began = uv_hrtime();

    s->rc = state_disk_write(s->disk, &s->rows, &s->why);
    s->ns = uv_hrtime() - began;
    s->bytes = state_disk_bytes(s->disk);
}

static void note_success(struct state *s)
{
    struct state_status *status = &s->status;

    status->commits++;
    status->commit_bytes_last = s->rows.size;
    status->commit_ns_last = s->ns;
    if (s->ns > status->commit_ns_longest)
        status->commit_ns_longest = s->ns;
    status->bytes = s->bytes;
    status->failing = false;
    rows_clear(&s->rows);
    s->stage = IDLE;
}

static void note_failure(struct state *s)
{
    s->status.failures++;
    s->status.failing = true;
    s->status.last_error = s->why;
    s->status.last_error_wall_ms = state_env_wall_ms();
    s->stage = WAITING;
}

static void note(struct state *s)
{
    if (s->rc == 0)
        note_success(s);
    else
        note_failure(s);
}

int state_commit_now(struct state *s, struct reason *why)
{
    assert(s->pool == NULL || s->stopped);
    if (s->stage != WRITING || s->rc != 0) /* else the thread's last try went well */
        try(s);
    note(s);
    if (s->rc != 0 && why != NULL)
        *why = s->why;
    return s->rc;
}

/* ---- on the thread -----------------------------------------------------------------------------
 */

/* pool_item.run */
static void run_cb(struct pool_item *item)
{
    try((struct state *)(void *)((char *)item - offsetof(struct state, item)));
}

static void push(struct state *s)
{
    s->stage = WRITING;
    s->rc = PENDING;
    pool_push(s->pool, &s->item);
}

static void retry_cb(uv_timer_t *timer)
{
    push(timer->data);
}

static void written(struct state *s)
{
    note(s);
    if (s->stage == WAITING)
        (void)uv_timer_start(&s->retry, retry_cb, STATE_RETRY_MS, 0);
    s->done_cb(s->ctx, s->rc);
}

static struct state_reading *reading_of(struct pool_item *item)
{
    return (void *)((char *)item - offsetof(struct state_reading, item));
}

/* pool_done_cb */
static void ended_cb(void *ctx, struct pool_item *item)
{
    struct state *s = ctx;
    struct state_reading *r = reading_of(item);

    if (item == &s->item)
        written(s);
    else
        r->done_cb(r);
}

/* pool_item.run */
static void read_cb(struct pool_item *item)
{
    struct state_reading *r = reading_of(item);

    state_disk_read(r->disk, r);
    if (r->end_cb != NULL)
        r->end_cb(r);
}

void state_read(struct state *s, struct state_reading *r)
{
    assert(s->pool != NULL && !s->stopped && r->from.table == ROWS_AUDIT);
    r->disk = s->disk;
    r->item = (struct pool_item){.run = read_cb, .lane = READS};
    pool_push(s->pool, &r->item);
}

int state_start(struct state *s, uv_loop_t *loop, state_done_cb done_cb, void *ctx)
{
    int rc = pool_new(loop, 1, LANES, ended_cb, s, &s->pool);

    if (rc != 0)
        return rc;
    (void)uv_timer_init(loop, &s->retry);
    s->retry.data = s;
    s->item.run = run_cb;
    s->done_cb = done_cb;
    s->ctx = ctx;
    return 0;
}

void state_commit(struct state *s)
{
    assert(s->stage == IDLE && s->pool != NULL && !s->stopped);
    push(s);
}

void state_stop(struct state *s)
{
    pool_close(s->pool);
    uv_close((uv_handle_t *)&s->retry, NULL);
    s->stopped = true;
}

void state_close(struct state *s)
{
    if (s == NULL)
        return;
    assert(s->pool == NULL || s->stopped);
    pool_free(s->pool);
    rows_deinit(&s->rows);
    state_disk_close(s->disk);
    free(s);
}
