/* largest.c - the M largest of n floats; see largest.h.
 *
 * Whether a value is kept is chance to a processor, so no loop over all values branches on it. Four
 * values go through at once where they do the same (vector extensions of gcc and clang: SSE2 on
 * x86-64, NEON on arm64, plain code elsewhere).
 */
#include "largest.h"

#include <math.h>
#include <string.h>

#define PARTS_BITS_FEW 9    /* for so few keys that clearing more counters would cost more */
#define MANY_KEYS      1024 /* from here on 2^LARGEST_PARTS_BITS parts */
#define FEW_KEYS       12   /* up to here each is compared with each */

#define KEY_OF_ZERO UINT32_C(0x80000000)

/* ---- four at once ------------------------------------------------------------------------------
 */

#define LANES 4u

typedef float floats __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(16))); /* a comparison's: -1 where it holds */
typedef uint32_t uints __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(16)));

static inline floats load(const float *values)
{
    floats x;

    memcpy(&x, values, sizeof x);
    return x;
}

static inline floats all_of(float x)
{
    return (floats){x, x, x, x};
}

static inline floats pick(ints which, floats a, floats b)
{
    return (floats)((which & (ints)a) | (~which & (ints)b));
}

static inline ints are_finite(floats x)
{
    return ((ints)x & 0x7fffffff) < 0x7f800000;
}

/* Integers that sort as the values do; -0 and 0 are equal. What is not finite has keys above or
 * below all others, in parts of its own. */
static inline uints sort_keys(floats x)
{
    ints bits = (ints)(x + 0.0f);

    return (uints)bits ^ ((uints)(bits < 0) | KEY_OF_ZERO);
}

static uint32_t sort_key(float value)
{
    return sort_keys(all_of(value))[0];
}

static float value_of(uint32_t key)
{
    uint32_t bits = key ^ (((key >> 31) - 1) | KEY_OF_ZERO);
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Lanes write one after the other: each value of `x` behind those that count, over which the next
 * one goes unless it counts itself. @return how many count now. Written out: gcc unrolls nothing.
 */
static inline uint32_t put_lanes(uint32_t *at, uint32_t count, uints x, ints counts)
{
    uint32_t values[LANES], minus[LANES];

    memcpy(values, &x, sizeof values);
    memcpy(minus, &counts, sizeof minus);
    at[count] = values[0];
    count -= minus[0];
    at[count] = values[1];
    count -= minus[1];
    at[count] = values[2];
    count -= minus[2];
    at[count] = values[3];
    return count - minus[3];
}

/* The last values, filled up with what is not there. */
static floats load_last(const float *values, uint32_t count)
{
    floats x = all_of(NAN);

    memcpy(&x, values, count * sizeof *values);
    return x;
}

/* ---- the first pass ----------------------------------------------------------------------------
 */

struct look {
    floats min, max;
    doubles sums[2]; /* of lanes 0 and 1, and of 2 and 3 */
    ints count;
};

static inline void look_at(struct look *k, uint32_t *parts, unsigned shift, floats x)
{
    ints finite = are_finite(x);
    floats counted = (floats)((ints)x & finite);
    uints keys = sort_keys(x) >> shift;
    uint32_t part[LANES];

    memcpy(part, &keys, sizeof part);
    parts[part[0]]++;
    parts[part[1]]++;
    parts[part[2]]++;
    parts[part[3]]++;
    k->sums[0] += (doubles){(double)counted[0], (double)counted[1]};
    k->sums[1] += (doubles){(double)counted[2], (double)counted[3]};
    k->count -= finite;
    k->min = pick((x < k->min) & finite, x, k->min);
    k->max = pick((x > k->max) & finite, x, k->max);
}

static double add_lanes(const doubles *sums)
{
    return (sums[0][0] + sums[0][1]) + (sums[1][0] + sums[1][1]);
}

static struct loss_stats stats_of(const struct look *k)
{
    uint32_t count = 0;
    float min = INFINITY, max = -INFINITY;

    for (unsigned lane = 0; lane < LANES; lane++) {
        count += (uint32_t)k->count[lane];
        min = k->min[lane] < min ? k->min[lane] : min;
        max = k->max[lane] > max ? k->max[lane] : max;
    }
    if (count == 0)
        return (struct loss_stats){0};
    return (struct loss_stats){count, (float)(add_lanes(k->sums) / count), min, max};
}

static unsigned parts_bits(uint32_t n)
{
    return n >= MANY_KEYS ? LARGEST_PARTS_BITS : PARTS_BITS_FEW;
}

void largest_look(struct largest *l, const float *values, uint32_t n)
{
    unsigned shift = 32 - parts_bits(n);
    struct look k = {.min = all_of(INFINITY), .max = all_of(-INFINITY)};
    uint32_t i = 0;

    memset(l->parts, 0, sizeof l->parts[0] << (32 - shift));
    for (; i + LANES <= n; i += LANES)
        look_at(&k, l->parts, shift, load(values + i));
    if (i < n)
        look_at(&k, l->parts, shift, load_last(values + i, n - i));
    l->shift = shift;
    l->stats = stats_of(&k);
}

/* ---- the M-th largest --------------------------------------------------------------------------
 */

/* Which part holds the rank-th largest (from 1)? `part` is the last that has any.
 * @param rank  becomes the rank within that part */
static uint32_t find_part(const uint32_t *parts, uint32_t part, uint32_t *rank)
{
    for (; parts[part] < *rank; part--)
        *rank -= parts[part];
    return part;
}

/* The keys of the values in low..high. @return how many; room for n */
static uint32_t take_keys(const float *values, uint32_t n, float low, float high, uint32_t *keys)
{
    uint32_t i = 0, taken = 0;

    for (; i + LANES <= n; i += LANES) {
        floats x = load(values + i);

        taken = put_lanes(keys, taken, sort_keys(x), (x >= low) & (x <= high));
    }
    for (; i < n; i++) {
        keys[taken] = sort_key(values[i]);
        taken += values[i] >= low && values[i] <= high;
    }
    return taken;
}

static uint32_t keep_keys(uint32_t *keys, uint32_t count, uint32_t low, uint32_t high)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = keys[i];

        keys[kept] = key;
        kept += key - low <= high - low;
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

static unsigned bits_to_drop(uint32_t range, uint32_t count)
{
    unsigned shift = 0;

    while (range >> shift >> parts_bits(count) != 0)
        shift++;
    return shift;
}

/* The rank-th largest key (from 1), which lies in low..high as all of them do. Puts the keys in
 * disorder.
 * @param rank  becomes how many that equal it belong to the first `rank` */
static uint32_t select_key(uint32_t *keys, uint32_t count, uint32_t low, uint32_t high,
                           uint32_t *rank)
{
    uint32_t parts[1u << LARGEST_PARTS_BITS];

    while (low < high && count > FEW_KEYS) {
        unsigned shift = bits_to_drop(high - low, count);
        uint32_t last = (high - low) >> shift;

        memset(parts, 0, (last + 1) * sizeof parts[0]);
        for (uint32_t i = 0; i < count; i++)
            parts[(keys[i] - low) >> shift]++;
        low += find_part(parts, last, rank) << shift;
        if ((high - low) >> shift != 0)
            high = low + ((1u << shift) - 1);
        count = keep_keys(keys, count, low, high);
    }
    return low < high ? select_of_few(keys, count, rank) : low;
}

struct largest_cut largest_find(const struct largest *l, const float *values, uint32_t n,
                                uint32_t m, uint32_t *keys)
{
    uint32_t lowest = sort_key(l->stats.min), highest = sort_key(l->stats.max), rank = m;
    uint32_t part = find_part(l->parts, highest >> l->shift, &rank);
    uint32_t low = part << l->shift, high = low + ((1u << l->shift) - 1);
    uint32_t count, key;

    low = low > lowest ? low : lowest;
    high = high < highest ? high : highest;
    high -= high == KEY_OF_ZERO - 1; /* that would be -0's, whose key is 0's */
    count = low < high ? take_keys(values, n, value_of(low), value_of(high), keys) : 0;
    key = select_key(keys, count, low, high, &rank);
    return (struct largest_cut){.value = value_of(key), .ties = rank};
}

/* ---- the answer --------------------------------------------------------------------------------
 */

/* Behind the last tie that is kept; the loop skips all chunks that have too few. */
static uint32_t end_of_ties(const float *values, uint32_t n, struct largest_cut cut)
{
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        ints equal = load(values + i) == cut.value;
        uint32_t count = 0 - (uint32_t)(equal[0] + equal[1] + equal[2] + equal[3]);

        if (count >= cut.ties)
            break;
        cut.ties -= count;
    }
    for (; cut.ties > 0; i++)
        cut.ties -= values[i] == cut.value;
    return i;
}

/* The positions first..end-1 whose values lie in low..high, behind the `count` that are there; m at
 * most. Each position is written, and the next over it unless it counts. */
static uint32_t write_range(const float *values, uint32_t first, uint32_t end, float low,
                            float high, uint32_t count, uint32_t m, uint32_t *indices)
{
    uint32_t i = first;
    uints at = {i, i + 1, i + 2, i + 3};

    for (; i + LANES <= end && count + LANES <= m; i += LANES, at += LANES) {
        floats x = load(values + i);

        count = put_lanes(indices, count, at, (x >= low) & (x <= high));
    }
    for (; i < end && count < m; i++) {
        indices[count] = i;
        count += values[i] >= low && values[i] <= high;
    }
    return count;
}

void largest_write(const struct largest *l, const float *values, uint32_t n, struct largest_cut cut,
                   uint32_t m, uint32_t *indices)
{
    uint32_t end = end_of_ties(values, n, cut);
    uint32_t count = write_range(values, 0, end, cut.value, l->stats.max, 0, m, indices);

    if (count < m)
        (void)write_range(values, end, n, nextafterf(cut.value, INFINITY), l->stats.max, count, m,
                          indices);
}

double largest_sum(const float *values, const uint32_t *indices, uint32_t count)
{
    doubles sums[2] = {{0, 0}, {0, 0}};
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        const uint32_t *at = indices + i;

        sums[0] += (doubles){(double)values[at[0]], (double)values[at[1]]};
        sums[1] += (doubles){(double)values[at[2]], (double)values[at[3]]};
    }
    for (; i < count; i++)
        sums[i / 2 % 2][i % 2] += (double)values[indices[i]];
    return add_lanes(sums);
}

uint32_t largest_count_above(const struct largest *l, const float *values, uint32_t n, double bound)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < n; i++)
        count += (double)values[i] > bound && values[i] <= l->stats.max;
    return count;
}
