/* sampler.c - drawing a batch; see sampler.h.
 *
 * Coverage slots fill the arrays from the front, hard ones from the back. Where a hard slot falls
 * to coverage the two meet elsewhere, and a coverage instance that was drawn as a hard one already
 * takes that one's place: coverage is never put off, and the id stays unique.
 */
#include "sampler.h"

#include "../../proto/error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CARRY_ONE (UINT64_C(1) << 32) /* a whole slot */

static uint32_t seen_capacity_for(uint32_t batch_size)
{
    uint32_t capacity = 8;

    while (capacity < 2 * batch_size)
        capacity *= 2;
    return capacity;
}

int sampler_init(struct sampler *s, const struct sampler_policy *policy, struct rng rng,
                 uint32_t batch_size_max)
{
    uint32_t capacity = seen_capacity_for(batch_size_max);
    uint32_t *seen = malloc(capacity * sizeof *seen);

    if (seen == NULL)
        return -OHEM_NOMEM;
    *s = (struct sampler){.policy = *policy, .rng = rng, .seen = seen, .seen_capacity = capacity};
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        s->hard_table[b] = pow(partition_bucket_middle(b), policy->alpha);
    return 0;
}

void sampler_deinit(struct sampler *s)
{
    free(s->seen);
    *s = (struct sampler){0};
}

/* x limited to 0..1; a length of 0 makes a step of the ramp. */
static double ramp(double x, double length)
{
    if (x <= 0)
        return 0;
    return length > 0 && x < length ? x / length : 1;
}

double sampler_bias_share(const struct sampler_policy *policy, double epoch)
{
    double since = epoch - policy->warmup_epochs;
    double a = since < 0 ? 0 : (policy->anneal_in > 0 ? ramp(since, policy->anneal_in) : 1);

    if (policy->epochs > 0)
        a = fmin(a, ramp(policy->epochs - epoch, policy->anneal_out));
    return (1 - policy->rho) * a;
}

/* ---- the batch's ids as a set ------------------------------------------------------------------
 */

static void seen_clear(struct sampler *s, uint32_t batch_size)
{
    uint32_t capacity = seen_capacity_for(batch_size);

    assert(capacity <= s->seen_capacity);
    s->seen_mask = capacity - 1;
    memset(s->seen, 0xff, capacity * sizeof *s->seen); /* PARTITION_NONE */
}

static uint32_t *seen_cell(struct sampler *s, uint32_t id)
{
    uint32_t i = (uint32_t)rng_mix(id) & s->seen_mask;

    while (s->seen[i] != PARTITION_NONE && s->seen[i] != id)
        i = (i + 1) & s->seen_mask;
    return &s->seen[i];
}

/* Add an id. @return false if it is in already. */
static bool seen_add(struct sampler *s, uint32_t id)
{
    uint32_t *cell = seen_cell(s, id);

    if (*cell == id)
        return false;
    *cell = id;
    return true;
}

/* ---- the bias ----------------------------------------------------------------------------------
 */

static double bucket_weight(const struct sampler *s, unsigned bucket, uint64_t harder,
                            uint32_t count)
{
    switch (s->policy.weight) {
    case SAMPLER_HARD:
        return s->hard_table[bucket];
    case SAMPLER_RANK:
        return pow((double)harder + 0.5 * count, -s->policy.alpha);
    case SAMPLER_UNIFORM:
        break;
    }
    return 1;
}

/* Freeze q: the weight of each bucket's members and the running sums. @return their total. */
static double freeze_weights(struct sampler *s, const struct partition *p)
{
    uint64_t harder = p->count;
    double total = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        uint32_t count = p->buckets[b].count;

        harder -= count;
        s->bucket_weight[b] = count > 0 ? bucket_weight(s, b, harder, count) : 0;
        total += count * s->bucket_weight[b];
        s->cumulative[b] = total;
    }
    return total;
}

/* The first bucket whose running sum is above x; where rounding reached the end, the last with ids.
 */
static unsigned find_bucket(const struct sampler *s, const struct partition *p, double x)
{
    unsigned low = 0, high = PARTITION_BUCKETS - 1;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (s->cumulative[middle] > x)
            high = middle;
        else
            low = middle + 1;
    }
    while (p->buckets[low].count == 0)
        low--;
    return low;
}

static uint32_t draw_hard(const struct sampler *s, const struct partition *p, double total,
                          struct rng_pair chance)
{
    unsigned bucket = find_bucket(s, p, rng_unit(chance.first) * total);

    return partition_at(p, bucket, (uint32_t)rng_below(chance.second, p->buckets[bucket].count));
}

/* ---- the slots ---------------------------------------------------------------------------------
 */

/* How many of the batch's slots are coverage; what is left of the share is carried on. */
static uint32_t plan_coverage(struct sampler *s, uint32_t k, double bias_share)
{
    uint64_t share = (uint64_t)llround((1 - bias_share) * (double)CARRY_ONE) * k + s->carry;

    s->carry = share % CARRY_ONE;
    return (uint32_t)(share / CARRY_ONE);
}

/* Hard slots, from the back. @return how many were filled; redraws ran out for the others. */
static uint32_t fill_hard(struct sampler *s, const struct partition *p, double total, uint64_t step,
                          uint32_t planned_coverage, struct sampler_batch *out)
{
    uint32_t filled = 0;

    for (uint32_t slot = planned_coverage; slot < out->count; slot++)
        for (uint32_t redraw = 0; redraw <= s->policy.redraws; redraw++) {
            uint32_t id = draw_hard(s, p, total, rng_at(s->rng, step, slot, redraw));

            if (!s->policy.unique || seen_add(s, id)) {
                out->ids[out->count - ++filled] = id;
                break;
            }
            out->redraw_count++;
        }
    return filled;
}

/* Take an id out of the hard slots if it is there. @return how many hard slots are left. */
static uint32_t drop_hard(struct sampler_batch *out, uint32_t hard_count, uint32_t id)
{
    uint32_t *hard = out->ids + out->count - hard_count;

    for (uint32_t i = 0; i < hard_count; i++)
        if (hard[i] == id) {
            hard[i] = hard[0];
            return hard_count - 1;
        }
    return hard_count;
}

/* @return whether its id is new in the batch */
static bool take_coverage(struct sampler *s, struct coverage *c, struct sampler_batch *out)
{
    struct coverage_slot slot = coverage_take(c);

    out->ids[out->coverage_count] = slot.id;
    out->epochs[out->coverage_count++] = slot.epoch;
    return seen_add(s, slot.id);
}

/* Hard slots that found no new id fall to coverage. */
static void fill_rest(struct sampler *s, struct coverage *c, uint32_t hard_count,
                      struct sampler_batch *out)
{
    while (out->coverage_count + hard_count < out->count) {
        bool is_new = take_coverage(s, c, out);

        out->fallback_count++;
        if (s->policy.unique && !is_new)
            hard_count = drop_hard(out, hard_count, out->ids[out->coverage_count - 1]);
    }
}

/* ---- p and w -----------------------------------------------------------------------------------
 */

static void ship_probabilities(const struct sampler *s, const struct hardness *h, double total,
                               double coverage_share, struct sampler_batch *out)
{
    double covered = coverage_share / h->n;

    for (uint32_t i = 0; i < out->count; i++) {
        double q = 0;

        if (total > 0 && partition_has(&h->partition, out->ids[i]))
            q = s->bucket_weight[partition_bucket_of(h->entries[out->ids[i]].score)] / total;
        out->probabilities[i] = (float)(covered + (1 - coverage_share) * q);
    }
}

/* w = (N p)^-beta. An instance that only a fallback could bring may have p = 0: it counts as one
 * slot of a batch of plain coverage would, p = 1/(K N). */
static void ship_weights(const struct sampler *s, uint32_t n, struct sampler_batch *out)
{
    double floor = 1.0 / out->count, sum = 0, max = 0, scale = 1;

    for (uint32_t i = 0; i < out->count; i++) {
        double w = s->policy.beta > 0
                       ? pow(fmax(n * (double)out->probabilities[i], floor), -s->policy.beta)
                       : 1;

        out->weights[i] = (float)w;
        sum += w;
        max = fmax(max, w);
    }
    if (s->policy.normalise == SAMPLER_MEAN)
        scale = out->count / sum;
    else if (s->policy.normalise == SAMPLER_MAX)
        scale = 1 / max;
    for (uint32_t i = 0; i < out->count; i++)
        out->weights[i] = (float)(out->weights[i] * scale);
}

void sampler_draw(struct sampler *s, const struct hardness *h, struct coverage *c, uint64_t step,
                  struct sampler_batch *out)
{
    double bias_share = sampler_bias_share(&s->policy, coverage_progress(c));
    double total = bias_share > 0 ? freeze_weights(s, &h->partition) : 0;
    uint32_t planned = total > 0 ? plan_coverage(s, out->count, bias_share) : out->count;
    uint32_t hard_count;

    assert(out->count >= 1 && out->count <= h->n);
    out->coverage_count = out->redraw_count = out->fallback_count = 0;
    seen_clear(s, out->count);
    while (out->coverage_count < planned)
        (void)take_coverage(s, c, out);
    hard_count = fill_hard(s, &h->partition, total, step, planned, out);
    fill_rest(s, c, hard_count, out);
    ship_probabilities(s, h, total, (double)planned / out->count, out);
    ship_weights(s, h->n, out);
}
