/* selection.c - which M of K losses to back-propagate; see selection.h.
 *
 * A float's bits, with the sign turned, sort as integers do. So the M-th largest is found by
 * counting leading digits: 11 bits, then the next 11 among those that share them, then the last 10.
 */
#include "selection.h"

#include <math.h>
#include <string.h>

#define DIGIT_BITS_MAX 11

/* An integer that sorts as the loss does; -0 and 0 are equal. Finite losses only. */
static uint32_t sort_key(float loss)
{
    float plain = loss + 0.0f;
    uint32_t bits;

    memcpy(&bits, &plain, sizeof bits);
    return bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
}

/* Among keys whose upper bits are `prefix`, find the digit that holds the `rank`-th largest (from
 * 1).
 * @param rank  becomes the rank within that digit */
static uint32_t select_digit(const float *losses, uint32_t k, uint32_t prefix, unsigned shift,
                             unsigned bits, uint32_t *rank)
{
    uint32_t counts[1u << DIGIT_BITS_MAX];
    uint32_t digit = 1u << bits;

    memset(counts, 0, sizeof counts[0] << bits);
    for (uint32_t i = 0; i < k; i++) {
        uint32_t key = isfinite(losses[i]) ? sort_key(losses[i]) : 0;

        if (isfinite(losses[i]) && (uint32_t)((uint64_t)key >> (shift + bits)) == prefix)
            counts[(key >> shift) & ((1u << bits) - 1)]++;
    }
    while (counts[--digit] < *rank)
        *rank -= counts[digit];
    return prefix << bits | digit;
}

/* The key of the m-th largest finite loss; out_ties: how many that equal it belong to the m. */
static uint32_t select_key(const float *losses, uint32_t k, uint32_t m, uint32_t *out_ties)
{
    uint32_t key = select_digit(losses, k, 0, 21, 11, &m);

    key = select_digit(losses, k, key, 10, 11, &m);
    key = select_digit(losses, k, key, 0, 10, &m);
    *out_ties = m;
    return key;
}

struct tally {
    double sum;
    struct loss_stats stats;
};

static void tally_add(struct tally *t, float loss)
{
    struct loss_stats *s = &t->stats;

    s->min = s->count == 0 || loss < s->min ? loss : s->min;
    s->max = s->count == 0 || loss > s->max ? loss : s->max;
    s->count++;
    t->sum += loss;
}

static struct loss_stats tally_end(const struct tally *t)
{
    struct loss_stats stats = t->stats;

    if (stats.count > 0)
        stats.mean = (float)(t->sum / stats.count);
    return stats;
}

static uint32_t keep_how_many(const struct selection_policy *policy, uint32_t k, uint32_t finite)
{
    uint32_t least = policy->min_keep > 1 ? policy->min_keep : 1;
    uint32_t m = policy->keep_count > 0 ? policy->keep_count : (uint32_t)(policy->keep_ratio * k);

    if (policy->rule == SELECTION_ALL)
        return finite;
    if (m < least)
        m = least;
    return m < finite ? m : finite;
}

void selection_choose(const struct selection_policy *policy, const float *losses, uint32_t k,
                      struct selection *out)
{
    struct tally all = {0}, kept = {0};
    uint32_t m, ties = 0, threshold = 0;

    for (uint32_t i = 0; i < k; i++)
        if (isfinite(losses[i]))
            tally_add(&all, losses[i]);
    out->all = tally_end(&all);
    out->nonfinite_count = k - out->all.count;
    m = keep_how_many(policy, k, out->all.count);
    if (m > 0)
        threshold = select_key(losses, k, m, &ties);
    out->count = 0;
    for (uint32_t i = 0; i < k && out->count < m; i++) {
        uint32_t key = isfinite(losses[i]) ? sort_key(losses[i]) : 0;

        if (!isfinite(losses[i]) || key < threshold || (key == threshold && ties == 0))
            continue;
        ties -= key == threshold;
        out->indices[out->count] = i;
        out->weights[out->count++] = 1;
        tally_add(&kept, losses[i]);
    }
    out->kept = tally_end(&kept);
}
