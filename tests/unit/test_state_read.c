/* test_state_read.c - the audit's rows: a start does not look at them, and they are read in parts
 * on the state's thread.
 */
#include "../../daemon/state.h"
#include "../../proto/error.h"
#include "../lib/test.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR       "state"
#define DATA      DIR "/data.mdb"
#define BYTES_MAX (UINT64_C(1) << 28)
#define PAGE      4096u

/* A state whose thread runs, its loop, and the reading that is under way. */
struct desk {
    struct state *state;
    uv_loop_t loop;
    int commits, failures, done;
    struct state_reading reading;
    char text[4096]; /* "number=value " of each row */
    size_t size, rows_max;
    uv_thread_t reader;
    bool ended;
};

static void committed_cb(void *ctx, int rc)
{
    struct desk *d = ctx;

    d->commits += rc == 0;
    d->failures += rc != 0;
}

static void open_at(struct desk *d, uint64_t bytes_max)
{
    struct reason why = {""};

    *d = (struct desk){.rows_max = 1000};
    assert_int_equal(uv_loop_init(&d->loop), 0);
    if (state_open(DIR, bytes_max, &d->state, &why) != 0)
        fail_msg("%s", why.text);
}

static void start(struct desk *d)
{
    assert_int_equal(state_start(d->state, &d->loop, committed_cb, d), 0);
}

static void end(struct desk *d)
{
    state_stop(d->state);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    state_close(d->state);
    assert_int_equal(uv_loop_close(&d->loop), 0);
}

static void put(struct desk *d, uint32_t table, uint32_t job, uint64_t number, const char *text)
{
    char *at = rows_put(state_rows(d->state), (struct rows_key){table, job, number}, strlen(text));

    assert_non_null(at);
    memcpy(at, text, strlen(text));
}

static void commit_now(struct desk *d)
{
    struct reason why = {""};

    if (state_commit_now(d->state, &why) != 0)
        fail_msg("%s", why.text);
}

/* ---- readings ----------------------------------------------------------------------------------
 */

static bool row_cb(void *ctx, uint64_t number, const void *value, size_t size)
{
    struct desk *d = ctx;

    assert_int_equal((uintptr_t)value % 8, 0);
    d->reader = uv_thread_self();
    d->size += (size_t)snprintf(d->text + d->size, sizeof d->text - d->size, "%" PRIu64 "=%.*s ",
                                number, (int)size, (const char *)value);
    return --d->rows_max > 0;
}

static void end_cb(struct state_reading *r)
{
    struct desk *d = r->ctx;
    uv_thread_t self = uv_thread_self(), loop = d->reader;

    assert_true(d->size == 0 || uv_thread_equal(&self, &loop));
    d->ended = true;
}

static void done_cb(struct state_reading *r)
{
    struct desk *d = r->ctx;

    assert_true(d->ended);
    d->done++;
}

static void begin_read(struct desk *d, uint32_t job, uint64_t from, size_t bytes_max)
{
    d->reading = (struct state_reading){.from = {ROWS_AUDIT, job, from},
                                        .bytes_max = bytes_max,
                                        .row_cb = row_cb,
                                        .end_cb = end_cb,
                                        .done_cb = done_cb,
                                        .ctx = d};
    d->size = 0;
    d->text[0] = '\0';
    d->ended = false;
    state_read(d->state, &d->reading);
}

static void read_all(struct desk *d, uint32_t job, uint64_t from, size_t bytes_max)
{
    int done = d->done;

    begin_read(d, job, from, bytes_max);
    while (d->done == done)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
}

static void assert_reads(struct desk *d, uint32_t job, uint64_t from, size_t bytes_max,
                         const char *rows, bool more, uint64_t next)
{
    read_all(d, job, from, bytes_max);
    if (d->reading.rc != 0)
        fail_msg("%s", d->reading.why.text);
    assert_string_equal(d->text, rows);
    assert_int_equal(d->reading.more, more);
    if (more)
        assert_int_equal(d->reading.next, next);
}

/* ---- cases -------------------------------------------------------------------------------------
 */

static void the_audit_is_read_in_parts_from_any_number(void **state)
{
    struct desk d;
    uv_thread_t self = uv_thread_self();

    (void)state;
    open_at(&d, BYTES_MAX);
    put(&d, ROWS_AUDIT, 1, 7, "of another job");
    put(&d, ROWS_AUDIT, 3, 0, "of another job");
    put(&d, ROWS_JOURNAL, 2, 5, "of another table");
    put(&d, ROWS_AUDIT, 2, 0, "four");
    put(&d, ROWS_AUDIT, 2, 40, "five!");
    put(&d, ROWS_AUDIT, 2, 300, "six");
    commit_now(&d);
    start(&d);
    assert_reads(&d, 2, 0, 1000, "0=four 40=five! 300=six ", false, 0);
    assert_false(uv_thread_equal(&self, &d.reader));
    assert_reads(&d, 2, 0, 1, "0=four ", true, 40);
    assert_reads(&d, 2, 40, 8, "40=five! 300=six ", false, 0);
    assert_reads(&d, 2, 40, 5, "40=five! ", true, 300);
    assert_reads(&d, 2, 41, 1000, "300=six ", false, 0);
    assert_reads(&d, 2, 301, 1000, "", false, 0);
    assert_reads(&d, 9, 0, 1000, "", false, 0);
    d.rows_max = 2;
    assert_reads(&d, 2, 0, 1000, "0=four 40=five! ", true, 300);
    end(&d);
}

static void rows_are_removed_and_begun_anew_as_others(void **state)
{
    struct desk d;
    struct reason why;

    (void)state;
    open_at(&d, BYTES_MAX);
    for (uint64_t i = 0; i < 6; i++)
        put(&d, ROWS_AUDIT, 1, i, "x");
    commit_now(&d);
    rows_remove(state_rows(d.state), ROWS_AUDIT, 1, 0, 3);
    commit_now(&d);
    start(&d);
    assert_reads(&d, 1, 0, 1000, "4=x 5=x ", false, 0);
    end(&d);
    open_at(&d, BYTES_MAX);
    assert_int_equal(state_forget(d.state, &why), 0);
    put(&d, ROWS_AUDIT, 1, 9, "anew");
    commit_now(&d);
    start(&d);
    assert_reads(&d, 1, 0, 1000, "9=anew ", false, 0);
    end(&d);
}

static void before_the_first_commit_there_is_nothing(void **state)
{
    struct desk d;

    (void)state;
    open_at(&d, BYTES_MAX);
    start(&d);
    assert_reads(&d, 1, 0, 1000, "", false, 0);
    end(&d);
}

static void a_commit_that_was_handed_over_before_is_in_it(void **state)
{
    struct desk d;

    (void)state;
    open_at(&d, BYTES_MAX);
    start(&d);
    for (uint64_t i = 0; i < 3; i++) {
        char expected[] = "0=new ";

        expected[0] = (char)('0' + i);
        while (state_rows(d.state) == NULL)
            (void)uv_run(&d.loop, UV_RUN_ONCE);
        put(&d, ROWS_AUDIT, 1, i, "new");
        state_commit(d.state);
        assert_reads(&d, 1, i, 1000, expected, false, 0);
    }
    end(&d);
}

/* After a failed write the environment is closed until the next one: a reading opens it. */
static void it_is_read_while_commits_fail(void **state)
{
    struct desk d;

    (void)state;
    open_at(&d, 1u << 20);
    put(&d, ROWS_AUDIT, 1, 0, "kept");
    commit_now(&d);
    start(&d);
    assert_non_null(rows_put(state_rows(d.state), (struct rows_key){ROWS_AUDIT, 1, 4}, 2u << 20));
    state_commit(d.state);
    while (d.failures == 0)
        (void)uv_run(&d.loop, UV_RUN_ONCE);
    assert_reads(&d, 1, 0, 1000, "0=kept ", false, 0);
    end(&d);
}

static void what_was_not_read_yet_at_the_end_is_not_told(void **state)
{
    struct desk d;

    (void)state;
    open_at(&d, BYTES_MAX);
    start(&d);
    begin_read(&d, 1, 0, 1000);
    end(&d);
    assert_int_equal(d.done, 0);
}

/* ---- a start -----------------------------------------------------------------------------------
 */

static int count_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                    struct reason *why)
{
    (void)value, (void)size, (void)why;
    assert_int_equal(key->table, ROWS_JOB);
    ++*(int *)ctx;
    return 0;
}

/* A leaf of LMDB's: its first key is one of the audit. (Of the header, the flags stand at 10 and
 * the place of the first node at 16; in a node the key's size stands at 6, then the key.) */
static bool is_of_audit(const unsigned char *page)
{
    uint16_t flags, node, size;

    memcpy(&flags, page + 10, sizeof flags);
    memcpy(&node, page + 16, sizeof node);
    if (flags != 2 || node > PAGE - 9)
        return false;
    memcpy(&size, page + node + 6, sizeof size);
    return size == 13 && page[node + 8] == ROWS_AUDIT;
}

/* Nothing is left of these. */
static int wipe_leaves_of_audit(void)
{
    FILE *file = fopen(DATA, "r+b");
    unsigned char page[PAGE];
    int wiped = 0;

    assert_non_null(file);
    for (long at = 0; fseek(file, at, SEEK_SET) == 0 && fread(page, 1, PAGE, file) == PAGE;
         at += PAGE) {
        if (!is_of_audit(page))
            continue;
        memset(page, 0, PAGE);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fwrite(page, 1, PAGE, file), PAGE);
        wiped++;
    }
    assert_int_equal(fclose(file), 0);
    return wiped;
}

static void a_start_looks_at_no_page_of_the_audit(void **state)
{
    struct desk d;
    struct reason why = {""};
    int rows = 0;

    (void)state;
    open_at(&d, BYTES_MAX);
    put(&d, ROWS_JOB, 1, 0, "job");
    for (uint64_t i = 0; i < 1000; i++) /* a tree of some pages */
        put(&d, ROWS_AUDIT, 1, i, "a draw");
    commit_now(&d);
    start(&d);
    end(&d);
    assert_true(wipe_leaves_of_audit() > 3);
    open_at(&d, BYTES_MAX);
    assert_int_equal(state_load(d.state, count_cb, &rows, &why), 0);
    assert_int_equal(rows, 1);
    put(&d, ROWS_JOB, 1, 0, "goes on");
    commit_now(&d);
    start(&d);
    read_all(&d, 1, 0, 1000); /* which ends in an error, and no more than that */
    assert_int_equal(d.reading.rc, -OHEM_STATE);
    assert_non_null(strstr(d.reading.why.text, "cannot be read"));
    end(&d);
}

TEST_MAIN(TEST(the_audit_is_read_in_parts_from_any_number),
          TEST(rows_are_removed_and_begun_anew_as_others),
          TEST(before_the_first_commit_there_is_nothing),
          TEST(a_commit_that_was_handed_over_before_is_in_it), TEST(it_is_read_while_commits_fail),
          TEST(what_was_not_read_yet_at_the_end_is_not_told),
          TEST(a_start_looks_at_no_page_of_the_audit))
