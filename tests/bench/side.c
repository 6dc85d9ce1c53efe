/* side.c - ohemd and its rigs; see side.h. */
#include "side.h"

#include "quiet.h"
#include "serve.h"
#include "usage.h"

#include "../../proto/message.h"

#include <stdio.h>

#define JOB_BYTES 32

/* ---- ohemd ---- */

struct ohemd_run {
    struct train_plan plan;
    struct run_result result;
    struct serve_timing before, after;
};

static void before_cb(void *ctx)
{
    serve_read_timing(&((struct ohemd_run *)ctx)->before);
}

static void measure_ohemd(void *ctx)
{
    struct ohemd_run *o = ctx;

    train_run(&o->plan, &o->result);
    serve_read_timing(&o->after);
}

/* Where the daemon's time went. */
static void add_shares(const struct ohemd_run *o, const char *name)
{
    const char *workload = o->plan.workload->name;
    double to_percent = 100 / (o->result.seconds * MEASURE_NS_PER_S);
    const struct serve_timing *a = &o->before, *z = &o->after;
    int clients = o->plan.clients;

    row_add_metric(workload, name, clients, ROW_DRAW, (z->draw_ns - a->draw_ns) * to_percent);
    row_add_metric(workload, name, clients, ROW_GATHER, (z->gather_ns - a->gather_ns) * to_percent);
    row_add_metric(workload, name, clients, ROW_SEND, (z->send_ns - a->send_ns) * to_percent);
    row_add_metric(workload, name, clients, ROW_RECEIVE,
                   (z->receive_ns - a->receive_ns) * to_percent);
}

double side_job(const struct bench *b, const struct workload *w, const char *policy,
                enum ohem_transport transport, const char *name, int clients)
{
    static struct ohemd_run o;
    double rss_mb, private_mb;
    char job[JOB_BYTES];

    (void)snprintf(job, sizeof job, "%s-%s", w->name, policy);
    o = (struct ohemd_run){.plan = {.workload = w,
                                    .job = job,
                                    .transport = transport,
                                    .credit = b->credit,
                                    .clients = clients,
                                    .seconds = b->effort->seconds,
                                    .daemon = b->daemon,
                                    .began = before_cb,
                                    .ctx = &o}};
    quiet_run(measure_ohemd, &o);
    run_add_rows(&o.result, w->name, name, clients);
    add_shares(&o, name);
    usage_memory(b->daemon, &rss_mb, &private_mb);
    row_add_metric(w->name, name, clients, ROW_SERVER_RSS, rss_mb);
    row_add_metric(w->name, name, clients, ROW_SERVER_PRIVATE, private_mb);
    return o.result.instances_per_s;
}

double side_ohemd(const struct bench *b, const struct workload *w, const struct way *way,
                  bool biased, int clients)
{
    return side_job(b, w, biased ? "biased" : "uniform", way->transport,
                    biased ? way->name : way->uniform_name, clients);
}

/* ---- rigs ---- */

struct rig_measurement {
    struct rig_plan plan;
    struct run_result result;
};

static void measure_rig(void *ctx)
{
    struct rig_measurement *m = ctx;

    rig_run(&m->plan, &m->result);
}

double side_rig(const struct bench *b, const struct workload *w, const struct way *way, int clients)
{
    static struct rig_measurement m;

    m.plan = (struct rig_plan){.workload = w,
                               .way = way->rig,
                               .credit = b->credit,
                               .clients = clients,
                               .part_bytes = b->part_bytes,
                               .seconds = b->effort->seconds};
    quiet_run(measure_rig, &m);
    run_add_rows(&m.result, w->name, way->rig_name, clients);
    return m.result.instances_per_s;
}

struct gather {
    const struct workload *workload;
    double seconds, result;
};

static void measure_gather(void *ctx)
{
    struct gather *g = ctx;

    g->result = rig_gather(g->workload, g->seconds);
}

double side_gather(const struct bench *b, const struct workload *w)
{
    struct gather g = {.workload = w, .seconds = b->effort->seconds / 2};

    quiet_run(measure_gather, &g);
    row_add_metric(w->name, "gather in process", 1, ROW_INSTANCES, g.result);
    row_add_metric(w->name, "gather in process", 1, ROW_MEGABYTES,
                   g.result * workload_batch_bytes(w) / WORKLOAD_BATCH / 1e6);
    return g.result;
}

/* ---- the round trip ---- */

static void measure_report(void *ctx)
{
    struct ohemd_run *o = ctx;

    train_run(&o->plan, &o->result);
}

double side_report(const struct bench *b)
{
    static struct ohemd_run o;
    double us;

    o = (struct ohemd_run){.plan = {.workload = &b->workloads[0],
                                    .job = "w1-uniform",
                                    .transport = OHEM_MAP,
                                    .credit = 1,
                                    .clients = 1,
                                    .blocking = true,
                                    .seconds = b->effort->seconds,
                                    .daemon = b->daemon}};
    quiet_run(measure_report, &o);
    us = times_quantile_us(&o.result.report, 0.5);
    row_add("ohem_report p50, nothing else on the line", "us", us);
    return us;
}

struct trip {
    const struct workload *workload;
    double seconds, us;
};

static void measure_trip(void *ctx)
{
    struct trip *t = ctx;

    t->us = rig_round_trip(t->workload, t->seconds);
}

double side_trip(const struct bench *b)
{
    struct trip t = {.workload = &b->workloads[0], .seconds = b->effort->seconds};

    quiet_run(measure_trip, &t);
    row_add("rig round trip p50, ZeroMQ on libuv", "us", t.us);
    return t.us;
}

/* ---- ragged reports ---- */

static void measure_items(void *ctx)
{
    struct ohemd_run *o = ctx;

    train_items_run(&o->plan, &o->result);
}

double side_items(const struct bench *b)
{
    static struct ohemd_run o;
    double us;

    o = (struct ohemd_run){.plan = {.workload = &b->workloads[0],
                                    .job = "w1-uniform",
                                    .transport = OHEM_MAP,
                                    .items = MESSAGE_ITEMS_MAX,
                                    .seconds = b->effort->seconds,
                                    .daemon = b->daemon}};
    quiet_run(measure_items, &o);
    us = times_quantile_us(&o.result.report, 0.5);
    row_add("ohem_report_items p50, 2^20 items", "us", us);
    return us;
}

static void measure_move(void *ctx)
{
    struct trip *t = ctx;

    t->us = rig_move(t->workload, MESSAGE_ITEMS_MAX, t->seconds);
}

double side_move(const struct bench *b)
{
    struct trip t = {.workload = &b->workloads[0], .seconds = b->effort->seconds};

    quiet_run(measure_move, &t);
    row_add("rig, 2^20 items one way, ZeroMQ on libuv", "us", t.us);
    return t.us;
}
