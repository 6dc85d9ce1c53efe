/* quickselect.h - the peer of the mining step: what std::nth_element and its kin do. */
#ifndef BENCH_QUICKSELECT_H
#define BENCH_QUICKSELECT_H

#include <stdint.h>

/** The value with `rank` values before it in ascending order, rank < count; puts them in disorder.
 *  Numbers only. */
float quickselect(float *values, uint32_t count, uint32_t rank);

#endif
