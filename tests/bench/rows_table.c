/* rows_table.c - the results as tables for a person; see rows.h. */
#include "rows_inner.h"

#include <stdio.h>
#include <string.h>

#define WIDTH_OF_NAMES 46
#define WIDTH_OF_WAYS  26

/* A table of the ways to get batches: some metrics, those of them that a row has. */
struct column {
    enum row_metric metric;
    const char *head;
    int width;
};

static const struct column speeds[] = {
    {ROW_INSTANCES, "inst/s", 10},  {ROW_MEGABYTES, "MB/s", 8},    {ROW_CPU_SERVER, "server", 8},
    {ROW_CPU_CLIENT, "client", 8},  {ROW_FIRST, "first ms", 9},    {ROW_SERVER_RSS, "srv MB", 7},
    {ROW_SERVER_PRIVATE, "own", 5}, {ROW_CLIENT_RSS, "cli MB", 7}, {ROW_CLIENT_PRIVATE, "own", 5},
};
static const struct column calls[] = {
    {ROW_NEXT_P50, "next p50", 9},  {ROW_NEXT_P99, "p99 us", 9},   {ROW_REPORT_P50, "rept p50", 9},
    {ROW_REPORT_P99, "p99 us", 9},  {ROW_AGE_MEAN, "age mean", 9}, {ROW_AGE_MAX, "max", 5},
    {ROW_DRAW, "draw %", 8},        {ROW_GATHER, "gather %", 9},   {ROW_SEND, "send %", 8},
    {ROW_RECEIVE, "receive %", 10},
};

/* As many digits as the number deserves. */
static void print_number(int width, double x)
{
    int digits = x >= 100 ? 0 : x >= 10 ? 1 : x >= 1 ? 2 : 3;

    (void)printf(" %*.*f", width, digits, x);
}

static double spread(const struct summary *s)
{
    return s->median > 0 ? 100 * (s->max - s->min) / s->median : 0;
}

static void print_way(struct row *r, const struct column *columns, size_t count)
{
    (void)printf("%-2s %-*s %d", r->workload, WIDTH_OF_WAYS, r->name, r->clients);
    for (size_t i = 0; i < count; i++) {
        struct samples *values = &r->metrics[columns[i].metric];

        if (values->count == 0)
            (void)printf(" %*s", columns[i].width, "-");
        else
            print_number(columns[i].width, rows_summarise(values).median);
        if (columns[i].metric == ROW_INSTANCES) {
            struct summary s = rows_summarise(values);

            (void)printf(" %5.0f %%", spread(&s));
        }
    }
    (void)printf("\n");
}

static void print_ways(const char *what, const struct column *columns, size_t count)
{
    struct rows *rows = rows_all();

    (void)printf("\n%-*s n", WIDTH_OF_WAYS + 3, what);
    for (size_t i = 0; i < count; i++) {
        (void)printf(" %*s", columns[i].width, columns[i].head);
        if (columns[i].metric == ROW_INSTANCES)
            (void)printf("  spread");
    }
    (void)printf("\n");
    for (size_t i = 0; i < rows->count; i++)
        if (rows->list[i].workload[0] != '\0' && rows->list[i].metrics[columns[0].metric].count > 0)
            print_way(&rows->list[i], columns, count);
}

static void print_values(struct samples *values)
{
    struct summary s = rows_summarise(values);

    print_number(11, s.median);
    print_number(11, s.min);
    print_number(11, s.max);
    (void)printf(" %5.0f %%", spread(&s));
}

static void print_head(const char *what, const char *unit, const char *last)
{
    (void)printf("\n%-*s %-12s %11s %11s %11s  spread %s\n", WIDTH_OF_NAMES, what, unit, "median",
                 "smallest", "largest", last);
}

static void print_quantities(void)
{
    struct rows *rows = rows_all();

    print_head("measured", "unit", "");
    for (size_t i = 0; i < rows->count; i++)
        if (rows->list[i].workload[0] == '\0') {
            (void)printf("%-*s %-12s", WIDTH_OF_NAMES, rows->list[i].name, rows->list[i].unit);
            print_values(&rows->list[i].metrics[ROW_VALUE]);
            (void)printf("\n");
        }
}

static void print_goal(struct ratio *r)
{
    double goal, median = samples_quantile(&r->values, 0.5);
    bool at_most;

    if (rows_goal(r, &goal, &at_most))
        (void)printf(" %s %g: %s", at_most ? "at most" : "at least", goal,
                     (at_most ? median <= goal : median >= goal) ? "met" : "missed");
    (void)printf("\n");
}

void rows_print(void)
{
    struct rows *rows = rows_all();

    print_ways("speed; CPU in us/instance", speeds, sizeof speeds / sizeof speeds[0]);
    print_ways("calls, and the daemon's time", calls, sizeof calls / sizeof calls[0]);
    print_quantities();
    print_head("ratios (within a round)", "of", " goal");
    for (size_t i = 0; i < rows->ratio_count; i++) {
        (void)printf("%-*s %-12s", WIDTH_OF_NAMES, rows->ratios[i].name, rows->ratios[i].part);
        print_values(&rows->ratios[i].values);
        print_goal(&rows->ratios[i]);
    }
    if (rows->note_count > 0)
        (void)printf("\n");
    for (size_t i = 0; i < rows->note_count; i++)
        (void)printf("%s\n", rows->notes[i]);
}
