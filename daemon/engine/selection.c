/* selection.c - which M of K losses to back-propagate; see selection.h.
 *
 * Most rules say how many, and keep the hardest; what may not be selected, or is selected anyway,
 * is made no number for the search. That copy lies where the weights will.
 */
#include "selection.h"

#include "largest.h"

#include <math.h>

static const struct selection_policy everything = {.rule = SELECTION_ALL};

const struct selection_policy *selection_answered(const struct selection_policy *policy)
{
    return policy->mode == SELECTION_ON ? policy : &everything;
}

struct selection_policy selection_chosen(const struct selection_policy *policy,
                                         const struct message_select *select)
{
    struct selection_policy chosen = *policy;

    switch ((enum message_rule)select->rule) {
    case RULE_JOB:
        break;
    case RULE_ALL:
        chosen.rule = SELECTION_ALL;
        break;
    case RULE_TOP:
        chosen.rule = SELECTION_TOP;
        chosen.keep_count = select->count;
        chosen.keep_ratio = select->value;
        chosen.keep_from = 0;
        break;
    case RULE_THRESHOLD:
        chosen.rule = SELECTION_THRESHOLD;
        chosen.threshold = select->value;
        chosen.max_keep = select->count;
        break;
    case RULE_NEGPOS:
        chosen.rule = SELECTION_NEGPOS;
        chosen.neg_ratio = select->value;
        chosen.neg_min = select->count;
        break;
    case RULE_CDF:
        chosen.rule = SELECTION_CDF;
        chosen.cdf_power = select->value;
        break;
    }
    return chosen;
}

/* ---- what may be selected ----------------------------------------------------------------------
 */

static bool has_flag(const struct selection_input *in, uint32_t i, unsigned flag)
{
    return in->flags != NULL && (in->flags[i] & flag) != 0;
}

/* The losses, in the room given where some are ignored: these are no numbers there. */
static const float *hide_ignored(const struct selection_input *in, float *room, uint32_t *out_count)
{
    *out_count = 0;
    if (in->flags == NULL)
        return in->losses;
    for (uint32_t i = 0; i < in->count; i++) {
        bool ignored = has_flag(in, i, LOSS_FLAG_IGNORED);

        *out_count += ignored && isfinite(in->losses[i]);
        room[i] = ignored ? NAN : in->losses[i];
    }
    return room;
}

static bool is_positive(const struct selection_input *in, uint32_t i)
{
    return has_flag(in, i, LOSS_FLAG_POSITIVE) && !has_flag(in, i, LOSS_FLAG_IGNORED) &&
           isfinite(in->losses[i]);
}

/* ---- how many ----------------------------------------------------------------------------------
 */

static uint32_t top_count(const struct selection_policy *policy, uint64_t step, uint32_t k)
{
    bool is_final = !(policy->keep_from > 0) || step >= policy->keep_steps;
    double share = policy->keep_count > 0 ? (double)policy->keep_count / k : policy->keep_ratio;

    if (policy->keep_count > 0 && is_final)
        return policy->keep_count;
    if (!is_final)
        share = policy->keep_from +
                (share - policy->keep_from) * ((double)step / (double)policy->keep_steps);
    return share < 1 ? (uint32_t)(share * k) : k; /* a count may be above K */
}

static uint32_t above_threshold(const struct selection_policy *policy, const struct largest *l,
                                const float *losses, uint32_t k)
{
    uint32_t count = largest_count_above(l, losses, k, policy->threshold);

    return policy->max_keep > 0 && count > policy->max_keep ? policy->max_keep : count;
}

static uint32_t negatives_for(const struct selection_policy *policy, uint32_t positives)
{
    double wanted = policy->neg_ratio * positives;

    if (positives == 0)
        return policy->neg_min;
    return wanted < MESSAGE_ITEMS_MAX ? (uint32_t)wanted : MESSAGE_ITEMS_MAX;
}

static uint32_t least_count(const struct selection_policy *policy)
{
    return policy->min_keep > 1 ? policy->min_keep : 1;
}

static uint32_t within(uint32_t m, uint32_t least, uint32_t most)
{
    m = m > least ? m : least;
    return m < most ? m : most;
}

static uint32_t keep_how_many(const struct selection_policy *policy, uint64_t step,
                              const struct largest *l, const float *losses, uint32_t k)
{
    if (policy->rule == SELECTION_TOP)
        return within(top_count(policy, step, k), least_count(policy), l->stats.count);
    if (policy->rule == SELECTION_THRESHOLD)
        return within(above_threshold(policy, l, losses, k), least_count(policy), l->stats.count);
    return l->stats.count;
}

/* ---- the hardest -------------------------------------------------------------------------------
 */

/* The least kept loss. Of zeros it is the first, which may be -0. */
static float least_kept(const float *losses, struct largest_cut cut, const struct selection *s)
{
    uint32_t i = 0;

    if (cut.value < 0 || cut.value > 0)
        return cut.value;
    while (losses[s->indices[i]] < 0 || losses[s->indices[i]] > 0)
        i++;
    return losses[s->indices[i]];
}

static void weigh_evenly(struct selection *out)
{
    for (uint32_t i = 0; i < out->count; i++)
        out->weights[i] = 1;
}

static void choose_hardest(const struct selection_policy *policy, const struct selection_input *in,
                           const struct largest *l, const float *losses, struct selection *out)
{
    struct largest_cut cut;
    uint32_t m = keep_how_many(policy, in->step, l, losses, in->count);

    out->count = m;
    if (m == 0)
        return;
    cut = largest_find(l, losses, in->count, m, out->indices);
    largest_write(l, losses, in->count, cut, m, out->indices);
    out->kept = (struct loss_stats){
        .count = m,
        .mean = (float)(largest_sum(in->losses, out->indices, m) / m),
        .min = least_kept(in->losses, cut, out),
        .max = l->stats.max, /* the hardest is kept, and of its equals the first */
    };
    weigh_evenly(out);
}

/* ---- positives and negatives, and by chance ----------------------------------------------------
 */

void selection_describe(const float *losses, struct selection *out)
{
    struct loss_stats *s = &out->kept;

    *s = (struct loss_stats){0};
    if (out->count == 0)
        return;
    *s = (struct loss_stats){
        .count = out->count,
        .mean = (float)(largest_sum(losses, out->indices, out->count) / out->count),
        .min = losses[out->indices[0]],
        .max = losses[out->indices[0]]};
    for (uint32_t i = 1; i < out->count; i++) {
        float x = losses[out->indices[i]];

        s->min = x < s->min ? x : s->min;
        s->max = x > s->max ? x : s->max;
    }
}

/* The positives among the indices of the chosen negatives, from the last to the first. */
static void add_positives(const struct selection_input *in, uint32_t positives,
                          struct selection *out)
{
    uint32_t negatives = out->count, at = negatives + positives;

    out->count = at;
    for (uint32_t i = in->count; i-- > 0 && at > 0;) {
        if (is_positive(in, i))
            out->indices[--at] = i;
        else if (negatives > 0 && out->indices[negatives - 1] == i)
            out->indices[--at] = out->indices[--negatives];
    }
}

/* @param room  the losses that may be selected, if there are flags */
static void choose_negpos(const struct selection_policy *policy, const struct selection_input *in,
                          struct largest *l, float *room, struct selection *out)
{
    const float *losses = in->flags != NULL ? room : in->losses;
    uint32_t eligible = l->stats.count, positives = 0, least = least_count(policy);

    for (uint32_t i = 0; i < in->count && in->flags != NULL; i++)
        if (is_positive(in, i)) {
            positives++;
            room[i] = NAN;
        }
    least = least > positives ? least - positives : 0;
    out->count = within(negatives_for(policy, positives), least, eligible - positives);
    if (out->count > 0) {
        struct largest_cut cut;

        largest_look(l, losses, in->count);
        cut = largest_find(l, losses, in->count, out->count, out->indices);
        largest_write(l, losses, in->count, cut, out->count, out->indices);
    }
    if (positives > 0)
        add_positives(in, positives, out);
    weigh_evenly(out);
    selection_describe(in->losses, out);
}

static double keep_probability(const struct selection_policy *policy, const struct recent *recent,
                               float loss)
{
    double p = pow(recent_percentile(recent, loss), policy->cdf_power);

    return p > policy->cdf_floor ? p : policy->cdf_floor;
}

/* The hardest of the batch: it is kept when nothing else is. */
struct last_resort {
    uint32_t index, place; /* in the batch; among the kept, or as many as these: not kept */
    double p;
};

static void choose_by_chance(const struct selection_policy *policy,
                             const struct selection_input *in, const float *losses,
                             struct selection *out)
{
    struct last_resort hardest = {.index = UINT32_MAX};
    double none = 1; /* the probability that chance keeps nothing */

    for (uint32_t i = 0; i < in->count; i++) {
        double p;
        bool is_hardest;

        if (!isfinite(losses[i]))
            continue;
        p = keep_probability(policy, in->recent, losses[i]);
        is_hardest = hardest.index == UINT32_MAX || in->losses[i] > in->losses[hardest.index];
        none *= 1 - p;
        if (is_hardest)
            hardest = (struct last_resort){i, UINT32_MAX, p};
        if (rng_unit(rng_at(in->rng, in->step, i, 0).first) >= p)
            continue;
        if (is_hardest)
            hardest.place = out->count;
        out->indices[out->count] = i;
        out->weights[out->count++] = (float)(1 / p);
    }
    if (hardest.index != UINT32_MAX && out->count == 0) {
        hardest.place = 0;
        out->indices[out->count++] = hardest.index;
    }
    if (hardest.index != UINT32_MAX && hardest.place != UINT32_MAX)
        out->weights[hardest.place] = (float)(1 / (hardest.p + none));
    selection_describe(in->losses, out);
}

void selection_choose(const struct selection_policy *policy, const struct selection_input *in,
                      struct selection *out)
{
    const float *losses = hide_ignored(in, out->weights, &out->ignored_count);
    struct largest l;

    largest_look(&l, losses, in->count);
    out->all = l.stats;
    out->nonfinite_count = in->count - l.stats.count - out->ignored_count;
    out->count = 0;
    out->weighted = policy->rule == SELECTION_CDF;
    out->kept = (struct loss_stats){0};
    if (policy->rule == SELECTION_NEGPOS)
        choose_negpos(policy, in, &l, out->weights, out);
    else if (policy->rule == SELECTION_CDF)
        choose_by_chance(policy, in, losses, out);
    else
        choose_hardest(policy, in, &l, losses, out);
}

void selection_choose_all(const struct selection_input *in, struct selection *out)
{
    selection_choose(&everything, in, out);
}
