/* rows_inner.h - the rows themselves, for rows.c, which keeps them, and those that show them. */
#ifndef BENCH_ROWS_INNER_H
#define BENCH_ROWS_INNER_H

#include "measure.h"

#define ROWS_MAX       240
#define RATIOS_MAX     128
#define NOTES_MAX      16
#define NOTE_BYTES_MAX 160

struct row {
    const char *workload; /* "": it is one quantity, ROW_VALUE, in this unit */
    const char *name, *unit;
    int clients;
    struct samples metrics[ROW_METRIC_COUNT];
};

struct ratio {
    const char *name, *part;
    struct samples values;
};

struct rows {
    struct row list[ROWS_MAX];
    struct ratio ratios[RATIOS_MAX];
    char notes[NOTES_MAX][NOTE_BYTES_MAX];
    size_t count, ratio_count, note_count;
};

/* What the values of the rounds come to. */
struct summary {
    double median, min, max;
};

struct rows *rows_all(void);
struct summary rows_summarise(struct samples *s);

/** What a ratio should be: at least `goal`, or at most. @return false: nothing is said of it. */
bool rows_goal(const struct ratio *r, double *goal, bool *at_most);

#endif
