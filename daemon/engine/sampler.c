/* sampler.c - drawing a batch; see sampler.h.
 *
 * Coverage slots fill the arrays from the front, hard ones from the back. Where a hard slot falls
 * to coverage the two meet elsewhere, and a coverage instance that was drawn as a hard one already
 * takes that one's place: coverage is never put off, and the id stays unique.
 */
#include "sampler.h"

#include "../../proto/error.h"
#include "gain.h"
#include "infobatch.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CARRY_ONE  (UINT64_C(1) << 32) /* a whole slot */
#define DRAW_BLOCK 64u                 /* hard slots whose memory is fetched together */
#define NO_SCORE   PARTITION_BUCKETS   /* the bucket of an instance that hardness does not draw */

/* A quarter full at most: a cell that is taken is then rare enough to be foreseen. */
static unsigned seen_bits_for(uint32_t batch_size)
{
    unsigned bits = 4;

    while ((1u << bits) < 4 * batch_size)
        bits++;
    return bits;
}

int sampler_init(struct sampler *s, const struct sampler_policy *policy, struct rng rng,
                 uint32_t batch_size_max)
{
    uint32_t capacity = 1u << seen_bits_for(batch_size_max);

    *s = (struct sampler){.rng = rng, .seen_capacity = capacity};
    s->seen = malloc(capacity * sizeof *s->seen);
    s->buckets = malloc(batch_size_max * sizeof *s->buckets);
    if (s->seen == NULL || s->buckets == NULL) {
        sampler_deinit(s);
        return -OHEM_NOMEM;
    }
    sampler_set_policy(s, policy);
    return 0;
}

void sampler_set_policy(struct sampler *s, const struct sampler_policy *policy)
{
    s->policy = *policy;
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        s->hard_table[b] = pow(partition_bucket_middle(b), policy->alpha);
}

void sampler_deinit(struct sampler *s)
{
    free(s->seen);
    free(s->buckets);
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

    if (policy->sampling == SAMPLER_INFOBATCH)
        return 0;
    if (policy->epochs > 0)
        a = fmin(a, ramp(policy->epochs - epoch, policy->anneal_out));
    return (1 - policy->rho) * a;
}

bool sampler_is_biased(const struct sampler *s)
{
    return s->policy.sampling == SAMPLER_MIX &&
           (s->policy.mode == SAMPLER_ON ||
            (s->policy.mode == SAMPLER_AUTO && s->gain > s->policy.gain_min));
}

/* The share for the next batch. */
static double next_bias_share(struct sampler *s, const struct hardness *h, const struct coverage *c)
{
    if (s->policy.mode == SAMPLER_AUTO)
        s->gain = gain_average(s->gain, gain_measure(h));
    return sampler_is_biased(s) ? sampler_bias_share(&s->policy, coverage_progress(c)) : 0;
}

/* ---- the batch's ids as a set ------------------------------------------------------------------
 */

static void seen_clear(struct sampler *s, uint32_t batch_size)
{
    unsigned bits = seen_bits_for(batch_size);

    assert(1u << bits <= s->seen_capacity);
    s->seen_shift = 32 - bits;
    memset(s->seen, 0xff, sizeof *s->seen << bits); /* PARTITION_NONE */
}

/* The hash is Fibonacci's (Knuth, TAOCP 3, 6.4): the upper bits of a product. */
static uint32_t *seen_cell(struct sampler *s, uint32_t id)
{
    uint32_t mask = UINT32_MAX >> s->seen_shift;
    uint32_t i = (id * UINT32_C(0x9e3779b1)) >> s->seen_shift;

    while (s->seen[i] != PARTITION_NONE && s->seen[i] != id)
        i = (i + 1) & mask;
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

struct sampler_outlook sampler_look(const struct sampler *s, const struct hardness *h,
                                    const struct coverage *c)
{
    struct sampler_outlook out = {.score_ratio = 1, .overlap = 1};
    struct sampler frozen = *s;
    double total = freeze_weights(&frozen, &h->partition), n = (double)c->n, scores = 0, sum = 0;

    if (!(total > 0))
        return out;
    out.bias_share = sampler_bias_share(&s->policy, coverage_progress(c));
    out.overlap = 1 - out.bias_share; /* if nobody's draw by hardness helped */
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double count = h->partition.buckets[b].count, q = frozen.bucket_weight[b] / total;
        double x = count * partition_bucket_middle(b);

        scores += x;
        sum += x * q;
        out.overlap += count * fmin(out.bias_share * q, out.bias_share / n);
    }
    out.score_ratio = sum / (scores / h->partition.count);
    return out;
}

/* A double's bits; those of numbers that are not negative sort as the numbers do. */
static uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The first bucket whose running sum is above x; where rounding reached the end, the last with ids.
 * Halving without a branch: where it goes is chance, so a processor cannot foresee it. Integers,
 * since a comparison of doubles takes twice as long to become a step. */
static unsigned find_bucket(const struct sampler *s, const struct partition *p, double x)
{
    uint64_t sought = bits_of(x);
    unsigned bucket = 0;

    for (unsigned half = PARTITION_BUCKETS / 2; half > 0; half /= 2)
        bucket += bits_of(s->cumulative[bucket + half - 1]) <= sought ? half : 0;
    while (p->buckets[bucket].count == 0)
        bucket--;
    return bucket;
}

/* What one chance draws: a bucket, and an id of it. In free order that is whoever has a place in
 * its bag, which is not looked at yet; in strict order it is known at once. */
struct hit {
    unsigned bucket;
    uint32_t id;          /* in strict order */
    const uint32_t *cell; /* in free order, else NULL */
};

static inline struct hit hit_in(const struct hardness *h, unsigned bucket, uint64_t chance)
{
    uint32_t index = (uint32_t)rng_below(chance, h->partition.buckets[bucket].count);

    if (h->ordered != NULL)
        return (struct hit){.bucket = bucket, .id = ordered_at(h->ordered, bucket, index)};
    return (struct hit){.bucket = bucket, .cell = partition_cell(&h->partition, bucket, index)};
}

static inline uint32_t hit_id(const struct hit *hit)
{
    return hit->cell != NULL ? *hit->cell : hit->id;
}

static struct hit draw_hard(const struct sampler *s, const struct hardness *h, double total,
                            struct rng_pair chance)
{
    unsigned bucket = find_bucket(s, &h->partition, rng_unit(chance.first) * total);

    return hit_in(h, bucket, chance.second);
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

/* Put a hard slot's first hit that is new in the batch before the `filled` at the back.
 * @return whether there was one before the redraws ran out */
static bool fill_slot(struct sampler *s, const struct hardness *h, double total, uint64_t step,
                      uint32_t slot, struct hit hit, uint32_t filled, struct sampler_batch *out)
{
    uint32_t place = out->count - 1 - filled;

    for (uint32_t redraw = 0; s->policy.unique && !seen_add(s, hit_id(&hit)); redraw++) {
        out->redraw_count++;
        if (redraw == s->policy.redraws)
            return false;
        hit = draw_hard(s, h, total, rng_at(s->rng, step, slot, redraw + 1));
    }
    out->ids[place] = hit_id(&hit);
    s->buckets[place] = (uint16_t)hit.bucket;
    return true;
}

/* The first hits of so many slots. One thing at a time: what a slot needs does not wait for what
 * another does, and short loops overlap. */
static void draw_block(const struct sampler *s, const struct hardness *h, double total,
                       uint64_t step, uint32_t slot, uint32_t count, struct hit *hits)
{
    struct rng_pair chances[DRAW_BLOCK];
    unsigned buckets[DRAW_BLOCK];

    for (uint32_t i = 0; i < count; i++)
        chances[i] = rng_at(s->rng, step, slot + i, 0);
    for (uint32_t i = 0; i < count; i++)
        buckets[i] = find_bucket(s, &h->partition, rng_unit(chances[i].first) * total);
    for (uint32_t i = 0; i < count; i++) {
        hits[i] = hit_in(h, buckets[i], chances[i].second);
        __builtin_prefetch(hits[i].cell); /* of NULL: no effect */
    }
}

/* Hard slots, from the back. @return how many were filled; redraws ran out for the others. */
static uint32_t fill_hard(struct sampler *s, const struct hardness *h, double total, uint64_t step,
                          uint32_t planned_coverage, struct sampler_batch *out)
{
    struct hit hits[DRAW_BLOCK];
    uint32_t filled = 0, block;

    for (uint32_t slot = planned_coverage; slot < out->count; slot += block) {
        block = out->count - slot < DRAW_BLOCK ? out->count - slot : DRAW_BLOCK;
        draw_block(s, h, total, step, slot, block, hits);
        for (uint32_t i = 0; i < block; i++)
            filled += fill_slot(s, h, total, step, slot + i, hits[i], filled, out);
    }
    return filled;
}

/* Take an id out of the hard slots if it is there. @return how many hard slots are left. */
static uint32_t drop_hard(struct sampler *s, struct sampler_batch *out, uint32_t hard_count,
                          uint32_t id)
{
    uint32_t first = out->count - hard_count;

    for (uint32_t i = first; i < out->count; i++)
        if (out->ids[i] == id) {
            out->ids[i] = out->ids[first];
            s->buckets[i] = s->buckets[first];
            return hard_count - 1;
        }
    return hard_count;
}

/* The planned coverage slots; their memory is fetched while the hard ones are drawn. */
static void fill_coverage(struct sampler *s, const struct hardness *h, struct coverage *c,
                          uint32_t planned, struct sampler_batch *out)
{
    coverage_take_many(c, planned, out->ids, out->epochs);
    out->coverage_count = planned;
    if (planned == out->count)
        return; /* no hard slot, so nothing that could meet them */
    seen_clear(s, out->count);
    for (uint32_t i = 0; i < planned; i++) {
        __builtin_prefetch(&h->entries[out->ids[i]]);
        (void)seen_add(s, out->ids[i]);
    }
}

/* Hard slots that found no new id fall to coverage. */
static void fill_rest(struct sampler *s, struct coverage *c, uint32_t hard_count,
                      struct sampler_batch *out)
{
    while (out->coverage_count + hard_count < out->count) {
        struct coverage_slot slot = coverage_take(c);

        out->ids[out->coverage_count] = slot.id;
        out->epochs[out->coverage_count++] = slot.epoch;
        out->fallback_count++;
        if (!seen_add(s, slot.id) && s->policy.unique)
            hard_count = drop_hard(s, out, hard_count, slot.id);
    }
}

/* ---- p and w -----------------------------------------------------------------------------------
 */

/* The buckets of the coverage instances; those of the hard ones are known from their draw. */
static void look_up_buckets(struct sampler *s, const struct hardness *h,
                            const struct sampler_batch *out)
{
    for (uint32_t i = 0; i < out->coverage_count; i++) {
        const struct hardness_entry *e = &h->entries[out->ids[i]];
        bool is_drawn = e->visits > 0 && !hardness_is_aside(h, out->ids[i]);

        s->buckets[i] = (uint16_t)(is_drawn ? partition_bucket_of(e->score) : NO_SCORE);
    }
}

static void ship_probabilities(const struct sampler *s, uint32_t n, double total,
                               double coverage_share, struct sampler_batch *out)
{
    double covered = coverage_share / n;

    for (uint32_t i = 0; i < out->count; i++) {
        double q = s->bucket_weight[s->buckets[i]] / total;

        out->probabilities[i] = (float)(covered + (1 - coverage_share) * q);
    }
}

/* All of the batch are drawn alike, as if nobody had a score. */
static void ship_even_probabilities(struct sampler *s, uint32_t n, struct sampler_batch *out)
{
    for (uint32_t i = 0; i < out->count; i++) {
        s->buckets[i] = NO_SCORE;
        out->probabilities[i] = (float)(1.0 / n);
    }
}

static void ship_even_weights(struct sampler_batch *out)
{
    for (uint32_t i = 0; i < out->count; i++)
        out->weights[i] = 1;
}

/* w = (N p)^-beta, worked out once per bucket. An instance that only a fallback could bring may
 * have p = 0: it counts as one slot of a batch of plain coverage would, p = 1/(K N). */
static void ship_weights(struct sampler *s, uint32_t n, struct sampler_batch *out)
{
    double floor = 1.0 / out->count, sum = 0, max = 0, scale = 1;

    memset(s->powers, 0, sizeof s->powers);
    for (uint32_t i = 0; i < out->count; i++) {
        double *power = &s->powers[s->buckets[i]], w;

        if (!(*power > 0))
            *power = pow(fmax(n * (double)out->probabilities[i], floor), -s->policy.beta);
        w = *power;
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

static void draw_mix(struct sampler *s, const struct hardness *h, struct coverage *c, uint64_t step,
                     struct sampler_batch *out)
{
    uint32_t n = (uint32_t)c->n; /* the memory may have room for more */
    double bias_share = next_bias_share(s, h, c);
    double total = bias_share > 0 ? freeze_weights(s, &h->partition) : 0;
    uint32_t planned = total > 0 ? plan_coverage(s, out->count, bias_share) : out->count;

    out->bias_share = total > 0 ? bias_share : 0;
    fill_coverage(s, h, c, planned, out);
    if (planned < out->count)
        fill_rest(s, c, fill_hard(s, h, total, step, planned, out), out);
    if (total > 0) {
        look_up_buckets(s, h, out);
        ship_probabilities(s, n, total, (double)planned / out->count, out);
    } else {
        ship_even_probabilities(s, n, out);
    }
    if (s->policy.beta > 0)
        ship_weights(s, n, out);
    else
        ship_even_weights(out);
}

void sampler_draw(struct sampler *s, const struct hardness *h, struct coverage *c, uint64_t step,
                  struct sampler_batch *out)
{
    assert(out->count >= 1 && out->count <= c->n);
    out->redraw_count = out->fallback_count = out->skip_count = 0;
    out->bias_share = 0;
    if (s->policy.sampling == SAMPLER_INFOBATCH)
        infobatch_draw(&s->policy, h, c, out);
    else
        draw_mix(s, h, c, step, out);
}
