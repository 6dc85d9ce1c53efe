/* bench.c - how fast is it, and what is the limit? The real daemon, the real client, bare rigs.
 *
 *     bench OHEMD JSON_FILE [QUICK]      in an empty working directory; bench.sh makes one
 *
 * Each round measures everything once, one after the other, so that what else the machine does
 * falls on all alike; ratios are made within a round. It says nothing about learning.
 */
#include "measure.h"
#include "modules.h"
#include "rigs.h"
#include "serve.h"
#include "train.h"

#include <stdio.h>
#include <string.h>

#define CREDIT 4 /* the daemon's default, written out since the rig has the same */

/* How long a bench takes. */
struct effort {
    int rounds;
    double train_s, rig_s; /* each measurement, per round */
    int module_rounds;     /* short ones: a neighbour on the machine spoils some */
    double module_s;
};

static const struct effort full = {
    .rounds = 5, .train_s = 3, .rig_s = 1.5, .module_rounds = 9, .module_s = 0.1};
static const struct effort quick = {
    .rounds = 3, .train_s = 0.8, .rig_s = 0.4, .module_rounds = 5, .module_s = 0.05};

/* The rows of one way to train; literals, since a row keeps its name. */
struct names {
    const char *batches, *instances, *bytes;
    const char *next_p50, *next_p99, *report_p50, *report_p99;
    const char *draw, *gather, *send, *receive, *draw_share, *gather_share, *send_share,
        *receive_share;
};

#define NAMES(what) \
    { \
        what ": batches", what ": instances", what ": records", what ": ohem_next p50", \
            what ": ohem_next p99", what ": ohem_report p50", what ": ohem_report p99", \
            what ": draw", what ": gather", what ": send", what ": receive", \
            what ": share of time in draw", what ": share of time in gather", \
            what ": share of time in send", what ": share of time in receive" \
    }

static const struct names biased_names = NAMES("biased");
static const struct names uniform_names = NAMES("uniform");
static const struct names stream_names = NAMES("no reports");

static void add_share(const char *each, const char *share, double ns, double batches,
                      double seconds)
{
    row_add(each, "us/batch", ns / batches / 1e3);
    row_add(share, "%", 100 * ns / (seconds * 1e9));
}

/* Where the daemon's time went between two looks at its status. */
static void add_timing(const struct names *names, const struct serve_timing *a,
                       const struct serve_timing *b, double seconds)
{
    double batches = b->batches - a->batches;

    if (batches <= 0)
        die("the daemon counted no batch in %g seconds", seconds);
    add_share(names->draw, names->draw_share, b->draw_ns - a->draw_ns, batches, seconds);
    add_share(names->gather, names->gather_share, b->gather_ns - a->gather_ns, batches, seconds);
    add_share(names->send, names->send_share, b->send_ns - a->send_ns, batches, seconds);
    add_share(names->receive, names->receive_share, b->receive_ns - a->receive_ns, batches,
              seconds);
}

/* One run of a job, with its rows. @return batches per second. */
static double train(const struct names *names, const char *job, bool report, double seconds)
{
    struct train_plan plan = {.job = job, .credit = CREDIT, .report = report, .seconds = seconds};
    struct serve_timing before, after;
    struct train_result r;

    serve_read_timing(&before);
    train_run(&plan, &r);
    serve_read_timing(&after);
    row_add(names->batches, "batches/s", r.batches_per_s);
    row_add(names->instances, "instances/s", r.batches_per_s * SERVE_BATCH);
    row_add(names->bytes, "MB/s", r.batches_per_s * SERVE_BATCH * SERVE_RECORD_BYTES / 1e6);
    row_add(names->next_p50, "us", samples_quantile(&r.next_us, 0.5));
    row_add(names->next_p99, "us", samples_quantile(&r.next_us, 0.99));
    if (report) {
        row_add(names->report_p50, "us", samples_quantile(&r.report_us, 0.5));
        row_add(names->report_p99, "us", samples_quantile(&r.report_us, 0.99));
    }
    add_timing(names, &before, &after, r.seconds);
    samples_deinit(&r.next_us);
    samples_deinit(&r.report_us);
    return r.batches_per_s;
}

/* With credit 1 nothing else is on the line while a report waits for its selection. */
static double report_alone(double seconds)
{
    struct train_plan plan = {.job = "uniform", .credit = 1, .report = true, .seconds = seconds};
    struct train_result r;
    double median;

    train_run(&plan, &r);
    median = samples_quantile(&r.report_us, 0.5);
    samples_deinit(&r.next_us);
    samples_deinit(&r.report_us);
    return median;
}

static void one_round(const struct effort *e)
{
    double uniform = train(&uniform_names, "uniform", true, e->train_s);
    double biased = train(&biased_names, "biased", true, e->train_s);
    double stream = train(&stream_names, "uniform", false, e->train_s);
    double bare = rig_inline(CREDIT, e->rig_s), gathered = rig_gather(e->rig_s);
    double report = report_alone(e->rig_s), round_trip = rig_round_trip(e->rig_s);

    row_add("limit: bare ZeroMQ, one frame per credit", "batches/s", bare);
    row_add("limit: gather and read in one process", "batches/s", gathered);
    row_add("ohem_report p50, nothing else on the line", "us", report);
    row_add("limit: bare ZeroMQ round trip p50", "us", round_trip);
    ratio_add("biased / uniform, batches/s", biased / uniform);
    ratio_add("biased / bare ZeroMQ, batches/s", biased / bare);
    ratio_add("no reports / bare ZeroMQ, batches/s", stream / bare);
    ratio_add("no reports / gather in process, batches/s", stream / gathered);
    ratio_add("report / bare round trip, time", report / round_trip);
}

/* An epoch of each job before anything is measured, so that all instances have a score. */
static void warm_up(const struct effort *e)
{
    static const char *const jobs[] = {"uniform", "biased"};

    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        struct train_plan plan = {
            .job = jobs[i], .credit = CREDIT, .report = true, .seconds = e->train_s};
        struct train_result r;

        train_run(&plan, &r);
        samples_deinit(&r.next_us);
        samples_deinit(&r.report_us);
    }
}

static void add_longest_turn(void)
{
    struct serve_timing t;

    serve_read_timing(&t);
    row_add("the daemon's longest turn, of the whole bench", "us", t.turn_ns_max / 1e3);
}

static void print_conditions(const struct effort *e)
{
    (void)printf("%u records of %u bytes, K = %u, credit %d, one session, inline over ipc; "
                 "median of %d rounds.\n"
                 "draw includes handing the batch to a gathering thread; gather runs beside the "
                 "loop.\n",
                 SERVE_INSTANCES, SERVE_RECORD_BYTES, SERVE_BATCH, CREDIT, e->rounds);
    (void)fflush(stdout); /* rigs fork */
}

int main(int argc, char **argv)
{
    bool is_quick = argc == 4 && strcmp(argv[3], "0") != 0;
    const struct effort *e = is_quick ? &quick : &full;

    if (argc < 3 || argc > 4) {
        (void)fputs("usage: bench OHEMD JSON_FILE [QUICK]\n", stderr);
        return 2;
    }
    serve_make_dataset();
    serve_start(argv[1]);
    warm_up(e);
    print_conditions(e);
    for (int round = 0; round < e->rounds; round++)
        one_round(e);
    add_longest_turn();
    serve_stop();
    modules_run(e->module_rounds, e->module_s);
    rows_print();
    rows_write(argv[2], is_quick);
    return 0;
}
