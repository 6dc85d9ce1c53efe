/* loss.h - the loss of an instance at a step: a fixed hash, so that anyone can tell it again.
 *
 * In 1/2^20 from 0 to 16, exact in float32; of 1024 some 16 are negative and 4 are no number.
 * judge.py has the same in Python.
 */
#ifndef CHAOS_LOSS_H
#define CHAOS_LOSS_H

#include <math.h>
#include <stdint.h>

/* splitmix64's last steps */
static inline uint64_t chaos_hash(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline float chaos_loss(uint64_t id, uint64_t step)
{
    uint64_t h = chaos_hash((step + 1) * UINT64_C(0x9e3779b97f4a7c15) + id);
    float loss = (float)(h >> 40) / 1048576.0f;

    if (h % 1024 < 4)
        return NAN;
    return h % 1024 < 20 ? -loss : loss;
}

#endif
