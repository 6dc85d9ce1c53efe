/* client.c - the trainer's loop: next, report, release; see ohem.h.
 *
 * The calls say what they wait for, and pump (conversation.c) until it is there or their deadline
 * has passed.
 */
#include "client.h"

#include "../proto/error.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define FAST_US      200 /* between two submits: then a report may wait for the next */
#define TOGETHER_MAX 4   /* reports that are sent together, and a quarter of the credit at most */

/* The next one in the order of steps, if all of it has come. */
static struct ohem_batch *first_ready(struct ohem_client *c)
{
    struct ohem_batch *b;

    TAILQ_FOREACH (b, &c->batches, entry)
        if (b->state == BATCH_READY || b->state == BATCH_COMING)
            return b->state == BATCH_READY ? b : NULL;
    return NULL;
}

static int going_down(struct ohem_client *c)
{
    reason_set(&c->why, "the daemon is going down; report what you hold and close");
    return -OHEM_DRAINING;
}

/* Why no batch can come, if so. One that goes down but keeps its memory may come back: then it is
 * said when the time is over. */
static int check_next(struct ohem_client *c)
{
    if (c->draining && !c->welcome.durable)
        return going_down(c);
    if (client_count_batches(c, BATCH_HELD) < c->welcome.credit)
        return 0;
    reason_set(&c->why, "all %u batches (credit) are held; release one first", c->welcome.credit);
    return -OHEM_LIMIT;
}

/* Its mapped records may have been overwritten. Of a daemon that died we only drop it: HELLO does
 * not say that we hold it, and the next one hands it out again. An immutable data set that is
 * written to cannot be trained on. */
static int drop_stale(struct ohem_client *c, struct ohem_batch *b)
{
    bool guarded = attach_is_guarded(b->attachment);

    client_recycle(c, b);
    if (guarded)
        return 0;
    c->dead = -OHEM_STALE;
    reason_set(&c->why, "the data set is served as immutable, but it was written to");
    return c->dead;
}

/* With another batch at hand, what was given back can wait for the next report. */
static void hand_out(struct ohem_client *c, struct ohem_batch *b)
{
    b->state = BATCH_HELD;
    if (first_ready(c) == NULL)
        client_flush(c);
    b->age = c->lsn > b->lsn ? c->lsn - b->lsn : 0;
    if (b->attachment != NULL)
        attach_prefetch(b->attachment, (const void *const *)b->records, b->sizes, b->count);
}

/* News can wait for a millisecond when a batch is at hand: to look costs a system call. */
static bool must_listen(struct ohem_client *c)
{
    return first_ready(c) == NULL || c->listened_ms != client_now_ms();
}

int ohem_next(struct ohem_client *client, int timeout_ms, struct ohem_batch **out_batch)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    int rc = client_check(client);

    if (rc == 0 && must_listen(client))
        rc = client_listen(client);
    while (rc == 0 && (rc = check_next(client)) == 0) {
        struct ohem_batch *b = first_ready(client);

        if (b == NULL) {
            rc = client_pump(client, deadline);
        } else if (ohem_batch_check(b) != 0) {
            rc = drop_stale(client, b);
        } else {
            hand_out(client, b);
            *out_batch = b;
            return 0;
        }
    }
    return rc == -OHEM_TIMEDOUT && client->draining ? going_down(client) : rc;
}

/* ---- reporting ---------------------------------------------------------------------------------
 */

static int check_holder(struct ohem_batch *b)
{
    struct ohem_client *c = b->client;

    if (c == NULL)
        return -OHEM_INVALID;
    if (client_check(c) != 0)
        return -OHEM_FORKED;
    if (b->seq == 0 && ohem_batch_check(b) != 0) {
        reason_set(&c->why,
                   "the records of step %" PRIu64 " may have been overwritten while they were read",
                   b->token.step);
        return -OHEM_STALE;
    }
    if (b->state == BATCH_ORPHAN) {
        reason_set(&c->why, "the daemon has forgotten the session that this batch was handed to");
        return -OHEM_TOKEN;
    }
    return 0;
}

static int check_report(struct ohem_batch *b, const float *losses, size_t count)
{
    struct ohem_client *c = b->client;
    int rc = check_holder(b);

    if (rc != 0)
        return rc;
    if (count != b->count) {
        reason_set(&c->why, "%zu losses for a batch of %u instances", count, b->count);
        return -OHEM_COUNT;
    }
    if (b->seq != 0 && memcmp(b->losses, losses, count * sizeof *losses) != 0) {
        reason_set(&c->why, "the batch of step %" PRIu64 " was reported before with other losses",
                   b->token.step);
        return -OHEM_CONFLICT;
    }
    return 0;
}

/* What is to be sent is kept until it is safe. */
static struct kept_report *keep(struct ohem_batch *b, uint64_t seq, const float *losses)
{
    struct ohem_client *c = b->client;
    struct kept_report *r = kept_find(&c->kept, seq);

    if (r == NULL)
        r = kept_add(&c->kept, b->token, seq, b->capacity);
    if (r == NULL)
        return NULL;
    r->boot = b->boot;
    r->session = b->session;
    r->count = b->count;
    r->answered = false;
    r->early = false;
    memcpy(r->ids, b->ids, b->count * sizeof *b->ids);
    memcpy(r->losses, losses, b->count * sizeof *losses);
    return r;
}

static int take_report(struct ohem_batch *b, const float *losses, struct kept_report **out)
{
    struct ohem_client *c = b->client;
    bool anew = b->seq == 0 || b->refused != 0; /* durable_seq may be beyond one that was refused */
    struct kept_report *r = keep(b, anew ? c->report_seq + 1 : b->seq, losses);

    if (r == NULL) {
        reason_set(&c->why, "no memory to keep a report of %u losses", b->count);
        return -OHEM_NOMEM;
    }
    if (anew)
        b->seq = ++c->report_seq;
    memcpy(b->losses, losses, b->count * sizeof *losses);
    b->selection.arrived = false;
    b->refused = 0;
    *out = r;
    return 0;
}

static bool has_room(const struct ohem_batch *b)
{
    const struct kept *k = &b->client->kept;

    return kept_has_room(k, b->capacity) || (b->seq != 0 && kept_find(k, b->seq) != NULL);
}

/* Check a report and take it, when there is room: the batch may be lost in the meantime. */
static int begin_report(struct ohem_batch *b, const float *losses, size_t count, int64_t deadline,
                        struct kept_report **out)
{
    int rc = check_report(b, losses, count);

    if (rc == 0 && !has_room(b)) {
        rc = client_await_room(b->client, b->capacity, deadline);
        if (rc == 0)
            rc = check_report(b, losses, count);
    }
    return rc == 0 ? take_report(b, losses, out) : rc;
}

/* A trainer that submits many batches in a millisecond is better served when two or more go
 * together: each message wakes several threads on its way, there and back. One that takes longer
 * over a batch waits for nothing. */
static bool can_wait(struct ohem_client *c)
{
    uint32_t together = c->welcome.credit / 4;
    int64_t now = client_now_us();
    bool fast = now - c->submitted_us < FAST_US;

    c->submitted_us = now;
    return fast && c->kept.put_off_count + 1 < (together < TOGETHER_MAX ? together : TOGETHER_MAX);
}

static bool is_answered(const struct ohem_batch *b)
{
    return b->selection.arrived || b->refused != 0;
}

/* Wait for the answer. */
static int await_selection(struct ohem_batch *b, int64_t deadline)
{
    struct ohem_client *c = b->client;
    int rc = 0;

    while (rc == 0 && !is_answered(b)) {
        rc = client_pump(c, deadline);
        if (b->state == BATCH_ORPHAN)
            return check_holder(b);
        if (rc == 0 && !is_answered(b))
            client_say_lost(c);
    }
    if (rc == 0 && b->refused != 0) {
        reason_set(&c->why, "%s", b->why);
        return b->refused;
    }
    return rc;
}

static int tell_selection(struct ohem_batch *b, int64_t deadline, const struct ohem_selection **out)
{
    int rc = await_selection(b, deadline);

    if (rc != 0)
        return rc;
    b->selection.told = true;
    *out = &b->selection;
    return 0;
}

int ohem_submit(struct ohem_batch *batch, const float *losses, size_t count)
{
    struct kept_report *r;
    int rc;

    if (batch->seq != 0 && batch->refused == 0) /* its answer is there, or on its way */
        return check_report(batch, losses, count);
    rc = begin_report(batch, losses, count, -1, &r);
    if (rc != 0)
        return rc;
    if (can_wait(batch->client))
        client_put_off_loss(batch->client, r);
    else
        client_send_loss(batch->client, r);
    return 0;
}

int ohem_selection(struct ohem_batch *batch, int timeout_ms,
                   const struct ohem_selection **out_selection)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    int rc = check_holder(batch);

    if (rc != 0)
        return rc;
    if (batch->seq == 0) {
        reason_set(&batch->client->why, "the batch of step %" PRIu64 " was not reported",
                   batch->token.step);
        return -OHEM_INVALID;
    }
    return tell_selection(batch, deadline, out_selection);
}

int ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                const struct ohem_selection **out_selection)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    struct kept_report *r;
    bool has_come = batch->selection.arrived && !batch->selection.told; /* since a call gave up */
    int rc = has_come ? check_report(batch, losses, count)
                      : begin_report(batch, losses, count, deadline, &r);

    if (rc != 0)
        return rc;
    if (!has_come)
        client_send_loss(batch->client, r);
    return tell_selection(batch, deadline, out_selection);
}

/* ---- giving back -------------------------------------------------------------------------------
 */

/* LOSS goes before CREDIT. Without a session both are said after WELCOME. */
static void give_back(struct ohem_client *c, const struct ohem_batch *b)
{
    struct kept_report *r = b->seq != 0 ? kept_find(&c->kept, b->seq) : NULL;

    if (r != NULL) {
        if (r->put_off)
            client_flush(c);
        r->released = true;
        kept_take_durable(&c->kept, c->durable_seq); /* if it was kept for its answer only */
        r = kept_find(&c->kept, b->seq);
    }
    if (r == NULL || c->welcomed)
        client_give_credit(c, b->token);
}

void ohem_release(struct ohem_batch *batch)
{
    struct ohem_client *c;

    if (batch == NULL)
        return;
    c = batch->client;
    if (c == NULL || c->pid != getpid()) {
        if (c == NULL)
            batch_free(batch);
        return;
    }
    if (batch->state == BATCH_HELD)
        give_back(c, batch);
    client_recycle(c, batch);
}

int ohem_keepalive(struct ohem_client *client, int timeout_ms)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    int rc = client_check(client);

    if (rc != 0)
        return rc;
    client->came_back = false;
    client_send_ping(client);
    while (rc == 0 && client->pong_nonce != client->ping_nonce) {
        rc = client_pump(client, deadline);
        if (rc == 0 && client->came_back) {
            client->came_back = false;
            client_send_ping(client); /* the session is open again: what was asked before is lost */
        }
    }
    return rc;
}
