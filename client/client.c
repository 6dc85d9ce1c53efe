/* client.c - the trainer's loop but for its reports (report.c): next, release; see ohem.h.
 *
 * The calls say what they wait for, and pump (conversation.c) until it is there or their deadline
 * has passed.
 */
#include "client.h"

#include "../proto/error.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

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
