/* test_rows.c - changes come out as they went in, and never fail where room was made. */
#include "../../daemon/engine/rng.h"
#include "../../daemon/engine/rows.h"
#include "../../proto/error.h"
#include "../lib/test.h"

#include <string.h>

static uint64_t chance(uint64_t seed, uint64_t i)
{
    return rng_at(rng_make(seed, "rows", RNG_DRAW), i, 0, 0).first;
}

/* The i-th change of a list: a row of up to 300 bytes, or one in four removes. */
struct wanted {
    struct rows_key key;
    uint64_t last;
    size_t size;
    bool removes;
};

static struct wanted wanted_at(uint64_t seed, uint64_t i)
{
    uint64_t c = chance(seed, i);

    return (struct wanted){.key = {(uint32_t)(c % 8 + 1), (uint32_t)(c >> 8) % 3, c >> 16},
                           .last = (c >> 16) + c % 5,
                           .size = (c >> 40) % 300,
                           .removes = c >> 62 == 0};
}

static unsigned char byte_of(uint64_t i, size_t at)
{
    return (unsigned char)(i * 31 + at);
}

static void add(struct rows *r, uint64_t i, const struct wanted *w)
{
    unsigned char *at;

    if (w->removes) {
        rows_remove(r, w->key.table, w->key.job, w->key.number, w->last);
        return;
    }
    at = rows_put(r, w->key, w->size);
    assert_non_null(at);
    assert_int_equal((uintptr_t)at % 8, 0);
    for (size_t b = 0; b < w->size; b++)
        at[b] = byte_of(i, b);
}

static void assert_change(const struct rows_change *c, uint64_t i, const struct wanted *w)
{
    assert_int_equal(c->key.table, w->key.table);
    assert_int_equal(c->key.job, w->key.job);
    assert_int_equal(c->key.number, w->key.number);
    if (w->removes) {
        assert_null(c->value);
        assert_int_equal(c->last, w->last);
        return;
    }
    assert_non_null(c->value);
    assert_int_equal(c->size, w->size);
    assert_int_equal((uintptr_t)c->value % 8, 0);
    for (size_t b = 0; b < w->size; b++)
        assert_int_equal(((const unsigned char *)c->value)[b], byte_of(i, b));
}

static void assert_list(const struct rows *r, uint64_t seed, uint64_t count)
{
    struct rows_change c;
    size_t at = 0;

    assert_int_equal(r->count, count);
    for (uint64_t i = 0; i < count; i++) {
        struct wanted w = wanted_at(seed, i);

        assert_true(rows_next(r, &at, &c));
        assert_change(&c, i, &w);
    }
    assert_false(rows_next(r, &at, &c));
    assert_false(rows_next(r, &at, &c));
}

static void changes_come_back_as_they_were_made_in_their_order(void **state)
{
    struct rows r = {0};

    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        assert_list(&r, seed, 0);
        for (uint64_t i = 0; i < 3000; i++) {
            struct wanted w = wanted_at(seed, i);

            add(&r, i, &w);
        }
        assert_false(r.failed);
        assert_list(&r, seed, 3000);
        rows_clear(&r);
    }
    rows_deinit(&r);
    assert_null(r.bytes);
}

static void a_row_may_be_empty_or_larger_than_the_memory(void **state)
{
    const size_t sizes[] = {0, 1, 7, 8, 9, 65536, 1000000, 0};
    struct rows r = {0};
    struct rows_change c;
    size_t at = 0;

    (void)state;
    for (uint32_t i = 0; i < 8; i++)
        memset(rows_put(&r, (struct rows_key){ROWS_JOB, 1, i}, sizes[i]), (int)i, sizes[i]);
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(rows_next(&r, &at, &c));
        assert_non_null(c.value); /* an empty row is a row */
        assert_int_equal(c.size, sizes[i]);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(((const unsigned char *)c.value)[b], i);
    }
    rows_deinit(&r);
}

static void clearing_keeps_the_memory(void **state)
{
    struct rows r = {0};
    const unsigned char *bytes;
    size_t capacity;

    (void)state;
    assert_non_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 0}, 500000));
    bytes = r.bytes;
    capacity = r.capacity;
    rows_clear(&r);
    assert_true(r.count == 0 && r.size == 0);
    assert_ptr_equal(r.bytes, bytes);
    assert_non_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 0}, 500000));
    assert_ptr_equal(r.bytes, bytes);
    assert_int_equal(r.capacity, capacity);
    rows_deinit(&r);
}

/* What is asked for suffices for changes of any sizes, on top of what there is: nothing moves. */
static void what_was_reserved_suffices(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rows r = {0};
        uint64_t count = chance(seed, 1000000) % 3000, before = chance(seed, 1000001) % 500;
        const unsigned char *bytes;
        size_t wanted = 0;

        for (uint64_t i = 0; i < before; i++)
            add(&r, i, &(struct wanted){{ROWS_JOB, 1, i}, i, i, false});
        for (uint64_t i = 0; i < count; i++)
            wanted +=
                ROWS_CHANGE_BYTES + (wanted_at(seed, i).removes ? 0 : wanted_at(seed, i).size);
        assert_int_equal(rows_reserve(&r, wanted), 0);
        bytes = r.bytes;
        for (uint64_t i = 0; i < count; i++) {
            struct wanted w = wanted_at(seed, i);

            add(&r, i, &w);
        }
        assert_ptr_equal(r.bytes, bytes);
        assert_int_equal(r.count, before + count);
        rows_deinit(&r);
    }
}

static void a_change_takes_no_more_than_it_says(void **state)
{
    struct rows r = {0};
    size_t before;

    (void)state;
    for (size_t size = 0; size < 100; size++) {
        before = r.size;
        assert_non_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, size}, size));
        assert_true(r.size - before <= size + ROWS_CHANGE_BYTES);
    }
    before = r.size;
    rows_remove(&r, ROWS_JOB, 1, 0, UINT64_MAX);
    assert_true(r.size - before <= ROWS_CHANGE_BYTES);
    rows_deinit(&r);
}

#define TOO_MUCH (SIZE_MAX / 3)

static void more_than_there_can_be_is_not_reserved_and_nothing_is_lost(void **state)
{
    struct rows r = {0};
    struct wanted w = wanted_at(1, 0);

    (void)state;
    assert_int_equal(rows_reserve(&r, TOO_MUCH), -OHEM_NOMEM);
    add(&r, 0, &w);
    assert_int_equal(rows_reserve(&r, TOO_MUCH), -OHEM_NOMEM);
    assert_false(r.failed);
    assert_list(&r, 1, 1);
    rows_deinit(&r);
}

/* A list with a hole in it must not pass for a whole one. */
static void a_list_that_failed_stays_so_until_it_is_cleared(void **state)
{
    struct rows r = {0};

    (void)state;
    assert_non_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 0}, 8));
    assert_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 1}, TOO_MUCH));
    assert_true(r.failed);
    assert_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 2}, 8));
    rows_remove(&r, ROWS_JOB, 1, 0, 1);
    assert_true(r.failed);
    assert_int_equal(r.count, 1);
    assert_int_equal(rows_reserve(&r, 8), -OHEM_NOMEM);
    assert_true(r.failed);
    rows_clear(&r);
    assert_false(r.failed);
    assert_int_equal(rows_reserve(&r, 8 + ROWS_CHANGE_BYTES), 0);
    assert_non_null(rows_put(&r, (struct rows_key){ROWS_JOB, 1, 1}, 8));
    rows_deinit(&r);
}

static void numbers_that_are_gone_are_removed_once(void **state)
{
    struct rows_gone g = {0};
    struct rows r = {0};
    struct rows_change c;
    size_t at = 0;

    (void)state;
    assert_int_equal(rows_gone_reserve(&g, 3), 0);
    rows_gone_add(&g, 9);
    rows_gone_add(&g, 4);
    assert_int_equal(rows_gone_reserve(&g, 2), 0); /* there is as much already */
    rows_gone_add(&g, UINT64_MAX);
    assert_int_equal(rows_gone_reserve(&g, 1000), 0);
    rows_gone_capture(&g, ROWS_SESSION, 5, &r);
    for (int i = 0; i < 3; i++) {
        const uint64_t numbers[] = {9, 4, UINT64_MAX};

        assert_true(rows_next(&r, &at, &c));
        assert_true(c.value == NULL && c.key.table == ROWS_SESSION && c.key.job == 5);
        assert_true(c.key.number == numbers[i] && c.last == numbers[i]);
    }
    rows_gone_capture(&g, ROWS_SESSION, 5, &r);
    assert_int_equal(r.count, 3);
    rows_gone_deinit(&g);
    assert_null(g.numbers);
    rows_deinit(&r);
}

TEST_MAIN(TEST(changes_come_back_as_they_were_made_in_their_order),
          TEST(a_row_may_be_empty_or_larger_than_the_memory), TEST(clearing_keeps_the_memory),
          TEST(what_was_reserved_suffices), TEST(a_change_takes_no_more_than_it_says),
          TEST(more_than_there_can_be_is_not_reserved_and_nothing_is_lost),
          TEST(a_list_that_failed_stays_so_until_it_is_cleared),
          TEST(numbers_that_are_gone_are_removed_once))
