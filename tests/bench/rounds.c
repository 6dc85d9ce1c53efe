/* rounds.c - rigs, ohemd and peers on each workload; see rounds.h. */
#include "rounds.h"

#include "quiet.h"
#include "serve.h"

#include <stdio.h>

#define JOB_BYTES     32
#define TUNE_RUNS     2
#define TURN_SESSIONS 4

#define WAY(transport, rig, name, rig_name) \
    { \
        transport, rig, name, name " uniform", "rig " rig_name, name "_vs_rig", \
            name "_vs_rig_2_clients", name "_vs_dataloader" \
    }

static const struct way ways[] = {
    WAY(OHEM_MAP, RIG_INDEX, "map", "index"),
    WAY(OHEM_SHM, RIG_SLOT, "shm", "slot"),
    WAY(OHEM_INLINE, RIG_INLINE, "inline", "inline"),
};

#define WAYS (sizeof ways / sizeof ways[0])

/* What a round found on a workload. */
struct found {
    double ohemd[WAYS];
    double dataloader, views; /* the best, and the one that does not copy */
};

/* Ohemd and its rig, one after the other. */
struct pair {
    double ohemd, rig;
};

static struct pair run_pair(const struct bench *b, const struct workload *w, const struct way *way,
                            int clients, bool rig_first)
{
    struct pair p = {0};

    if (rig_first)
        p.rig = side_rig(b, w, way, clients);
    if (b->daemon != 0)
        p.ohemd = side_ohemd(b, w, way, true, clients);
    if (!rig_first)
        p.rig = side_rig(b, w, way, clients);
    if (b->daemon != 0)
        ratio_add_part(clients == 1 ? way->vs_rig : way->vs_rig_of_two, w->name, p.ohemd / p.rig);
    return p;
}

/* The bias costs the most where a batch is the cheapest. The rigs' draws are uniform too, and what
 * is drawn more often is rather in a cache: so this one is also set against the rig. */
static void run_uniform(const struct bench *b, int i, const struct way *way, const struct pair *p)
{
    static const char *const parts[][WAYS] = {{"w1_map", NULL, "w1_inline"},
                                              {"w2_map", NULL, "w2_inline"}};
    const char *part;
    double uniform;

    if (b->daemon == 0 || i >= (int)(sizeof parts / sizeof parts[0]))
        return;
    part = parts[i][way - ways];
    if (part == NULL)
        return;
    uniform = side_ohemd(b, &b->workloads[i], way, false, 1);
    ratio_add_part("biased_vs_uniform", part, p->ohemd / uniform);
    ratio_add_part("uniform_vs_rig", part, uniform / p->rig);
}

static void run_way(const struct bench *b, int i, size_t way, bool rig_first, struct found *out)
{
    const struct workload *w = &b->workloads[i];
    struct pair p = run_pair(b, w, &ways[way], 1, rig_first);

    out->ohemd[way] = p.ohemd;
    run_uniform(b, i, &ways[way], &p);
    if (b->effort->rigs_of_two)
        (void)run_pair(b, w, &ways[way], 2, rig_first);
    else if (b->daemon != 0)
        (void)side_ohemd(b, w, &ways[way], true, 2);
}

static void add_peer_ratios(const struct workload *w, const struct found *f)
{
    for (size_t way = 0; way < WAYS; way++)
        if (f->dataloader > 0)
            ratio_add_part(ways[way].vs_dataloader, w->name, f->ohemd[way] / f->dataloader);
    if (f->views > 0)
        ratio_add_part("map_vs_dataloader_views", w->name, f->ohemd[0] / f->views);
}

static void run_workload(const struct bench *b, int i, bool rig_first)
{
    const struct workload *w = &b->workloads[i];
    struct found found = {0};
    double gather = side_gather(b, w);

    for (size_t way = 0; way < WAYS; way++)
        run_way(b, i, way, rig_first, &found);
    if (b->has_peer && (b->effort->all_peers || !workload_is_varied(w)))
        found.dataloader = side_peers(b, w, &found.views);
    if (b->daemon == 0)
        return;
    add_peer_ratios(w, &found);
    ratio_add_part("map_vs_gather", w->name, found.ohemd[0] / gather);
    ratio_add_part("shm_vs_gather", w->name, found.ohemd[1] / gather);
}

struct bench_memcpy {
    double seconds, bytes_per_s;
};

static void measure_memcpy(void *ctx)
{
    struct bench_memcpy *m = ctx;

    m->bytes_per_s = rig_memcpy(m->seconds);
}

void rounds_run(const struct bench *b, int round)
{
    struct bench_memcpy copy = {.seconds = b->effort->seconds / 2};

    for (int i = 0; i < WORKLOADS; i++)
        run_workload(b, i, round % 2 == 0);
    quiet_run(measure_memcpy, &copy);
    row_add("memcpy, larger than any cache", "MB/s", copy.bytes_per_s / 1e6);
    if (b->daemon == 0)
        (void)side_trip(b);
    else
        ratio_add("report_rtt_vs_zmq", side_report(b) / side_trip(b));
    if (b->daemon != 0)
        ratio_add("items_report_vs_three_moves", side_items(b) / (3 * side_move(b)));
}

/* ---- before and after ---- */

void rounds_tune(struct bench *b)
{
    static struct run_result r;
    double best = 0;

    for (int run = 0; run < TUNE_RUNS; run++)
        for (size_t part = 1 << 20; part <= 4 << 20; part *= 2) {
            struct rig_plan plan = {.workload = &b->workloads[WORKLOADS - 1],
                                    .way = RIG_INLINE,
                                    .credit = b->credit,
                                    .clients = 1,
                                    .part_bytes = part,
                                    .seconds = b->effort->seconds / 2};

            rig_run(&plan, &r);
            if (r.instances_per_s > best) {
                best = r.instances_per_s;
                b->part_bytes = part;
            }
        }
}

static void train(const struct bench *b, const struct workload *w, const char *policy,
                  enum ohem_transport transport, int clients)
{
    static struct run_result r;
    char job[JOB_BYTES];
    struct train_plan plan = {.workload = w,
                              .job = job,
                              .transport = transport,
                              .credit = b->credit,
                              .clients = clients,
                              .seconds = b->effort->seconds,
                              .daemon = b->daemon};

    (void)snprintf(job, sizeof job, "%s-%s", w->name, policy);
    train_run(&plan, &r);
}

void rounds_warm_up(const struct bench *b)
{
    for (int i = 0; i < WORKLOADS; i++) {
        train(b, &b->workloads[i], "biased", OHEM_MAP, 1);
        train(b, &b->workloads[i], "uniform", OHEM_MAP, 1);
    }
}

static const struct {
    int clients;
    const char *part;
} crowds[] = {{1, "w1"}, {4, "w1_4_clients"}};

#define CROWDS (sizeof crowds / sizeof crowds[0])

/* Free order in memory, strict order in memory, and free order with a state on disk. */
static void run_promises(struct bench *b)
{
    const struct workload *w = &b->workloads[0];
    double free_order[CROWDS];

    b->daemon = serve_start(b->program, b->workloads, false);
    train(b, w, "biased", OHEM_MAP, 1);
    train(b, w, "strict", OHEM_MAP, 1);
    for (size_t i = 0; i < CROWDS; i++) {
        int clients = crowds[i].clients;

        free_order[i] = side_job(b, w, "biased", OHEM_MAP, "map free", clients);
        ratio_add_part("strict_vs_free", crowds[i].part,
                       side_job(b, w, "strict", OHEM_MAP, "map strict", clients) / free_order[i]);
    }
    serve_stop();
    b->daemon = serve_start(b->program, b->workloads, true);
    train(b, w, "biased", OHEM_MAP, 1);
    for (size_t i = 0; i < CROWDS; i++)
        ratio_add_part("durable_vs_memory", crowds[i].part,
                       side_job(b, w, "biased", OHEM_MAP, "map durable", crowds[i].clients) /
                           free_order[i]);
    serve_stop();
    b->daemon = 0;
}

void rounds_promises(struct bench *b)
{
    for (int round = 0; round < b->effort->rounds; round++)
        run_promises(b);
}

static const struct {
    enum ohem_transport transport;
    const char *p50, *p99, *p999, *max;
} turns[] = {
    {OHEM_INLINE, "loop turn p50, w3, 4 sessions, inline", "loop turn p99, w3, 4 sessions, inline",
     "loop turn p99.9, w3, 4 sessions, inline", "loop turn max, w3, 4 sessions, inline"},
    {OHEM_SHM, "loop turn p50, w3, 4 sessions, shm", "loop turn p99, w3, 4 sessions, shm",
     "loop turn p99.9, w3, 4 sessions, shm", "loop turn max, w3, 4 sessions, shm"},
};

/* While reports of 2^20 items come one after the other. */
static void add_turns_of_items(struct bench *b)
{
    struct serve_timing t;

    b->daemon = serve_start(b->program, b->workloads, false);
    (void)side_items(b);
    serve_read_timing(&t);
    serve_stop();
    row_add("loop turn p99, reports of 2^20 items", "us", t.turn_ns_p99 / 1e3);
    row_add("loop turn p99.9, reports of 2^20 items", "us", t.turn_ns_p999 / 1e3);
    row_add("loop turn max, reports of 2^20 items", "us", t.turn_ns_max / 1e3);
}

void rounds_turns(struct bench *b)
{
    add_turns_of_items(b);
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        struct serve_timing t;

        b->daemon = serve_start(b->program, b->workloads, false);
        train(b, &b->workloads[WORKLOADS - 1], "biased", turns[i].transport, TURN_SESSIONS);
        serve_read_timing(&t);
        serve_stop();
        row_add(turns[i].p50, "us", t.turn_ns_p50 / 1e3);
        row_add(turns[i].p99, "us", t.turn_ns_p99 / 1e3);
        row_add(turns[i].p999, "us", t.turn_ns_p999 / 1e3);
        row_add(turns[i].max, "us", t.turn_ns_max / 1e3);
    }
    b->daemon = 0;
}
