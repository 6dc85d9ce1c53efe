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
#include "quickselect.h"
#include "serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSTANCES   1000000u
#define SMALL       60000u /* instances: the memory of one stays in the L2 cache, nearly */
#define BATCH       256u
#define RECORDS     4096u /* reports or codec calls between looks at the clock */
#define LARGE_BATCH MESSAGE_BATCH_SIZE_MAX
#define LOSSES      (1u << 20) /* many, so that nothing about them can be learnt by heart */

struct memory {
    struct hardness hardness;
    struct coverage coverage;
};

struct state {
    struct memory large, small;          /* of INSTANCES, of SMALL */
    struct sampler mixed, hard, uniform; /* rho 0.5, nearly 0, 1 */
    struct sampler_batch batch;
    struct selection selection; /* room for LOSSES */
    struct codec *codec;
    float *losses, *scratch; /* [LOSSES] */
    size_t first_loss;       /* of the next selection */
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

static void make_memory(struct memory *m, uint32_t n)
{
    if (hardness_init(&m->hardness, n, 0.5f) != 0 ||
        coverage_init(&m->coverage, n, rng_make(1, "bench", RNG_PERMUTATION)) != 0)
        die("out of memory for %u instances", n);
}

static void init(struct state *s)
{
    *s = (struct state){.codec = codec_new(), .random = 1};
    if (s->codec == NULL)
        die("out of memory for a codec");
    make_memory(&s->large, INSTANCES);
    make_memory(&s->small, SMALL);
    make_sampler(&s->mixed, 0.5, 1);
    make_sampler(&s->hard, 1e-9, 2);
    make_sampler(&s->uniform, 1, 3);
    s->batch.ids = take(BATCH, sizeof *s->batch.ids);
    s->batch.epochs = take(BATCH, sizeof *s->batch.epochs);
    s->batch.probabilities = take(BATCH, sizeof *s->batch.probabilities);
    s->batch.weights = take(BATCH, sizeof *s->batch.weights);
    s->batch.count = BATCH;
    s->selection.indices = take(LOSSES, sizeof *s->selection.indices);
    s->selection.weights = take(LOSSES, sizeof *s->selection.weights);
    s->losses = take(LOSSES, sizeof *s->losses);
    s->scratch = take(LOSSES, sizeof *s->scratch);
    for (uint32_t i = 0; i < LOSSES; i++)
        s->losses[i] = next_loss(s);
}

static void deinit(struct state *s)
{
    free(s->scratch);
    free(s->losses);
    free(s->selection.weights);
    free(s->selection.indices);
    free(s->batch.weights);
    free(s->batch.probabilities);
    free(s->batch.epochs);
    free(s->batch.ids);
    sampler_deinit(&s->uniform);
    sampler_deinit(&s->hard);
    sampler_deinit(&s->mixed);
    coverage_deinit(&s->small.coverage);
    hardness_deinit(&s->small.hardness);
    coverage_deinit(&s->large.coverage);
    hardness_deinit(&s->large.hardness);
    codec_free(s->codec);
}

/* ---- what is measured: each does some operations and says how many ---- */

/* As job.c applies a batch. */
static size_t report_random(struct state *s, struct hardness *h)
{
    uint32_t *ids = s->batch.ids;

    s->step++;
    for (uint32_t i = 0; i < BATCH; i++)
        ids[i] = (uint32_t)rng_below(next_random(s), h->n);
    hardness_fetch_ahead(h, ids, BATCH, 0);
    for (uint32_t i = 0; i < BATCH; i++) {
        hardness_fetch_ahead(h, ids, BATCH, i + 1);
        hardness_report(h, ids[i], s->losses[s->step * BATCH % LOSSES + i], s->step);
    }
    return BATCH;
}

static size_t report_large(struct state *s)
{
    return report_random(s, &s->large.hardness);
}

static size_t report_small(struct state *s)
{
    return report_random(s, &s->small.hardness);
}

static size_t draw(struct state *s, struct sampler *sampler, struct memory *m)
{
    sampler_draw(sampler, &m->hardness, &m->coverage, s->step++, &s->batch);
    coverage_settle_many(&m->coverage, s->batch.epochs, s->batch.coverage_count, true);
    return BATCH;
}

static size_t draw_mixed(struct state *s)
{
    return draw(s, &s->mixed, &s->large);
}

static size_t draw_hard(struct state *s)
{
    return draw(s, &s->hard, &s->large);
}

static size_t draw_mixed_small(struct state *s)
{
    return draw(s, &s->mixed, &s->small);
}

static size_t draw_uniform_small(struct state *s)
{
    return draw(s, &s->uniform, &s->small);
}

static const float *next_losses(struct state *s, uint32_t k)
{
    if (s->first_loss + k > LOSSES)
        s->first_loss = 0;
    s->first_loss += k;
    return s->losses + s->first_loss - k;
}

static void choose(struct state *s, const float *losses, uint32_t k)
{
    static const struct selection_policy policy = SELECTION_POLICY_DEFAULT;

    selection_choose(&policy, &(struct selection_input){.losses = losses, .count = k},
                     &s->selection);
    measure_keep(s->selection.count);
}

static size_t choose_small(struct state *s)
{
    choose(s, next_losses(s, BATCH), BATCH);
    return 1;
}

static size_t choose_large(struct state *s)
{
    choose(s, next_losses(s, LARGE_BATCH), LARGE_BATCH);
    return 1;
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
                                  .offsets = {ids, BATCH},
                                  .sizes = {s->losses, BATCH},
                                  .bytes = BATCH * SERVE_RECORD_BYTES,
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
    {"hardness_report, N = 10^6, random ids", "ns", report_large},
    {"hardness_report, N = 60000, random ids", "ns", report_small},
    {"sampler_draw, N = 10^6, rho 0.5", "ns/instance", draw_mixed},
    {"sampler_draw, N = 10^6, hard slots only", "ns/instance", draw_hard},
    {"sampler_draw, N = 60000, rho 0.5", "ns/instance", draw_mixed_small},
    {"sampler_draw, N = 60000, rho 1", "ns/instance", draw_uniform_small},
    {"selection_choose, K = 256", "ns", choose_small},
    {"selection_choose, K = 65536", "ns", choose_large},
    {"codec_encode BATCH, K = 256", "ns", encode_batch},
    {"codec_decode LOSS, K = 256", "ns", decode_loss},
};

/* Sizes of a selection that is compared with what others do. */
static const struct peer {
    uint32_t k;
    const char *part; /* the ratios' */
} peers[] = {{256, "K 256"}, {4096, "K 4096"}, {65536, "K 65536"}, {1000000, "K 10^6"}};
#define PEER_COUNT (sizeof peers / sizeof peers[0])

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
static double report_first(struct state *s, struct hardness *h)
{
    uint64_t began = measure_now_ns();

    for (uint32_t i = 0; i < h->n; i++)
        hardness_report(h, (uint32_t)(i * UINT64_C(611953) % h->n), s->losses[i], 0);
    return (double)(measure_now_ns() - began) / h->n;
}

/* Choosing half of k, and what another would have done: a quickselect over a copy, which finds the
 * threshold alone, without the indices and the statistics. */
static void compare_selection(struct state *s, const struct peer *p, double seconds)
{
    uint64_t ours = 0, theirs = 0;

    while ((double)(ours + theirs) < seconds * 1e9) {
        const float *losses = next_losses(s, p->k);
        uint64_t began = measure_now_ns(), between;

        choose(s, losses, p->k);
        between = measure_now_ns();
        memcpy(s->scratch, losses, p->k * sizeof *losses);
        measure_keep((uint64_t)(1024 * quickselect(s->scratch, p->k, p->k / 2)));
        ours += between - began;
        theirs += measure_now_ns() - between;
    }
    ratio_add_part("selection_choose / quickselect", p->part, (double)ours / (double)theirs);
}

/* The times of others, who work by themselves before our turn. */
struct others {
    double numpy_ns, torch_ns;
};

static void ask_others(const char *script, struct others out[PEER_COUNT])
{
    char command[4200];
    FILE *pipe;

    (void)snprintf(command, sizeof command, "/usr/bin/python3 '%s'", script);
    pipe = popen(command, "r"); // NOLINT(cert-env33-c): a path of ours
    if (pipe == NULL)
        die("%s does not start", script);
    for (size_t i = 0; i < PEER_COUNT; i++) {
        uint32_t k;

        if (fscanf(pipe, "%" SCNu32 " %lf %lf", &k, &out[i].numpy_ns, &out[i].torch_ns) != 3 ||
            k != peers[i].k)
            die("%s does not tell of K = %" PRIu32, script, peers[i].k);
    }
    if (pclose(pipe) != 0)
        die("%s failed", script);
}

static void compare_with_others(struct state *s, const struct peer *p, const struct others *o,
                                double seconds)
{
    uint64_t began = measure_now_ns(), now;
    double count = 0, ours;

    do {
        choose(s, next_losses(s, p->k), p->k);
        count++;
        now = measure_now_ns();
    } while ((double)(now - began) < seconds * 1e9);
    ours = (double)(now - began) / count;
    ratio_add_part("selection_choose / numpy.partition", p->part, ours / o->numpy_ns);
    ratio_add_part("selection_choose / torch.topk", p->part, ours / o->torch_ns);
}

void modules_run(int rounds, double seconds, const char *select_script)
{
    static struct state s;
    struct others others[PEER_COUNT];

    if (select_script != NULL)
        ask_others(select_script, others);
    init(&s);
    row_add("hardness_report, N = 10^6, first of each id", "ns",
            report_first(&s, &s.large.hardness));
    (void)report_first(&s, &s.small.hardness);
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
            row_add(modules[i].name, modules[i].unit, time_it(&s, &modules[i], seconds));
        for (size_t i = 0; i < PEER_COUNT; i++)
            compare_selection(&s, &peers[i], seconds);
        for (size_t i = 0; i < PEER_COUNT && select_script != NULL; i++)
            compare_with_others(&s, &peers[i], &others[i], seconds);
    }
    deinit(&s);
}
