/* report.c - losses out and the selection back; see ohem.h. */
#include "client.h"

#include "../proto/error.h"
#include "../proto/select.h"

#include <inttypes.h>
#include <string.h>

#define FAST_US                  200 /* between two submits: then a report may wait for the next */
#define REPORT_OPTIONS_BYTES_MIN sizeof(struct ohem_report_options) /* of the first version */
#define TOGETHER_MAX             4 /* reports that are sent together, and a quarter of the credit at most */

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

/* What a trainer reports. */
struct report {
    const float *losses;
    size_t count;
    const uint8_t *flags; /* NULL: none */
    struct message_select select;
};

static int check_flags(struct ohem_client *c, const struct report *r)
{
    for (size_t i = 0; i < r->count && r->flags != NULL; i++)
        if (r->flags[i] > LOSS_FLAGS_ALL) {
            reason_set(&c->why, "flags[%zu] is %u; at most %u is allowed", i, r->flags[i],
                       LOSS_FLAGS_ALL);
            return -OHEM_INVALID;
        }
    return 0;
}

static bool is_the_same(const struct ohem_batch *b, const struct report *r)
{
    return memcmp(b->losses, r->losses, r->count * sizeof *r->losses) == 0 &&
           b->has_flags == (r->flags != NULL) &&
           (!b->has_flags || memcmp(b->flags, r->flags, r->count) == 0) &&
           select_equal(&b->select, &r->select);
}

static int check_report(struct ohem_batch *b, const struct report *r)
{
    struct ohem_client *c = b->client;
    int rc = check_holder(b);

    if (rc != 0)
        return rc;
    if (r->count != b->count) {
        reason_set(&c->why, "%zu losses for a batch of %u instances", r->count, b->count);
        return -OHEM_COUNT;
    }
    rc = check_flags(c, r);
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
static struct kept_report *keep(struct ohem_batch *b, uint64_t seq, const struct report *report)
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
    r->has_flags = report->flags != NULL;
    r->select = report->select;
    memcpy(r->ids, b->ids, b->count * sizeof *b->ids);
    memcpy(r->losses, report->losses, b->count * sizeof *r->losses);
    if (r->has_flags)
        memcpy(r->flags, report->flags, b->count);
    return r;
}

static void remember(struct ohem_batch *b, const struct report *r)
{
    memcpy(b->losses, r->losses, r->count * sizeof *r->losses);
    b->has_flags = r->flags != NULL;
    if (b->has_flags)
        memcpy(b->flags, r->flags, r->count);
    b->select = r->select;
}

static int take_report(struct ohem_batch *b, const struct report *report, struct kept_report **out)
{
    struct ohem_client *c = b->client;
    bool anew = b->seq == 0 || b->refused != 0; /* durable_seq may be beyond one that was refused */
    struct kept_report *r = keep(b, anew ? c->report_seq + 1 : b->seq, report);

    if (r == NULL) {
        reason_set(&c->why, "no memory to keep a report of %u losses", b->count);
        return -OHEM_NOMEM;
    }
    if (anew)
        b->seq = ++c->report_seq;
    remember(b, report);
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
static int begin_report(struct ohem_batch *b, const struct report *report, int64_t deadline,
                        struct kept_report **out)
{
    int rc = check_report(b, report);

    if (rc == 0 && !has_room(b)) {
        rc = client_await_room(b->client, b->capacity, deadline);
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

/* @return 0, or -OHEM_INVALID: the caller's header is another */
static int read_options(struct ohem_batch *b, const struct ohem_report_options *options,
                        struct report *out)
{
    struct ohem_report_options given = OHEM_REPORT_OPTIONS_INIT;

    if (options == NULL)
        return 0;
    if (options->struct_bytes < REPORT_OPTIONS_BYTES_MIN || options->struct_bytes > sizeof given) {
        if (b->client != NULL)
            reason_set(&b->client->why, "options of %zu bytes: start from OHEM_REPORT_OPTIONS_INIT",
                       options->struct_bytes);
        return -OHEM_INVALID;
    }
    memcpy(&given, options, options->struct_bytes);
    out->flags = given.flags;
    out->select = (struct message_select){(uint32_t)given.select, given.count, given.value};
    return 0;
}

int ohem_submit_with(struct ohem_batch *batch, const float *losses, size_t count,
                     const struct ohem_report_options *options)
{
    struct report report = {.losses = losses, .count = count};
    struct kept_report *r;
    int rc = read_options(batch, options, &report);

    if (rc != 0)
        return rc;
    if (batch->seq != 0 && batch->refused == 0) /* its answer is there, or on its way */
        return check_report(batch, &report);
    rc = begin_report(batch, &report, -1, &r);
    if (rc != 0)
        return rc;
    if (can_wait(batch->client))
        client_put_off_loss(batch->client, r);
    else
        client_send_loss(batch->client, r);
    return 0;
}

int ohem_submit(struct ohem_batch *batch, const float *losses, size_t count)
{
    return ohem_submit_with(batch, losses, count, NULL);
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
    bool has_come = batch->selection.arrived && !batch->selection.told; /* since a call gave up */
    struct report report = {.losses = losses, .count = count};
    struct kept_report *r;
    int rc = read_options(batch, options, &report);

    if (rc == 0)
        rc = has_come ? check_report(batch, &report) : begin_report(batch, &report, deadline, &r);
    if (rc != 0)
        return rc;
    if (!has_come)
        client_send_loss(batch->client, r);
    return tell_selection(batch, deadline, out_selection);
}

int ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                const struct ohem_selection **out_selection)
{
    return ohem_report_with(batch, losses, count, NULL, timeout_ms, out_selection);
}
