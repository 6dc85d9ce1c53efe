/* scale_rounds.h - the measurements of one N, and the ratios made from them. */
#ifndef BENCH_SCALE_ROUNDS_H
#define BENCH_SCALE_ROUNDS_H

#include "scale_ways.h"

/** Every instance's first report, in slices; then rounds of reports and draws.
 *  @param size  the N as rows call it: a literal */
void scale_rounds(struct scale_ways *w, struct scale_world *world, const char *size, int rounds);

#endif
