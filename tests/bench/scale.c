/* scale.c - how does the heart grow with the data set? 10^6 to 10^8 instances without payload.
 *
 *     scale [-q] [-s] TRACE TORCH_SCRIPT STATE_DIR JSON_FILE
 *
 * What an engine takes to start, in memory, to commit and to recover; ns per draw and per report,
 * next to a binary float sum tree and a Fenwick tree of the same N, in the same rounds; torch's
 * WeightedRandomSampler. -q takes 10^5 and 10^6 and fewer rounds, -s does without huge pages.
 */
#include "measure.h"
#include "quiet.h"
#include "scale_job.h"
#include "scale_rounds.h"
#include "scale_table.h"
#include "scale_trace.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TORCH_MAX (1u << 24)         /* categories of torch.multinomial() */
#define PYTHON    "/usr/bin/python3" /* the system's, which has the system's packages */

#define MMAP_BYTES (128 << 10)
#define SIZES_MAX  3

/* What is run. */
struct plan {
    uint32_t sizes[SIZES_MAX];
    const char *names[SIZES_MAX];
    size_t count;
    int rounds, torch_rounds;
    uint32_t commits; /* at least */
    double repeat_s;  /* for measurements that were disturbed */
};

static const struct plan whole = {.sizes = {1000000, 10000000, 100000000},
                                  .names = {"10^6", "10^7", "10^8"},
                                  .count = 3,
                                  .rounds = 9,
                                  .torch_rounds = 3,
                                  .commits = 150,
                                  .repeat_s = 90};
static const struct plan quick = {.sizes = {100000, 1000000},
                                  .names = {"10^5", "10^6"},
                                  .count = 2,
                                  .rounds = 3,
                                  .torch_rounds = 1,
                                  .commits = 20};

struct options {
    bool quick, small_pages;
    const char *trace, *torch, *state, *json;
};

static void run_ways(uint32_t n, const char *size, int rounds)
{
    static struct scale_world world;
    static struct scale_ways ways;

    scale_world_init(&world, n);
    scale_ways_init(&ways, n);
    scale_rounds(&ways, &world, size, rounds);
    row_add_metric(size, "bytes: binary tree", 0, ROW_VALUE, (double)ways.binary.bytes / n);
    row_add_metric(size, "bytes: Fenwick tree", 0, ROW_VALUE, (double)ways.fenwick.bytes / n);
    scale_ways_deinit(&ways);
    scale_world_deinit(&world);
}

/* Draw an epoch of n in a Python process. @return whether it can */
static bool ask_torch(const char *script, uint32_t n, double *out_ns)
{
    char command[1024];
    FILE *answer;
    bool read;

    (void)fflush(stdout);
    (void)snprintf(command, sizeof command, PYTHON " '%s' %u", script, n);
    answer = popen(command, "r");
    read = answer != NULL && fscanf(answer, "%lf", out_ns) == 1;
    if (answer != NULL)
        (void)pclose(answer);
    return read;
}

static void run_torch(const char *script, uint32_t n, const char *size, int rounds)
{
    double ns;

    for (int round = 0; round < rounds && n <= TORCH_MAX; round++) {
        if (!ask_torch(script, n, &ns)) {
            rows_note("torch's WeightedRandomSampler: not here.");
            return;
        }
        row_add_metric(size, "draw: torch's WeightedRandomSampler", 0, ROW_VALUE, ns);
    }
}

static bool read_options(int argc, char **argv, struct options *o)
{
    int option;

    while ((option = getopt(argc, argv, "qs")) != -1) {
        o->quick |= option == 'q';
        o->small_pages |= option == 's';
        if (option == '?')
            return false;
    }
    if (argc - optind != 4)
        return false;
    o->trace = argv[optind];
    o->torch = argv[optind + 1];
    o->state = argv[optind + 2];
    o->json = argv[optind + 3];
    return true;
}

static void run(const struct options *o, const struct plan *p)
{
    quiet_init(p->repeat_s);
    scale_trace_read(o->trace);
    for (size_t i = 0; i < p->count; i++) {
        scale_job(p->sizes[i], o->state, p->names[i], p->commits);
        run_ways(p->sizes[i], p->names[i], p->rounds);
        run_torch(o->torch, p->sizes[i], p->names[i], p->torch_rounds);
    }
    quiet_note();
    rows_note("Huge pages: %s.", o->small_pages ? "none" : "where the system gives them");
    rows_write(o->json, o->quick);
    scale_table_print(p->names, p->count);
}

int main(int argc, char **argv)
{
    struct options o = {0};

    if (!read_options(argc, argv, &o)) {
        (void)fputs("usage: scale [-q] [-s] TRACE TORCH_SCRIPT STATE_DIR JSON_FILE\n", stderr);
        return 2;
    }
    if (o.small_pages && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
        die("huge pages cannot be turned off");
    /* else what is freed raises the limit, later arrays lie in the heap, and none is given back */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    run(&o, o.quick ? &quick : &whole);
    return 0;
}
