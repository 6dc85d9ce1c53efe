/* test_journal_damage.c - rows of scores and reports that are not what was written. */
#include "../../daemon/engine/journal.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/test.h"

#include <stdlib.h>
#include <string.h>

/* A memory with its journal, after one report on its last ids; and the rows of that. */
struct desk {
    struct hardness h;
    struct journal j;
    struct rows rows;
    struct rows_change reports, chunk;
};

static void capture(struct desk *d)
{
    size_t at = 0;

    journal_capture(&d->j, 2, 1, &d->h, &d->rows);
    assert_true(rows_next(&d->rows, &at, &d->reports) && d->reports.key.table == ROWS_JOURNAL);
    assert_true(rows_next(&d->rows, &at, &d->chunk) && d->chunk.key.table == ROWS_CHUNK);
}

static struct desk *desk_new(uint32_t n, uint32_t count)
{
    struct desk *d = calloc(1, sizeof *d);
    const float losses[] = {0, 1, 2, 3, 4};
    uint32_t ids[5];

    assert_non_null(d);
    assert_int_equal(hardness_init(&d->h, n, 0.5f), 0);
    assert_int_equal(journal_init(&d->j, n), 0);
    if (count == 0)
        return d;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = n - 1 - i;
        hardness_report(&d->h, ids[i], losses[i], 9);
    }
    assert_int_equal(journal_reserve(&d->j, count), 0);
    journal_append(&d->j, 1, 9, count, ids, losses);
    capture(d);
    return d;
}

static void desk_free(struct desk *d)
{
    hardness_deinit(&d->h);
    journal_deinit(&d->j);
    rows_deinit(&d->rows);
    free(d);
}

/* Into a new memory of n ids. */
struct reader {
    uint32_t n;
    uint64_t number; /* of the chunk */
    bool chunk;
};

static int read_row(void *ctx, const void *value, size_t size)
{
    const struct reader *r = ctx;
    struct desk *d = desk_new(r->n, 0);
    int rc = r->chunk ? journal_restore_chunk(&d->j, r->number, value, size, &d->h)
                      : journal_restore_reports(&d->j, value, size, &d->h);

    desk_free(d);
    return rc;
}

static void damaged_chunks_are_refused(void **state)
{
    struct desk *d = desk_new(JOURNAL_CHUNK_IDS + 10, 5);
    struct reader r = {.n = JOURNAL_CHUNK_IDS + 10, .number = 1, .chunk = true};
    const uint32_t count = 11, nan_bits = 0x7fc00000;
    const struct rows_change *row = &d->chunk;

    (void)state;
    assert_int_equal(row->key.number, 1);
    assert_int_equal(read_row(&r, row->value, row->size), 0);
    damage_refused(read_row, &r, row->value, row->size);
    assert_int_equal(damage_read(read_row, &r, row->value, row->size, 4, &count, 4), -OHEM_STATE);
    for (size_t id = 0; id < 10; id++) /* a score that no report can leave */
        assert_int_equal(
            damage_read(read_row, &r, row->value, row->size, 16 + 16 * id, &nan_bits, 4),
            -OHEM_STATE);
    r.n--; /* beyond the ids */
    assert_int_equal(read_row(&r, row->value, row->size), -OHEM_STATE);
    r.n++;
    r.number = 2; /* there is none */
    assert_int_equal(read_row(&r, row->value, row->size), -OHEM_STATE);
    r.number = 1 + UINT64_MAX / JOURNAL_CHUNK_IDS + 1; /* times its ids it is that of chunk 1 */
    assert_int_equal(read_row(&r, row->value, row->size), -OHEM_STATE);
    r.number = UINT64_MAX;
    assert_int_equal(read_row(&r, row->value, row->size), -OHEM_STATE);
    desk_free(d);
}

/* An entry without a report has no score: a later one would hide the damage. */
static void a_chunk_with_half_an_entry_is_refused(void **state)
{
    struct desk *d = desk_new(10, 5);
    struct reader r = {.n = 10, .chunk = true};
    const uint16_t variance = 1;
    const uint32_t last_step = 1;

    (void)state;
    assert_int_equal(damage_read(read_row, &r, d->chunk.value, d->chunk.size,
                                 16 + 16 + offsetof(struct hardness_entry, variance), &variance, 2),
                     -OHEM_STATE);
    assert_int_equal(damage_read(read_row, &r, d->chunk.value, d->chunk.size,
                                 16 + 16 + offsetof(struct hardness_entry, last_step), &last_step,
                                 4),
                     -OHEM_STATE);
    desk_free(d);
}

/* The version of a report stands at 16, its count at 20, its ids at 24. */
static void damaged_reports_are_refused(void **state)
{
    struct desk *d = desk_new(10, 5);
    struct reader r = {.n = 10};
    const uint32_t version = 2, more = 6, all = UINT32_MAX, id = 10;
    const struct rows_change c = d->reports;

    (void)state;
    assert_int_equal(read_row(&r, c.value, c.size), 0);
    for (size_t size = 0; size < c.size; size++) {
        void *copy = malloc(size > 0 ? size : 1);

        assert_non_null(copy);
        memcpy(copy, c.value, size);
        assert_int_equal(read_row(&r, copy, size), -OHEM_STATE);
        free(copy);
    }
    assert_int_equal(damage_read(read_row, &r, c.value, c.size, 16, &version, 4), -OHEM_STATE);
    assert_int_equal(damage_read(read_row, &r, c.value, c.size, 20, &more, 4), -OHEM_STATE);
    assert_int_equal(damage_read(read_row, &r, c.value, c.size, 20, &all, 4), -OHEM_STATE);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(damage_read(read_row, &r, c.value, c.size, 24 + 4 * i, &id, 4),
                         -OHEM_STATE);
    desk_free(d);
}

TEST_MAIN(TEST(damaged_chunks_are_refused), TEST(a_chunk_with_half_an_entry_is_refused),
          TEST(damaged_reports_are_refused))
