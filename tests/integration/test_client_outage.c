/* test_client_outage.c - libohem against an ohemd that stands still, dies, comes back or goes down.
 *
 * Whatever happens, a call ends at its deadline. A daemon that stands still is one that is stopped
 * by a signal: it neither answers nor closes its connections.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N          64
#define K          16
#define EARLY_MS   2    /* a clock in whole milliseconds */
#define LATER_MS   1000 /* a call may end so much after its deadline */
#define SILENCE_MS 4000 /* a wait that is long enough to tell silence from slowness */

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

static struct ohem_client *begin(struct daemon *d, uint32_t credit)
{
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(d);
    return daemon_connect(d, K, credit);
}

/* ohem_next() says that, at its deadline and not much later. */
static void assert_next(struct ohem_client *client, int timeout_ms, int expected)
{
    int64_t began = daemon_now_ms(), took;
    struct ohem_batch *none = NULL;
    int rc = ohem_next(client, timeout_ms, &none);

    took = daemon_now_ms() - began;
    if (rc != expected)
        fail_msg("%s after %d ms: %s", ohem_error_name(rc), (int)took, ohem_client_error(client));
    assert_null(none);
    assert_true(took >= timeout_ms - EARLY_MS && took <= timeout_ms + LATER_MS);
}

/* ---- a daemon that stands still ---------------------------------------------------------------
 */

static void a_call_ends_at_its_deadline_while_the_daemon_stands_still(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    daemon_pause(&d);
    ohem_release(b);
    assert_next(client, 0, -OHEM_TIMEDOUT);
    assert_next(client, 100, -OHEM_TIMEDOUT);
    assert_int_equal(ohem_keepalive(client, 100), -OHEM_TIMEDOUT);
    assert_next(client, SILENCE_MS, -OHEM_UNREACHABLE);
    assert_next(client, 0, -OHEM_UNREACHABLE);
    daemon_resume(&d);
    ohem_release(daemon_next(client));
    ohem_close(client);
    daemon_stop(&d);
}

static void a_busy_trainer_that_only_looks_does_not_find_the_daemon_dead(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    daemon_be_busy_for(4000);
    daemon_pause(&d); /* so that no batch is there */
    ohem_release(b);
    assert_next(client, 0, -OHEM_TIMEDOUT);
    daemon_resume(&d);
    ohem_release(daemon_next(client));
    ohem_close(client);
    daemon_stop(&d);
}

static void a_report_that_was_not_answered_in_time_is_applied_once(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *s = NULL;

    (void)state;
    daemon_pause(&d);
    for (int n = 0; n < 3; n++)
        assert_int_equal(ohem_report(b, losses, K, 50, &s), -OHEM_TIMEDOUT);
    assert_null(s);
    daemon_resume(&d);
    s = daemon_report(b, losses);
    assert_int_equal(ohem_selection_lsn(s), 1);
    assert_int_equal(ohem_selection_count(s), K / 2);
    assert_int_equal(daemon_counter(&d, "reports_repeated"), 0); /* it was under way */
    assert_int_equal(daemon_counter(&d, "reports_applied"), 1);
    ohem_release(b);
    ohem_release(daemon_next(client));
    ohem_close(client);
    daemon_stop(&d);
}

/* ---- a daemon that is killed ------------------------------------------------------------------
 */

static void a_killed_daemon_is_an_error_at_the_deadline(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *none = NULL;
    int64_t began;

    (void)state;
    daemon_kill(&d);
    began = daemon_now_ms();
    assert_int_equal(ohem_report(b, losses, K, SILENCE_MS, &none), -OHEM_UNREACHABLE);
    assert_in_range(daemon_now_ms() - began, SILENCE_MS - EARLY_MS, SILENCE_MS + LATER_MS);
    ohem_release(b);
    assert_next(client, SILENCE_MS, -OHEM_UNREACHABLE);
    assert_int_equal(ohem_keepalive(client, 100), -OHEM_UNREACHABLE);
    began = daemon_now_ms();
    ohem_close(client);
    assert_in_range(daemon_now_ms() - began, 0, 1000 + LATER_MS);
}

static void after_a_restart_batches_come_again_and_the_old_one_is_unknown(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client = begin(&d, 2);
    struct ohem_batch *old = daemon_next(client), *b;
    uint64_t ids[K];
    const struct ohem_selection *s = NULL;

    (void)state;
    (void)daemon_report(old, losses);
    memcpy(ids, ohem_batch_ids(old), sizeof ids);
    daemon_kill(&d);
    daemon_start(&d);
    ohem_release(daemon_next(client)); /* may still be one that was read ahead */
    b = daemon_next(client);
    assert_int_equal(ohem_selection_lsn(daemon_report(b, losses)), 1);
    assert_int_equal(ohem_report(old, losses, K, DAEMON_DEADLINE_MS, &s), -OHEM_TOKEN);
    assert_null(s);
    assert_memory_equal(ohem_batch_ids(old), ids, sizeof ids); /* what is held stays readable */
    ohem_release(old);
    ohem_release(b);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 1);
    ohem_close(client);
    daemon_stop(&d);
}

static void a_report_to_a_restarted_daemon_is_refused_and_not_lost_in_silence(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *old = daemon_next(client);
    const struct ohem_selection *s = NULL;

    (void)state;
    daemon_kill(&d);
    daemon_start(&d);
    assert_int_equal(ohem_report(old, losses, K, DAEMON_DEADLINE_MS, &s), -OHEM_TOKEN);
    assert_null(s);
    ohem_release(old);
    ohem_release(daemon_next(client));
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    ohem_close(client);
    daemon_stop(&d);
}

/* Ids would mean other instances, and a trainer's arrays by id would be too short. */
static void a_daemon_that_comes_back_with_another_data_set_ends_the_session(void **state)
{
    struct daemon d = {0};
    struct tinyset larger = {.count = 100 * K, .size_min = 3, .size_max = 3};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *held = daemon_next(client), *b = NULL;
    int rc;

    (void)state;
    ohem_release(held);
    daemon_kill(&d);
    assert_int_equal(unlink(DAEMON_DATASET "/data.mdb"), 0);
    (void)unlink(DAEMON_DATASET "/lock.mdb");
    assert_int_equal(rmdir(DAEMON_DATASET), 0);
    tinyset_make(&larger, DAEMON_DATASET);
    daemon_start(&d);
    while ((rc = ohem_next(client, DAEMON_DEADLINE_MS, &b)) == 0)
        ohem_release(b); /* read ahead before it ended */
    assert_int_equal(rc, -OHEM_DATASET);
    assert_non_null(strstr(ohem_client_error(client), "another data set"));
    ohem_close(client);
    daemon_stop(&d);
}

/* ---- a daemon that goes down ------------------------------------------------------------------
 */

static void a_drained_daemon_takes_the_last_report_and_ends(void **state)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct daemon d = {.settings = "drain_ms = 60000\n"};
    struct ohem_client *client = begin(&d, 2), *refused = NULL;
    struct ohem_batch *held = daemon_next(client), *more;
    int rc;

    (void)state;
    options.endpoint = d.endpoint;
    options.connect_timeout_ms = DAEMON_DEADLINE_MS;
    daemon_ask_to_end(&d);
    while ((rc = ohem_next(client, DAEMON_DEADLINE_MS, &more)) == 0)
        ohem_release(more); /* was under way */
    assert_int_equal(rc, -OHEM_DRAINING);
    assert_int_equal(ohem_connect(&options, &refused), -OHEM_DRAINING);
    assert_null(refused);
    assert_int_equal(ohem_selection_count(daemon_report(held, losses)), K / 2);
    ohem_release(held);
    ohem_close(client);
    daemon_await_end(&d);
}

static void a_drained_daemon_does_not_wait_for_ever(void **state)
{
    struct daemon d = {.settings = "drain_ms = 300\n"};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *held = daemon_next(client);

    (void)state;
    daemon_stop(&d);
    ohem_close(client);
    ohem_release(held);
}

/* ---- the client itself goes -------------------------------------------------------------------
 */

static void a_batch_outlives_its_client(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 2);
    struct ohem_batch *reported = daemon_next(client), *open = daemon_next(client);
    const struct ohem_selection *s = daemon_report(reported, losses), *none = NULL;
    const struct ohem_batch *both[] = {reported, open};

    (void)state;
    ohem_close(client);
    daemon_await_counter(&d, "leases_abandoned", 1);
    daemon_stop(&d);
    for (int n = 0; n < 2; n++)
        for (uint32_t i = 0; i < K; i++) {
            size_t size;
            const void *data = ohem_batch_data(both[n], i, &size);

            assert_true(tinyset_is(&set, ohem_batch_ids(both[n])[i], data, size));
        }
    assert_int_equal(ohem_selection_count(s), K / 2);
    assert_int_equal(ohem_report(open, losses, K, 0, &none), -OHEM_INVALID);
    ohem_release(reported);
    ohem_release(open);
    ohem_release(NULL);
    ohem_close(NULL);
}

/* In the child nothing may be asserted: a failure would run on as if it were the test. */
static bool is_refused_to_fork(struct ohem_client *client, struct ohem_batch *batch)
{
    const struct ohem_selection *s = NULL;
    struct ohem_batch *b = NULL;
    bool refused = ohem_next(client, 1000, &b) == -OHEM_FORKED &&
                   ohem_report(batch, losses, K, 1000, &s) == -OHEM_FORKED &&
                   ohem_keepalive(client, 1000) == -OHEM_FORKED && b == NULL && s == NULL;
    size_t size;
    const void *data = ohem_batch_data(batch, 0, &size);

    refused = refused && strstr(ohem_client_error(client), "opened by process") != NULL &&
              tinyset_is(&set, ohem_batch_ids(batch)[0], data, size);
    ohem_release(batch);
    ohem_close(client);
    return refused;
}

static void a_forked_child_is_refused_and_the_parent_goes_on(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = begin(&d, 1);
    struct ohem_batch *b = daemon_next(client);
    int status = 0;
    pid_t child;

    (void)state;
    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(is_refused_to_fork(client, b) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(ohem_selection_lsn(daemon_report(b, losses)), 1);
    ohem_release(b);
    ohem_release(daemon_next(client));
    assert_int_equal(daemon_counter(&d, "sessions_closed"), 0);
    ohem_close(client);
    daemon_stop(&d);
}

TEST_MAIN(TEST(a_call_ends_at_its_deadline_while_the_daemon_stands_still),
          TEST(a_busy_trainer_that_only_looks_does_not_find_the_daemon_dead),
          TEST(a_report_that_was_not_answered_in_time_is_applied_once),
          TEST(a_killed_daemon_is_an_error_at_the_deadline),
          TEST(after_a_restart_batches_come_again_and_the_old_one_is_unknown),
          TEST(a_report_to_a_restarted_daemon_is_refused_and_not_lost_in_silence),
          TEST(a_daemon_that_comes_back_with_another_data_set_ends_the_session),
          TEST(a_drained_daemon_takes_the_last_report_and_ends),
          TEST(a_drained_daemon_does_not_wait_for_ever), TEST(a_batch_outlives_its_client),
          TEST(a_forked_child_is_refused_and_the_parent_goes_on))
