/* test_growing_lives.c - a data set grows while its daemon and trainer die again and again.
 *
 * A seed makes the lives: batches are drawn and reported, changes captured, written and committed,
 * the set grows while the daemon runs or is down, and it dies at any of these moments. In strict
 * order no step may ever be handed out with other ids, whatever a life had forgotten. In both
 * orders the last epochs cover every id, the scores are of the ids that they were reported for, and
 * a life knows the token of each batch that the one before it handed out. Every third job skips
 * some of the easy (infobatch).
 */
#include "../../daemon/engine/job_inner.h"
#include "../../daemon/engine/engine.h"
#include "../../proto/error.h"
#include "../lib/disk.h"
#include "../lib/shell.h"
#include "../lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_FIRST   40u
#define N_MAX     400u
#define K         6u
#define CREDIT    3u
#define STEPS_MAX 400000u
#define SEEDS     60u
#define LIVES     12u
#define OUT_MAX   512u
#define MEMORY    UINT64_C(0x3e30)

struct held {
    struct token token;
    uint32_t count, ids[K];
};

struct run {
    uint64_t seed, dice;
    bool strict;
    struct engine engine;
    struct disk disk;
    struct rows rows;
    enum { IDLE, CAPTURED, WRITTEN } stage;
    uint64_t now_ms, lives;
    uint64_t n; /* of the data set now; what the engine was told, and refused, is less */
    struct session_key key;
    uint64_t seq;
    bool welcomed;
    struct held held[CREDIT];
    uint32_t held_count;
    struct held out[OUT_MAX]; /* all that this life or the last handed out, to this session */
    struct session_key out_key;
    uint32_t out_count;
    uint32_t (*stream)[K]; /* [STEPS_MAX] of each step, or all 0 */
    uint64_t again, grown, put_off, skipped;
};

static struct run *run;

static uint64_t roll(uint64_t sides)
{
    run->dice += UINT64_C(0x9e3779b97f4a7c15);
    return rng_mix(run->dice) % sides;
}

/* ---- the data set ---------------------------------------------------------------------------- */

static bool prefix(const void *keys, uint64_t n, uint64_t *out_generation)
{
    *out_generation = rng_mix(1000 + n);
    return keys != NULL && n <= run->n;
}

static struct job_dataset dataset(void)
{
    return (struct job_dataset){.instance_count = run->n,
                                .record_bytes = 4,
                                .record_bytes_max = 4,
                                .generation = rng_mix(1000 + run->n),
                                .prefix = prefix,
                                .keys = run,
                                .serial = run->grown};
}

static void say_stays(void *ctx, const char *reason)
{
    struct run *r = ctx;

    assert_non_null(strstr(reason, "reload"));
    r->put_off++;
}

static void grow(bool running)
{
    struct job_dataset d;

    if (run->n + 40 > N_MAX)
        return;
    run->n += 1 + roll(40);
    run->grown++;
    d = dataset();
    if (running)
        (void)engine_grow(&run->engine, &d, say_stays, run);
}

/* ---- the trainer ----------------------------------------------------------------------------- */

static float loss_of(uint32_t id)
{
    return (float)(rng_mix(id + 1) % 4096) / 64;
}

static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    struct run *r = ctx;

    (void)peer;
    if (m->type == MESSAGE_ERROR)
        fail_msg("seed %d: %s", (int)r->seed, m->error.text);
    r->welcomed = r->welcomed || m->type == MESSAGE_WELCOME;
    return 0;
}

static void note_step(struct run *r, const struct lease *l)
{
    uint32_t *known = r->stream[l->token.step];
    static const uint32_t none[K];

    assert_true(l->token.step < STEPS_MAX);
    if (memcmp(known, none, sizeof none) != 0) {
        r->again++;
        if (memcmp(known, l->ids, sizeof none) != 0 || !r->strict)
            fail_msg("seed %d: step %d is handed out with other ids", (int)r->seed,
                     (int)l->token.step);
    }
    memcpy(known, l->ids, sizeof none);
}

static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct run *r = ctx;
    struct held *h = &r->held[r->held_count++];

    assert_true(r->held_count <= CREDIT && d->lease->count == K);
    note_step(r, d->lease);
    *h = (struct held){.token = d->lease->token, .count = K};
    memcpy(h->ids, d->lease->ids, sizeof h->ids);
    if (r->out_count < OUT_MAX)
        r->out[r->out_count++] = *h;
    for (uint32_t i = 0; i < K; i++)
        assert_true(h->ids[i] < r->n);
}

static void say(const struct message *m)
{
    engine_message(&run->engine, 1 + run->lives, m, run->now_ms);
}

static void hello(void)
{
    struct message m = {.type = MESSAGE_HELLO};
    uint64_t halves[2] = {rng_mix(run->lives), run->seed + 1};

    memcpy(run->key.bytes, halves, sizeof halves);
    run->seq = 0;
    run->welcomed = false;
    m.hello = (struct message_hello){.major = PROTO_MAJOR,
                                     .minor = PROTO_MINOR,
                                     .key = run->key,
                                     .batch_size = K,
                                     .credit = CREDIT};
    (void)snprintf(m.hello.job, sizeof m.hello.job, "j");
    say(&m);
    assert_true(run->welcomed);
}

static void report(void)
{
    struct message m = {.type = MESSAGE_LOSS};
    float losses[K];
    uint32_t at = (uint32_t)roll(run->held_count);
    struct held h = run->held[at];

    run->held[at] = run->held[--run->held_count];
    for (uint32_t i = 0; i < K; i++)
        losses[i] = loss_of(h.ids[i]);
    m.loss = (struct message_loss){
        .key = run->key, .token = h.token, .seq = ++run->seq, .losses = {losses, K}};
    say(&m);
    m = (struct message){.type = MESSAGE_CREDIT};
    m.credit.key = run->key;
    m.credit.token = h.token;
    say(&m);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void disks_turn(void)
{
    if (run->stage == IDLE && engine_unsaved(&run->engine)) {
        rows_clear(&run->rows);
        assert_int_equal(engine_capture(&run->engine, &run->rows), 0);
        run->stage = CAPTURED;
    } else if (run->stage == CAPTURED) {
        disk_write(&run->disk, &run->rows);
        run->stage = WRITTEN;
    } else if (run->stage == WRITTEN) {
        engine_committed(&run->engine);
        run->stage = IDLE;
    }
}

static void save_all(void)
{
    do
        disks_turn();
    while (run->stage != IDLE);
}

/* Its trainer may have lived on, and report. */
static void check_tokens(const struct job *j)
{
    for (uint32_t i = 0; i < run->out_count; i++) {
        const struct held *h = &run->out[i];

        if (!job_token_fits(j, &run->out_key, h->token, h->ids, h->count))
            fail_msg("seed %d: life %d does not know the token of step %d", (int)run->seed,
                     (int)run->lives, (int)h->token.step);
    }
    run->out_count = 0;
}

static void begin_life(void)
{
    struct engine_settings settings = shell_settings();
    struct engine_out out = {.ctx = run, .send = send_cb, .deliver = deliver_cb};
    struct job_settings s = shell_job("j", run->n);
    struct reason why = {""};

    settings.durable = s.durable = true;
    settings.boot = ++run->lives;
    settings.memory = MEMORY;
    s.dataset = dataset();
    s.batch_size = K;
    s.staleness = run->strict ? CREDIT + (uint32_t)(run->seed % 7) : 0;
    s.sampler.sampling = run->seed % 3 == 1 ? SAMPLER_INFOBATCH : SAMPLER_MIX;
    run->stage = IDLE;
    run->held_count = 0;
    assert_int_equal(engine_init(&run->engine, &settings, &out), 0);
    assert_int_equal(engine_add_job(&run->engine, &s, &why), 0);
    if (disk_restore(&run->disk, &run->engine, &why) != 0 ||
        engine_restore_end(&run->engine, run->now_ms, &why) != 0)
        fail_msg("seed %d: %s", (int)run->seed, why.text);
    check_tokens(engine_find_job(&run->engine, "j"));
    save_all();
    run->now_ms += s.lease_ms + s.late_ms + 1; /* who was there is forgotten */
    engine_tick(&run->engine, run->now_ms);
    hello();
    run->out_key = run->key;
}

static void end_life(void)
{
    if (roll(3) == 0) { /* in peace */
        save_all();
        engine_end(&run->engine);
        save_all();
        rows_clear(&run->rows);
        assert_int_equal(engine_capture(&run->engine, &run->rows), 0);
        disk_write(&run->disk, &run->rows);
    }
    engine_deinit(&run->engine);
}

static void work(void)
{
    run->now_ms++;
    (void)engine_work(&run->engine, CREDIT - run->held_count, run->now_ms);
    if (run->held_count > 0 && roll(4) > 0)
        report();
}

static void live(void)
{
    begin_life();
    for (uint64_t turns = roll(120); turns > 0; turns--) {
        work();
        if (roll(3) == 0)
            disks_turn();
        if (roll(60) == 0)
            grow(true);
    }
    end_life();
    if (roll(4) == 0)
        grow(false);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void check_scores(const struct job *j)
{
    for (uint32_t id = 0; id < run->n; id++) {
        struct hardness_story story = hardness_story(&j->hardness, id);

        assert_true(story.scored && story.last_loss == loss_of(id));
    }
}

/* All that is there joins, and an epoch of all closes. */
static void finish(void)
{
    const struct coverage_report *r;
    struct job_dataset d = dataset();
    struct job *j;

    begin_life();
    j = engine_find_job(&run->engine, "j");
    for (size_t i = 0;; i++) {
        assert_true(i < STEPS_MAX);
        work();
        save_all();
        if (i % 256 == 0)
            (void)engine_grow(&run->engine, &d, say_stays, run);
        r = coverage_closed(&j->coverage, 0);
        if (r != NULL && r->instances == run->n)
            break;
    }
    assert_int_equal(r->missing, 0);
    assert_int_equal(r->reported + r->released + r->skipped, run->n);
    run->skipped += r->skipped;
    assert_int_equal(j->settings.dataset.instance_count, run->n);
    assert_int_equal(j->settings.dataset.generation, d.generation);
    assert_true(coverage_sound(&j->coverage));
    check_scores(j);
    end_life();
}

static void live_many(bool strict)
{
    uint64_t again = 0, grown = 0, put_off = 0, skipped = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct run r = {.seed = seed, .dice = rng_mix(seed), .strict = strict, .n = N_FIRST};

        r.stream = calloc(STEPS_MAX, sizeof *r.stream);
        assert_non_null(r.stream);
        run = &r;
        for (int i = 0; i < (int)LIVES; i++)
            live();
        finish();
        again += r.again;
        grown += r.grown;
        put_off += r.put_off;
        skipped += r.skipped;
        disk_deinit(&r.disk);
        rows_deinit(&r.rows);
        free(r.stream);
    }
    print_message("%d lives, grown %d times, %d steps again, %d refusals\n", (int)(SEEDS * LIVES),
                  (int)grown, (int)again, (int)put_off);
    assert_true(skipped > SEEDS);
    assert_true(grown > SEEDS && (!strict || (again > SEEDS && put_off > 0)));
}

static void in_strict_order_no_step_gets_other_ids(void **state)
{
    (void)state;
    live_many(true);
}

static void in_free_order_all_is_covered_and_no_step_is_used_twice(void **state)
{
    (void)state;
    live_many(false);
}

TEST_MAIN(TEST(in_strict_order_no_step_gets_other_ids),
          TEST(in_free_order_all_is_covered_and_no_step_is_used_twice))
