/* reload.c - what SIGHUP does, one step after the other; see reload.h. */
#include "reload.h"

#include "../proto/error.h"
#include "log.h"
#include "notify.h"
#include "options.h"

#include <inttypes.h>
#include <stdlib.h>

/* The next generation of a data set, on its way. */
struct growth {
    struct dataset *next; /* NULL: there is nothing new */
    struct reason why;
    int rc; /* of its scan */
};

struct reload {
    uv_work_t work;
    uv_loop_t *loop;
    int argc;
    char **argv;
    struct config *config;
    struct dataset **datasets;
    struct server *server;
    bool again, closed;
    struct reload_status status;
    struct growth growths[CONFIG_DATASETS_MAX];
};

int reload_new(uv_loop_t *loop, int argc, char **argv, struct config *config,
               struct dataset **datasets, struct server *server, struct reload **out)
{
    struct reload *r = calloc(1, sizeof *r);

    if (r == NULL)
        return -OHEM_NOMEM;
    r->loop = loop;
    r->argc = argc;
    r->argv = argv;
    r->config = config;
    r->datasets = datasets;
    r->server = server;
    r->work.data = r;
    *out = r;
    return 0;
}

const struct reload_status *reload_status(const struct reload *r)
{
    return &r->status;
}

static void note(struct reload_lines *list, const char *line)
{
    if (list->count < RELOAD_LINES_MAX)
        reason_set(&list->lines[list->count], "%s", line);
    list->count++;
}

/* ---- the configuration -------------------------------------------------------------------------
 */

static void say_change_cb(void *ctx, const char *line, const char *waits_why)
{
    struct reload *r = ctx;

    if (waits_why == NULL) {
        r->status.changed++;
        log_info("config", "changed %s", line);
        return;
    }
    note(&r->status.waiting, line);
    log_warning("config", "not changed, it %s: %s", waits_why, line);
}

static void apply_config(struct reload *r)
{
    log_set_level(r->config->log_level);
    server_configure(r->server);
}

static bool reload_config(struct reload *r)
{
    enum options_action action;
    struct config next;
    struct reason why = {""};
    int rc = options_read(r->argc, r->argv, &action, &next, &why);

    if (rc == 0) {
        rc = config_change(r->config, &next, say_change_cb, r, &why);
        config_deinit(&next);
    }
    if (rc != 0) {
        note(&r->status.refused, why.text);
        log_error("config", "wrong, so nothing is reloaded, using the old one: %s", why.text);
        return false;
    }
    r->status.config_taken = true;
    if (r->status.changed > 0)
        apply_config(r);
    return true;
}

/* ---- data sets ---------------------------------------------------------------------------------
 */

static void refuse_growth(struct reload *r, size_t i, const struct reason *why)
{
    note(&r->status.refused, why->text);
    log_error("dataset", "not reloaded name=%s why=\"%s\"", r->config->datasets[i].name, why->text);
}

/* generations_say_cb */
static void say_stays_cb(void *ctx, const char *line)
{
    struct reload *r = ctx;

    note(&r->status.refused, line);
    log_error("job", "%s", line);
}

/* @return whether there is something to read */
static bool look(struct reload *r)
{
    bool any = false;

    for (size_t i = 0; i < r->config->dataset_count; i++) {
        struct growth *g = &r->growths[i];

        *g = (struct growth){0};
        if (dataset_look(r->datasets[i], &g->next, &g->why) != 0)
            refuse_growth(r, i, &g->why);
        any = any || g->next != NULL;
    }
    return any;
}

/* On a thread of libuv's. One after the other: those of one environment share a transaction. */
static void scan_cb(uv_work_t *work)
{
    struct reload *r = work->data;

    for (size_t i = 0; i < r->config->dataset_count; i++)
        if (r->growths[i].next != NULL)
            r->growths[i].rc = dataset_scan(r->growths[i].next, &r->growths[i].why);
}

static void say_moved(struct reload *r, size_t i, uint64_t had)
{
    uint64_t n = dataset_count(r->datasets[i]);

    r->status.moved++;
    log_info("dataset", "new generation name=%s instances=%" PRIu64 " new=%" PRIu64,
             r->config->datasets[i].name, n, n - had);
}

/* The next generation is the server's then, or closed. */
static void take_dataset(struct reload *r, size_t i)
{
    struct growth *g = &r->growths[i];
    uint64_t had = dataset_count(r->datasets[i]);

    if (g->rc == 0)
        g->rc = dataset_compare(r->datasets[i], g->next, &g->why);
    if (g->rc == 0)
        g->rc = generations_replace(server_generations(r->server), (uint32_t)i, g->next,
                                    say_stays_cb, r, &g->why);
    if (g->rc == 0) {
        say_moved(r, i, had);
    } else {
        refuse_growth(r, i, &g->why);
        dataset_close(g->next);
    }
    g->next = NULL;
}

/* ---- one reload --------------------------------------------------------------------------------
 */

static void finish(struct reload *r)
{
    struct reload_status *s = &r->status;

    s->busy = false;
    if (r->closed)
        return;
    s->count++;
    s->ended_ms = uv_now(r->loop);
    log_info("main", "reload ended changed=%zu waiting=%zu moved=%zu refused=%zu", s->changed,
             s->waiting.count, s->moved, s->refused.count);
    notify_ready("serving");
    if (r->again)
        reload_begin(r);
}

static void scanned_cb(uv_work_t *work, int status)
{
    struct reload *r = work->data;

    (void)status;
    for (size_t i = 0; i < r->config->dataset_count; i++) {
        if (r->growths[i].next == NULL)
            continue;
        if (!r->closed) {
            take_dataset(r, i);
        } else {
            dataset_close(r->growths[i].next);
            r->growths[i].next = NULL;
        }
    }
    finish(r);
}

void reload_begin(struct reload *r)
{
    struct reload_status *s = &r->status;

    r->again = s->busy;
    if (s->busy)
        return;
    *s = (struct reload_status){.count = s->count, .ended_ms = s->ended_ms, .busy = true};
    log_info("main", "reloading");
    notify_reloading();
    if (!reload_config(r)) {
        finish(r);
        return;
    }
    generations_catch_up(server_generations(r->server), say_stays_cb, r);
    if (look(r))
        (void)uv_queue_work(r->loop, &r->work, scan_cb, scanned_cb); /* cannot fail */
    else
        finish(r);
}

void reload_close(struct reload *r)
{
    if (r == NULL)
        return;
    r->closed = true;
    for (size_t i = 0; r->status.busy && i < r->config->dataset_count; i++)
        if (r->growths[i].next != NULL)
            dataset_stop_scan(r->growths[i].next);
}

void reload_free(struct reload *r)
{
    free(r);
}
