/* test_partition_model.c - random operations on a partition against an array of bucket numbers.
 *
 * A mistake in the bags shows as a wrong count, an id in two places or an id in none; so the whole
 * is compared again and again, not only what was touched.
 */
#include "../../daemon/engine/partition.h"
#include "../../daemon/engine/rng.h"
#include "../lib/test.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE PARTITION_BUCKETS /* the model's bucket of an id that is in none */

struct model {
    uint32_t n;
    unsigned *bucket; /* of each id */
    uint32_t counts[PARTITION_BUCKETS + 1];
    uint64_t seed, draws;
};

static uint32_t pick(struct model *m, uint32_t below)
{
    struct rng_pair x = rng_at(rng_make(m->seed, "model", RNG_DRAW), m->draws++, 0, 0);

    return (uint32_t)rng_below(x.first, below);
}

static void assert_same(const struct partition *p, const struct model *m, uint8_t *met)
{
    assert_int_equal(p->count, m->n - m->counts[NOWHERE]);
    memset(met, 0, m->n);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        assert_int_equal(p->buckets[b].count, m->counts[b]);
        for (uint32_t i = 0; i < m->counts[b]; i++) {
            uint32_t id = partition_at(p, b, i);

            assert_true(id < m->n);
            assert_int_equal(m->bucket[id], b);
            assert_int_equal(met[id]++, 0);
        }
    }
    for (uint32_t id = 0; id < m->n; id++)
        assert_true(partition_has(p, id) == (m->bucket[id] != NOWHERE));
}

static void step(struct partition *p, struct model *m, unsigned buckets)
{
    uint32_t id = pick(m, m->n);
    unsigned from = m->bucket[id];
    unsigned to = pick(m, 5) == 0 ? NOWHERE : pick(m, buckets) * (PARTITION_BUCKETS / buckets);

    if (from == NOWHERE && to != NOWHERE)
        partition_insert(p, id, to);
    else if (from != NOWHERE && to == NOWHERE)
        partition_remove(p, id, from);
    else if (from != NOWHERE)
        partition_move(p, id, from, to);
    m->counts[from]--;
    m->counts[to]++;
    m->bucket[id] = to;
}

static void compare(uint32_t n, unsigned buckets, uint32_t steps, uint64_t seed)
{
    struct model m = {.n = n, .seed = seed, .bucket = malloc(n * sizeof *m.bucket)};
    uint8_t *met = malloc(n);
    struct partition p;

    print_message("n %u, buckets %u, seed %lu\n", n, buckets, (unsigned long)seed);
    for (uint32_t id = 0; id < n; id++)
        m.bucket[id] = NOWHERE;
    m.counts[NOWHERE] = n;
    assert_int_equal(partition_init(&p, n), 0);
    for (uint32_t i = 0; i < steps; i++) {
        step(&p, &m, buckets);
        if (i % (steps / 50) == 0)
            assert_same(&p, &m, met);
    }
    assert_same(&p, &m, met);
    partition_deinit(&p);
    free(met);
    free(m.bucket);
}

static void small_partitions_agree_with_an_array(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 40; n++) {
        compare(n, 2, 500, n);
        compare(n, 256, 500, 100 + n);
    }
}

static void partitions_over_page_edges_agree_with_an_array(void **state)
{
    const uint32_t sizes[] = {127, 128, 129, 255, 256, 257, 1023, 1025, 4097};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        compare(sizes[i], 1, 20000, i);
        compare(sizes[i], 4, 20000, i);
        compare(sizes[i], 256, 20000, i);
    }
}

static void a_large_partition_agrees_with_an_array(void **state)
{
    (void)state;
    compare(100000, 8, 500000, 1);
    compare(100000, 256, 500000, 2);
}

TEST_MAIN(TEST(small_partitions_agree_with_an_array),
          TEST(partitions_over_page_edges_agree_with_an_array),
          TEST(a_large_partition_agrees_with_an_array))
