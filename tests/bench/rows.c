/* rows.c - keep the results, and know the goals; see rows.h. */
#include "rows_inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct rows rows;

static const struct {
    const char *name, *part;
    double goal;
    bool at_most;
} goals[] = {
    {"map_vs_rig", "w1", 0.7, false},
    {"map_vs_rig", "w2", 0.9, false},
    {"map_vs_rig", "w3", 0.9, false},
    {"shm_vs_rig", NULL, 0.85, false}, /* NULL: each part */
    {"inline_vs_rig", NULL, 0.85, false},
    {"map_vs_dataloader", "w1", 15, false},
    {"map_vs_dataloader", "w2", 7, false},
    {"map_vs_dataloader", "w3", 3.5, false},
    {"shm_vs_dataloader", "w1", 8, false},
    {"shm_vs_dataloader", "w2", 4, false},
    {"shm_vs_dataloader", "w3", 1.3, false},
    {"biased_vs_uniform", NULL, 0.95, false},
    {"report_rtt_vs_zmq", NULL, 1.3, true},
    {"items_report_vs_three_moves", NULL, 1, true},
    {"selection_choose / quickselect", "K 256", 0.6, true},
    {"selection_choose / quickselect", NULL, 0.35, true}, /* the others */
    {"selection_choose / numpy.partition", NULL, 1, true},
    {"selection_choose / torch.topk", NULL, 1, true},
    /* of bench-scale; its binary tree by batches has none: no library that we know of has one */
    {"first report: binary tree / ohemd", "10^8", 1.5, false},
    {"first report: Fenwick tree / ohemd", "10^8", 1.5, false},
    {"trace: binary tree / ohemd", "10^8", 1.5, false},
    {"trace: Fenwick tree / ohemd", "10^8", 1.5, false},
    {"one bucket: binary tree / ohemd", "10^8", 1.5, false},
    {"one bucket: Fenwick tree / ohemd", "10^8", 1.5, false},
    {"draw: binary tree / ohemd", "10^8", 5, false},
    {"draw: Fenwick tree / ohemd", "10^8", 5, false},
    {"bytes: score, visits, variance, step, place, id", "10^8", 20, true},
    {"pause of the loop in a commit, ms, p99", NULL, 2, true},
    {"... by the CPU time of its thread, p99", NULL, 2, true},
};

struct rows *rows_all(void)
{
    return &rows;
}

bool rows_goal(const struct ratio *r, double *goal, bool *at_most)
{
    for (size_t i = 0; i < sizeof goals / sizeof goals[0]; i++)
        if (strcmp(goals[i].name, r->name) == 0 &&
            (goals[i].part == NULL || strcmp(goals[i].part, r->part) == 0)) {
            *goal = goals[i].goal;
            *at_most = goals[i].at_most;
            return true;
        }
    return false;
}

struct summary rows_summarise(struct samples *s)
{
    return (struct summary){.median = samples_quantile(s, 0.5),
                            .min = samples_quantile(s, 0),
                            .max = samples_quantile(s, 1)};
}

static struct row *row_find(const char *workload, const char *name, int clients, const char *unit)
{
    size_t i = 0;

    while (i < rows.count &&
           (strcmp(rows.list[i].workload, workload) != 0 || strcmp(rows.list[i].name, name) != 0 ||
            rows.list[i].clients != clients))
        i++;
    if (i == ROWS_MAX)
        die("row '%s' is over the limit of %d rows", name, ROWS_MAX);
    if (i == rows.count)
        rows.list[rows.count++] =
            (struct row){.workload = workload, .name = name, .unit = unit, .clients = clients};
    return &rows.list[i];
}

void row_add(const char *name, const char *unit, double value)
{
    samples_add(&row_find("", name, 0, unit)->metrics[ROW_VALUE], value);
}

void row_add_metric(const char *workload, const char *name, int clients, enum row_metric metric,
                    double value)
{
    samples_add(&row_find(workload, name, clients, "")->metrics[metric], value);
}

void ratio_add_part(const char *name, const char *part, double value)
{
    size_t i = 0;

    while (i < rows.ratio_count &&
           (strcmp(rows.ratios[i].name, name) != 0 || strcmp(rows.ratios[i].part, part) != 0))
        i++;
    if (i == RATIOS_MAX)
        die("ratio '%s' is over the limit of %d", name, RATIOS_MAX);
    if (i == rows.ratio_count)
        rows.ratios[rows.ratio_count++] = (struct ratio){.name = name, .part = part};
    samples_add(&rows.ratios[i].values, value);
}

void ratio_add(const char *name, double value)
{
    ratio_add_part(name, "", value);
}

void rows_note(const char *format, ...)
{
    va_list arguments;

    if (rows.note_count == NOTES_MAX)
        return;
    va_start(arguments, format);
    (void)vsnprintf(rows.notes[rows.note_count++], NOTE_BYTES_MAX, format, arguments);
    va_end(arguments);
}
