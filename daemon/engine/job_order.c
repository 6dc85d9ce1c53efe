/* job_order.c - what strict order adds: batches are drawn, handed out and applied by step.
 *
 * Batches are drawn into the window (strict.h) and handed out from there; a report is kept in the
 * window until all earlier steps are applied. A report that a death forgets is sent again, but what
 * a trainer gave back without one is not: so nothing is drawn behind that before it is on disk. In
 * free order nothing here does anything.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <string.h>

void job_draw_ahead(struct job *j)
{
    if (!strict_is_on(&j->strict) || j->strict.held)
        return;
    while (strict_may_draw(&j->strict) && coverage_ready(&j->coverage) && !job_growth_holds(j)) {
        struct strict_batch *b;
        struct sampler_batch batch;

        job_growth_join(j);
        b = strict_draw(&j->strict);
        batch = (struct sampler_batch){.ids = b->ids,
                                       .epochs = b->epochs,
                                       .probabilities = b->probabilities,
                                       .weights = b->weights,
                                       .count = j->strict.batch_size};
        b->epoch = job_sample(j, b->step, j->steps.now_ms, &batch);
        b->count = batch.count;
        b->coverage_count = batch.coverage_count;
        b->bias_share = batch.bias_share;
        b->lsn = j->lsn;
    }
}

static void apply(struct job *j, const struct strict_batch *b)
{
    struct job_batch batch = {.step = b->step,
                              .ids = b->ids,
                              .epochs = b->epochs,
                              .count = b->count,
                              .coverage_count = b->coverage_count,
                              .session = b->reporter_number,
                              .selected = b->selected,
                              .selected_count = b->selected_count};

    steps_set(&j->steps, b->step, b->reported ? b->digest : STEPS_RELEASED);
    (void)job_apply(j, &batch, b->reported ? b->losses : NULL);
}

/* Reports of a session up to the first that waits, or has to come again, are applied. */
static void note_applied(struct job *j)
{
    struct session *s;

    TAILQ_FOREACH (s, &j->sessions, of_job) {
        uint64_t seq = strict_applied_seq(&j->strict, s, s->reported_seq);

        if (s->early_count > 0 && s->early[0] <= seq)
            seq = s->early[0] - 1;
        if (seq > s->applied_seq) {
            s->applied_seq = seq;
            s->dirty = j->saved.dirty = true;
        }
    }
}

/* A step that cannot be drawn yet would see more reports than its own. */
static bool may_apply(struct job *j, const struct strict_batch *b)
{
    if (j->strict.held || (strict_may_draw(&j->strict) && job_growth_holds(j)))
        return false;
    return job_reserve_report(j, b->count) == 0;
}

void job_apply_ready(struct job *j)
{
    const struct strict_batch *b;

    if (!strict_is_on(&j->strict))
        return;
    while ((b = strict_next(&j->strict)) != NULL && may_apply(j, b)) {
        apply(j, b);
        j->strict.held = j->settings.durable && !b->reported;
        strict_applied(&j->strict);
        job_draw_ahead(j);
    }
    note_applied(j);
}

void job_order_committed(struct job *j)
{
    if (!j->strict.held_captured)
        return;
    j->strict.held = j->strict.held_captured = false;
    job_draw_ahead(j);
    job_apply_ready(j);
}

void job_finish_batch(struct job *j, struct strict_batch *b, struct session *s, uint64_t seq,
                      uint64_t digest, const float *losses, const struct selection *selected)
{
    b->reported = losses != NULL;
    b->reporter = losses != NULL ? s : NULL;
    b->reporter_number = s->number;
    b->seq = seq;
    b->digest = digest;
    if (losses != NULL) {
        memcpy(b->losses, losses, b->count * sizeof *losses);
        b->selected_count = selected->count;
        memcpy(b->selected, selected->indices, selected->count * sizeof *b->selected);
    }
    strict_set(&j->strict, b, STRICT_DONE);
}

double job_take_ready(struct job *j, struct session *s, struct lease *l)
{
    struct strict_batch *b = strict_ready(&j->strict, s);

    l->token.step = b->step;
    l->count = b->count;
    l->coverage_count = b->coverage_count;
    l->epoch = b->epoch;
    l->lsn = b->lsn;
    memcpy(l->ids, b->ids, b->count * sizeof *l->ids);
    memcpy(l->epochs, b->epochs, b->coverage_count * sizeof *l->epochs);
    memcpy(l->probabilities, b->probabilities, b->count * sizeof *l->probabilities);
    memcpy(l->weights, b->weights, b->count * sizeof *l->weights);
    strict_set(&j->strict, b, STRICT_OUT);
    return b->bias_share;
}
