/* test_client_wishes.c - what a trainer says beside its losses: flags, and the rule of the answer.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <math.h>
#include <string.h>

#define N       64
#define K       8
#define LONG_MS 20000

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 2, 5, 9, 0, 6};
static const uint8_t flags[K] = {0, OHEM_POSITIVE, 0, 0, 0, OHEM_IGNORED, OHEM_POSITIVE, 0};

static struct ohem_report_options wish(enum ohem_select select, uint32_t count, double value)
{
    struct ohem_report_options o = OHEM_REPORT_OPTIONS_INIT;

    o.select = select;
    o.count = count;
    o.value = value;
    return o;
}

static void assert_kept(const struct ohem_selection *s, uint32_t count, const uint32_t *kept)
{
    assert_int_equal(ohem_selection_count(s), count);
    assert_memory_equal(ohem_selection_indices(s), kept, count * sizeof *kept);
}

/* Two positives, and of the other five the hardest, but for the ignored. */
static void flags_and_a_rule_go_with_the_losses(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    struct ohem_report_options o = wish(OHEM_SELECT_NEGPOS, 0, 1);
    const struct ohem_selection *s;

    (void)state;
    o.flags = flags;
    daemon_assert_ok(client, ohem_report_with(b, losses, K, &o, LONG_MS, &s));
    assert_kept(s, 4, (const uint32_t[]){1, 4, 6, 7});
    assert_int_equal(ohem_selection_ignored_count(s), 1);
    assert_int_equal(ohem_selection_stats_all(s)->count, K - 1);
    assert_true(ohem_selection_stats_kept(s)->min == 0 && ohem_selection_stats_kept(s)->max == 6);
    assert_int_equal(daemon_counter(&d, "losses_applied"), K);
    ohem_release(b);
    daemon_end(&d, client);
}

static void reports_that_do_not_wait_have_their_rule(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 3);
    struct ohem_batch *top = daemon_next(client), *above = daemon_next(client),
                      *plain = daemon_next(client);
    struct ohem_report_options o = wish(OHEM_SELECT_TOP, 1, 0);
    const struct ohem_selection *s;

    (void)state;
    daemon_assert_ok(client, ohem_submit_with(top, losses, K, &o));
    o = wish(OHEM_SELECT_THRESHOLD, 0, 4);
    daemon_assert_ok(client, ohem_submit_with(above, losses, K, &o));
    daemon_assert_ok(client, ohem_submit(plain, losses, K));
    daemon_assert_ok(client, ohem_selection(plain, LONG_MS, &s));
    assert_kept(s, 4, (const uint32_t[]){2, 4, 5, 7});
    daemon_assert_ok(client, ohem_selection(above, LONG_MS, &s));
    assert_kept(s, 3, (const uint32_t[]){4, 5, 7});
    daemon_assert_ok(client, ohem_selection(top, LONG_MS, &s));
    assert_kept(s, 1, (const uint32_t[]){5});
    ohem_release(top);
    ohem_release(above);
    ohem_release(plain);
    daemon_end(&d, client);
}

static void assert_refused(struct ohem_client *client, struct ohem_batch *b,
                           struct ohem_report_options o, const char *why)
{
    const struct ohem_selection *s = NULL;

    assert_int_equal(ohem_report_with(b, losses, K, &o, LONG_MS, &s), -OHEM_INVALID);
    assert_null(s);
    if (strstr(ohem_client_error(client), why) == NULL)
        fail_msg("'%s' does not say '%s'", ohem_client_error(client), why);
}

/* Before anything is sent. */
static void what_is_out_of_range_is_refused_by_name(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    static const uint8_t unknown[K] = {[3] = 4};
    struct ohem_report_options o = wish(OHEM_SELECT_JOB, 0, 0);

    (void)state;
    o.flags = unknown;
    assert_refused(client, b, o, "flags[3] is 4; at most 3");
    assert_refused(client, b, wish((enum ohem_select)6, 0, 0), "select.rule is 6; at most 5");
    assert_refused(client, b, wish(OHEM_SELECT_TOP, 0, 1.5), "select.value is 1.5");
    assert_refused(client, b, wish(OHEM_SELECT_TOP, 1048577, 0),
                   "select.count is 1048577; 0 to 1048576");
    assert_refused(client, b, wish(OHEM_SELECT_ALL, 1, 0), "select.count is 1; 0 to 0");
    assert_refused(client, b, wish(OHEM_SELECT_THRESHOLD, 0, NAN), "select.value is nan");
    assert_refused(client, b, wish(OHEM_SELECT_NEGPOS, 0, 0), "negatives per positive");
    assert_refused(client, b, wish(OHEM_SELECT_CDF, 0, -1), "the power of cdf");
    o = (struct ohem_report_options){.flags = flags};
    assert_refused(client, b, o, "options of 0 bytes: start from OHEM_REPORT_OPTIONS_INIT");
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    assert_int_equal(ohem_selection_count(daemon_report(b, losses)), K / 2);
    ohem_release(b);
    daemon_end(&d, client);
}

/* The daemon says no, nothing is applied, and the trainer goes on as the job wants it. */
static void a_rule_that_the_job_does_not_allow_costs_no_report(void **state)
{
    struct daemon d = {.job = "select_by_report = no\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);

    (void)state;
    assert_refused(client, b, wish(OHEM_SELECT_ALL, 0, 0), "select_by_report = no");
    assert_int_equal(daemon_counter(&d, "losses_applied"), 0);
    assert_int_equal(ohem_selection_count(daemon_report(b, losses)), K / 2);
    assert_int_equal(daemon_counter(&d, "losses_applied"), K);
    ohem_release(b);
    daemon_end(&d, client);
}

static void a_repeat_with_other_wishes_is_a_conflict(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    struct ohem_report_options o = wish(OHEM_SELECT_TOP, 2, 0), other = wish(OHEM_SELECT_TOP, 3, 0);
    const struct ohem_selection *s;

    (void)state;
    o.flags = flags;
    daemon_assert_ok(client, ohem_report_with(b, losses, K, &o, LONG_MS, &s));
    assert_kept(s, 2, (const uint32_t[]){4, 7});
    daemon_assert_ok(client, ohem_report_with(b, losses, K, &o, LONG_MS, &s));
    assert_kept(s, 2, (const uint32_t[]){4, 7});
    assert_int_equal(ohem_selection_is_repeated(s), 1);
    other.flags = flags;
    assert_int_equal(ohem_report_with(b, losses, K, &other, LONG_MS, &s), -OHEM_CONFLICT);
    o.flags = NULL;
    assert_int_equal(ohem_report_with(b, losses, K, &o, LONG_MS, &s), -OHEM_CONFLICT);
    assert_int_equal(ohem_report(b, losses, K, LONG_MS, &s), -OHEM_CONFLICT);
    ohem_release(b);
    daemon_end(&d, client);
}

/* The daemon dies with the reports unwritten; the library sends all of each again. */
static void wishes_outlive_the_daemon(void **state)
{
    struct daemon d = {.settings = "state = state\ncommit_ms = 60000\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *first = daemon_next(client), *b = daemon_next(client);
    struct ohem_report_options o = wish(OHEM_SELECT_NEGPOS, 0, 1);
    const struct ohem_selection *s;

    (void)state;
    o.flags = flags;
    daemon_assert_ok(client, ohem_keepalive(client, LONG_MS));
    daemon_be_busy_for(300);
    daemon_assert_ok(client, ohem_report_with(first, losses, K, &o, LONG_MS, &s));
    daemon_kill(&d);
    daemon_start(&d);
    daemon_assert_ok(client, ohem_report_with(b, losses, K, &o, LONG_MS, &s));
    assert_kept(s, 4, (const uint32_t[]){1, 4, 6, 7});
    assert_int_equal(daemon_counter(&d, "reports_applied"), 2);
    assert_int_equal(daemon_counter(&d, "instances_ignored"), 2);
    daemon_assert_ok(client, ohem_report_with(first, losses, K, &o, LONG_MS, &s));
    assert_kept(s, 4, (const uint32_t[]){1, 4, 6, 7});
    ohem_release(first);
    ohem_release(b);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(flags_and_a_rule_go_with_the_losses), TEST(reports_that_do_not_wait_have_their_rule),
          TEST(what_is_out_of_range_is_refused_by_name),
          TEST(a_rule_that_the_job_does_not_allow_costs_no_report),
          TEST(a_repeat_with_other_wishes_is_a_conflict), TEST(wishes_outlive_the_daemon))
