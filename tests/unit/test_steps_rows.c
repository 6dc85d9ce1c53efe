/* test_steps_rows.c - what is saved of the steps, and comes back. Which steps are open then is in
 * test_steps_restart.c. */
#include "../../daemon/engine/rng.h"
#include "../../daemon/engine/steps.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#define KEEP_MS 500
#define JOB     3

static uint64_t chance(uint64_t seed, uint64_t i, uint64_t below)
{
    return rng_at(rng_make(seed, "steps", RNG_DRAW), i, 0, 0).first % below;
}

/* Collect what changed into the disk, in as much as was promised. @return how many changes */
static size_t capture(struct steps *s, struct disk *d)
{
    size_t bytes = steps_capture_bytes(s), count;
    struct rows rows = {0};

    assert_int_equal(rows_reserve(&rows, bytes), 0);
    steps_capture(s, JOB, &rows);
    assert_true(rows.size <= bytes);
    assert_false(s->dirty);
    disk_write(d, &rows);
    count = rows.count;
    rows_deinit(&rows);
    return count;
}

static void restore(struct steps *s, const struct disk *d, uint64_t now_ms)
{
    assert_int_equal(steps_init(s), 0);
    for (size_t i = 0; i < d->count; i++) {
        assert_true(d->rows[i].key.table == ROWS_STEPS && d->rows[i].key.job == JOB);
        assert_int_equal(steps_restore(s, d->rows[i].key.number, d->rows[i].value, d->rows[i].size),
                         0);
    }
    steps_resume(s, now_ms);
}

static void assert_same(const struct steps *a, const struct steps *b, uint64_t end)
{
    for (uint64_t step = 0; step < end; step++) {
        assert_true(steps_is_closed(a, step) == steps_is_closed(b, step));
        assert_true(steps_fate(a, step) == steps_fate(b, step));
    }
}

static void only_what_changed_is_saved(void **state)
{
    struct steps s;
    struct disk d = {0};

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    assert_int_equal(capture(&s, &d), 0);
    for (uint64_t b = 0; b < 10; b++)
        steps_draw(&s, b * STEPS_BLOCK, b);
    assert_false(s.dirty);
    assert_int_equal(capture(&s, &d), 0); /* a draw alone says nothing */
    steps_set(&s, 5, 50);
    steps_set(&s, 6, 60);
    steps_set(&s, 9 * STEPS_BLOCK, 90);
    assert_true(s.dirty);
    assert_int_equal(capture(&s, &d), 2);
    assert_int_equal(capture(&s, &d), 0);
    steps_set(&s, 9 * STEPS_BLOCK + 1, 91);
    assert_int_equal(capture(&s, &d), 1);
    assert_int_equal(d.count, 2);
    steps_deinit(&s);
    disk_deinit(&d);
}

static void rows_of_closed_blocks_are_removed(void **state)
{
    struct steps s;
    struct disk d = {0};

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (uint64_t b = 0; b < 10; b++) {
        steps_draw(&s, b * STEPS_BLOCK, 10 * b);
        steps_set(&s, b * STEPS_BLOCK, 77);
    }
    assert_int_equal(capture(&s, &d), 10);
    steps_expire(&s, KEEP_MS, KEEP_MS);
    assert_true(s.dirty);
    steps_set(&s, STEPS_BLOCK, 78); /* changed, and closed before it is saved */
    steps_expire(&s, 60 + KEEP_MS, KEEP_MS);
    assert_true(s.dirty);
    (void)capture(&s, &d);
    assert_int_equal(d.count, 3 + 1);
    assert_int_equal(d.rows[0].key.number, 7);
    steps_deinit(&s);
    disk_deinit(&d);
}

/* ---- random lives ------------------------------------------------------------------------------
 */

struct life {
    uint64_t seed, i, next, now_ms;
    struct steps steps;
    struct disk disk;
};

/* A restart begins behind all that may have been handed out. */
static void die(struct life *l)
{
    struct steps before = l->steps;

    restore(&l->steps, &l->disk, l->now_ms);
    assert_same(&before, &l->steps, l->next + 2 * STEPS_BLOCK);
    assert_int_equal(capture(&l->steps, &l->disk), 0); /* nothing of it is new */
    steps_deinit(&before);
    l->next += chance(l->seed, l->i++, 40) * STEPS_BLOCK;
    steps_draw(&l->steps, l->next, l->now_ms);
}

static void draw_some(struct life *l)
{
    uint64_t count = chance(l->seed, l->i++, 3 * STEPS_BLOCK);

    for (uint64_t k = 0; k < count; k++) {
        l->now_ms += chance(l->seed, l->i, 20) == 0;
        steps_draw(&l->steps, l->next++, l->now_ms);
    }
}

static void settle_some(struct life *l)
{
    uint64_t count = chance(l->seed, l->i++, 300);

    for (uint64_t k = 0; k < count && l->next > 0; k++) {
        uint64_t back = chance(l->seed, l->i++, 4 * STEPS_BLOCK);
        uint64_t step = back < l->next ? l->next - 1 - back : 0;
        uint64_t fate = steps_digest(chance(l->seed, l->i++, 4));
        bool closed = steps_is_closed(&l->steps, step);

        steps_set(&l->steps, step, fate);
        assert_true(steps_fate(&l->steps, step) == (closed ? STEPS_OPEN : fate));
    }
}

static void live(struct life *l)
{
    for (int event = 0; event < 150; event++) {
        switch (chance(l->seed, l->i++, 6)) {
        case 0:
        case 1:
            draw_some(l);
            break;
        case 2:
        case 3:
            settle_some(l);
            break;
        case 4:
            steps_expire(&l->steps, l->now_ms += chance(l->seed, l->i++, 200), KEEP_MS);
            break;
        default:
            (void)capture(&l->steps, &l->disk);
            if (chance(l->seed, l->i++, 3) == 0)
                die(l);
        }
    }
}

static void a_restart_changes_no_word_and_closes_nothing_else(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct life l = {.seed = seed, .now_ms = 1000};

        assert_int_equal(steps_init(&l.steps), 0);
        live(&l);
        (void)capture(&l.steps, &l.disk);
        die(&l);
        steps_deinit(&l.steps);
        disk_deinit(&l.disk);
    }
}

/* Its time begins anew, for blocks as for gaps. */
static void after_a_restart_all_stay_open_for_their_time(void **state)
{
    struct steps s, next;
    struct disk d = {0};

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    for (uint64_t b = 0; b < 20; b += 3) {
        steps_draw(&s, b * STEPS_BLOCK, 100);
        steps_set(&s, b * STEPS_BLOCK, 77);
    }
    (void)capture(&s, &d);
    restore(&next, &d, 9000);
    assert_int_equal(steps_next_due(&next, KEEP_MS), 9000 + KEEP_MS);
    steps_expire(&next, 9000 + KEEP_MS - 1, KEEP_MS);
    assert_same(&s, &next, 20 * STEPS_BLOCK);
    steps_expire(&next, 9000 + KEEP_MS, KEEP_MS);
    assert_true(steps_is_closed(&next, 18 * STEPS_BLOCK - 1));
    steps_deinit(&s);
    steps_deinit(&next);
    disk_deinit(&d);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

/* Rows are read into steps that have one block, those before it being closed. */
struct reader {
    uint64_t number;
    struct steps steps;
};

static void open_reader(struct reader *r)
{
    assert_int_equal(steps_init(&r->steps), 0);
    steps_draw(&r->steps, 3 * STEPS_BLOCK, 1);
    steps_expire(&r->steps, 1000, 1);
}

/* What was refused has changed nothing: the next one reads into the same. */
static int read_row(void *ctx, const void *value, size_t size)
{
    struct reader *r = ctx;
    int rc = steps_restore(&r->steps, r->number, value, size);

    assert_true(rc == 0 || (r->steps.first == 3 && r->steps.end == 4 && r->steps.used == 1));
    if (rc == 0) {
        steps_deinit(&r->steps);
        open_reader(r);
    }
    return rc;
}

static void damaged_rows_are_refused(void **state)
{
    const uint64_t first = 2, later = 5;
    struct reader r;
    struct steps s;
    struct disk d = {0};

    (void)state;
    assert_int_equal(steps_init(&s), 0);
    steps_draw(&s, 0, 1);
    steps_draw(&s, 4 * STEPS_BLOCK, 1000);
    steps_set(&s, 4 * STEPS_BLOCK, 77);
    steps_expire(&s, 2000, 500);
    (void)capture(&s, &d);
    assert_int_equal(d.count, 2); /* a block, and where the open ones begin */
    open_reader(&r);
    for (size_t i = 0; i < 2; i++) {
        r.number = d.rows[i].key.number;
        assert_int_equal(read_row(&r, d.rows[i].value, d.rows[i].size), 0);
        damage_refused(read_row, &r, d.rows[i].value, d.rows[i].size);
    }
    assert_int_equal(damage_read(read_row, &r, d.rows[1].value, 16, 8, &first, 8),
                     -OHEM_STATE); /* open again what was closed */
    assert_int_equal(damage_read(read_row, &r, d.rows[1].value, 16, 8, &later, 8), 0);
    r.number = UINT64_MAX / STEPS_BLOCK + 1; /* no step is in it */
    assert_int_equal(read_row(&r, d.rows[0].value, d.rows[0].size), -OHEM_STATE);
    r.number = 2; /* closed */
    assert_int_equal(read_row(&r, d.rows[0].value, d.rows[0].size), -OHEM_STATE);
    steps_deinit(&r.steps);
    steps_deinit(&s);
    disk_deinit(&d);
}

TEST_MAIN(TEST(only_what_changed_is_saved), TEST(rows_of_closed_blocks_are_removed),
          TEST(a_restart_changes_no_word_and_closes_nothing_else),
          TEST(after_a_restart_all_stay_open_for_their_time), TEST(damaged_rows_are_refused))
