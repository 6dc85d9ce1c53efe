/* rng.c - Philox4x32-10 as a function of where a number is used; see rng.h. */
#include "rng.h"

#define PHILOX_ROUNDS 10
#define PHILOX_M0     UINT32_C(0xD2511F53)
#define PHILOX_M1     UINT32_C(0xCD9E8D57)
#define PHILOX_W0     UINT32_C(0x9E3779B9)
#define PHILOX_W1     UINT32_C(0xBB67AE85)

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct rng rng_make(uint64_t seed, const char *job, enum rng_purpose purpose)
{
    uint64_t key = rng_mix(seed + UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)purpose);

    for (; *job != '\0'; job++)
        key = rng_mix(key + UINT64_C(0x9e3779b97f4a7c15) + (unsigned char)*job);
    return (struct rng){.key = key};
}

struct rng_pair rng_at(struct rng r, uint64_t step, uint32_t slot, uint32_t redraw)
{
    uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), slot, redraw};
    uint32_t key[2] = {(uint32_t)r.key, (uint32_t)(r.key >> 32)};
    uint32_t out[4];

    rng_philox(counter, key, out);
    return (struct rng_pair){
        .first = (uint64_t)out[1] << 32 | out[0],
        .second = (uint64_t)out[3] << 32 | out[2],
    };
}
