/* test_audit.c - what a job's audit tells, how it is cut into rows and bounded, and what a damaged
 * row may hold.
 *
 * That it tells all that happened and nothing else, over lives of a daemon: test_simulation.c.
 */
#include "../../daemon/engine/audit.h"
#include "../../proto/error.h"
#include "../lib/alloc.h"
#include "../lib/room.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOTS (UINT64_C(1) << 40)

static const struct sampler_policy policy = {.weight = SAMPLER_RANK, .alpha = 0.7};

static const uint32_t ids[5] = {7, 3, 9, 3, 1};
static const float p[5] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f}, w[5] = {1, 2, 3, 4, 5};
static const float losses[5] = {2, NAN, 3, 5, 3};
static const uint32_t selected[2] = {2, 3};

static const struct audit_draw a_draw = {
    .step = 11,
    .session = 4,
    .epoch = 2,
    .lsn = 8,
    .bias_share = 0.25,
    .count = 5,
    .coverage_count = 2,
    .ids = ids,
    .probabilities = p,
    .weights = w,
};
static const struct audit_report a_report = {
    .step = 11,
    .session = 5,
    .lsn = 9,
    .late = true,
    .count = 5,
    .ids = ids,
    .losses = losses,
    .selected = selected,
    .selected_count = 2,
};

static void keep_draw(struct audit *a, const struct audit_draw *draw)
{
    assert_int_equal(audit_reserve(a, draw->count), 0);
    audit_draw(a, draw, &policy);
}

static void keep_report(struct audit *a, const struct audit_report *report)
{
    assert_int_equal(audit_reserve(a, report->count), 0);
    audit_report(a, report);
}

struct story {
    struct audit_event events[64];
    size_t count;
};

static void event_cb(void *ctx, const struct audit_event *event)
{
    struct story *s = ctx;

    if (s->count < sizeof s->events / sizeof s->events[0])
        s->events[s->count] = *event;
    s->count++;
}

/* Capture, and check that it takes no more than was said. */
static void capture(struct audit *a, struct rows *out)
{
    size_t bytes = audit_capture_bytes(a);

    rows_clear(out);
    audit_capture(a, 6, out);
    assert_false(out->failed);
    assert_true(out->size <= bytes);
}

/* A draw and a report of it, in one row. */
static struct rows_change both(struct rows *out)
{
    struct audit a;
    struct rows_change c;
    size_t at = 0;

    audit_init(&a, LOTS);
    keep_draw(&a, &a_draw);
    keep_report(&a, &a_report);
    capture(&a, out);
    audit_deinit(&a);
    assert_int_equal(out->count, 1);
    assert_true(rows_next(out, &at, &c));
    return c;
}

/* ---- entries -----------------------------------------------------------------------------------
 */

static void an_instance_is_told_of_its_draw_and_its_report(void **state)
{
    struct rows rows = {0};
    struct rows_change c = both(&rows);
    struct story s = {.count = 0};
    const struct audit_event *d = &s.events[0], *r = &s.events[1];

    (void)state;
    assert_int_equal(audit_search(c.value, c.size, 9, event_cb, &s), 0);
    assert_int_equal(s.count, 2);
    assert_true(d->kind == AUDIT_DRAW && d->step == 11 && d->session == 4 && d->lsn == 8);
    assert_true(d->epoch == 2 && d->count == 5 && d->place == 2 && d->coverage_count == 2);
    assert_true(!d->coverage && d->weight == SAMPLER_RANK && d->alpha == 0.7);
    assert_true(d->bias_share == 0.25 && d->p == 0.3f && d->w == 3);
    assert_true(r->kind == AUDIT_REPORT && r->step == 11 && r->session == 5 && r->lsn == 9);
    assert_true(r->late && r->count == 5 && r->place == 2 && r->loss == 3);
    assert_true(r->selected && r->selected_count == 2 && r->rank == 2);
    rows_deinit(&rows);
}

static void each_place_is_told_with_its_slot_rank_and_choice(void **state)
{
    struct rows rows = {0};
    struct rows_change c = both(&rows);
    struct story s = {.count = 0};

    (void)state;
    assert_int_equal(audit_search(c.value, c.size, 3, event_cb, &s), 0); /* twice in the batch */
    assert_int_equal(s.count, 4);
    assert_true(s.events[0].place == 1 && s.events[0].coverage);
    assert_true(s.events[1].place == 3 && !s.events[1].coverage);
    assert_true(s.events[2].rank == 0 && isnan(s.events[2].loss) && !s.events[2].selected);
    assert_true(s.events[3].rank == 1 && s.events[3].selected);
    s.count = 0;
    assert_int_equal(audit_search(c.value, c.size, 1, event_cb, &s), 0);
    assert_true(s.events[1].rank == 3 && !s.events[1].selected); /* as large as another before it */
    s.count = 0;
    assert_int_equal(audit_search(c.value, c.size, 2, event_cb, &s), 0);
    assert_int_equal(s.count, 0);
    rows_deinit(&rows);
}

static void without_an_audit_nothing_is_kept(void **state)
{
    struct rows rows = {0};
    struct audit a;

    (void)state;
    audit_init(&a, 0);
    keep_draw(&a, &a_draw);
    keep_report(&a, &a_report);
    capture(&a, &rows);
    assert_int_equal(rows.count, 0);
    assert_null(a.bytes);
    audit_deinit(&a);
    rows_deinit(&rows);
}

/* ---- rows --------------------------------------------------------------------------------------
 */

static void a_row_has_the_number_of_its_first_byte(void **state)
{
    struct rows rows = {0};
    struct story s = {.count = 0};
    struct audit a;
    uint64_t end = 0;

    (void)state;
    audit_init(&a, LOTS);
    for (int round = 0; round < 3; round++) {
        struct rows_change c;
        size_t at = 0;

        for (int i = 0; i < 1500; i++)
            keep_draw(&a, &a_draw);
        capture(&a, &rows);
        assert_in_range(rows.count, 3, 4); /* 136 bytes each */
        while (rows_next(&rows, &at, &c)) {
            assert_true(c.key.table == ROWS_AUDIT && c.key.job == 6 && c.key.number == end);
            assert_true(c.size <= AUDIT_SEGMENT_BYTES);
            assert_int_equal(audit_search(c.value, c.size, 9, event_cb, &s), 0);
            end += c.size;
        }
        assert_int_equal(a.end, end);
    }
    assert_int_equal(s.count, 4500);
    audit_deinit(&a);
    rows_deinit(&rows);
}

static void a_large_batch_has_a_row_of_its_own(void **state)
{
    static uint32_t many[MESSAGE_BATCH_SIZE_MAX];
    static float zeros[MESSAGE_BATCH_SIZE_MAX];
    struct audit_report large = {
        .count = MESSAGE_BATCH_SIZE_MAX, .ids = many, .losses = zeros, .lsn = 1};
    struct rows rows = {0};
    struct rows_change c;
    struct story s = {.count = 0};
    struct audit a;
    size_t at = 0;

    (void)state;
    many[MESSAGE_BATCH_SIZE_MAX - 1] = 5;
    audit_init(&a, LOTS);
    keep_draw(&a, &a_draw);
    keep_report(&a, &large);
    keep_draw(&a, &a_draw);
    capture(&a, &rows);
    assert_int_equal(rows.count, 3);
    assert_true(rows_next(&rows, &at, &c) && rows_next(&rows, &at, &c));
    assert_int_equal(audit_search(c.value, c.size, 5, event_cb, &s), 0);
    assert_true(s.count == 1 && s.events[0].place == MESSAGE_BATCH_SIZE_MAX - 1);
    assert_int_equal(s.events[0].rank, MESSAGE_BATCH_SIZE_MAX);
    audit_deinit(&a);
    rows_deinit(&rows);
}

/* The last change, which has to be a removal. */
static struct rows_change removal(const struct rows *rows)
{
    struct rows_change c = {.size = 1};
    size_t at = 0;

    while (rows_next(rows, &at, &c))
        ;
    assert_null(c.value);
    assert_true(c.key.table == ROWS_AUDIT && c.key.job == 6 && c.key.number == 0);
    return c;
}

static void what_is_above_its_limit_is_removed(void **state)
{
    struct rows rows = {0};
    struct audit a;

    (void)state;
    audit_init(&a, 1000);
    for (int i = 0; i < 7; i++)
        keep_draw(&a, &a_draw);
    capture(&a, &rows); /* 952 bytes */
    assert_int_equal(rows.count, 1);
    keep_draw(&a, &a_draw);
    capture(&a, &rows);
    assert_int_equal(rows.count, 2);
    assert_int_equal(removal(&rows).last, 8 * 136 - 1000 - 1);
    assert_int_equal(a.begin, 8 * 136 - 1000);
    capture(&a, &rows); /* nothing is new */
    assert_int_equal(rows.count, 0);
    audit_deinit(&a);
    rows_deinit(&rows);
}

static void a_limit_that_was_lowered_is_reached_in_bounded_steps(void **state)
{
    struct rows rows = {0};
    struct audit a;

    (void)state;
    audit_init(&a, 1000);
    a.begin = 5000; /* as a job's row says after a restart */
    a.end = 5000 + 2 * (uint64_t)AUDIT_CUT_BYTES_MAX;
    capture(&a, &rows);
    assert_int_equal(removal(&rows).last, 5000 + (uint64_t)AUDIT_CUT_BYTES_MAX - 1);
    capture(&a, &rows);
    assert_int_equal(removal(&rows).last, a.end - 1000 - 1);
    assert_int_equal(a.begin, a.end - 1000);
    audit_deinit(&a);
    rows_deinit(&rows);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

/* In memory of just its size, so that a sanitizer sees what reads beyond it. */
static int search_copy(const void *value, size_t size, size_t flipped, unsigned char with)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);
    struct story s = {.count = 0};
    int rc;

    assert_non_null(copy);
    memcpy(copy, value, size);
    if (flipped < size)
        copy[flipped] ^= with;
    rc = audit_search(copy, size, 3, event_cb, &s);
    free(copy);
    return rc;
}

static void a_row_that_is_cut_short_is_damaged(void **state)
{
    struct rows rows = {0};
    struct rows_change c = both(&rows);

    (void)state;
    for (size_t size = 0; size <= c.size; size++)
        assert_int_equal(search_copy(c.value, size, SIZE_MAX, 0),
                         size == 0 || size == 136 || size == c.size ? 0 : -OHEM_STATE);
    rows_deinit(&rows);
}

static void no_flipped_bit_leads_out_of_a_row(void **state)
{
    struct rows rows = {0};
    struct rows_change c = both(&rows);
    size_t damaged = 0;

    (void)state;
    for (size_t at = 0; at < c.size; at++)
        for (int bit = 0; bit < 8; bit++)
            damaged += search_copy(c.value, c.size, at, (unsigned char)(1u << bit)) != 0;
    assert_true(damaged > 100); /* of versions, kinds, sizes and counts */
    rows_deinit(&rows);
}

/* ---- a job -------------------------------------------------------------------------------------
 */

static struct room *room_with_audit(void)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);
    struct rows rows = {0};
    struct room *r;

    settings.durable = true;
    job.audit = true;
    job.audit_bytes_max = LOTS;
    job.batch_size = K;
    job.credit = CREDIT;
    r = room_with(&settings, &job);
    assert_int_equal(engine_capture(&r->shell->engine, &rows), 0); /* steps are reserved by it */
    engine_committed(&r->shell->engine);
    rows_deinit(&rows);
    room_hello(r, &r->trainers[0]);
    return r;
}

static void nothing_is_drawn_while_too_much_is_unsaved(void **state)
{
    struct room *r = room_with_audit();
    struct rows rows = {0};

    (void)state;
    r->job->audit.size = AUDIT_UNSAVED_MAX + 8;
    assert_int_equal(room_work(r), 0);
    r->job->audit.size = 0;
    assert_int_equal(room_work(r), CREDIT);
    assert_true(r->job->audit.size > 0);
    assert_int_equal(engine_capture(&r->shell->engine, &rows), 0);
    assert_int_equal(r->job->audit.size, 0);
    rows_deinit(&rows);
    room_free(r);
}

/* The next entry needs more memory. */
static void fill_up(struct audit *a)
{
    a->capacity = a->size;
}

static void what_cannot_be_kept_does_not_happen(void **state)
{
    struct room *r = room_with_audit();
    struct trainer *t = &r->trainers[0];
    uint64_t step = r->job->step;
    struct job_outcome outcome;
    struct reason why;
    struct message m;
    size_t size;

    (void)state;
    fill_up(&r->job->audit);
    alloc_fail_at(1);
    assert_null(job_draw(r->job, TAILQ_FIRST(&r->job->sessions), 0));
    assert_true(alloc_has_failed());
    assert_int_equal(r->job->step, step);
    assert_int_equal(room_work(r), CREDIT);
    size = r->job->audit.size;
    fill_up(&r->job->audit);
    assert_int_equal(journal_reserve(&r->job->journal, K), 0);
    alloc_fail_at(1);
    m = trainer_loss_message(t, &t->held[0]);
    assert_int_equal(job_report(r->job, TAILQ_FIRST(&r->job->sessions), &m.loss, &outcome, &why),
                     -OHEM_NOMEM);
    assert_true(alloc_has_failed());
    assert_int_equal(r->job->lsn, 0);
    assert_int_equal(r->job->audit.size, size);
    room_report(r, t, 0);
    assert_int_equal(r->job->lsn, 1);
    assert_true(r->job->audit.size > size);
    room_free(r);
}

TEST_MAIN(TEST(an_instance_is_told_of_its_draw_and_its_report),
          TEST(each_place_is_told_with_its_slot_rank_and_choice),
          TEST(without_an_audit_nothing_is_kept), TEST(a_row_has_the_number_of_its_first_byte),
          TEST(a_large_batch_has_a_row_of_its_own), TEST(what_is_above_its_limit_is_removed),
          TEST(a_limit_that_was_lowered_is_reached_in_bounded_steps),
          TEST(a_row_that_is_cut_short_is_damaged), TEST(no_flipped_bit_leads_out_of_a_row),
          TEST(nothing_is_drawn_while_too_much_is_unsaved),
          TEST(what_cannot_be_kept_does_not_happen))
