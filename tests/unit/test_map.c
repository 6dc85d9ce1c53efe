/* test_map.c - the table from numbers to pointers, against an array of pairs. */
#include "../../daemon/engine/map.h"
#include "../../daemon/engine/rng.h"
#include "../lib/test.h"

#define KEYS 500

static int values[KEYS]; /* their addresses are the values */

static void a_new_map_is_empty(void **state)
{
    struct map m;

    (void)state;
    assert_int_equal(map_init(&m, 4), 0);
    assert_int_equal(m.count, 0);
    assert_null(map_get(&m, 0));
    map_remove(&m, 0);
    map_remove(&m, 17);
    assert_int_equal(m.count, 0);
    map_deinit(&m);
}

static void the_smallest_and_largest_keys_are_keys_like_others(void **state)
{
    struct map m;

    (void)state;
    assert_int_equal(map_init(&m, 2), 0);
    map_put(&m, 0, &values[0]);
    map_put(&m, UINT64_MAX, &values[1]);
    assert_ptr_equal(map_get(&m, 0), &values[0]);
    assert_ptr_equal(map_get(&m, UINT64_MAX), &values[1]);
    map_remove(&m, 0);
    assert_null(map_get(&m, 0));
    assert_ptr_equal(map_get(&m, UINT64_MAX), &values[1]);
    map_deinit(&m);
}

/* How keys are spread: what a table may stumble over. */
static uint64_t key_of(int spread, uint64_t i)
{
    switch (spread) {
    case 0:
        return i; /* steps of a job */
    case 1:
        return i << 10; /* the same low bits */
    case 2:
        return i << 52; /* the same low and middle bits */
    default:
        return rng_mix(i + 1);
    }
}

static void a_full_map_finds_all_and_nothing_else(void **state)
{
    (void)state;
    for (int spread = 0; spread < 4; spread++) {
        struct map m;

        assert_int_equal(map_init(&m, KEYS), 0);
        for (uint64_t i = 0; i < KEYS; i++)
            map_put(&m, key_of(spread, i), &values[i]);
        assert_int_equal(m.count, KEYS);
        for (uint64_t i = 0; i < KEYS; i++) {
            assert_ptr_equal(map_get(&m, key_of(spread, i)), &values[i]);
            assert_null(map_get(&m, key_of(spread, KEYS + i)));
        }
        map_deinit(&m);
    }
}

static void random_puts_and_removes_agree_with_an_array(void **state)
{
    (void)state;
    for (int spread = 0; spread < 4; spread++) {
        struct map m;
        char in[64] = {0};
        size_t count = 0;

        assert_int_equal(map_init(&m, 64), 0); /* full load: long probes, holes in the middle */
        for (uint32_t turn = 0; turn < 20000; turn++) {
            struct rng_pair x = rng_at(rng_make(1, "map", RNG_DRAW), turn, 0, 0);
            uint64_t i = rng_below(x.first, 64);

            if (in[i])
                map_remove(&m, key_of(spread, i));
            else
                map_put(&m, key_of(spread, i), &values[i]);
            count += in[i] ? (size_t)-1 : 1;
            in[i] = !in[i];
            assert_int_equal(m.count, count);
            for (uint64_t k = 0; k < 64 && turn % 16 == 0; k++)
                assert_ptr_equal(map_get(&m, key_of(spread, k)), in[k] ? &values[k] : NULL);
        }
        map_deinit(&m);
    }
}

static void a_window_of_steps_slides_through_for_ever(void **state)
{
    struct map m;

    (void)state;
    assert_int_equal(map_init(&m, 8), 0);
    for (uint64_t step = 0; step < 100000; step++) {
        map_put(&m, step, &values[step % KEYS]);
        if (step >= 7) {
            assert_ptr_equal(map_get(&m, step - 7), &values[(step - 7) % KEYS]);
            map_remove(&m, step - 7);
            assert_null(map_get(&m, step - 7));
        }
    }
    assert_int_equal(m.count, 7);
    map_deinit(&m);
}

static void reserve_keeps_what_is_in_it(void **state)
{
    struct map m;

    (void)state;
    assert_int_equal(map_init(&m, 1), 0);
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(map_reserve(&m, i + 1), 0);
        map_put(&m, key_of(3, i), &values[i]);
    }
    assert_int_equal(map_reserve(&m, 1), 0); /* less than there is: nothing is lost */
    for (uint64_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&m, key_of(3, i)), &values[i]);
    map_deinit(&m);
}

TEST_MAIN(TEST(a_new_map_is_empty), TEST(the_smallest_and_largest_keys_are_keys_like_others),
          TEST(a_full_map_finds_all_and_nothing_else),
          TEST(random_puts_and_removes_agree_with_an_array),
          TEST(a_window_of_steps_slides_through_for_ever), TEST(reserve_keeps_what_is_in_it))
