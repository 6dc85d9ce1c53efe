/* rows_json.c - the results as JSON for a program; see rows.h.
 *
 * A row of a way has its metrics' medians by name, and under "spread" what each round gave. Ratios
 * are plain numbers, the medians; "ratio_details" has the rounds and the goals.
 */
#include "rows_inner.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zmq.h>

#define CPU_BYTES 128

static const char *const metric_keys[] = {
#define METRIC_KEY(name, key) key,
    ROW_METRICS(METRIC_KEY)
#undef METRIC_KEY
};

/* The first "model name" of /proc/cpuinfo, or "unknown". */
static void read_cpu(char out[CPU_BYTES])
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    (void)snprintf(out, CPU_BYTES, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');

        if (colon == NULL || strncmp(line, "model name", strlen("model name")) != 0)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        (void)snprintf(out, CPU_BYTES, "%s", colon + strspn(colon, ": \t"));
        break;
    }
    if (file != NULL)
        (void)fclose(file);
}

static json_t *json_machine(bool quick)
{
    struct utsname system = {.release = "?"};
    char cpu[CPU_BYTES], zmq[32];
    int major, minor, patch;

    read_cpu(cpu);
    (void)uname(&system);
    zmq_version(&major, &minor, &patch);
    (void)snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b}", "cpu", cpu, "processors",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", system.release, "machine",
                     system.machine, "compiler", __VERSION__, "zmq", zmq, "quick", (int)quick);
}

static json_t *json_values(const struct samples *s)
{
    json_t *values = json_array();

    for (size_t i = 0; i < s->count; i++)
        (void)json_array_append_new(values, json_real(s->values[i]));
    return values;
}

static json_t *json_spread(struct samples *s)
{
    json_t *values = json_values(s); /* before the sort: in the order of the rounds */
    struct summary u = rows_summarise(s);

    return json_pack("{s:f, s:f, s:f, s:o}", "median", u.median, "min", u.min, "max", u.max,
                     "values", values);
}

static json_t *json_quantity(struct row *r)
{
    json_t *out = json_pack("{s:s, s:s}", "name", r->name, "unit", r->unit);
    json_t *spread = json_spread(&r->metrics[ROW_VALUE]);

    (void)json_object_update(out, spread);
    json_decref(spread);
    return out;
}

static json_t *json_way(struct row *r)
{
    json_t *out = json_pack("{s:s, s:s, s:i}", "workload", r->workload, "name", r->name, "clients",
                            r->clients);
    json_t *spread = json_object();

    for (size_t i = 0; i < ROW_METRIC_COUNT; i++)
        if (r->metrics[i].count > 0) {
            (void)json_object_set_new(spread, metric_keys[i], json_spread(&r->metrics[i]));
            (void)json_object_set_new(out, metric_keys[i],
                                      json_real(samples_quantile(&r->metrics[i], 0.5)));
        }
    (void)json_object_set_new(out, "spread", spread);
    return out;
}

static json_t *json_detail(struct ratio *r)
{
    json_t *out = json_spread(&r->values);
    bool at_most;
    double goal;

    if (rows_goal(r, &goal, &at_most))
        (void)json_object_set_new(out, at_most ? "at_most" : "at_least", json_real(goal));
    return out;
}

/* A ratio of parts is an object of them. Takes the value over. */
static void set_ratio(json_t *ratios, const struct ratio *r, json_t *value)
{
    json_t *parts;

    if (r->part[0] == '\0') {
        (void)json_object_set_new(ratios, r->name, value);
        return;
    }
    parts = json_object_get(ratios, r->name);
    if (parts == NULL) {
        parts = json_object();
        (void)json_object_set_new(ratios, r->name, parts);
    }
    (void)json_object_set_new(parts, r->part, value);
}

void rows_write(const char *path, bool quick)
{
    json_t *list = json_array(), *ratios = json_object(), *details = json_object(),
           *notes = json_array(), *all;
    struct rows *rows = rows_all();

    for (size_t i = 0; i < rows->count; i++)
        (void)json_array_append_new(list, rows->list[i].workload[0] == '\0'
                                              ? json_quantity(&rows->list[i])
                                              : json_way(&rows->list[i]));
    for (size_t i = 0; i < rows->ratio_count; i++) {
        struct ratio *r = &rows->ratios[i];

        set_ratio(details, r, json_detail(r));
        set_ratio(ratios, r, json_real(samples_quantile(&r->values, 0.5)));
    }
    for (size_t i = 0; i < rows->note_count; i++)
        (void)json_array_append_new(notes, json_string(rows->notes[i]));
    all = json_pack("{s:o, s:o, s:o, s:o, s:o}", "machine", json_machine(quick), "rows", list,
                    "ratios", ratios, "ratio_details", details, "notes", notes);
    if (all == NULL || json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0)
        die("cannot write '%s'", path);
    json_decref(all);
}
