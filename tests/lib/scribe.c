/* scribe.c - what an audit must tell; see scribe.h. */
#include "scribe.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void free_draws(struct scribe *s, size_t from)
{
    for (size_t i = from; i < s->count; i++) {
        free(s->draws[i].ids);
        free(s->draws[i].p);
        free(s->draws[i].w);
    }
    s->count = from;
}

void scribe_deinit(struct scribe *s)
{
    free_draws(s, 0);
    free(s->draws);
}

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes);

    assert(copy != NULL);
    memcpy(copy, data, bytes);
    return copy;
}

/* One that is sent again to the session that lost it was drawn before. */
static bool is_resent(struct scribe *s, const struct job *j)
{
    bool resent = j->metrics.batches_resent > s->resent;

    s->resent = j->metrics.batches_resent;
    return resent;
}

void scribe_handed_out(struct scribe *s, uint32_t owner, const struct engine_delivery *d)
{
    const struct lease *l = d->lease;

    scribe_welcomed(s, owner, d->session->number);
    if (is_resent(s, d->session->job))
        return;
    if (s->count == s->capacity) {
        s->capacity = 2 * s->capacity + 64;
        s->draws = realloc(s->draws, s->capacity * sizeof *s->draws);
        assert(s->draws != NULL);
    }
    s->draws[s->count++] = (struct scribe_draw){
        .step = l->token.step,
        .session = d->session->number,
        .count = l->count,
        .coverage_count = l->coverage_count,
        .ids = copy_of(l->ids, l->count * sizeof *l->ids),
        .p = copy_of(l->probabilities, l->count * sizeof *l->probabilities),
        .w = copy_of(l->weights, l->count * sizeof *l->weights),
    };
}

void scribe_welcomed(struct scribe *s, uint32_t owner, uint64_t session)
{
    assert(session < SCRIBE_SESSIONS_MAX);
    s->owners[session] = owner + 1;
}

void scribe_capture(struct scribe *s)
{
    s->captured = s->count;
}

void scribe_written(struct scribe *s)
{
    s->disk = s->captured;
}

void scribe_died(struct scribe *s)
{
    free_draws(s, s->disk);
    s->captured = s->disk;
}

void scribe_restored(struct scribe *s, const struct job *j)
{
    s->resent = j->metrics.batches_resent;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

struct story {
    struct audit_event *events;
    size_t count, capacity;
};

/* audit_event_cb */
static void event_cb(void *ctx, const struct audit_event *event)
{
    struct story *t = ctx;

    if (t->count == t->capacity) {
        t->capacity = 2 * t->capacity + 64;
        t->events = realloc(t->events, t->capacity * sizeof *t->events);
        assert(t->events != NULL);
    }
    t->events[t->count++] = *event;
}

/* Rows follow each other without a gap. */
static void read_story(const struct disk *d, uint32_t job, uint32_t id, struct story *out)
{
    uint64_t end = 0;

    for (size_t i = 0; i < d->count; i++) {
        const struct disk_row *row = &d->rows[i];

        if (row->key.table != ROWS_AUDIT || row->key.job != job)
            continue;
        CHECK(row->key.number == end, "a row of the audit begins at %" PRIu64 ", not %" PRIu64,
              row->key.number, end);
        end += row->size;
        CHECK(audit_search(row->value, row->size, id, event_cb, out) == 0,
              "the audit's row %" PRIu64 " cannot be read", row->key.number);
    }
}

/* The next event of a kind, or NULL. */
static const struct audit_event *next_event(const struct story *t, enum audit_kind kind, size_t *at)
{
    while (*at < t->count && t->events[*at].kind != kind)
        ++*at;
    return *at < t->count ? &t->events[(*at)++] : NULL;
}

static bool same_bits(float a, float b)
{
    uint32_t x, y;

    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

static void check_draw(const struct scribe_draw *d, uint32_t place, const struct audit_event *e)
{
    CHECK(e != NULL && e->step == d->step && e->session == d->session && e->place == place &&
              e->count == d->count && e->coverage_count == d->coverage_count,
          "the audit lacks a draw of step %" PRIu64 ", place %" PRIu32, d->step, place);
    CHECK(e->coverage == (place < d->coverage_count), "it tells of another slot");
    CHECK(same_bits(e->p, d->p[place]) && same_bits(e->w, d->w[place]),
          "step %" PRIu64 " went out with p %g and w %g, the audit has %g and %g", d->step,
          (double)d->p[place], (double)d->w[place], (double)e->p, (double)e->w);
}

static void check_draws(struct scribe *s, const struct story *t, uint32_t id)
{
    size_t at = 0;

    for (size_t i = 0; i < s->disk; i++)
        for (uint32_t place = 0; place < s->draws[i].count; place++)
            if (s->draws[i].ids[place] == id) {
                check_draw(&s->draws[i], place, next_event(t, AUDIT_DRAW, &at));
                s->events++;
            }
    CHECK(next_event(t, AUDIT_DRAW, &at) == NULL, "the audit has a draw that never was");
}

static void check_report(const struct scribe *s, const struct oracle *o,
                         const struct oracle_batch *b, const struct oracle_mark *m, uint64_t lsn,
                         uint32_t place, const struct audit_event *e)
{
    CHECK(e != NULL && e->step == b->token.step && e->place == place && e->count == b->count,
          "the audit lacks the report of step %" PRIu64 ", place %" PRIu32, b->token.step, place);
    CHECK(e->session < SCRIBE_SESSIONS_MAX && s->owners[e->session] == b->owner + 1,
          "the report of step %" PRIu64 " is said to be of session %" PRIu64 " owner %d not %d",
          b->token.step, e->session, (int)s->owners[e->session] - 1, (int)b->owner);
    CHECK(e->lsn == lsn,
          "the report of step %" PRIu64 " is said to be number %" PRIu64 ", it is %" PRIu64,
          b->token.step, e->lsn, lsn);
    CHECK(e->late == m->late && same_bits(e->loss, oracle_loss(o, b, place)),
          "the report of step %" PRIu64 " is told wrong", b->token.step);
}

static void check_reports(struct scribe *s, const struct oracle *o, const struct story *t,
                          uint32_t id)
{
    size_t at = 0;

    for (size_t i = 0; i < o->disk.applied_count; i++) {
        const struct oracle_batch *b = &o->batches[o->disk.applied[i]];
        const struct oracle_mark *m = &o->disk.marks[o->disk.applied[i]];

        for (uint32_t place = 0; place < b->count; place++)
            if (b->ids[place] == id) {
                check_report(s, o, b, m, o->strict ? b->token.step + 1 : i + 1, place,
                             next_event(t, AUDIT_REPORT, &at));
                s->events++;
            }
    }
    CHECK(next_event(t, AUDIT_REPORT, &at) == NULL, "the audit has a report that never was");
}

void scribe_check(struct scribe *s, const struct disk *d, uint32_t job, const struct oracle *o,
                  uint32_t id)
{
    struct story t = {0};

    read_story(d, job, id, &t);
    check_draws(s, &t, id);
    check_reports(s, o, &t, id);
    free(t.events);
}
