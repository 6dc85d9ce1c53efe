/* scale_job.h - what an engine with one job of N instances takes to start, in memory, to commit,
 * and to start after its death. */
#ifndef BENCH_SCALE_JOB_H
#define BENCH_SCALE_JOB_H

#include <stdint.h>

/** Every instance is drawn and reported at least once, and all is committed to a state in `dir`.
 *  @param size     the N as rows call it: a literal
 *  @param commits  at least; a small job is gone through more than once */
void scale_job(uint32_t n, const char *dir, const char *size, uint32_t commits);

#endif
