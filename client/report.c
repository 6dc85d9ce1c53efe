/* report.c - losses out and the selection back; see ohem.h. */
#include "client.h"

#include "../proto/error.h"
#include "../proto/items.h"
#include "../proto/select.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define FAST_US 200 /* between two submits: then a report may wait for the next */
#define REPORT_OPTIONS_BYTES_MIN \
    offsetof(struct ohem_report_options, round) /* of the first version */
#define ITEMS_BYTES_MIN sizeof(struct ohem_items)
#define TOGETHER_MAX    4 /* reports that are sent together, and a quarter of the credit at most */

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

static int check_flags(struct ohem_client *c, struct vector flags)
{
    for (size_t i = 0; i < flags.count; i++)
        if (vector_u8(flags, i) > LOSS_FLAGS_ALL) {
            reason_set(&c->why, "flags[%zu] is %u; at most %u is allowed", i, vector_u8(flags, i),
                       LOSS_FLAGS_ALL);
            return -OHEM_INVALID;
        }
    return 0;
}

/* Of a ragged report the items are not kept for it. */
static bool is_the_same(const struct ohem_batch *b, const struct message_loss *r)
{
    if (b->ragged || items_are_ragged(&r->items))
        return b->ragged && b->report_count == r->losses.count;
    return memcmp(b->losses, r->losses.data, r->losses.count * sizeof *b->losses) == 0 &&
           b->has_flags == (r->flags.count > 0) &&
           (!b->has_flags || memcmp(b->flags, r->flags.data, r->flags.count) == 0) &&
           select_equal(&b->select, &r->select);
}

static int check_count(struct ohem_batch *b, const struct message_loss *r)
{
    if (items_are_ragged(&r->items))
        return items_check(&r->items, r->losses.count, &b->client->why);
    if (r->losses.data == NULL) {
        reason_set(&b->client->why, "a report without losses");
        return -OHEM_INVALID;
    }
    if (r->losses.count == b->count)
        return 0;
    reason_set(&b->client->why, "%zu losses for a batch of %u instances", r->losses.count,
               b->count);
    return -OHEM_COUNT;
}

static int check_report(struct ohem_batch *b, const struct message_loss *r)
{
    struct ohem_client *c = b->client;
    int rc = check_holder(b);

    if (rc == 0)
        rc = check_count(b, r);
    if (rc == 0)
        rc = check_flags(c, r->flags);
    if (rc == 0)
        rc = select_check(&r->select, &c->why);
    if (rc == 0 && b->seq != 0 && b->refused != -OHEM_INVALID && !is_the_same(b, r)) {
        reason_set(&c->why, "the batch of step %" PRIu64 " was reported before with other losses",
                   b->token.step);
        rc = -OHEM_CONFLICT;
    }
    return rc;
}

/* What is to be sent is kept until it is safe. */
static struct kept_report *keep(struct ohem_batch *b, uint64_t seq,
                                const struct message_loss *report)
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
    r->has_flags = !items_are_ragged(&report->items) && report->flags.count > 0;
    r->select = report->select;
    r->round = b->round;
    memcpy(r->ids, b->ids, b->count * sizeof *b->ids);
    kept_drop_items(&c->kept, r);
    if (!items_are_ragged(&report->items)) {
        assert(report->losses.data != NULL); /* check_report() */
        memcpy(r->losses, report->losses.data, b->count * sizeof *r->losses);
    } else if (kept_take_items(&c->kept, r, report) != 0) {
        kept_drop(&c->kept, r);
        return NULL;
    }
    if (r->has_flags)
        memcpy(r->flags, report->flags.data, b->count);
    return r;
}

static void remember(struct ohem_batch *b, const struct message_loss *r)
{
    b->ragged = items_are_ragged(&r->items);
    b->report_count = r->losses.count;
    b->has_flags = r->flags.count > 0 && !b->ragged;
    b->select = r->select;
    assert(b->ragged || r->losses.data != NULL);
    if (!b->ragged)
        memcpy(b->losses, r->losses.data, r->losses.count * sizeof *b->losses);
    if (b->has_flags)
        memcpy(b->flags, r->flags.data, r->flags.count);
}

/* The round that a report is for, from what the trainer says of it. One that was refused is made
 * again for the same. */
static uint64_t round_of(const struct ohem_batch *b, uint64_t said)
{
    if (b->client->welcome.round == 0)
        return 0;
    if (said != OHEM_ROUND_NEXT)
        return said;
    return b->seq != 0 ? b->round : b->client->round_next;
}

static int take_report(struct ohem_batch *b, const struct message_loss *report,
                       struct kept_report **out)
{
    struct ohem_client *c = b->client;
    bool anew = b->seq == 0 || b->refused != 0; /* durable_seq may be beyond one that was refused */
    struct kept_report *r;

    if (anew)
        b->round = round_of(b, report->round);
    r = keep(b, anew ? c->report_seq + 1 : b->seq, report);
    if (r == NULL) {
        reason_set(&c->why, "no memory to keep a report of %zu losses", report->losses.count);
        return -OHEM_NOMEM;
    }
    if (anew) {
        b->seq = ++c->report_seq;
        c->round_next = b->round + 1;
    }
    remember(b, report);
    b->selection.arrived = false;
    b->refused = 0;
    *out = r;
    return 0;
}

static bool has_room(const struct ohem_batch *b, size_t items_bytes)
{
    const struct kept *k = &b->client->kept;

    return kept_has_room(k, b->capacity, items_bytes) ||
           (b->seq != 0 && kept_find(k, b->seq) != NULL);
}

/* Check a report and take it, when there is room: the batch may be lost in the meantime. */
static int begin_report(struct ohem_batch *b, const struct message_loss *report, int64_t deadline,
                        struct kept_report **out)
{
    int rc = check_report(b, report);
    size_t items_bytes = kept_items_bytes(report);

    if (rc == 0 && !has_room(b, items_bytes)) {
        rc = client_await_room(b->client, b->capacity, items_bytes, deadline);
        if (rc == 0)
            rc = check_report(b, report);
    }
    return rc == 0 ? take_report(b, report, out) : rc;
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

/* ---- what the trainer gives --------------------------------------------------------------------
 */

/* Copy as much of a struct as the caller's header knows, over the defaults.
 * @param init  the name of these @return 0 or -OHEM_INVALID */
static int read_struct(struct ohem_batch *b, void *given, size_t size, const void *from,
                       size_t from_size, size_t least, const char *init)
{
    if (from_size >= least && from_size <= size) {
        memcpy(given, from, from_size);
        return 0;
    }
    if (b->client != NULL)
        reason_set(&b->client->why, "options of %zu bytes: start from %s", from_size, init);
    return -OHEM_INVALID;
}

static int read_options(struct ohem_batch *b, const struct ohem_report_options *options,
                        struct message_loss *out)
{
    struct ohem_report_options given = OHEM_REPORT_OPTIONS_INIT;
    int rc;

    out->round = OHEM_ROUND_NEXT;
    if (options == NULL)
        return 0;
    rc = read_struct(b, &given, sizeof given, options, options->struct_bytes,
                     REPORT_OPTIONS_BYTES_MIN, "OHEM_REPORT_OPTIONS_INIT");
    if (rc != 0)
        return rc;
    if (given.flags != NULL)
        out->flags = (struct vector){given.flags, out->losses.count};
    out->select = (struct message_select){(uint32_t)given.select, given.count, given.value};
    out->round = given.round;
    return 0;
}

static struct vector vector_of(const void *data, size_t count)
{
    return (struct vector){data, data != NULL ? count : 0};
}

/* An array too long for the count of a vector is too long for the limits. */
static int check_sizes(struct ohem_batch *b, const struct ohem_items *i)
{
    size_t most = i->iou > 0 ? MESSAGE_BOXES_MAX : MESSAGE_ITEMS_MAX;

    if (i->counts == NULL || (i->losses == NULL && i->count > 0)) {
        reason_set(&b->client->why, "a ragged report without %s",
                   i->counts == NULL ? "counts" : "losses");
        return -OHEM_INVALID;
    }
    if (i->count <= most)
        return 0;
    reason_set(&b->client->why, "%zu items; at most %zu (%s) are allowed", i->count, most,
               i->iou > 0 ? "MESSAGE_BOXES_MAX" : "MESSAGE_ITEMS_MAX");
    return -OHEM_TOO_LARGE;
}

static int read_items(struct ohem_batch *b, const struct ohem_items *items,
                      struct message_loss *out)
{
    struct ohem_items i = OHEM_ITEMS_INIT;
    int rc = read_struct(b, &i, sizeof i, items, items->struct_bytes, ITEMS_BYTES_MIN,
                         "OHEM_ITEMS_INIT");

    if (rc == 0)
        rc = check_holder(b);
    if (rc == 0)
        rc = check_sizes(b, &i);
    if (rc != 0)
        return rc;
    *out = (struct message_loss){
        .losses = {i.losses, i.count},
        .flags = vector_of(i.flags, i.count),
        .select = {(uint32_t)i.select, i.select_count, i.value},
        .items = {.counts = {i.counts, b->count},
                  .score = (uint32_t)i.score,
                  .top = i.top,
                  .iou = i.iou,
                  .boxes = vector_of(i.boxes, 4 * i.count),
                  .classes = vector_of(i.classes, i.count)},
    };
    return 0;
}

/* ---- the calls ---------------------------------------------------------------------------------
 */

static int submit(struct ohem_batch *b, const struct message_loss *report)
{
    struct kept_report *r;
    int rc;

    if (b->seq != 0 && b->refused == 0) /* its answer is there, or on its way */
        return check_report(b, report);
    rc = begin_report(b, report, -1, &r);
    if (rc != 0)
        return rc;
    if (can_wait(b->client))
        client_put_off_loss(b->client, r);
    else
        client_send_loss(b->client, r);
    return 0;
}

static int report(struct ohem_batch *b, const struct message_loss *report, int64_t deadline,
                  const struct ohem_selection **out)
{
    bool is_under_way = b->seq != 0 && b->refused == 0 && !b->selection.told; /* a call gave up */
    struct kept_report *r;
    int rc = is_under_way ? check_report(b, report) : begin_report(b, report, deadline, &r);

    if (rc != 0)
        return rc;
    if (!is_under_way)
        client_send_loss(b->client, r);
    return tell_selection(b, deadline, out);
}

int ohem_submit_with(struct ohem_batch *batch, const float *losses, size_t count,
                     const struct ohem_report_options *options)
{
    struct message_loss loss = {.losses = {losses, count}};
    int rc = read_options(batch, options, &loss);

    return rc == 0 ? submit(batch, &loss) : rc;
}

int ohem_submit(struct ohem_batch *batch, const float *losses, size_t count)
{
    return ohem_submit_with(batch, losses, count, NULL);
}

int ohem_submit_items(struct ohem_batch *batch, const struct ohem_items *items)
{
    struct message_loss loss;
    int rc = read_items(batch, items, &loss);

    return rc == 0 ? submit(batch, &loss) : rc;
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

int ohem_report_with(struct ohem_batch *batch, const float *losses, size_t count,
                     const struct ohem_report_options *options, int timeout_ms,
                     const struct ohem_selection **out_selection)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    struct message_loss loss = {.losses = {losses, count}};
    int rc = read_options(batch, options, &loss);

    return rc == 0 ? report(batch, &loss, deadline, out_selection) : rc;
}

int ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                const struct ohem_selection **out_selection)
{
    return ohem_report_with(batch, losses, count, NULL, timeout_ms, out_selection);
}

int ohem_report_items(struct ohem_batch *batch, const struct ohem_items *items, int timeout_ms,
                      const struct ohem_selection **out_selection)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    struct message_loss loss;
    int rc = read_items(batch, items, &loss);

    return rc == 0 ? report(batch, &loss, deadline, out_selection) : rc;
}
