/* test_alloc_restore.c - memory runs out at every place of a job's recovery: while its rows come
 * back, while what changed is captured, and when a report is to be written down.
 *
 * What a job left on the disk, in free or in strict order, is restored, saved and reported to with
 * each allocation failing once. What failed and was tried again must be, to the last byte, what
 * never failed.
 */
#include "../lib/alloc.h"
#include "../lib/alloc_each.h"
#include "../lib/recovery.h"
#include "../lib/test.h"

#include <string.h>

/* One that never failed hands out and saves the same. r has handed out and saved. */
static void assert_as_if_nothing_was(const struct recovery *r)
{
    struct recovery twin = {.settings = r->settings, .disk = r->disk};

    assert_int_equal(recovery_begin(&twin), 0);
    assert_int_equal(recovery_restore(&twin), 0);
    recovery_hand_out(&twin);
    rows_clear(&twin.rows);
    assert_int_equal(engine_capture(&twin.engine, &twin.rows), 0);
    assert_int_equal(r->rows.count, twin.rows.count);
    assert_int_equal(r->rows.size, twin.rows.size);
    assert_memory_equal(r->rows.bytes, twin.rows.bytes, twin.rows.size);
    twin.disk = (struct disk){0};
    recovery_close(&twin);
}

/* ---- restoring ---------------------------------------------------------------------------------
 */

static int try_start(void *object)
{
    return recovery_start(object);
}

static void check_reason(void *object)
{
    const struct recovery *r = object;

    assert_true(r->why.text[0] == '\0' || strstr(r->why.text, "memory") != NULL);
}

static void undo_start(void *object)
{
    struct recovery *r = object;

    engine_deinit(&r->engine);
}

static void a_start_that_fails_leaves_nothing(void **state)
{
    (void)state;
    for (uint32_t staleness = 0; staleness <= RECOVERY_D; staleness += RECOVERY_D) {
        struct recovery r;

        recovery_open(&r, staleness);
        /* beside those of the job: a table, a session, its slots, and the arrays of each */
        assert_true(alloc_fail_each(try_start, check_reason, undo_start, &r) > 20);
        assert_int_equal(recovery_start(&r), 0);
        recovery_close(&r);
    }
}

/* A recovery that has come to a row. */
struct at_row {
    struct recovery recovery;
    size_t row;
};

static int try_row(void *object)
{
    struct at_row *a = object;
    struct recovery *r = &a->recovery;
    const struct disk_row *row = &r->disk.rows[a->row];

    r->why.text[0] = '\0';
    return engine_restore_row(&r->engine, &row->key, row->value, row->size, &r->why);
}

/* What could not come back did not come back in part. */
static void check_row(void *object)
{
    const struct at_row *a = object;
    const struct recovery *r = &a->recovery;
    size_t sessions = 0;

    assert_non_null(strstr(r->why.text, "memory"));
    for (size_t i = 0; i < a->row; i++)
        sessions += r->disk.rows[i].key.table == ROWS_SESSION;
    assert_int_equal(r->engine.session_count, sessions);
    assert_int_equal(r->job->session_count, sessions);
    assert_int_equal(r->job->instances_out_max, sessions * RECOVERY_K * RECOVERY_CREDIT);
    assert_int_equal(r->job->saved.restored, a->row > 0);
}

static void a_row_that_failed_can_come_again(void **state)
{
    (void)state;
    for (uint32_t staleness = 0; staleness <= RECOVERY_D; staleness += RECOVERY_D) {
        struct at_row a = {.row = 0};
        struct recovery *r = &a.recovery;
        size_t failures = 0;

        recovery_open(r, staleness);
        assert_int_equal(recovery_begin(r), 0);
        for (; a.row < r->disk.count; a.row++)
            failures += alloc_get_through(try_row, check_row, &a);
        assert_true(failures > 20);
        assert_int_equal(engine_restore_end(&r->engine, RECOVERY_NOW_MS, &r->why), 0);
        recovery_hand_out(r);
        rows_clear(&r->rows);
        assert_int_equal(engine_capture(&r->engine, &r->rows), 0);
        assert_as_if_nothing_was(r);
        recovery_close(r);
    }
}

/* ---- saving ------------------------------------------------------------------------------------
 */

static int try_capture(void *object)
{
    struct recovery *r = object;

    return engine_capture(&r->engine, &r->rows);
}

static void check_unsaved(void *object)
{
    const struct recovery *r = object;

    assert_true(engine_unsaved(&r->engine));
    assert_int_equal(r->rows.count, 0);
    assert_false(r->rows.failed);
}

/* Room for all of it is made at once; then nothing can fail, nor does a commit need memory. */
static void a_capture_that_failed_collected_nothing(void **state)
{
    (void)state;
    for (uint32_t staleness = 0; staleness <= RECOVERY_D; staleness += RECOVERY_D) {
        struct recovery r;
        size_t count;

        recovery_open(&r, staleness);
        assert_int_equal(recovery_start(&r), 0);
        recovery_hand_out(&r);
        rows_deinit(&r.rows);
        assert_int_equal(alloc_get_through(try_capture, check_unsaved, &r), 1);
        assert_false(r.rows.failed || engine_unsaved(&r.engine));
        assert_as_if_nothing_was(&r);
        count = alloc_count();
        engine_committed(&r.engine);
        assert_int_equal(alloc_count(), count);
        recovery_close(&r);
    }
}

/* ---- reports, of which each is to be written down ----------------------------------------------
 */

struct report {
    struct recovery recovery;
    struct session *session;
    struct lease *lease;
    float losses[RECOVERY_K];
    uint64_t lsn, reported; /* before */
};

static uint64_t count_reported(const struct report *r)
{
    const struct coverage *c = &r->recovery.job->coverage;
    uint64_t reported = 0;

    for (size_t i = 0; i < c->open_count; i++)
        reported += c->open[i].reported;
    return reported;
}

/* The oldest batch that is out: in strict order it is its turn. */
static void open_report(struct report *r, uint32_t staleness)
{
    struct session *s;

    *r = (struct report){0};
    recovery_open(&r->recovery, staleness);
    assert_int_equal(recovery_start(&r->recovery), 0);
    recovery_hand_out(&r->recovery);
    TAILQ_FOREACH (s, &r->recovery.job->sessions, of_job)
        for (uint32_t i = 0; i < s->credit; i++)
            if (s->slots[i].state == LEASE_OPEN &&
                (r->lease == NULL || s->slots[i].token.step < r->lease->token.step))
                r->lease = &s->slots[i];
    assert_non_null(r->lease);
    r->session = r->lease->session;
    r->lsn = r->recovery.job->lsn;
    r->reported = count_reported(r);
}

static int try_report(void *object)
{
    struct report *r = object;
    struct message_loss loss = {.key = r->session->key,
                                .token = r->lease->token,
                                .seq = r->session->reported_seq + 1,
                                .losses = {r->losses, r->lease->count}};
    struct job_outcome out;

    return job_report(r->recovery.job, r->session, &loss, &out, &r->recovery.why);
}

static void check_not_applied(void *object)
{
    const struct report *r = object;
    const struct job *j = r->recovery.job;

    assert_true(j->lsn == r->lsn && j->journal.size == 0);
    assert_true(steps_fate(&j->steps, r->lease->token.step) == STEPS_OPEN);
    assert_int_equal(count_reported(r), r->reported);
}

static void check_not_reported(void *object)
{
    const struct report *r = object;

    check_not_applied(object);
    assert_int_equal(r->lease->state, LEASE_OPEN);
    assert_non_null(strstr(r->recovery.why.text, "memory"));
}

static void a_report_that_cannot_be_written_down_is_not_applied(void **state)
{
    struct report r;

    (void)state;
    open_report(&r, 0);
    assert_int_equal(alloc_get_through(try_report, check_not_reported, &r), 1);
    assert_int_equal(r.recovery.job->lsn, r.lsn + 1);
    assert_int_equal(r.lease->state, LEASE_SETTLED);
    recovery_close(&r.recovery);
}

/* In strict order it is taken, and applied when there is memory, whoever comes next. */
static void a_report_whose_turn_finds_no_memory_is_applied_later(void **state)
{
    struct report r;

    (void)state;
    open_report(&r, RECOVERY_D);
    assert_int_equal(r.lease->token.step, r.recovery.job->strict.applied);
    alloc_fail_at(1);
    assert_int_equal(try_report(&r), 0);
    assert_true(alloc_has_failed());
    alloc_fail_at(0);
    check_not_applied(&r);
    assert_int_equal(r.lease->state, LEASE_SETTLED);
    job_prepare(r.recovery.job, RECOVERY_NOW_MS);
    assert_int_equal(r.recovery.job->lsn, r.lsn + 1);
    recovery_close(&r.recovery);
}

TEST_MAIN(TEST(a_start_that_fails_leaves_nothing), TEST(a_row_that_failed_can_come_again),
          TEST(a_capture_that_failed_collected_nothing),
          TEST(a_report_that_cannot_be_written_down_is_not_applied),
          TEST(a_report_whose_turn_finds_no_memory_is_applied_later))
