/* prometheus.c - families of samples, one after the other; see prometheus.h. */
#include "prometheus.h"

#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NS_PER_S    1e9
#define OCTAVE      8 /* buckets of the partition in one */
#define NAME_BYTES  96
#define LABEL_BYTES (2 * MESSAGE_NAME_BYTES_MAX + 16)

static void family(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *f, const char *name, const char *type, const char *help, double value)
{
    family(f, name, type, help);
    (void)fprintf(f, "%s %.17g\n", name, value);
}

/* ohem_job="...", with what the format wants escaped. (job is what Prometheus calls its targets.)
 */
static void label_job(const struct job *j, char out[LABEL_BYTES])
{
    char *at = out + sprintf(out, "ohem_job=\"");

    for (const char *c = j->settings.name; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            *at++ = '\\';
        *at++ = *c;
    }
    *at++ = '"';
    *at = '\0';
}

/* ---- counters of the lists ---------------------------------------------------------------------
 */

static void add_job_counters(FILE *f, const struct engine *e)
{
    const struct job *j = TAILQ_FIRST(&e->jobs);
    char name[NAME_BYTES], label[LABEL_BYTES];

    for (size_t i = 0; j != NULL; i++) {
        struct metrics_value v = metrics_job_at(&j->metrics, i);

        if (v.name == NULL)
            return;
        (void)snprintf(name, sizeof name, "ohemd_%s_total", v.name);
        family(f, name, "counter", v.text);
        TAILQ_FOREACH (j, &e->jobs, of_engine) {
            label_job(j, label);
            (void)fprintf(f, "%s{%s} %" PRIu64 "\n", name, label,
                          metrics_job_at(&j->metrics, i).value);
        }
        j = TAILQ_FIRST(&e->jobs);
    }
}

static void add_daemon_counters(FILE *f, const struct engine *e)
{
    char name[NAME_BYTES];

    for (size_t i = 0;; i++) {
        struct metrics_value v = metrics_daemon_at(&e->metrics, i);

        if (v.name == NULL)
            return;
        (void)snprintf(name, sizeof name, "ohemd_%s_total", v.name);
        single(f, name, "counter", v.text, (double)v.value);
    }
}

/* ---- what a job is like now --------------------------------------------------------------------
 */

static double sessions_of(const struct job *j)
{
    return (double)j->session_count;
}

static double leases_of(const struct job *j)
{
    return (double)j->leases.open_count;
}

static double step_of(const struct job *j)
{
    return (double)j->step;
}

static double epoch_of(const struct job *j)
{
    return (double)j->coverage.epoch;
}

static double instances_of(const struct job *j)
{
    return (double)j->settings.dataset.instance_count;
}

static double scored_of(const struct job *j)
{
    return hardness_scored(&j->hardness);
}

static double suspects_of(const struct job *j)
{
    return j->quarantine.suspects;
}

static double age_mean_of(const struct job *j)
{
    const struct job_ages *a = &j->sent_ages;

    return a->count > 0 ? (double)a->sum / (double)a->count : 0;
}

static const struct {
    const char *name, *help;
    double (*value)(const struct job *j);
} gauges[] = {
    {"ohemd_sessions", "trainers that are connected", sessions_of},
    {"ohemd_leases_open", "batches that wait for their report", leases_of},
    {"ohemd_step", "number of the next batch", step_of},
    {"ohemd_epoch", "epoch that coverage is in, from 0", epoch_of},
    {"ohemd_instances", "instances of the data set", instances_of},
    {"ohemd_scored_instances", "instances that have a score", scored_of},
    {"ohemd_suspect_instances", "instances in quarantine", suspects_of},
    {"ohemd_sent_age_mean_reports",
     "reports applied between a batch's draw and its sending, mean since the start", age_mean_of},
};

static void add_gauges(FILE *f, const struct engine *e)
{
    const struct job *j;
    char label[LABEL_BYTES];

    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        family(f, gauges[i].name, "gauge", gauges[i].help);
        TAILQ_FOREACH (j, &e->jobs, of_engine) {
            label_job(j, label);
            (void)fprintf(f, "%s{%s} %.17g\n", gauges[i].name, label, gauges[i].value(j));
        }
    }
}

/* By octaves; of what is scored now, so its counts fall, too. */
static void add_scores_of(FILE *f, const struct job *j)
{
    char label[LABEL_BYTES];
    uint64_t below = 0;

    label_job(j, label);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        below += hardness_members(&j->hardness, b);
        if (b % OCTAVE == OCTAVE - 1 && b + 1 < PARTITION_BUCKETS)
            (void)fprintf(f, "ohemd_score_bucket{%s,le=\"%.9g\"} %" PRIu64 "\n", label,
                          partition_bucket_floor(b + 1), below);
    }
    (void)fprintf(f, "ohemd_score_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", label, below);
    (void)fprintf(f, "ohemd_score_sum{%s} %.17g\nohemd_score_count{%s} %" PRIu64 "\n", label,
                  hardness_mean(&j->hardness) * (double)below, label, below);
}

static void add_scores(FILE *f, const struct engine *e)
{
    const struct job *j;

    family(f, "ohemd_score", "histogram", "hardness of the scored instances as it is now");
    TAILQ_FOREACH (j, &e->jobs, of_engine)
        add_scores_of(f, j);
}

/* ---- the daemon --------------------------------------------------------------------------------
 */

static void add_times(FILE *f, const struct server_timing *t)
{
    static const char *const ways[] = {"inline", "shm", "map"};
    static const double quantiles[] = {0.5, 0.99, 0.999};

    single(f, "ohemd_draw_seconds_total", "counter", "time that the loop drew batches",
           (double)t->draw_ns / NS_PER_S);
    single(f, "ohemd_gather_seconds_total", "counter", "time of all threads that copied records",
           (double)t->gather_ns / NS_PER_S);
    single(f, "ohemd_send_seconds_total", "counter", "time that the loop sent batches",
           (double)t->send_ns / NS_PER_S);
    single(f, "ohemd_receive_seconds_total", "counter",
           "time that the loop received and answered messages", (double)t->receive_ns / NS_PER_S);
    single(f, "ohemd_payload_bytes_total", "counter", "records that were copied for trainers",
           (double)t->payload_bytes);
    family(f, "ohemd_batches_sent_total", "counter", "batches by the way that they took");
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        (void)fprintf(f, "ohemd_batches_sent_total{transport=\"%s\"} %" PRIu64 "\n", ways[i],
                      t->batches_by_way[i]);
    family(f, "ohemd_loop_turn_seconds", "summary", "turns of the loop, since the start");
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        (void)fprintf(f, "ohemd_loop_turn_seconds{quantile=\"%g\"} %.9g\n", quantiles[i],
                      (double)turns_quantile_ns(&t->turns, quantiles[i]) / NS_PER_S);
    (void)fprintf(f, "ohemd_loop_turn_seconds_count %" PRIu64 "\n", t->turns.count);
}

static void add_state(FILE *f, const struct keeper_status *k)
{
    if (k->path == NULL)
        return;
    single(f, "ohemd_commits_total", "counter", "times that what the jobs remember went to disk",
           (double)k->state->commits);
    single(f, "ohemd_commit_failures_total", "counter", "times that it could not",
           (double)k->state->failures);
    single(f, "ohemd_commit_failing", "gauge", "1: the last try failed", k->state->failing);
    single(f, "ohemd_commit_last_seconds", "gauge", "the last commit took",
           (double)k->state->commit_ns_last / NS_PER_S);
    single(f, "ohemd_state_bytes", "gauge", "the state takes", (double)k->state->bytes);
}

char *prometheus_render(const struct prometheus_source *s, size_t *out_size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, out_size);

    if (f == NULL)
        return NULL;
    family(f, "ohemd_info", "gauge", "1, and the daemon's version");
    (void)fprintf(f, "ohemd_info{version=\"%s\"} 1\n", OHEMD_VERSION);
    single(f, "ohemd_uptime_seconds", "gauge", "since the daemon's start",
           (double)s->uptime_ms / 1e3);
    add_daemon_counters(f, s->engine);
    add_times(f, s->timing);
    add_state(f, s->kept);
    add_job_counters(f, s->engine);
    add_gauges(f, s->engine);
    add_scores(f, s->engine);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
