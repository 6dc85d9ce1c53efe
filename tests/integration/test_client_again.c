/* test_client_again.c - reports that are said again or made again, and what a daemon that comes
 * back may say then: with a daemon that does what it wants (fake.h). */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/fake.h"
#include "../lib/test.h"

#include "../../proto/error.h"

#define K        FAKE_K
#define LONG_MS  8000
#define SHORT_MS 300

static const float losses[K] = {1, 2, 3, 4};

/* EARLY; then a new connection whose WELCOME takes longer than the retry; then the real answer. */
static void a_report_that_was_early_is_not_kept_for_ever_when_the_daemon_comes_back(void **state)
{
    struct fake f = {.durable = 1, .credit = 1, .flags = SELECTION_FLAG_EARLY};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    (void)daemon_report(b, losses);
    fake_lock(&f);
    f.keeps_welcome = true;
    fake_unlock(&f);
    fake_forget_connection(&f);
    (void)ohem_keepalive(client, SHORT_MS); /* NO_SESSION: HELLO, and the retry's time passes */
    fake_lock(&f);
    f.keeps_welcome = false;
    f.flags = 0;
    f.sync_ms = 1;
    fake_unlock(&f);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    ohem_release(b);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, NULL), 0);
    fake_end(&f, client);
}

/* A durable report is made again (its answer was not in time), the daemon goes away, the batch is
 * given back before WELCOME. */
static void a_batch_given_back_before_welcome_leaves_its_slot_also_if_its_report_is_durable(
    void **state)
{
    struct fake f = {.durable = 1, .credit = 1, .sync_ms = 1};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    (void)daemon_report(b, losses);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS)); /* durable */
    fake_lock(&f);
    f.stalls = true;
    fake_unlock(&f);
    fake_forget_connection(&f);
    assert_int_not_equal(ohem_report(b, losses, K, SHORT_MS, &selection), 0); /* HELLO is said */
    ohem_release(b);
    fake_lock(&f);
    f.stalls = false;
    fake_unlock(&f);
    daemon_assert_ok(client, ohem_next(client, LONG_MS, &b));
    ohem_release(b);
    fake_end(&f, client);
}

/* Refused for want of memory, made again; meanwhile a later report is durable. */
static void a_report_made_again_after_an_error_is_kept_until_it_is_durable(void **state)
{
    struct fake f = {.durable = 1, .credit = 2, .refuses_with = OHEM_NOMEM};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *first = daemon_next(client), *second = daemon_next(client);

    (void)state;
    assert_int_equal(ohem_report(first, losses, K, LONG_MS, &selection), -OHEM_NOMEM);
    fake_lock(&f);
    f.refuses_with = 0;
    f.durable_seq = 2; /* of the second, once it is there */
    fake_unlock(&f);
    (void)daemon_report(second, losses);
    ohem_release(second);
    (void)daemon_report(first, losses); /* applied now, and by no means on disk */
    ohem_release(first);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, NULL), 1);
    fake_end(&f, client);
}

/* timeout 0 only looks: what has come must be handed over, whichever call heard it. */
static void a_report_that_is_looked_for_beside_other_calls_gets_its_answer(void **state)
{
    struct fake f = {.durable = 1, .credit = 2};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *b = daemon_next(client);
    int rc = -1;

    (void)state;
    for (int tries = 0; tries < 50 && rc != 0; tries++) {
        rc = ohem_report(b, losses, K, 0, &selection);
        if (rc != 0) {
            daemon_be_busy_for(20);
            daemon_assert_ok(client, ohem_keepalive(client, LONG_MS)); /* hears the answer */
        }
    }
    daemon_assert_ok(client, rc);
    ohem_release(b);
    fake_end(&f, client);
}

/* It goes down just when the client, whose session it has forgotten, comes back; then it is there
 * again, with its memory. */
static void a_daemon_that_drains_at_hello_is_waited_for_when_it_keeps_its_memory(void **state)
{
    struct fake f = {.durable = 1, .credit = 2, .sync_ms = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client), *other;
    const struct ohem_selection *selection;

    (void)state;
    fake_lock(&f);
    f.refuses_hello_with = OHEM_DRAINING;
    fake_unlock(&f);
    fake_restart(&f, 0, true);
    daemon_be_busy_for(200);
    assert_int_not_equal(ohem_report(b, losses, K, SHORT_MS, &selection), 0);
    fake_lock(&f);
    f.refuses_hello_with = 0;
    fake_unlock(&f);
    fake_restart(&f, 0, true);
    daemon_be_busy_for(200);
    daemon_assert_ok(client, ohem_report(b, losses, K, LONG_MS, &selection));
    ohem_release(b);
    daemon_assert_ok(client, ohem_next(client, LONG_MS, &other));
    ohem_release(other);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    fake_end(&f, client);
}

/* WELCOME's K must be the one that was agreed on: memory that is used again is of that K. */
static void a_wrong_daemon_that_comes_back_with_a_larger_k_does_no_harm(void **state)
{
    struct fake f = {.durable = 1, .credit = 2, .batch_size = 2};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);
    int rc;

    (void)state;
    fake_lock(&f);
    f.credit = 0; /* no other batch comes */
    fake_unlock(&f);
    ohem_release(b); /* its memory is used again */
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    fake_lock(&f);
    f.credit = 2;
    f.batch_size = 4;
    fake_unlock(&f);
    fake_restart(&f, 0, true);
    daemon_be_busy_for(200);
    rc = ohem_keepalive(client, LONG_MS);
    for (int i = 0; i < 4 && rc == 0; i++) {
        rc = ohem_next(client, SHORT_MS, &b);
        if (rc == 0)
            ohem_release(b);
    }
    assert_int_equal(rc, -OHEM_MALFORMED);
    fake_end(&f, client);
}

TEST_MAIN(TEST(a_report_that_was_early_is_not_kept_for_ever_when_the_daemon_comes_back),
          TEST(a_batch_given_back_before_welcome_leaves_its_slot_also_if_its_report_is_durable),
          TEST(a_report_made_again_after_an_error_is_kept_until_it_is_durable),
          TEST(a_report_that_is_looked_for_beside_other_calls_gets_its_answer),
          TEST(a_daemon_that_drains_at_hello_is_waited_for_when_it_keeps_its_memory),
          TEST(a_wrong_daemon_that_comes_back_with_a_larger_k_does_no_harm))
