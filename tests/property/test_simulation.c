/* test_simulation.c - what is promised holds when daemons and trainers die at any moment.
 *
 * A seed makes a schedule: jobs in free or strict order; trainers that join, stall, die, come back,
 * repeat themselves and lie; a disk whose writes take their time and fail; a daemon that dies
 * before a capture, between it and the write, behind the write, and at its start. The world
 * (world.h) asks the oracles after each step. At the end the living say again what they keep, and
 * nothing of theirs may be lost; then every epoch must close. A seed that fails is printed with its
 * trace.
 *
 *     SIMULATION_SEED=7     that schedule alone
 *     SIMULATION_SEEDS=900  so many of them
 */
#include "../../proto/error.h"
#include "../lib/test.h"
#include "../lib/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

#define STEPS_MIN     60u
#define STEPS_MAX     360u
#define ROUNDS_MAX    400u
#define COVER_MAX     20000u
#define CHECK_STEPS   32u /* between two looks at every instance */
#define RESERVED      4u  /* survivors that the end may need */
#define TRACE_TAIL    12000u
#define LARGE_EVERY   50u
#define AUDITED       16u  /* instances whose whole story is read at the end */
#define FAILING_SHARE 250u /* of 1000 writes */

/* ---- a schedule ----------------------------------------------------------------------------- */

struct schedule {
    struct world w;
    bool large;          /* more ids than a capture saves the scores of */
    bool releases;       /* batches are given back unreported, too */
    uint64_t drain_left; /* steps until the daemon that is going down is gone; 0: it is not */
    uint64_t lies, writes_failed, drains;
};

static void choose_size(struct schedule *c, struct job_settings *j)
{
    struct world *w = &c->w;
    static const uint64_t sizes[] = {8, 30, 60, 200};
    uint64_t n = 5 + world_roll(w, sizes[world_roll(w, 4)] - 4), k = n < 16 ? n : 16;

    if (c->large) {
        n = 20000 + world_roll(w, 20000);
        k = 300;
    }
    j->dataset.instance_count = n;
    j->batch_size = 1 + (uint32_t)world_roll(w, k);
}

/* Of the first instances, so that some are harder than they look. */
static void give_irreducible(struct job_settings *j)
{
    static float losses[64];

    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
        losses[i] = (float)(i % 7) / 4;
    j->irreducible = losses;
    j->irreducible_count = sizeof losses / sizeof losses[0];
}

static void choose_job(struct schedule *c, size_t number, bool strict)
{
    struct world *w = &c->w;
    char name[] = {'j', (char)('0' + number), '\0'};
    struct job_settings *j = &w->jobs[number];

    *j = shell_job(name, 5);
    choose_size(c, j);
    j->durable = j->audit = true;
    j->audit_bytes_max = UINT64_C(1) << 40;
    j->seed = world_roll(w, UINT64_MAX);
    j->lambda = 1.0 / (double)(1u << world_roll(w, 3));
    j->lease_ms = 20 + world_roll(w, 1000);
    j->late_ms = world_chance(w, 300) ? 0 : world_roll(w, 2000);
    j->credit = 1 + (uint32_t)world_roll(w, 4);
    j->staleness = strict ? j->credit + (uint32_t)world_roll(w, 12) : 0;
    j->sampler.rho = 1.0 / (double)(1 + world_roll(w, 4));
    j->sampler.unique = world_chance(w, 500);
    j->sampler.beta = 0.5; /* or all weights are alike */
    j->sampler.weight = (enum sampler_weight)world_roll(w, 3);
    j->sampler.mode = j->seed % 5 == 0 ? SAMPLER_AUTO : SAMPLER_ON;
    j->sampler.gain_min = 1.15;
    if (j->seed % 3 == 1)
        j->sampler.sampling = SAMPLER_INFOBATCH;
    if (j->seed % 4 == 2)
        give_irreducible(j);
    if (!strict && j->seed % 5 < 2)
        j->round = (struct round_policy){.ranks = 1 + (uint32_t)(j->seed / 5 % 4),
                                         .ms = 1 + j->seed / 20 % 200,
                                         .balanced = j->seed % 7 == 0};
    j->quarantine = (struct quarantine_policy){
        .on = !strict && j->seed % 2 == 0, .share = 0.3, .visits = 2, .cap = 0.25};
}

static struct survivor *enter(struct schedule *c, size_t job)
{
    struct world *w = &c->w;
    const struct job_settings *j = &w->jobs[job];
    struct survivor *s = world_add_survivor(w, job);

    s->credit = j->credit;
    if (j->staleness == 0) {
        s->batch_size = 1 + (uint32_t)world_roll(w, j->batch_size);
        s->credit = 1 + (uint32_t)world_roll(w, 4);
    }
    if (c->large) /* or an epoch takes too long */
        s->batch_size = 64 + (uint32_t)world_roll(w, 200);
    s->broken_share = w->oracles[job].settings.seed % 4 == 0 ? 50 : 0;
    return s;
}

static struct schedule *schedule_new(uint64_t seed)
{
    struct schedule *c = calloc(1, sizeof *c);
    struct world *w;
    bool strict;

    assert_non_null(c);
    w = &c->w;
    w->dice = rng_mix(seed);
    strict = world_chance(w, 400);
    c->large = !strict && seed % LARGE_EVERY == LARGE_EVERY - 1;
    c->releases = world_chance(w, strict ? 200 : 500);
    w->compares = strict && !c->releases;
    w->job_count = !c->large && world_chance(w, 150) ? 2 : 1;
    for (size_t i = 0; i < w->job_count; i++)
        choose_job(c, i, strict && (i == 0 || world_chance(w, 500)));
    world_init(w);
    for (size_t i = 0; i < w->job_count && w->compares; i++)
        if (w->jobs[i].staleness > 0)
            undisturbed_init(&w->undisturbed[i], &w->jobs[i], w->jobs[i].seed % 4 == 0 ? 50 : 0);
    for (size_t i = 1 + world_roll(w, 5); i > 0; i--)
        (void)enter(c, world_roll(w, w->job_count));
    return c;
}

static void schedule_free(struct schedule *c)
{
    world_deinit(&c->w);
    free(c);
}

/* ---- what trainers do ----------------------------------------------------------------------- */

static void hear_all(struct world *w, struct survivor *s)
{
    while (s->box_count > 0)
        survivor_hear(w, s);
}

static struct survivor_batch *pick_batch(struct schedule *c, struct survivor *s)
{
    return s->batch_count > 0 ? &s->batches[world_roll(&c->w, s->batch_count)] : NULL;
}

/* Mostly when it was answered, but some hurry, and some have no use for a batch. */
static bool may_release(struct schedule *c, const struct survivor_batch *b)
{
    if (b->seq == 0)
        return c->releases && world_chance(&c->w, 60);
    return b->held && world_chance(&c->w, b->answered ? 850 : 90);
}

/* Report it, report it again, or give it back. */
static void use_batch(struct schedule *c, struct survivor *s)
{
    struct survivor_batch *b = pick_batch(c, s);

    if (b == NULL)
        return;
    if (may_release(c, b))
        survivor_release(&c->w, s, b);
    else if (b->seq == 0 || world_chance(&c->w, 300))
        survivor_report(&c->w, s, b);
}

enum lie {
    LIE_SHORT,  /* a loss too few */
    LIE_LONG,   /* a loss too many */
    LIE_TAG,    /* a forged token */
    LIE_STEP,   /* the right tag at another step */
    LIE_TOKEN,  /* another's token */
    LIE_KEY,    /* another's key */
    LIE_LOSSES, /* other losses under a used token */
    LIE_IDS,    /* other ids */
    LIE_CREDIT, /* another's batch is given back */
    LIES
};

struct lie_room {
    float losses[512];
    uint64_t ids[512];
};

static void copy_vectors(struct message_loss *loss, const struct survivor_batch *b,
                         struct lie_room *room)
{
    memcpy(room->losses, b->losses, b->count * sizeof *b->losses);
    memcpy(room->ids, b->ids, b->count * sizeof *b->ids);
    room->losses[b->count] = 1;
    loss->losses.data = room->losses;
    if (loss->ids.count > 0)
        loss->ids.data = room->ids;
}

static void twist(struct schedule *c, struct message_loss *loss, enum lie lie,
                  const struct survivor *other, const struct survivor_batch *theirs,
                  struct lie_room *room)
{
    size_t at = (size_t)world_roll(&c->w, loss->losses.count);

    switch (lie) {
    case LIE_SHORT:
        loss->losses.count--;
        break;
    case LIE_LONG:
        loss->losses.count++;
        break;
    case LIE_TAG:
        loss->token.tag ^= UINT64_C(1) << world_roll(&c->w, 64);
        break;
    case LIE_STEP:
        loss->token.step ^= UINT64_C(1) << world_roll(&c->w, 40);
        break;
    case LIE_TOKEN:
        loss->token = theirs->token;
        break;
    case LIE_KEY:
        loss->key = other->key;
        break;
    case LIE_LOSSES:
        room->losses[at] = room->losses[at] > 1 ? 0.25f : 8.0f;
        break;
    default:
        room->ids[at] ^= 1;
        loss->ids = (struct vector){room->ids, loss->losses.count};
    }
}

static bool is_taken(struct schedule *c, const struct survivor *s, const struct survivor_batch *b)
{
    const struct oracle *o = world_oracle(&c->w, s);

    return oracle_mark_of(o, oracle_find(o, b->token))->fate == ORACLE_TAKEN;
}

static struct message credit_message(const struct survivor *s, const struct survivor_batch *b)
{
    struct message m = {.type = MESSAGE_CREDIT};

    m.credit.key = s->key;
    m.credit.token = b->token;
    return m;
}

static void say_lie(struct schedule *c, struct survivor *s)
{
    struct survivor *other = &c->w.survivors[world_roll(&c->w, c->w.survivor_count)];
    struct survivor_batch *b = pick_batch(c, s), *theirs = pick_batch(c, other);
    enum lie lie = (enum lie)world_roll(&c->w, LIES);
    struct lie_room room;
    struct message m;

    if (b == NULL || theirs == NULL || other == s || other->job != s->job ||
        (lie == LIE_TOKEN && theirs->count != b->count) ||
        (lie == LIE_LOSSES && !is_taken(c, s, b)) || (lie == LIE_SHORT && b->count == 1))
        return;
    c->lies++;
    world_trace(&c->w, "%u lies (%d)", s->number, (int)lie);
    m = survivor_loss(s, b);
    copy_vectors(&m.loss, b, &room);
    twist(c, &m.loss, lie, other, theirs, &room);
    if (m.loss.seq == 0)
        m.loss.seq = s->seq + 1;
    if (lie == LIE_CREDIT)
        m = credit_message(s, theirs);
    c->w.lies = true;
    world_say(&c->w, s, &m);
    c->w.lies = false;
}

/* It is away: in a long validation, or its machine is. With its memory it comes back. */
static void leave_for_a_while(struct schedule *c, struct survivor *s)
{
    const struct job_settings *j = &c->w.jobs[s->job];
    uint64_t ms = world_roll(&c->w, 2 * j->lease_ms);

    if (world_chance(&c->w, 200))
        ms += j->lease_ms + j->late_ms;
    s->away_until = c->w.now_ms + ms;
    s->cut |= world_chance(&c->w, 500);
    world_trace(&c->w, "%u is away for %" PRIu64 " ms%s", s->number, ms, s->cut ? ", cut off" : "");
}

static void act(struct schedule *c, struct survivor *s)
{
    struct world *w = &c->w;
    uint64_t what = world_roll(w, 1000);

    if (what < 350)
        survivor_hear(w, s);
    else if (what < 850)
        use_batch(c, s);
    else if (what < 890)
        say_lie(c, s);
    else if (what < 920)
        survivor_ping(w, s);
    else if (what < 940)
        survivor_sync(w, s);
    else if (what < 945)
        survivor_bye(w, s);
    else if (what < 955)
        s->dead = true;
    else if (what < 970)
        s->cut = true;
    else
        leave_for_a_while(c, s);
    if (s->dead || s->cut)
        world_trace(w, "%u %s", s->number, s->dead ? "dies" : "is cut off");
}

/* Until it is let in it only listens, and asks again. */
static void ask_to_be_let_in(struct schedule *c, struct survivor *s)
{
    hear_all(&c->w, s);
    if (!s->welcomed && !s->gone)
        survivor_hello(&c->w, s);
}

static void reconnect(struct schedule *c, struct survivor *s)
{
    survivor_lose_mail(s, world_roll(&c->w, s->box_count + 1));
    world_connect(&c->w, s);
    world_trace(&c->w, "%u has a new connection", s->number);
}

static void trainers_turn(struct schedule *c)
{
    struct world *w = &c->w;
    struct survivor *s = &w->survivors[world_roll(w, w->survivor_count)];

    if (world_chance(w, 20) && w->survivor_count + RESERVED < WORLD_SURVIVORS_MAX)
        (void)enter(c, world_roll(w, w->job_count));
    if (s->dead || s->gone || s->away_until > w->now_ms)
        return;
    if (s->cut && world_chance(w, 300))
        reconnect(c, s);
    if (s->welcomed)
        act(c, s);
    else
        ask_to_be_let_in(c, s);
}

/* ---- what the daemon does ------------------------------------------------------------------- */

static void disks_turn(struct schedule *c)
{
    struct world *w = &c->w;

    switch (w->stage) {
    case WORLD_IDLE:
        if (engine_unsaved(&w->engine) && world_chance(w, 250))
            world_capture(w);
        break;
    case WORLD_CAPTURED:
        if (!world_chance(w, 500))
            break;
        if (world_chance(w, FAILING_SHARE))
            c->writes_failed++; /* the rows are kept, and written before any others */
        else
            world_write(w);
        break;
    default:
        if (world_chance(w, 500))
            world_commit(w);
    }
}

/* At every boundary: before a capture, with one that is lost or written, and behind it all. */
static void kill_daemon(struct schedule *c)
{
    struct world *w = &c->w;
    uint64_t further = world_roll(w, 4);

    if (further > 0 && w->stage == WORLD_IDLE)
        world_capture(w);
    if (further > 1 && w->stage == WORLD_CAPTURED)
        world_write(w);
    if (further > 2 && w->stage == WORLD_WRITTEN)
        world_commit(w);
    world_die(w);
}

/* SIGTERM: some steps more, all is saved, and a new one comes. */
static void drain_daemon(struct schedule *c)
{
    struct world *w = &c->w;

    if (c->drain_left == 0) {
        c->drain_left = 1 + world_roll(w, 12);
        world_drain(w);
    } else if (--c->drain_left == 0) {
        world_save_all(w);
        world_die(w);
        c->drains++;
    }
}

static void time_passes(struct schedule *c)
{
    struct world *w = &c->w;
    const struct job_settings *j = &w->jobs[0];
    uint64_t ms = world_roll(w, 20);

    if (world_chance(w, 20))
        ms = world_roll(w, 2 * j->lease_ms);
    if (world_chance(w, 5))
        ms = j->lease_ms + world_roll(w, j->late_ms + 2);
    world_pass(w, ms, world_chance(w, 700));
}

static void step(struct schedule *c)
{
    struct world *w = &c->w;

    for (size_t i = world_roll(w, 4); i > 0; i--)
        trainers_turn(c);
    (void)world_work(w, world_roll(w, 6));
    if (world_chance(w, 300))
        time_passes(c);
    disks_turn(c);
    if (c->drain_left > 0 || world_chance(w, 3))
        drain_daemon(c);
    else if (world_chance(w, 20))
        kill_daemon(c);
}

/* ---- the end -------------------------------------------------------------------------------- */

static bool is_alive(const struct survivor *s)
{
    return !s->dead && !s->gone;
}

/* It is heard, and does all that it can. */
static void do_all(struct world *w, struct survivor *s)
{
    hear_all(w, s);
    if (!s->welcomed)
        survivor_hello(w, s);
    else
        survivor_ping(w, s);
    hear_all(w, s);
    for (uint32_t i = 0; is_alive(s) && i < s->batch_count; i++)
        if (!s->batches[i].answered)
            survivor_report(w, s, &s->batches[i]);
    hear_all(w, s);
    for (uint32_t i = s->batch_count; is_alive(s) && i-- > 0;)
        if (i < s->batch_count && s->batches[i].held && s->batches[i].answered)
            survivor_release(w, s, &s->batches[i]);
}

static size_t at_hand(const struct world *w)
{
    size_t count = 0;

    for (size_t i = 0; i < w->survivor_count; i++)
        if (is_alive(&w->survivors[i]))
            count += w->survivors[i].batch_count + !w->survivors[i].welcomed;
    return count;
}

static uint64_t shortest_lease(const struct world *w)
{
    uint64_t ms = w->jobs[0].lease_ms;

    return w->job_count > 1 && w->jobs[1].lease_ms < ms ? w->jobs[1].lease_ms : ms;
}

/* Everyone alive works; what the dead hold comes back. Without `draws` all hands become empty. */
static void round_of_all(struct world *w, bool draws)
{
    if (draws)
        (void)world_work(w, 16);
    for (size_t i = 0; i < w->survivor_count; i++)
        if (is_alive(&w->survivors[i]))
            do_all(w, &w->survivors[i]);
    world_pass(w, shortest_lease(w) / 2, true);
    world_save_all(w);
    world_check(w, false);
}

static void settle_all(struct schedule *c)
{
    struct world *w = &c->w;
    size_t i;

    for (i = 0; i < w->survivor_count; i++) {
        if (w->survivors[i].cut)
            reconnect(c, &w->survivors[i]);
        w->survivors[i].away_until = 0;
    }
    for (i = 0; i < 8; i++)
        round_of_all(w, true);
    for (i = 0; i < ROUNDS_MAX && at_hand(w) > 0; i++)
        round_of_all(w, i % 4 == 0 && i < ROUNDS_MAX / 2);
    CHECK(at_hand(w) == 0, "trainers keep %zu batches and reports for ever", at_hand(w));
    for (i = 0; i < w->survivor_count; i++) {
        const struct survivor *s = &w->survivors[i];

        CHECK(!is_alive(s) || (oracle_lost(world_oracle(w, s), s->number, false) == 0 &&
                               oracle_lost(world_oracle(w, s), s->number, true) == 0),
              "reports of %u are lost", s->number);
    }
}

static struct survivor *find_alive(struct schedule *c, size_t job)
{
    for (size_t i = 0; i < c->w.survivor_count; i++)
        if (is_alive(&c->w.survivors[i]) && c->w.survivors[i].job == job)
            return &c->w.survivors[i];
    return enter(c, job);
}

/* All epochs that are open now close. */
static void cover_all(struct schedule *c, size_t job)
{
    struct world *w = &c->w;
    const struct job_settings *settings = &w->jobs[job];
    struct job *j = engine_find_job(&w->engine, settings->name);
    uint64_t epoch = j->coverage.epoch;

    world_pass(w, settings->lease_ms + settings->late_ms, true); /* the dead are forgotten */
    (void)find_alive(c, job);
    for (size_t i = 0; i < COVER_MAX && coverage_open(&j->coverage, 0)->epoch <= epoch; i++) {
        (void)world_work(w, 64);
        for (size_t k = 0; k < w->survivor_count; k++)
            if (is_alive(&w->survivors[k]))
                do_all(w, &w->survivors[k]);
        if (settings->round.ranks > 0) /* some wait for those who are dead */
            world_pass(w, settings->lease_ms / 2, true);
        if (i % 16 == 0)
            world_save_all(w);
    }
    CHECK(coverage_open(&j->coverage, 0)->epoch > epoch, "epoch %" PRIu64 " never closes", epoch);
    world_check(w, true);
}

static void finish(struct schedule *c)
{
    world_trace(&c->w, "the end begins");
    if (c->drain_left > 0)
        world_die(&c->w);
    settle_all(c);
    for (size_t i = 0; i < c->w.job_count; i++)
        cover_all(c, i);
    world_save_all(&c->w);
    CHECK(!engine_unsaved(&c->w.engine), "a quiet engine has something to save");
    world_check_audit(&c->w, AUDITED);
    world_die(&c->w);
}

/* ---- many ----------------------------------------------------------------------------------- */

struct totals {
    uint64_t reports, late, repeats, forgotten, superseded, again, lies, writes_failed, drains,
        ended, batches, epochs, lives, audited, suspects, skipped, rounds, incomplete, missed,
        deaths[WORLD_STAGES + 1];
};

static void add_up(struct totals *t, const struct schedule *c)
{
    const struct world *w = &c->w;

    t->lies += c->lies;
    t->writes_failed += c->writes_failed;
    t->drains += c->drains;
    t->lives += w->lives;
    t->ended += w->forgotten;
    for (size_t i = 0; i <= WORLD_STAGES; i++)
        t->deaths[i] += w->deaths[i];
    for (size_t i = 0; i < w->job_count; i++) {
        const struct oracle *o = &w->oracles[i];

        t->reports += o->reports;
        t->late += o->late;
        t->repeats += o->repeats;
        t->forgotten += o->forgotten;
        t->superseded += o->superseded;
        t->again += o->again;
        t->skipped += o->skipped;
        t->batches += o->batch_count;
        t->audited += w->scribes[i].events;
        t->suspects += w->wardens[i].found;
        t->rounds += w->referees[i].rounds;
        t->incomplete += w->referees[i].incomplete;
        t->missed += w->referees[i].missed;
        t->epochs += o->now.closed_count;
    }
}

/* For whoever leaves by longjmp and exit(), or by abort(). */
static char seed_line[100]; /* "": no schedule runs */
static struct world *running;
static bool whole_trace;

static void write_out(const char *text, size_t size)
{
    ssize_t ignored = write(STDERR_FILENO, text, size);

    (void)ignored;
}

static void name_the_seed(void)
{
    size_t from;

    if (seed_line[0] == '\0' || running == NULL || running->trace == NULL)
        return;
    from = !whole_trace && running->trace_size > TRACE_TAIL ? running->trace_size - TRACE_TAIL : 0;
    write_out(running->trace + from, running->trace_size - from);
    write_out(seed_line, strlen(seed_line));
    seed_line[0] = '\0';
}

static void name_the_seed_and_abort(int signal_number)
{
    name_the_seed();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* A sanitizer ends the process in its own way. */
static void listen_to_sanitizers(void)
{
#ifdef SANITIZED
    __sanitizer_set_death_callback(name_the_seed);
#endif
}

static void live(uint64_t seed, struct totals *totals)
{
    struct schedule *c;
    size_t steps;

    (void)snprintf(seed_line, sizeof seed_line,
                   "schedule %" PRIu64 " failed: SIMULATION_SEED=%" PRIu64 " replays it\n", seed,
                   seed);
    c = schedule_new(seed);
    running = &c->w;
    steps = STEPS_MIN + world_roll(&c->w, STEPS_MAX - STEPS_MIN);
    for (size_t i = 0; i < steps; i++) {
        step(c);
        world_check(&c->w, !c->large && i % CHECK_STEPS == 0);
    }
    finish(c);
    add_up(totals, c);
    running = NULL;
    schedule_free(c);
}

static void print_totals(unsigned long count, const struct totals *t)
{
    print_message(
        "%lu schedules: %" PRIu64 " lives, deaths %" PRIu64 " idle %" PRIu64 " captured %" PRIu64
        " written %" PRIu64 " starting %" PRIu64 " drained, %" PRIu64 " writes failed, %" PRIu64
        " batches, %" PRIu64 " again, %" PRIu64 " reports, %" PRIu64 " late, %" PRIu64
        " repeated, %" PRIu64 " forgotten, %" PRIu64 " superseded, %" PRIu64 " lies, %" PRIu64
        " sessions forgotten, %" PRIu64 " epochs, %" PRIu64 " draws and reports audited, %" PRIu64
        " suspects back, %" PRIu64 " skipped, %" PRIu64 " rounds, %" PRIu64 " incomplete, %" PRIu64
        " missed\n",
        count, t->lives, t->deaths[WORLD_IDLE], t->deaths[WORLD_CAPTURED], t->deaths[WORLD_WRITTEN],
        t->deaths[WORLD_STAGES], t->drains, t->writes_failed, t->batches, t->again, t->reports,
        t->late, t->repeats, t->forgotten, t->superseded, t->lies, t->ended, t->epochs, t->audited,
        t->suspects, t->skipped, t->rounds, t->incomplete, t->missed);
}

static void run(unsigned long first, unsigned long count)
{
    const char *only = getenv("SIMULATION_SEED"), *many = getenv("SIMULATION_SEEDS");
    struct totals t = {0};

    (void)atexit(name_the_seed);
    (void)signal(SIGABRT, name_the_seed_and_abort);
    listen_to_sanitizers();
    whole_trace = only != NULL;
    if (many != NULL)
        count = strtoul(many, NULL, 10);
    if (only != NULL) {
        first = strtoul(only, NULL, 10);
        count = 1;
    }
    for (unsigned long seed = first; seed < first + count; seed++)
        live(seed, &t);
    seed_line[0] = '\0';
    print_totals(count, &t);
    if (only == NULL) /* the schedules are as eventful as they are meant to be */
        assert_true(t.reports > 0 && t.late > 0 && t.repeats > 0 && t.forgotten > 0 &&
                    t.again > 0 && t.lies > 0 && t.writes_failed > 0 && t.ended > 0 &&
                    t.epochs > 0 && t.drains > 0 && t.superseded > 0 && t.audited > 0 &&
                    t.suspects > 0 && t.skipped > 0 && t.rounds > t.incomplete &&
                    t.incomplete > 0 && t.missed > 0 && t.deaths[WORLD_IDLE] > 0 &&
                    t.deaths[WORLD_CAPTURED] > 0 && t.deaths[WORLD_WRITTEN] > 0 &&
                    t.deaths[WORLD_STAGES] > 0);
}

static void hundreds_of_schedules_keep_all_promises(void **state)
{
    (void)state;
    run(0, 200);
}

static void big_thousands_of_schedules_keep_all_promises(void **state)
{
    (void)state;
    run(1000, 8000);
}

TEST_MAIN(TEST(hundreds_of_schedules_keep_all_promises),
          TEST(big_thousands_of_schedules_keep_all_promises))
