/* measure.c - clock and samples; see measure.h. The rows are in rows.c. */
#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES_FIRST 4096

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
    uint64_t sum = 0, word;
    size_t i = 0;

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
