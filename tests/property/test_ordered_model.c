/* test_ordered_model.c - random operations on ids in their order against an array of buckets.
 *
 * The r-th of a bucket is found by walking the array. All counts of all sizes are on the way to
 * some r-th, so every member of every bucket is asked for again and again.
 */
#include "../../daemon/engine/ordered.h"
#include "../../daemon/engine/rng.h"
#include "../lib/test.h"

#include <stdlib.h>

#define NOWHERE PARTITION_BUCKETS /* the model's bucket of an id that is in none */

struct model {
    uint32_t n;
    unsigned *bucket; /* of each id */
    unsigned first;   /* buckets in use: from this one on, modulo 256 */
    unsigned buckets; /* so many */
    uint64_t seed, draws;
};

static uint32_t pick(struct model *m, uint32_t below)
{
    struct rng_pair x = rng_at(rng_make(m->seed, "ordered", RNG_DRAW), m->draws++, 0, 0);

    return (uint32_t)rng_below(x.first, below);
}

static void assert_same(const struct ordered *o, const struct model *m)
{
    uint32_t next[PARTITION_BUCKETS] = {0}; /* the place of each bucket's next member */

    for (uint32_t id = 0; id < m->n; id++) {
        unsigned b = m->bucket[id];

        assert_true(ordered_has(o, id) == (b != NOWHERE));
        if (b != NOWHERE)
            assert_int_equal(ordered_at(o, b, next[b]++), id);
    }
}

static void change(struct ordered *o, struct model *m)
{
    uint32_t id = pick(m, m->n);
    unsigned from = m->bucket[id];
    unsigned to = (m->first + pick(m, m->buckets)) % PARTITION_BUCKETS;

    to = pick(m, 5) == 0 ? NOWHERE : to;
    if (from == NOWHERE && to != NOWHERE)
        ordered_insert(o, id, to);
    else if (from != NOWHERE && to == NOWHERE)
        ordered_remove(o, id, from);
    else if (from != NOWHERE)
        ordered_move(o, id, from, to);
    m->bucket[id] = to;
}

/* To a size of up to twice as many, and one. */
static void grow(struct ordered *o, struct model *m)
{
    uint32_t n = m->n + pick(m, m->n + 2);
    struct ordered larger;

    assert_int_equal(ordered_init(&larger, n), 0);
    ordered_copy(&larger, o);
    ordered_deinit(o);
    *o = larger;
    m->bucket = realloc(m->bucket, n * sizeof *m->bucket);
    assert_non_null(m->bucket);
    for (; m->n < n; m->n++)
        m->bucket[m->n] = NOWHERE;
}

static void clear(struct ordered *o, struct model *m)
{
    ordered_clear(o);
    for (uint32_t id = 0; id < m->n; id++)
        m->bucket[id] = NOWHERE;
}

static void compare(uint32_t n, unsigned first, unsigned buckets, uint32_t changes, uint64_t seed)
{
    struct model m = {.n = n, .first = first, .buckets = buckets, .seed = seed};
    struct ordered o;

    print_message("n %u, %u buckets from %u, seed %lu\n", n, buckets, first, (unsigned long)seed);
    m.bucket = malloc(n * sizeof *m.bucket);
    assert_non_null(m.bucket);
    assert_int_equal(ordered_init(&o, n), 0);
    clear(&o, &m);
    for (int round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < changes; i++)
            change(&o, &m);
        assert_same(&o, &m);
        if (round == 3)
            clear(&o, &m);
        if (round == 1 || round == 5)
            grow(&o, &m);
        assert_same(&o, &m);
    }
    ordered_deinit(&o);
    free(m.bucket);
}

static void small_sets_agree_with_an_array(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 70; n++) {
        compare(n, 254, 4, 200, n);
        compare(n, 0, 256, 200, 100 + n);
    }
}

/* The last bucket is kept in another way than the rest. */
static void sets_over_the_edges_of_blocks_agree_with_an_array(void **state)
{
    const uint32_t sizes[] = {1023, 1024, 1025, 2048, 5000, 32767, 32768, 32769};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        compare(sizes[i], 0, 1, 4 * sizes[i], i);
        compare(sizes[i], 255, 1, 4 * sizes[i], i);
        compare(sizes[i], 254, 3, 4 * sizes[i], i);
        compare(sizes[i], 0, 256, 4 * sizes[i], i);
    }
}

static void big_sets_agree_with_an_array(void **state)
{
    (void)state;
    compare(1100000, 252, 8, 1000000, 1);
    compare(1100000, 0, 256, 1000000, 2);
}

TEST_MAIN(TEST(small_sets_agree_with_an_array),
          TEST(sets_over_the_edges_of_blocks_agree_with_an_array),
          TEST(big_sets_agree_with_an_array))
