/* rng.h - the only randomness: counter-based and keyed, so there is no state to save.
 *
 * A value is a function of (seed, job, purpose) and of where it is used (step, slot, redraw):
 * Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
#ifndef OHEM_RNG_H
#define OHEM_RNG_H

#include <stdint.h>

enum rng_purpose { RNG_DRAW = 1, RNG_PERMUTATION = 2, RNG_SELECT = 3 };

struct rng {
    uint64_t key;
};

struct rng_pair {
    uint64_t first, second; /* independent, uniform over 2^64 */
};

/** The stream of one purpose of one job. */
struct rng rng_make(uint64_t seed, const char *job, enum rng_purpose purpose);

/** The two values at a place of the stream. */
struct rng_pair rng_at(struct rng r, uint64_t step, uint32_t slot, uint32_t redraw);

/** Philox4x32-10 itself, for known answers. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/** x as a number in 0..n-1; n > 0. The bias is below n / 2^64. */
static inline uint64_t rng_below(uint64_t x, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)x * n) >> 64);
}

/** x as a number in [0, 1), with 53 bits. */
static inline double rng_unit(uint64_t x)
{
    return (double)(x >> 11) * 0x1p-53;
}

/** A 64-bit mix (the finaliser of SplitMix64): close inputs, unrelated outputs. */
static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
