/* drawer.c - a sampler with all that it needs; see drawer.h. */
#include "drawer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static struct rng stream(uint64_t seed, const char *job, enum rng_purpose purpose)
{
    return rng_make(seed, job, purpose);
}

void drawer_open(struct drawer *d, uint32_t n, uint32_t k, const struct sampler_policy *policy,
                 uint64_t seed)
{
    int rc = hardness_init(&d->hardness, n, 0.5f);

    assert(rc == 0);
    rc = coverage_init(&d->coverage, n, stream(seed, "job", RNG_PERMUTATION));
    assert(rc == 0);
    rc = coverage_reserve(&d->coverage, k);
    assert(rc == 0);
    rc = sampler_init(&d->sampler, policy, stream(seed, "job", RNG_DRAW), k);
    assert(rc == 0);
    d->batch = (struct sampler_batch){
        .ids = malloc(k * sizeof(uint32_t)),
        .epochs = malloc(k * sizeof(uint32_t)),
        .probabilities = malloc(k * sizeof(float)),
        .weights = malloc(k * sizeof(float)),
        .count = k,
    };
    assert(d->batch.ids && d->batch.epochs && d->batch.probabilities && d->batch.weights);
    d->step = 0;
}

void drawer_close(struct drawer *d)
{
    free(d->batch.ids);
    free(d->batch.epochs);
    free(d->batch.probabilities);
    free(d->batch.weights);
    sampler_deinit(&d->sampler);
    coverage_deinit(&d->coverage);
    hardness_deinit(&d->hardness);
}

void drawer_order(struct drawer *d)
{
    uint32_t n = d->hardness.n;
    int rc;

    hardness_deinit(&d->hardness);
    rc = hardness_init_ordered(&d->hardness, n, 0.5f);
    assert(rc == 0);
}

void drawer_restart(struct drawer *d, uint64_t seed, const char *job)
{
    struct sampler_policy policy = d->sampler.policy;
    int rc;

    sampler_deinit(&d->sampler);
    rc = sampler_init(&d->sampler, &policy, stream(seed, job, RNG_DRAW), d->batch.count);
    assert(rc == 0);
    coverage_deinit(&d->coverage);
    rc = coverage_init(&d->coverage, d->hardness.n, stream(seed, job, RNG_PERMUTATION));
    assert(rc == 0);
    d->step = 0;
}

void drawer_score_all(struct drawer *d)
{
    for (uint32_t id = 0; id < d->hardness.n; id++) {
        double place = rng_unit(rng_mix(id + 1));

        if (id % 7 == 3)
            continue;
        hardness_report(&d->hardness, id, id % 11 == 5 ? 0 : (float)exp2(8 * place - 5), 0);
    }
}

const struct sampler_batch *drawer_next(struct drawer *d)
{
    sampler_draw(&d->sampler, &d->hardness, &d->coverage, d->step++, &d->batch);
    for (uint32_t i = 0; i < d->batch.coverage_count; i++) {
        struct coverage_slot slot = {.id = d->batch.ids[i], .epoch = d->batch.epochs[i]};

        coverage_settle(&d->coverage, slot, true);
    }
    return &d->batch;
}

static double weight_of(const struct drawer *d, unsigned bucket)
{
    const struct sampler_policy *policy = &d->sampler.policy;
    double rank = d->hardness.partition.buckets[bucket].count / 2.0;

    if (policy->weight == SAMPLER_HARD)
        return pow(partition_bucket_middle(bucket), policy->alpha);
    for (unsigned b = bucket + 1; b < PARTITION_BUCKETS; b++)
        rank += d->hardness.partition.buckets[b].count;
    return policy->weight == SAMPLER_RANK ? 1 / pow(rank, policy->alpha) : 1;
}

void drawer_q(const struct drawer *d, double *q)
{
    double weights[PARTITION_BUCKETS], total = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        weights[b] = weight_of(d, b);
    for (uint32_t id = 0; id < d->hardness.n; id++) {
        struct hardness_story story = hardness_story(&d->hardness, id);

        q[id] = story.scored ? weights[partition_bucket_of(story.score)] : 0;
        total += q[id];
    }
    for (uint32_t id = 0; id < d->hardness.n && total > 0; id++)
        q[id] /= total;
}
