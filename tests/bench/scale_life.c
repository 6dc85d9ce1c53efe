/* scale_life.c - see scale_life.h. */
#include "scale_life.h"

#include <string.h>
#include <time.h>

#define K               SCALE_LIFE_BATCH
#define STATE_BYTES_MAX ((uint64_t)64 << 30)
#define LEASE_MS        120000
#define PEER            1
#define NAME            "scale"
#define HASH_MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static void need(int rc, const struct scale_life *l, const char *what)
{
    if (rc != 0)
        die("%s: %s (%d)", what, l->why.text, rc);
}

/* ---- a trainer ---- */

static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    (void)ctx;
    (void)peer;
    if (m->type == MESSAGE_ERROR)
        die("the engine refused message %u: %s", m->error.about, m->error.text);
    return 0;
}

/* Any losses will do, if they move scores: an instance's own, and something of the step. */
static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct scale_life *l = ctx;
    struct message_loss *loss = &l->loss.loss;

    loss->token = d->lease->token;
    loss->losses.count = d->lease->count;
    for (uint32_t i = 0; i < d->lease->count; i++) {
        uint64_t random = rng_mix(d->lease->ids[i] * HASH_MULTIPLIER + loss->token.step);

        l->losses[i] = (float)(0.001 + rng_unit(rng_mix(d->lease->ids[i])) + rng_unit(random) / 4);
    }
}

static void join(struct scale_life *l)
{
    struct message hello = {.type = MESSAGE_HELLO}, ready = {.type = MESSAGE_READY};

    l->loss = (struct message){.type = MESSAGE_LOSS};
    l->loss.loss.key = (struct session_key){{1}};
    l->loss.loss.losses.data = l->losses;
    hello.hello = (struct message_hello){.major = PROTO_MAJOR,
                                         .minor = PROTO_MINOR,
                                         .key = l->loss.loss.key,
                                         .job = NAME,
                                         .credit = 1,
                                         .ways = 1u << WAY_INLINE};
    engine_message(&l->engine, PEER, &hello, 0);
    ready.ready.key = l->loss.loss.key;
    engine_message(&l->engine, PEER, &ready, 0);
}

/* A batch, its report, and the slot is free again. Nothing is drawn while the disk is far behind.
 */
static void step(struct scale_life *l)
{
    struct message credit = {.type = MESSAGE_CREDIT};

    if (engine_work(&l->engine, 1, 0) == 0) {
        if (!l->writes)
            die("no batch after %llu reports", (unsigned long long)l->reports);
        return;
    }
    l->loss.loss.seq = ++l->reports;
    engine_message(&l->engine, PEER, &l->loss, 0);
    credit.credit.key = l->loss.loss.key;
    credit.credit.token = l->loss.loss.token;
    engine_message(&l->engine, PEER, &credit, 0);
}

/* ---- turns of the loop ---- */

static uint64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A turn between the beginning and the end of a commit. */
static void take_turn(struct scale_life *l, void (*turn)(struct scale_life *l))
{
    struct scale_commits *c = &l->commits;
    uint64_t began = measure_now_ns(), began_cpu = cpu_ns(), ns, cpu;

    turn(l);
    cpu = cpu_ns() - began_cpu;
    ns = measure_now_ns() - began;
    c->longest_ns = c->longest_ns > ns ? c->longest_ns : ns;
    c->longest_cpu_ns = c->longest_cpu_ns > cpu ? c->longest_cpu_ns : cpu;
}

/* ---- commits ---- */

static void collect(struct scale_life *l)
{
    need(engine_capture(&l->engine, state_rows(l->state)), l, "no capture");
    l->captured = l->reports;
    l->writes = true;
    state_commit(l->state);
}

static void note_committed(struct scale_life *l)
{
    engine_committed(&l->engine);
}

/* state_done_cb */
static void done_cb(void *ctx, int rc)
{
    struct scale_life *l = ctx;
    struct scale_commits *c = &l->commits;

    if (rc != 0)
        die("no commit: %s", state_status(l->state)->last_error.text);
    take_turn(l, note_committed);
    l->writes = false;
    times_add(&c->pauses, c->longest_ns);
    times_add(&c->pauses_cpu, c->longest_cpu_ns);
    times_add(&c->writes, state_status(l->state)->commit_ns_last);
    samples_add(&c->megabytes, (double)state_status(l->state)->commit_bytes_last / 1e6);
    c->longest_ns = c->longest_cpu_ns = 0;
}

static void commit_now(struct scale_life *l)
{
    need(engine_capture(&l->engine, state_rows(l->state)), l, "no capture");
    need(state_commit_now(l->state, &l->why), l, "no commit");
    engine_committed(&l->engine);
}

static void turns(struct scale_life *l, uint64_t reports)
{
    while (l->reports < reports) {
        if (l->reports - l->captured >= SCALE_LIFE_REPORTS && !l->writes)
            take_turn(l, collect);
        if (l->writes)
            take_turn(l, step);
        else
            step(l);
        (void)uv_run(&l->loop, UV_RUN_NOWAIT);
    }
    while (l->writes)
        (void)uv_run(&l->loop, UV_RUN_ONCE);
}

/* Steps are reserved by a commit, so there is one before the first. */
void scale_life_train(struct scale_life *l, uint64_t reports)
{
    commit_now(l);
    need(state_start(l->state, &l->loop, done_cb, l), l, "no thread");
    join(l);
    turns(l, reports);
    state_stop(l->state);
    commit_now(l);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
}

/* ---- begin and end ---- */

void scale_life_begin(struct scale_life *l, uint32_t n)
{
    const struct engine_settings settings = {
        .boot = 1, .memory = 1, .durable = true, .sessions_max = 16, .payload_bytes_max = 1u << 20};
    const struct engine_out out = {.ctx = l, .send = send_cb, .deliver = deliver_cb};
    struct job_settings job = {.name = NAME,
                               .dataset = {.instance_count = n},
                               .seed = 1,
                               .lambda = 0.5,
                               .sampler = SAMPLER_POLICY_DEFAULT,
                               .selection = SELECTION_POLICY_DEFAULT,
                               .batch_size = K,
                               .credit = 1,
                               .lease_ms = LEASE_MS,
                               .late_ms = LEASE_MS};

    *l = (struct scale_life){0};
    (void)uv_loop_init(&l->loop);
    job.sampler.rho = 1; /* so that each instance has a score after N / K batches */
    need(engine_init(&l->engine, &settings, &out), l, "no engine");
    need(engine_add_job(&l->engine, &job, &l->why), l, "no job");
}

void scale_life_open_new(struct scale_life *l, const char *dir)
{
    need(state_open(dir, STATE_BYTES_MAX, &l->state, &l->why), l, "no state");
    need(state_forget(l->state, &l->why), l, "no new state");
    need(engine_restore_end(&l->engine, 0, &l->why), l, "no beginning");
}

/* state_row_cb */
static int restore_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                      struct reason *why)
{
    struct scale_life *l = ctx;

    return engine_restore_row(&l->engine, key, value, size, why);
}

void scale_life_load(struct scale_life *l, const char *dir)
{
    need(state_open(dir, STATE_BYTES_MAX, &l->state, &l->why), l, "no state");
    need(state_load(l->state, restore_cb, l, &l->why), l, "rows do not come back");
    need(engine_restore_end(&l->engine, 0, &l->why), l, "no recovery");
}

struct job *scale_life_job(struct scale_life *l)
{
    return engine_find_job(&l->engine, NAME);
}

void scale_life_end(struct scale_life *l)
{
    engine_deinit(&l->engine);
    state_close(l->state);
    samples_deinit(&l->commits.megabytes);
    (void)uv_loop_close(&l->loop);
}
