/* permutation.c - a keyed bijection by a Feistel network with cycle walking; see permutation.h. */
#include "permutation.h"

/* Below this a Feistel network has too few bits to look random; a smaller range walks longer. */
#define PERMUTATION_BITS_MIN 8

#define RUN_BLOCK 256 /* positions that walk together */

static unsigned bits_for(uint64_t n)
{
    unsigned bits = PERMUTATION_BITS_MIN;

    while (bits < 32 && (UINT64_C(1) << bits) < n)
        bits++;
    return bits;
}

/* A round of a small half has few arguments: each is worked out once per epoch. */
static void fill_table(struct permutation *p)
{
    uint64_t low_mask = (UINT64_C(1) << p->low_bits) - 1;
    uint64_t high_mask = (UINT64_C(1) << p->high_bits) - 1;

    for (unsigned round = 0; round < PERMUTATION_ROUNDS; round++)
        for (uint64_t half = 0; half <= high_mask; half++)
            p->table[round][half] = (uint16_t)(rng_mix(half + p->keys[round]) &
                                               (round % 2 == 0 ? low_mask : high_mask));
}

void permutation_init(struct permutation *p, uint64_t n, struct rng rng, uint64_t epoch)
{
    unsigned bits = bits_for(n);

    p->n = n;
    p->low_bits = bits / 2;
    p->high_bits = bits - p->low_bits;
    for (uint32_t round = 0; round < PERMUTATION_ROUNDS; round++)
        p->keys[round] = rng_at(rng, epoch, round, 0).first;
    p->tabled = p->high_bits <= PERMUTATION_TABLE_BITS_MAX;
    if (p->tabled)
        fill_table(p);
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

/* The same from the table. Written out, since gcc -O2 leaves so short a loop as it is. */
static inline uint64_t network_tabled(const struct permutation *p, uint64_t x)
{
    uint64_t low = x & ((UINT64_C(1) << p->low_bits) - 1), high = x >> p->low_bits;

    low ^= p->table[0][high];
    high ^= p->table[1][low];
    low ^= p->table[2][high];
    high ^= p->table[3][low];
    low ^= p->table[4][high];
    high ^= p->table[5][low];
    low ^= p->table[6][high];
    high ^= p->table[7][low];
    return high << p->low_bits | low;
}

static inline uint64_t pass(const struct permutation *p, uint64_t x)
{
    return p->tabled ? network_tabled(p, x) : network(p, x);
}

uint64_t permutation_at(const struct permutation *p, uint64_t position)
{
    uint64_t x = position;

    do
        x = pass(p, x);
    while (x >= p->n);
    return x;
}

/* One more pass for each of the places that a list names. The chains are independent, so they
 * overlap; whether one is out of the range is counted, not branched on: nobody could foresee it.
 * @return how many are still out of the range; they are the list now. */
static uint32_t walk_on(const struct permutation *restrict p, uint32_t *restrict out,
                        uint32_t *restrict places, uint32_t count)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = places[i];
        uint64_t x = pass(p, out[place]);

        out[place] = (uint32_t)x;
        places[left] = place;
        left += x >= p->n;
    }
    return left;
}

static void run_block(const struct permutation *restrict p, uint64_t position, uint32_t count,
                      uint32_t *restrict out)
{
    uint32_t places[RUN_BLOCK], left = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t x = pass(p, position + i);

        out[i] = (uint32_t)x;
        places[left] = i;
        left += x >= p->n;
    }
    while (left > 0)
        left = walk_on(p, out, places, left);
}

void permutation_run(const struct permutation *p, uint64_t position, uint32_t count, uint32_t *out)
{
    for (; count > RUN_BLOCK; count -= RUN_BLOCK) {
        run_block(p, position, RUN_BLOCK, out);
        position += RUN_BLOCK;
        out += RUN_BLOCK;
    }
    run_block(p, position, count, out);
}
