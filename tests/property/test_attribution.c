/* test_attribution.c - every loss reaches the score of its own instance, once: N = 10^6, 8
 * sessions.
 *
 * loss = f(id, step), so a loss on another instance shows. The engine says in which order it
 * applied the reports (LSN); at the end a model replays them in that order, from what was on the
 * wire alone, and the memory of every instance must be the same to the last bit.
 *
 * Is the comparison able to fail? This program is linked with --wrap=hardness_report, so that each
 * 1000th report can be applied twice, dropped, or with two positions swapped: then it must.
 */
#include "../lib/model.h"
#include "../lib/test.h"
#include "../lib/trainer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRAINERS    8u
#define FAULT_EVERY 1000u /* reports */
#define K_MAX       512u
#define CREDIT_MAX  6u
#define EPOCHS      3u
#define LEASE_MS    2000u

/* ---- faults between the engine's parts ------------------------------------------------------ */

enum fault { FAULT_NONE, FAULT_TWICE, FAULT_DROPPED, FAULT_SWAPPED };

static enum fault fault;
static uint64_t fault_reports, fault_step; /* reports seen so far, and the step of the last */

/* The first of two positions to swap. */
static struct {
    bool held;
    uint32_t id;
    float loss;
} swap;

void __real_hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step);
void __wrap_hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step);

static void report_swapped(struct hardness *h, uint32_t id, float loss, uint64_t step, bool first)
{
    if (first) {
        swap.held = true;
        swap.id = id;
        swap.loss = loss;
        return;
    }
    if (swap.held) {
        float mine = loss;

        swap.held = false;
        loss = swap.loss;
        __real_hardness_report(h, swap.id, mine, step);
    }
    __real_hardness_report(h, id, loss, step);
}

void __wrap_hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step)
{
    bool first = fault_reports == 0 || step != fault_step;

    fault_step = step;
    fault_reports += first;
    if (fault == FAULT_NONE || fault_reports % FAULT_EVERY != 0) {
        __real_hardness_report(h, id, loss, step);
    } else if (fault == FAULT_TWICE) {
        __real_hardness_report(h, id, loss, step);
        __real_hardness_report(h, id, loss, step);
    } else if (fault == FAULT_SWAPPED) {
        report_swapped(h, id, loss, step, first);
    }
}

/* ---- what was on the wire ------------------------------------------------------------------- */

struct sent_batch {
    uint32_t count;
    uint64_t *ids;
};

struct run {
    uint64_t dice;
    struct shell *shell;
    struct job *job;
    struct trainer trainers[TRAINERS];
    bool joined[TRAINERS];
    uint64_t keys;

    struct sent_batch *batches; /* by step */
    uint64_t *steps;            /* by LSN: the report's step */
    size_t batch_count, report_count, capacity;
    uint64_t deaths, repeats, lost_answers;
};

static uint64_t roll(struct run *r, uint64_t sides)
{
    r->dice += UINT64_C(0x9e3779b97f4a7c15);
    return rng_mix(r->dice) % sides;
}

static void make_room(struct run *r)
{
    if (r->batch_count < r->capacity)
        return;
    r->capacity = 2 * r->capacity + 1024;
    r->batches = realloc(r->batches, r->capacity * sizeof *r->batches);
    r->steps = realloc(r->steps, (r->capacity + 1) * sizeof *r->steps);
    assert(r->batches != NULL && r->steps != NULL);
}

static void note_batch(struct run *r, const struct message_batch *m)
{
    struct sent_batch b = {.count = m->count, .ids = malloc(m->count * sizeof *b.ids)};

    if (m->token.step < r->batch_count) { /* sent again */
        assert_memory_equal(r->batches[m->token.step].ids, m->ids.data, m->count * sizeof *b.ids);
        free(b.ids);
        return;
    }
    assert_int_equal(m->token.step, r->batch_count);
    assert(b.ids != NULL);
    memcpy(b.ids, m->ids.data, m->count * sizeof *b.ids);
    make_room(r);
    r->batches[r->batch_count++] = b;
}

static void note_selection(struct run *r, const struct message_selection *m)
{
    if ((m->flags & SELECTION_FLAG_REPEATED) != 0) {
        r->repeats++;
        assert_int_equal(r->steps[m->lsn], m->token.step);
        return;
    }
    assert_int_equal(m->lsn, r->report_count + 1);
    r->steps[++r->report_count] = m->token.step;
}

/* Note what the engine sent, and hand it on. */
static void hear(struct run *r)
{
    struct parcel *p;

    while ((p = shell_take(r->shell)) != NULL) {
        size_t i = 0;

        if (p->m.type == MESSAGE_BATCH)
            note_batch(r, &p->m.batch);
        else if (p->m.type == MESSAGE_SELECTION)
            note_selection(r, &p->m.selection);
        r->lost_answers += p->lost;
        while (i < TRAINERS && (p->lost || !r->joined[i] || r->trainers[i].peer != p->peer))
            i++;
        if (i < TRAINERS)
            trainer_hear(&r->trainers[i], p);
        else
            parcel_free(p);
    }
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void join(struct run *r, size_t i)
{
    struct trainer *t = &r->trainers[i];
    uint64_t n = r->job->settings.dataset.instance_count;

    trainer_deinit(t);
    trainer_init(t, r->shell, "train", r->keys++);
    t->batch_size = 1 + (uint32_t)roll(r, n < K_MAX ? n : K_MAX);
    t->credit = 1 + (uint32_t)roll(r, CREDIT_MAX);
    t->broken_share = 10;
    trainer_hello(t);
    r->joined[i] = true;
}

static void come_back(struct run *r, struct trainer *t)
{
    t->peer = shell_new_peer(r->shell);
    for (uint32_t i = t->held_count; i-- > 0;)
        if (roll(r, 3) == 0)
            trainer_drop(t, &t->held[i]);
    trainer_hello(t);
}

/* Any of its batches, in any order: reported, reported again, or given back. */
static void use_batch(struct run *r, struct trainer *t)
{
    struct trainer_batch *b;

    if (t->held_count == 0)
        return;
    b = &t->held[roll(r, t->held_count)];
    if (!b->answered || roll(r, 10) == 0)
        trainer_report(t, b);
    else
        trainer_release(t, b);
}

static void lose_an_answer(struct run *r, struct trainer *t)
{
    shell_set_link(r->shell, t->peer, SHELL_LINK_LOSES);
    use_batch(r, t);
    hear(r);
    shell_set_link(r->shell, t->peer, SHELL_LINK_UP);
}

static void step(struct run *r)
{
    size_t i = roll(r, TRAINERS);
    struct trainer *t = &r->trainers[i];
    uint64_t what = roll(r, 1000);

    if (!r->joined[i]) {
        join(r, i);
    } else if (what < 940) {
        use_batch(r, t);
    } else if (what < 960) {
        lose_an_answer(r, t);
    } else if (what < 965) {
        come_back(r, t);
    } else if (what < 967) {
        r->joined[i] = false; /* without a word; its leases run out */
        r->deaths++;
    } else if (what < 968) {
        shell_advance(r->shell, LEASE_MS + 1, 1000); /* all stall */
    }
    hear(r);
    (void)shell_work(r->shell, 1 + roll(r, 4));
    hear(r);
    shell_advance(r->shell, roll(r, 20), 1000);
    assert_int_equal(t->errors, 0);
}

static struct run *run_new(uint64_t n, uint64_t seed)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", n);
    struct run *r = calloc(1, sizeof *r);

    assert_non_null(r);
    job.lease_ms = LEASE_MS;
    job.late_ms = 100 * LEASE_MS;
    r->dice = seed;
    r->shell = shell_new(&settings);
    r->job = shell_add_job(r->shell, &job);
    for (size_t i = 0; i < TRAINERS; i++)
        trainer_init(&r->trainers[i], r->shell, "train", r->keys++);
    return r;
}

static void run_free(struct run *r)
{
    for (size_t i = 0; i < TRAINERS; i++)
        trainer_deinit(&r->trainers[i]);
    for (size_t i = 0; i < r->batch_count; i++)
        free(r->batches[i].ids);
    free(r->batches);
    free(r->steps);
    shell_free(r->shell);
    free(r);
}

/* The memory that the reports make, in the order in which they were applied. */
static size_t replay_and_compare(const struct run *r)
{
    struct model m;
    size_t differences;

    model_init(&m, r->job->hardness.n, r->job->hardness.lambda);
    for (size_t lsn = 1; lsn <= r->report_count; lsn++) {
        uint64_t at = r->steps[lsn];

        for (uint32_t i = 0; i < r->batches[at].count; i++) {
            uint64_t id = r->batches[at].ids[i];

            model_report(&m, id, trainer_loss(id, at, 10), at);
        }
    }
    differences = model_differences(&m, &r->job->hardness);
    model_deinit(&m);
    return differences;
}

/* @return wrong instances, after at least so many epochs and reports */
static size_t train(uint64_t n, size_t reports_min, enum fault with)
{
    struct run *r = run_new(n, n);
    size_t wrong;

    fault = with;
    fault_reports = 0;
    swap.held = false;
    while (r->job->coverage.epoch < EPOCHS || r->report_count < reports_min)
        step(r);
    wrong = replay_and_compare(r);
    print_message("%zu batches, %zu reports applied, %" PRIu64 " losses, %" PRIu64
                  " deaths, %" PRIu64 " reports repeated, %" PRIu64 " answers lost, %" PRIu64
                  " late: %zu instances wrong\n",
                  r->batch_count, r->report_count, r->job->metrics.losses_applied, r->deaths,
                  r->repeats, r->lost_answers, r->job->metrics.reports_late, wrong);
    assert_true(r->deaths > 0 && r->repeats > 0 && r->lost_answers > 0 &&
                r->job->metrics.reports_late > 0);
    run_free(r);
    return wrong;
}

/* ---- the cases ------------------------------------------------------------------------------ */

static void attribution_holds_for_thirty_thousand_instances(void **state)
{
    (void)state;
    assert_int_equal(train(30000, 2 * FAULT_EVERY, FAULT_NONE), 0);
}

static void big_attribution_holds_for_a_million_instances(void **state)
{
    (void)state;
    assert_int_equal(train(1000000, 0, FAULT_NONE), 0);
}

static void a_report_in_a_thousand_applied_twice_is_seen(void **state)
{
    (void)state;
    assert_true(train(30000, 2 * FAULT_EVERY, FAULT_TWICE) > 0);
}

static void a_report_in_a_thousand_dropped_is_seen(void **state)
{
    (void)state;
    assert_true(train(30000, 2 * FAULT_EVERY, FAULT_DROPPED) > 0);
}

static void two_positions_swapped_in_a_report_in_a_thousand_are_seen(void **state)
{
    (void)state;
    assert_true(train(30000, 2 * FAULT_EVERY, FAULT_SWAPPED) > 0);
}

TEST_MAIN(TEST(attribution_holds_for_thirty_thousand_instances),
          TEST(big_attribution_holds_for_a_million_instances),
          TEST(a_report_in_a_thousand_applied_twice_is_seen),
          TEST(a_report_in_a_thousand_dropped_is_seen),
          TEST(two_positions_swapped_in_a_report_in_a_thousand_are_seen))
