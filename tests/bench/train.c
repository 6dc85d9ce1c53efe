/* train.c - connect, next, report, release, as fast as it goes; see train.h. */
#include "train.h"

#include "../../client/ohem.h"
#include "serve.h"

#include <math.h>

#define CALL_MS   10000
#define NS_PER_US 1e3
#define NS_PER_S  1e9

/* A loss that differs by instance, with a long tail, and changes a little from step to step, so
 * that scores go on moving between buckets. */
static float loss_of(uint64_t id, uint64_t step)
{
    uint64_t x = (id + 1) * UINT64_C(0x9e3779b97f4a7c15),
             y = (x ^ step) * UINT64_C(0xbf58476d1ce4e5b9);
    float hard = (float)(x >> 40) * 0x1p-24f, noise = (float)(y >> 40) * 0x1p-24f;

    return (0.01f + 4 * hard * hard * hard) * (0.75f + 0.5f * noise);
}

static void check(int rc, const struct ohem_client *client, const char *call)
{
    if (rc != 0)
        die("%s: %s: %s", call, ohem_error_name(rc), ohem_client_error(client));
}

static struct ohem_client *connect_to(const struct train_plan *plan)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;

    options.endpoint = SERVE_ENDPOINT;
    options.job = plan->job;
    options.batch_size = SERVE_BATCH;
    options.credit = plan->credit;
    options.agent = "bench";
    if (ohem_connect(&options, &client) != 0)
        die("ohem_connect: %s", ohem_connect_error());
    if (ohem_instance_count(client) != SERVE_INSTANCES ||
        ohem_record_bytes(client) != SERVE_RECORD_BYTES)
        die("the daemon serves another data set");
    return client;
}

/* What a forward pass is here: read everything, make up the losses. */
static void forward(const struct ohem_batch *batch, float *losses)
{
    const uint64_t *ids = ohem_batch_ids(batch);
    uint64_t step = ohem_batch_step(batch);
    size_t record_bytes;
    const void *block = ohem_batch_block(batch, &record_bytes);

    if (block == NULL)
        die("a batch of records of one size has no block");
    measure_keep(measure_sum(block, ohem_batch_count(batch) * record_bytes));
    for (uint32_t i = 0; i < ohem_batch_count(batch); i++)
        losses[i] = loss_of(ids[i], step);
}

/* What a backward pass is here: take what was selected. */
static void backward(const struct ohem_selection *selection, const float *losses)
{
    const uint32_t *indices = ohem_selection_indices(selection);
    uint32_t count = ohem_selection_count(selection);
    float sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += losses[indices[i]];
    if (count != SERVE_BATCH / 2 || !isfinite(sum))
        die("a selection of %u of %u losses, sum %g", count, SERVE_BATCH, (double)sum);
}

static void one_step(struct ohem_client *client, bool report, struct train_result *out)
{
    const struct ohem_selection *selection;
    float losses[SERVE_BATCH];
    struct ohem_batch *batch;
    uint64_t began = measure_now_ns();

    check(ohem_next(client, CALL_MS, &batch), client, "ohem_next");
    samples_add(&out->next_us, (double)(measure_now_ns() - began) / NS_PER_US);
    forward(batch, losses);
    if (report) {
        began = measure_now_ns();
        check(ohem_report(batch, losses, SERVE_BATCH, CALL_MS, &selection), client, "ohem_report");
        samples_add(&out->report_us, (double)(measure_now_ns() - began) / NS_PER_US);
        backward(selection, losses);
    }
    ohem_release(batch);
}

void train_run(const struct train_plan *plan, struct train_result *out)
{
    struct ohem_client *client = connect_to(plan);
    uint64_t began = measure_now_ns(), now;

    *out = (struct train_result){0};
    do {
        one_step(client, plan->report, out);
        now = measure_now_ns();
    } while ((double)(now - began) < plan->seconds * NS_PER_S);
    out->seconds = (double)(now - began) / NS_PER_S;
    out->batches_per_s = (double)out->next_us.count / out->seconds;
    ohem_close(client);
}
