/* permutation.c - a keyed bijection by a Feistel network with cycle walking; see permutation.h. */
#include "permutation.h"

/* Below this a Feistel network has too few bits to look random; a smaller range walks longer. */
#define PERMUTATION_BITS_MIN 8

static unsigned bits_for(uint64_t n)
{
    unsigned bits = PERMUTATION_BITS_MIN;

    while (bits < 32 && (UINT64_C(1) << bits) < n)
        bits++;
    return bits;
}

void permutation_init(struct permutation *p, uint64_t n, struct rng rng, uint64_t epoch)
{
    unsigned bits = bits_for(n);

    p->n = n;
    p->low_bits = bits / 2;
    p->high_bits = bits - p->low_bits;
    for (uint32_t round = 0; round < PERMUTATION_ROUNDS; round++)
        p->keys[round] = rng_at(rng, epoch, round, 0).first;
}

/* One pass through the network. The halves may differ by a bit: even rounds change the low one by
 * the high one, odd rounds the other way; each is undone by doing it again, so all is a bijection.
 */
static uint64_t network(const struct permutation *p, uint64_t x)
{
    uint64_t low_mask = (UINT64_C(1) << p->low_bits) - 1;
    uint64_t high_mask = (UINT64_C(1) << p->high_bits) - 1;
    uint64_t low = x & low_mask, high = x >> p->low_bits;

    for (int round = 0; round < PERMUTATION_ROUNDS; round += 2) {
        low ^= rng_mix(high + p->keys[round]) & low_mask;
        high ^= rng_mix(low + p->keys[round + 1]) & high_mask;
    }
    return high << p->low_bits | low;
}

uint64_t permutation_at(const struct permutation *p, uint64_t position)
{
    uint64_t x = position;

    do
        x = network(p, x);
    while (x >= p->n);
    return x;
}
