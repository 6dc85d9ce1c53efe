/* infobatch.c - see infobatch.h. */
#include "infobatch.h"

#include <assert.h>

/* A batch on its way, and the terms of the epoch that its present slot covers. */
struct draw {
    const struct hardness *h;
    struct coverage *c;
    struct sampler_batch *out;
    uint64_t skips_left;
    uint64_t epoch; /* whose terms these are; UINT64_MAX: none yet */
    double ratio;   /* r */
    unsigned cut;   /* buckets below */
    double shares;  /* N - r m: what the slots of an epoch are divided among */
};

/* The last epochs of a run have all, so that it does not end on estimates. */
static void freeze(const struct sampler_policy *policy, const struct hardness *h,
                   struct coverage_report *r)
{
    bool is_last =
        policy->epochs > 0 && (double)r->epoch >= policy->epochs * (1 - policy->infobatch_full);

    r->frozen = true;
    r->ratio = is_last ? 0 : (float)policy->infobatch_ratio;
    r->cut = (uint16_t)partition_bucket_of((float)hardness_mean(h));
}

static void use_terms(struct draw *d, const struct coverage_report *r)
{
    double below = 0;

    if (r->epoch == d->epoch)
        return;
    d->epoch = r->epoch;
    d->ratio = (double)r->ratio;
    d->cut = r->cut;
    for (unsigned b = 0; b < d->cut; b++)
        below += hardness_members(d->h, b);
    d->shares = (double)d->c->n - d->ratio * below;
}

static bool is_below(const struct draw *d, uint32_t id)
{
    const struct hardness_entry *e = &d->h->entries[id];

    return e->visits > 0 && partition_bucket_of(e->score) < d->cut;
}

static void put(struct draw *d, uint32_t slot, uint32_t id, bool thinned)
{
    double kept = thinned ? 1 - d->ratio : 1;

    d->out->ids[slot] = id;
    d->out->epochs[slot] = (uint32_t)d->epoch;
    d->out->weights[slot] = (float)(1 / kept);
    d->out->probabilities[slot] = (float)(kept / d->shares);
}

static void put_returned(struct draw *d, uint32_t slot)
{
    struct coverage_slot back = coverage_take(d->c);

    use_terms(d, coverage_find_open(d->c, back.epoch));
    put(d, slot, back.id, back.thinned != 0);
}

/* The next of the epoch, at most as many as slots are left. @return how many were kept */
static uint32_t put_fresh(struct draw *d, const struct sampler_policy *policy, uint32_t slot)
{
    struct sampler_batch *out = d->out;
    uint32_t run = coverage_take_run(d->c, out->count - slot, out->ids + slot, out->epochs + slot);
    struct coverage_report *r = coverage_find_open(d->c, d->c->epoch);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < run; i++)
        __builtin_prefetch(&d->h->entries[out->ids[slot + i]]);
    if (!r->frozen)
        freeze(policy, d->h, r);
    use_terms(d, r);
    for (uint32_t i = 0; i < run; i++) {
        uint32_t id = out->ids[slot + i];
        bool stands = d->skips_left > 0 && is_below(d, id);

        if (stands && coverage_chance(d->c, d->epoch, id) < d->ratio)
            d->skips_left--;
        else
            put(d, slot + kept++, id, stands);
    }
    out->skip_count += run - kept;
    coverage_skip(d->c, d->epoch, run - kept);
    return kept;
}

void infobatch_draw(const struct sampler_policy *policy, const struct hardness *h,
                    struct coverage *c, struct sampler_batch *out)
{
    uint64_t walk = c->n + coverage_left(c) - out->count; /* beside the slots themselves */
    uint64_t skips = (uint64_t)INFOBATCH_SKIPS_PER_SLOT * out->count;
    struct draw d = {
        .h = h, .c = c, .out = out, .skips_left = skips < walk ? skips : walk, .epoch = UINT64_MAX};
    uint32_t slot = 0;

    assert(out->count <= c->n);
    while (slot < out->count && c->pool_count > 0)
        put_returned(&d, slot++);
    while (slot < out->count)
        slot += put_fresh(&d, policy, slot);
    out->coverage_count = out->count;
}
