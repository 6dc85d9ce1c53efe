/* test_pipeline_outage.c - submitted reports, and a daemon that stands still or dies. */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#define N        64
#define K        16
#define EARLY_MS 2    /* a clock in whole milliseconds */
#define LATER_MS 1000 /* a call may end so much after its deadline */

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

static void while_the_daemon_stands_still_selections_end_in_time(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 4);
    struct ohem_batch *b[4];
    const struct ohem_selection *none = NULL;
    int64_t began;

    (void)state;
    for (int i = 0; i < 4; i++)
        b[i] = daemon_next(client);
    daemon_pause(&d);
    for (int i = 0; i < 4; i++)
        daemon_submit(b[i], losses);
    for (int i = 0; i < 4; i++) {
        began = daemon_now_ms();
        assert_int_equal(ohem_selection(b[i], 100, &none), -OHEM_TIMEDOUT);
        assert_in_range(daemon_now_ms() - began, 100 - EARLY_MS, 100 + LATER_MS);
    }
    began = daemon_now_ms();
    assert_int_equal(ohem_selection(b[0], 0, &none), -OHEM_TIMEDOUT);
    assert_true(daemon_now_ms() - began < LATER_MS);
    assert_null(none);
    daemon_resume(&d);
    for (unsigned i = 4; i-- > 0;)
        assert_int_equal(ohem_selection_lsn(daemon_selection(b[i])), i + 1);
    for (int i = 0; i < 4; i++)
        ohem_release(b[i]);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 4);
    daemon_end(&d, client);
}

static void a_restarted_daemon_does_not_know_what_was_submitted(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *none = NULL;

    (void)state;
    daemon_kill(&d);
    daemon_submit(b, losses);
    daemon_start(&d);
    assert_int_equal(ohem_selection(b, DAEMON_DEADLINE_MS, &none), -OHEM_TOKEN);
    assert_null(none);
    assert_int_equal(ohem_submit(b, losses, K), -OHEM_TOKEN);
    ohem_release(b);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(while_the_daemon_stands_still_selections_end_in_time),
          TEST(a_restarted_daemon_does_not_know_what_was_submitted))
