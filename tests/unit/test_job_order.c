/* test_job_order.c - strict order: what is drawn behind a batch that was given back unreported.
 *
 * A death forgets that it was given back, and nobody says so again: its step is handed out once
 * more, and may be reported then. What was drawn behind it must not have been seen by anybody.
 */
#include "../../proto/error.h"
#include "../lib/room.h"

#define D 2u /* staleness: as many as the trainer may hold */

static struct room *begin(bool durable)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);
    struct reason why = {""};
    struct room *r;

    settings.durable = durable;
    job.staleness = D;
    job.batch_size = K;
    r = room_with(&settings, &job);
    assert_int_equal(engine_restore_end(&r->shell->engine, 0, &why), 0);
    return r;
}

static void commit(struct room *r)
{
    struct rows rows = {0};

    assert_int_equal(engine_capture(&r->shell->engine, &rows), 0);
    engine_committed(&r->shell->engine);
    rows_deinit(&rows);
}

/* The first trainer holds steps 0 and 1. */
static struct trainer *hold_two(struct room *r, bool durable)
{
    struct trainer *t = &r->trainers[0];

    if (durable)
        commit(r);
    room_hello(r, t);
    (void)room_work(r);
    assert_int_equal(t->held_count, D);
    return t;
}

static void behind_a_release_nothing_is_drawn_before_it_is_on_disk(void **state)
{
    struct room *r = begin(true);
    struct trainer *t = hold_two(r, true);

    (void)state;
    room_release(r, t, 0);
    assert_int_equal(room_work(r), 0);
    room_report(r, t, 0); /* step 1 is taken, and waits too */
    room_release(r, t, 0);
    assert_int_equal(r->job->metrics.reports_applied, 0);
    assert_int_equal(room_work(r), 0);
    commit(r);
    assert_int_equal(r->job->metrics.reports_applied, 1);
    assert_int_equal(room_work(r), D);
    assert_int_equal(t->held[0].parcel->m.batch.token.step, D);
    room_free(r);
}

/* A capture that began before does not hold it. */
static void a_commit_that_began_before_the_release_is_not_enough(void **state)
{
    struct room *r = begin(true);
    struct trainer *t = hold_two(r, true);
    struct rows rows = {0};

    (void)state;
    assert_int_equal(engine_capture(&r->shell->engine, &rows), 0);
    rows_deinit(&rows);
    room_release(r, t, 0);
    engine_committed(&r->shell->engine);
    assert_int_equal(room_work(r), 0);
    commit(r);
    assert_int_equal(room_work(r), 1);
    room_free(r);
}

static void a_report_is_not_waited_for(void **state)
{
    struct room *r = begin(true);
    struct trainer *t = hold_two(r, true);

    (void)state;
    room_report(r, t, 0);
    room_release(r, t, 0);
    assert_int_equal(room_work(r), 1);
    room_free(r);
}

static void without_a_disk_nothing_is_waited_for(void **state)
{
    struct room *r = begin(false);
    struct trainer *t = hold_two(r, false);

    (void)state;
    room_release(r, t, 0);
    assert_int_equal(room_work(r), 1);
    room_free(r);
}

TEST_MAIN(TEST(behind_a_release_nothing_is_drawn_before_it_is_on_disk),
          TEST(a_commit_that_began_before_the_release_is_not_enough),
          TEST(a_report_is_not_waited_for), TEST(without_a_disk_nothing_is_waited_for))
