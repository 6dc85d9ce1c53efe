/* test_client_durable.c - libohem against a daemon that dies, and comes back with its memory.
 *
 * The daemon is a fake (tests/lib/fake.c), so that each order of events can be had, and all that
 * the client says be seen.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/fake.h"
#include "../lib/test.h"

#include "../../proto/error.h"

#define K         FAKE_K
#define LONG_MS   20000 /* for what has to happen */
#define SHORT_MS  300   /* for what does not */
#define LATER_MS  4000  /* how late what has a time may be: silence is noticed after a second */
#define ONE_LARGE 1     /* bytes that a single report exceeds */

static const float losses[K] = {1, 2, 3, 4};

static void set_sync_ms(struct fake *f, int ms)
{
    fake_lock(f);
    f->sync_ms = ms;
    fake_unlock(f);
}

static struct ohem_batch *report_next(struct ohem_client *client)
{
    struct ohem_batch *b = daemon_next(client);

    (void)daemon_report(b, losses);
    return b;
}

static void assert_said(const struct fake_said *s, enum message_type type, uint64_t step,
                        uint64_t seq)
{
    assert_int_equal(s->type, type);
    assert_int_equal(s->token.step, step);
    assert_int_equal(s->seq, seq);
    assert_false(s->unknown);
}

static size_t count_said(struct fake *f, enum message_type type)
{
    size_t count, n = 0;
    const struct fake_said *s = fake_said(f, &count);

    for (size_t i = 0; i < count; i++)
        n += s[i].type == type;
    return n;
}

/* ---- what is kept ----------------------------------------------------------------------------
 */

static void reports_are_sent_again_in_their_order_with_ids_and_credit_follows(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *held;
    const struct fake_said *s;
    size_t count;

    (void)state;
    ohem_release(report_next(client));
    ohem_release(report_next(client));
    held = report_next(client);
    assert_int_equal(ohem_unacked(client, NULL), 3);
    set_sync_ms(&f, 1);
    fake_restart(&f, 0, true);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, NULL), 0);

    s = fake_said(&f, &count);
    assert_true(count >= 7);
    assert_int_equal(s[0].memory, f.memory);
    assert_int_equal(s[0].kept_count, 2);
    assert_true(s[0].held_count >= 1);
    assert_said(&s[1], MESSAGE_LOSS, 0, 1);
    assert_said(&s[2], MESSAGE_CREDIT, 0, 0);
    assert_said(&s[3], MESSAGE_LOSS, 1, 2);
    assert_said(&s[4], MESSAGE_CREDIT, 1, 0);
    assert_said(&s[5], MESSAGE_LOSS, 2, 3);
    assert_said(&s[6], MESSAGE_SYNC, 0, 3);
    assert_int_equal(s[1].ids_count, K);
    assert_int_equal(s[5].ids_count, K);
    ohem_release(held);
    fake_end(&f, client);
}

static void what_was_durable_is_not_sent_again(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = 1};
    struct ohem_client *client = fake_begin(&f);

    (void)state;
    ohem_release(report_next(client));
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    fake_restart(&f, 0, true);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    assert_int_equal(count_said(&f, MESSAGE_LOSS), 0);
    fake_end(&f, client);
}

static void over_another_connection_to_the_same_session_no_ids_are_said(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    const struct fake_said *s;
    size_t count;

    (void)state;
    ohem_release(report_next(client));
    fake_forget_connection(&f);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    s = fake_said(&f, &count);
    assert_true(count >= 3);
    assert_said(&s[1], MESSAGE_LOSS, 0, 1);
    assert_int_equal(s[1].ids_count, 0);
    assert_int_equal(ohem_session(client), 1);
    fake_end(&f, client);
}

/* The daemon is the same, but its new session has nothing under these tokens. */
static void another_session_of_the_same_daemon_gets_ids_with_what_came_before(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *held;
    const struct fake_said *s;
    size_t count;

    (void)state;
    ohem_release(report_next(client));
    held = daemon_next(client);
    fake_forget_session(&f);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    assert_int_equal(ohem_session(client), 2);
    (void)daemon_report(held, losses); /* for the first time */
    ohem_release(held);
    for (uint64_t step = 2; step <= 5; step++)
        ohem_release(report_next(client));
    s = fake_said(&f, &count);
    assert_said(&s[1], MESSAGE_LOSS, 0, 1);
    for (size_t i = 0; i < count; i++)
        if (s[i].type == MESSAGE_LOSS && s[i].token.step != 4) /* that one may have come before */
            assert_int_equal(s[i].ids_count, s[i].token.step < 4 ? K : 0);
    assert_int_equal(count_said(&f, MESSAGE_LOSS), 6);
    fake_end(&f, client);
}

static void a_daemon_that_writes_nothing_leaves_nothing_to_keep(void **state)
{
    struct fake f = {.durable = 0};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = report_next(client);

    (void)state;
    assert_int_equal(ohem_durable(client), 0);
    assert_int_equal(ohem_unacked(client, NULL), 0);
    daemon_assert_ok(client, ohem_flush(client, 0));
    assert_int_equal(count_said(&f, MESSAGE_SYNC), 0);
    ohem_release(b);
    fake_end(&f, client);
}

static void a_report_without_its_answer_is_kept_also_by_then(void **state)
{
    struct fake f = {.durable = 0, .keeps_answers = true};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    daemon_submit(b, losses);
    ohem_release(b);
    assert_int_equal(ohem_flush(client, SHORT_MS), -OHEM_TIMEDOUT);
    assert_int_equal(ohem_unacked(client, NULL), 1);
    fake_lock(&f);
    f.keeps_answers = false;
    fake_unlock(&f);
    daemon_assert_ok(client,
                     ohem_flush(client, LONG_MS)); /* a PONG overtook the answer: it is lost */
    fake_end(&f, client);
}

/* ---- what is held ----------------------------------------------------------------------------
 */

static void batches_stay_good_and_none_comes_twice(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *held[4];

    (void)state;
    held[0] = daemon_next(client);
    held[1] = daemon_next(client);
    fake_restart(&f, 0, true);
    for (size_t i = 0; i < 2; i++) {
        (void)daemon_report(held[i], losses);
        ohem_release(held[i]);
    }
    for (uint64_t step = 2; step < 12; step++) {
        struct ohem_batch *b = report_next(client);

        assert_int_equal(ohem_batch_step(b), step);
        ohem_release(b);
    }
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    fake_end(&f, client);
}

static void a_first_report_after_a_restart_has_ids(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);
    const struct fake_said *s;
    size_t count;

    (void)state;
    fake_restart(&f, 0, true);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    (void)daemon_report(b, losses);
    s = fake_said(&f, &count);
    assert_said(&s[count - 1], MESSAGE_LOSS, 0, 1);
    assert_int_equal(s[count - 1].ids_count, K);
    ohem_release(b);
    fake_end(&f, client);
}

static void what_is_reported_and_given_back_while_the_daemon_is_away_comes_no_more(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    fake_restart(&f, LATER_MS / 2, true);
    assert_int_equal(ohem_keepalive(client, SHORT_MS), -OHEM_TIMEDOUT);
    daemon_submit(b, losses);
    ohem_release(b);
    for (uint64_t step = 1; step < 6; step++) {
        b = report_next(client);
        assert_int_equal(ohem_batch_step(b), step);
        ohem_release(b);
    }
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    fake_end(&f, client);
}

static void what_is_given_back_before_welcome_is_said_to_be_held_until_then(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    fake_lock(&f);
    f.keeps_welcome = true;
    fake_unlock(&f);
    fake_forget_session(&f);
    assert_int_equal(ohem_keepalive(client, SHORT_MS), -OHEM_UNREACHABLE);
    ohem_release(b);
    fake_lock(&f);
    f.keeps_welcome = false;
    fake_unlock(&f);
    for (uint64_t step = 1; step < 6; step++) {
        b = daemon_next(client);
        assert_int_equal(ohem_batch_step(b), step);
        ohem_release(b);
        daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    }
    fake_end(&f, client);
}

static void another_memory_orphans_batches_and_drops_what_was_kept(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *reported, *held, *fresh;

    (void)state;
    reported = report_next(client);
    held = daemon_next(client);
    fake_restart(&f, 0, false);
    assert_int_equal(ohem_flush(client, LONG_MS), -OHEM_TOKEN);
    assert_int_equal(ohem_unacked(client, NULL), 0);
    assert_int_equal(ohem_report(held, losses, K, LONG_MS, &selection), -OHEM_TOKEN);
    assert_int_equal(ohem_selection(reported, LONG_MS, &selection), -OHEM_TOKEN);
    fresh = report_next(client);
    assert_int_equal(count_said(&f, MESSAGE_LOSS), 1);
    ohem_release(reported);
    ohem_release(held);
    ohem_release(fresh);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    assert_int_equal(count_said(&f, MESSAGE_CREDIT), 1);
    fake_end(&f, client);
}

/* ---- answers after a restart -----------------------------------------------------------------
 */

static void a_conflict_reaches_the_trainer_and_nothing_is_kept_of_it(void **state)
{
    struct fake f = {.durable = 1, .keeps_answers = true};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    daemon_submit(b, losses);
    assert_int_equal(ohem_selection(b, SHORT_MS, &selection), -OHEM_TIMEDOUT);
    fake_lock(&f);
    f.keeps_answers = false;
    f.refuses_with = OHEM_CONFLICT;
    fake_unlock(&f);
    fake_restart(&f, 0, true);
    assert_int_equal(ohem_selection(b, LONG_MS, &selection), -OHEM_CONFLICT);
    assert_int_equal(ohem_unacked(client, NULL), 0);
    daemon_assert_ok(client, ohem_flush(client, 0));
    ohem_release(b);
    fake_end(&f, client);
}

static void a_forgotten_answer_is_as_good_as_another(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);

    (void)state;
    ohem_release(report_next(client));
    fake_lock(&f);
    f.flags = SELECTION_FLAG_REPEATED | SELECTION_FLAG_FORGOTTEN;
    f.durable_seq = 1;
    fake_unlock(&f);
    fake_restart(&f, 0, true);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, NULL), 0);
    fake_end(&f, client);
}

static void a_forgotten_answer_is_an_error_to_who_still_waits_unless_it_is_made_again(void **state)
{
    struct fake f = {.durable = 1, .flags = SELECTION_FLAG_REPEATED | SELECTION_FLAG_FORGOTTEN};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    assert_int_equal(ohem_report(b, losses, K, LONG_MS, &selection), -OHEM_TOKEN);
    assert_non_null(strstr(ohem_client_error(client), "applied before"));
    ohem_release(b);
    fake_lock(&f);
    f.selects_anew = true;
    fake_unlock(&f);
    b = daemon_next(client);
    assert_int_equal(ohem_selection_count(daemon_report(b, losses)), 1);
    ohem_release(b);
    fake_end(&f, client);
}

static void a_superseded_report_says_so(void **state)
{
    struct fake f = {.durable = 1, .flags = SELECTION_FLAG_SUPERSEDED};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    assert_int_equal(ohem_selection_is_superseded(daemon_report(b, losses)), 1);
    ohem_release(b);
    fake_end(&f, client);
}

/* ---- waiting ---------------------------------------------------------------------------------
 */

static void flush_waits_for_the_disk(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = fake_begin(&f);
    size_t bytes = 0;

    (void)state;
    assert_int_equal(ohem_durable(client), 1);
    daemon_assert_ok(client, ohem_flush(client, 0));
    ohem_release(report_next(client));
    assert_int_equal(ohem_flush(client, SHORT_MS), -OHEM_TIMEDOUT);
    assert_int_equal(ohem_unacked(client, &bytes), 1);
    assert_true(bytes >= K * 12);
    fake_lock(&f);
    f.durable_seq = 1;
    fake_unlock(&f);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(count_said(&f, MESSAGE_SYNC), 1);
    fake_end(&f, client);
}

static struct ohem_client *begin_with_room_for_one(struct fake *f, int reconnect_ms)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;

    options.unacked_bytes_max = ONE_LARGE;
    options.reconnect_timeout_ms = reconnect_ms;
    fake_start(f);
    return fake_connect(options);
}

static void a_report_waits_for_room(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = SHORT_MS};
    struct ohem_client *client = begin_with_room_for_one(&f, 0);
    struct ohem_batch *first = daemon_next(client), *second = daemon_next(client);
    int64_t began;

    (void)state;
    daemon_submit(first, losses);
    began = daemon_now_ms();
    daemon_assert_ok(client, ohem_submit(second, losses, K));
    assert_true(daemon_now_ms() - began >= SHORT_MS - 50);
    assert_int_equal(count_said(&f, MESSAGE_SYNC), 1);
    ohem_release(first);
    ohem_release(second);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    fake_end(&f, client);
}

static void a_report_without_room_can_be_made_later(void **state)
{
    struct fake f = {.durable = 1};
    struct ohem_client *client = begin_with_room_for_one(&f, SHORT_MS);
    struct ohem_batch *first = daemon_next(client), *second = daemon_next(client);
    const struct ohem_selection *selection;

    (void)state;
    daemon_submit(first, losses);
    assert_int_equal(ohem_submit(second, losses, K), -OHEM_TIMEDOUT);
    assert_int_equal(ohem_report(second, losses, K, 0, &selection), -OHEM_TIMEDOUT);
    assert_int_equal(ohem_selection(second, 0, &selection), -OHEM_INVALID);
    assert_int_equal(ohem_unacked(client, NULL), 1);
    (void)daemon_report(first, losses); /* it has its place */
    fake_lock(&f);
    f.durable_seq = 1;
    fake_unlock(&f);
    (void)daemon_report(second, losses);
    ohem_release(first);
    ohem_release(second);
    fake_end(&f, client);
}

static void a_wait_without_end_outlasts_a_restart(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = 1, .credit = 1};
    struct ohem_client *client = fake_begin(&f);
    const struct ohem_selection *selection;
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    fake_restart(&f, LATER_MS, true);
    daemon_assert_ok(client, ohem_report(b, losses, K, -1, &selection));
    ohem_release(b);
    daemon_assert_ok(client, ohem_next(client, -1, &b));
    ohem_release(b);
    daemon_assert_ok(client, ohem_flush(client, -1));
    fake_end(&f, client);
}

static void a_wait_without_end_ends_when_the_daemon_is_away_for_too_long(void **state)
{
    enum { AWAY_MS = 1000 };
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct fake f = {.durable = 1, .credit = 1};
    struct ohem_client *client;
    struct ohem_batch *b;
    int64_t began;

    (void)state;
    fake_start(&f);
    options.reconnect_timeout_ms = AWAY_MS;
    client = fake_connect(options);
    ohem_release(report_next(client));
    fake_restart(&f, -1, true);
    for (int i = 0; i < 2; i++) { /* each call waits anew: who calls in a loop does not spin */
        began = daemon_now_ms();
        while (ohem_next(client, -1, &b) == 0)
            ohem_release(b); /* it was sent before */
        assert_int_equal(ohem_next(client, -1, &b), -OHEM_UNREACHABLE);
        assert_in_range(daemon_now_ms() - began, AWAY_MS, 2 * AWAY_MS + 2 * LATER_MS);
    }
    assert_int_equal(ohem_flush(client, -1), -OHEM_UNREACHABLE);
    assert_int_equal(ohem_unacked(client, NULL), 1);
    fake_end(&f, client);
}

static void a_daemon_that_will_be_back_is_waited_for(void **state)
{
    struct fake f = {.durable = 1, .credit = 2};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *first, *second, *none;

    (void)state;
    first = daemon_next(client);
    fake_say_bye(&f);
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS)); /* BYE came before its answer */
    second = daemon_next(client);
    ohem_release(first);
    first = daemon_next(client); /* the fake goes on */
    fake_lock(&f);
    f.credit = 1;
    fake_unlock(&f);
    ohem_release(first);
    assert_int_equal(ohem_next(client, SHORT_MS, &none), -OHEM_DRAINING);
    fake_restart(&f, 0, true);
    ohem_release(second);
    first = daemon_next(client);
    ohem_release(first);
    fake_end(&f, client);
}

static void close_waits_for_the_disk_a_moment(void **state)
{
    struct fake f = {.durable = 1, .sync_ms = SHORT_MS};
    struct ohem_client *client = fake_begin(&f);
    int64_t began = daemon_now_ms();

    (void)state;
    ohem_release(report_next(client));
    ohem_close(client);
    assert_true(daemon_now_ms() - began >= SHORT_MS - 50);
    fake_stop(&f);
    assert_int_equal(f.durable_seq, 1);
}

/* ---- strict order ----------------------------------------------------------------------------
 */

static void a_report_before_its_turn_has_its_selection_and_is_sent_again_with_its_credit(
    void **state)
{
    struct fake f = {.durable = 1, .credit = 1, .flags = SELECTION_FLAG_EARLY};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client), *none;
    const struct fake_said *s;
    size_t count, again = 2;

    (void)state;
    fake_lock(&f);
    f.credit = 0; /* no other batch comes */
    fake_unlock(&f);
    (void)daemon_report(b, losses);
    ohem_release(b);
    for (int tries = 0; count_said(&f, MESSAGE_LOSS) < 3; tries++) {
        assert_true(tries < LONG_MS / SHORT_MS);
        assert_int_equal(ohem_next(client, SHORT_MS, &none), -OHEM_TIMEDOUT);
    }
    assert_int_equal(ohem_unacked(client, NULL), 1);
    s = fake_said(&f, &count);
    while (s[again].type != MESSAGE_LOSS)
        again++;
    assert_said(&s[again], MESSAGE_LOSS, 0, 1);
    assert_said(&s[again + 1], MESSAGE_CREDIT, 0, 0);

    fake_lock(&f);
    f.flags = 0;
    f.sync_ms = 1;
    fake_unlock(&f);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_int_equal(ohem_unacked(client, NULL), 0);
    fake_end(&f, client);
}

static void a_batch_reported_before_its_turn_is_not_handed_out_again_when_it_comes(void **state)
{
    struct fake f = {.durable = 1, .credit = 1, .flags = SELECTION_FLAG_EARLY};
    struct ohem_client *client = fake_begin(&f);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    ohem_release(b);
    b = daemon_next(client);
    assert_int_equal(ohem_batch_step(b), 1);
    fake_lock(&f);
    f.step = 1; /* drawn again: it is the next to be sent */
    fake_unlock(&f);
    (void)daemon_report(b, losses);
    ohem_release(b);
    b = daemon_next(client);
    assert_int_equal(ohem_batch_step(b), 2);
    ohem_release(b);
    fake_end(&f, client);
}

/* ---- a daemon that is back at once -----------------------------------------------------------
 */

/* Submit, and be left without an answer; the daemon dies, and comes back. @return ms until the
 * answer is there */
static int64_t wait_over_a_restart(struct fake *f, struct ohem_client *client)
{
    struct ohem_batch *b = daemon_next(client);
    size_t said = count_said(f, MESSAGE_LOSS);
    const struct ohem_selection *selection;
    int64_t began;

    daemon_submit(b, losses);
    while (count_said(f, MESSAGE_LOSS) == said)
        assert_int_equal(ohem_selection(b, 1, &selection), -OHEM_TIMEDOUT);
    fake_lock(f);
    f->keeps_answers = false;
    fake_unlock(f);
    began = daemon_now_ms();
    fake_restart(f, 0, true);
    daemon_assert_ok(client, ohem_selection(b, LONG_MS, &selection));
    ohem_release(b);
    fake_lock(f);
    f->keeps_answers = true;
    fake_unlock(f);
    return daemon_now_ms() - began;
}

/* It has nothing to say by which it would learn that. By its silence it would after a second. */
static void who_waits_notices_at_once_that_the_daemon_is_back(void **state)
{
    struct fake f = {.durable = 1, .keeps_answers = true};
    struct ohem_client *client = fake_begin(&f);
    int64_t best = INT64_MAX;

    (void)state;
    for (int i = 0; i < 5; i++) {
        int64_t ms = wait_over_a_restart(&f, client);

        best = ms < best ? ms : best;
    }
    assert_in_range(best, 0, 800);
    fake_end(&f, client);
}

TEST_MAIN(TEST(reports_are_sent_again_in_their_order_with_ids_and_credit_follows),
          TEST(what_was_durable_is_not_sent_again),
          TEST(over_another_connection_to_the_same_session_no_ids_are_said),
          TEST(another_session_of_the_same_daemon_gets_ids_with_what_came_before),
          TEST(a_daemon_that_writes_nothing_leaves_nothing_to_keep),
          TEST(a_report_without_its_answer_is_kept_also_by_then),
          TEST(batches_stay_good_and_none_comes_twice),
          TEST(a_first_report_after_a_restart_has_ids),
          TEST(what_is_reported_and_given_back_while_the_daemon_is_away_comes_no_more),
          TEST(what_is_given_back_before_welcome_is_said_to_be_held_until_then),
          TEST(another_memory_orphans_batches_and_drops_what_was_kept),
          TEST(a_conflict_reaches_the_trainer_and_nothing_is_kept_of_it),
          TEST(a_forgotten_answer_is_as_good_as_another),
          TEST(a_forgotten_answer_is_an_error_to_who_still_waits_unless_it_is_made_again),
          TEST(a_superseded_report_says_so), TEST(flush_waits_for_the_disk),
          TEST(a_report_waits_for_room), TEST(a_report_without_room_can_be_made_later),
          TEST(a_wait_without_end_outlasts_a_restart),
          TEST(a_wait_without_end_ends_when_the_daemon_is_away_for_too_long),
          TEST(a_daemon_that_will_be_back_is_waited_for), TEST(close_waits_for_the_disk_a_moment),
          TEST(a_report_before_its_turn_has_its_selection_and_is_sent_again_with_its_credit),
          TEST(a_batch_reported_before_its_turn_is_not_handed_out_again_when_it_comes),
          TEST(who_waits_notices_at_once_that_the_daemon_is_back))
