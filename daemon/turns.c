/* turns.c - see turns.h. */
#include "turns.h"

#define BITS 3 /* of the mantissa: 8 buckets an octave */

/* Below 2^BITS a bucket holds one number; above, the leading bit and the BITS behind it tell. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned octave;

    if (ns < 1u << BITS)
        return (unsigned)ns;
    octave = 63u - (unsigned)__builtin_clzll(ns);
    return ((octave - BITS + 1) << BITS) + (unsigned)(ns >> (octave - BITS) & ((1u << BITS) - 1));
}

/* The largest number in a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    unsigned octave = bucket >> BITS;
    uint64_t low = bucket & ((1u << BITS) - 1);

    if (octave == 0)
        return bucket;
    return (((UINT64_C(1) << BITS) + low + 1) << (octave - 1)) - 1;
}

void turns_add(struct turns *t, uint64_t ns)
{
    t->counts[bucket_of(ns)]++;
    t->count++;
    if (ns > t->max_ns)
        t->max_ns = ns;
}

uint64_t turns_quantile_ns(const struct turns *t, double q)
{
    double wanted = q * (double)t->count;
    uint64_t below = 0;

    for (unsigned b = 0; b < TURNS_BUCKETS && t->count > 0; b++) {
        below += t->counts[b];
        if ((double)below >= wanted && below > 0)
            return bucket_end(b) < t->max_ns ? bucket_end(b) : t->max_ns;
    }
    return t->max_ns;
}
