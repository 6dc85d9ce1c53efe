/* side_peer.c - the kinds of DataLoader; see side.h. */
#include "side.h"

#include "peer.h"
#include "quiet.h"

#include <string.h>

struct peer_kind {
    const char *fetch, *name;
    int workers;
};

static const struct peer_kind peers[] = {
    {"default", "DataLoader, 0 workers", 0},    {"batched", "DataLoader batched, 0 w.", 0},
    {"views", "DataLoader views, 0 w.", 0},     {"default", "DataLoader, 1 worker", 1},
    {"default", "DataLoader, 2 workers", 2},    {"batched", "DataLoader batched, 1 w.", 1},
    {"batched", "DataLoader batched, 2 w.", 2},
};

struct peer_measurement {
    const struct workload *workload;
    const struct peer_kind *kind;
    double seconds;
    struct peer_result result;
};

static void measure_peer(void *ctx)
{
    struct peer_measurement *m = ctx;

    peer_run(m->workload, m->kind->fetch, m->kind->workers, m->seconds, &m->result);
}

static double run_peer(const struct bench *b, const struct workload *w, const struct peer_kind *k)
{
    struct peer_measurement m = {.workload = w, .kind = k, .seconds = b->effort->seconds};
    const struct peer_result *r = &m.result;

    quiet_run(measure_peer, &m);
    row_add_metric(w->name, k->name, 1, ROW_INSTANCES, r->instances_per_s);
    row_add_metric(w->name, k->name, 1, ROW_MEGABYTES, r->bytes_per_s / 1e6);
    row_add_metric(w->name, k->name, 1, ROW_CPU, r->cpu_share * 1e6 / r->instances_per_s);
    row_add_metric(w->name, k->name, 1, ROW_CPU_CLIENT, r->cpu_share * 1e6 / r->instances_per_s);
    row_add_metric(w->name, k->name, 1, ROW_FIRST, r->first_ms);
    row_add_metric(w->name, k->name, 1, ROW_CLIENT_RSS, r->rss_mb);
    return r->instances_per_s;
}

double side_peers(const struct bench *b, const struct workload *w, double *views)
{
    double best = 0;

    *views = 0;
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        bool is_views = strcmp(peers[i].fetch, "views") == 0;
        double speed;

        if (!b->effort->all_peers && (is_views || peers[i].workers > 0))
            continue;
        speed = run_peer(b, w, &peers[i]);
        if (is_views)
            *views = speed;
        else if (speed > best)
            best = speed;
    }
    return best;
}
