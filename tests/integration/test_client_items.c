/* test_client_items.c - ragged reports of the C client: many losses an instance. */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N         64
#define K         4
#define LONG_MS   20000
#define MILLION   (1u << 20)
#define ASKED_MAX 10000 /* times, for what becomes of a report that nobody waits for */

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const float losses[] = {3, 1, 4, 2, NAN, 9};
static const uint32_t counts[K] = {3, 0, 2, 1};

static struct ohem_items few(void)
{
    struct ohem_items items = OHEM_ITEMS_INIT;

    items.losses = losses;
    items.count = sizeof losses / sizeof losses[0];
    items.counts = counts;
    items.select = OHEM_SELECT_TOP;
    items.select_count = 2;
    return items;
}

/* All losses the same, but for the first; all of the first instance. */
static struct ohem_items million(float *room, uint32_t *of_instance)
{
    struct ohem_items items = OHEM_ITEMS_INIT;

    for (size_t i = 0; i < MILLION; i++)
        room[i] = 1;
    room[0] = 8;
    memset(of_instance, 0, K * sizeof *of_instance);
    of_instance[0] = MILLION;
    items.losses = room;
    items.count = MILLION;
    items.counts = of_instance;
    return items;
}

static void assert_kept(const struct ohem_selection *s, uint32_t count, const uint32_t *kept)
{
    assert_int_equal(ohem_selection_count(s), count);
    assert_memory_equal(ohem_selection_indices(s), kept, count * sizeof *kept);
}

static double number_of(const struct daemon *d, uint64_t id, const char *name)
{
    char path[64], *body;
    double number;

    (void)snprintf(path, sizeof path, "/v1/jobs/default/instances/%llu", (unsigned long long)id);
    body = daemon_get(d, path);
    number = daemon_number_in(body, name);
    free(body);
    return number;
}

static void assert_score(const struct daemon *d, uint64_t id, double score)
{
    assert_true(fabs(number_of(d, id, "score") - score) < 1e-9);
    assert_true(fabs(number_of(d, id, "visits") - 1) < 1e-9);
}

static void items_are_selected_and_instances_get_their_losses(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    struct ohem_items items = few();
    const struct ohem_selection *s;
    const float *scores;

    (void)state;
    daemon_assert_ok(client, ohem_report_items(b, &items, LONG_MS, &s));
    assert_kept(s, 2, (const uint32_t[]){2, 5});
    assert_int_equal(ohem_selection_stats_all(s)->count, 5);
    assert_int_equal(ohem_selection_nonfinite_count(s), 1);
    scores = ohem_selection_scores(s);
    assert_non_null(scores);
    assert_true(scores[0] == 4 && isnan(scores[1]) && scores[2] == 2 && scores[3] == 9);
    assert_score(&d, ohem_batch_ids(b)[0], 4);
    assert_score(&d, ohem_batch_ids(b)[3], 9);
    ohem_release(b);
    b = daemon_next(client);
    assert_null(ohem_selection_scores(daemon_report(b, losses)));
    ohem_release(b);
    daemon_end(&d, client);
}

static void overlapping_items_are_left_out(void **state)
{
    static const float boxes[] = {0, 0, 4, 4, 0, 0, 4, 4, 9, 9, 10, 10,
                                  0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4,  4};
    static const uint32_t classes[] = {1, 2, 1, 1, 1, 1};
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b = daemon_next(client), *other = daemon_next(client);
    struct ohem_items items = few();
    const struct ohem_selection *s;

    (void)state;
    items.select = OHEM_SELECT_ALL;
    items.select_count = 0;
    items.iou = 0.7;
    items.boxes = boxes;
    daemon_assert_ok(client, ohem_report_items(b, &items, LONG_MS, &s));
    assert_kept(s, 4, (const uint32_t[]){0, 2, 3, 5});
    items.classes = classes;
    daemon_assert_ok(client, ohem_report_items(other, &items, LONG_MS, &s));
    assert_kept(s, 5, (const uint32_t[]){0, 1, 2, 3, 5});
    ohem_release(b);
    ohem_release(other);
    daemon_end(&d, client);
}

static void assert_refused(struct ohem_client *client, struct ohem_batch *b,
                           struct ohem_items items, int code, const char *why)
{
    const struct ohem_selection *s = NULL;

    assert_int_equal(ohem_report_items(b, &items, LONG_MS, &s), code);
    assert_null(s);
    if (strstr(ohem_client_error(client), why) == NULL)
        fail_msg("'%s' does not say '%s'", ohem_client_error(client), why);
}

static void what_does_not_fit_together_is_refused_by_name(void **state)
{
    static const float boxes[24];
    static const uint32_t more[K] = {3, 1, 2, 1};
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    struct ohem_items items = few();
    const struct ohem_selection *s;

    (void)state;
    items.counts = more;
    assert_refused(client, b, items, -OHEM_INVALID, "add up to 7; count is 6");
    items = few();
    items.counts = NULL;
    assert_refused(client, b, items, -OHEM_INVALID, "without counts");
    items = few();
    items.losses = NULL;
    assert_refused(client, b, items, -OHEM_INVALID, "without losses");
    items = few();
    items.score = OHEM_SCORE_TOP;
    assert_refused(client, b, items, -OHEM_INVALID, "items.top is 0; 1..");
    items = few();
    items.iou = 0.5;
    assert_refused(client, b, items, -OHEM_INVALID, "boxes.count is 0; 24 is wanted");
    items.iou = 0;
    items.boxes = boxes;
    assert_refused(client, b, items, -OHEM_INVALID, "boxes.count is 24; 0 is wanted");
    items = few();
    items.count = MILLION + 1;
    assert_refused(client, b, items, -OHEM_TOO_LARGE, "1048577 items; at most 1048576");
    items.iou = 0.5;
    items.count = 65537;
    assert_refused(client, b, items, -OHEM_TOO_LARGE, "65537 items; at most 65536");
    items = few();
    items.struct_bytes = 0;
    assert_refused(client, b, items, -OHEM_INVALID, "start from OHEM_ITEMS_INIT");
    items = few();
    items.select = OHEM_SELECT_CDF;
    items.select_count = 0;
    items.value = 1;
    assert_refused(client, b, items, -OHEM_INVALID, "cdf"); /* by the daemon */
    items = few();
    daemon_assert_ok(client, ohem_report_items(b, &items, LONG_MS, &s));
    assert_int_equal(ohem_report(b, losses, K, LONG_MS, &s), -OHEM_CONFLICT);
    ohem_release(b);
    daemon_end(&d, client);
}

/* Nothing waits for the answer: neither CREDIT, nor the next batch's report, nor BYE. */
static void a_million_items_may_be_submitted_and_left(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b = daemon_next(client), *other = daemon_next(client);
    float *room = malloc(MILLION * sizeof *room);
    uint32_t of_instance[K];
    struct ohem_items items = million(room, of_instance);
    uint64_t id = ohem_batch_ids(b)[0], last = ohem_batch_ids(other)[3];

    (void)state;
    daemon_assert_ok(client, ohem_submit_items(b, &items));
    ohem_release(b);
    items = few();
    daemon_assert_ok(client, ohem_submit_items(other, &items));
    ohem_release(other);
    ohem_close(client);
    client = daemon_connect(&d, K, 2);
    for (int i = 0; i < ASKED_MAX && number_of(&d, last, "visits") < 1; i++)
        ;
    assert_score(&d, id, 8);
    assert_score(&d, last, 9);
    free(room);
    daemon_end(&d, client);
}

/* One answered but not on disk, one on its way: both are said again, and count once. */
static void a_killed_daemon_is_told_again(void **state)
{
    struct daemon d = {.settings = "state = state\n", .job = "rho = 1\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 2);
    struct ohem_batch *b, *other;
    float *room = malloc(MILLION * sizeof *room);
    uint32_t of_instance[K];
    struct ohem_items items = few();
    const struct ohem_selection *s;

    (void)state;
    b = daemon_next(client);
    other = daemon_next(client);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    daemon_assert_ok(client, ohem_report_items(b, &items, LONG_MS, &s));
    items = million(room, of_instance);
    daemon_assert_ok(client, ohem_submit_items(other, &items));
    daemon_kill(&d);
    daemon_start(&d);
    daemon_assert_ok(client, ohem_selection(other, LONG_MS, &s));
    assert_true(ohem_selection_scores(s)[0] == 8);
    daemon_assert_ok(client, ohem_flush(client, LONG_MS));
    assert_score(&d, ohem_batch_ids(b)[0], 4);
    assert_score(&d, ohem_batch_ids(b)[2], 2);
    assert_score(&d, ohem_batch_ids(other)[0], 8);
    ohem_release(b);
    ohem_release(other);
    free(room);
    daemon_end(&d, client);
}

/* Its items count while they are kept, and are let go when it is answered. */
static void items_are_kept_until_they_are_answered(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 1);
    struct ohem_batch *b = daemon_next(client);
    float *room = malloc(MILLION * sizeof *room);
    uint32_t of_instance[K];
    struct ohem_items items = million(room, of_instance);
    const struct ohem_selection *s;
    size_t bytes;

    (void)state;
    daemon_pause(&d);
    daemon_assert_ok(client, ohem_submit_items(b, &items));
    assert_int_equal(ohem_unacked(client, &bytes), 1);
    assert_true(bytes > MILLION * sizeof *room);
    daemon_resume(&d);
    daemon_assert_ok(client, ohem_selection(b, LONG_MS, &s));
    assert_int_equal(ohem_selection_count(s), MILLION / 2);
    assert_int_equal(ohem_unacked(client, &bytes), 0);
    assert_int_equal(bytes, 0);
    ohem_release(b);
    free(room);
    daemon_end(&d, client);
}

TEST_MAIN(TEST(items_are_selected_and_instances_get_their_losses),
          TEST(overlapping_items_are_left_out), TEST(what_does_not_fit_together_is_refused_by_name),
          TEST(a_million_items_may_be_submitted_and_left), TEST(a_killed_daemon_is_told_again),
          TEST(items_are_kept_until_they_are_answered))
