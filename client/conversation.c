/* conversation.c - what comes from the daemon, and waiting for it; see client.h.
 *
 * All receiving happens in client_pump(), which takes one message and files it: a BATCH with the
 * ready ones, an answer with its batch. When the daemon is silent it is asked by PING; when it says
 * that it does not know the session (the connection or the daemon is a new one), HELLO goes out
 * again with the tokens of all batches at hand, and what it may lack is sent again after WELCOME.
 */
#include "client.h"

#include "../proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS  100  /* until a report that came before its turn is sent again */
#define PING_MS   1000 /* of silence while a call waits, and then again */
#define SILENT_MS 2000 /* without an answer, from then on the daemon may be gone */

int64_t client_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t client_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t client_deadline_in(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : client_now_ms() + timeout_ms;
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

static struct ohem_batch *find_batch(struct ohem_client *c, struct token token)
{
    struct ohem_batch *b;

    TAILQ_FOREACH (b, &c->batches, entry)
        if (b->state != BATCH_ORPHAN && token_equal(b->token, token))
            return b;
    return NULL;
}

uint32_t client_count_batches(const struct ohem_client *c, enum batch_state state)
{
    const struct ohem_batch *b;
    uint32_t count = 0;

    TAILQ_FOREACH (b, &c->batches, entry)
        count += b->state == state;
    return count;
}

void client_recycle(struct ohem_client *c, struct ohem_batch *b)
{
    TAILQ_REMOVE(&c->batches, b, entry);
    batch_drop_records(b);
    if (b->capacity == c->welcome.batch_size)
        TAILQ_INSERT_HEAD(&c->spare, b, entry);
    else
        batch_free(b);
}

/* Not more than was agreed on? */
static int check_batch(struct ohem_client *c, const struct message_batch *m)
{
    uint32_t taken = client_count_batches(c, BATCH_COMING) + client_count_batches(c, BATCH_READY) +
                     client_count_batches(c, BATCH_HELD);

    if (m->count > c->welcome.batch_size) {
        reason_set(&c->why, "a batch of %u instances came, %u were agreed on", m->count,
                   c->welcome.batch_size);
        return -OHEM_MALFORMED;
    }
    if (taken >= c->welcome.credit) {
        reason_set(&c->why, "a batch came beyond the credit of %u", c->welcome.credit);
        return -OHEM_MALFORMED;
    }
    if (m->way != WAY_INLINE && (c->attachment == NULL || m->way != attach_way(c->attachment))) {
        reason_set(&c->why, "a batch came by way %u, which was not agreed on", m->way);
        return -OHEM_MALFORMED;
    }
    return 0;
}

static struct ohem_batch *take_memory(struct ohem_client *c)
{
    struct ohem_batch *b = TAILQ_FIRST(&c->spare);

    if (b != NULL)
        TAILQ_REMOVE(&c->spare, b, entry);
    else
        b = batch_new(c, c->welcome.batch_size);
    if (b != NULL)
        TAILQ_INSERT_TAIL(&c->batches, b, entry);
    return b;
}

/* The data set has grown: a trainer asks for N to have room for each id that it gets. */
static void note_ids(struct ohem_client *c, const struct ohem_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->ids[i] >= c->welcome.instance_count)
            c->welcome.instance_count = b->ids[i] + 1;
}

static int fill_batch(struct ohem_client *c, struct ohem_batch *b, const struct message_batch *m)
{
    int rc;

    batch_fill(b, m, (enum message_records)c->welcome.layout);
    b->boot = c->welcome.boot;
    b->session = c->welcome.session;
    note_ids(c, b);
    if (m->way != WAY_INLINE) {
        rc = batch_take_mapped(b, m, c->attachment, &c->why);
        if (rc == 0)
            attach_read_ahead(c->attachment, (const void *const *)b->records, b->sizes, b->count);
        return rc;
    }
    rc = m->parts > 0 ? batch_await_parts(b, m) : batch_take_block(b, m, link_payload(&c->link));
    if (rc != 0)
        reason_set(&c->why, "no memory for a batch of %" PRIu64 " bytes", m->bytes);
    return rc;
}

/* A batch that was sent again although its report is kept: its CREDIT is on its way. */
static bool was_released(const struct ohem_client *c, struct token token)
{
    return token.step <= c->kept_step_max && kept_find_token(&c->kept, token) != NULL;
}

static int take_batch(struct ohem_client *c, const struct message_batch *m)
{
    struct ohem_batch *b = find_batch(c, m->token);
    int rc;

    if (b != NULL && b->state != BATCH_COMING)
        return 0; /* sent twice, around a reconnect */
    if (b == NULL) {
        rc = check_batch(c, m);
        if (rc != 0)
            return rc;
        if (was_released(c, m->token))
            return 0;
        b = take_memory(c);
    } /* else its parts come again, too */
    if (b == NULL) {
        reason_set(&c->why, "no memory for a batch of %u", c->welcome.batch_size);
        return -OHEM_NOMEM;
    }
    rc = fill_batch(c, b, m);
    if (rc != 0)
        client_recycle(c, b);
    return rc;
}

static int take_part(struct ohem_client *c, const struct message_part *m)
{
    struct ohem_batch *b = find_batch(c, m->token);

    if (b == NULL || b->state != BATCH_COMING)
        return 0; /* of a batch that came whole before the connection broke */
    return batch_take_part(b, m, link_part_payload(&c->link), &c->why);
}

void client_take_durable(struct ohem_client *c, uint64_t seq)
{
    if (!c->welcome.durable || seq < c->durable_seq)
        return;
    c->durable_seq = seq;
    if (seq >= c->sync_seq)
        c->sync_seq = 0;
    kept_take_durable(&c->kept, seq);
}

/* Strict order, after a restart: its step is not drawn again yet. When it is, it may be sent to
 * this client, of all, before the report comes again: see was_released(). */
static void note_early(struct ohem_client *c, struct kept_report *r)
{
    r->early = true;
    if (r->token.step > c->kept_step_max)
        c->kept_step_max = r->token.step;
    if (c->retry_ms == 0)
        c->retry_ms = client_now_ms() + RETRY_MS;
}

/* A ragged report was applied by its instances' losses: should it be lost they are said again. */
static void keep_scores(struct ohem_client *c, struct kept_report *r,
                        const struct message_selection *m)
{
    if (r->items == NULL || m->scores.count != r->count)
        return;
    memcpy(r->losses, m->scores.data, r->count * sizeof *r->losses);
    r->has_flags = false;
    r->select = (struct message_select){0};
    kept_drop_items(&c->kept, r);
}

/* An answer: of a daemon that writes nothing to disk nothing more can be had. */
static void note_answered(struct ohem_client *c, const struct message_selection *m)
{
    struct kept_report *r = kept_find(&c->kept, m->seq);

    if (r == NULL || !token_equal(r->token, m->token))
        return;
    if ((m->flags & SELECTION_FLAG_EARLY) != 0) {
        note_early(c, r);
        return;
    }
    r->answered = true;
    r->early = false; /* it was said again by WELCOME, not by its retry */
    keep_scores(c, r, m);
    if (!c->welcome.durable)
        kept_drop(&c->kept, r);
}

static void refuse(struct ohem_batch *b, int error, const char *why)
{
    b->refused = error;
    (void)snprintf(b->why, sizeof b->why, "%s", why);
}

static int take_selection(struct ohem_client *c, const struct message_selection *m)
{
    struct ohem_batch *b = find_batch(c, m->token);

    note_answered(c, m);
    client_take_durable(c, m->durable_seq);
    if (b == NULL || b->seq != m->seq || b->selection.arrived)
        return 0; /* of a batch that was given back meanwhile, or the answer to a repeat */
    if (m->indices.count > b->report_count || (b->ragged && m->scores.count != b->count)) {
        reason_set(&c->why, "%zu losses were selected out of %zu, %zu scores came for %u instances",
                   m->indices.count, b->report_count, m->scores.count, b->ragged ? b->count : 0);
        return -OHEM_MALFORMED;
    }
    if ((m->flags & SELECTION_FLAG_FORGOTTEN) != 0 &&
        m->all.count + m->nonfinite_count + m->ignored_count == 0)
        refuse(b, -OHEM_TOKEN, "the report was applied before, but its selection was not kept");
    else if (batch_answer(b, m) != 0)
        refuse(b, -OHEM_NOMEM, "no memory for the selection");
    if (m->lsn > c->lsn && (m->flags & SELECTION_FLAG_EARLY) == 0)
        c->lsn = m->lsn;
    return 0;
}

/* There is nothing to keep of it. If the trainer still holds the batch it is told when it asks. */
static void take_refusal(struct ohem_client *c, const struct message_error *m)
{
    struct kept_report *r = kept_find_token(&c->kept, m->token);
    struct ohem_batch *b = find_batch(c, m->token);

    if (r != NULL)
        kept_drop(&c->kept, r);
    if (b != NULL && b->seq != 0)
        refuse(b, -(int)m->code, m->text);
}

static void take_error(struct ohem_client *c, const struct message_error *m)
{
    if (m->code == OHEM_NO_SESSION) {
        if (c->welcomed)
            client_send_hello(c);
    } else if (m->about == MESSAGE_LOSS) {
        take_refusal(c, m);
    } else if (m->about == MESSAGE_HELLO && m->code == OHEM_DRAINING && c->welcome.durable) {
        c->draining = true; /* it will be back; HELLO goes out again in a second */
    } else if (m->about == MESSAGE_HELLO || m->about == 0) {
        c->dead = -(int)m->code;
        reason_set(&c->why, "%s", m->text);
    }
    /* a CREDIT that came too late to matter needs no answer */
}

/* Another boot: the daemon was restarted, and knows us all the same. */
static void take_pong(struct ohem_client *c, const struct message_pong *m)
{
    if (m->nonce > c->pong_nonce)
        c->pong_nonce = m->nonce; /* 0: the daemon asks by itself whether we are here */
    if (!c->welcomed)
        return;
    if (m->boot != c->welcome.boot)
        client_send_hello(c);
    else
        client_take_durable(c, m->durable_seq);
}

static int file_message(struct ohem_client *c, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_WELCOME:
        client_take_welcome(c, &m->welcome);
        return 0;
    case MESSAGE_BATCH:
        return take_batch(c, &m->batch);
    case MESSAGE_PART:
        return take_part(c, &m->part);
    case MESSAGE_SELECTION:
        return take_selection(c, &m->selection);
    case MESSAGE_ERROR:
        take_error(c, &m->error);
        return 0;
    case MESSAGE_BYE:
        c->draining = true;
        return 0;
    case MESSAGE_PONG:
        take_pong(c, &m->pong);
        return 0;
    case MESSAGE_DURABLE:
        client_take_durable(c, m->durable.seq);
        return 0;
    default:
        return 0; /* what only a client sends means nothing here */
    }
}

/* Receive one message, if one is there, and file it. @return 1, 0 when none is there, or an error.
 */
static int receive_one(struct ohem_client *c)
{
    struct message m;
    int rc = link_receive(&c->link, &m, &c->why);

    if (rc == 0)
        return 0;
    c->heard_ms = client_now_ms();
    c->unanswered_ms = 0;
    if (rc > 0)
        rc = file_message(c, &m);
    return rc == 0 ? 1 : rc;
}

/* When a call gives up on a daemon that does not answer: for so long it may be restarted. */
static int64_t patience(const struct ohem_client *c)
{
    int64_t since = c->unanswered_ms > c->called_ms ? c->unanswered_ms : c->called_ms;

    return c->reconnect_ms < 0 || c->unanswered_ms == 0 ? INT64_MAX : since + c->reconnect_ms;
}

/* How long to wait for the socket: until the deadline, or until the daemon has to be asked again.
 */
static long wait_ms(const struct ohem_client *c, int64_t deadline)
{
    int64_t quiet_since = c->heard_ms > c->asked_ms ? c->heard_ms : c->asked_ms;
    int64_t until = quiet_since + PING_MS, now = client_now_ms();

    if (c->retry_ms != 0 && c->retry_ms < until)
        until = c->retry_ms;
    if (deadline < until)
        until = deadline;
    return until > now ? (long)(until - now) : 0;
}

/* Before waiting: say what was put off, and ask a daemon that is silent whether it is there.
 * @return whether anything was sent: then the socket has to be looked at again */
static bool speak(struct ohem_client *c)
{
    bool spoke = c->welcomed && c->credit_count + c->kept.put_off_count > 0;
    int64_t now = client_now_ms();

    client_flush(c);
    if (c->retry_ms != 0 && now >= c->retry_ms) {
        client_say_early(c);
        spoke = true;
    }
    if (link_came_back(&c->link) && c->welcomed) {
        client_send_ping(c); /* is it the same daemon? */
        return true;
    }
    if (now - c->heard_ms < PING_MS || now - c->asked_ms < PING_MS)
        return spoke;
    if (c->welcomed)
        client_send_ping(c);
    else
        client_send_hello(c);
    return true;
}

/* A trainer may be busy for long and then only look: silence that nobody asked into says nothing.
 */
static int timed_out(struct ohem_client *c)
{
    int64_t now = client_now_ms(), silent = now - c->heard_ms;

    if (c->welcomed && now < patience(c) &&
        (c->unanswered_ms == 0 || now - c->unanswered_ms < SILENT_MS)) {
        reason_set(&c->why, "nothing came in time; the daemon was heard %" PRId64 " ms ago",
                   silent);
        return -OHEM_TIMEDOUT;
    }
    reason_set(&c->why, "nothing heard of the daemon for %" PRId64 " ms", silent);
    return -OHEM_UNREACHABLE;
}

/* Wait for one message and file it. @return 0, the error that ended the session, or a time-out. */
int client_pump(struct ohem_client *c, int64_t deadline)
{
    int64_t until;
    bool spoke;
    int rc;

    for (;;) {
        if (c->dead != 0)
            return c->dead;
        rc = receive_one(c);
        if (rc != 0)
            return rc > 0 ? c->dead : rc;
        spoke = speak(c);
        until = patience(c) < deadline ? patience(c) : deadline;
        if (client_now_ms() >= until)
            return timed_out(c);
        if (!spoke)
            link_wait(&c->link, wait_ms(c, until));
    }
}

/* Before each call: is this client usable here? */
int client_check(struct ohem_client *c)
{
    if (c->pid != getpid()) {
        reason_set(&c->why, "the client was opened by process %d; open one in each process",
                   (int)c->pid);
        return -OHEM_FORKED;
    }
    c->called_ms = client_now_ms();
    return 0;
}

/* File what has arrived, without waiting. */
int client_listen(struct ohem_client *c)
{
    int rc;

    do
        rc = receive_one(c);
    while (rc > 0);
    c->listened_ms = client_now_ms();
    return rc;
}
