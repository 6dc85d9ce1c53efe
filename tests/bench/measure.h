/* measure.h - what every measurement needs: a clock, samples, and rows of results.
 *
 * A row is one quantity; each round of the bench adds a value, and what is shown is the median with
 * the smallest and the largest, so that a noisy machine shows as one. A ratio is made within a
 * round, from values measured a moment apart. One thread; a bench that cannot go on ends (die).
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_ROUNDS_MAX 16

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

/** Add a round's value to the row of that name and unit, which is made when it is new. */
void row_add(const char *name, const char *unit, double value);

/** The same for a ratio. */
void ratio_add(const char *name, double value);

/** Print all rows in the order in which they came. */
void rows_print(void);

/** Write {"machine", "rows", "ratios"} to a file. */
void rows_write(const char *path, bool quick);

#endif
