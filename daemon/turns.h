/* turns.h - how long the loop's turns take: a histogram by the bits of the time, 8 buckets an
 * octave.
 *
 * Quantiles are upper edges of buckets: at most 13 % too high.
 */
#ifndef OHEMD_TURNS_H
#define OHEMD_TURNS_H

#include <stdint.h>

#define TURNS_BUCKETS 512 /* 64 octaves */

struct turns {
    uint64_t counts[TURNS_BUCKETS];
    uint64_t count, max_ns;
};

void turns_add(struct turns *t, uint64_t ns);

/** The time that a share q (0..1) of the turns did not exceed; 0 when there was none. */
uint64_t turns_quantile_ns(const struct turns *t, double q);

#endif
