/* test_client.c - libohem against a real ohemd: connecting, and whole epochs of batches.
 *
 * What becomes of reports is in test_client_report.c, outages are in test_client_outage.c.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N         1000
#define K         64
#define EARLY_MS  2    /* a clock in whole milliseconds */
#define LATER_MS  1000 /* a call may end so much after its deadline */
#define TOLERANCE 1e-4
#define NAME_LONG "a_name_of_65_bytes_is_one_more_than_the_wire_has_for_that_of_a_job"

static const struct tinyset fixed = {.count = N, .size_min = 100, .size_max = 100};
static const struct tinyset varied = {.count = N, .size_min = 0, .size_max = 40};

/* ---- connecting -------------------------------------------------------------------------------
 */

static int connect_with(const struct ohem_options *options)
{
    struct ohem_client *client = NULL;
    int rc = ohem_connect(options, &client);

    assert_null(client); /* untouched on failure */
    return rc;
}

static void assert_says(const char *part)
{
    if (strstr(ohem_connect_error(), part) == NULL)
        fail_msg("'%s' is not in '%s'", part, ohem_connect_error());
}

static void without_a_daemon_connect_gives_up_in_time(void **state)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    int64_t began = daemon_now_ms(), took;

    (void)state;
    options.endpoint = "ipc://nobody.sock";
    options.connect_timeout_ms = 300;
    assert_int_equal(connect_with(&options), -OHEM_UNREACHABLE);
    took = daemon_now_ms() - began;
    assert_in_range(took, 300 - EARLY_MS, 300 + LATER_MS - 200);
    assert_says("nobody.sock");
    assert_says("300 ms");
}

static void options_out_of_range_are_refused_by_name(void **state)
{
    char long_endpoint[600] = "ipc:///";
    const struct {
        struct ohem_options options;
        const char *says;
    } cases[] = {
        {{.struct_bytes = 0}, "OHEM_OPTIONS_INIT"},
        {{.struct_bytes = offsetof(struct ohem_options, layout) - 8}, "OHEM_OPTIONS_INIT"},
        {{.struct_bytes = sizeof(struct ohem_options) + 8}, "OHEM_OPTIONS_INIT"},
        {{.struct_bytes = sizeof(struct ohem_options), .layout = 3}, "layout 3: at most 2"},
        {{.struct_bytes = sizeof(struct ohem_options), .transport = 4}, "transport 4: at most 3"},
        {{.struct_bytes = sizeof(struct ohem_options), .credit = 65}, "credit 65: at most 64"},
        {{.struct_bytes = sizeof(struct ohem_options), .batch_size = 65537}, "at most 65536"},
        {{.struct_bytes = sizeof(struct ohem_options), .rank = 65536}, "at most 65535"},
        {{.struct_bytes = sizeof(struct ohem_options), .job = ""}, "1 to 64 bytes"},
        {{.struct_bytes = sizeof(struct ohem_options), .job = NAME_LONG}, "1 to 64 bytes"},
        {{.struct_bytes = sizeof(struct ohem_options), .endpoint = "nonsense"}, "'nonsense'"},
        {{.struct_bytes = sizeof(struct ohem_options), .endpoint = "pigeon://a"}, "'pigeon://a'"},
        {{.struct_bytes = sizeof(struct ohem_options), .endpoint = long_endpoint}, "endpoint"},
    };

    (void)state;
    memset(long_endpoint + 7, 'x', sizeof long_endpoint - 8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(connect_with(&cases[i].options), -OHEM_INVALID);
        assert_says(cases[i].says);
    }
}

static void what_the_daemon_refuses_is_said_with_its_limit(void **state)
{
    struct daemon d = {.settings = "sessions_max = 1\n"};
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *only;

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    options.endpoint = d.endpoint;
    options.connect_timeout_ms = DAEMON_DEADLINE_MS;

    options.job = "nowhere";
    assert_int_equal(connect_with(&options), -OHEM_NO_JOB);
    assert_says("'nowhere'");
    options.job = NULL;
    options.batch_size = N + 1;
    assert_int_equal(connect_with(&options), -OHEM_INVALID);
    assert_says("1001");
    assert_says("1000");
    options.batch_size = N;
    only = daemon_connect(&d, N, 1);
    assert_int_equal(connect_with(&options), -OHEM_LIMIT);
    assert_says("sessions_max");
    ohem_close(only);
    daemon_stop(&d);
}

static void assert_connects_by_default(const struct daemon *d)
{
    struct ohem_client *client = NULL;

    if (ohem_connect(NULL, &client) != 0)
        fail_msg("%s: %s", d->endpoint, ohem_connect_error());
    assert_int_equal(ohem_instance_count(client), N);
    assert_int_equal(ohem_record_bytes(client), 100);
    assert_int_equal(ohem_batch_size(client), 256);
    assert_int_equal(ohem_credit(client), 4);
    assert_true(ohem_session(client) > 0);
    ohem_close(client);
}

static void without_an_endpoint_the_environment_says_where(void **state)
{
    char here[DAEMON_PATH_MAX], first_of_two[DAEMON_PATH_MAX + 16];
    struct daemon d = {0};

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(symlink(".", "ohemd"), 0); /* so that ./ohemd/ohemd.sock is there as well */
    (void)unsetenv("OHEM_ENDPOINT");
    (void)unsetenv("RUNTIME_DIRECTORY");
    (void)setenv("XDG_RUNTIME_DIR", here, 1);
    assert_connects_by_default(&d);
    (void)setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
    (void)snprintf(first_of_two, sizeof first_of_two, "%s:/nowhere", here);
    (void)setenv("RUNTIME_DIRECTORY", first_of_two, 1);
    assert_connects_by_default(&d);
    (void)setenv("RUNTIME_DIRECTORY", "/nowhere", 1);
    (void)setenv("OHEM_ENDPOINT", d.endpoint, 1);
    assert_connects_by_default(&d);
    daemon_stop(&d);
}

/* ---- epochs ------------------------------------------------------------------------------------
 */

/* Few values, so that there are ties, and now and then none at all. */
static float loss_of(uint64_t id, uint64_t step)
{
    uint64_t mixed = (id * 2654435761u + step * 40503u) >> 5;

    return mixed % 97 == 0 ? NAN : mixed % 89 == 0 ? -1.0f : (float)(mixed % 23) / 8;
}

static void fill_losses(const struct ohem_batch *b, float *losses)
{
    for (uint32_t i = 0; i < ohem_batch_count(b); i++)
        losses[i] = loss_of(ohem_batch_ids(b)[i], ohem_batch_step(b));
}

/* The records are those of the ids. By default they are scattered: there is no block. */
static void assert_records(const struct tinyset *set, const struct ohem_batch *b)
{
    size_t stride = 1, size;

    assert_null(ohem_batch_block(b, &stride));
    assert_int_equal(stride, 0);
    for (uint32_t i = 0; i < ohem_batch_count(b); i++) {
        const void *data = ohem_batch_data(b, i, &size);

        assert_true(tinyset_is(set, ohem_batch_ids(b)[i], data, size));
    }
    assert_null(ohem_batch_data(b, ohem_batch_count(b), NULL));
}

/* How many losses go before the one at i: larger ones, and equal ones at positions before it. */
static uint32_t rank_of(const float *losses, uint32_t k, uint32_t i)
{
    uint32_t rank = 0;

    for (uint32_t j = 0; j < k; j++)
        rank += losses[j] > losses[i] || (j < i && losses[j] == losses[i]);
    return rank;
}

static void assert_stats(const struct ohem_stats *s, const float *losses, const uint32_t *at,
                         uint32_t count)
{
    double sum = 0;
    float least = INFINITY, most = -INFINITY;

    for (uint32_t i = 0; i < count; i++) {
        sum += (double)losses[at[i]];
        least = fminf(least, losses[at[i]]);
        most = fmaxf(most, losses[at[i]]);
    }
    assert_int_equal(s->count, count);
    assert_true(s->min == least && s->max == most);
    assert_true(fabs((double)s->mean - sum / count) < TOLERANCE);
}

/* The hardest half, by definition and not by any algorithm. */
static void assert_top_half(const struct ohem_selection *s, const float *losses, uint32_t k)
{
    uint32_t finite[K], kept[K], finite_count = 0, count = 0;

    assert_true(k <= K);
    for (uint32_t i = 0; i < k; i++)
        if (isfinite(losses[i])) {
            finite[finite_count++] = i;
            if (rank_of(losses, k, i) < k / 2)
                kept[count++] = i;
        }
    assert_int_equal(ohem_selection_count(s), count);
    assert_memory_equal(ohem_selection_indices(s), kept, count * sizeof kept[0]);
    for (uint32_t i = 0; i < count; i++)
        assert_true(ohem_selection_weights(s)[i] == 1.0f);
    assert_int_equal(ohem_selection_nonfinite_count(s), k - finite_count);
    assert_stats(ohem_selection_stats_all(s), losses, finite, finite_count);
    assert_stats(ohem_selection_stats_kept(s), losses, kept, count);
}

static void assert_each_once(const uint64_t *ids)
{
    unsigned seen[N] = {0};

    for (unsigned i = 0; i < N; i++)
        seen[ids[i]]++;
    for (unsigned id = 0; id < N; id++)
        if (seen[id] != 1)
            fail_msg("instance %u was handed out %u times", id, seen[id]);
}

static void assert_coverage_only(const struct ohem_batch *b)
{
    for (uint32_t i = 0; i < K; i++) {
        assert_int_equal(ohem_batch_is_hard(b, i), 0);
        assert_true(fabs((double)ohem_batch_probabilities(b)[i] * N - 1) < TOLERANCE);
        assert_true(ohem_batch_weights(b)[i] == 1.0f);
    }
}

/* An epoch of coverage alone, every batch reported. Batches are gathered by several threads and may
 * overtake each other; by step their coverage is the epoch's order. */
static void run_epoch(const struct tinyset *set)
{
    enum { EPOCH = (N + K - 1) / K };
    struct daemon d = {.job = "rho = 1\n"};
    uint64_t ids[EPOCH * K] = {0}, reports = 0;
    struct ohem_client *client;
    float losses[K];

    tinyset_make(set, DAEMON_DATASET);
    daemon_start(&d);
    client = daemon_connect(&d, K, 3);
    for (int awaited = EPOCH; awaited > 0;) {
        struct ohem_batch *b = daemon_next(client);
        uint64_t step = ohem_batch_step(b);
        const struct ohem_selection *s;

        assert_int_equal(ohem_batch_count(b), K);
        assert_int_equal(ohem_batch_epoch(b), step * K / N);
        assert_records(set, b);
        assert_coverage_only(b);
        if (step < EPOCH) {
            memcpy(&ids[step * K], ohem_batch_ids(b), K * sizeof ids[0]);
            awaited--;
        }
        fill_losses(b, losses);
        s = daemon_report(b, losses);
        assert_int_equal(ohem_selection_lsn(s), ++reports);
        assert_top_half(s, losses, K);
        ohem_release(b);
    }
    assert_each_once(ids);
    assert_int_equal(daemon_counter(&d, "reports_applied"), reports);
    ohem_close(client);
    daemon_stop(&d);
}

static void an_epoch_hands_out_every_record_once(void **state)
{
    (void)state;
    run_epoch(&fixed);
}

static void an_epoch_hands_out_records_of_varied_sizes(void **state)
{
    (void)state;
    run_epoch(&varied);
}

/* w = (N p)^-beta over its mean, coverage before hard draws, and p a probability. */
static void assert_mixed(const struct ohem_batch *b, double beta)
{
    const float *p = ohem_batch_probabilities(b), *w = ohem_batch_weights(b);
    double plain_sum = 0, shipped_sum = 0;

    for (uint32_t i = 0; i < K; i++) {
        assert_true(p[i] > 0 && p[i] <= 1 && w[i] > 0);
        plain_sum += pow(N * (double)p[i], -beta);
        shipped_sum += (double)w[i];
        assert_true(i == 0 || ohem_batch_is_hard(b, i) >= ohem_batch_is_hard(b, i - 1));
    }
    assert_true(fabs(shipped_sum / K - 1) < TOLERANCE);
    for (uint32_t i = 0; i < K; i++)
        assert_true(fabs((double)w[i] - pow(N * (double)p[i], -beta) * K / plain_sum) < TOLERANCE);
    assert_int_equal(ohem_batch_is_hard(b, K), 0);
}

static void hard_draws_come_with_their_probabilities_and_weights(void **state)
{
    struct daemon d = {.job = "rho = 0.5\nbeta = 0.5\n"};
    struct ohem_client *client;
    uint32_t hard_count = 0;
    float losses[K];

    (void)state;
    tinyset_make(&varied, DAEMON_DATASET);
    daemon_start(&d);
    client = daemon_connect(&d, K, 1);
    for (int n = 0; n < 40; n++) {
        struct ohem_batch *b = daemon_next(client);

        assert_mixed(b, 0.5);
        assert_records(&varied, b);
        fill_losses(b, losses);
        (void)daemon_report(b, losses);
        for (uint32_t i = 0; i < K; i++)
            hard_count += (uint32_t)ohem_batch_is_hard(b, i);
        ohem_release(b);
    }
    /* the first batch knew no loss; of the others half the slots are hard, but for a few that found
     * nothing new to draw */
    assert_in_range(hard_count, 38 * K / 2, 39 * K / 2);
    ohem_close(client);
    daemon_stop(&d);
}

static void two_clients_of_a_job_share_one_coverage(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    const uint32_t k = N / 20; /* no batch lies in two epochs */
    struct ohem_client *clients[2];
    uint64_t ids[N] = {0}, counted = 0, of_client[2] = {0};
    float losses[N / 20];

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    for (int i = 0; i < 2; i++)
        clients[i] = daemon_connect(&d, k, 2);
    assert_true(ohem_session(clients[0]) != ohem_session(clients[1]));
    for (int i = 0; counted < N; i = !i) {
        struct ohem_batch *b = daemon_next(clients[i]);

        if (ohem_batch_epoch(b) == 0) {
            memcpy(&ids[counted], ohem_batch_ids(b), k * sizeof ids[0]);
            counted += k;
            of_client[i] += k;
        }
        fill_losses(b, losses);
        (void)daemon_report(b, losses);
        ohem_release(b);
    }
    assert_each_once(ids);
    assert_true(of_client[0] > 0 && of_client[1] > 0);
    for (int i = 0; i < 2; i++)
        ohem_close(clients[i]);
    daemon_stop(&d);
}

/* Gathers run side by side and end in any order; the one batch of large records among small ones
 * would come last if nobody saw to it. */
static void batches_come_in_the_order_of_their_steps(void **state)
{
    struct daemon d = {.settings = "gather_threads = 4\n"};
    struct tinyset uneven = {.count = N, .size_min = 0, .size_max = 20000};
    struct ohem_client *client;

    (void)state;
    tinyset_make(&uneven, DAEMON_DATASET);
    daemon_start(&d);
    client = daemon_connect(&d, 8, 16);
    for (uint64_t step = 0; step < 2000; step++) {
        struct ohem_batch *b;

        assert_int_equal(ohem_next(client, DAEMON_DEADLINE_MS, &b), 0);
        assert_int_equal(ohem_batch_step(b), step);
        ohem_release(b);
    }
    ohem_close(client);
    daemon_stop(&d);
}

TEST_MAIN(TEST(without_a_daemon_connect_gives_up_in_time),
          TEST(options_out_of_range_are_refused_by_name),
          TEST(what_the_daemon_refuses_is_said_with_its_limit),
          TEST(without_an_endpoint_the_environment_says_where),
          TEST(an_epoch_hands_out_every_record_once),
          TEST(an_epoch_hands_out_records_of_varied_sizes),
          TEST(hard_draws_come_with_their_probabilities_and_weights),
          TEST(two_clients_of_a_job_share_one_coverage),
          TEST(batches_come_in_the_order_of_their_steps))
