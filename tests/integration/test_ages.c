/* test_ages.c - how stale a batch is when the trainer takes it: ohem_batch_age(), credit, max_age.
 *
 * The daemon draws a batch as soon as its slot is free, so the reports that come after that are
 * those of the batches that were read ahead. Old batches that are not sent are in test_cold_age.c:
 * it takes a slow disk to make some.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#define N      64
#define K      16
#define ROUNDS 60

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

static void end(struct daemon *d, struct ohem_client *client)
{
    ohem_close(client);
    daemon_stop(d);
}

/* Blocking reports at a credit. @return the greatest age, which credit - 1 bounds */
static uint64_t greatest_age(const struct daemon *d, uint32_t credit)
{
    struct ohem_client *client = daemon_connect(d, K, credit);
    uint64_t greatest = 0;

    for (int n = 0; n < ROUNDS; n++) {
        struct ohem_batch *b = daemon_next(client);
        uint64_t age = ohem_batch_age(b);

        assert_true(age < credit);
        greatest = age > greatest ? age : greatest;
        (void)daemon_report(b, losses);
        assert_int_equal(ohem_batch_age(b), age); /* it is that of the hand-out */
        ohem_release(b);
    }
    ohem_close(client);
    return greatest;
}

static void with_a_credit_of_one_no_batch_is_stale(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    assert_int_equal(greatest_age(&d, 1), 0);
    daemon_stop(&d);
}

static void reading_ahead_makes_batches_older_up_to_the_credit(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    assert_in_range(greatest_age(&d, 2), 1, 1);
    assert_in_range(greatest_age(&d, 4), 2, 3);
    assert_in_range(greatest_age(&d, 16), 4, 15);
    daemon_stop(&d);
}

/* What was drawn before any report and read ahead: known to the report. */
static void the_age_counts_the_reports_since_the_draw(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client;
    struct ohem_batch *b[4];

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    client = daemon_connect(&d, K, 4);
    for (int i = 0; i < 4; i++) {
        b[i] = daemon_next(client);
        assert_int_equal(ohem_batch_age(b[i]), 0); /* nothing was reported yet */
    }
    for (int i = 0; i < 4; i++)
        (void)daemon_report(b[i], losses);
    for (int i = 0; i < 4; i++)
        ohem_release(b[i]);
    for (int i = 0; i < 4; i++) {
        b[i] = daemon_next(client);
        assert_int_equal(ohem_batch_age(b[i]), 0); /* drawn when all four were known */
        assert_int_equal(ohem_keepalive(client, DAEMON_DEADLINE_MS), 0);
    }
    (void)daemon_report(b[0], losses);
    ohem_release(b[0]);
    (void)daemon_report(b[1], losses);
    (void)daemon_report(b[2], losses);
    b[0] = daemon_next(client); /* drawn after the first of these reports */
    assert_in_range(ohem_batch_age(b[0]), 0, 2);
    for (int i = 0; i < 4; i++)
        ohem_release(b[i]);
    end(&d, client);
}

/* Another session's reports are not known to this one before its own next answer. */
static void reports_of_others_count_as_soon_as_they_are_known(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client, *other;
    struct ohem_batch *first, *b;

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    client = daemon_connect(&d, K, 2);
    first = daemon_next(client); /* the second one is drawn at the same time */
    assert_int_equal(ohem_keepalive(client, DAEMON_DEADLINE_MS), 0);
    daemon_await_counter(&d, "batches_drawn", 2);
    other = daemon_connect(&d, K, 1);
    for (int n = 0; n < ROUNDS; n++) {
        b = daemon_next(other);
        (void)daemon_report(b, losses);
        ohem_release(b);
    }
    assert_int_equal(ohem_selection_lsn(daemon_report(first, losses)), ROUNDS + 1);
    b = daemon_next(client);
    assert_int_equal(ohem_batch_age(b), ROUNDS + 1);
    ohem_release(b);
    ohem_release(first);
    ohem_close(other);
    end(&d, client);
}

static void max_age_does_not_stop_a_trainer_that_keeps_up(void **state)
{
    struct daemon d = {.job = "max_age = 1\n"};

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    assert_int_equal(greatest_age(&d, 1), 0);
    assert_in_range(greatest_age(&d, 8), 0, 7);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 2 * ROUNDS);
    daemon_stop(&d);
}

TEST_MAIN(TEST(with_a_credit_of_one_no_batch_is_stale),
          TEST(reading_ahead_makes_batches_older_up_to_the_credit),
          TEST(the_age_counts_the_reports_since_the_draw),
          TEST(reports_of_others_count_as_soon_as_they_are_known),
          TEST(max_age_does_not_stop_a_trainer_that_keeps_up))
