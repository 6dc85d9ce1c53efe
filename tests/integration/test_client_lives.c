/* test_client_lives.c - a trainer that outlives daemons: what it had read ahead, and what it says
 * to one that goes down. */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/rewriter.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#define N       64
#define K       16
#define LONG_MS 20000

static const struct tinyset set = {.count = N, .size_min = 3000, .size_max = 3000};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

/* Batches that were read ahead by map from a daemon that died, dropped by the library since a
 * writer went on: nobody has seen them. */
static void what_was_read_ahead_and_went_stale_is_handed_out_again(void **state)
{
    struct daemon d = {.settings = "state = state\ncommit_ms = 5\n", .job = "rho = 1\n"};
    static const struct way map = {OHEM_SCATTERED, OHEM_MAP};
    struct rewriter writer;
    struct ohem_client *client;
    struct ohem_batch *b;
    bool seen[N] = {false};
    unsigned count = 0;

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    rewriter_start(&writer, &set, DAEMON_DATASET, false);
    daemon_start(&d);
    client = ways_connect(&d, map, K, 4);
    daemon_be_busy_for(300); /* all four lie ready, and their leases are on disk */
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    daemon_be_busy_for(300);
    daemon_kill(&d);
    daemon_start(&d);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS)); /* HELLO: they are held, and good */
    (void)rewriter_commit(&writer, 6, 1);
    for (;;) {
        daemon_assert_ok(client, ohem_next(client, LONG_MS, &b));
        if (ohem_batch_epoch(b) > 0)
            break;
        for (int i = 0; i < K; i++)
            seen[ohem_batch_ids(b)[i]] = true;
        ways_report_and_release(b);
    }
    for (int i = 0; i < N; i++)
        count += seen[i];
    assert_int_equal(daemon_counter(&d, "leases_released"), 0);
    assert_int_equal(count, N);
    ohem_release(b);
    ohem_close(client);
    rewriter_end(&writer);
    daemon_stop(&d);
}

/* A daemon that keeps its memory is restarted twice while a trainer validates; it comes back while
 * the second is going down. */
static void who_comes_back_while_a_durable_daemon_goes_down_goes_on_with_the_next(void **state)
{
    struct daemon d = {.settings = "state = state\ncommit_ms = 5\ndrain_ms = 4000\n",
                       .job = "rho = 1\n"};
    struct ohem_client *a, *b;
    struct ohem_batch *of_a, *of_b, *more = NULL;
    const struct ohem_selection *selection;

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    a = daemon_connect(&d, K, 1);
    b = daemon_connect(&d, K, 1);
    of_a = daemon_next(a);
    of_b = daemon_next(b);
    daemon_be_busy_for(300);
    daemon_kill(&d);
    daemon_start(&d);
    daemon_assert_ok(b, ohem_keepalive(b, LONG_MS)); /* b is back; a validates */
    daemon_ask_to_end(&d);
    daemon_be_busy_for(300);
    /* b still holds a batch */
    assert_int_not_equal(ohem_report(of_a, losses, K, 500, &selection), 0);
    daemon_await_end(&d);
    daemon_start(&d);
    daemon_assert_ok(a, ohem_report(of_a, losses, K, LONG_MS, &selection));
    ohem_release(of_a);
    daemon_assert_ok(a, ohem_next(a, LONG_MS, &more));
    ohem_release(more);
    ohem_release(of_b);
    ohem_close(a);
    ohem_close(b);
    daemon_stop(&d);
}

/* ohem_flush() after a report that was refused. */
static void flush_behind_a_refused_report_takes_no_longer(void **state)
{
    struct daemon d = {.settings = "state = state\ncommit_ms = 50\n",
                       .job = "lease_ms = 100\nlate_ms = 1000\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *gone, *late, *fresh;
    const struct ohem_selection *selection;
    int64_t began;

    (void)state;
    gone = daemon_next(client);
    late = daemon_next(client);
    daemon_be_busy_for(400); /* both are returned */
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    daemon_be_busy_for(850); /* and closed, but the session is not forgotten */
    ohem_release(gone);
    fresh = daemon_next(client);
    daemon_assert_ok(client, ohem_report(fresh, losses, K, LONG_MS, &selection));
    assert_int_equal(ohem_report(late, losses, K, LONG_MS, &selection), -OHEM_EXPIRED);
    began = daemon_now_ms();
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_true(daemon_now_ms() - began < 600);
    ohem_release(fresh);
    ohem_release(late);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(what_was_read_ahead_and_went_stale_is_handed_out_again),
          TEST(who_comes_back_while_a_durable_daemon_goes_down_goes_on_with_the_next),
          TEST(flush_behind_a_refused_report_takes_no_longer))
