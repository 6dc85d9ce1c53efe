/* selection.c - which M of K losses to back-propagate; see selection.h.
 *
 * Each rule says how many; which they are is always the same: the hardest.
 */
#include "selection.h"

#include "largest.h"

const struct selection_policy *selection_answered(const struct selection_policy *policy)
{
    static const struct selection_policy everything = {.rule = SELECTION_ALL};

    return policy->mode == SELECTION_ON ? policy : &everything;
}

double selection_share(const struct selection_policy *policy, uint64_t step, uint32_t k)
{
    double keep = policy->keep_count > 0 ? (double)policy->keep_count / k : policy->keep_ratio;

    if (!(policy->keep_from > 0) || step >= policy->keep_steps)
        return keep;
    return policy->keep_from +
           (keep - policy->keep_from) * ((double)step / (double)policy->keep_steps);
}

static uint32_t top_count(const struct selection_policy *policy, uint64_t step, uint32_t k)
{
    bool is_final = !(policy->keep_from > 0) || step >= policy->keep_steps;
    double share = selection_share(policy, step, k);

    if (policy->keep_count > 0 && is_final)
        return policy->keep_count;
    return share < 1 ? (uint32_t)(share * k) : k; /* a count may be above K */
}

static uint32_t above_threshold(const struct selection_policy *policy, const struct largest *l,
                                const float *losses, uint32_t k)
{
    uint32_t count = largest_count_above(l, losses, k, policy->threshold);

    return policy->max_keep > 0 && count > policy->max_keep ? policy->max_keep : count;
}

static uint32_t keep_how_many(const struct selection_policy *policy, uint64_t step,
                              const struct largest *l, const float *losses, uint32_t k)
{
    uint32_t least = policy->min_keep > 1 ? policy->min_keep : 1, m;

    if (policy->rule == SELECTION_ALL)
        return l->stats.count;
    m = policy->rule == SELECTION_TOP ? top_count(policy, step, k)
                                      : above_threshold(policy, l, losses, k);
    if (m < least)
        m = least;
    return m < l->stats.count ? m : l->stats.count;
}

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

void selection_choose(const struct selection_policy *policy, uint64_t step, const float *losses,
                      uint32_t k, struct selection *out)
{
    struct largest l;
    struct largest_cut cut;
    uint32_t m;

    largest_look(&l, losses, k);
    out->all = l.stats;
    out->nonfinite_count = k - l.stats.count;
    out->count = m = keep_how_many(policy, step, &l, losses, k);
    out->kept = (struct loss_stats){.count = m};
    if (m == 0)
        return;
    cut = largest_find(&l, losses, k, m, out->indices);
    largest_write(&l, losses, k, cut, m, out->indices);
    for (uint32_t i = 0; i < m; i++)
        out->weights[i] = 1;
    out->kept.mean = (float)(largest_sum(losses, out->indices, m) / m);
    out->kept.min = least_kept(losses, cut, out);
    out->kept.max = l.stats.max; /* the hardest is kept, and of its equals the first */
}
