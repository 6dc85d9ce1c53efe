/* recent.c - a window of losses, sorted by the digits of their bits when it is asked for. */
#include "recent.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define DIGIT_BITS 8
#define DIGITS     (1u << DIGIT_BITS)

void recent_add(struct recent *r, const float *losses, uint32_t count)
{
    for (uint32_t i = count > RECENT_LOSSES ? count - RECENT_LOSSES : 0; i < count; i++) {
        if (!isfinite(losses[i]))
            continue;
        r->ring[r->next] = losses[i];
        r->next = (r->next + 1) % RECENT_LOSSES;
        r->count += r->count < RECENT_LOSSES;
        r->is_sorted = false;
    }
}

/* An integer that sorts as the float does, and back. */
static uint32_t key_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits & UINT32_C(0x80000000) ? ~bits : bits | UINT32_C(0x80000000);
}

static float value_of(uint32_t key)
{
    uint32_t bits = key & UINT32_C(0x80000000) ? key & UINT32_C(0x7fffffff) : ~key;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* By one digit, keeping the order of equals. */
static void sort_by_digit(const uint32_t *from, uint32_t *to, uint32_t count, unsigned shift)
{
    uint32_t begin[DIGITS] = {0}, sum = 0;

    for (uint32_t i = 0; i < count; i++)
        begin[from[i] >> shift & (DIGITS - 1)]++;
    for (uint32_t d = 0; d < DIGITS; d++) {
        uint32_t of_digit = begin[d];

        begin[d] = sum;
        sum += of_digit;
    }
    for (uint32_t i = 0; i < count; i++)
        to[begin[from[i] >> shift & (DIGITS - 1)]++] = from[i];
}

void recent_sort(struct recent *r)
{
    uint32_t keys[RECENT_LOSSES], other[RECENT_LOSSES];

    if (r->is_sorted || r->count == 0)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        keys[i] = key_of(r->ring[i]);
    for (unsigned shift = 0; shift < 32; shift += 2 * DIGIT_BITS) {
        sort_by_digit(keys, other, r->count, shift);
        sort_by_digit(other, keys, r->count, shift + DIGIT_BITS);
    }
    for (uint32_t i = 0; i < r->count; i++)
        r->sorted[i] = value_of(keys[i]);
    r->is_sorted = true;
}

/* How many are below the loss, or (with equals) not above it. */
static uint32_t count_below(const struct recent *r, float loss, bool with_equals)
{
    uint32_t low = 0, high = r->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        float x = r->sorted[middle];

        if (x < loss || (with_equals && x <= loss))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

double recent_percentile(const struct recent *r, float loss)
{
    assert(r->is_sorted || r->count == 0);
    if (r->count == 0)
        return 1;
    return 0.5 * (count_below(r, loss, false) + count_below(r, loss, true)) / r->count;
}
