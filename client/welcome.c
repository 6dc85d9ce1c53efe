/* welcome.c - what a WELCOME changes: the session, the memory that it maps, the reports to be said
 * again; see client.h.
 */
#include "client.h"

#include "../proto/error.h"

#include <inttypes.h>
#include <stdlib.h>

#define ATTACH_MS 2000 /* for what WELCOME offers to be fetched */

#define FRAMES_BYTES_MIN (1u << 17) /* below glibc keeps memory anyhow ... */
#define FRAMES_BYTES_MAX (1u << 25) /* ... and above it never does: both are its own numbers */

/* What was offered is mapped, or is not. */
static void send_ready(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_READY};

    m.ready.key = c->hello.key;
    m.ready.way = c->way;
    link_send(&c->link, &m);
}

/* What was handed out under the memory that is gone is nobody's. */
static void orphan_batches(struct ohem_client *c)
{
    struct ohem_batch *b, *next;

    for (b = TAILQ_FIRST(&c->batches); b != NULL; b = next) {
        next = TAILQ_NEXT(b, entry);
        if (b->state == BATCH_READY)
            client_recycle(c, b);
        else
            b->state = BATCH_ORPHAN;
    }
}

/* The parts that lack come no more; the daemon sends the batch again, if it still knows it. */
static void drop_coming(struct ohem_client *c)
{
    struct ohem_batch *b, *next;

    for (b = TAILQ_FIRST(&c->batches); b != NULL; b = next) {
        next = TAILQ_NEXT(b, entry);
        if (b->state == BATCH_COMING)
            client_recycle(c, b);
    }
}

/* A trainer has arrays by id and sizes by record: they must not change under it. A daemon that has
 * its memory still, or was not even restarted (its job was begun anew), sees to it that the old ids
 * are what they were: more may have come. */
static bool is_same_dataset(const struct message_welcome *now, const struct message_welcome *before)
{
    if (now->record_bytes != before->record_bytes)
        return false;
    if (now->memory == before->memory || now->boot == before->boot)
        return now->instance_count >= before->instance_count;
    return now->generation == before->generation && now->instance_count == before->instance_count;
}

/* Batches that lie in it keep it. */
static void detach(struct ohem_client *c)
{
    attach_leave(c->attachment);
    attach_unref(c->attachment);
    c->attachment = NULL;
}

static bool has_cookie(const struct message_welcome *m)
{
    static const struct session_key none;

    return !session_key_equal(&m->cookie, &none);
}

/* Map what is offered, if it is not mapped yet; else batches come inline. Then they may come. */
static void take_offer(struct ohem_client *c, const struct message_welcome *m)
{
    reason_set(&c->way_why, "%s", "");
    c->way = WAY_INLINE;
    if (m->way != WAY_INLINE && c->attachment == NULL && has_cookie(m))
        (void)attach_open(m, ATTACH_MS, &c->attachment, &c->way_why);
    if (c->attachment != NULL)
        c->way = attach_way(c->attachment);
    if (m->way != WAY_INLINE)
        send_ready(c);
}

/* Large frames come and go in the order of the batches, and glibc would give the memory behind them
 * back to the system each time, to be cleared page by page when it is taken again. It does not for
 * blocks as large as one that was freed before (mallopt(3), "dynamic mmap threshold"): so free one.
 * It is never touched, and so costs no memory. */
static void prepare_for_frames(const struct message_welcome *m)
{
    uint64_t bytes = m->record_bytes_max * m->batch_size * m->credit;
    void *volatile block; /* or a compiler leaves the two calls out */

    if (m->way != WAY_INLINE || bytes < FRAMES_BYTES_MIN)
        return;
    block = malloc(bytes < FRAMES_BYTES_MAX ? (size_t)bytes : FRAMES_BYTES_MAX);
    free(block);
}

/* A trainer that insists on a transport gets no other. */
static void check_transport(struct ohem_client *c)
{
    enum ohem_transport got = ohem_transport(c);

    if (c->wanted == OHEM_AUTO || c->wanted == got)
        return;
    c->dead = -OHEM_TRANSPORT;
    reason_set(&c->why, "transport %s was asked for, %s can be had: %.300s",
               ohem_transport_name(c->wanted), ohem_transport_name(got), ohem_transport_reason(c));
}

/* Another memory: nothing that the client holds means anything to the daemon. */
static void forget(struct ohem_client *c)
{
    c->forgotten_count += c->kept.count;
    kept_clear(&c->kept);
    c->credit_count = 0;
    c->durable_seq = c->sync_seq = 0;
    orphan_batches(c);
}

/* Another daemon or session: what is shared and under way was the old one's. */
static void begin_anew(struct ohem_client *c, const struct message_welcome *m)
{
    drop_coming(c);
    if (m->memory != c->welcome.memory)
        forget(c);
    if (m->boot != c->welcome.boot)
        c->draining = false;
    detach(c);
    c->lsn = 0;
}

static void note_kept_steps(struct ohem_client *c)
{
    const struct kept_report *r;

    c->kept_step_max = 0;
    TAILQ_FOREACH (r, &c->kept.list, entry)
        if (r->token.step > c->kept_step_max)
            c->kept_step_max = r->token.step;
}

static int check_dataset(struct ohem_client *c, const struct message_welcome *m)
{
    if (is_same_dataset(m, &c->welcome))
        return 0;
    reason_set(&c->why,
               "the daemon came back with another data set: %" PRIu64 " instances of %" PRIu64
               " bytes, generation %016" PRIx64 "; before: %" PRIu64 " of %" PRIu64 ", %016" PRIx64,
               m->instance_count, m->record_bytes, m->generation, c->welcome.instance_count,
               c->welcome.record_bytes, c->welcome.generation);
    return -OHEM_DATASET;
}

/* Memory that is used again is of the K that was agreed on. */
static int check_batch_size(struct ohem_client *c, const struct message_welcome *m)
{
    if (m->batch_size == c->welcome.batch_size)
        return 0;
    reason_set(&c->why, "a batch size of %u was agreed on, now it is %u", c->welcome.batch_size,
               m->batch_size);
    return -OHEM_MALFORMED;
}

void client_take_welcome(struct ohem_client *c, const struct message_welcome *m)
{
    bool first = c->welcome.session == 0;
    bool same = m->boot == c->welcome.boot && m->session == c->welcome.session &&
                m->memory == c->welcome.memory;

    if (!first)
        c->dead = check_dataset(c, m);
    if (!first && c->dead == 0)
        c->dead = check_batch_size(c, m);
    if (c->dead != 0)
        return;
    if (!first && !same)
        begin_anew(c, m);
    if (!same)
        prepare_for_frames(m);
    c->welcome = *m;
    c->welcomed = c->came_back = true;
    /* the session keeps what it was given when nothing was asked for */
    c->hello.batch_size = m->batch_size;
    c->hello.credit = m->credit;
    take_offer(c, m);
    check_transport(c);
    if (first)
        kept_reserve(&c->kept, m->credit, m->batch_size);
    note_kept_steps(c);
    client_say_again(c);
}
