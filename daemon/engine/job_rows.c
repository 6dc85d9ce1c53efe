/* job_rows.c - a job as rows, and back; see engine.h.
 *
 * One row holds what is small and changes with every batch; what came back to coverage and waits
 * has rows of its own, in blocks by its number; the rest is said by the parts themselves.
 */
#include "../../proto/error.h"
#include "job_inner.h"
#include "lease_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POOL_BLOCK 1024 /* slots in one row of ROWS_POOL */

/* On disk, both. To change one: raise its version, read both, write the new one. */
#define JOB_VERSION  1
#define POOL_VERSION 1

struct job_row {
    uint32_t version, batch_size, staleness, joined_count;
    char name[MESSAGE_NAME_BYTES_MAX + 8];
    uint64_t n, generation, seed, life;
    uint64_t step_limit, lsn, applied, carry;
    uint64_t epoch, position, closed_count, open_count;
    uint64_t pool_first, pool_count;
    uint64_t audit_begin, audit_end, session_last;
    uint64_t generations[JOB_GENERATIONS_MAX];         /* earlier ones */
    uint64_t growth_n, growth_generation, growth_step; /* ids that will join; n 0: none */
    struct coverage_joined joined[COVERAGE_JOINED_MAX];
    struct coverage_report reports[COVERAGE_REPORTS_MAX];
    struct metrics_job metrics;
    struct coverage_report open[]; /* [open_count] */
};

struct pool_row {
    uint64_t version;
    struct coverage_slot slots[POOL_BLOCK]; /* those that waited; the others are 0 */
};

/* ---- what changed ------------------------------------------------------------------------------
 */

bool job_unsaved(const struct job *j)
{
    return j->saved.dirty || j->saved.warming || j->steps.dirty || !TAILQ_EMPTY(&j->leases.unsaved);
}

static uint64_t pool_end(const struct job *j)
{
    return j->coverage.pool_taken + j->coverage.pool_count;
}

static size_t pool_capture_bytes(const struct job *j)
{
    uint64_t blocks = (pool_end(j) - j->saved.pool_end) / POOL_BLOCK + 2;

    return (size_t)blocks * (sizeof(struct pool_row) + ROWS_CHANGE_BYTES) + ROWS_CHANGE_BYTES;
}

static size_t text_bytes(const struct job *j)
{
    return j->settings.text != NULL ? strlen(j->settings.text) : 0;
}

size_t job_capture_bytes(const struct job *j)
{
    const struct session *s;
    size_t bytes = sizeof(struct job_row) +
                   j->coverage.open_count * sizeof(struct coverage_report) + ROWS_CHANGE_BYTES;

    bytes += ROWS_TABLES_END * ROWS_CHANGE_BYTES + text_bytes(j) + ROWS_CHANGE_BYTES;
    bytes += j->saved.sessions.count * 2 * ROWS_CHANGE_BYTES;
    TAILQ_FOREACH (s, &j->sessions, of_job)
        bytes += s->dirty ? session_capture_bytes() : 0;
    return bytes + lease_capture_bytes(&j->leases) + pool_capture_bytes(j) +
           strict_capture_bytes(&j->strict) + steps_capture_bytes(&j->steps) +
           journal_capture_bytes(&j->journal) + audit_capture_bytes(&j->audit);
}

/* In strict order a life draws again what an earlier one may have handed out: that stays reserved.
 */
static uint64_t reserve_steps(const struct job *j)
{
    uint64_t limit = j->step + (j->saved.ended ? 0 : JOB_STEPS_RESERVED);

    return limit > j->saved.step_earlier ? limit : j->saved.step_earlier;
}

static void capture_job(struct job *j, struct rows *out)
{
    const struct coverage *c = &j->coverage;
    size_t open_bytes = c->open_count * sizeof *c->open;
    struct job_row *row =
        rows_put(out, (struct rows_key){ROWS_JOB, j->saved.number, 0}, sizeof *row + open_bytes);

    if (row == NULL)
        return;
    j->saved.step_captured = reserve_steps(j);
    j->growth.captured = j->growth.n > 0;
    *row = (struct job_row){.version = JOB_VERSION,
                            .batch_size = j->strict.batch_size,
                            .staleness = j->strict.staleness,
                            .joined_count = (uint32_t)c->joined_count,
                            .n = c->n,
                            .generation = j->settings.dataset.generation,
                            .seed = j->settings.seed,
                            .life = j->saved.life,
                            .step_limit = j->saved.step_captured,
                            .lsn = j->lsn,
                            .applied = j->strict.applied,
                            .carry = j->sampler.carry,
                            .epoch = c->epoch,
                            .position = c->position,
                            .closed_count = c->closed_count,
                            .open_count = c->open_count,
                            .pool_first = c->pool_taken,
                            .pool_count = c->pool_count,
                            .audit_begin = j->audit.begin,
                            .audit_end = j->audit.end,
                            .session_last = j->saved.session_last,
                            .growth_n = j->growth.n,
                            .growth_generation = j->growth.generation,
                            .growth_step = j->growth.step,
                            .metrics = j->metrics};
    memcpy(row->name, j->settings.name, sizeof j->settings.name);
    memcpy(row->generations, j->generations, sizeof j->generations);
    memcpy(row->joined, c->joined, c->joined_count * sizeof *c->joined);
    memcpy(row->reports, c->reports, sizeof c->reports);
    memcpy(row->open, c->open, open_bytes);
}

static void fill_pool(const struct coverage *c, uint64_t block, struct pool_row *row)
{
    *row = (struct pool_row){.version = POOL_VERSION};
    for (uint32_t i = 0; i < POOL_BLOCK; i++) {
        uint64_t at = block * POOL_BLOCK + i - c->pool_taken; /* in the ring */

        if (at < c->pool_count)
            row->slots[i] = c->pool[(c->pool_head + at) % c->pool_capacity];
    }
}

static void capture_pool(struct job *j, struct rows *out)
{
    const struct coverage *c = &j->coverage;
    uint64_t first = c->pool_taken, end = pool_end(j);
    uint64_t changed = j->saved.pool_end > first ? j->saved.pool_end : first;

    for (uint64_t block = changed / POOL_BLOCK; block * POOL_BLOCK < end && changed < end;
         block++) {
        struct pool_row *row =
            rows_put(out, (struct rows_key){ROWS_POOL, j->saved.number, block}, sizeof *row);

        if (row != NULL)
            fill_pool(c, block, row);
    }
    if (first / POOL_BLOCK > j->saved.pool_first / POOL_BLOCK)
        rows_remove(out, ROWS_POOL, j->saved.number, 0, first / POOL_BLOCK - 1);
    j->saved.pool_first = first;
    j->saved.pool_end = end;
}

static void capture_sessions(struct job *j, struct rows *out)
{
    struct session *s;

    for (size_t i = 0; i < j->saved.sessions.count; i++)
        session_capture_gone(j->saved.sessions.numbers[i], j->saved.number, out);
    j->saved.sessions.count = 0;
    TAILQ_FOREACH (s, &j->sessions, of_job)
        if (s->dirty)
            session_capture(s, j->saved.number, out);
}

/* Rows under its number are of an earlier life of it, or of a start that ended too soon. */
static void clear(struct job *j, struct rows *out)
{
    for (uint32_t table = ROWS_JOB; j->saved.clears && table < ROWS_TABLES_END; table++)
        rows_remove(out, table, j->saved.number, 0, UINT64_MAX);
    j->saved.clears = false;
}

static void capture_text(struct job *j, struct rows *out)
{
    struct rows_key key = {ROWS_TEXT, j->saved.number, 0};
    char *row = text_bytes(j) > 0 ? rows_put(out, key, text_bytes(j)) : NULL;

    if (row != NULL)
        memcpy(row, j->settings.text, text_bytes(j));
    j->saved.text_dirty = false;
}

/* The scores that it took over go first, over several commits: a job that has a row has all. */
static bool is_warm(struct job *j, struct rows *out)
{
    journal_capture(&j->journal, j->saved.number, j->lsn, &j->hardness, out);
    j->saved.warming = journal_is_behind(&j->journal);
    return !j->saved.warming;
}

void job_capture(struct job *j, struct rows *out)
{
    clear(j, out);
    if (j->saved.warming && !is_warm(j, out))
        return;
    if (j->saved.text_dirty)
        capture_text(j, out);
    audit_capture(&j->audit, j->saved.number, out);
    capture_job(j, out); /* which says where the audit's log ends */
    capture_sessions(j, out);
    if (strict_is_on(&j->strict))
        strict_capture(&j->strict, j->saved.number, out);
    lease_capture(&j->leases, j->saved.number, out);
    capture_pool(j, out);
    steps_capture(&j->steps, j->saved.number, out);
    journal_capture(&j->journal, j->saved.number, j->lsn, &j->hardness, out);
    j->strict.held_captured = j->strict.held;
    j->saved.dirty = false;
}

void job_committed(struct job *j)
{
    struct session *s;

    j->saved.step_limit = j->saved.step_captured;
    j->growth.saved = j->growth.saved || j->growth.captured;
    TAILQ_FOREACH (s, &j->sessions, of_job)
        s->durable_seq = s->captured_seq;
    job_order_committed(j);
}

/* ---- and back ----------------------------------------------------------------------------------
 */

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
    } same[] = {
        {"seed", row->seed, j->settings.seed},
        {"staleness (0: order = free)", row->staleness, j->strict.staleness},
        {"batch_size of strict order", row->batch_size, j->strict.batch_size},
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].was != same[i].is && (i < 2 || row->staleness > 0)) {
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
        row->audit_begin > row->audit_end ||
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
