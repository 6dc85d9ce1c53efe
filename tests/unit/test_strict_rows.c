/* test_strict_rows.c - the window of strict order as rows, and back. */
#include "../../daemon/engine/rng.h"
#include "../../daemon/engine/strict.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#include <stdlib.h>
#include <string.h>

#define D   7
#define K   9
#define N   1000 /* ids */
#define JOB 5
#define ROW 40 /* bytes before the ids */

static uint64_t chance(uint64_t seed, uint64_t i, uint64_t below)
{
    return rng_at(rng_make(seed, "strict", RNG_DRAW), i, 0, 0).first % below;
}

/* What is in a batch depends on its step alone. */
static void fill(struct strict_batch *b)
{
    b->count = (uint32_t)(1 + chance(b->step, 0, K));
    b->coverage_count = (uint32_t)chance(b->step, 1, b->count + 1);
    b->epoch = chance(b->step, 2, 100);
    b->lsn = chance(b->step, 3, UINT64_MAX);
    for (uint32_t i = 0; i < b->count; i++) {
        b->ids[i] = (uint32_t)chance(b->step, 10 + i, N);
        b->epochs[i] = (uint32_t)chance(b->step, 100 + i, 100);
        b->probabilities[i] = (float)chance(b->step, 200 + i, 1000) / 1000;
        b->weights[i] = (float)chance(b->step, 300 + i, 1000) / 100;
    }
}

static void draw(struct strict *s)
{
    fill(strict_draw(s));
}

static void apply(struct strict *s)
{
    strict_set(s, strict_at(s, s->applied), STRICT_DONE);
    strict_applied(s);
}

static void assert_batch(const struct strict_batch *got, const struct strict_batch *wanted)
{
    assert_int_equal(got->step, wanted->step);
    assert_true(got->epoch == wanted->epoch && got->lsn == wanted->lsn);
    assert_int_equal(got->count, wanted->count);
    assert_int_equal(got->coverage_count, wanted->coverage_count);
    assert_memory_equal(got->ids, wanted->ids, 4 * wanted->count);
    assert_memory_equal(got->epochs, wanted->epochs, 4 * wanted->coverage_count);
    assert_memory_equal(got->probabilities, wanted->probabilities, 4 * wanted->count);
    assert_memory_equal(got->weights, wanted->weights, 4 * wanted->count);
}

/* Memory that was used before, so that bytes which nobody writes are seen. */
static void soil(struct rows *rows, size_t bytes, int with)
{
    assert_int_equal(rows_reserve(rows, bytes), 0);
    memset(rows->bytes, with, rows->capacity);
}

/* @return how many changes it was */
static size_t capture(struct strict *s, struct disk *d)
{
    size_t bytes = strict_capture_bytes(s), count;
    struct rows rows = {0};

    assert_int_equal(rows_reserve(&rows, bytes), 0);
    strict_capture(s, JOB, &rows);
    assert_true(rows.size <= bytes);
    disk_write(d, &rows);
    count = rows.count;
    rows_deinit(&rows);
    return count;
}

/* As the job's row says how far it was applied. */
static void restore(struct strict *s, const struct disk *d, uint64_t applied)
{
    assert_int_equal(strict_init(s, D, K), 0);
    s->applied = s->drawn = s->saved_applied = applied;
    for (size_t i = 0; i < d->count; i++) {
        const struct disk_row *r = &d->rows[i];

        assert_true(r->key.table == ROWS_BATCH && r->key.job == JOB);
        assert_int_equal(strict_restore(s, r->key.number, r->value, r->size, N, NULL), 0);
    }
}

static void assert_same(const struct strict *got, const struct strict *wanted)
{
    assert_true(got->applied == wanted->applied && got->drawn == wanted->drawn);
    assert_int_equal(got->ready_count, got->drawn - got->applied);
    for (uint64_t step = got->applied; step < got->drawn; step++) {
        assert_batch(strict_at(got, step), strict_at(wanted, step));
        assert_int_equal(strict_at(got, step)->state, STRICT_READY);
    }
}

static void a_batch_is_saved_once_and_removed_when_it_is_applied(void **state)
{
    struct strict s;
    struct disk d = {0};

    (void)state;
    assert_int_equal(strict_init(&s, D, K), 0);
    assert_int_equal(capture(&s, &d), 0);
    draw(&s);
    draw(&s);
    assert_int_equal(capture(&s, &d), 2);
    strict_set(&s, strict_at(&s, 0), STRICT_OUT);
    assert_int_equal(capture(&s, &d), 0);
    apply(&s);
    draw(&s);
    assert_int_equal(capture(&s, &d), 2);
    assert_int_equal(d.count, 2);
    draw(&s);
    for (int i = 0; i < 3; i++)
        apply(&s); /* the last one before it was saved */
    assert_int_equal(capture(&s, &d), 1);
    assert_int_equal(d.count, 0);
    assert_int_equal(capture(&s, &d), 0);
    strict_deinit(&s);
    disk_deinit(&d);
}

static void a_full_window_fits_into_what_is_asked_for(void **state)
{
    struct strict s;
    struct disk d = {0};

    (void)state;
    assert_int_equal(strict_init(&s, D, K), 0);
    for (int i = 0; i < D; i++) {
        draw(&s);
        strict_at(&s, (uint64_t)i)->count = strict_at(&s, (uint64_t)i)->coverage_count = K;
    }
    assert_int_equal(capture(&s, &d), D);
    for (int i = 0; i < D; i++)
        apply(&s);
    for (int i = 0; i < D; i++) {
        draw(&s);
        s.window[i].count = s.window[i].coverage_count = K;
    }
    assert_int_equal(capture(&s, &d), D + 1);
    assert_int_equal(d.count, D);
    strict_deinit(&s);
    disk_deinit(&d);
}

static void what_was_saved_comes_back_in_any_life(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct strict s, next;
        struct disk d = {0};

        assert_int_equal(strict_init(&s, D, K), 0);
        for (uint64_t i = 0; i < 300; i++) {
            uint64_t c = chance(seed, i, 6);

            if (c < 3 && strict_may_draw(&s))
                draw(&s);
            else if (c < 5 && s.applied < s.drawn)
                apply(&s);
            else if (c == 5) {
                (void)capture(&s, &d);
                restore(&next, &d, s.applied);
                assert_same(&next, &s);
                strict_deinit(&s);
                s = next; /* and life goes on */
            }
        }
        strict_deinit(&s);
        disk_deinit(&d);
    }
}

/* The same batch gives the same bytes, whatever the memory held. */
static void no_byte_of_a_row_is_left_to_chance(void **state)
{
    struct rows rows[2] = {{0}, {0}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct strict s;

        assert_int_equal(strict_init(&s, D, K), 0);
        for (int k = 0; k < D; k++)
            draw(&s);
        soil(&rows[i], strict_capture_bytes(&s), i == 0 ? 0x55 : 0xaa);
        strict_capture(&s, JOB, &rows[i]);
        strict_deinit(&s);
    }
    assert_int_equal(rows[0].size, rows[1].size);
    assert_memory_equal(rows[0].bytes, rows[1].bytes, rows[0].size);
    rows_deinit(&rows[0]);
    rows_deinit(&rows[1]);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

struct reader {
    uint64_t applied, step, n;
    uint32_t batch_size;
};

static int read_row(void *ctx, const void *value, size_t size)
{
    const struct reader *r = ctx;
    struct strict s;
    struct reason why = {{0}};
    int rc;

    assert_int_equal(strict_init(&s, D, r->batch_size), 0);
    s.applied = s.drawn = r->applied;
    rc = strict_restore(&s, r->step, value, size, r->n, &why);
    assert_int_equal(s.drawn, r->applied + (rc == 0));
    assert_true((why.text[0] != '\0') == (rc != 0));
    strict_deinit(&s);
    return rc;
}

static void assert_refused(const struct disk_row *row, struct reader r)
{
    assert_int_equal(read_row(&r, row->value, row->size), -OHEM_STATE);
}

static void damaged_rows_are_refused(void **state)
{
    struct strict s;
    struct disk d = {0};
    struct reader r = {.n = N, .batch_size = K};
    const uint32_t n = N;

    (void)state;
    assert_int_equal(strict_init(&s, D, K), 0);
    draw(&s);
    (void)capture(&s, &d);
    assert_int_equal(read_row(&r, d.rows[0].value, d.rows[0].size), 0);
    damage_refused(read_row, &r, d.rows[0].value, d.rows[0].size);
    for (uint32_t i = 0; i < s.window[0].count; i++)
        assert_int_equal(
            damage_read(read_row, &r, d.rows[0].value, d.rows[0].size, ROW + 4 * i, &n, sizeof n),
            -OHEM_STATE);
    assert_refused(&d.rows[0], (struct reader){.n = N, .batch_size = s.window[0].count - 1});
    assert_refused(&d.rows[0], (struct reader){.n = N, .batch_size = K, .step = 1});
    assert_refused(&d.rows[0], (struct reader){.n = N, .batch_size = K, .applied = 1});
    memset((char *)d.rows[0].value + 4, 0, 8); /* no ids, no epochs: the right size */
    assert_int_equal(read_row(&r, d.rows[0].value, ROW), -OHEM_STATE);
    strict_deinit(&s);
    disk_deinit(&d);
}

static void no_more_come_back_than_the_window_holds(void **state)
{
    struct strict s, next;
    struct disk d = {0};

    (void)state;
    assert_int_equal(strict_init(&s, D, K), 0);
    for (int i = 0; i < D; i++)
        draw(&s);
    (void)capture(&s, &d);
    restore(&next, &d, 0);
    assert_int_equal(strict_restore(&next, D, d.rows[0].value, d.rows[0].size, N, NULL),
                     -OHEM_STATE);
    assert_same(&next, &s);
    strict_deinit(&s);
    strict_deinit(&next);
    disk_deinit(&d);
}

TEST_MAIN(TEST(a_batch_is_saved_once_and_removed_when_it_is_applied),
          TEST(a_full_window_fits_into_what_is_asked_for),
          TEST(what_was_saved_comes_back_in_any_life), TEST(no_byte_of_a_row_is_left_to_chance),
          TEST(damaged_rows_are_refused), TEST(no_more_come_back_than_the_window_holds))
