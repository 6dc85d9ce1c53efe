/* send.c - what the client says; see client.h.
 *
 * While no session is open as far as is known, nothing but HELLO is said: what was put off waits,
 * and after WELCOME all that the daemon may lack is said again (welcome.c).
 */
#include "client.h"

#include <stdlib.h>

static void note_asked(struct ohem_client *c)
{
    c->asked_ms = client_now_ms();
    if (c->unanswered_ms == 0)
        c->unanswered_ms = c->asked_ms;
}

/* Nobody has seen its records, and when its turn comes they may be overwritten. */
static bool is_left(const struct ohem_batch *b)
{
    return b->state == BATCH_READY && b->attachment != NULL && attach_is_left(b->attachment);
}

/* Records that may have been, or may be, overwritten since the last daemon died are of no use: not
 * said to be held, the batch comes again. */
static void let_go_of_stale(struct ohem_client *c)
{
    struct ohem_batch *b, *next;

    for (b = TAILQ_FIRST(&c->batches); b != NULL; b = next) {
        next = TAILQ_NEXT(b, entry);
        if (is_left(b))
            client_recycle(c, b);
        else if (b->state == BATCH_HELD && b->seq == 0 && ohem_batch_check(b) != 0 &&
                 attach_is_guarded(b->attachment))
            b->state = BATCH_ORPHAN;
    }
}

/* CREDITs of kept reports are said again behind these. */
static void drop_credits_of_kept(struct ohem_client *c)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->credit_count; i++)
        if (kept_find_token(&c->kept, c->credits[i]) == NULL)
            c->credits[count++] = c->credits[i];
    c->credit_count = count;
}

/* All that the daemon is to leave with us: batches, and those whose CREDIT is still to be sent. */
static struct vector list_held(struct ohem_client *c)
{
    struct ohem_batch *b;
    size_t count = 0;

    TAILQ_FOREACH (b, &c->batches, entry)
        if ((b->state == BATCH_READY || b->state == BATCH_HELD) && count < MESSAGE_CREDIT_MAX)
            c->held[count++] = b->token;
    for (uint32_t i = 0; i < c->credit_count && count < MESSAGE_CREDIT_MAX; i++)
        c->held[count++] = c->credits[i];
    return (struct vector){c->held, count};
}

void client_send_hello(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_HELLO, .hello = c->hello};

    let_go_of_stale(c);
    drop_credits_of_kept(c);
    m.hello.memory = c->welcome.memory;
    m.hello.held = list_held(c);
    m.hello.kept = kept_tokens(&c->kept);
    c->welcomed = false;
    note_asked(c);
    link_send(&c->link, &m);
}

void client_send_ping(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_PING};

    client_flush(c);
    note_asked(c);
    m.ping.key = c->hello.key;
    m.ping.nonce = ++c->ping_nonce;
    link_send(&c->link, &m);
}

static void send_credit(struct ohem_client *c, struct token token)
{
    struct message m = {.type = MESSAGE_CREDIT};

    m.credit.key = c->hello.key;
    m.credit.token = token;
    link_send(&c->link, &m);
}

/* A daemon that was restarted since it handed the batch out may have forgotten the lease, and one
 * that made a new session under our key has: the ids prove with the token that it was ours. */
static void send_loss(struct ohem_client *c, struct kept_report *r)
{
    struct message m = {.type = MESSAGE_LOSS};

    m.loss.key = c->hello.key;
    m.loss.token = r->token;
    m.loss.seq = r->seq;
    m.loss.losses = (struct vector){r->losses, r->count};
    if (r->has_flags)
        m.loss.flags = (struct vector){r->flags, r->count};
    if (r->items != NULL) {
        m.loss.losses = r->items->losses;
        m.loss.flags = r->items->flags;
        m.loss.items = r->items->items;
    }
    m.loss.select = r->select;
    m.loss.round = r->round;
    if (r->boot != c->welcome.boot || r->session != c->welcome.session)
        m.loss.ids = (struct vector){r->ids, r->count};
    kept_put_off(&c->kept, r, false);
    r->ping_nonce = c->ping_nonce;
    if (r->items != NULL)
        link_send_items(&c->link, &m, r->items);
    else
        link_send(&c->link, &m);
}

void client_flush(struct ohem_client *c)
{
    struct kept_report *r;

    if (!c->welcomed)
        return;
    for (uint32_t i = 0; i < c->credit_count; i++)
        send_credit(c, c->credits[i]);
    c->credit_count = 0;
    for (r = kept_first_put_off(&c->kept); r != NULL; r = TAILQ_NEXT(r, entry))
        if (r->put_off)
            send_loss(c, r);
}

void client_send_loss(struct ohem_client *c, struct kept_report *r)
{
    kept_put_off(&c->kept, r, true);
    client_flush(c);
}

void client_put_off_loss(struct ohem_client *c, struct kept_report *r)
{
    kept_put_off(&c->kept, r, true);
}

void client_give_credit(struct ohem_client *c, struct token token)
{
    if (c->credit_count == MESSAGE_CREDIT_MAX)
        client_flush(c);
    if (c->credit_count < MESSAGE_CREDIT_MAX) /* while nothing can be sent no batch comes, either */
        c->credits[c->credit_count++] = token;
}

static void send_sync(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_SYNC};

    m.sync.key = c->hello.key;
    m.sync.seq = c->sync_seq;
    link_send(&c->link, &m);
}

void client_ask_durable(struct ohem_client *c, uint64_t seq)
{
    if (!c->welcome.durable || seq <= c->durable_seq || seq == c->sync_seq)
        return;
    client_flush(c);
    c->sync_seq = seq;
    if (c->welcomed)
        send_sync(c);
}

/* LOSS, and CREDIT behind it where it was given. */
static void say_report(struct ohem_client *c, struct kept_report *r)
{
    send_loss(c, r);
    if (r->released)
        send_credit(c, r->token);
}

void client_say_again(struct ohem_client *c)
{
    struct kept_report *r;

    TAILQ_FOREACH (r, &c->kept.list, entry)
        say_report(c, r);
    client_flush(c);
    if (c->sync_seq != 0)
        send_sync(c);
}

void client_say_early(struct ohem_client *c)
{
    struct kept_report *r;

    c->retry_ms = 0;
    if (!c->welcomed)
        return; /* WELCOME has all of them sent again */
    TAILQ_FOREACH (r, &c->kept.list, entry)
        if (r->early) {
            r->early = false;
            say_report(c, r);
        }
}

void client_say_lost(struct ohem_client *c)
{
    struct kept_report *r;

    if (!c->welcomed || c->pong_nonce == c->lost_nonce)
        return;
    c->lost_nonce = c->pong_nonce;
    TAILQ_FOREACH (r, &c->kept.list, entry)
        if (!r->answered && !r->put_off && c->pong_nonce > r->ping_nonce)
            say_report(c, r);
}
