/* test_stale_random.c - deaths of the daemon at random moments, with a writer at work.
 *
 * One rule, over many schedules: when the bytes that were read are not the record's, the check
 * behind it says so. Seeds are fixed; a failure prints its own. See test_stale.c for the plain
 * cases.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/rewriter.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define K         16
#define CREDIT    4
#define SCHEDULES 16
#define RACES     16
#define STEPS     40
#define LOOKS_MAX 100000

static const struct way map = {OHEM_SCATTERED, OHEM_MAP};
static const struct tinyset large = {.count = 64, .size_min = 3000, .size_max = 3000};
static const struct tinyset small = {.count = 256, .size_min = 900, .size_max = 1100};

struct stage {
    const struct tinyset *set;
    struct daemon daemon;
    struct rewriter writer;
    struct ohem_client *client;
    struct ohem_batch *held[CREDIT];
    bool stale[CREDIT]; /* a check said so: it must not change its mind */
    uint64_t seed, random;
    unsigned wrong; /* reads of other bytes, all of which were owned up to */
};

static uint32_t random_below(struct stage *s, uint32_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 16) % n);
}

static void take(struct stage *s, int i)
{
    s->held[i] = daemon_next(s->client);
    s->stale[i] = false;
}

static void stage_open(struct stage *s, uint64_t seed)
{
    s->seed = seed;
    s->random = seed * 0x9e3779b97f4a7c15u + 1;
    s->set = seed % 2 == 0 ? &large : &small;
    tinyset_make(s->set, DAEMON_DATASET);
    rewriter_start(&s->writer, s->set, DAEMON_DATASET, seed % 3 == 0);
    daemon_start(&s->daemon);
    s->client = ways_connect(&s->daemon, map, K, CREDIT);
    for (int i = 0; i < CREDIT; i++)
        take(s, i);
}

static void stage_close(struct stage *s)
{
    for (int i = 0; i < CREDIT; i++)
        ohem_release(s->held[i]);
    ohem_close(s->client);
    rewriter_end(&s->writer);
    if (s->daemon.pid != 0)
        daemon_kill(&s->daemon);
    assert_int_equal(unlink(DAEMON_DATASET "/data.mdb"), 0);
    (void)unlink(DAEMON_DATASET "/lock.mdb");
    assert_int_equal(rmdir(DAEMON_DATASET), 0);
}

/* Read first, then look. */
static void read_and_look(struct stage *s, int i)
{
    bool same = ways_records_are(s->set, s->held[i]);
    int rc = ohem_batch_check(s->held[i]);

    if ((!same || s->stale[i]) && rc != -OHEM_STALE)
        fail_msg("seed %" PRIu64 ": step %" PRIu64 " has %s bytes, and the check says %s", s->seed,
                 ohem_batch_step(s->held[i]), same ? "its" : "other", ohem_error_name(rc));
    s->stale[i] = rc == -OHEM_STALE;
    s->wrong += !same;
}

/* ---- one after the other ----------------------------------------------------------------------
 */

static void do_something(struct stage *s)
{
    int i = (int)random_below(s, CREDIT);

    switch (random_below(s, 8)) {
    case 0:
    case 1:
        (void)rewriter_commit(&s->writer, 1 + random_below(s, 3), 1 + random_below(s, 4));
        break;
    case 2:
    case 3:
        if (s->daemon.pid != 0) {
            ways_report_and_release(s->held[i]);
            take(s, i);
        }
        break;
    case 4:
        if (s->daemon.pid != 0 && random_below(s, 4) == 0)
            daemon_kill(&s->daemon);
        break;
    default:
        read_and_look(s, i);
    }
}

static void wrong_bytes_are_always_found_out(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        struct stage s = {0};

        stage_open(&s, seed);
        for (int n = 0; n < STEPS || (s.daemon.pid != 0 && n < 10 * STEPS); n++)
            do_something(&s);
        wrong += s.wrong;
        stage_close(&s);
    }
    assert_true(wrong > SCHEDULES); /* or this test says nothing */
}

/* ---- all at once ------------------------------------------------------------------------------
 */

/* The writer commits without a pause while the daemon dies and the trainer reads. */
static unsigned race(uint64_t seed)
{
    struct stage s = {0};
    int status, looks = 0;
    uint32_t before;

    stage_open(&s, seed);
    if (seed % 4 == 0)
        (void)rewriter_commit(&s.writer, 1, 1); /* then the next one is one too many */
    if (seed % 4 != 1)
        rewriter_go(&s.writer, 1 + random_below(&s, 4));
    before = random_below(&s, 200);
    for (uint32_t n = 0; n < before; n++)
        read_and_look(&s, (int)(n % CREDIT));
    assert_int_equal(kill(s.daemon.pid, SIGKILL), 0);
    if (seed % 4 == 1)
        rewriter_go(&s.writer, 1); /* so that it begins at the very snapshot */
    while (!s.stale[looks % CREDIT] && looks < LOOKS_MAX)
        read_and_look(&s, looks++ % CREDIT);
    assert_true(looks < LOOKS_MAX);
    assert_int_equal(waitpid(s.daemon.pid, &status, 0), s.daemon.pid);
    s.daemon.pid = 0;
    for (int n = 0; n < 10 * CREDIT; n++)
        read_and_look(&s, n % CREDIT);
    (void)rewriter_halt(&s.writer);
    stage_close(&s);
    return s.wrong;
}

static void wrong_bytes_are_found_out_while_the_daemon_dies(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= RACES; seed++)
        wrong += race(seed);
    assert_true(wrong > RACES);
}

/* ---- an immutable data set --------------------------------------------------------------------
 */

static void stage_open_immutable(struct stage *s, uint64_t seed)
{
    s->daemon.dataset = "immutable = yes\n";
    stage_open(s, seed);
}

static void what_is_immutable_and_written_to_all_the_same_is_stale(void **state)
{
    static const float losses[K] = {1};
    struct stage s = {0};
    struct ohem_batch *none = NULL;

    (void)state;
    stage_open_immutable(&s, 2);
    (void)rewriter_commit(&s.writer, 1, 1); /* is no harm yet */
    for (int i = 0; i < CREDIT; i++)
        read_and_look(&s, i);
    assert_int_equal(s.wrong, 0);
    for (int i = 0; i < CREDIT; i++)
        assert_false(s.stale[i]);
    (void)rewriter_commit(&s.writer, 6, 1);
    for (int i = 0; i < CREDIT; i++) {
        read_and_look(&s, i);
        assert_int_equal(ohem_submit(s.held[i], losses, K), -OHEM_STALE);
    }
    assert_int_equal(s.wrong, CREDIT);
    for (int i = 0; i < CREDIT; i++) {
        ohem_release(s.held[i]);
        s.held[i] = NULL;
    }
    assert_int_equal(ohem_next(s.client, DAEMON_DEADLINE_MS, &none), -OHEM_STALE);
    assert_null(none);
    assert_non_null(strstr(ohem_client_error(s.client), "immutable"));
    stage_close(&s);
}

static void what_is_immutable_indeed_stays_good_when_the_daemon_dies(void **state)
{
    struct stage s = {0};

    (void)state;
    stage_open_immutable(&s, 2);
    daemon_kill(&s.daemon);
    for (int i = 0; i < CREDIT; i++) {
        assert_true(ways_records_are(s.set, s.held[i]));
        assert_int_equal(ohem_batch_check(s.held[i]), 0);
    }
    stage_close(&s);
}

static void wrong_bytes_of_an_immutable_data_set_are_found_out(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        struct stage s = {0};

        stage_open_immutable(&s, seed);
        rewriter_go(&s.writer, 1 + random_below(&s, 4));
        for (int n = 0; n < LOOKS_MAX && !s.stale[n % CREDIT]; n++)
            read_and_look(&s, n % CREDIT);
        for (int n = 0; n < 10 * CREDIT; n++)
            read_and_look(&s, n % CREDIT);
        (void)rewriter_halt(&s.writer);
        wrong += s.wrong;
        stage_close(&s);
    }
    assert_true(wrong > SCHEDULES);
}

TEST_MAIN(TEST(wrong_bytes_are_always_found_out),
          TEST(wrong_bytes_are_found_out_while_the_daemon_dies),
          TEST(what_is_immutable_and_written_to_all_the_same_is_stale),
          TEST(what_is_immutable_indeed_stays_good_when_the_daemon_dies),
          TEST(wrong_bytes_of_an_immutable_data_set_are_found_out))
