/* job_restore.c - a job from the rows of an earlier life; see engine.h and job_rows.h.
 */
#include "../../proto/error.h"
#include "job_inner.h"
#include "job_rows.h"
#include "lease_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *job_row_name(const void *value, size_t size)
{
    const struct job_row *row = value;

    return size >= sizeof *row && row->version == JOB_VERSION &&
                   memchr(row->name, '\0', sizeof row->name) != NULL
               ? row->name
               : NULL;
}

static int damaged(const struct job *j, const char *what, uint64_t number, struct reason *why)
{
    reason_set(why, "job '%s': the row of %s %" PRIu64 " cannot be read", j->settings.name, what,
               number);
    return -OHEM_STATE;
}

/* What the rows are of has to be what the job is of: else the scores of one would be another's. */
static int check_same(const struct job *j, const struct job_row *row, struct reason *why)
{
    const struct {
        const char *what;
        uint64_t was, is;
        bool matters;
    } same[] = {
        {"seed", row->seed, j->settings.seed, true},
        {"staleness (0: order = free)", row->staleness, j->strict.staleness, true},
        {"batch_size of strict order", row->batch_size, j->strict.batch_size, row->staleness > 0},
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].matters && same[i].was != same[i].is) {
            reason_set(why,
                       "job '%s' was begun with other settings: %s was %" PRIu64 " and is %" PRIu64
                       " now; set it back, or start over with --fresh",
                       j->settings.name, same[i].what, same[i].was, same[i].is);
            return -OHEM_STATE;
        }
    if (row->growth_n > 0 &&
        job_check_generation(j, row->growth_n, row->growth_generation, why) != 0)
        return -OHEM_STATE;
    return job_check_generation(j, row->n, row->generation, why);
}

static void restore_coverage(struct coverage *c, const struct job_row *row)
{
    c->n = row->n; /* it grows when all is back */
    c->epoch = row->epoch;
    c->position = row->position;
    c->joined_count = row->joined_count;
    memcpy(c->joined, row->joined, c->joined_count * sizeof *c->joined);
    memcpy(c->reports, row->reports, sizeof c->reports);
    c->closed_count = row->closed_count;
    c->open_count = row->open_count;
    memcpy(c->open, row->open, c->open_count * sizeof *c->open);
    c->pool_head = 0;
    c->pool_taken = row->pool_first;
    c->pool_count = row->pool_count;
}

static int restore_job(struct job *j, const void *value, size_t size, struct reason *why)
{
    const struct job_row *row = value;
    int rc;

    if (job_row_name(value, size) == NULL || row->open_count > COVERAGE_OPEN_MAX ||
        row->joined_count > COVERAGE_JOINED_MAX || row->pool_count > JOB_INSTANCES_OUT_MAX ||
        row->audit_begin > row->audit_end || !(row->quarantine_cut >= 0) || !(row->gain >= 0) ||
        (row->growth_n > 0 && (row->growth_n <= row->n || row->staleness == 0)) ||
        size != sizeof *row + row->open_count * sizeof *row->open)
        return damaged(j, "the job", 0, why);
    rc = check_same(j, row, why);
    if (rc != 0)
        return rc;
    if (coverage_reserve(&j->coverage, row->pool_count) != 0) {
        reason_set(why, "job '%s': no memory", j->settings.name);
        return -OHEM_NOMEM;
    }
    restore_coverage(&j->coverage, row);
    j->step = j->saved.step_limit = j->saved.step_earlier = row->step_limit;
    j->saved.life = row->life;
    j->saved.generation = row->generation;
    j->saved.clears = false;
    j->lsn = row->lsn;
    j->strict.applied = j->strict.drawn = j->strict.saved_applied = row->applied;
    j->sampler.carry = row->carry;
    memcpy(j->generations, row->generations, sizeof j->generations);
    j->growth = (struct job_growth){.n = row->growth_n,
                                    .generation = row->growth_generation,
                                    .step = row->growth_step,
                                    .saved = true};
    j->metrics = row->metrics;
    j->quarantine.cut = row->quarantine_cut;
    j->quarantine.explained = row->quarantine_explained;
    j->quarantine.unseen = row->quarantine_unseen;
    j->sampler.gain = row->gain;
    j->saved.pool_first = row->pool_first;
    j->saved.pool_end = row->pool_first + row->pool_count;
    j->audit.begin = row->audit_begin;
    j->audit.end = row->audit_end;
    j->saved.session_last = row->session_last;
    j->saved.restored = true;
    return 0;
}

static int restore_pool(struct job *j, uint64_t block, const void *value, size_t size,
                        struct reason *why)
{
    const struct pool_row *row = value;
    struct coverage *c = &j->coverage;

    if (size != sizeof *row || row->version != POOL_VERSION)
        return damaged(j, "the pool's block", block, why);
    for (uint32_t i = 0; i < POOL_BLOCK; i++) {
        uint64_t at = block * POOL_BLOCK + i - c->pool_taken;

        if (at >= c->pool_count)
            continue;
        c->pool[at] = row->slots[i];
        j->saved.pool_restored++;
    }
    return 0;
}

static int restore_lease(struct job *j, uint64_t number, const void *value, size_t size,
                         struct reason *why)
{
    struct session *s;

    TAILQ_FOREACH (s, &j->sessions, of_job)
        if (s->number == lease_row_session(number))
            return lease_row_restore(&j->leases, s, number, value, size, j->hardness.n, why);
    return damaged(j, "the lease", number, why);
}

static int restore_text(struct job *j, const void *value, size_t size, struct reason *why)
{
    char *text = malloc(size + 1);

    if (text == NULL) {
        reason_set(why, "job '%s': no memory", j->settings.name);
        return -OHEM_NOMEM;
    }
    memcpy(text, value, size);
    text[size] = '\0';
    free(j->saved.text_before);
    j->saved.text_before = text;
    j->saved.text_dirty = j->settings.text != NULL && strcmp(text, j->settings.text) != 0;
    return 0;
}

int job_restore_row(struct job *j, const struct rows_key *key, const void *value, size_t size,
                    struct reason *why)
{
    switch (key->table) {
    case ROWS_JOB:
        return restore_job(j, value, size, why);
    case ROWS_BATCH:
        if (strict_is_on(&j->strict))
            return strict_restore(&j->strict, key->number, value, size, j->hardness.n, why);
        break;
    case ROWS_LEASE:
        return restore_lease(j, key->number, value, size, why);
    case ROWS_POOL:
        return restore_pool(j, key->number, value, size, why);
    case ROWS_STEPS:
        if (steps_restore(&j->steps, key->number, value, size) == 0)
            return 0;
        return damaged(j, "the steps' block", key->number, why);
    case ROWS_CHUNK:
        if (journal_restore_chunk(&j->journal, key->number, value, size, &j->hardness) == 0)
            return 0;
        return damaged(j, "the scores' chunk", key->number, why);
    case ROWS_JOURNAL:
        if (journal_restore_reports(&j->journal, value, size, &j->hardness) == 0)
            return 0;
        return damaged(j, "the reports up to", key->number, why);
    case ROWS_MARKS:
        if (quarantine_restore(&j->quarantine, key->number, value, size) == 0)
            return 0;
        return damaged(j, "the quarantine's block", key->number, why);
    case ROWS_TEXT:
        return restore_text(j, value, size, why);
    default:
        break;
    }
    return damaged(j, "an unknown table,", key->table, why);
}

/* ---- when all are back -------------------------------------------------------------------------
 */

static bool epochs_are_open(struct job *j, const uint32_t *epochs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (coverage_find_open(&j->coverage, epochs[i]) == NULL)
            return false;
    return true;
}

/* What will be settled must be waited for. */
static bool leases_are_sound(struct job *j)
{
    const struct lease *l;

    if (!strict_is_on(&j->strict))
        TAILQ_FOREACH (l, &j->leases.open, queue)
            if (!epochs_are_open(j, l->epochs, l->coverage_count))
                return false;
    for (uint64_t step = j->strict.applied; step < j->strict.drawn; step++) {
        const struct strict_batch *b = strict_at(&j->strict, step);

        if (!epochs_are_open(j, b->epochs, b->coverage_count))
            return false;
    }
    return true;
}

/* What is handed out next must not be closed already. */
static bool steps_are_sound(const struct job *j)
{
    return !steps_is_closed(&j->steps, strict_is_on(&j->strict) ? j->strict.drawn : j->step);
}

/* A report that waited for its turn is gone: its client has it, and says so. */
static void resume_lease(struct job *j, struct lease *l)
{
    struct strict_batch *b = strict_at(&j->strict, l->token.step);

    if (b == NULL)
        return;
    if (l->state == LEASE_OPEN)
        strict_set(&j->strict, b, STRICT_OUT);
    if (l->state != LEASE_SETTLED)
        return;
    lease_release(&j->leases, l);
    l->session->free_count++;
}

static void resume_order(struct job *j)
{
    struct session *s;

    if (!strict_is_on(&j->strict)) {
        steps_draw(&j->steps, j->step, j->steps.now_ms);
        return;
    }
    for (uint64_t step = j->strict.applied; step < j->strict.drawn; step++)
        steps_draw(&j->steps, step, j->steps.now_ms);
    j->step = j->strict.drawn;
    TAILQ_FOREACH (s, &j->sessions, of_job)
        for (uint32_t i = 0; i < s->credit; i++)
            if (s->slots[i].state != LEASE_FREE)
                resume_lease(j, &s->slots[i]);
}

/* All times begin anew: that of leases does not run while the daemon is down. */
static void resume_times(struct job *j, uint64_t now_ms)
{
    struct session *s;

    TAILQ_FOREACH (s, &j->sessions, of_job) {
        s->heard_ms = s->active_ms = now_ms;
        s->reported_seq = s->applied_seq;
    }
    lease_resume(&j->leases, now_ms);
    steps_resume(&j->steps, now_ms);
}

int job_restore_end(struct job *j, uint64_t now_ms, struct reason *why)
{
    int rc;

    if (!j->saved.restored)
        return 0;
    rc = j->saved.pool_restored == j->coverage.pool_count ? coverage_resume(&j->coverage)
                                                          : -OHEM_STATE;
    if (rc == 0)
        rc = hardness_rebuild(&j->hardness);
    if (rc == 0)
        rc = quarantine_resume(&j->quarantine, &j->hardness);
    if (rc == 0 && (!leases_are_sound(j) || !steps_are_sound(j)))
        rc = -OHEM_STATE;
    if (rc != 0) {
        reason_set(why, "job '%s': %s", j->settings.name,
                   rc == -OHEM_NOMEM ? "no memory" : "what was saved of it does not fit together");
        return rc;
    }
    resume_times(j, now_ms);
    resume_order(j);
    journal_resume(&j->journal);
    return job_resume_growth(j, why);
}
