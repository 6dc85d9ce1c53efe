/* generations.c - see generations.h. */
#include "generations.h"

#include "../proto/error.h"
#include "log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 500 /* how often it is looked whether batches are still out */

struct retired {
    struct dataset *dataset;
    uint32_t number;
    uint64_t serial;
};

struct generations {
    const struct config *config;
    struct dataset **datasets;
    struct engine *engine;
    struct share *share;
    uint64_t serials[CONFIG_DATASETS_MAX];
    struct retired retired[GENERATIONS_RETIRED_MAX]; /* [retired_count], oldest first */
    size_t retired_count;
    uv_timer_t timer;
};

int generations_new(uv_loop_t *loop, const struct config *config, struct dataset **datasets,
                    struct engine *engine, struct generations **out)
{
    struct generations *g = calloc(1, sizeof *g);

    if (g == NULL)
        return -OHEM_NOMEM;
    g->config = config;
    g->datasets = datasets;
    g->engine = engine;
    (void)uv_timer_init(loop, &g->timer);
    g->timer.data = g;
    *out = g;
    return 0;
}

void generations_set_share(struct generations *g, struct share *share)
{
    g->share = share;
}

/* job_dataset.prefix */
static bool prefix_cb(const void *keys, uint64_t n, uint64_t *out_generation)
{
    return dataset_prefix(keys, n, out_generation);
}

struct job_dataset generations_describe(const struct generations *g, uint32_t number)
{
    const struct dataset *d = g->datasets[number];

    return (struct job_dataset){
        .instance_count = dataset_count(d),
        .record_bytes = dataset_record_bytes(d),
        .record_bytes_max = dataset_record_bytes_max(d),
        .generation = dataset_fingerprint(d),
        .prefix = prefix_cb,
        .keys = d,
        .serial = g->serials[number],
        .number = number,
        .fields = g->config->datasets[number].fields,
    };
}

uint64_t generations_serial(const struct generations *g, uint32_t number)
{
    return g->serials[number];
}

/* ---- earlier ones ------------------------------------------------------------------------------
 */

size_t generations_kept(const struct generations *g, uint32_t number)
{
    size_t count = 0;

    for (size_t i = 0; i < g->retired_count; i++)
        count += g->retired[i].number == number;
    return count;
}

static void let_go(struct generations *g, size_t i)
{
    dataset_close(g->retired[i].dataset);
    g->retired_count--;
    memmove(&g->retired[i], &g->retired[i + 1], (g->retired_count - i) * sizeof *g->retired);
}

/* Batches by the other ways are copies, and what is being copied holds its data set by itself. */
static bool is_held(const struct generations *g, const struct retired *r)
{
    return engine_holds_mapped(g->engine, r->number, r->serial) ||
           share_lingers(g->share, r->number, r->serial);
}

static void look(struct generations *g)
{
    for (size_t i = g->retired_count; i-- > 0;) {
        const struct retired *r = &g->retired[i];

        if (is_held(g, r))
            continue;
        log_info("dataset",
                 "no batch of the old generation is out any more name=%s instances=%" PRIu64,
                 g->config->datasets[r->number].name, dataset_count(r->dataset));
        let_go(g, i);
    }
    if (g->retired_count == 0)
        (void)uv_timer_stop(&g->timer);
}

static void look_cb(uv_timer_t *timer)
{
    look(timer->data);
}

/* ---- the next one ------------------------------------------------------------------------------
 */

static int check(const struct generations *g, uint32_t number, const struct dataset *next,
                 struct reason *why)
{
    const char *name = g->config->datasets[number].name;
    uint64_t record_bytes_max = dataset_record_bytes_max(next);
    const struct session *small = engine_find_too_small(g->engine, number, record_bytes_max);

    if (g->retired_count == GENERATIONS_RETIRED_MAX)
        reason_set(why,
                   "data set '%s': trainers hold batches of %d earlier generations; reload when "
                   "they have given them back",
                   name, GENERATIONS_RETIRED_MAX);
    else if (small != NULL)
        reason_set(why,
                   "data set '%s': a record of %" PRIu64 " bytes is new; batches of client %" PRIu64
                   " could be over payload_bytes_max = %" PRIu64,
                   name, record_bytes_max, small->number, g->config->payload_bytes_max);
    else
        return 0;
    return -OHEM_LIMIT;
}

static void retire(struct generations *g, uint32_t number)
{
    g->retired[g->retired_count++] = (struct retired){
        .dataset = g->datasets[number], .number = number, .serial = g->serials[number]};
    (void)uv_timer_start(&g->timer, look_cb, 0, LOOK_MS);
}

int generations_replace(struct generations *g, uint32_t number, struct dataset *next,
                        generations_say_cb say_cb, void *ctx, struct reason *why)
{
    struct job_dataset described;
    int rc = check(g, number, next, why);

    if (rc != 0)
        return rc;
    retire(g, number);
    g->datasets[number] = next;
    g->serials[number]++;
    described = generations_describe(g, number);
    (void)engine_grow(g->engine, &described, say_cb, ctx);
    return 0;
}

void generations_catch_up(struct generations *g, generations_say_cb say_cb, void *ctx)
{
    for (uint32_t i = 0; i < g->config->dataset_count; i++) {
        struct job_dataset described = generations_describe(g, i);

        (void)engine_grow(g->engine, &described, say_cb, ctx);
    }
    look(g);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

void generations_close(struct generations *g)
{
    if (g != NULL)
        uv_close((uv_handle_t *)&g->timer, NULL);
}

void generations_free(struct generations *g)
{
    if (g == NULL)
        return;
    while (g->retired_count > 0)
        let_go(g, g->retired_count - 1);
    free(g);
}
