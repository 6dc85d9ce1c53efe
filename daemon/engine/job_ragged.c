/* job_ragged.c - a ragged report comes: what it is worked through by, and what the job makes of it.
 *
 * To the job it is a report of one loss for each instance: that is what is applied, what a repeat
 * is known by, and what the audit keeps. The items stay with who asked.
 */
#include "../../proto/error.h"
#include "job_inner.h"

void job_choose_ragged(const struct ragged *r, struct selection *out)
{
    struct selection_input in = {.losses = r->scores, .count = r->k};
    uint32_t count = 0;

    selection_choose_all(&in, out);
    for (uint32_t i = 0; i < out->count; i++)
        if (r->kept[out->indices[i]] > 0)
            out->indices[count++] = out->indices[i];
    out->count = count;
    selection_describe(r->scores, out);
}

/* The instances whose items are not selected, when the batch is known. */
static void set_aside(const struct job *j, struct session *s, const struct message_loss *loss,
                      struct ragged *r)
{
    const struct lease *l = session_find(s, loss->token);

    r->has_aside = j->quarantine.suspects > 0 && l != NULL && l->count == loss->items.counts.count;
    for (uint32_t i = 0; r->has_aside && i < l->count; i++)
        r->aside[i] = quarantine_is_suspect(&j->quarantine, l->ids[i]);
}

int job_begin_ragged(struct job *j, struct session *s, const struct message_loss *loss,
                     struct ragged *r, struct reason *why)
{
    int rc = job_check_select(j, &loss->select, why);

    if (rc != 0)
        return rc;
    if (rounds_are_on(&j->rounds)) {
        j->metrics.reports_refused_select++;
        reason_set(
            why,
            "a ragged report cannot be answered in a round: report a loss for each instance, "
            "or set round = 0 for job '%s'",
            j->settings.name);
        return -OHEM_INVALID;
    }
    r->policy = selection_chosen(&j->settings.selection, &loss->select);
    r->step = loss->token.step;
    if (r->policy.rule == SELECTION_CDF) {
        j->metrics.reports_refused_select++;
        reason_set(why, "a ragged report cannot be answered by cdf, whose percentiles are those of "
                        "instances: choose another rule (select.rule)");
        return -OHEM_INVALID;
    }
    rc = ragged_reserve(r, loss);
    if (rc != 0)
        reason_set(why, "no memory for a report of %zu items", loss->losses.count);
    else
        set_aside(j, s, loss, r);
    return rc;
}

int job_report_ragged(struct job *j, struct session *s, const struct message_loss *loss,
                      const struct ragged *r, struct job_outcome *out, struct reason *why)
{
    struct message_loss flat = *loss;
    int rc;

    flat.losses = (struct vector){r->scores, r->k};
    flat.flags = (struct vector){0};
    flat.select = (struct message_select){0};
    flat.items = (struct message_items){0};
    j->ragged = r;
    rc = job_report(j, s, &flat, out, why);
    j->ragged = NULL;
    if (rc != 0 || (out->flags & SELECTION_FLAG_REPEATED) != 0)
        return rc;
    j->metrics.reports_ragged++;
    j->metrics.items_reported += r->n;
    j->metrics.items_selected += r->selection.count;
    return 0;
}
