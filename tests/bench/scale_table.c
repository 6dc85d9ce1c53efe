/* scale_table.c - see scale_table.h. */
#include "scale_table.h"

#include "rows_inner.h"

#include <stdio.h>
#include <string.h>

#define WIDTH_OF_NAMES 48

/* As many digits as the number deserves; after it how far smallest and largest are apart. */
static void print_values(struct samples *values)
{
    struct summary s = {0};

    if (values == NULL) {
        (void)printf(" %8s       ", "-");
        return;
    }
    s = rows_summarise(values);
    (void)printf(" %8.*f", s.median >= 100 ? 0 : 2, s.median);
    if (values->count > 1 && s.median > 0)
        (void)printf(" %4.0f %%", 100 * (s.max - s.min) / s.median);
    else
        (void)printf("       ");
}

static struct samples *row_of(const char *name, const char *size)
{
    struct rows *rows = rows_all();

    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->list[i].name, name) == 0 && strcmp(rows->list[i].workload, size) == 0)
            return &rows->list[i].metrics[ROW_VALUE];
    return NULL;
}

static struct ratio *ratio_of(const char *name, const char *size)
{
    struct rows *rows = rows_all();

    for (size_t i = 0; i < rows->ratio_count; i++)
        if (strcmp(rows->ratios[i].name, name) == 0 && strcmp(rows->ratios[i].part, size) == 0)
            return &rows->ratios[i];
    return NULL;
}

static void print_head(const char *what, const char *const *sizes, size_t count)
{
    (void)printf("\n%-*s", WIDTH_OF_NAMES, what);
    for (size_t i = 0; i < count; i++)
        (void)printf(" %8s spread", sizes[i]);
    (void)printf("\n");
}

static void print_goal(struct ratio *r)
{
    double goal, median = samples_quantile(&r->values, 0.5);
    bool at_most;

    if (rows_goal(r, &goal, &at_most))
        (void)printf("  %s %s %g: %s", r->part, at_most ? "at most" : "at least", goal,
                     (at_most ? median <= goal : median >= goal) ? "met" : "missed");
}

static void print_ratio(const char *name, const char *const *sizes, size_t count)
{
    struct ratio *last = ratio_of(name, sizes[count - 1]);

    (void)printf("%-*s", WIDTH_OF_NAMES, name);
    for (size_t s = 0; s < count; s++)
        print_values(&ratio_of(name, sizes[s])->values);
    print_goal(last);
    (void)printf("\n");
}

void scale_table_print(const char *const *sizes, size_t count)
{
    struct rows *rows = rows_all();

    print_head("ns an operation, where no unit is named", sizes, count);
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->list[i].workload, sizes[0]) == 0) {
            (void)printf("%-*s", WIDTH_OF_NAMES, rows->list[i].name);
            for (size_t s = 0; s < count; s++)
                print_values(row_of(rows->list[i].name, sizes[s]));
            (void)printf("\n");
        }
    print_head("what there are goals for; ratios are of a round", sizes, count);
    for (size_t i = 0; i < rows->ratio_count; i++)
        if (strcmp(rows->ratios[i].part, sizes[0]) == 0)
            print_ratio(rows->ratios[i].name, sizes, count);
    (void)printf("\n");
    for (size_t i = 0; i < rows->note_count; i++)
        (void)printf("%s\n", rows->notes[i]);
}
