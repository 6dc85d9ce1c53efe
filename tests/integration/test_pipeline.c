/* test_pipeline.c - reports that are not waited for: ohem_submit() and ohem_selection().
 *
 * A submitted report is a report: all that test_client_report.c says of those holds. Here is what
 * comes of asking for the answer later, in another order, or never. Outages:
 * test_pipeline_outage.c.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N      64
#define K      16
#define ROUNDS 60

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
static const float others[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 2};

/* ---- the answer -------------------------------------------------------------------------------
 */

struct answer {
    uint64_t ids[K], lsn;
    uint32_t count, nonfinite_count, indices[K];
    float weights[K];
    struct ohem_stats all, kept;
};

static void note_answer(const struct ohem_batch *b, const struct ohem_selection *s,
                        struct answer *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->ids, ohem_batch_ids(b), sizeof out->ids);
    out->lsn = ohem_selection_lsn(s);
    out->count = ohem_selection_count(s);
    out->nonfinite_count = ohem_selection_nonfinite_count(s);
    memcpy(out->indices, ohem_selection_indices(s), out->count * sizeof out->indices[0]);
    memcpy(out->weights, ohem_selection_weights(s), out->count * sizeof out->weights[0]);
    out->all = *ohem_selection_stats_all(s);
    out->kept = *ohem_selection_stats_kept(s);
}

/* By instance and step, with ties, and now and then none. */
static void fill_losses(const struct ohem_batch *b, float *out)
{
    for (uint32_t i = 0; i < K; i++) {
        uint64_t mixed = (ohem_batch_ids(b)[i] * 2654435761u + ohem_batch_step(b) * 40503u) >> 5;

        out[i] = mixed % 31 == 0 ? NAN : (float)(mixed % 23) / 8;
    }
}

static void run(struct answer *out, bool in_two_halves)
{
    struct daemon d = {.job = "seed = 3\n"};
    struct ohem_client *client;
    float mine[K];

    daemon_start(&d);
    client = daemon_connect(&d, K, 1);
    for (int n = 0; n < ROUNDS; n++) {
        struct ohem_batch *b = daemon_next(client);

        fill_losses(b, mine);
        if (in_two_halves)
            daemon_submit(b, mine);
        note_answer(b, in_two_halves ? daemon_selection(b) : daemon_report(b, mine), &out[n]);
        ohem_release(b);
    }
    daemon_end(&d, client);
}

static void a_selection_is_the_same_in_one_call_or_two(void **state)
{
    static struct answer one_call[ROUNDS], two_halves[ROUNDS];

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    run(one_call, false);
    run(two_halves, true);
    for (int n = 0; n < ROUNDS; n++)
        assert_memory_equal(&one_call[n], &two_halves[n], sizeof one_call[n]);
}

static void answers_can_be_asked_for_in_any_order(void **state)
{
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 4);
    uint64_t reports = 0;

    (void)state;
    for (size_t n = 0; n < sizeof orders / sizeof orders[0]; n++) {
        struct ohem_batch *b[4];

        for (int i = 0; i < 4; i++)
            b[i] = daemon_next(client);
        for (int i = 0; i < 4; i++)
            daemon_submit(b[i], losses);
        for (int i = 0; i < 4; i++) {
            int at = orders[n][i];

            assert_int_equal(ohem_selection_lsn(daemon_selection(b[at])),
                             reports + 1 + (unsigned)at);
            assert_int_equal(ohem_selection_count(daemon_selection(b[at])), K / 2); /* once more */
        }
        for (int i = 0; i < 4; i++)
            ohem_release(b[orders[n][i]]);
        reports += 4;
    }
    assert_int_equal(daemon_counter(&d, "reports_applied"), reports);
    assert_int_equal(daemon_counter(&d, "reports_repeated"), 0);
    daemon_end(&d, client);
}

static void the_next_batch_comes_while_a_selection_is_under_way(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *before = daemon_next(client);

    (void)state;
    daemon_submit(before, losses);
    for (unsigned n = 1; n <= ROUNDS; n++) {
        struct ohem_batch *b = daemon_next(client);

        daemon_submit(b, losses);
        assert_int_equal(ohem_selection_lsn(daemon_selection(before)), n);
        ohem_release(before);
        before = b;
    }
    ohem_release(before);
    daemon_await_counter(&d, "reports_applied", ROUNDS + 1);
    daemon_end(&d, client);
}

static void a_report_counts_whose_selection_nobody_wants(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 4);

    (void)state;
    for (int n = 0; n < ROUNDS; n++) {
        struct ohem_batch *b = daemon_next(client);

        daemon_submit(b, losses);
        ohem_release(b);
    }
    ohem_close(client); /* what was sent leaves all the same */
    daemon_await_counter(&d, "reports_applied", ROUNDS);
    assert_int_equal(daemon_counter(&d, "reports_applied"), ROUNDS);
    daemon_stop(&d);
}

/* Submitted one right behind the other, some may wait for company: not for ever, however it goes
 * on. */
static void what_waits_for_company_is_sent_before_the_end(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 16);
    struct ohem_batch *batches[12];
    uint64_t count = 0;

    (void)state;
    for (uint32_t at_once = 1; at_once <= 3; at_once++) { /* with a credit of 16, 4 go together */
        for (uint32_t i = 0; i < at_once + 4; i++)
            batches[i] = daemon_next(client);
        for (uint32_t i = 0; i < at_once + 4; i++, count++)
            daemon_submit(batches[i], losses);
        for (uint32_t i = 0; i < at_once + 4; i++)
            ohem_release(batches[i]);
        assert_int_equal(ohem_keepalive(client, DAEMON_DEADLINE_MS), 0);
        assert_int_equal(daemon_counter(&d, "reports_applied"), count);
    }
    for (uint32_t i = 0; i < 3; i++, count++) {
        batches[i] = daemon_next(client);
        daemon_submit(batches[i], losses);
    }
    ohem_close(client);
    daemon_await_counter(&d, "sessions_closed", 1);
    assert_int_equal(daemon_counter(&d, "reports_applied"), count);
    for (uint32_t i = 0; i < 3; i++)
        ohem_release(batches[i]);
    daemon_stop(&d);
}

static void losses_are_copied(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    float mine[K];

    (void)state;
    memcpy(mine, losses, sizeof mine);
    daemon_submit(b, mine);
    memset(mine, 0, sizeof mine);
    assert_true(ohem_selection_stats_all(daemon_selection(b))->max == 9);
    daemon_submit(b, losses);
    ohem_release(b);
    daemon_end(&d, client);
}

/* ---- what is not allowed, and what is one and the same -----------------------------------------
 */

static void submitting_twice_is_one_report_and_other_losses_conflict(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *none = NULL;

    (void)state;
    daemon_submit(b, losses);
    daemon_submit(b, losses);
    assert_int_equal(ohem_submit(b, others, K), -OHEM_CONFLICT);
    assert_int_equal(ohem_report(b, others, K, DAEMON_DEADLINE_MS, &none), -OHEM_CONFLICT);
    assert_int_equal(ohem_selection_lsn(daemon_selection(b)), 1);
    daemon_submit(b, losses); /* answered, and still the same */
    assert_int_equal(ohem_submit(b, others, K), -OHEM_CONFLICT);
    assert_null(none);
    assert_int_equal(ohem_selection_lsn(daemon_selection(b)), 1);
    assert_int_equal(ohem_selection_lsn(daemon_report(b, losses)), 1);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 1);
    assert_int_equal(daemon_counter(&d, "reports_refused_conflict"), 0);
    ohem_release(b);
    daemon_end(&d, client);
}

static void what_is_not_submitted_has_no_selection(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b = daemon_next(client), *other = daemon_next(client);
    const struct ohem_selection *none = NULL;

    (void)state;
    assert_int_equal(ohem_selection(b, DAEMON_DEADLINE_MS, &none), -OHEM_INVALID);
    assert_int_equal(ohem_submit(b, losses, K - 1), -OHEM_COUNT);
    assert_int_equal(ohem_submit(b, losses, K + 1), -OHEM_COUNT);
    assert_int_equal(ohem_selection(b, DAEMON_DEADLINE_MS, &none), -OHEM_INVALID);
    daemon_submit(other, losses);
    assert_int_equal(ohem_selection(b, DAEMON_DEADLINE_MS, &none), -OHEM_INVALID);
    assert_null(none);
    daemon_submit(b, losses);
    assert_int_equal(ohem_selection_lsn(daemon_selection(b)), 2);
    ohem_close(client);
    assert_int_equal(ohem_submit(b, losses, K), -OHEM_INVALID);
    assert_int_equal(ohem_submit(other, losses, K), -OHEM_INVALID);
    ohem_release(b);
    ohem_release(other);
    daemon_stop(&d);
}

TEST_MAIN(TEST(a_selection_is_the_same_in_one_call_or_two),
          TEST(answers_can_be_asked_for_in_any_order),
          TEST(the_next_batch_comes_while_a_selection_is_under_way),
          TEST(a_report_counts_whose_selection_nobody_wants), TEST(losses_are_copied),
          TEST(what_waits_for_company_is_sent_before_the_end),
          TEST(submitting_twice_is_one_report_and_other_losses_conflict),
          TEST(what_is_not_submitted_has_no_selection))
