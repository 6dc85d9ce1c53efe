/* test_transport_held.c - a batch stays as it is until it is released, whatever happens around it,
 * and when all is released nothing of it is left anywhere.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <dirent.h>
#include <string.h>

#define N      400
#define K      32
#define CREDIT 4
#define ROUNDS 40

static const struct tinyset set = {.count = N, .size_min = 1, .size_max = 3000};

static void begin(struct daemon *d)
{
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(d);
}

static void take(struct ohem_client *client, struct ohem_batch **out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = daemon_next(client);
}

static void assert_all(struct way way, struct ohem_batch *const *held, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ways_assert_records(&set, way, held[i]);
}

static void release_all(struct ohem_batch *const *held, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ohem_release(held[i]);
}

/* ---- until it is released ---------------------------------------------------------------------
 */

/* Hold the batch at each place of the credit while all others go round. */
static void hold_one_while_others_go_round(struct ohem_client *client, struct way way)
{
    for (size_t held_at = 0; held_at < CREDIT; held_at++) {
        struct ohem_batch *held[CREDIT];

        take(client, held, CREDIT);
        for (int n = 0; n < ROUNDS; n++)
            for (size_t i = 0; i < CREDIT; i++)
                if (i != held_at) {
                    ways_report_and_release(held[i]);
                    held[i] = daemon_next(client);
                    ways_assert_records(&set, way, held[held_at]);
                }
        assert_all(way, held, CREDIT);
        release_all(held, CREDIT);
    }
}

static void a_held_batch_is_not_written_over(void **state)
{
    struct daemon d = {0};

    (void)state;
    begin(&d);
    for (int n = 0; n < WAYS_COUNT; n++) {
        struct ohem_client *client = ways_connect(&d, ways[n], K, CREDIT);

        hold_one_while_others_go_round(client, ways[n]);
        ohem_close(client);
    }
    daemon_stop(&d);
}

static void sessions_by_all_ways_work_side_by_side(void **state)
{
    struct ohem_client *clients[2 * WAYS_COUNT];
    struct ohem_batch *held[2 * WAYS_COUNT];
    struct daemon d = {0};

    (void)state;
    begin(&d);
    for (int n = 0; n < 2 * WAYS_COUNT; n++) {
        clients[n] = ways_connect(&d, ways[n % WAYS_COUNT], K, 2);
        held[n] = daemon_next(clients[n]);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int n = 0; n < 2 * WAYS_COUNT; n++) {
            struct ohem_batch *next = daemon_next(clients[n]);

            ways_assert_records(&set, ways[n % WAYS_COUNT], held[n]);
            ways_report_and_release(held[n]);
            held[n] = next;
        }
    for (int n = 0; n < 2 * WAYS_COUNT; n++) {
        ways_assert_records(&set, ways[n % WAYS_COUNT], held[n]);
        ohem_release(held[n]);
        ohem_close(clients[n]);
    }
    daemon_stop(&d);
}

/* ---- when the client is closed, or the daemon gone --------------------------------------------
 */

static unsigned shared_mappings(void)
{
    return ways_mappings(0, WAYS_RING) + ways_mappings(0, WAYS_FILE);
}

static unsigned open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

static void assert_no_name_left_behind(void)
{
    DIR *directory = opendir("/dev/shm");
    const struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL)
        if (strstr(entry->d_name, "ohem") != NULL)
            fail_msg("/dev/shm/%s was left behind", entry->d_name);
    if (directory != NULL)
        (void)closedir(directory);
}

static void close_and_stop(struct daemon *d, struct ohem_client *client)
{
    ohem_close(client);
    daemon_stop(d);
}

static void stop_and_close(struct daemon *d, struct ohem_client *client)
{
    daemon_stop(d);
    ohem_close(client);
}

static void kill_and_close(struct daemon *d, struct ohem_client *client)
{
    daemon_kill(d);
    ohem_close(client);
}

/* Batches outlive both ends, whichever goes first; then all of it is gone. */
static void outlive(void (*end)(struct daemon *, struct ohem_client *))
{
    struct daemon d = {.settings = "drain_ms = 0\n"};

    tinyset_make(&set, DAEMON_DATASET);
    for (int n = 0; n < WAYS_COUNT; n++) {
        unsigned mapped_before = shared_mappings(), files_before = open_files();
        struct ohem_batch *held[CREDIT];
        struct ohem_client *client;

        daemon_start(&d);
        client = ways_connect(&d, ways[n], K, CREDIT);
        take(client, held, CREDIT);
        assert_int_equal(shared_mappings() > mapped_before, ways[n].transport != OHEM_INLINE);
        end(&d, client);
        assert_all(ways[n], held, CREDIT);
        for (size_t i = CREDIT; i-- > 0;) {
            ohem_release(held[i]);
            assert_all(ways[n], held, i);
        }
        assert_int_equal(shared_mappings(), mapped_before);
        assert_int_equal(open_files(), files_before);
        assert_no_name_left_behind();
    }
}

static void batches_outlive_their_client_and_then_the_daemon(void **state)
{
    (void)state;
    outlive(close_and_stop);
}

static void batches_outlive_the_daemon_and_then_their_client(void **state)
{
    (void)state;
    outlive(stop_and_close);
}

static void batches_outlive_a_killed_daemon(void **state)
{
    (void)state;
    outlive(kill_and_close);
}

/* The old batches keep the old memory; the new session has its own. */
static void after_a_restart_old_and_new_batches_are_held_side_by_side(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    for (int n = 0; n < WAYS_COUNT; n++) {
        unsigned mapped_before = shared_mappings();
        struct ohem_batch *held[CREDIT];
        struct ohem_client *client;

        daemon_start(&d);
        client = ways_connect(&d, ways[n], K, CREDIT);
        take(client, held, CREDIT); /* so that none is under way */
        daemon_kill(&d);
        release_all(held + 2, 2);
        daemon_start(&d);
        take(client, held + 2, 2);
        for (int i = 0; i < ROUNDS; i++) {
            ways_report_and_release(held[3]);
            held[3] = daemon_next(client);
            assert_int_equal(ohem_transport(client), ways[n].transport);
            assert_all(ways[n], held, CREDIT);
        }
        release_all(held, CREDIT);
        ohem_close(client);
        daemon_stop(&d);
        assert_int_equal(shared_mappings(), mapped_before);
    }
}

TEST_MAIN(TEST(a_held_batch_is_not_written_over), TEST(sessions_by_all_ways_work_side_by_side),
          TEST(batches_outlive_their_client_and_then_the_daemon),
          TEST(batches_outlive_the_daemon_and_then_their_client),
          TEST(batches_outlive_a_killed_daemon),
          TEST(after_a_restart_old_and_new_batches_are_held_side_by_side))
