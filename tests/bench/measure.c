/* measure.c - clock, samples, times; see measure.h. */
#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES_FIRST 16
#define LANES         4 /* sums that do not wait for each other */

/* Two words: what every x86-64 and arm64 adds at once. */
typedef uint64_t vector __attribute__((vector_size(16)));

static volatile uint64_t kept;

void die(const char *format, ...)
{
    va_list arguments;

    (void)fputs("bench: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(1);
}

uint64_t measure_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t measure_sum(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    vector sums[LANES] = {{0}}, words[LANES];
    uint64_t sum, word;
    size_t i = 0;

    for (; i + sizeof words <= size; i += sizeof words) {
        memcpy(words, bytes + i, sizeof words);
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += words[lane];
    }
    sums[0] += sums[1] + sums[2] + sums[3];
    sum = sums[0][0] + sums[0][1];
    for (; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    for (; i < size; i++)
        sum += bytes[i];
    return sum;
}

void measure_keep(uint64_t value)
{
    kept += value;
}

/* ---- samples ---- */

void samples_add(struct samples *s, double value)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? SAMPLES_FIRST : 2 * s->capacity;
        s->values = realloc(s->values, s->capacity * sizeof *s->values);
        if (s->values == NULL)
            die("out of memory for %zu samples", s->capacity);
    }
    s->values[s->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_quantile(struct samples *s, double q)
{
    if (s->count == 0)
        return 0;
    qsort(s->values, s->count, sizeof *s->values, compare);
    return s->values[(size_t)(q * (double)(s->count - 1) + 0.5)];
}

void samples_deinit(struct samples *s)
{
    free(s->values);
    *s = (struct samples){0};
}

/* ---- times ---- */

/* Below TIMES_STEPS each nanosecond has a bucket; above, each octave has TIMES_STEPS. */
static uint32_t bucket_of(uint64_t ns)
{
    uint32_t octave, bucket;

    if (ns < TIMES_STEPS)
        return (uint32_t)ns;
    octave = 63u - (uint32_t)__builtin_clzll(ns) - 6;
    bucket = octave * TIMES_STEPS + (uint32_t)(ns >> octave);
    return bucket < TIMES_BUCKETS ? bucket : TIMES_BUCKETS - 1;
}

static double middle_of(uint32_t bucket)
{
    uint32_t octave;

    if (bucket < TIMES_STEPS)
        return bucket;
    octave = bucket / TIMES_STEPS - 1;
    return ((double)(bucket - octave * TIMES_STEPS) + 0.5) * (double)(UINT64_C(1) << octave);
}

void times_add(struct times *t, uint64_t ns)
{
    t->buckets[bucket_of(ns)]++;
    t->count++;
}

void times_merge(struct times *into, const struct times *from)
{
    for (uint32_t i = 0; i < TIMES_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
}

double times_quantile_us(const struct times *t, double q)
{
    uint64_t before = 0, rank = (uint64_t)(q * (double)(t->count - (t->count > 0)) + 0.5);

    for (uint32_t i = 0; i < TIMES_BUCKETS; i++) {
        before += t->buckets[i];
        if (before > rank)
            return middle_of(i) / 1e3;
    }
    return 0;
}
