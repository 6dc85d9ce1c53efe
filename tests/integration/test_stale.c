/* test_stale.c - records by map while a writer works: no byte is trained on that is not the
 * record's.
 *
 * As long as the daemon lives its snapshot stays. When it has died a writer may use the pages
 * again; then what was read may be wrong, and the check behind it must say so. It may also say so
 * too early, but not before the second commit.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/rewriter.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define N        64
#define K        16
#define CREDIT   4
#define SHORT_MS 50

static const struct way map = {OHEM_SCATTERED, OHEM_MAP};
/* On pages of their own, and two or three to a page. */
static const struct tinyset large = {.count = N, .size_min = 3000, .size_max = 3000};
static const struct tinyset small = {.count = 4 * N, .size_min = 900, .size_max = 1100};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

/* A daemon, a writer beside it, and a trainer that holds all that it may. */
struct stage {
    const struct tinyset *set;
    struct daemon daemon;
    struct rewriter writer;
    struct ohem_client *client;
    struct ohem_batch *held[CREDIT];
};

static void stage_open(struct stage *s, bool through_map)
{
    tinyset_make(s->set, DAEMON_DATASET);
    rewriter_start(&s->writer, s->set, DAEMON_DATASET, through_map);
    daemon_start(&s->daemon);
    s->client = ways_connect(&s->daemon, map, K, CREDIT);
    for (int i = 0; i < CREDIT; i++)
        s->held[i] = daemon_next(s->client);
}

static void stage_close(struct stage *s)
{
    for (int i = 0; i < CREDIT; i++)
        ohem_release(s->held[i]);
    ohem_close(s->client);
    rewriter_end(&s->writer);
    if (s->daemon.pid != 0)
        daemon_stop(&s->daemon);
}

/* The rule: read first, then look. @return what the look said */
static int read_and_look(const struct stage *s, int i)
{
    bool same = ways_records_are(s->set, s->held[i]);
    int rc = ohem_batch_check(s->held[i]);

    if (!same && rc != -OHEM_STALE)
        fail_msg("step %u was read with other bytes, and the check says %s",
                 (unsigned)ohem_batch_step(s->held[i]), ohem_error_name(rc));
    assert_true(rc == 0 || rc == -OHEM_STALE);
    return rc;
}

static void assert_all_good(const struct stage *s)
{
    for (int i = 0; i < CREDIT; i++) {
        assert_true(ways_records_are(s->set, s->held[i]));
        assert_int_equal(ohem_batch_check(s->held[i]), 0);
    }
}

/* And nothing that was read can be reported. */
static void assert_all_stale(const struct stage *s)
{
    for (int i = 0; i < CREDIT; i++) {
        const struct ohem_selection *none = NULL;

        assert_int_equal(ohem_batch_check(s->held[i]), -OHEM_STALE);
        assert_int_equal(ohem_submit(s->held[i], losses, K), -OHEM_STALE);
        assert_int_equal(ohem_report(s->held[i], losses, K, SHORT_MS, &none), -OHEM_STALE);
        assert_null(none);
    }
}

/* ---- a daemon that lives ----------------------------------------------------------------------
 */

static void work_beside_a_writer(const struct tinyset *set, bool through_map)
{
    struct stage s = {.set = set};

    stage_open(&s, through_map);
    for (unsigned round = 0; round < 40; round++) {
        (void)rewriter_commit(&s.writer, 5, 1 + round % 3);
        assert_all_good(&s);
        ways_report_and_release(s.held[round % CREDIT]);
        s.held[round % CREDIT] = daemon_next(s.client);
    }
    rewriter_go(&s.writer, 2);
    for (int round = 0; round < 400; round++) {
        assert_all_good(&s);
        ways_report_and_release(s.held[round % CREDIT]);
        s.held[round % CREDIT] = daemon_next(s.client);
    }
    (void)rewriter_halt(&s.writer);
    assert_all_good(&s);
    assert_int_equal(daemon_counter(&s.daemon, "reports_applied"), 440);
    stage_close(&s);
}

static void a_living_daemon_keeps_the_bytes_from_a_writer(void **state)
{
    (void)state;
    work_beside_a_writer(&large, false);
}

static void a_living_daemon_keeps_small_records_from_a_writer_by_map(void **state)
{
    (void)state;
    work_beside_a_writer(&small, true);
}

/* ---- a daemon that was killed -----------------------------------------------------------------
 */

static void after_its_death_without_a_writer_the_bytes_are_good(void **state)
{
    struct stage s = {.set = &large};
    const struct ohem_selection *none = NULL;
    int rc;

    (void)state;
    stage_open(&s, false);
    daemon_kill(&s.daemon);
    assert_all_good(&s);
    assert_int_equal(ohem_submit(s.held[0], losses, K), 0);
    rc = ohem_report(s.held[1], losses, K, SHORT_MS, &none);
    assert_true(rc == -OHEM_TIMEDOUT || rc == -OHEM_UNREACHABLE);
    assert_all_good(&s);
    stage_close(&s);
}

static void one_commit_after_its_death_leaves_the_bytes_good(void **state)
{
    struct stage s = {.set = &large};

    (void)state;
    stage_open(&s, false);
    daemon_kill(&s.daemon);
    (void)rewriter_commit(&s.writer, 1, 1);
    assert_all_good(&s);
    stage_close(&s);
}

/* The test's own bite: by then the bytes are wrong indeed. */
static void commits_after_its_death_make_all_that_is_held_stale(void **state)
{
    struct stage s = {.set = &large};
    unsigned wrong = 0;

    (void)state;
    stage_open(&s, false);
    daemon_kill(&s.daemon);
    (void)rewriter_commit(&s.writer, 6, 1);
    for (int i = 0; i < CREDIT; i++)
        wrong += !ways_records_are(s.set, s.held[i]);
    assert_int_equal(wrong, CREDIT);
    assert_all_stale(&s);
    stage_close(&s);
}

/* Commits while it lived, of which the snapshot knows nothing, count as well. */
static void commits_before_and_after_its_death_add_up(void **state)
{
    struct stage s = {.set = &small};

    (void)state;
    stage_open(&s, false);
    (void)rewriter_commit(&s.writer, 10, 1);
    assert_all_good(&s);
    daemon_kill(&s.daemon);
    for (int n = 0; n < 6; n++) {
        for (int i = 0; i < CREDIT; i++)
            (void)read_and_look(&s, i);
        (void)rewriter_commit(&s.writer, 1, 1);
    }
    assert_all_stale(&s);
    stage_close(&s);
}

/* A batch that lay ready when the daemon died is not handed out when it went stale. */
static void a_stale_batch_that_was_read_ahead_is_not_handed_out(void **state)
{
    struct stage s = {.set = &large};
    struct ohem_batch *none = NULL;
    int rc;

    (void)state;
    stage_open(&s, false);
    for (int i = 1; i < CREDIT; i++) {
        ohem_release(s.held[i]);
        s.held[i] = NULL;
    }
    assert_int_equal(ohem_keepalive(s.client, DAEMON_DEADLINE_MS), 0);
    daemon_kill(&s.daemon);
    (void)rewriter_commit(&s.writer, 6, 1);
    rc = ohem_next(s.client, SHORT_MS, &none);
    assert_true(rc == -OHEM_TIMEDOUT || rc == -OHEM_UNREACHABLE);
    assert_null(none);
    stage_close(&s);
}

/* ---- a daemon that comes back -----------------------------------------------------------------
 */

static bool is_of_commit(const struct stage *s, const struct ohem_batch *b, uint32_t n)
{
    for (uint32_t i = 0; i < K; i++) {
        size_t size;
        const void *data = ohem_batch_data(b, i, &size);

        if (!rewriter_wrote(&s->writer, n, ohem_batch_ids(b)[i], data, size))
            return false;
    }
    return true;
}

static void a_restarted_daemon_brings_what_was_written_and_the_old_is_void(void **state)
{
    struct stage s = {.set = &large};
    const struct ohem_selection *none = NULL;
    uint32_t commits;
    int rc;

    (void)state;
    stage_open(&s, false);
    daemon_kill(&s.daemon);
    commits = rewriter_commit(&s.writer, 6, 1);
    ohem_release(s.held[0]);
    daemon_start(&s.daemon);
    for (int n = 0; n < 3 * CREDIT; n++) {
        s.held[0] = daemon_next(s.client);
        assert_true(is_of_commit(&s, s.held[0], commits));
        assert_int_equal(ohem_batch_check(s.held[0]), 0);
        ways_report_and_release(s.held[0]);
    }
    s.held[0] = NULL;
    for (int i = 1; i < CREDIT; i++) {
        assert_int_equal(ohem_batch_check(s.held[i]), -OHEM_STALE);
        rc = ohem_report(s.held[i], losses, K, SHORT_MS, &none);
        assert_true(rc == -OHEM_STALE || rc == -OHEM_TOKEN);
    }
    stage_close(&s);
}

static void a_restarted_daemon_does_not_know_batches_whose_bytes_are_good(void **state)
{
    struct stage s = {.set = &large};
    const struct ohem_selection *none = NULL;

    (void)state;
    stage_open(&s, false);
    daemon_kill(&s.daemon);
    daemon_start(&s.daemon);
    assert_int_equal(ohem_report(s.held[0], losses, K, DAEMON_DEADLINE_MS, &none), -OHEM_TOKEN);
    assert_all_good(&s);
    stage_close(&s);
}

TEST_MAIN(TEST(a_living_daemon_keeps_the_bytes_from_a_writer),
          TEST(a_living_daemon_keeps_small_records_from_a_writer_by_map),
          TEST(after_its_death_without_a_writer_the_bytes_are_good),
          TEST(one_commit_after_its_death_leaves_the_bytes_good),
          TEST(commits_after_its_death_make_all_that_is_held_stale),
          TEST(commits_before_and_after_its_death_add_up),
          TEST(a_stale_batch_that_was_read_ahead_is_not_handed_out),
          TEST(a_restarted_daemon_brings_what_was_written_and_the_old_is_void),
          TEST(a_restarted_daemon_does_not_know_batches_whose_bytes_are_good))
