/* measure.h - what every measurement needs: a clock, samples, a histogram of times.
 *
 * One thread. A bench that cannot go on ends (die). The results' rows are in rows.h.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_NS_PER_S 1e9

/** Print one line and exit with 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

uint64_t measure_now_ns(void);

/** Read every byte, as cheaply as can be: the sum of the words. */
uint64_t measure_sum(const void *data, size_t size);

/** Keep the compiler from leaving out what led to this value. */
void measure_keep(uint64_t value);

struct samples {
    double *values;
    size_t count, capacity;
};

void samples_add(struct samples *s, double value);

/** Quantile q (0..1) by nearest rank; sorts. 0 when there are none. */
double samples_quantile(struct samples *s, double q);
void samples_deinit(struct samples *s);

/* Times in nanoseconds by their highest bits: of a fixed size, so that a process can send it to
 * another, and right to 1/64. */
#define TIMES_STEPS   64u /* per octave */
#define TIMES_BUCKETS (TIMES_STEPS * 36u)

struct times {
    uint64_t count;
    uint32_t buckets[TIMES_BUCKETS];
};

void times_add(struct times *t, uint64_t ns);
void times_merge(struct times *into, const struct times *from);

/** Quantile q (0..1) in microseconds; 0 when there are none. */
double times_quantile_us(const struct times *t, double q);

#endif
