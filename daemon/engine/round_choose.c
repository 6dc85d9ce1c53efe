/* round_choose.c - the hardest of all shards, and each rank's share of them; see round.h. */
#include "round.h"

/* Those that may be selected, and what is said of the others. */
static void describe(struct round_shard *shard)
{
    static const struct selection_policy everything = {.rule = SELECTION_ALL};
    struct selection_input in = {
        .losses = shard->losses, .flags = shard->flags, .count = shard->count};

    selection_choose(&everything, &in, &shard->answer.selection);
}

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

/* One behind the other, in the order of the ranks. */
static void put_together(struct rounds *t, const struct round *r)
{
    size_t at = 0;

    for (uint32_t rank = 0; rank < t->policy.ranks; rank++) {
        const struct round_shard *shard = r->shards[rank];

        if (shard == NULL)
            continue;
        memcpy(t->scratch.losses + at, shard->losses, shard->count * sizeof *t->scratch.losses);
        memcpy(t->scratch.flags + at, shard->flags, shard->count);
        at += shard->count;
    }
}

/* To each shard what is its own. */
static void take_apart(const struct rounds *t, const struct round *r, const struct selection *all)
{
    uint32_t begin = 0, next = 0;

    for (uint32_t rank = 0; rank < t->policy.ranks; rank++) {
        struct round_shard *shard = r->shards[rank];
        struct selection *own;

        if (shard == NULL)
            continue;
        describe(shard);
        own = &shard->answer.selection;
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

static void choose_together(struct rounds *t, struct round *r,
                            const struct selection_policy *policy, struct selection_input in)
{
    struct selection_policy all = of_all(policy, r->present);
    struct selection out = {.indices = t->scratch.indices, .weights = t->scratch.weights};

    in.losses = t->scratch.losses;
    in.flags = t->scratch.flags;
    in.count = (uint32_t)r->total;
    put_together(t, r);
    selection_choose(&all, &in, &out);
    take_apart(t, r, &out);
}

static void choose_apart(const struct rounds *t, struct round *r,
                         const struct selection_policy *policy, struct selection_input in)
{
    for (uint32_t rank = 0; rank < t->policy.ranks; rank++) {
        struct round_shard *shard = r->shards[rank];

        if (shard == NULL)
            continue;
        in.losses = shard->losses;
        in.flags = shard->flags;
        in.count = shard->count;
        in.step = shard->token.step;
        selection_choose(policy, &in, &shard->answer.selection);
    }
}

static uint64_t latest_step(const struct rounds *t, const struct round *r)
{
    uint64_t step = 0;

    for (uint32_t rank = 0; rank < t->policy.ranks; rank++)
        if (r->shards[rank] != NULL && r->shards[rank]->token.step > step)
            step = r->shards[rank]->token.step;
    return step;
}

static void share_out(const struct rounds *t, struct round *r)
{
    uint64_t selected = 0;

    for (uint32_t rank = 0; rank < t->policy.ranks; rank++)
        if (r->shards[rank] != NULL)
            selected += r->shards[rank]->answer.selection.count;
    r->selected = (uint32_t)selected;
    for (uint32_t rank = 0; rank < t->policy.ranks; rank++) {
        struct lease_answer *a;
        double mine;

        if (r->shards[rank] == NULL)
            continue;
        a = &r->shards[rank]->answer;
        mine = (double)t->policy.ranks * a->selection.count;
        a->share = (struct message_share){.count = r->selected, .present = r->present};
        a->share.scale = a->selection.count > 0 ? (float)(mine / (double)selected) : 0;
    }
}

void rounds_choose(struct rounds *t, struct round *r, const struct selection_policy *policy,
                   const struct selection_input *in)
{
    struct selection_input given = *in;

    given.step = latest_step(t, r);
    if (t->policy.balanced)
        choose_apart(t, r, policy, given);
    else
        choose_together(t, r, policy, given);
    share_out(t, r);
}
