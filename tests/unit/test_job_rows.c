/* test_job_rows.c - rows of a job that are damaged, or lack what others refer to, are not used.
 * Those of its parts alone are in the tests of the parts. */
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/recovery.h"
#include "../lib/test.h"

#include <string.h>

static const struct disk_row *find_row(const struct disk *d, enum rows_table table)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->rows[i].key.table == table)
            return &d->rows[i];
    fail_msg("no row of table %d", (int)table);
    return NULL;
}

static void remove_table(struct disk *d, enum rows_table table)
{
    struct rows changes = {0};

    rows_remove(&changes, table, 1, 0, UINT64_MAX);
    disk_write(d, &changes);
    rows_deinit(&changes);
}

static void put(struct disk *d, enum rows_table table, uint64_t number, const void *value,
                size_t size)
{
    struct rows changes = {0};
    void *at = rows_put(&changes, (struct rows_key){table, 1, number}, size);

    assert_non_null(at);
    memcpy(at, value, size);
    disk_write(d, &changes);
    rows_deinit(&changes);
}

/* The start fails in one line that says what is wrong. */
static void assert_no_start(struct recovery *r, const char *part)
{
    assert_int_equal(recovery_start(r), -OHEM_STATE);
    if (strstr(r->why.text, part) == NULL)
        fail_msg("'%s' does not hold '%s'", r->why.text, part);
    rows_deinit(&r->rows);
    disk_deinit(&r->disk);
}

/* A recovery that has come to a row, which is read again and again. */
struct reader {
    struct recovery recovery;
    struct rows_key key;
};

/* What was refused has changed nothing. */
static int read_row(void *ctx, const void *value, size_t size)
{
    struct reader *r = ctx;
    struct recovery *to = &r->recovery;
    int rc;

    to->why.text[0] = '\0';
    rc = engine_restore_row(&to->engine, &r->key, value, size, &to->why);
    assert_int_equal(to->job->saved.restored, rc == 0 || r->key.table != ROWS_JOB);
    assert_int_equal(to->job->saved.pool_restored > 0, rc == 0 && r->key.table == ROWS_POOL);
    assert_true((to->why.text[0] != '\0') == (rc != 0));
    return rc;
}

static void damaged_rows_of_a_job_and_its_pool_are_refused(void **state)
{
    const enum rows_table tables[] = {ROWS_JOB, ROWS_POOL};
    struct reader r;
    const struct disk *d = &r.recovery.disk;

    (void)state;
    recovery_open(&r.recovery, 0);
    assert_int_equal(recovery_begin(&r.recovery), 0);
    for (size_t i = 0; i < 2; i++) {
        const struct disk_row *row = find_row(d, tables[i]);

        r.key = row->key;
        damage_refused(read_row, &r, row->value, row->size);
        assert_int_equal(read_row(&r, row->value, row->size), 0);
    }
    recovery_close(&r.recovery);
}

/* Each would be read beyond what holds it. */
static void counts_beyond_their_limits_are_refused(void **state)
{
    const uint32_t joined = COVERAGE_JOINED_MAX + 1;
    const uint64_t open = COVERAGE_OPEN_MAX + 1, pool = JOB_INSTANCES_OUT_MAX + 1;
    const size_t numbers_at = 16 + MESSAGE_NAME_BYTES_MAX + 8; /* u64, behind the name */
    char name[MESSAGE_NAME_BYTES_MAX + 8];
    const struct disk_row *row;
    struct reader r;

    (void)state;
    memset(name, 'x', sizeof name);
    recovery_open(&r.recovery, 0);
    assert_int_equal(recovery_begin(&r.recovery), 0);
    row = find_row(&r.recovery.disk, ROWS_JOB);
    r.key = row->key;
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 12, &joined, 4), -OHEM_STATE);
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 16, name, sizeof name),
                     -OHEM_STATE);
    assert_int_equal(
        damage_read(read_row, &r, row->value, row->size, numbers_at + 8 * 11, &open, 8),
        -OHEM_STATE);
    assert_int_equal(
        damage_read(read_row, &r, row->value, row->size, numbers_at + 8 * 13, &pool, 8),
        -OHEM_STATE);
    recovery_close(&r.recovery);
}

static void a_row_of_a_table_that_is_not_known_is_refused(void **state)
{
    struct recovery r;

    (void)state;
    recovery_open(&r, 0);
    put(&r.disk, ROWS_TABLES_END, 0, "", 0);
    assert_no_start(&r, "the row of an unknown table");
}

/* Free order has no window: the rows are of a job in strict order, and its own row says otherwise.
 */
static void a_batch_that_waits_in_free_order_is_refused(void **state)
{
    struct recovery r;

    (void)state;
    recovery_open(&r, 0);
    put(&r.disk, ROWS_BATCH, 0, "", 0);
    assert_no_start(&r, "the row of an unknown table");
}

static void a_lease_without_its_session_is_refused(void **state)
{
    struct recovery r;

    (void)state;
    recovery_open(&r, 0);
    remove_table(&r.disk, ROWS_SESSION);
    assert_no_start(&r, "the row of the lease");
}

/* Memory of zeros looks like an id that came back: the rows are counted. */
static void a_pool_that_is_not_whole_does_not_fit(void **state)
{
    struct recovery r;

    (void)state;
    recovery_open(&r, 0);
    remove_table(&r.disk, ROWS_POOL);
    assert_int_equal(recovery_begin(&r), 0);
    assert_int_equal(coverage_reserve(&r.job->coverage, RECOVERY_N), 0);
    memset(r.job->coverage.pool, 0, RECOVERY_N * sizeof *r.job->coverage.pool);
    assert_int_equal(recovery_restore(&r), -OHEM_STATE);
    assert_non_null(strstr(r.why.text, "does not fit together"));
    recovery_close(&r);
}

/* Where the open steps begin is behind the next one: no report of it would ever be taken. */
static void steps_that_are_closed_before_they_are_drawn_do_not_fit(void **state)
{
    (void)state;
    for (uint32_t staleness = 0; staleness <= RECOVERY_D; staleness += RECOVERY_D) {
        /* none of the few that were drawn, or none of those that may have been */
        const uint64_t head[2] = {1, staleness > 0 ? 1 : 1 + 2 * JOB_STEPS_RESERVED / STEPS_BLOCK};
        struct recovery r;

        recovery_open(&r, staleness);
        put(&r.disk, ROWS_STEPS, UINT64_MAX, head, sizeof head);
        assert_no_start(&r, "does not fit together");
    }
}

static void a_job_with_other_settings_is_not_the_same(void **state)
{
    const char *said[] = {"seed was 1 and is 2", "staleness", "batch_size of strict order",
                          "which do not begin with those"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct recovery r;

        recovery_open(&r, RECOVERY_D);
        r.settings.seed += i == 0;
        r.settings.staleness += i == 1;
        r.settings.batch_size += i == 2;
        r.settings.dataset.instance_count += i == 3;
        assert_no_start(&r, said[i]);
    }
}

TEST_MAIN(TEST(damaged_rows_of_a_job_and_its_pool_are_refused),
          TEST(counts_beyond_their_limits_are_refused),
          TEST(a_row_of_a_table_that_is_not_known_is_refused),
          TEST(a_batch_that_waits_in_free_order_is_refused),
          TEST(a_lease_without_its_session_is_refused), TEST(a_pool_that_is_not_whole_does_not_fit),
          TEST(steps_that_are_closed_before_they_are_drawn_do_not_fit),
          TEST(a_job_with_other_settings_is_not_the_same))
