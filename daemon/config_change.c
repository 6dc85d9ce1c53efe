/* config_change.c - from one configuration to another while the daemon runs; see config.h.
 *
 * The table says of each setting whether that can be. Sections are known by their names, whatever
 * their order; which there are cannot change. What stays and what changes must fit together as
 * well: a copy is changed and checked first.
 */
#include "config_table.h"

#include "../proto/error.h"

#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 512

static const char needs_restart[] = "needs a restart";
static const char strict_order[] = "needs a restart: in strict order all draws follow one policy";

struct comparison {
    config_say_cb say_cb;
    void *ctx;
    char line[LINE_BYTES_MAX];
};

/* ---- one section -------------------------------------------------------------------------------
 */

static void print_value(const struct config_setting *s, const void *base, char *out, size_t size)
{
    FILE *stream = fmemopen(out, size, "w");

    out[0] = '\0';
    if (stream == NULL)
        return;
    (void)config_value_print(s, base, stream);
    (void)fclose(stream);
    out[size - 1] = '\0';
}

static bool is_strict(const struct config_setting *s, const void *base)
{
    const struct config_job *job = base;

    return s->section == CONFIG_JOB && job->settings.staleness > 0;
}

static bool draws(const struct config_setting *s)
{
    return strcmp(s->key, "batch_size") == 0 ||
           (s->offset >= offsetof(struct config_job, settings.sampler) &&
            s->offset <
                offsetof(struct config_job, settings.sampler) + sizeof(struct sampler_policy));
}

/* Why a setting stays what it is, or NULL. */
static const char *waits_why(const struct config_setting *s, const void *running)
{
    if (!s->live)
        return needs_restart;
    return is_strict(s, running) && draws(s) ? strict_order : NULL;
}

static void compare_setting(struct comparison *c, const struct config_setting *s, const char *name,
                            const void *running, const void *next)
{
    char was[LINE_BYTES_MAX / 3], is[LINE_BYTES_MAX / 3];
    const char *why = waits_why(s, running);

    print_value(s, running, was, sizeof was);
    print_value(s, next, is, sizeof is);
    if (strcmp(was, is) == 0)
        return;
    (void)snprintf(c->line, sizeof c->line, "[%s%s%s] %s = %s, was %s",
                   config_section_name(s->section), name[0] != '\0' ? " " : "", name, s->key, is,
                   was);
    c->say_cb(c->ctx, c->line, why);
}

static void compare_section(struct comparison *c, enum config_section section, const char *name,
                            const void *running, const void *next)
{
    for (size_t i = 0; i < config_setting_count; i++)
        if (config_settings[i].section == section)
            compare_setting(c, &config_settings[i], name, running, next);
}

static void compare_missing(struct comparison *c, enum config_section section, const char *name,
                            bool is_new)
{
    (void)snprintf(c->line, sizeof c->line, "[%s %s] is %s", config_section_name(section), name,
                   is_new ? "new" : "gone");
    c->say_cb(c->ctx, c->line, needs_restart);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static void compare_datasets(struct comparison *c, const struct config *running,
                             const struct config *next)
{
    const char *name;

    for (size_t i = 0; i < running->dataset_count; i++) {
        name = running->datasets[i].name;
        if (config_find_dataset(next, name) == NULL)
            compare_missing(c, CONFIG_DATASET, name, false);
        else
            compare_section(c, CONFIG_DATASET, name, &running->datasets[i],
                            config_find_dataset(next, name));
    }
    for (size_t i = 0; i < next->dataset_count; i++)
        if (config_find_dataset(running, next->datasets[i].name) == NULL)
            compare_missing(c, CONFIG_DATASET, next->datasets[i].name, true);
}

static void compare_jobs(struct comparison *c, const struct config *running,
                         const struct config *next)
{
    const char *name;

    for (size_t i = 0; i < running->job_count; i++) {
        name = running->jobs[i].settings.name;
        if (config_find_job(next, name) == NULL)
            compare_missing(c, CONFIG_JOB, name, false);
        else
            compare_section(c, CONFIG_JOB, name, &running->jobs[i], config_find_job(next, name));
    }
    for (size_t i = 0; i < next->job_count; i++)
        if (config_find_job(running, next->jobs[i].settings.name) == NULL)
            compare_missing(c, CONFIG_JOB, next->jobs[i].settings.name, true);
}

static void compare(const struct config *running, const struct config *next, config_say_cb say_cb,
                    void *ctx)
{
    struct comparison c = {.say_cb = say_cb, .ctx = ctx};

    compare_section(&c, CONFIG_DAEMON, "", running, next);
    compare_datasets(&c, running, next);
    compare_jobs(&c, running, next);
}

/* ---- taking over -------------------------------------------------------------------------------
 */

/* @param next  NULL: there is no such section any more */
static void take_section(enum config_section section, void *running, const void *next)
{
    for (size_t i = 0; next != NULL && i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];

        if (s->section == section && waits_why(s, running) == NULL)
            memcpy((char *)running + s->offset, (const char *)next + s->offset, s->size);
    }
}

static void take_over(struct config *running, const struct config *next)
{
    take_section(CONFIG_DAEMON, running, next);
    for (size_t i = 0; i < running->dataset_count; i++)
        take_section(CONFIG_DATASET, &running->datasets[i],
                     config_find_dataset(next, running->datasets[i].name));
    for (size_t i = 0; i < running->job_count; i++)
        take_section(CONFIG_JOB, &running->jobs[i],
                     config_find_job(next, running->jobs[i].settings.name));
}

/* Would what changes fit what stays? Tried on a copy. */
static int try(const struct config *running, const struct config *next, struct reason *why)
{
    struct config_dataset *datasets = malloc(running->dataset_count * sizeof *datasets);
    struct config_job *jobs = malloc(running->job_count * sizeof *jobs);
    struct config changed = *running;
    int rc = -OHEM_NOMEM;

    if (datasets != NULL && jobs != NULL) {
        memcpy(datasets, running->datasets, running->dataset_count * sizeof *datasets);
        memcpy(jobs, running->jobs, running->job_count * sizeof *jobs);
        changed.datasets = datasets;
        changed.jobs = jobs;
        take_over(&changed, next);
        rc = config_check(&changed, why); /* adds no job: there is one */
    } else {
        reason_set(why, "%s", error_text(rc));
    }
    free(datasets);
    free(jobs);
    return rc;
}

int config_change(struct config *running, const struct config *next, config_say_cb say_cb,
                  void *ctx, struct reason *why)
{
    struct reason bad = {""};
    int rc = try(running, next, &bad);

    if (rc != 0) {
        reason_set(why, "with what needs a restart as it was: %.400s", bad.text);
        return rc;
    }
    compare(running, next, say_cb, ctx);
    take_over(running, next);
    return 0;
}
