/* ohemctl_views.c - how each answer looks; see ohemctl.h.
 *
 * A value that is missing prints as "-": an older or newer daemon is still readable.
 */
#include "ohemctl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static double real_in(const json_t *object, const char *inner, const char *name)
{
    return json_real_at(json_object_get(object, inner), name);
}

static void print_text(const char *text)
{
    char *escaped = text_escape(text);

    (void)fputs(escaped, stdout);
    free(escaped);
}

static void print_duration(double ms)
{
    double seconds = isfinite(ms) ? floor(ms / 1000) : 0;

    if (seconds >= 86400)
        (void)printf("%.0f d ", floor(seconds / 86400));
    if (seconds >= 3600)
        (void)printf("%.0f h ", floor(fmod(seconds, 86400) / 3600));
    if (seconds >= 60)
        (void)printf("%.0f min", floor(fmod(seconds, 3600) / 60));
    else
        (void)printf("%.0f s", seconds);
}

/* ---- status -------------------------------------------------------------------------------------
 */

static void print_datasets(const json_t *datasets)
{
    static const struct table_column columns[] = {{"DATASET", false},
                                                  {"INSTANCES", true},
                                                  {"BYTES", true},
                                                  {"RECORD_BYTES", true},
                                                  {"PATH", false}};
    struct table *t = table_new(columns, LENGTH(columns));
    const json_t *d;
    size_t i;

    json_array_foreach (datasets, i, d) {
        double record_bytes = json_real_at(d, "record_bytes");

        table_add_text(t, json_text_at(d, "name"));
        table_add_count(t, json_real_at(d, "instances"));
        table_add_count(t, json_real_at(d, "bytes"));
        if (record_bytes > 0)
            table_add_count(t, record_bytes);
        else
            table_add_text(t, "vary");
        table_add_text(t, json_text_at(d, "path"));
    }
    table_print(t, "");
}

static void print_jobs(const json_t *jobs)
{
    static const struct table_column columns[] = {
        {"JOB", false},   {"DATASET", false}, {"STEP", true},    {"EPOCHS", true},
        {"SCORED", true}, {"SESSIONS", true}, {"REPORTS", true}, {"OPEN", true},
        {"LOSS", true},   {"KEPT_LOSS", true}};
    struct table *t = table_new(columns, LENGTH(columns));
    const json_t *j;
    size_t i;

    json_array_foreach (jobs, i, j) {
        const json_t *report = json_object_get(j, "last_report");

        table_add_text(t, json_text_at(j, "name"));
        table_add_text(t, json_text_at(j, "dataset"));
        table_add_count(t, json_real_at(j, "step"));
        table_add_real(t, json_real_at(j, "progress"));
        table_add_count(t, json_real_at(j, "scored_count"));
        table_add_count(t, json_real_at(j, "session_count"));
        table_add_count(t, json_real_at(j, "lsn"));
        table_add_count(t, real_in(j, "leases", "open"));
        table_add_real(t, real_in(report, "all", "mean"));
        table_add_real(t, real_in(report, "kept", "mean"));
    }
    table_print(t, "");
}

void view_status(const char *socket, const json_t *health, const json_t *jobs)
{
    const json_t *counters = json_object_get(health, "counters");
    double sessions = json_real_at(health, "sessions");

    (void)fputs("ohemd ", stdout);
    print_text(json_text_at(health, "version"));
    (void)fputs(" ", stdout);
    print_text(json_text_at(health, "status"));
    (void)fputs(" for ", stdout);
    print_duration(json_real_at(health, "uptime_ms"));
    (void)fputs(" at ", stdout);
    print_text(socket);
    (void)printf("\n%.0f session%s; %.0f messages, of them %.0f refused and %.0f malformed\n\n",
                 sessions, sessions == 1 ? "" : "s", json_real_at(counters, "messages_received"),
                 json_real_at(counters, "messages_refused"),
                 json_real_at(counters, "messages_malformed"));
    print_datasets(json_object_get(health, "datasets"));
    (void)putchar('\n');
    print_jobs(jobs);
}

/* ---- jobs ---------------------------------------------------------------------------------------
 */

static void print_keep(const json_t *selection)
{
    double count = json_real_at(selection, "keep_count"),
           from = json_real_at(selection, "keep_from_ratio");

    if (count > 0)
        (void)printf(", keep %.0f", count);
    else
        (void)printf(", keep ratio %.4g", json_real_at(selection, "keep_ratio"));
    if (from > 0)
        (void)printf(" (from %.4g over %.0f batches)", from, json_real_at(selection, "keep_steps"));
    (void)printf(", at least %.0f", json_real_at(selection, "min_keep"));
}

static void print_threshold(const json_t *selection)
{
    double most = json_real_at(selection, "max_keep");

    (void)printf(", above %.6g, at least %.0f", json_real_at(selection, "threshold"),
                 json_real_at(selection, "min_keep"));
    if (most > 0)
        (void)printf(", at most %.0f", most);
}

static void print_rule(const char *rule, const json_t *selection)
{
    print_text(rule);
    if (strcmp(rule, "threshold") == 0)
        print_threshold(selection);
    else if (strcmp(rule, "top") == 0)
        print_keep(selection);
    else if (strcmp(rule, "negpos") == 0)
        (void)printf(", %.4g negatives per positive, %.0f without, at least %.0f",
                     json_real_at(selection, "neg_ratio"), json_real_at(selection, "neg_min"),
                     json_real_at(selection, "min_keep"));
    else if (strcmp(rule, "cdf") == 0)
        (void)printf(", power %.4g, floor %.4g", json_real_at(selection, "cdf_power"),
                     json_real_at(selection, "cdf_floor"));
}

static void print_settings(const json_t *settings)
{
    const json_t *policy = json_object_get(settings, "policy");
    const json_t *selection = json_object_get(settings, "selection");

    (void)printf("  draw       rho %.4g, weight ", json_real_at(policy, "rho"));
    print_text(json_text_at(policy, "weight"));
    (void)printf(", alpha %.4g, beta %.4g, lambda %.4g\n", json_real_at(policy, "alpha"),
                 json_real_at(policy, "beta"), json_real_at(settings, "lambda"));
    (void)fputs("  selection  ", stdout);
    print_rule(json_text_at(selection, "rule"), selection);
    if (strcmp(json_text_at(selection, "mode"), "on") != 0) {
        (void)fputs(", but all are selected: ", stdout);
        print_text(json_text_at(selection, "mode"));
    }
    (void)putchar('\n');
}

/* Of a bias that decides by itself, or only looks on, or of what is there in its place. */
static void print_bias(const json_t *job)
{
    const json_t *bias = json_object_get(job, "bias");
    const json_t *policy = json_object_get(json_object_get(job, "settings"), "policy");
    const char *mode = json_text_at(policy, "bias");

    if (strcmp(json_text_at(policy, "sampling"), "infobatch") == 0)
        (void)printf("  infobatch  skips %.3g of those below the mean; %.0f skipped so far\n",
                     json_real_at(policy, "infobatch_ratio"),
                     real_in(job, "counters", "instances_skipped"));
    else if (strcmp(mode, "auto") == 0)
        (void)printf("  bias       by itself: %s, gain %.3g (now %.3g)\n",
                     json_is_true(json_object_get(bias, "in_force")) ? "in force" : "not in force",
                     json_real_at(bias, "gain_mean"), json_real_at(bias, "gain_now"));
    else if (strcmp(mode, "shadow") == 0)
        (void)printf("  shadow     %.3g of the draws would be by hardness, of %.3g times the mean "
                     "score (gain %.3g)\n",
                     json_real_at(bias, "planned_share"), json_real_at(bias, "score_ratio"),
                     json_real_at(bias, "gain_now"));
    else if (strcmp(mode, "off") == 0)
        (void)puts("  bias       off");
}

static void print_quarantine(const json_t *job)
{
    const json_t *q = json_object_get(job, "quarantine");
    double cut = json_real_at(q, "cut_score");

    if (!json_is_object(q))
        return;
    (void)printf("  quarantine %.0f instances, %.2g %% of the scored, ",
                 json_real_at(q, "suspect_count"), 100 * json_real_at(q, "suspect_ratio"));
    if (isnan(cut))
        (void)puts("no cut");
    else
        (void)printf("above %.6g\n", cut);
}

/* What was reported by items, and what is subtracted from all. */
static void print_reported(const json_t *job)
{
    double ragged = real_in(job, "counters", "reports_ragged");
    double irreducible = real_in(job, "settings", "irreducible_count");

    if (ragged > 0)
        (void)printf("  items      %.0f reports of %.0f items, %.0f selected\n", ragged,
                     real_in(job, "counters", "items_reported"),
                     real_in(job, "counters", "items_selected"));
    if (irreducible > 0)
        (void)printf("  irreducible losses of %.0f instances are subtracted\n", irreducible);
}

static void print_rounds(const json_t *job)
{
    double ranks =
        json_real_at(json_object_get(json_object_get(job, "settings"), "round"), "ranks");

    if (ranks > 0)
        (void)printf("  rounds     of %.0f ranks: %.0f answered, %.0f of them incomplete; %.0f "
                     "reports too late\n",
                     ranks, real_in(job, "counters", "rounds_answered"),
                     real_in(job, "counters", "rounds_incomplete"),
                     real_in(job, "counters", "rounds_missed"));
}

/* What the selection would have kept, when it only looks on. */
static void print_shadow(const json_t *job)
{
    const json_t *shadow = json_object_get(job, "selection_shadow");

    if (!json_is_object(shadow) || !(json_real_at(shadow, "report_count") > 0))
        return;
    (void)printf("  shadow     would have selected %.1f %% of the instances, %.1f %% of the loss\n",
                 100 * json_real_at(shadow, "selected_ratio"),
                 100 * json_real_at(shadow, "selected_loss_ratio"));
}

#define CLASSES_SHOWN 16u

/* What share of each class the selection takes, or would take. */
static void print_classes(const json_t *job)
{
    const json_t *classes = json_object_get(job, "selection_classes"), *c;
    size_t i;

    if (json_array_size(classes) == 0)
        return;
    (void)fputs("  classes    selected of each:", stdout);
    json_array_foreach (classes, i, c) {
        if (i == CLASSES_SHOWN)
            break;
        (void)printf(" %.0f %.3g %%%s", json_real_at(c, "class"),
                     100 * json_real_at(c, "selected_ratio"),
                     i + 1 < json_array_size(classes) ? "," : "");
    }
    (void)puts(json_array_size(classes) > CLASSES_SHOWN ? " ..." : "");
}

static void print_standing(const json_t *j)
{
    const json_t *report = json_object_get(j, "last_report");
    double instances = json_real_at(j, "instance_count");
    double scored = json_real_at(j, "scored_count");

    (void)printf("  step       %.0f, %.0f reports applied\n", json_real_at(j, "step"),
                 json_real_at(j, "lsn"));
    (void)printf("  epoch      %.0f, %.0f of %.0f handed out, %.0f returned ones wait\n",
                 json_real_at(j, "epoch"), json_real_at(j, "epoch_position"), instances,
                 json_real_at(j, "pool_count"));
    (void)printf("  scored     %.0f (%.1f %%)\n", scored, 100 * scored / instances);
    (void)printf("  bias       %.1f %% of the slots now\n", 100 * json_real_at(j, "bias_share"));
    (void)printf("  leases     %.0f open, %.0f returned, %.0f settled\n",
                 real_in(j, "leases", "open"), real_in(j, "leases", "returned"),
                 real_in(j, "leases", "settled"));
    (void)printf("  staleness  %.2g reports (at most %.0f) when sent, %.2g (%.0f) when reported\n",
                 real_in(j, "age_sent", "mean_reports"), real_in(j, "age_sent", "max_reports"),
                 real_in(j, "age_reported", "mean_reports"),
                 real_in(j, "age_reported", "max_reports"));
    (void)printf("  loss       mean %.4g of %.0f; %.4g of the %.0f kept\n",
                 real_in(report, "all", "mean"), real_in(report, "all", "count"),
                 real_in(report, "kept", "mean"), real_in(report, "kept", "count"));
}

static void add_epochs(struct table *t, const json_t *epochs, const char *state)
{
    static const char *const names[] = {"served",   "reported", "released", "returned",
                                        "repeated", "skipped",  "missing"};
    const json_t *e;
    size_t i;

    json_array_foreach (epochs, i, e) {
        table_add_count(t, json_real_at(e, "epoch"));
        table_add_text(t, state);
        for (size_t n = 0; n < LENGTH(names); n++)
            table_add_count(t, json_real_at(e, names[n]));
    }
}

static void print_epochs(const json_t *epochs)
{
    static const struct table_column columns[] = {
        {"EPOCH", true},    {"STATE", false},   {"SERVED", true},
        {"REPORTED", true}, {"RELEASED", true}, {"RETURNED", true},
        {"REPEATED", true}, {"SKIPPED", true},  {"MISSING", true}};
    struct table *t = table_new(columns, LENGTH(columns));

    add_epochs(t, json_object_get(epochs, "closed"), "closed");
    add_epochs(t, json_object_get(epochs, "open"), "open");
    table_print(t, "  ");
}

static void print_sessions(const json_t *j)
{
    static const struct table_column columns[] = {
        {"SESSION", true}, {"RANK", true},       {"AGENT", false}, {"TRANSPORT", false},
        {"LAYOUT", false}, {"BATCH_SIZE", true}, {"HELD", true},   {"CREDIT", true},
        {"BATCHES", true}, {"REPORTS", true},    {"IDLE_MS", true}};
    static const char *const names[] = {"batch_size", "held",    "credit",
                                        "batches",    "reports", "idle_ms"};
    const json_t *sessions = json_object_get(j, "sessions");
    double more = json_real_at(j, "session_count") - (double)json_array_size(sessions);
    struct table *t = table_new(columns, LENGTH(columns));
    const json_t *s;
    size_t i;

    json_array_foreach (sessions, i, s) {
        table_add_count(t, json_real_at(s, "number"));
        table_add_count(t, json_real_at(s, "rank"));
        table_add_text(t, json_text_at(s, "agent"));
        table_add_text(t, json_text_at(s, "transport"));
        table_add_text(t, json_text_at(s, "layout"));
        for (size_t n = 0; n < LENGTH(names); n++)
            table_add_count(t, json_real_at(s, names[n]));
    }
    table_print(t, "  ");
    if (more > 0)
        (void)printf("  and %.0f more\n", more);
}

void view_jobs(const json_t *jobs)
{
    const json_t *j;
    size_t i;

    json_array_foreach (jobs, i, j) {
        (void)fputs(i > 0 ? "\njob " : "job ", stdout);
        print_text(json_text_at(j, "name"));
        (void)fputs(" on data set ", stdout);
        print_text(json_text_at(j, "dataset"));
        (void)putchar('\n');
        print_standing(j);
        print_settings(json_object_get(j, "settings"));
        print_bias(j);
        print_quarantine(j);
        print_reported(j);
        print_rounds(j);
        print_shadow(j);
        print_classes(j);
        (void)putchar('\n');
        print_epochs(json_object_get(j, "epochs"));
        if (json_array_size(json_object_get(j, "sessions")) > 0) {
            (void)putchar('\n');
            print_sessions(j);
        }
    }
}

/* ---- instances ----------------------------------------------------------------------------------
 */

/* A key that can be read, or 0x and its bytes. @return malloc'd */
char *view_key(const json_t *instance)
{
    const char *hex = json_string_value(json_object_get(instance, "key_hex"));
    char *text, *escaped;

    if (hex == NULL)
        return text_escape(json_text_at(instance, "key"));
    if (asprintf(&text, "0x%s", hex) < 0)
        return text_escape("-");
    escaped = text_escape(text);
    free(text);
    return escaped;
}

void view_top(const json_t *instances)
{
    static const struct table_column columns[] = {
        {"ID", true}, {"SCORE", true}, {"VISITS", true}, {"LAST_LOSS", true}, {"KEY", false}};
    struct table *t = table_new(columns, LENGTH(columns));
    const json_t *instance;
    size_t i;

    json_array_foreach (instances, i, instance) {
        char *key = view_key(instance);

        table_add_count(t, json_real_at(instance, "id"));
        table_add_real(t, json_real_at(instance, "score"));
        table_add_count(t, json_real_at(instance, "visits"));
        table_add_real(t, json_real_at(instance, "last_loss"));
        table_add_text(t, key);
        free(key);
    }
    table_print(t, "");
}

void view_show(const json_t *instance)
{
    const char *standing = json_text_at(instance, "quarantine");
    char *key = view_key(instance);

    (void)printf("id            %.0f\nkey           %s\nrecord bytes  %.0f\n",
                 json_real_at(instance, "id"), key, json_real_at(instance, "record_bytes"));
    free(key);
    if (!json_is_true(json_object_get(instance, "scored"))) {
        (void)puts("score         none: no loss was reported yet");
        return;
    }
    (void)printf("score         %.6g\nlast loss     %.6g\ndeviation     %.3g\n",
                 json_real_at(instance, "score"), json_real_at(instance, "last_loss"),
                 sqrt(json_real_at(instance, "variance")));
    (void)printf("visits        %.0f\nlast step     %.0f\n", json_real_at(instance, "visits"),
                 json_real_at(instance, "last_step"));
    if (strcmp(standing, "none") != 0) {
        (void)fputs("quarantine    ", stdout);
        print_text(standing);
        (void)putchar('\n');
    }
}

void view_reset(const json_t *done)
{
    char *name = text_escape(json_text_at(done, "job"));

    (void)printf("job '%s' begins anew; sessions that come back by themselves: %.0f\n", name,
                 json_real_at(done, "sessions_ended"));
    free(name);
}
