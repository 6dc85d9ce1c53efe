/* test_client_report.c - libohem against a real ohemd: what becomes of a batch that was handed out.
 *
 * Time is the daemon's: a test waits until the daemon has counted what it waits for.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 64
#define K 16

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
static const float others[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 2};

static void holding_all_credit_is_a_limit_until_a_release(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *first = daemon_next(client), *second = daemon_next(client), *none = NULL;

    (void)state;
    assert_int_equal(ohem_next(client, DAEMON_DEADLINE_MS, &none), -OHEM_LIMIT);
    assert_null(none);
    assert_non_null(strstr(ohem_client_error(client), "all 2 batches"));
    ohem_release(first);
    ohem_release(daemon_next(client));
    ohem_release(second);
    daemon_end(&d, client);
}

/* ---- reports -----------------------------------------------------------------------------------
 */

static void a_report_of_the_wrong_count_is_refused_and_the_right_one_counts(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *s = NULL;

    (void)state;
    assert_int_equal(ohem_report(b, losses, K - 1, DAEMON_DEADLINE_MS, &s), -OHEM_COUNT);
    assert_int_equal(ohem_report(b, losses, K + 1, DAEMON_DEADLINE_MS, &s), -OHEM_COUNT);
    assert_int_equal(ohem_report(b, losses, 0, DAEMON_DEADLINE_MS, &s), -OHEM_COUNT);
    assert_null(s);
    assert_non_null(strstr(ohem_client_error(client), "16 instances"));
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    assert_int_equal(ohem_selection_lsn(daemon_report(b, losses)), 1);
    ohem_release(b);
    daemon_end(&d, client);
}

static void a_repeated_report_has_the_same_answer_and_other_losses_conflict(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *s = daemon_report(b, losses), *none = NULL;
    uint32_t kept[K], count = ohem_selection_count(s);
    char path[DAEMON_PATH_MAX], *before, *after;

    (void)state;
    (void)snprintf(path, sizeof path, "/v1/jobs/default/instances/%u",
                   (unsigned)ohem_batch_ids(b)[0]);
    before = daemon_get(&d, path);
    assert_int_equal(ohem_selection_is_repeated(s), 0);
    assert_int_equal(ohem_selection_is_late(s), 0);
    memcpy(kept, ohem_selection_indices(s), count * sizeof kept[0]);

    s = daemon_report(b, losses);
    assert_int_equal(ohem_selection_is_repeated(s), 1);
    assert_int_equal(ohem_selection_lsn(s), 1);
    assert_int_equal(ohem_selection_count(s), count);
    assert_memory_equal(ohem_selection_indices(s), kept, count * sizeof kept[0]);
    assert_int_equal(ohem_report(b, others, K, DAEMON_DEADLINE_MS, &none), -OHEM_CONFLICT);
    assert_null(none);

    after = daemon_get(&d, path);
    assert_string_equal(before, after);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 1);
    assert_int_equal(daemon_counter(&d, "reports_repeated"), 1);
    free(before);
    free(after);
    ohem_release(b);
    daemon_end(&d, client);
}

static void a_release_without_a_report_counts_as_seen(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    unsigned seen[N] = {0};
    char *body;

    (void)state;
    for (int n = 0; n < N / K; n++) {
        struct ohem_batch *b = daemon_next(client);

        assert_int_equal(ohem_batch_epoch(b), 0);
        for (int i = 0; i < K; i++)
            assert_int_equal(seen[ohem_batch_ids(b)[i]]++, 0);
        ohem_release(b);
    }
    ohem_release(daemon_next(client)); /* the epoch closed before this one was drawn */
    body = daemon_get(&d, "/v1/jobs/default");
    body[strcspn(body, "\n")] = '\0';
    {
        const char *closed = strstr(body, "\"closed\":");

        assert_non_null(closed);
        assert_true(daemon_number_in(closed, "served") == N);
        assert_true(daemon_number_in(closed, "released") == N);
        assert_true(daemon_number_in(closed, "reported") == 0);
        assert_true(daemon_number_in(closed, "missing") == 0);
    }
    free(body);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    daemon_end(&d, client);
}

/* ---- leases ------------------------------------------------------------------------------------
 */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The ids of a batch, in order. */
static void sorted_ids(const struct ohem_batch *b, uint64_t *out)
{
    memcpy(out, ohem_batch_ids(b), K * sizeof *out);
    qsort(out, K, sizeof *out, compare_ids);
}

static void a_late_report_counts_once_and_its_instances_come_again(void **state)
{
    struct daemon d = {.job = "rho = 1\nlease_ms = 200\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    uint64_t first[K], again[K];
    const struct ohem_selection *s;

    (void)state;
    assert_int_equal(ohem_batch_lease_ms(b), 200);
    sorted_ids(b, first);
    daemon_await_counter(&d, "leases_expired", 1);
    s = daemon_report(b, losses);
    assert_int_equal(ohem_selection_is_late(s), 1);
    assert_int_equal(ohem_selection_is_repeated(s), 0);
    s = daemon_report(b, losses);
    assert_int_equal(ohem_selection_is_late(s), 1);
    assert_int_equal(ohem_selection_is_repeated(s), 1);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 1);
    assert_int_equal(daemon_counter(&d, "reports_late"), 1);
    ohem_release(b);
    b = daemon_next(client);
    sorted_ids(b, again);
    assert_memory_equal(first, again, sizeof first);
    ohem_release(b);
    daemon_end(&d, client);
}

static double leases_returned(const struct daemon *d)
{
    char *body = daemon_get(d, "/v1/jobs/default");
    const char *leases = strstr(body, "\"leases\":");
    double returned;

    assert_non_null(leases);
    returned = daemon_number_in(leases, "returned");
    free(body);
    return returned;
}

static void a_report_after_late_ms_is_refused_as_expired(void **state)
{
    struct daemon d = {.job = "rho = 1\nlease_ms = 200\nlate_ms = 1500\n"};
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    const struct ohem_selection *none = NULL;

    (void)state;
    daemon_await_counter(&d, "leases_expired", 1);
    while (leases_returned(&d) > 0) { /* meanwhile the session must not be forgotten */
        assert_int_equal(ohem_keepalive(client, DAEMON_DEADLINE_MS), 0);
        daemon_look_again_soon(deadline, "the lease is closed");
    }
    assert_int_equal(ohem_report(b, losses, K, DAEMON_DEADLINE_MS, &none), -OHEM_EXPIRED);
    assert_null(none);
    assert_non_null(strstr(ohem_client_error(client), "1500 ms"));
    assert_int_equal(daemon_counter(&d, "reports_refused_expired"), 1);
    assert_int_equal(daemon_counter(&d, "reports_applied"), 0);
    ohem_release(b);
    ohem_release(daemon_next(client)); /* the slot serves again */
    daemon_end(&d, client);
}

static void keepalive_keeps_the_leases_of_its_session_alone(void **state)
{
    struct daemon d = {.job = "lease_ms = 2000\n"};
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    struct ohem_client *lively = daemon_begin(&d, &set, K, 1), *silent = daemon_connect(&d, K, 1);
    struct ohem_batch *kept = daemon_next(lively), *lost = daemon_next(silent);

    (void)state;
    while (daemon_counter(&d, "leases_expired") == 0) {
        assert_int_equal(ohem_keepalive(lively, DAEMON_DEADLINE_MS), 0);
        daemon_look_again_soon(deadline, "the silent session's lease ends");
    }
    assert_int_equal(ohem_selection_is_late(daemon_report(kept, losses)), 0);
    assert_int_equal(ohem_selection_is_late(daemon_report(lost, losses)), 1);
    assert_int_equal(daemon_counter(&d, "leases_expired"), 1);
    ohem_release(kept);
    ohem_release(lost);
    ohem_close(silent);
    daemon_end(&d, lively);
}

TEST_MAIN(TEST(holding_all_credit_is_a_limit_until_a_release),
          TEST(a_report_of_the_wrong_count_is_refused_and_the_right_one_counts),
          TEST(a_repeated_report_has_the_same_answer_and_other_losses_conflict),
          TEST(a_release_without_a_report_counts_as_seen),
          TEST(a_late_report_counts_once_and_its_instances_come_again),
          TEST(a_report_after_late_ms_is_refused_as_expired),
          TEST(keepalive_keeps_the_leases_of_its_session_alone))
