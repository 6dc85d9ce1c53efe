/* permutation.h - the epoch's order: a keyed bijection of 0..n-1 that needs no array.
 *
 * A Feistel network on the next power of two, with cycle walking back into the range (Black and
 * Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). A position is one integer, so an
 * epoch can be left and entered anywhere.
 */
#ifndef OHEM_PERMUTATION_H
#define OHEM_PERMUTATION_H

#include "rng.h"

#include <stdbool.h>

#define PERMUTATION_ROUNDS 8
/* Halves of so many bits (n to 2^22) have their rounds in tables, which stay in the L1 cache. */
#define PERMUTATION_TABLE_BITS_MAX 11
/* The used starts of the rows lie on different lines of the cache: rows of 4096 bytes would not. */
#define PERMUTATION_TABLE_ROW ((1u << PERMUTATION_TABLE_BITS_MAX) + 256)

struct permutation {
    uint64_t n;                        /* size of the domain, 1..2^32 */
    unsigned low_bits, high_bits;      /* the two halves; low <= high */
    uint64_t keys[PERMUTATION_ROUNDS]; /* one per round */
    bool tabled;                       /* is the table used? */
    /* [round][half] what a round takes from a half */
    uint16_t table[PERMUTATION_ROUNDS][PERMUTATION_TABLE_ROW];
};

/** The order of one epoch of one job. */
void permutation_init(struct permutation *p, uint64_t n, struct rng rng, uint64_t epoch);

/** What stands at a position; position < n. Expected below 2 walks for n >= 2^8. */
uint64_t permutation_at(const struct permutation *p, uint64_t position);

/** What stands at `count` positions from `position` on; position + count <= n. */
void permutation_run(const struct permutation *p, uint64_t position, uint32_t count, uint32_t *out);

#endif
