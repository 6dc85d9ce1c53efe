/* test_engine_day.c - days of training on a fake clock: up to forty trainers, half of them dying.
 *
 * A seed makes a day: jobs, trainers, and who does what when. Everything that is said is told to a
 * ledger too, which knows what the engine must answer; after each step the two are compared. A seed
 * that fails is printed, and OHEM_SEED replays that day alone.
 */
#include "../lib/test.h"
#include "../lib/witness.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS        1500u
#define N_MAX        5000u
#define K_MAX        64u
#define CREDIT_MAX   8u
#define CHECK_STEPS  150u /* between two looks at everything */
#define ENOUGH       1000000u
#define FINISH_STEPS 20000u

struct day {
    struct witness w;
    uint64_t dice, keys, lies;
};

/* ---- chance --------------------------------------------------------------------------------- */

static uint64_t roll(struct day *d, uint64_t sides)
{
    d->dice += UINT64_C(0x9e3779b97f4a7c15);
    return rng_mix(d->dice) % sides;
}

static bool chance(struct day *d, uint64_t per_mille)
{
    return roll(d, 1000) < per_mille;
}

/* ---- a day ---------------------------------------------------------------------------------- */

static uint64_t pick(struct day *d, const uint64_t *values, size_t count)
{
    return values[roll(d, count)];
}

static void add_job(struct day *d)
{
    static const uint64_t sizes[] = {1, 2, 3, 10, 100, 1000, N_MAX};
    static const uint64_t leases[] = {100, 2000, 10000};
    uint64_t n = 1 + roll(d, pick(d, sizes, sizeof sizes / sizeof sizes[0]));
    char name[] = {'j', (char)('0' + d->w.job_count), '\0'};
    struct job_settings s = shell_job(name, n);

    s.seed = roll(d, UINT64_MAX);
    s.lambda = 1.0 / (double)(1u << roll(d, 3));
    s.lease_ms = 1 + roll(d, pick(d, leases, sizeof leases / sizeof leases[0]));
    s.late_ms = chance(d, 500) ? 0 : roll(d, 10000);
    s.sampler.rho = 1.0 / (double)(1 + roll(d, 4));
    s.sampler.unique = chance(d, 500);
    s.sampler.weight = (enum sampler_weight)roll(d, 3);
    s.selection.rule = chance(d, 200) ? SELECTION_ALL : SELECTION_TOP;
    ledger_init(&d->w.ledgers[d->w.job_count++], shell_add_job(d->w.shell, &s));
}

/* Somebody new, in the place of whoever was there. */
static void enter(struct day *d, struct player *p)
{
    struct ledger *l;
    uint64_t n;

    trainer_deinit(&p->trainer);
    memset(p, 0, sizeof *p);
    p->job = roll(d, d->w.job_count);
    l = &d->w.ledgers[p->job];
    n = l->memory.n;
    trainer_init(&p->trainer, d->w.shell, l->job->settings.name, d->keys++);
    p->trainer.batch_size = 1 + (uint32_t)roll(d, n < K_MAX ? n : K_MAX);
    p->trainer.credit = 1 + (uint32_t)roll(d, CREDIT_MAX);
    p->trainer.broken_share = chance(d, 300) ? 100 : 0;
}

static void reconnect(struct day *d, struct player *p)
{
    struct trainer *t = &p->trainer;

    for (uint32_t i = t->held_count; i-- > 0;) /* a BATCH or a CREDIT that the connection lost */
        if (chance(d, 300))
            trainer_drop(t, &t->held[i]);
    t->peer = shell_new_peer(d->w.shell);
    p->link_until = 0;
    witness_hello(&d->w, p);
}

static void trouble(struct day *d, struct player *p)
{
    shell_set_link(d->w.shell, p->trainer.peer,
                   chance(d, 500) ? SHELL_LINK_LOSES : SHELL_LINK_DOWN);
    p->link_until = d->w.shell->now_ms + 1 + roll(d, d->w.ledgers[p->job].lease_ms);
}

/* A lie is judged by the ledger like any report: none may be applied. */
static void say_lie(struct day *d, struct player *p)
{
    struct player *other = &d->w.players[roll(d, d->w.player_count)];
    enum trainer_lie lie = (enum trainer_lie)roll(d, TRAINER_LIES);
    bool stolen = lie == TRAINER_LIE_FOREIGN || lie == TRAINER_LIE_KEY;
    struct ledger *l = &d->w.ledgers[p->job];
    struct trainer_batch *b;
    float losses[N_MAX + 1];
    struct message m;
    uint64_t lsn = l->lsn, seq;

    if (p->trainer.held_count == 0 ||
        (stolen && (other == p || other->job != p->job || other->trainer.held_count == 0)))
        return;
    b = &p->trainer.held[roll(d, p->trainer.held_count)];
    if (lie == TRAINER_LIE_LOSSES && !b->answered)
        return;
    seq = b->seq;
    m = trainer_loss_message(&p->trainer, b);
    trainer_lie(&m, lie, &other->trainer, losses);
    if (lie != TRAINER_LIE_LOSSES)
        b->seq = seq;
    witness_loss(&d->w, p, &m);
    CHECK(l->lsn == lsn, "a lie was believed");
    d->lies++;
}

static void use_batch(struct day *d, struct player *p)
{
    struct trainer_batch *b;

    if (p->trainer.held_count == 0)
        return;
    b = &p->trainer.held[roll(d, p->trainer.held_count)];
    if (!b->answered || chance(d, 100)) /* or again */
        witness_report(&d->w, p, b);
    else
        witness_release(&d->w, p, b);
}

static void act(struct day *d, struct player *p)
{
    const struct ledger *l = &d->w.ledgers[p->job];
    uint64_t what = roll(d, 1000);

    if (what < 800)
        use_batch(d, p);
    else if (what < 830)
        say_lie(d, p);
    else if (what < 860)
        witness_ping(&d->w, p);
    else if (what < 870 && p->trainer.held_count > 0)
        witness_release(&d->w, p, &p->trainer.held[0]); /* perhaps without a report */
    else if (what < 880)
        witness_bye(&d->w, p);
    else if (what < 900)
        p->dead = true;
    else if (what < 930)
        reconnect(d, p);
    else if (what < 950)
        trouble(d, p);
    else if (what < 970)
        p->away_until = d->w.shell->now_ms + roll(d, 2 * l->lease_ms);
    else if (what < 975)
        p->away_until = d->w.shell->now_ms + l->lease_ms + roll(d, l->late_ms + 1);
}

/* Up to so long, with ticks at each due time or one late tick. */
static void pass_time(struct day *d, uint64_t ms_max)
{
    uint64_t ms = roll(d, ms_max);

    witness_pass_time(&d->w, ms, chance(d, 500) ? ENOUGH : 0);
}

static void step(struct day *d)
{
    struct player *p = &d->w.players[roll(d, d->w.player_count)];

    if (p->dead) {
        if (chance(d, 200))
            enter(d, p);
    } else if (p->link_until > 0 && p->link_until <= d->w.shell->now_ms) {
        reconnect(d, p);
    } else if (p->away_until <= d->w.shell->now_ms) {
        if (p->joined)
            act(d, p);
        else if (p->link_until == 0)
            witness_hello(&d->w, p);
    }
    witness_work(&d->w, roll(d, 7));
    if (chance(d, 500))
        pass_time(d, 20);
    if (chance(d, 5))
        pass_time(d, 3000);
}

static void check(struct day *d, bool all)
{
    for (size_t i = 0; i < d->w.job_count; i++)
        ledger_check(&d->w.ledgers[i], all);
}

/* All go, and one honest trainer per job closes every epoch that is open: nothing was lost. */
static void finish(struct day *d)
{
    for (size_t i = 0; i < d->w.player_count; i++)
        d->w.players[i].dead = true;
    for (size_t j = 0; j < d->w.job_count; j++) {
        struct ledger *l = &d->w.ledgers[j];
        struct player *p = &d->w.players[0];
        uint64_t n = l->memory.n, epoch = l->job->coverage.epoch;

        witness_pass_time(&d->w, 100000, ENOUGH);
        enter(d, p);
        trainer_deinit(&p->trainer);
        p->job = j;
        trainer_init(&p->trainer, d->w.shell, l->job->settings.name, d->keys++);
        p->trainer.batch_size = (uint32_t)(n < K_MAX ? n : K_MAX);
        p->trainer.credit = 1;
        witness_hello(&d->w, p);
        for (size_t i = 0; i < FINISH_STEPS && !ledger_covered(l, epoch); i++) {
            witness_work(&d->w, 1);
            CHECK(p->trainer.held_count == 1, "no batch for the last trainer");
            witness_report(&d->w, p, &p->trainer.held[0]);
            witness_release(&d->w, p, &p->trainer.held[0]);
        }
        CHECK(ledger_covered(l, epoch), "an epoch up to %" PRIu64 " never closes", epoch);
        witness_bye(&d->w, p);
    }
}

static struct day *day_new(uint64_t seed)
{
    struct engine_settings settings = shell_settings();
    struct day *d = calloc(1, sizeof *d);

    assert_non_null(d);
    d->dice = seed;
    d->w.shell = shell_new(&settings);
    for (size_t jobs = 1 + roll(d, WITNESS_JOBS_MAX); jobs > 0; jobs--)
        add_job(d);
    d->w.player_count = 1 + roll(d, WITNESS_PLAYERS_MAX);
    for (size_t i = 0; i < d->w.player_count; i++)
        enter(d, &d->w.players[i]);
    return d;
}

static void day_free(struct day *d)
{
    for (size_t i = 0; i < d->w.player_count; i++)
        trainer_deinit(&d->w.players[i].trainer);
    for (size_t i = 0; i < d->w.job_count; i++)
        ledger_deinit(&d->w.ledgers[i]);
    shell_free(d->w.shell);
    free(d);
}

struct totals {
    uint64_t reports, lies, late, forgotten, resent, epochs, returned, drawn;
};

static void add_up(struct totals *t, const struct day *d)
{
    t->lies += d->lies;
    t->late += d->w.reports_late;
    t->forgotten += d->w.sessions_forgotten;
    t->resent += d->w.batches_resent;
    for (size_t i = 0; i < d->w.job_count; i++) {
        t->reports += d->w.ledgers[i].lsn;
        t->epochs += d->w.ledgers[i].epochs_closed;
        t->drawn += d->w.ledgers[i].lease_count;
        t->returned += d->w.ledgers[i].job->metrics.leases_expired;
    }
}

static void live(uint64_t seed, struct totals *totals)
{
    struct day *d = day_new(seed);

    for (size_t i = 0; i < STEPS; i++) {
        step(d);
        check(d, i % CHECK_STEPS == 0);
    }
    finish(d);
    check(d, true);
    add_up(totals, d);
    day_free(d);
}

/* ---- the cases ------------------------------------------------------------------------------ */

/* A failure leaves by longjmp and exit(), or by abort(). */
static char seed_line[100]; /* "": no day has begun, or all have ended well */

static void name_the_seed(void)
{
    ssize_t ignored = write(STDERR_FILENO, seed_line, strlen(seed_line));

    (void)ignored;
}

static void name_the_seed_and_abort(int signal_number)
{
    name_the_seed();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void live_days(unsigned long first, unsigned long count)
{
    const char *only = getenv("OHEM_SEED");
    struct totals t = {0};

    (void)atexit(name_the_seed);
    (void)signal(SIGABRT, name_the_seed_and_abort);
    if (only != NULL) {
        first = strtoul(only, NULL, 10);
        count = 1;
    }
    for (unsigned long seed = first; seed < first + count; seed++) {
        (void)snprintf(seed_line, sizeof seed_line,
                       "the day of seed %lu failed: OHEM_SEED=%lu replays it\n", seed, seed);
        live(seed, &t);
    }
    seed_line[0] = '\0';
    print_message("%lu days: %" PRIu64 " batches drawn, %" PRIu64 " sent again, %" PRIu64
                  " expired, %" PRIu64 " reports applied, %" PRIu64 " of them late, %" PRIu64
                  " lies refused, %" PRIu64 " sessions forgotten, %" PRIu64 " epochs closed\n",
                  count, t.drawn, t.resent, t.returned, t.reports, t.late, t.lies, t.forgotten,
                  t.epochs);
    if (only == NULL) /* the days are as eventful as they are meant to be */
        assert_true(t.reports > 0 && t.lies > 0 && t.late > 0 && t.forgotten > 0 && t.resent > 0 &&
                    t.epochs > 0 && t.returned > 0);
}

static void thirty_days_of_training_keep_all_promises(void **state)
{
    (void)state;
    live_days(0, 30);
}

static void big_five_hundred_days_of_training_keep_all_promises(void **state)
{
    (void)state;
    live_days(1000, 500);
}

TEST_MAIN(TEST(thirty_days_of_training_keep_all_promises),
          TEST(big_five_hundred_days_of_training_keep_all_promises))
