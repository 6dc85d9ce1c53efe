/* modules.c - ns per draw, report, selection, encode and decode; see modules.h.
 *
 * Each is a function that does a number of operations on a prepared state; time_it() repeats it.
 * All states stand at once, so that the rounds interleave.
 */
#include "modules.h"

#include "../../daemon/engine/coverage.h"
#include "../../daemon/engine/hardness.h"
#include "../../daemon/engine/sampler.h"
#include "../../daemon/engine/selection.h"
#include "../../proto/codec.h"
#include "measure.h"
#include "serve.h"

#include <stdlib.h>

#define INSTANCES   1000000u
#define BATCH       256u
#define RECORDS     4096u /* reports or codec calls between looks at the clock */
#define LARGE_BATCH MESSAGE_BATCH_SIZE_MAX

struct state {
    struct hardness hardness;
    struct coverage coverage;
    struct sampler mixed, hard; /* rho 0.5, and nearly 0 */
    struct sampler_batch batch;
    struct selection selection;
    struct codec *codec;
    float *losses; /* [LARGE_BATCH] */
    uint64_t step, random;
};

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        die("out of memory for %zu bytes", count * size);
    return memory;
}

static uint64_t next_random(struct state *s)
{
    return rng_mix(s->random++);
}

/* The cube of a uniform number: a few are hard, as in training. */
static float next_loss(struct state *s)
{
    double x = rng_unit(next_random(s));

    return (float)(0.01 + 4 * x * x * x);
}

static void make_sampler(struct sampler *s, double rho, uint64_t seed)
{
    struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;

    policy.rho = rho;
    if (sampler_init(s, &policy, rng_make(seed, "bench", RNG_DRAW), BATCH) != 0)
        die("out of memory for a sampler");
}

static void init(struct state *s)
{
    *s = (struct state){.codec = codec_new(), .random = 1};
    if (s->codec == NULL || hardness_init(&s->hardness, INSTANCES, 0.5f) != 0 ||
        coverage_init(&s->coverage, INSTANCES, rng_make(1, "bench", RNG_PERMUTATION)) != 0)
        die("out of memory for %u instances", INSTANCES);
    make_sampler(&s->mixed, 0.5, 1);
    make_sampler(&s->hard, 1e-9, 2);
    s->batch.ids = take(BATCH, sizeof *s->batch.ids);
    s->batch.epochs = take(BATCH, sizeof *s->batch.epochs);
    s->batch.probabilities = take(BATCH, sizeof *s->batch.probabilities);
    s->batch.weights = take(BATCH, sizeof *s->batch.weights);
    s->batch.count = BATCH;
    s->selection.indices = take(LARGE_BATCH, sizeof *s->selection.indices);
    s->selection.weights = take(LARGE_BATCH, sizeof *s->selection.weights);
    s->losses = take(LARGE_BATCH, sizeof *s->losses);
    for (uint32_t i = 0; i < LARGE_BATCH; i++)
        s->losses[i] = next_loss(s);
}

static void deinit(struct state *s)
{
    free(s->losses);
    free(s->selection.weights);
    free(s->selection.indices);
    free(s->batch.weights);
    free(s->batch.probabilities);
    free(s->batch.epochs);
    free(s->batch.ids);
    sampler_deinit(&s->hard);
    sampler_deinit(&s->mixed);
    coverage_deinit(&s->coverage);
    hardness_deinit(&s->hardness);
    codec_free(s->codec);
}

/* ---- what is measured: each does some operations and says how many ---- */

static size_t report_random(struct state *s)
{
    s->step++;
    for (uint32_t i = 0; i < RECORDS; i++)
        hardness_report(&s->hardness, (uint32_t)rng_below(next_random(s), INSTANCES), s->losses[i],
                        s->step);
    return RECORDS;
}

static size_t draw(struct state *s, struct sampler *sampler)
{
    sampler_draw(sampler, &s->hardness, &s->coverage, s->step++, &s->batch);
    for (uint32_t i = 0; i < s->batch.coverage_count; i++)
        coverage_settle(&s->coverage,
                        (struct coverage_slot){.id = s->batch.ids[i], .epoch = s->batch.epochs[i]},
                        true);
    return BATCH;
}

static size_t draw_mixed(struct state *s)
{
    return draw(s, &s->mixed);
}

static size_t draw_hard(struct state *s)
{
    return draw(s, &s->hard);
}

static size_t choose(struct state *s, uint32_t k)
{
    static const struct selection_policy policy = SELECTION_POLICY_DEFAULT;

    selection_choose(&policy, s->losses, k, &s->selection);
    measure_keep(s->selection.count);
    return 1;
}

static size_t choose_small(struct state *s)
{
    return choose(s, BATCH);
}

static size_t choose_large(struct state *s)
{
    return choose(s, LARGE_BATCH);
}

/* Vectors are lent, so what they hold does not matter: the losses stand for all. */
static size_t encode_batch(struct state *s)
{
    static const uint64_t ids[BATCH + 1];
    struct message m = {.type = MESSAGE_BATCH,
                        .batch = {.count = BATCH,
                                  .coverage_count = BATCH / 2,
                                  .record_bytes = SERVE_RECORD_BYTES,
                                  .lease_ms = 120000,
                                  .ids = {ids, BATCH},
                                  .probabilities = {s->losses, BATCH},
                                  .weights = {s->losses, BATCH},
                                  .offsets = {ids, BATCH + 1},
                                  .payload = {s->losses, BATCH * SERVE_RECORD_BYTES}}};
    struct frames f;

    for (uint32_t i = 0; i < RECORDS; i++) {
        m.batch.token.step = i;
        codec_encode(&m, &f);
        measure_keep(f.list[0].size);
    }
    return RECORDS;
}

static size_t decode_loss(struct state *s)
{
    struct message m = {.type = MESSAGE_LOSS,
                        .loss = {.token = {.step = 1000, .tag = next_random(s)},
                                 .seq = 1000,
                                 .losses = {s->losses, BATCH}}};
    struct frames f;
    struct reason why;

    codec_encode(&m, &f);
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct message got;

        if (codec_decode(s->codec, f.list, f.count, &got, &why) != 0)
            die("a LOSS does not decode: %s", why.text);
        measure_keep(got.loss.seq);
    }
    return RECORDS;
}

/* ---- the rounds ---- */

struct module {
    const char *name, *unit;
    size_t (*run)(struct state *s);
};

static const struct module modules[] = {
    {"hardness_report, N = 10^6, random ids", "ns", report_random},
    {"sampler_draw, N = 10^6, rho 0.5", "ns/instance", draw_mixed},
    {"sampler_draw, N = 10^6, hard slots only", "ns/instance", draw_hard},
    {"selection_choose, K = 256", "ns", choose_small},
    {"selection_choose, K = 65536", "ns", choose_large},
    {"codec_encode BATCH, K = 256", "ns", encode_batch},
    {"codec_decode LOSS, K = 256", "ns", decode_loss},
};

static double time_it(struct state *s, const struct module *m, double seconds)
{
    uint64_t began = measure_now_ns(), now;
    size_t count = 0;

    do {
        count += m->run(s);
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * 1e9);
    return (double)(now - began) / (double)count;
}

/* The first report of every instance: it fills the memory, so it can be measured once only. */
static void report_first(struct state *s)
{
    uint64_t began;
    float *losses = take(INSTANCES, sizeof *losses);

    for (uint32_t id = 0; id < INSTANCES; id++)
        losses[id] = next_loss(s);
    began = measure_now_ns();
    for (uint32_t i = 0; i < INSTANCES; i++)
        hardness_report(&s->hardness, (uint32_t)(i * UINT64_C(611953) % INSTANCES), losses[i], 0);
    row_add("hardness_report, N = 10^6, first of each id", "ns",
            (double)(measure_now_ns() - began) / INSTANCES);
    free(losses);
}

void modules_run(int rounds, double seconds)
{
    static struct state s;

    init(&s);
    report_first(&s);
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
            row_add(modules[i].name, modules[i].unit, time_it(&s, &modules[i], seconds));
    deinit(&s);
}
