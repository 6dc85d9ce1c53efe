/* job_capture.c - what changed of a job since its last commit, as rows; see engine.h and
 * job_rows.h.
 */
#include "job_inner.h"
#include "job_rows.h"
#include "lease_rows.h"

#include <string.h>

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
           journal_capture_bytes(&j->journal) + audit_capture_bytes(&j->audit) +
           quarantine_capture_bytes(&j->quarantine);
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
    j->saved.generation_captured = j->settings.dataset.generation;
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
                            .quarantine_cut = j->quarantine.cut,
                            .quarantine_explained = j->quarantine.explained,
                            .quarantine_unseen = j->quarantine.unseen,
                            .gain = j->sampler.gain,
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
    quarantine_capture(&j->quarantine, j->saved.number, out);
    journal_capture(&j->journal, j->saved.number, j->lsn, &j->hardness, out);
    j->strict.held_captured = j->strict.held;
    j->saved.dirty = false;
}

void job_committed(struct job *j)
{
    struct session *s;

    j->saved.step_limit = j->saved.step_captured;
    j->saved.generation = j->saved.generation_captured;
    j->growth.saved = j->growth.saved || j->growth.captured;
    TAILQ_FOREACH (s, &j->sessions, of_job)
        s->durable_seq = s->captured_seq;
    job_order_committed(j);
}
