/* rows.c - the results, as a table for a person and as JSON for a program; see measure.h. */
#include "measure.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zmq.h>

#define ROWS_MAX       96
#define CPU_BYTES      128
#define RATIO_UNIT     "x"
#define WIDTH_OF_NAMES 46

struct row {
    const char *name, *unit; /* literals */
    double values[MEASURE_ROUNDS_MAX];
    size_t count;
};

/* What a row comes to. */
struct summary {
    double median, min, max;
};

static struct row rows[ROWS_MAX];
static size_t row_count;

void row_add(const char *name, const char *unit, double value)
{
    size_t i = 0;

    while (i < row_count && strcmp(rows[i].name, name) != 0)
        i++;
    if (i == ROWS_MAX || rows[i].count == MEASURE_ROUNDS_MAX)
        die("row '%s' is over the limit of %d rows of %d values", name, ROWS_MAX,
            MEASURE_ROUNDS_MAX);
    if (i == row_count)
        rows[row_count++] = (struct row){.name = name, .unit = unit};
    rows[i].values[rows[i].count++] = value;
}

void ratio_add(const char *name, double value)
{
    row_add(name, RATIO_UNIT, value);
}

static bool is_ratio(const struct row *r)
{
    return strcmp(r->unit, RATIO_UNIT) == 0;
}

static struct summary summarise(const struct row *r)
{
    struct samples s = {0};
    struct summary out;

    for (size_t i = 0; i < r->count; i++)
        samples_add(&s, r->values[i]);
    out.median = samples_quantile(&s, 0.5);
    out.min = s.values[0];
    out.max = s.values[s.count - 1];
    samples_deinit(&s);
    return out;
}

/* As many digits as the number deserves. */
static void print_number(double x)
{
    int digits = x >= 1000 ? 0 : x >= 100 ? 1 : x >= 1 ? 2 : 4;

    (void)printf(" %12.*f", digits, x);
}

static void print_row(const struct row *r)
{
    struct summary s = summarise(r);

    (void)printf("%-*s %-12s", WIDTH_OF_NAMES, r->name, r->unit);
    print_number(s.median);
    print_number(s.min);
    print_number(s.max);
    (void)printf(" %5.0f %%\n", s.median > 0 ? 100 * (s.max - s.min) / s.median : 0);
}

static void print_head(const char *what)
{
    (void)printf("\n%-*s %-12s %12s %12s %12s %7s\n", WIDTH_OF_NAMES, what, "unit", "median",
                 "smallest", "largest", "spread");
}

void rows_print(void)
{
    print_head("measured");
    for (size_t i = 0; i < row_count; i++)
        if (!is_ratio(&rows[i]))
            print_row(&rows[i]);
    print_head("ratios (within a round)");
    for (size_t i = 0; i < row_count; i++)
        if (is_ratio(&rows[i]))
            print_row(&rows[i]);
}

/* The first "model name" of /proc/cpuinfo, or "unknown". */
static void read_cpu(char out[CPU_BYTES])
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    (void)snprintf(out, CPU_BYTES, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');

        if (colon == NULL || strncmp(line, "model name", strlen("model name")) != 0)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        (void)snprintf(out, CPU_BYTES, "%s", colon + strspn(colon, ": \t"));
        break;
    }
    if (file != NULL)
        (void)fclose(file);
}

static json_t *json_machine(bool quick)
{
    struct utsname system = {.release = "?"};
    char cpu[CPU_BYTES], zmq[32];
    int major, minor, patch;

    read_cpu(cpu);
    (void)uname(&system);
    zmq_version(&major, &minor, &patch);
    (void)snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b}", "cpu", cpu, "processors",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", system.release, "machine",
                     system.machine, "compiler", __VERSION__, "zmq", zmq, "quick", (int)quick);
}

static json_t *json_row(const struct row *r)
{
    struct summary s = summarise(r);
    json_t *values = json_array();

    for (size_t i = 0; i < r->count; i++)
        (void)json_array_append_new(values, json_real(r->values[i]));
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:o}", "name", r->name, "unit", r->unit, "median",
                     s.median, "min", s.min, "max", s.max, "values", values);
}

void rows_write(const char *path, bool quick)
{
    json_t *list = json_array(), *ratios = json_object(), *all;

    for (size_t i = 0; i < row_count; i++) {
        (void)json_array_append_new(list, json_row(&rows[i]));
        if (is_ratio(&rows[i]))
            (void)json_object_set_new(ratios, rows[i].name, json_real(summarise(&rows[i]).median));
    }
    all = json_pack("{s:o, s:o, s:o}", "machine", json_machine(quick), "rows", list, "ratios",
                    ratios);
    if (all == NULL || json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0)
        die("cannot write '%s'", path);
    json_decref(all);
}
