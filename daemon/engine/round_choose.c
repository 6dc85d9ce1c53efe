/* round_choose.c - the hardest of all shards, and each rank's share of them; see round.h. */
#include "round.h"

static uint32_t times(uint32_t count, uint32_t shards)
{
    return count <= UINT32_MAX / shards ? count * shards : UINT32_MAX;
}

static struct selection_policy of_all(const struct selection_policy *policy, uint32_t shards)
{
    struct selection_policy all = *policy;

    all.keep_count = times(policy->keep_count, shards);
    all.min_keep = times(policy->min_keep, shards);
    all.max_keep = times(policy->max_keep, shards);
    all.neg_min = times(policy->neg_min, shards);
    return all;
}

/* One behind the other. */
static void put_together(const struct round *r, struct round_scratch *out)
{
    const struct round_shard *shard;
    size_t at = 0;

    ROUND_FOREACH (shard, r) {
        memcpy(out->losses + at, shard->losses, shard->count * sizeof *out->losses);
        memcpy(out->flags + at, shard->flags, shard->count);
        at += shard->count;
    }
}

/* To each shard what is its own; of all its losses the statistics are there. */
static void take_apart(const struct round *r, const struct selection *all)
{
    uint32_t begin = 0, next = 0;
    struct round_shard *shard;

    ROUND_FOREACH (shard, r) {
        struct selection *own = &shard->answer.selection;

        own->count = 0;
        own->weighted = all->weighted;
        for (; next < all->count && all->indices[next] < begin + shard->count; next++) {
            own->indices[own->count] = all->indices[next] - begin;
            own->weights[own->count++] = all->weights[next];
        }
        selection_describe(shard->losses, own);
        begin += shard->count;
    }
}

static uint64_t latest_step(const struct round *r)
{
    const struct round_shard *shard;
    uint64_t step = 0;

    ROUND_FOREACH (shard, r)
        step = shard->token.step > step ? shard->token.step : step;
    return step;
}

static void choose_together(struct round *r, const struct selection_policy *policy,
                            struct selection_input in, struct round_scratch *scratch)
{
    struct selection_policy all = of_all(policy, r->present);
    struct selection out = {.indices = scratch->indices, .weights = scratch->weights};

    in.losses = scratch->losses;
    in.flags = scratch->flags;
    in.count = (uint32_t)r->total;
    in.step = latest_step(r);
    put_together(r, scratch);
    selection_choose(&all, &in, &out);
    take_apart(r, &out);
}

static void choose_apart(struct round *r, const struct selection_policy *policy,
                         struct selection_input in)
{
    struct round_shard *shard;

    ROUND_FOREACH (shard, r) {
        in.losses = shard->losses;
        in.flags = shard->flags;
        in.count = shard->count;
        in.step = shard->token.step;
        selection_choose(policy, &in, &shard->answer.selection);
    }
}

static void share_out(struct round *r, uint32_t ranks)
{
    struct round_shard *shard;

    r->selected = 0;
    ROUND_FOREACH (shard, r)
        r->selected += shard->answer.selection.count;
    ROUND_FOREACH (shard, r) {
        uint32_t mine = shard->answer.selection.count;

        shard->answer.share = (struct message_share){
            .count = r->selected,
            .present = r->present,
            .scale = mine > 0 ? (float)((double)ranks * mine / r->selected) : 0};
    }
}

void rounds_choose(struct rounds *t, struct round *r, const struct selection_policy *policy,
                   const struct selection_input *in)
{
    if (t->policy.balanced)
        choose_apart(r, policy, *in);
    else
        choose_together(r, policy, *in, &t->scratch);
    share_out(r, t->policy.ranks);
}
