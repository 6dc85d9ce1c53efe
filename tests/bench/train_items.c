/* train_items.c - a trainer whose every report is ragged; see train.h. */
#include "train.h"

#include "serve.h"

#include <stdlib.h>

#define CALL_MS 10000
#define KEPT    0.25 /* of all items */

struct run_client {
    struct ohem_client *ohem;
    float *losses;
    uint32_t counts[WORKLOAD_BATCH];
    struct ohem_items items;
};

static void check(int rc, const struct run_client *c, const char *call)
{
    if (rc != 0)
        die("%s: %s: %s", call, ohem_error_name(rc), ohem_client_error(c->ohem));
}

/* As many items for each instance, with losses of a long tail. */
static void make_items(struct run_client *c, uint32_t n)
{
    uint64_t random = 1;

    c->losses = malloc(n * sizeof *c->losses);
    if (c->losses == NULL)
        die("out of memory for %u losses", n);
    for (uint32_t i = 0; i < n; i++) {
        float x;

        random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
        x = (float)(random >> 40) * 0x1p-24f;
        c->losses[i] = 0.01f + 4 * x * x * x;
    }
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++)
        c->counts[i] = n / WORKLOAD_BATCH;
    c->items = (struct ohem_items)OHEM_ITEMS_INIT;
    c->items.losses = c->losses;
    c->items.count = n;
    c->items.counts = c->counts;
    c->items.select = OHEM_SELECT_TOP;
    c->items.value = KEPT;
}

static struct run_client *open_client(const void *ctx, int index)
{
    const struct train_plan *plan = ctx;
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct run_client *c = calloc(1, sizeof *c);

    (void)index;
    if (c == NULL)
        die("out of memory for a trainer");
    options.endpoint = SERVE_ENDPOINT;
    options.job = plan->job;
    options.batch_size = WORKLOAD_BATCH;
    options.credit = 1;
    options.transport = plan->transport;
    if (ohem_connect(&options, &c->ohem) != 0)
        die("ohem_connect: %s", ohem_connect_error());
    make_items(c, plan->items);
    return c;
}

static void step(struct run_client *c, struct run_result *out)
{
    const struct ohem_selection *s;
    struct ohem_batch *b;
    uint64_t began;

    check(ohem_next(c->ohem, CALL_MS, &b), c, "ohem_next");
    began = measure_now_ns();
    check(ohem_report_items(b, &c->items, CALL_MS, &s), c, "ohem_report_items");
    times_add(&out->report, measure_now_ns() - began);
    if (ohem_selection_count(s) != (uint32_t)(KEPT * (double)c->items.count))
        die("a selection of %u of %zu items", ohem_selection_count(s), c->items.count);
    run_count(out, WORKLOAD_BATCH, 0);
    ohem_release(b);
}

static void close_client(struct run_client *c)
{
    ohem_close(c->ohem);
}

void train_items_run(const struct train_plan *plan, struct run_result *out)
{
    static const struct run_kind kind = {.open = open_client, .step = step, .close = close_client};
    struct run run = {.kind = &kind,
                      .plan = plan,
                      .workload = plan->workload,
                      .clients = 1,
                      .server = plan->daemon,
                      .seconds = plan->seconds};

    run_clients(&run, out);
}
