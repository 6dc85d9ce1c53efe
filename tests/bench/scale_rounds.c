/* scale_rounds.c - see scale_rounds.h.
 *
 * A round gives one slice of reports to every way; then each draws. Each round begins with another
 * way. What others do to the machine makes a round be measured again, with new reports.
 */
#include "scale_rounds.h"

#include "measure.h"
#include "quiet.h"

#include <math.h>
#include <stdio.h>

#define DRAWS          (SCALE_SLICE_MAX >> 1)
#define CHECKED        65536u /* draws whose mean score is compared */
#define MEANS_APART    0.1    /* at most; they are heavy in the tail */
#define NAME_BYTES_MAX 64

#define DRAW SCALE_KINDS /* beside the kinds of reports */

/* What a round measures: ns per operation. */
struct round {
    struct scale_ways *ways;
    struct scale_world *world;
    enum scale_kind kind;
    uint32_t count; /* of the slice */
    int number;     /* of the round */
    bool done;      /* no first report was left */
    double ns[SCALE_WAYS];
};

static const char *const operations[SCALE_KINDS + 1] = {
    [SCALE_FIRST] = "first report",
    [SCALE_TRACE] = "trace",
    [SCALE_STEP] = "one bucket",
    [DRAW] = "draw",
};

/* What is compared with ours, of each operation. */
static const struct {
    const char *name;
    enum scale_way_index theirs;
} pairs[] = {
    {"binary tree / ohemd", SCALE_BINARY},
    {"Fenwick tree / ohemd", SCALE_FENWICK},
    {"binary tree by batches / ohemd", SCALE_BINARY_BATCHED},
};

#define PAIRS (sizeof pairs / sizeof pairs[0])

static struct scale_slice slice;
static uint32_t drawn[DRAWS];

/* ---- measuring ---- */

struct range {
    uint32_t first, count;
};

static struct range range_of(enum scale_part part)
{
    uint32_t half = slice.count / 2;

    switch (part) {
    case SCALE_WHOLE:
        return (struct range){0, slice.count};
    case SCALE_FIRST_HALF:
        return (struct range){0, half};
    case SCALE_SECOND_HALF:
        return (struct range){half, slice.count - half};
    case SCALE_NONE:
        break;
    }
    return (struct range){0};
}

static void report_one_way(struct round *r, int way)
{
    struct range range = range_of(scale_way_list[way].part);
    uint64_t began = measure_now_ns();

    for (uint32_t done = 0; done < range.count; done += SCALE_BATCH) {
        uint32_t left = range.count - done;

        scale_way_list[way].report(r->ways, &slice, range.first + done,
                                   left < SCALE_BATCH ? left : SCALE_BATCH);
    }
    r->ns[way] = range.count > 0 ? (double)(measure_now_ns() - began) / range.count : 0;
}

static void report_all(void *ctx)
{
    struct round *r = ctx;

    r->done = !scale_world_next(r->world, r->kind, r->count, &slice);
    for (int i = 0; i < SCALE_WAYS && !r->done; i++)
        report_one_way(r, (i + r->number) % SCALE_WAYS);
}

static double mean_score(const struct scale_world *w)
{
    double sum = 0;

    for (uint32_t i = 0; i < CHECKED; i++)
        sum += w->scores[drawn[i]];
    return sum / CHECKED;
}

static double draw_one_way(struct round *r, int way)
{
    uint64_t began = measure_now_ns();

    for (uint32_t i = 0; i < DRAWS; i += SCALE_BATCH)
        scale_way_list[way].draw(r->ways, drawn + i);
    r->ns[way] = (double)(measure_now_ns() - began) / DRAWS;
    return mean_score(r->world);
}

/* All must draw alike: trees by the scores themselves, ours by the buckets' middles. */
static void draw_all(void *ctx)
{
    struct round *r = ctx;
    double means[SCALE_WAYS];

    for (int i = 0; i < SCALE_WAYS; i++) {
        int way = (i + r->number) % SCALE_WAYS;

        means[way] = draw_one_way(r, way);
    }
    for (int way = 0; way < SCALE_WAYS; way++)
        if (scale_way_list[way].part != SCALE_NONE &&
            fabs(means[way] / means[SCALE_BINARY] - 1) > MEANS_APART)
            die("%s draws a mean score of %g, the binary tree %g", scale_way_list[way].name,
                means[way], means[SCALE_BINARY]);
}

/* ---- what comes of it ---- */

/* Names have to live as long as the program. */
static const char *name_of(int operation, size_t i, const char *what)
{
    static char names[SCALE_KINDS + 1][SCALE_WAYS + PAIRS][NAME_BYTES_MAX];
    char *name = names[operation][i];

    (void)snprintf(name, NAME_BYTES_MAX, "%s: %s", operations[operation], what);
    return name;
}

static void add_round(const struct round *r, int operation, const char *size)
{
    for (size_t way = 0; way < SCALE_WAYS; way++)
        if (r->ns[way] > 0)
            row_add_metric(size, name_of(operation, way, scale_way_list[way].name), 0, ROW_VALUE,
                           r->ns[way]);
    for (size_t i = 0; i < PAIRS; i++)
        ratio_add_part(name_of(operation, SCALE_WAYS + i, pairs[i].name), size,
                       r->ns[pairs[i].theirs] / r->ns[SCALE_ENGINE]);
}

static void report_round(struct round *r, enum scale_kind kind, uint32_t count, const char *size)
{
    r->kind = kind;
    r->count = count < SCALE_SLICE_MAX ? count : SCALE_SLICE_MAX;
    quiet_run(report_all, r);
    if (!r->done)
        add_round(r, (int)kind, size);
}

void scale_rounds(struct scale_ways *w, struct scale_world *world, const char *size, int rounds)
{
    uint32_t tenth = w->n / 10 / (2 * SCALE_BATCH) * (2 * SCALE_BATCH);
    uint32_t half = w->n / 2 / (2 * SCALE_BATCH) * (2 * SCALE_BATCH);
    struct round r = {.ways = w, .world = world};

    for (; !r.done; r.number++)
        report_round(&r, SCALE_FIRST, tenth, size);
    for (r.number = 0; r.number < rounds; r.number++) {
        report_round(&r, SCALE_TRACE, half, size);
        report_round(&r, SCALE_STEP, half, size);
        quiet_run(draw_all, &r);
        add_round(&r, DRAW, size);
    }
}
