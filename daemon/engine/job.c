/* job.c - one training run: its parts, and what a report does to them; see job.h.
 *
 * The parts do not know each other: here a lease's end becomes coverage that returns, and a report
 * becomes settled coverage and new scores, in that order and once.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int init_memory(struct job *j)
{
    const struct job_settings *s = &j->settings;
    uint32_t n = (uint32_t)s->dataset.instance_count;

    if (s->staleness > 0)
        return hardness_init_ordered(&j->hardness, n, (float)s->lambda);
    return hardness_init(&j->hardness, n, (float)s->lambda);
}

/* What fails leaves the parts behind it zero: job_free() takes all of them. */
static int init_parts(struct job *j)
{
    const struct job_settings *s = &j->settings;
    uint64_t n = s->dataset.instance_count;
    int rc = init_memory(j);

    if (rc == 0)
        rc = quarantine_init(&j->quarantine, (uint32_t)n, &s->quarantine);
    if (rc == 0 && s->quarantine.on)
        rc = (j->flags = malloc(MESSAGE_BATCH_SIZE_MAX)) != NULL ? 0 : -OHEM_NOMEM;
    if (rc == 0 && s->classes != NULL) {
        j->by_class = calloc(JOB_CLASSES_MAX, sizeof *j->by_class);
        j->looked = malloc(MESSAGE_BATCH_SIZE_MAX * sizeof *j->looked);
        rc = j->by_class != NULL && j->looked != NULL ? 0 : -OHEM_NOMEM;
    }
    if (rc == 0)
        rc = coverage_init(&j->coverage, n, rng_make(s->seed, s->name, RNG_PERMUTATION));
    if (rc == 0)
        rc = sampler_init(&j->sampler, &s->sampler, rng_make(s->seed, s->name, RNG_DRAW),
                          MESSAGE_BATCH_SIZE_MAX);
    if (rc == 0)
        rc = lease_table_init(&j->leases, s->lease_ms, s->late_ms);
    if (rc == 0)
        rc = steps_init(&j->steps);
    if (rc == 0 && s->durable)
        rc = journal_init(&j->journal, n);
    if (rc == 0)
        rc = strict_init(&j->strict, s->staleness, job_batch_size(j, 0));
    if (rc == 0)
        rc = rounds_init(&j->rounds, &s->round);
    audit_init(&j->audit, s->durable && s->audit ? s->audit_bytes_max : 0);
    j->select_rng = rng_make(s->seed, s->name, RNG_SELECT);
    if (rc == 0)
        rc = lease_init(&j->forgotten, NULL, MESSAGE_BATCH_SIZE_MAX);
    return rc;
}

void job_set_selection(struct job *j, const struct selection_policy *policy)
{
    const struct sampler_policy *sampler = &j->settings.sampler;
    double covered = sampler->sampling == SAMPLER_INFOBATCH ? 1 : sampler->rho;
    double per_step = covered * job_batch_size(j, 0);

    j->settings.selection = *policy;
    if (policy->keep_epochs > 0)
        j->settings.selection.keep_steps = (uint64_t)ceil(
            policy->keep_epochs * (double)j->settings.dataset.instance_count / per_step);
}

int job_new(const struct job_settings *settings, struct job **out, struct reason *why)
{
    uint64_t n = settings->dataset.instance_count;
    struct job *j;

    if (n < 1 || n >= UINT32_MAX) {
        reason_set(why, "job '%s': the data set has %" PRIu64 " instances; 1 to %u are allowed",
                   settings->name, n, UINT32_MAX - 1);
        return -OHEM_INVALID;
    }
    j = calloc(1, sizeof *j);
    if (j != NULL) {
        j->settings = *settings;
        job_set_selection(j, &settings->selection);
        j->losses = malloc(MESSAGE_BATCH_SIZE_MAX * sizeof *j->losses);
        j->saved.step_limit = settings->durable ? 0 : UINT64_MAX;
        j->saved.generation = j->saved.generation_captured = settings->dataset.generation;
        j->saved.dirty = j->saved.clears = j->saved.text_dirty = true;
        TAILQ_INIT(&j->sessions);
    }
    if (j != NULL && j->losses != NULL && init_parts(j) == 0) {
        *out = j;
        return 0;
    }
    job_free(j);
    reason_set(why, "job '%s': no memory for %" PRIu64 " instances", settings->name, n);
    return -OHEM_NOMEM;
}

void job_free(struct job *j)
{
    struct session *s;

    if (j == NULL)
        return;
    while ((s = TAILQ_FIRST(&j->sessions)) != NULL)
        job_leave(j, s);
    rows_gone_deinit(&j->saved.sessions);
    free(j->saved.text_before);
    lease_deinit(&j->forgotten);
    rounds_deinit(&j->rounds);
    strict_deinit(&j->strict);
    audit_deinit(&j->audit);
    journal_deinit(&j->journal);
    steps_deinit(&j->steps);
    lease_table_deinit(&j->leases);
    sampler_deinit(&j->sampler);
    coverage_deinit(&j->coverage);
    quarantine_deinit(&j->quarantine);
    hardness_deinit(&j->hardness);
    free(j->looked);
    free(j->by_class);
    free(j->flags);
    free(j->losses);
    free(j);
}

void job_warm_start(struct job *j, const struct job *from)
{
    hardness_adopt(&j->hardness, &from->hardness, (float)j->settings.warm_factor);
    j->saved.warming = j->settings.durable;
    if (j->settings.durable)
        journal_need_all(&j->journal);
}

/* ---- sizes -------------------------------------------------------------------------------------
 */

uint32_t job_batch_size(const struct job *j, uint32_t asked)
{
    uint64_t n = j->settings.dataset.instance_count;

    if (asked > 0)
        return asked;
    return j->settings.batch_size < n ? j->settings.batch_size : (uint32_t)n;
}

uint64_t job_batch_bytes_of(uint64_t record_bytes_max, uint32_t batch_size,
                            enum message_records layout)
{
    uint64_t record = record_bytes_max;

    if (layout == RECORDS_ALIGNED64)
        record = (record + MESSAGE_ALIGNMENT - 1) / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT;
    return record * batch_size;
}

uint64_t job_batch_bytes_max(const struct job *j, uint32_t batch_size, enum message_records layout)
{
    return job_batch_bytes_of(j->settings.dataset.record_bytes_max, batch_size, layout);
}

/* ---- applying ----------------------------------------------------------------------------------
 */

static void apply_losses(struct job *j, const struct job_batch *b, const float *losses)
{
    hardness_fetch_ahead(&j->hardness, b->ids, b->count, 0);
    for (uint32_t i = 0; i < b->count; i++) {
        hardness_fetch_ahead(&j->hardness, b->ids, b->count, i + 1);
        if (!isfinite(losses[i])) {
            j->metrics.losses_nonfinite++;
            continue;
        }
        j->metrics.losses_negative += losses[i] < 0;
        j->metrics.losses_applied++;
        hardness_report(&j->hardness, b->ids[i], losses[i], b->step);
    }
}

/* Scores have moved: who is a suspect now? */
static void judge(struct job *j, const struct job_batch *b)
{
    uint32_t left;

    if (!j->quarantine.policy.on)
        return;
    j->metrics.suspects_found +=
        quarantine_see(&j->quarantine, &j->hardness, b->ids, b->count, &left);
    j->metrics.suspects_left += left;
}

void job_pardon(struct job *j, uint32_t id, bool pardoned)
{
    quarantine_pardon(&j->quarantine, &j->hardness, id, pardoned);
    j->saved.dirty = true;
}

int job_reserve_report(struct job *j, uint32_t count)
{
    int rc = j->settings.durable ? journal_reserve(&j->journal, count) : 0;

    return rc == 0 ? audit_reserve(&j->audit, count) : rc;
}

/* What survives of a report; room was made. */
static void keep_report(struct job *j, const struct job_batch *b, const float *losses)
{
    struct audit_report report = {.step = b->step,
                                  .session = b->session,
                                  .lsn = j->lsn,
                                  .late = b->late,
                                  .undecided = b->undecided,
                                  .count = b->count,
                                  .ids = b->ids,
                                  .losses = losses,
                                  .selected = b->selected,
                                  .selected_count = b->selected_count};

    if (j->settings.durable)
        journal_append(&j->journal, j->lsn, b->step, b->count, b->ids, losses);
    audit_report(&j->audit, &report);
}

uint64_t job_apply(struct job *j, const struct job_batch *b, const float *losses)
{
    if (losses != NULL || strict_is_on(&j->strict)) /* strict order: the LSN is the step + 1 */
        j->lsn++;
    coverage_settle_many(&j->coverage, b->epochs, b->coverage_count, losses != NULL);
    j->saved.dirty = true;
    if (losses == NULL)
        return j->lsn;
    apply_losses(j, b, losses);
    judge(j, b);
    keep_report(j, b, losses);
    j->metrics.reports_applied++;
    return j->lsn;
}

void job_note_seq(struct job *j, struct session *s, uint64_t seq)
{
    if (seq > s->reported_seq)
        s->reported_seq = seq;
    if (strict_is_on(&j->strict) || s->applied_seq == s->reported_seq)
        return; /* job_apply_ready() says what is applied */
    s->applied_seq = s->reported_seq;
    s->dirty = j->saved.dirty = true;
}

uint64_t job_next_due(const struct job *j)
{
    const struct session *s = TAILQ_FIRST(&j->sessions);
    uint64_t due = lease_next_due(&j->leases);
    uint64_t forgotten = s != NULL ? s->active_ms + job_forgotten_after_ms(j) : UINT64_MAX;
    uint64_t over = steps_next_due(&j->steps, job_forgotten_after_ms(j));
    uint64_t answered = rounds_next_due(&j->rounds);

    due = over < due ? over : due;
    due = answered < due ? answered : due;
    return forgotten < due ? forgotten : due;
}
