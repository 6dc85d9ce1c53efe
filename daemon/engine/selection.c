/* selection.c - which M of K losses to back-propagate; see selection.h.
 *
 * A float's bits, with the sign turned, sort as integers do. So the M-th largest is found by
 * counting: the range of the keys is cut into equal parts, the part that holds it is cut again, and
 * the few that are left are compared. The room for the indices holds the keys until then.
 *
 * Whether a loss is kept is chance to a processor, so no loop over all losses branches on it.
 */
#include "selection.h"

#include <math.h>
#include <string.h>

#define PARTS_BITS_MAX 11   /* 2048 counters stay in the L1 cache */
#define PARTS_BITS_MIN 8    /* for so few keys that clearing more counters would cost more */
#define MANY_KEYS      1024 /* from here on 2^PARTS_BITS_MAX parts */
#define FEW_KEYS       12   /* up to here each is compared with each */

#define KEY_OF_ZERO UINT32_C(0x80000000)

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* An integer that sorts as the loss does, never 0; -0 and 0 are equal. Finite losses only. */
static uint32_t sort_key(float loss)
{
    uint32_t bits = bits_of(loss + 0.0f);

    return bits ^ ((0 - (bits >> 31)) | KEY_OF_ZERO);
}

static bool is_finite(float loss)
{
    return bits_of(loss) << 1 < UINT32_C(0xff000000);
}

/* ---- all of them ---- */

/* Their keys and their statistics; what is not finite counts for nothing. Sums are in the order of
 * the losses: the mean is then the same wherever it is taken. */
static struct loss_stats take_keys(const float *losses, uint32_t k, uint32_t *keys)
{
    float min = INFINITY, max = -INFINITY;
    uint32_t count = 0;
    double sum = 0;

    for (uint32_t i = 0; i < k; i++) {
        float loss = losses[i];

        if (!is_finite(loss))
            continue;
        keys[count++] = sort_key(loss);
        min = loss < min ? loss : min;
        max = loss > max ? loss : max;
        sum += loss;
    }
    if (count == 0)
        return (struct loss_stats){0};
    return (struct loss_stats){
        .count = count, .mean = (float)(sum / count), .min = min, .max = max};
}

/* ---- the M-th largest ---- */

static unsigned bits_to_drop(uint32_t range, uint32_t count)
{
    unsigned bits = count >= MANY_KEYS ? PARTS_BITS_MAX : PARTS_BITS_MIN, shift = 0;

    while (range >> shift >> bits != 0)
        shift++;
    return shift;
}

/* Which part holds the rank-th largest (from 1)? The keys are in low..high.
 * @param rank  becomes the rank within that part */
static uint32_t find_part(const uint32_t *keys, uint32_t count, uint32_t low, uint32_t high,
                          unsigned shift, uint32_t *rank)
{
    uint32_t counts[1u << PARTS_BITS_MAX], part = (high - low) >> shift;

    memset(counts, 0, (part + 1) * sizeof counts[0]);
    for (uint32_t i = 0; i < count; i++)
        counts[(keys[i] - low) >> shift]++;
    for (; counts[part] < *rank; part--)
        *rank -= counts[part];
    return part;
}

/* Keep only the keys of a part. @return how many. */
static uint32_t keep_part(uint32_t *keys, uint32_t count, uint32_t low, unsigned shift,
                          uint32_t part)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = keys[i];

        keys[kept] = key;
        kept += (key - low) >> shift == part;
    }
    return kept;
}

static uint32_t select_of_few(const uint32_t *keys, uint32_t count, uint32_t *rank)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t above = 0, equal = 0;

        for (uint32_t j = 0; j < count; j++) {
            above += keys[j] > keys[i];
            equal += keys[j] == keys[i];
        }
        if (above < *rank && *rank <= above + equal) {
            *rank -= above;
            return keys[i];
        }
    }
    return 0; /* not reached: 1 <= rank <= count */
}

/* The rank-th largest key (from 1), which lies in low..high. Puts the keys in disorder.
 * @param rank  becomes how many that equal it belong to the first `rank` */
static uint32_t select_key(uint32_t *keys, uint32_t count, uint32_t low, uint32_t high,
                           uint32_t *rank)
{
    while (low < high && count > FEW_KEYS) {
        unsigned shift = bits_to_drop(high - low, count);
        uint32_t part = find_part(keys, count, low, high, shift, rank);

        count = keep_part(keys, count, low, shift, part);
        low += part << shift;
        if ((high - low) >> shift != 0)
            high = low + ((1u << shift) - 1);
    }
    return low < high ? select_of_few(keys, count, rank) : low;
}

/* ---- the answer ---- */

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

/* Is a key in low..high? What is not finite has keys above or below all others. */
static uint32_t is_within(uint32_t key, uint32_t low, uint32_t high)
{
    return key - low <= high - low;
}

/* Where the m largest stand: until the ties are used up what equals the threshold, later what is
 * above it. Each position is written, and the next over it unless it counts. */
static void write_indices(const float *losses, uint32_t m, uint32_t threshold, uint32_t ties,
                          uint32_t highest, uint32_t *indices)
{
    uint32_t i = 0, count = 0;

    for (; ties > 0; i++) {
        uint32_t key = sort_key(losses[i]);

        indices[count] = i;
        count += is_within(key, threshold, highest);
        ties -= key == threshold;
    }
    for (; count < m; i++) {
        indices[count] = i;
        count += is_within(sort_key(losses[i]), threshold + 1, highest);
    }
}

static double sum_of(const float *losses, const uint32_t *indices, uint32_t count)
{
    double sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += losses[indices[i]];
    return sum;
}

/* The least kept loss. Of zeros it is the first, which may be -0. */
static float least_kept(const float *losses, uint32_t threshold, const struct selection *s)
{
    uint32_t i = 0;

    if (threshold != KEY_OF_ZERO)
        return float_of(threshold ^ (((threshold >> 31) - 1) | KEY_OF_ZERO));
    while (losses[s->indices[i]] != 0)
        i++;
    return losses[s->indices[i]];
}

void selection_choose(const struct selection_policy *policy, const float *losses, uint32_t k,
                      struct selection *out)
{
    uint32_t *keys = out->indices, lowest, highest, threshold, m, ties;

    out->all = take_keys(losses, k, keys);
    out->nonfinite_count = k - out->all.count;
    out->count = m = ties = keep_how_many(policy, k, out->all.count);
    out->kept = (struct loss_stats){.count = m};
    if (m == 0)
        return;
    lowest = sort_key(out->all.min);
    highest = sort_key(out->all.max);
    threshold = select_key(keys, out->all.count, lowest, highest, &ties);
    write_indices(losses, m, threshold, ties, highest, out->indices);
    for (uint32_t i = 0; i < m; i++)
        out->weights[i] = 1;
    out->kept.mean = (float)(sum_of(losses, out->indices, m) / m);
    out->kept.min = least_kept(losses, threshold, out);
    out->kept.max = out->all.max; /* the hardest is kept, and of its equals the first */
}
