/* test_grown.c - libohem while the data set of its job grows: the mapped file is longer than it
 * was, ids come that were not there, and what the trainer holds stays where it is.
 */
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/ways.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST     64
#define ROUNDS    5
#define K         8
#define CREDIT    4
#define ID_MAX    4096
#define STEPS_MAX 4096 /* until an id was seen */

/* Records on pages of their own: each growth is beyond what was mapped. */
static const struct tinyset sets[ROUNDS + 1] = {
    {.count = FIRST, .size_min = 5000, .size_max = 5000},
    {.count = 2 * FIRST, .size_min = 5000, .size_max = 5000},
    {.count = 4 * FIRST, .size_min = 5000, .size_max = 5000},
    {.count = 8 * FIRST, .size_min = 5000, .size_max = 5000},
    {.count = 16 * FIRST, .size_min = 5000, .size_max = 5000},
    {.count = 32 * FIRST, .size_min = 5000, .size_max = 5000},
};

/* ---- helpers -----------------------------------------------------------------------------------
 */

static double served_count(const struct daemon *d)
{
    char *body = daemon_get(d, "/v1/jobs/default");
    double count = daemon_number_in(body, "instance_count");

    free(body);
    return count;
}

static void grow(const struct daemon *d, int round)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;

    tinyset_grow(&sets[round], DAEMON_DATASET, sets[round - 1].count);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    while (served_count(d) < (double)sets[round].count)
        daemon_look_again_soon(deadline, "the job has grown");
}

/* Until an id of the last growth comes. Each is right, and below what the client says. */
static void train_until_new(struct ohem_client *client, int round)
{
    const struct tinyset *set = &sets[round];
    bool found = false;

    for (int step = 0; step < STEPS_MAX && !found; step++) {
        struct ohem_batch *b = daemon_next(client);
        const uint64_t *ids = ohem_batch_ids(b);

        assert_true(ways_records_are(set, b));
        for (uint32_t i = 0; i < ohem_batch_count(b); i++) {
            assert_true(ids[i] < ohem_instance_count(client));
            found = found || ids[i] >= sets[round - 1].count;
        }
        ways_report_and_release(b);
    }
    assert_true(found);
    assert_true(ohem_instance_count(client) > sets[round - 1].count);
    assert_true(ohem_instance_count(client) <= set->count);
}

/* ---- the cases ---------------------------------------------------------------------------------
 */

static void grow_by(struct way way)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client;
    struct ohem_batch *held[ROUNDS];

    tinyset_make(&sets[0], DAEMON_DATASET);
    daemon_start(&d);
    client = ways_connect(&d, way, K, CREDIT + ROUNDS);
    assert_int_equal(ohem_instance_count(client), FIRST);
    for (int round = 1; round <= ROUNDS; round++) {
        held[round - 1] = daemon_next(client);
        grow(&d, round);
        train_until_new(client, round);
        for (int i = 0; i < round; i++) { /* in every mapping so far */
            assert_true(ways_records_are(&sets[round], held[i]));
            assert_int_equal(ohem_batch_check(held[i]), 0);
        }
    }
    for (int i = 0; i < ROUNDS; i++)
        ways_report_and_release(held[i]);
    daemon_end(&d, client);
}

static void by_map_the_longer_file_is_mapped_and_old_batches_stay(void **state)
{
    (void)state;
    grow_by((struct way){OHEM_SCATTERED, OHEM_MAP});
}

static void by_shm_the_new_records_fit_the_old_slots(void **state)
{
    (void)state;
    grow_by((struct way){OHEM_PACKED, OHEM_SHM});
}

static void inline_the_new_records_come_as_the_old_ones(void **state)
{
    (void)state;
    grow_by((struct way){OHEM_ALIGNED64, OHEM_INLINE});
}

static void a_batch_can_be_read_when_its_client_is_closed_and_the_set_has_grown(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client;
    struct ohem_batch *held;

    (void)state;
    tinyset_make(&sets[0], DAEMON_DATASET);
    daemon_start(&d);
    client = ways_connect(&d, (struct way){OHEM_SCATTERED, OHEM_MAP}, K, CREDIT);
    held = daemon_next(client);
    ohem_close(client);
    for (int round = 1; round <= 3; round++) { /* pages that nobody keeps are written over */
        grow(&d, round);
        assert_true(ways_records_are(&sets[0], held));
    }
    ohem_release(held);
    daemon_stop(&d);
}

/* The daemon has its memory: the old ids are what they were. */
static void a_client_goes_on_with_a_daemon_that_comes_back_with_a_grown_set(void **state)
{
    struct daemon d = {.job = "rho = 1\n", .settings = "state = state\n"};
    struct ohem_client *client;

    (void)state;
    tinyset_make(&sets[0], DAEMON_DATASET);
    daemon_start(&d);
    client = ways_connect(&d, (struct way){OHEM_SCATTERED, OHEM_MAP}, K, CREDIT);
    for (int i = 0; i < 3; i++)
        ways_report_and_release(daemon_next(client));
    daemon_kill(&d);
    tinyset_grow(&sets[1], DAEMON_DATASET, sets[0].count);
    daemon_start(&d);
    train_until_new(client, 1);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(by_map_the_longer_file_is_mapped_and_old_batches_stay),
          TEST(by_shm_the_new_records_fit_the_old_slots),
          TEST(inline_the_new_records_come_as_the_old_ones),
          TEST(a_batch_can_be_read_when_its_client_is_closed_and_the_set_has_grown),
          TEST(a_client_goes_on_with_a_daemon_that_comes_back_with_a_grown_set))
