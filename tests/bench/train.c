/* train.c - connect, next, report, release, as fast as it goes; see train.h. */
#include "train.h"

#include "serve.h"

#include <math.h>
#include <stdlib.h>

#define CALL_MS   10000
#define DEPTH_MAX 32 /* batches whose selection is not taken yet */

/* A batch whose losses are submitted. */
struct submitted {
    struct ohem_batch *batch; /* NULL: none */
    uint64_t submit_ns;       /* what the call took */
    float losses[WORKLOAD_BATCH];
};

struct run_client {
    const struct train_plan *plan;
    struct ohem_client *ohem;
    uint32_t depth;                      /* of those: as many as half of the credit allows */
    struct submitted pending[DEPTH_MAX]; /* a ring */
    uint32_t at;                         /* of the oldest, and so of the next */
};

/* A loss that differs by instance, with a long tail, and changes a little from step to step, so
 * that scores go on moving between buckets. */
static float loss_of(uint64_t id, uint64_t step)
{
    uint64_t x = (id + 1) * UINT64_C(0x9e3779b97f4a7c15),
             y = (x ^ step) * UINT64_C(0xbf58476d1ce4e5b9);
    float hard = (float)(x >> 40) * 0x1p-24f, noise = (float)(y >> 40) * 0x1p-24f;

    return (0.01f + 4 * hard * hard * hard) * (0.75f + 0.5f * noise);
}

static void check(int rc, const struct run_client *c, const char *call)
{
    if (rc != 0)
        die("%s: %s: %s", call, ohem_error_name(rc), ohem_client_error(c->ohem));
}

static struct run_client *open_client(const void *ctx, int index)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct run_client *c = calloc(1, sizeof *c);
    const struct train_plan *plan = ctx;

    (void)index;
    if (c == NULL)
        die("out of memory for a trainer");
    c->plan = plan;
    c->depth = plan->blocking || plan->credit < 4 ? 1 : plan->credit / 2 - 1;
    options.endpoint = SERVE_ENDPOINT;
    options.job = plan->job;
    options.batch_size = WORKLOAD_BATCH;
    options.credit = plan->credit;
    options.agent = "bench";
    /* a block where there can be one; records of many sizes may lie where they are received */
    options.layout = plan->transport == OHEM_MAP ||
                             (plan->transport == OHEM_INLINE && workload_is_varied(plan->workload))
                         ? OHEM_SCATTERED
                         : OHEM_PACKED;
    options.transport = plan->transport;
    if (ohem_connect(&options, &c->ohem) != 0)
        die("ohem_connect: %s", ohem_connect_error());
    if (ohem_instance_count(c->ohem) != plan->workload->count)
        die("the daemon serves another data set");
    if (ohem_credit(c->ohem) != plan->credit)
        die("a credit of %u, not %u", ohem_credit(c->ohem), plan->credit);
    return c;
}

/* Read every byte. @return how many. */
static size_t read_batch(const struct ohem_batch *batch)
{
    size_t stride, size, bytes = 0;
    const void *block = ohem_batch_block(batch, &stride);
    uint32_t count = ohem_batch_count(batch);
    uint64_t sum = 0;

    if (block != NULL) {
        measure_keep(measure_sum(block, count * stride));
        return count * stride;
    }
    for (uint32_t i = 0; i < count; i++) {
        const void *record = ohem_batch_data(batch, i, &size);

        sum += measure_sum(record, size);
        bytes += size;
    }
    measure_keep(sum);
    return bytes;
}

/* What a forward pass is here: read everything, make up the losses. */
static void forward(struct submitted *s, struct run_result *out)
{
    const uint64_t *ids = ohem_batch_ids(s->batch);
    uint64_t step = ohem_batch_step(s->batch);
    double age = (double)ohem_batch_age(s->batch);

    run_count(out, WORKLOAD_BATCH, (double)read_batch(s->batch));
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++)
        s->losses[i] = loss_of(ids[i], step);
    out->batches++;
    out->age_sum += age;
    out->age_max = age > out->age_max ? age : out->age_max;
}

/* What a backward pass is here: take what was selected. */
static void backward(const struct ohem_selection *selection, const float *losses)
{
    const uint32_t *indices = ohem_selection_indices(selection);
    uint32_t count = ohem_selection_count(selection);
    float sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += losses[indices[i]];
    if (count != WORKLOAD_BATCH / 2 || !isfinite(sum))
        die("a selection of %u of %u losses, sum %g", count, WORKLOAD_BATCH, (double)sum);
}

static void submit(struct run_client *c, struct submitted *s)
{
    uint64_t began = measure_now_ns();

    check(ohem_submit(s->batch, s->losses, WORKLOAD_BATCH), c, "ohem_submit");
    s->submit_ns = measure_now_ns() - began;
}

static void finish(struct run_client *c, struct submitted *s, struct run_result *out)
{
    const struct ohem_selection *selection;
    uint64_t began = measure_now_ns();

    check(ohem_selection(s->batch, CALL_MS, &selection), c, "ohem_selection");
    times_add(&out->report, s->submit_ns + measure_now_ns() - began);
    backward(selection, s->losses);
    ohem_release(s->batch);
    s->batch = NULL;
}

/* The selection of the batch that was submitted `depth` steps ago is taken now. */
static void step(struct run_client *c, struct run_result *out)
{
    struct submitted *s = &c->pending[c->at];
    uint64_t began, now;

    if (s->batch != NULL)
        finish(c, s, out);
    began = measure_now_ns();
    check(ohem_next(c->ohem, CALL_MS, &s->batch), c, "ohem_next");
    now = measure_now_ns();
    times_add(&out->next, now - began);
    if (out->first_at_ns == 0)
        out->first_at_ns = now;
    forward(s, out);
    submit(c, s);
    if (c->plan->blocking)
        finish(c, s, out);
    c->at = (c->at + 1) % c->depth;
}

static void close_client(struct run_client *c)
{
    for (uint32_t i = 0; i < c->depth; i++)
        ohem_release(c->pending[i].batch);
    ohem_close(c->ohem);
}

void train_run(const struct train_plan *plan, struct run_result *out)
{
    static const struct run_kind kind = {.open = open_client, .step = step, .close = close_client};
    struct run run = {.kind = &kind,
                      .plan = plan,
                      .workload = plan->workload,
                      .clients = plan->clients,
                      .server = plan->daemon,
                      .seconds = plan->seconds,
                      .began = plan->began,
                      .ctx = plan->ctx};

    run_clients(&run, out);
}
