/* test_client_rounds.c - libohem's trainers in rounds: two ranks, in one process. */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"

#include "../../proto/error.h"

#include <string.h>

#define K        4u
#define ROUND_MS "2000"
#define SOON_MS  1000 /* less than that */

static const float easy[K] = {1, 2, 3, 4}, hard[K] = {10, 20, 30, 40};
static const struct tinyset set = {.count = 64, .size_min = 16, .size_max = 16};

/* One round after the other, a rank each. */
struct pair {
    struct daemon d;
    struct ohem_client *clients[2];
};

static struct ohem_client *connect_rank(const struct daemon *d, uint32_t rank)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;

    options.endpoint = d->endpoint;
    options.batch_size = K;
    options.credit = 3;
    options.rank = rank;
    assert_int_equal(ohem_connect(&options, &client), 0);
    return client;
}

static void begin(struct pair *p, const char *settings)
{
    *p = (struct pair){.d = {.job = "round = 2\nround_ms = " ROUND_MS "\n", .settings = settings}};
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&p->d);
    for (uint32_t rank = 0; rank < 2; rank++)
        p->clients[rank] = connect_rank(&p->d, rank);
}

static void end(struct pair *p)
{
    ohem_close(p->clients[0]);
    ohem_close(p->clients[1]);
    daemon_stop(&p->d);
}

static struct ohem_batch *submit(struct pair *p, uint32_t rank, const float *losses, uint64_t round)
{
    struct ohem_report_options options = OHEM_REPORT_OPTIONS_INIT;
    struct ohem_batch *b = daemon_next(p->clients[rank]);

    options.round = round;
    daemon_assert_ok(p->clients[rank], ohem_submit_with(b, losses, K, &options));
    return b;
}

static void assert_share(const struct ohem_selection *s, uint32_t own, uint32_t count,
                         uint32_t present, float scale)
{
    assert_int_equal(ohem_selection_count(s), own);
    assert_int_equal(ohem_selection_round_count(s), count);
    assert_int_equal(ohem_selection_round_present(s), present);
    assert_true(ohem_selection_scale(s) == scale);
}

static void each_rank_has_its_share_and_the_library_counts_rounds(void **state)
{
    struct pair p;

    (void)state;
    begin(&p, NULL);
    assert_int_equal(ohem_round(p.clients[0]), 2);
    for (int n = 0; n < 5; n++) {
        struct ohem_batch *one = submit(&p, 0, easy, OHEM_ROUND_NEXT);
        struct ohem_batch *other = submit(&p, 1, hard, OHEM_ROUND_NEXT);

        assert_share(daemon_selection(one), 0, 4, 2, 0);
        assert_share(daemon_selection(other), 4, 4, 2, 2);
        ohem_release(one);
        ohem_release(other);
    }
    assert_int_equal(daemon_counter(&p.d, "rounds_answered"), 5);
    assert_int_equal(daemon_counter(&p.d, "rounds_incomplete"), 0);
    end(&p);
}

static void rounds_that_the_trainers_name_may_come_in_any_order(void **state)
{
    struct pair p;
    struct ohem_batch *first[2], *second[2];

    (void)state;
    begin(&p, NULL);
    first[0] = submit(&p, 0, easy, 100);
    second[0] = submit(&p, 0, hard, 200);
    first[1] = submit(&p, 1, hard, 100);
    second[1] = submit(&p, 1, easy, 200);
    assert_share(daemon_selection(second[0]), 4, 4, 2, 2);
    assert_share(daemon_selection(first[0]), 0, 4, 2, 0);
    assert_share(daemon_selection(first[1]), 4, 4, 2, 2);
    assert_share(daemon_selection(second[1]), 0, 4, 2, 0);
    assert_int_equal(daemon_counter(&p.d, "rounds_answered"), 2);
    for (int i = 0; i < 2; i++) {
        ohem_release(first[i]);
        ohem_release(second[i]);
    }
    end(&p);
}

static void who_does_not_want_to_wait_may_ask_again(void **state)
{
    const struct ohem_selection *s = NULL;
    struct ohem_batch *one, *other;
    struct pair p;

    (void)state;
    begin(&p, NULL);
    one = daemon_next(p.clients[0]);
    for (int n = 0; n < 3; n++)
        assert_int_equal(ohem_report(one, easy, K, 20, &s), -OHEM_TIMEDOUT);
    other = submit(&p, 1, hard, OHEM_ROUND_NEXT);
    assert_int_equal(ohem_report(one, easy, K, SOON_MS, &s), 0);
    assert_share(s, 0, 4, 2, 0);
    assert_share(daemon_selection(other), 4, 4, 2, 2);
    assert_int_equal(daemon_counter(&p.d, "reports_applied"), 2);
    ohem_release(one);
    ohem_release(other);
    end(&p);
}

static void a_rank_that_is_alone_waits_for_the_other_once(void **state)
{
    const struct ohem_selection *s = NULL;
    struct pair p;
    int64_t began;

    (void)state;
    begin(&p, NULL);
    began = daemon_now_ms();
    for (int n = 0; n < 3; n++) {
        struct ohem_batch *b = daemon_next(p.clients[0]);

        assert_int_equal(ohem_report(b, hard, K, DAEMON_DEADLINE_MS, &s), 0);
        assert_share(s, 2, 2, 1, 2);
        ohem_release(b);
    }
    assert_in_range(daemon_now_ms() - began, 1900, 1900 + 2 * SOON_MS);
    { /* it comes with its first report, for round 0 */
        struct ohem_batch *late = submit(&p, 1, hard, OHEM_ROUND_NEXT);

        s = daemon_selection(late);
        assert_share(s, 0, 0, 0, 0);
        assert_true(ohem_selection_is_late(s));
        ohem_release(late);
    }
    end(&p);
}

static void a_killed_daemon_forgets_who_waited_and_no_loss(void **state)
{
    struct ohem_batch *one, *other;
    struct pair p;

    (void)state;
    begin(&p, "state = state\n");
    one = submit(&p, 0, hard, OHEM_ROUND_NEXT);
    daemon_assert_ok(p.clients[0], ohem_flush(p.clients[0], DAEMON_DEADLINE_MS));
    daemon_kill(&p.d);
    daemon_start(&p.d);
    assert_share(daemon_selection(one), 0, 0, 0, 0);
    ohem_release(one);
    other = submit(&p, 1, hard, OHEM_ROUND_NEXT);
    (void)daemon_selection(other); /* too late, if the other said its report again before */
    ohem_release(other);
    one = submit(&p, 0, easy, OHEM_ROUND_NEXT);
    other = submit(&p, 1, hard, OHEM_ROUND_NEXT);
    assert_share(daemon_selection(one), 0, 4, 2, 0);
    assert_share(daemon_selection(other), 4, 4, 2, 2);
    ohem_release(one);
    ohem_release(other);
    assert_int_equal(daemon_counter(&p.d, "reports_applied"), 4);
    end(&p);
}

static void a_rank_beyond_the_rounds_is_refused_with_the_limit(void **state)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;
    struct pair p;

    (void)state;
    begin(&p, NULL);
    options.endpoint = p.d.endpoint;
    options.rank = 2;
    assert_int_equal(ohem_connect(&options, &client), -OHEM_INVALID);
    assert_non_null(strstr(ohem_connect_error(), "rounds of 2 ranks, 0..1"));
    end(&p);
}

static void without_rounds_each_batch_is_one(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    assert_int_equal(ohem_round(client), 0);
    assert_share(daemon_report(b, hard), 2, 2, 1, 1);
    ohem_release(b);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(each_rank_has_its_share_and_the_library_counts_rounds),
          TEST(rounds_that_the_trainers_name_may_come_in_any_order),
          TEST(who_does_not_want_to_wait_may_ask_again),
          TEST(a_rank_that_is_alone_waits_for_the_other_once),
          TEST(a_killed_daemon_forgets_who_waited_and_no_loss),
          TEST(a_rank_beyond_the_rounds_is_refused_with_the_limit),
          TEST(without_rounds_each_batch_is_one))
