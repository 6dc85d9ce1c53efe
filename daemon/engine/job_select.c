/* job_select.c - what a report is answered: by which policy, and out of which losses. */
#include "../../proto/error.h"
#include "job_inner.h"

#include <math.h>
#include <string.h>

int job_check_select(struct job *j, const struct message_select *select, struct reason *why)
{
    if (select->rule == RULE_JOB)
        return 0;
    if (!j->settings.selection.by_report) {
        j->metrics.reports_refused_select++;
        reason_set(why,
                   "select.rule is %u; 0 is allowed: job '%s' lets no trainer choose "
                   "(select_by_report = no)",
                   select->rule, j->settings.name);
        return -OHEM_INVALID;
    }
    if (rounds_are_on(&j->rounds)) {
        j->metrics.reports_refused_select++;
        reason_set(why,
                   "select.rule is %u; 0 is allowed: the ranks of job '%s' are answered together, "
                   "by one rule (round = %u)",
                   select->rule, j->settings.name, j->settings.round.ranks);
        return -OHEM_INVALID;
    }
    if (select->rule == RULE_CDF && strict_is_on(&j->strict)) {
        j->metrics.reports_refused_select++;
        reason_set(why,
                   "select.rule is %u (cdf), which depends on the order in which reports come: "
                   "job '%s' has order = strict",
                   select->rule, j->settings.name);
        return -OHEM_INVALID;
    }
    return 0;
}

/* Suspects are not selected: ignored, as if the trainer had said so. */
static const uint8_t *flags_of(struct job *j, const struct message_loss *loss, const uint32_t *ids)
{
    const uint8_t *said = loss->flags.count > 0 ? loss->flags.data : NULL;

    if (j->quarantine.suspects == 0 || ids == NULL)
        return said;
    for (size_t i = 0; i < loss->losses.count; i++)
        j->flags[i] =
            (uint8_t)((said != NULL ? said[i] : 0) |
                      (quarantine_is_suspect(&j->quarantine, ids[i]) ? LOSS_FLAG_IGNORED : 0));
    return j->flags;
}

static struct selection_input input_of(struct job *j, const struct message_loss *loss,
                                       const uint32_t *ids)
{
    return (struct selection_input){.losses = j->losses,
                                    .flags = flags_of(j, loss, ids),
                                    .count = (uint32_t)loss->losses.count,
                                    .step = loss->token.step,
                                    .recent = &j->recent,
                                    .rng = j->select_rng};
}

void job_choose(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                struct selection *out)
{
    struct selection_policy policy = selection_chosen(&j->settings.selection, &loss->select);
    struct selection_input in;

    if (j->ragged != NULL) {
        job_choose_ragged(j->ragged, out);
        return;
    }
    in = input_of(j, loss, ids);
    if (policy.rule == SELECTION_CDF)
        recent_sort(&j->recent);
    selection_choose(selection_answered(&policy), &in, out);
}

struct job_shadow job_shadow_of(const struct selection *s)
{
    return (struct job_shadow){.reports = 1,
                               .instances = s->all.count,
                               .selected = s->count,
                               .loss = (double)s->all.mean * s->all.count,
                               .selected_loss = (double)s->kept.mean * s->count};
}

const uint8_t *job_choose_none(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                               struct selection *out)
{
    struct selection_input in = input_of(j, loss, ids);

    selection_choose_all(&in, out);
    out->count = 0;
    selection_describe(in.losses, out);
    return in.flags;
}

struct job_shadow job_look_on(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                              struct selection *scratch)
{
    struct selection_policy policy = selection_chosen(&j->settings.selection, &loss->select);
    struct selection_input in = input_of(j, loss, ids);

    if (policy.mode != SELECTION_SHADOW || j->ragged != NULL)
        return (struct job_shadow){0};
    if (policy.rule == SELECTION_CDF)
        recent_sort(&j->recent);
    selection_choose(&policy, &in, scratch);
    if (j->looked != NULL) {
        memcpy(j->looked, scratch->indices, scratch->count * sizeof *j->looked);
        j->looked_count = scratch->count;
    }
    return job_shadow_of(scratch);
}

static struct job_class *class_of(struct job *j, uint32_t id)
{
    return id < j->settings.classes_count ? &j->by_class[j->settings.classes[id]] : NULL;
}

void job_note_classes(struct job *j, const uint32_t *ids, const float *losses, uint32_t count,
                      const uint32_t *selected, uint32_t selected_count)
{
    struct job_class *c;

    if (j->by_class == NULL || j->settings.selection.mode == SELECTION_OFF)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(losses[i]) && (c = class_of(j, ids[i])) != NULL)
            c->reported++;
    for (uint32_t i = 0; i < selected_count; i++)
        if ((c = class_of(j, ids[selected[i]])) != NULL)
            c->selected++;
}

void job_note_shadow(struct job *j, const struct job_shadow *seen)
{
    struct job_shadow *sum = &j->shadow;

    sum->reports += seen->reports;
    sum->instances += seen->instances;
    sum->selected += seen->selected;
    sum->loss += seen->loss;
    sum->selected_loss += seen->selected_loss;
}

void job_note_selected(struct job *j, const struct selection *s)
{
    j->last_all = s->all;
    j->last_kept = s->kept;
    j->metrics.instances_selected += s->count;
    j->metrics.instances_ignored += s->ignored_count;
}
