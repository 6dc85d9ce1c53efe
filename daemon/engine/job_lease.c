/* job_lease.c - a batch from its draw to its lease's end; see job.h.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <assert.h>

/* ---- drawing -----------------------------------------------------------------------------------
 */

/* Batches that it holds from an earlier life count, too. */
static bool may_be_sent_more(const struct session *s)
{
    return s->free_count > s->claim_count;
}

void job_prepare(struct job *j, uint64_t now_ms)
{
    j->steps.now_ms = now_ms;
    job_draw_ahead(j);
    if (strict_next(&j->strict) != NULL)
        job_apply_ready(j); /* when its turn came there was no memory, or a growth held it up */
}

bool job_ready(const struct job *j, const struct session *s)
{
    if (!may_be_sent_more(s) || j->saved.warming || j->journal.size > JOURNAL_UNSAVED_MAX ||
        j->audit.size > AUDIT_UNSAVED_MAX)
        return false;
    if (strict_is_on(&j->strict))
        return strict_ready(&j->strict, s) != NULL;
    return j->step < j->saved.step_limit && coverage_ready(&j->coverage);
}

bool job_may_resend(const struct session *s)
{
    return s->unsent_count > 0 && s->claim_count <= s->free_count;
}

static void count_draw(struct job *j, const struct sampler_batch *b)
{
    j->metrics.batches_drawn++;
    j->metrics.instances_coverage += b->coverage_count;
    j->metrics.instances_hard += b->count - b->coverage_count;
    j->metrics.instances_skipped += b->skip_count;
    j->metrics.draws_redrawn += b->redraw_count;
    j->metrics.draws_fallen += b->fallback_count;
}

uint64_t job_sample(struct job *j, uint64_t step, uint64_t now_ms, struct sampler_batch *out)
{
    steps_draw(&j->steps, step, now_ms);
    sampler_draw(&j->sampler, &j->hardness, &j->coverage, step, out);
    count_draw(j, out);
    j->step = step + 1;
    j->saved.dirty = true;
    return out->coverage_count > 0 ? out->epochs[0] : j->coverage.epoch;
}

/* @return the share of hard slots that was planned for */
static double draw_free(struct job *j, struct lease *l, uint32_t batch_size, uint64_t now_ms)
{
    struct sampler_batch batch = {
        .ids = l->ids,
        .epochs = l->epochs,
        .probabilities = l->probabilities,
        .weights = l->weights,
        .count = batch_size,
    };

    l->token.step = j->step;
    l->epoch = job_sample(j, j->step, now_ms, &batch);
    l->count = batch.count;
    l->coverage_count = batch.coverage_count;
    l->lsn = j->lsn;
    return batch.bias_share;
}

static void keep_draw(struct job *j, const struct lease *l, double bias_share)
{
    struct audit_draw draw = {.step = l->token.step,
                              .session = l->session->number,
                              .epoch = l->epoch,
                              .lsn = l->lsn,
                              .bias_share = bias_share,
                              .count = l->count,
                              .coverage_count = l->coverage_count,
                              .ids = l->ids,
                              .probabilities = l->probabilities,
                              .weights = l->weights};

    audit_draw(&j->audit, &draw, &j->settings.sampler);
}

struct lease *job_draw(struct job *j, struct session *s, uint64_t now_ms)
{
    struct lease *l = session_free_slot(s);
    double bias_share;
    uint64_t tag;

    if (audit_reserve(&j->audit, s->batch_size) != 0)
        return NULL;
    bias_share =
        strict_is_on(&j->strict) ? job_take_ready(j, s, l) : draw_free(j, l, s->batch_size, now_ms);
    keep_draw(j, l, bias_share);
    tag = job_token_tag(j, j->saved.generation, &s->key, l->token.step, l->ids, l->count);
    l->serial = j->settings.dataset.serial;
    lease_grant(&j->leases, l, (struct token){l->token.step, tag}, now_ms);
    s->free_count--;
    s->batches++;
    s->dirty = j->saved.dirty = true;
    job_touch(j, s, now_ms);
    return l;
}

void job_note_age(struct job_ages *ages, uint64_t age)
{
    ages->count++;
    ages->sum += age;
    ages->max = age > ages->max ? age : ages->max;
}

/* ---- given back --------------------------------------------------------------------------------
 */

/* Where an epoch is thinned out (infobatch), a weight above 1 is that of one which stood its
 * chance; elsewhere nobody asks. */
static struct coverage_slot slot_at(const struct lease *l, uint32_t i)
{
    return (struct coverage_slot){
        .id = l->ids[i], .epoch = l->epochs[i], .thinned = l->weights[i] > 1};
}

void job_return_batch(struct job *j, const struct lease *l)
{
    struct strict_batch *b = strict_out(&j->strict, l->token.step);

    j->saved.dirty = true;
    if (!strict_is_on(&j->strict))
        for (uint32_t i = 0; i < l->coverage_count; i++)
            coverage_return(&j->coverage, slot_at(l, i));
    if (b != NULL)
        strict_set(&j->strict, b, STRICT_READY);
}

/* OPEN -> FREE, as if it had never been handed out. */
static void undo_draw(struct job *j, struct session *s, struct lease *l)
{
    job_return_batch(j, l);
    steps_set(&j->steps, l->token.step, STEPS_RELEASED);
    lease_release(&j->leases, l);
    s->free_count++;
    j->metrics.batches_redrawn++;
}

bool job_send(struct job *j, struct session *s, struct lease *l)
{
    uint64_t age = j->lsn - l->lsn;

    if (j->settings.max_age > 0 && age > j->settings.max_age && l->state == LEASE_OPEN &&
        s->redrawn_count < JOB_REDRAWN_MAX) {
        s->redrawn_count++;
        undo_draw(j, s, l);
        return false;
    }
    s->redrawn_count = 0;
    job_note_age(&j->sent_ages, age);
    return true;
}

void job_no_longer_unsent(struct lease *l)
{
    l->session->unsent_count -= l->unsent;
    l->unsent = false;
}

static int release_claim(struct job *j, struct session *s, struct token token, struct reason *why)
{
    struct session_claim *claim = job_find_claim(s, token);

    if (claim == NULL) {
        j->metrics.releases_refused++;
        return job_explain_token(j, token, why);
    }
    *claim = s->claims[--s->claim_count];
    return 0;
}

/* A batch that nobody will report is settled all the same: its trainer lives and wants it so. */
static void settle_unreported(struct job *j, struct session *s, const struct lease *l)
{
    struct strict_batch *b = strict_out(&j->strict, l->token.step);

    j->metrics.leases_released++;
    j->saved.dirty = true;
    if (!strict_is_on(&j->strict)) {
        coverage_settle_many(&j->coverage, l->epochs, l->coverage_count, false);
        steps_set(&j->steps, l->token.step, STEPS_RELEASED);
    }
    if (b == NULL)
        return;
    job_finish_batch(j, b, s, 0, 0, NULL, NULL);
    job_apply_ready(j);
}

int job_release(struct job *j, struct session *s, struct token token, struct reason *why)
{
    struct lease *l = session_find(s, token);

    if (l == NULL)
        return release_claim(j, s, token, why);
    if (l->state == LEASE_OPEN)
        settle_unreported(j, s, l);
    job_no_longer_unsent(l);
    lease_release(&j->leases, l);
    s->free_count++;
    return 0;
}

/* ---- time --------------------------------------------------------------------------------------
 */

uint64_t job_forgotten_after_ms(const struct job *j)
{
    return j->settings.lease_ms + j->settings.late_ms;
}

void job_keepalive(struct job *j, struct session *s, uint64_t now_ms)
{
    for (uint32_t i = 0; i < s->credit; i++)
        if (s->slots[i].state == LEASE_OPEN)
            lease_extend(&j->leases, &s->slots[i], now_ms);
}

/* Strict order: the step whose turn it is is not over, however long ago it was drawn. */
static void keep_waiting_open(struct job *j, uint64_t now_ms)
{
    uint64_t step = j->strict.applied;

    if (step < j->strict.drawn && !steps_is_closed(&j->steps, step))
        steps_draw(&j->steps, step, now_ms);
}

void job_expire(struct job *j, uint64_t now_ms)
{
    struct lease *l;

    while ((l = lease_expire(&j->leases, now_ms)) != NULL) {
        job_return_batch(j, l);
        j->metrics.leases_expired++;
        if (!l->unsent)
            continue;
        job_no_longer_unsent(l); /* the session never had it */
        lease_release(&j->leases, l);
        l->session->free_count++;
    }
    while (lease_close_late(&j->leases, now_ms) != NULL)
        ;
    keep_waiting_open(j, now_ms);
    steps_expire(&j->steps, now_ms, job_forgotten_after_ms(j));
}
