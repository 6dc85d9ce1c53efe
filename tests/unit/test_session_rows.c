/* test_session_rows.c - sessions as rows, and back. Those of leases are in test_lease_rows.c. */
#include "../../daemon/engine/lease_rows.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#include <string.h>

#define K   9u
#define JOB 5u

static const struct message_hello hello = {.key = {{3, 4}},
                                           .rank = 7,
                                           .batch_size = K,
                                           .credit = 2,
                                           .agent = "a trainer of 64 bytes, which is as long as "
                                                    "one may be: 012345678",
                                           .layout = RECORDS_ALIGNED64,
                                           .ways = MESSAGE_WAYS_MAX};

static struct session *busy_session(void)
{
    struct session *s = session_new(&hello, NULL, 9, 77, 5);

    assert_non_null(s);
    s->credit_asked = 40;
    s->applied_seq = 12;
    s->reports = 13;
    s->batches = 14;
    s->dirty = true;
    return s;
}

/* Into as much as is asked for, in memory that was used before. */
static void capture(struct session *s, struct rows *out, int soil)
{
    rows_clear(out);
    assert_int_equal(rows_reserve(out, session_capture_bytes()), 0);
    memset(out->bytes, soil, out->capacity);
    session_capture(s, JOB, out);
    assert_true(out->size <= session_capture_bytes());
}

static void assert_session(const struct session *got, const struct session *wanted)
{
    assert_memory_equal(&got->key, &wanted->key, sizeof got->key);
    assert_string_equal(got->agent, wanted->agent);
    assert_true(got->rank == wanted->rank && got->batch_size == wanted->batch_size);
    assert_true(got->credit == wanted->credit && got->credit_asked == wanted->credit_asked);
    assert_true(got->layout == wanted->layout && got->ways == wanted->ways);
    assert_true(got->reports == wanted->reports && got->batches == wanted->batches);
    assert_true(got->applied_seq == wanted->applied_seq);
}

static void a_session_comes_back_as_it_was_and_is_silent(void **state)
{
    struct session *s = busy_session(), *next;
    struct rows rows = {0};
    struct rows_change c;
    struct message_hello said;
    size_t at = 0;

    (void)state;
    capture(s, &rows, 0);
    assert_true(s->saved && !s->dirty && s->captured_seq == 12);
    assert_true(rows_next(&rows, &at, &c));
    assert_true(c.key.table == ROWS_SESSION && c.key.job == JOB && c.key.number == 77);
    assert_int_equal(session_row_read(c.value, c.size, &said, NULL), 0);
    next = session_new(&said, NULL, 0, 77, 0);
    assert_non_null(next);
    session_row_restore(next, c.value);
    assert_session(next, s);
    assert_true(next->captured_seq == 12 && next->durable_seq == 12); /* it was on disk */
    assert_true(next->saved && !next->dirty && next->unreachable);
    rows_deinit(&rows);
    session_free(s);
    session_free(next);
}

static void the_same_session_gives_the_same_bytes(void **state)
{
    struct session *s = busy_session();
    struct rows rows[2] = {{0}, {0}};

    (void)state;
    capture(s, &rows[0], 0x55);
    capture(s, &rows[1], 0xaa);
    assert_int_equal(rows[0].size, rows[1].size);
    assert_memory_equal(rows[0].bytes, rows[1].bytes, rows[0].size);
    rows_deinit(&rows[0]);
    rows_deinit(&rows[1]);
    session_free(s);
}

/* A row of each slot that there can be, of this session. */
static void put_rows(struct rows *out, uint64_t number)
{
    assert_non_null(rows_put(out, (struct rows_key){ROWS_SESSION, JOB, number}, 0));
    for (uint64_t slot = 0; slot < MESSAGE_CREDIT_MAX; slot++)
        assert_non_null(rows_put(out, (struct rows_key){ROWS_LEASE, JOB, number << 8 | slot}, 0));
}

static void a_session_that_is_gone_takes_its_rows_and_no_others(void **state)
{
    struct rows rows = {0};
    struct disk d = {0};

    (void)state;
    for (uint64_t number = 1; number <= 3; number++)
        put_rows(&rows, number);
    session_capture_gone(2, JOB, &rows);
    disk_write(&d, &rows);
    assert_int_equal(d.count, 2 * (1 + MESSAGE_CREDIT_MAX));
    for (size_t i = 0; i < d.count; i++)
        assert_true(d.rows[i].key.number != 2 && lease_row_session(d.rows[i].key.number) != 2);
    rows_deinit(&rows);
    disk_deinit(&d);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

static int read_row(void *ctx, const void *value, size_t size)
{
    struct message_hello said;
    struct reason why = {""};
    int rc = session_row_read(value, size, &said, &why);

    (void)ctx;
    assert_true((why.text[0] != '\0') == (rc != 0));
    if (rc == 0) /* else this reads on */
        assert_true(strlen(said.agent) <= MESSAGE_AGENT_BYTES_MAX);
    return rc;
}

static void damaged_sessions_are_refused(void **state)
{
    const struct {
        size_t offset;
        uint32_t value;
    } damages[] = {{8, 0},
                   {8, MESSAGE_BATCH_SIZE_MAX + 1}, /* batch size */
                   {12, 0},
                   {12, MESSAGE_CREDIT_MAX + 1},
                   {20, MESSAGE_RECORDS_MAX + 1}};
    struct session *s = busy_session();
    struct rows rows = {0};
    struct rows_change c;
    size_t at = 0;

    (void)state;
    capture(s, &rows, 0);
    assert_true(rows_next(&rows, &at, &c));
    damage_refused(read_row, NULL, c.value, c.size);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++)
        assert_int_equal(
            damage_read(read_row, NULL, c.value, c.size, damages[i].offset, &damages[i].value, 4),
            -OHEM_STATE);
    rows_deinit(&rows);
    session_free(s);
}

static void a_name_without_an_end_is_cut(void **state)
{
    char longer[MESSAGE_AGENT_BYTES_MAX + 8];
    struct session *s = busy_session();
    struct rows rows = {0};
    struct rows_change c;
    size_t at = 0;

    (void)state;
    memset(longer, 'x', sizeof longer);
    capture(s, &rows, 0);
    assert_true(rows_next(&rows, &at, &c));
    assert_int_equal(
        damage_read(read_row, NULL, c.value, c.size, c.size - sizeof longer, longer, sizeof longer),
        0);
    rows_deinit(&rows);
    session_free(s);
}

TEST_MAIN(TEST(a_session_comes_back_as_it_was_and_is_silent),
          TEST(the_same_session_gives_the_same_bytes),
          TEST(a_session_that_is_gone_takes_its_rows_and_no_others),
          TEST(damaged_sessions_are_refused), TEST(a_name_without_an_end_is_cut))
