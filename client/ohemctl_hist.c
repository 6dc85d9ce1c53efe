/* ohemctl_hist.c - the hardness histogram as bars; see ohemctl.h.
 *
 * The daemon's buckets are an eighth of an octave. Neighbours are merged, two, four and so on,
 * until the rows fit a screen. Empty stretches between them take one line: instances that the model
 * has learned lie at 0, far below the rest.
 */
#include "ohemctl.h"

#include <math.h>
#include <stdio.h>

#define ROWS_MAX        30
#define BUCKETS         256 /* the daemon's: 8 per octave from 2^-20 to 2^12 */
#define OCTAVE_BUCKETS  8
#define EXPONENT_MIN    (-20)
#define PREFIX_COLUMNS  45 /* range, count and share, before the bar */
#define BAR_COLUMNS_MIN 10

/* The lower edge of a bucket. */
static double edge(int bucket)
{
    return ldexp(1 + (bucket % OCTAVE_BUCKETS) / (double)OCTAVE_BUCKETS,
                 bucket / OCTAVE_BUCKETS + EXPONENT_MIN);
}

/* The bucket that begins at this score; the lowest one begins at 0. */
static int bucket_of(double floor_score)
{
    int exponent;
    double mantissa = 2 * frexp(floor_score, &exponent); /* 1..2 */
    double place = (exponent - 1 - EXPONENT_MIN + mantissa - 1) * OCTAVE_BUCKETS;

    if (!(floor_score > edge(0)))
        return 0;
    return place < BUCKETS - 1 ? (int)(place + 0.5) : BUCKETS - 1;
}

static void read_counts(const json_t *buckets, double counts[BUCKETS])
{
    const json_t *b;
    size_t i;

    json_array_foreach (buckets, i, b) {
        double members = json_real_at(b, "count");

        if (members > 0)
            counts[bucket_of(json_real_at(b, "floor"))] += members;
    }
}

static double row_count(const double counts[BUCKETS], int first, int merged)
{
    double sum = 0;

    for (int i = first; i < first + merged; i++)
        sum += counts[i];
    return sum;
}

/* Lines for a merging: rows that hold something, and one for each stretch between them. */
static int count_lines(const double counts[BUCKETS], int merged)
{
    int lines = 0;
    int last = -1;

    for (int row = 0; row < BUCKETS / merged; row++) {
        if (row_count(counts, row * merged, merged) <= 0)
            continue;
        lines += 1 + (last >= 0 && row > last + 1);
        last = row;
    }
    return lines;
}

static void print_row(const double counts[BUCKETS], int first, int merged, double all, double most)
{
    double members = row_count(counts, first, merged);
    int columns = text_columns() - PREFIX_COLUMNS;
    char ceiling[16] = "";

    if (first + merged < BUCKETS)
        (void)snprintf(ceiling, sizeof ceiling, "%.4g", edge(first + merged));
    (void)printf("%10.4g .. %-10s %10.0f %5.1f %%  ", first > 0 ? edge(first) : 0.0, ceiling,
                 members, 100 * members / all);
    text_bar(members / most, columns > BAR_COLUMNS_MIN ? columns : BAR_COLUMNS_MIN);
    (void)putchar('\n');
}

static void print_rows(const double counts[BUCKETS], int merged, double all)
{
    double most = 0;
    int last = -1;

    for (int row = 0; row < BUCKETS / merged; row++)
        most = fmax(most, row_count(counts, row * merged, merged));
    for (int row = 0; row < BUCKETS / merged; row++) {
        if (row_count(counts, row * merged, merged) <= 0)
            continue;
        if (last >= 0 && row > last + 1)
            (void)printf("%10s\n", ":");
        print_row(counts, row * merged, merged, all, most);
        last = row;
    }
}

static void print_summary(const json_t *hardness)
{
    static const struct table_column columns[] = {
        {"MEAN", true}, {"QUANTILES:", true}, {"0.01", true}, {"0.1", true}, {"0.25", true},
        {"0.5", true},  {"0.75", true},       {"0.9", true},  {"0.99", true}};
    const json_t *quantiles = json_object_get(hardness, "quantiles");
    struct table *t = table_new(columns, sizeof columns / sizeof columns[0]);

    table_add_real(t, json_real_at(hardness, "mean"));
    table_add_text(t, "");
    for (size_t i = 2; i < sizeof columns / sizeof columns[0]; i++)
        table_add_real(t, json_real_at(quantiles, columns[i].title));
    (void)putchar('\n');
    table_print(t, "");
}

void view_hist(const json_t *hardness)
{
    double scored = json_real_at(hardness, "scored_count");
    double counts[BUCKETS] = {0};
    int merged = 1;

    (void)printf("%.0f instances scored, %.0f not yet\n", scored,
                 json_real_at(hardness, "unscored_count"));
    if (!(scored > 0))
        return;
    read_counts(json_object_get(hardness, "buckets"), counts);
    while (merged < BUCKETS && count_lines(counts, merged) > ROWS_MAX)
        merged *= 2;
    (void)printf("\n%10s    %-10s %10s %7s\n", "SCORE", "BELOW", "INSTANCES", "SHARE");
    print_rows(counts, merged, scored);
    print_summary(hardness);
}
