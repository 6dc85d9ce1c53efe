/* test_journal.c - reports as rows, and chunks within their budget. Rows that are damaged are in
 * test_journal_damage.c; that every crash is recovered from, in
 * tests/property/test_journal_crash.c.
 */
#include "../../daemon/engine/journal.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JOB 2

/* A memory with its journal, and the disk that it is saved to. */
struct desk {
    struct hardness h;
    struct journal j;
    struct disk disk;
    uint64_t lsn;
};

static struct desk *desk_new(uint32_t n)
{
    struct desk *d = calloc(1, sizeof *d);

    assert_non_null(d);
    assert_int_equal(hardness_init(&d->h, n, 0.5f), 0);
    assert_int_equal(journal_init(&d->j, n), 0);
    return d;
}

static void desk_free(struct desk *d)
{
    hardness_deinit(&d->h);
    journal_deinit(&d->j);
    disk_deinit(&d->disk);
    free(d);
}

/* A report of `count` ids from `first` on, each so many further. */
static void report(struct desk *d, uint32_t count, uint32_t first, uint32_t stride)
{
    uint32_t *ids = malloc(count * sizeof *ids);
    float *losses = malloc(count * sizeof *losses);

    assert_non_null(ids);
    assert_non_null(losses);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = (first + i * stride) % d->h.n;
        losses[i] = i % 7 == 3 ? NAN : (float)(d->lsn + i);
    }
    assert_int_equal(journal_reserve(&d->j, count), 0);
    d->lsn++;
    journal_append(&d->j, d->lsn, 1000 + d->lsn, count, ids, losses);
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(losses[i]))
            hardness_report(&d->h, ids[i], losses[i], 1000 + d->lsn);
    free(ids);
    free(losses);
}

/* What one capture was, by tables. */
struct captured {
    size_t chunks, journal_rows, removed;
    size_t chunk_bytes, journal_bytes;
};

/* A row is a single report, or not too large; it bears the number of its last one. */
static void check_reports(const struct rows_change *c)
{
    const unsigned char *bytes = c->value;
    uint64_t lsn = 0;
    size_t count = 0;

    for (size_t at = 0; at < c->size; count++) {
        uint32_t ids;

        memcpy(&lsn, bytes + at, sizeof lsn);
        memcpy(&ids, bytes + at + 20, sizeof ids);
        at += 24 + 8 * (size_t)ids;
        assert_true(at <= c->size);
    }
    assert_true(c->size <= JOURNAL_SEGMENT_BYTES || count == 1);
    assert_int_equal(c->key.number, lsn);
}

static struct captured count_changes(const struct rows *rows)
{
    struct captured c = {0};
    struct rows_change change;
    size_t at = 0;

    while (rows_next(rows, &at, &change)) {
        assert_int_equal(change.key.job, JOB);
        c.removed += change.value == NULL;
        if (change.value != NULL && change.key.table == ROWS_CHUNK) {
            c.chunks++;
            c.chunk_bytes += change.size;
        } else if (change.value != NULL) {
            assert_int_equal(change.key.table, ROWS_JOURNAL);
            check_reports(&change);
            c.journal_rows++;
            c.journal_bytes += change.size;
        }
    }
    return c;
}

static struct captured capture(struct desk *d)
{
    size_t bytes = journal_capture_bytes(&d->j);
    struct rows rows = {0};
    struct captured c;

    journal_capture(&d->j, JOB, d->lsn, &d->h, &rows);
    assert_false(rows.failed);
    assert_true(rows.size <= bytes);
    assert_int_equal(d->j.size, 0);
    c = count_changes(&rows);
    disk_write(&d->disk, &rows);
    rows_deinit(&rows);
    return c;
}

static size_t table_count(const struct disk *d, uint32_t table)
{
    size_t count = 0;

    for (size_t i = 0; i < d->count; i++)
        count += d->rows[i].key.table == table;
    return count;
}

static void what_was_not_reported_on_is_not_saved(void **state)
{
    struct desk *d = desk_new(5 * JOURNAL_CHUNK_IDS);
    struct captured c;

    (void)state;
    c = capture(d);
    assert_true(c.chunks == 0 && c.journal_rows == 0 && c.removed == 0);
    report(d, 10, 3 * JOURNAL_CHUNK_IDS - 5, 1); /* on both sides of a border */
    c = capture(d);
    assert_true(c.chunks == 2 && c.journal_rows == 1);
    assert_true(d->disk.rows[0].key.number == 2 && d->disk.rows[1].key.number == 3);
    assert_int_equal(d->disk.count, 2); /* all scores are saved: no report is needed any more */
    c = capture(d);
    assert_true(c.chunks == 0 && c.journal_rows == 0 && c.removed == 0);
    desk_free(d);
}

static void a_row_of_reports_is_full_or_a_single_one(void **state)
{
    struct desk *d = desk_new(100000);
    struct captured c;

    (void)state;
    for (int i = 0; i < 1000; i++)
        report(d, 100, (uint32_t)i * 97, 5);
    report(d, 20000, 0, 3); /* larger than a row is */
    report(d, 1, 0, 1);
    report(d, 65536, 0, 1);
    c = capture(d);
    assert_int_equal(c.journal_bytes,
                     1003 * 24 + 8 * (1000 * 100 + 20000 + 1 + 65536)); /* each of them, once */
    assert_true(c.journal_rows <= 824 * 1000 / (JOURNAL_SEGMENT_BYTES - 824) + 1 + 3);
    desk_free(d);
}

/* ---- budgets -----------------------------------------------------------------------------------
 */

#define MANY 1000 /* chunks */

/* Reports of this many ids that touch all chunks. @return chunks of the next capture */
static size_t chunks_after(struct desk *d, uint32_t ids)
{
    for (uint32_t left = ids; left > 0;) {
        uint32_t count = left < 65536 ? left : 65536;

        report(d, count, 0, JOURNAL_CHUNK_IDS + 1);
        left -= count;
    }
    return capture(d).chunks;
}

static void a_capture_saves_no_more_chunks_than_its_budget(void **state)
{
    struct desk *d = desk_new(MANY * JOURNAL_CHUNK_IDS);
    size_t some;

    (void)state;
    assert_int_equal(chunks_after(d, MANY), JOURNAL_CHUNKS_MIN);
    some = chunks_after(d, 65536); /* twice the bytes of the reports */
    assert_true(some > JOURNAL_CHUNKS_MIN && some < JOURNAL_CHUNKS_MAX);
    assert_true(some * JOURNAL_CHUNK_IDS * sizeof(struct hardness_entry) > 65536 * 8);
    assert_int_equal(chunks_after(d, 1000000), JOURNAL_CHUNKS_MAX);
    assert_int_equal(chunks_after(d, MANY), JOURNAL_CHUNKS_MIN);
    desk_free(d);
}

/* Without more reports all chunks get their turn, none twice; then the reports are gone. */
static void captures_go_round_until_no_report_is_needed(void **state)
{
    struct desk *d = desk_new(10 * JOURNAL_CHUNKS_MIN * JOURNAL_CHUNK_IDS);

    (void)state;
    report(d, 10 * JOURNAL_CHUNKS_MIN, 0, JOURNAL_CHUNK_IDS);
    report(d, 1, 0, 1);
    for (size_t i = 1; i <= 10; i++) {
        assert_int_equal(capture(d).chunks, JOURNAL_CHUNKS_MIN);
        assert_int_equal(table_count(&d->disk, ROWS_CHUNK), i * JOURNAL_CHUNKS_MIN);
        assert_int_equal(table_count(&d->disk, ROWS_JOURNAL), i < 10);
    }
    assert_int_equal(capture(d).chunks, 0);
    assert_int_equal(d->j.cut, d->lsn);
    desk_free(d);
}

/* However many are reported on all the time, a chunk is saved once in a round. */
static void no_chunk_waits_for_ever(void **state)
{
    struct desk *d = desk_new(10 * JOURNAL_CHUNKS_MIN * JOURNAL_CHUNK_IDS);
    uint64_t before;

    (void)state;
    for (int i = 0; i < 100; i++) {
        report(d, 10 * JOURNAL_CHUNKS_MIN, 7, JOURNAL_CHUNK_IDS);
        before = d->j.cut;
        (void)capture(d);
        assert_true(i < 10 || d->j.cut == before + 1);
        assert_true(table_count(&d->disk, ROWS_JOURNAL) <= 10);
    }
    assert_int_equal(d->j.cut, d->lsn - 9);
    desk_free(d);
}

TEST_MAIN(TEST(what_was_not_reported_on_is_not_saved),
          TEST(a_row_of_reports_is_full_or_a_single_one),
          TEST(a_capture_saves_no_more_chunks_than_its_budget),
          TEST(captures_go_round_until_no_report_is_needed), TEST(no_chunk_waits_for_ever))
