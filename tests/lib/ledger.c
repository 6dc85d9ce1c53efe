/* ledger.c - what must be true of a job's batches; see ledger.h. */
#include "ledger.h"

#include "../../proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum instance_place { UNSEEN, OUT, BACK, SETTLED };

static void *more(void *memory, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return memory;
    *capacity = 2 * count + 64;
    memory = realloc(memory, *capacity * size);
    assert(memory != NULL);
    return memory;
}

void ledger_init(struct ledger *l, struct job *job)
{
    const struct job_settings *s = &job->settings;

    *l = (struct ledger){.job = job, .lease_ms = s->lease_ms, .late_ms = s->late_ms};
    model_init(&l->memory, (uint32_t)s->dataset.instance_count, (float)s->lambda);
}

void ledger_deinit(struct ledger *l)
{
    for (size_t i = 0; i < l->lease_count; i++) {
        free(l->leases[i].ids);
        free(l->leases[i].epochs);
        free(l->leases[i].losses);
    }
    for (size_t i = 0; i < l->epoch_count; i++)
        free(l->epochs[i].instances);
    free(l->leases);
    free(l->epochs);
    model_deinit(&l->memory);
}

/* ---- epochs --------------------------------------------------------------------------------- */

static struct ledger_epoch *epoch_at(struct ledger *l, uint64_t number)
{
    CHECK(number <= l->epoch_count, "epoch %" PRIu64 " comes before %zu", number, l->epoch_count);
    if (number == l->epoch_count) {
        struct ledger_epoch e = {.report = {.epoch = number}};

        l->epochs = realloc(l->epochs, (l->epoch_count + 1) * sizeof *l->epochs);
        e.instances = calloc(l->memory.n, 1);
        assert(l->epochs != NULL && e.instances != NULL);
        l->epochs[l->epoch_count++] = e;
    }
    return &l->epochs[number];
}

static void instance_out(struct ledger *l, uint64_t number, uint64_t id)
{
    struct ledger_epoch *e = epoch_at(l, number);

    CHECK(id < l->memory.n, "there is no instance %" PRIu64, id);
    CHECK(e->instances != NULL, "epoch %" PRIu64 " is closed and hands out %" PRIu64, number, id);
    CHECK(e->instances[id] == UNSEEN || e->instances[id] == BACK,
          "instance %" PRIu64 " is handed out twice in epoch %" PRIu64, id, number);
    e->report.served++;
    if (e->instances[id] == BACK) {
        e->report.repeated++;
        l->back_count--;
    }
    e->instances[id] = OUT;
}

static void instance_back(struct ledger *l, uint64_t number, uint64_t id)
{
    struct ledger_epoch *e = &l->epochs[number];

    CHECK(e->instances != NULL && e->instances[id] == OUT, "it was not out");
    e->instances[id] = BACK;
    e->report.returned++;
    l->back_count++;
}

static void instance_settled(struct ledger *l, uint64_t number, uint64_t id, bool reported)
{
    struct ledger_epoch *e = &l->epochs[number];

    CHECK(e->instances != NULL && e->instances[id] == OUT, "it was not out");
    e->instances[id] = SETTLED;
    e->report.reported += reported;
    e->report.released += !reported;
    if (++e->settled < l->memory.n)
        return;
    free(e->instances);
    e->instances = NULL;
    l->epochs_closed++;
}

static void coverage_back(struct ledger *l, const struct ledger_lease *b)
{
    for (uint32_t i = 0; i < b->coverage_count; i++)
        instance_back(l, b->epochs[i], b->ids[i]);
}

static void coverage_settled(struct ledger *l, const struct ledger_lease *b, bool reported)
{
    for (uint32_t i = 0; i < b->coverage_count; i++)
        instance_settled(l, b->epochs[i], b->ids[i], reported);
}

/* ---- batches -------------------------------------------------------------------------------- */

static void *copied(const void *data, size_t size)
{
    void *copy = calloc(1, size + 1);

    assert(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

static void handed_out_again(struct ledger_lease *b, const struct parcel *p, uint64_t session)
{
    const struct message_batch *m = &p->m.batch;

    CHECK(b->resend && b->state != LEDGER_GONE && b->session == session,
          "step %" PRIu64 " is sent again unasked", m->token.step);
    CHECK(token_equal(b->token, m->token) && b->count == m->count &&
              memcmp(b->ids, m->ids.data, m->count * sizeof *b->ids) == 0,
          "step %" PRIu64 " is sent again as something else", m->token.step);
    b->resend = false;
}

void ledger_handed_out(struct ledger *l, const struct parcel *p, uint64_t session, uint64_t now_ms)
{
    const struct message_batch *m = &p->m.batch;
    struct ledger_lease *b;

    if (m->token.step < l->lease_count) {
        handed_out_again(&l->leases[m->token.step], p, session);
        return;
    }
    CHECK(m->token.step == l->lease_count, "a step was left out before %" PRIu64, m->token.step);
    CHECK(m->ids.count == m->count && m->coverage_count <= m->count, "the counts do not fit");
    CHECK(m->coverage_count == 0 || m->epoch == p->epochs[0], "the batch names another epoch");
    l->leases = more(l->leases, l->lease_count, &l->lease_capacity, sizeof *l->leases);
    b = &l->leases[l->lease_count++];
    *b = (struct ledger_lease){
        .token = m->token,
        .session = session,
        .end_ms = now_ms + l->lease_ms,
        .count = m->count,
        .coverage_count = m->coverage_count,
        .ids = copied(m->ids.data, m->count * sizeof *b->ids),
        .epochs = copied(p->epochs, m->coverage_count * sizeof *b->epochs),
    };
    for (uint32_t i = 0; i < b->coverage_count; i++)
        instance_out(l, b->epochs[i], b->ids[i]);
    for (uint32_t i = b->coverage_count; i < b->count; i++)
        CHECK(b->ids[i] < l->memory.n && l->memory.visits[b->ids[i]] > 0,
              "a hard draw of an instance without a score");
}

static struct ledger_lease *find(const struct ledger *l, struct token token)
{
    struct ledger_lease *b;

    if (token.step >= l->lease_count)
        return NULL;
    b = &l->leases[token.step];
    return b->state != LEDGER_GONE && token_equal(b->token, token) ? b : NULL;
}

void ledger_tick(struct ledger *l, uint64_t now_ms)
{
    while (l->first_live < l->lease_count && l->leases[l->first_live].state == LEDGER_GONE)
        l->first_live++;
    for (size_t i = l->first_live; i < l->lease_count; i++) {
        struct ledger_lease *b = &l->leases[i];

        if (b->state == LEDGER_OPEN && b->end_ms <= now_ms) {
            b->state = b->resend ? LEDGER_GONE : LEDGER_RETURNED;
            b->resend = false;
            b->end_ms += l->late_ms;
            coverage_back(l, b);
        }
        if (b->state == LEDGER_RETURNED && b->end_ms <= now_ms)
            b->state = LEDGER_CLOSED;
    }
}

static struct ledger_verdict refused(int code)
{
    return (struct ledger_verdict){.code = code};
}

static void apply(struct ledger *l, struct ledger_lease *b, const struct message_loss *loss)
{
    b->late = b->state == LEDGER_RETURNED;
    if (!b->late)
        coverage_settled(l, b, true);
    b->state = LEDGER_SETTLED;
    b->losses = copied(loss->losses.data, b->count * sizeof *b->losses);
    b->seq = loss->seq;
    b->lsn = ++l->lsn;
    for (uint32_t i = 0; i < b->count; i++)
        model_report(&l->memory, b->ids[i], b->losses[i], b->token.step);
}

struct ledger_verdict ledger_report(struct ledger *l, uint64_t session,
                                    const struct message_loss *loss)
{
    struct ledger_lease *b = find(l, loss->token);
    bool repeated;

    if (b == NULL)
        return refused(OHEM_TOKEN);
    if (b->session != session)
        return refused(OHEM_FOREIGN);
    if (loss->losses.count != b->count)
        return refused(OHEM_COUNT);
    if (b->state == LEDGER_CLOSED)
        return refused(OHEM_EXPIRED);
    repeated = b->state == LEDGER_SETTLED;
    if (repeated && memcmp(b->losses, loss->losses.data, b->count * sizeof *b->losses) != 0)
        return refused(OHEM_CONFLICT);
    if (!repeated)
        apply(l, b, loss);
    return (struct ledger_verdict){
        .flags = (b->late ? SELECTION_FLAG_LATE : 0) | (repeated ? SELECTION_FLAG_REPEATED : 0),
        .seq = b->seq,
        .lsn = b->lsn,
    };
}

int ledger_release(struct ledger *l, uint64_t session, struct token token)
{
    struct ledger_lease *b = find(l, token);

    if (b == NULL)
        return OHEM_TOKEN;
    if (b->session != session)
        return OHEM_FOREIGN;
    if (b->state == LEDGER_OPEN)
        coverage_settled(l, b, false);
    b->state = LEDGER_GONE;
    return 0;
}

void ledger_ping(struct ledger *l, uint64_t session, uint64_t now_ms)
{
    for (size_t i = l->first_live; i < l->lease_count; i++)
        if (l->leases[i].session == session && l->leases[i].state == LEDGER_OPEN)
            l->leases[i].end_ms = now_ms + l->lease_ms;
}

void ledger_resume(struct ledger *l, uint64_t session, const struct token *held, size_t count)
{
    for (size_t i = l->first_live; i < l->lease_count; i++) {
        struct ledger_lease *b = &l->leases[i];
        bool has = false;

        for (size_t h = 0; h < count; h++)
            has |= token_equal(held[h], b->token);
        if (b->session != session || b->state == LEDGER_GONE || has)
            continue;
        if (b->state == LEDGER_OPEN)
            b->resend = true;
        else
            b->state = LEDGER_GONE;
    }
}

void ledger_end(struct ledger *l, uint64_t session)
{
    for (size_t i = l->first_live; i < l->lease_count; i++) {
        struct ledger_lease *b = &l->leases[i];

        if (b->session != session)
            continue;
        if (b->state == LEDGER_OPEN)
            coverage_back(l, b);
        b->state = LEDGER_GONE;
    }
}

/* ---- comparing ------------------------------------------------------------------------------ */

size_t ledger_held_in(const struct ledger *l, uint64_t session, enum ledger_state state)
{
    size_t count = 0;

    for (size_t i = l->first_live; i < l->lease_count; i++)
        count += l->leases[i].session == session && l->leases[i].state == state ? 1 : 0;
    return count;
}

size_t ledger_held(const struct ledger *l, uint64_t session)
{
    size_t count = 0;

    for (size_t i = l->first_live; i < l->lease_count; i++)
        count += l->leases[i].session == session && l->leases[i].state != LEDGER_GONE ? 1 : 0;
    return count;
}

size_t ledger_resends(const struct ledger *l, uint64_t session)
{
    size_t count = 0;

    for (size_t i = l->first_live; i < l->lease_count; i++)
        count += l->leases[i].session == session && l->leases[i].state != LEDGER_GONE &&
                         l->leases[i].resend
                     ? 1
                     : 0;
    return count;
}

bool ledger_covered(const struct ledger *l, uint64_t last)
{
    for (uint64_t e = 0; e <= last; e++)
        if (e >= l->epoch_count || l->epochs[e].instances != NULL)
            return false;
    return true;
}

static void check_epoch(const struct ledger *l, const struct coverage_report *r)
{
    const struct ledger_epoch *e = &l->epochs[r->epoch];
    const struct coverage_report *mine = &e->report;

    CHECK(r->epoch < l->epoch_count, "epoch %" PRIu64 " has begun by itself", r->epoch);
    CHECK(r->closed == (e->instances == NULL), "epoch %" PRIu64 " is closed too soon or too late",
          r->epoch);
    CHECK(!r->closed || r->served == l->memory.n + r->repeated,
          "epoch %" PRIu64 " closed with %" PRIu64 " served and %" PRIu64 " repeated", r->epoch,
          r->served, r->repeated);
    CHECK(r->missing == l->memory.n - e->settled && r->skipped == 0 && r->served == mine->served &&
              r->reported == mine->reported && r->released == mine->released &&
              r->returned == mine->returned && r->repeated == mine->repeated,
          "the report of epoch %" PRIu64 " does not say what became of it", r->epoch);
}

static void check_epochs(const struct ledger *l, bool all)
{
    const struct coverage *c = &l->job->coverage;

    CHECK(c->closed_count == l->epochs_closed, "%" PRIu64 " epochs are closed, not %zu",
          c->closed_count, l->epochs_closed);
    CHECK(c->pool_count == l->back_count, "%zu instances wait to be handed out again, not %zu",
          c->pool_count, l->back_count);
    for (size_t back = 0; back < (all ? COVERAGE_REPORTS_MAX : 2); back++)
        if (coverage_closed(c, back) != NULL)
            check_epoch(l, coverage_closed(c, back));
    for (size_t i = 0; all && i + 1 < c->open_count; i++)
        check_epoch(l, coverage_open(c, i));
}

static void check_batch(const struct ledger *l, const struct ledger_lease *mine)
{
    static const enum lease_state same[] = {[LEDGER_OPEN] = LEASE_OPEN,
                                            [LEDGER_RETURNED] = LEASE_RETURNED,
                                            [LEDGER_SETTLED] = LEASE_SETTLED,
                                            [LEDGER_CLOSED] = LEASE_CLOSED};
    const struct lease *b = lease_find(&l->job->leases, mine->token.step);

    if (mine->state == LEDGER_GONE) {
        CHECK(b == NULL, "step %" PRIu64 " is still there", mine->token.step);
        return;
    }
    CHECK(b != NULL && token_equal(b->token, mine->token), "step %" PRIu64 " is gone",
          mine->token.step);
    CHECK(b->state == same[mine->state] && b->session->number == mine->session,
          "step %" PRIu64 " is in state %d of session %" PRIu64 ", not %d of %" PRIu64,
          mine->token.step, b->state, b->session->number, same[mine->state], mine->session);
}

void ledger_check(struct ledger *l, bool all)
{
    const struct job *j = l->job;
    size_t counts[LEDGER_GONE + 1] = {0};

    for (size_t i = l->first_live; i < l->lease_count; i++) {
        counts[l->leases[i].state]++;
        if (all)
            check_batch(l, &l->leases[i]);
    }
    CHECK(j->leases.open_count == counts[LEDGER_OPEN] &&
              j->leases.returned_count == counts[LEDGER_RETURNED] &&
              j->leases.settled_count == counts[LEDGER_SETTLED],
          "the batches are in other states");
    CHECK(j->lsn == l->lsn && j->metrics.reports_applied == l->lsn, "reports: %" PRIu64, j->lsn);
    check_epochs(l, all);
    if (all)
        CHECK(model_differences(&l->memory, &j->hardness) == 0, "the memories differ");
}
