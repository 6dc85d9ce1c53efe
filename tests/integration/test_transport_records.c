/* test_transport_records.c - records are the data set's, whichever way they come, small and large.
 *
 * Which way it is: test_transport.c. How long they stay: test_transport_held.c.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <string.h>

#define N       400
#define K       32
#define BATCHES 40

static const struct tinyset fixed = {.count = N, .size_min = 100, .size_max = 100};
static const struct tinyset varied = {.count = N, .size_min = 0, .size_max = 150};
static const struct tinyset empty = {.count = N, .size_min = 0, .size_max = 0};

/* ---- small batches --------------------------------------------------------------
 */

static void take_records_of(const struct tinyset *set)
{
    struct daemon d = {0};

    tinyset_make(set, DAEMON_DATASET);
    daemon_start(&d);
    for (int n = 0; n < WAYS_COUNT; n++) {
        struct ohem_client *client = ways_connect(&d, ways[n], K, 3);

        for (int i = 0; i < BATCHES; i++) {
            struct ohem_batch *b = daemon_next(client);

            assert_int_equal(ohem_batch_transport(b), ways[n].transport);
            ways_assert_records(set, ways[n], b);
            ways_report_and_release(b);
        }
        ohem_close(client);
    }
    daemon_stop(&d);
}

static void records_of_one_size_are_the_same_by_every_way(void **state)
{
    (void)state;
    take_records_of(&fixed);
}

static void records_of_varied_sizes_are_the_same_by_every_way(void **state)
{
    (void)state;
    take_records_of(&varied);
}

static void records_without_a_byte_come_by_every_way(void **state)
{
    (void)state;
    take_records_of(&empty);
}

struct draw {
    uint64_t ids[K], step;
    float probabilities[K], weights[K];
};

static void note_draw(const struct ohem_batch *b, struct draw *out)
{
    memcpy(out->ids, ohem_batch_ids(b), sizeof out->ids);
    memcpy(out->probabilities, ohem_batch_probabilities(b), sizeof out->probabilities);
    memcpy(out->weights, ohem_batch_weights(b), sizeof out->weights);
    out->step = ohem_batch_step(b);
}

/* With a credit of one each draw knows all reports before it. */
static void the_draws_are_the_same_by_every_way(void **state)
{
    static struct draw first[BATCHES], draw;
    struct daemon d = {.job = "seed = 5\nbeta = 0.5\n"};

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    for (int n = 0; n < WAYS_COUNT; n++) {
        struct ohem_client *client;

        daemon_start(&d); /* which has forgotten the job before */
        client = ways_connect(&d, ways[n], K, 1);
        for (int i = 0; i < BATCHES; i++) {
            struct ohem_batch *b = daemon_next(client);

            note_draw(b, n == 0 ? &first[i] : &draw);
            if (n > 0)
                assert_memory_equal(&draw, &first[i], sizeof draw);
            ways_report_and_release(b);
        }
        ohem_close(client);
        daemon_stop(&d);
    }
}

/* ---- large batches ----------------------------------------------------------------------------
 */

/* So many batches of k instances, by each of the layouts. */
static void take_large(const struct tinyset *set, enum ohem_transport transport, uint32_t k,
                       int batches)
{
    struct daemon d = {.settings = "slot_bytes_max = 268435456\nshm_bytes_max = 1073741824\n"};

    tinyset_make(set, DAEMON_DATASET);
    daemon_start(&d);
    for (int layout = OHEM_SCATTERED; layout <= OHEM_ALIGNED64; layout++) {
        struct way way = {layout, transport};
        struct ohem_client *client = ways_connect(&d, way, k, 2);

        for (int i = 0; i < batches; i++) {
            struct ohem_batch *b = daemon_next(client);

            assert_int_equal(ohem_batch_transport(b), transport);
            ways_assert_records(set, way, b);
            ways_report_and_release(b);
        }
        ohem_close(client);
    }
    daemon_stop(&d);
}

static void a_batch_of_two_megabytes_comes_whole_inline(void **state)
{
    const struct tinyset set = {.count = 1000, .size_min = 0, .size_max = 9999};

    (void)state;
    take_large(&set, OHEM_INLINE, 500, 20);
}

static void a_block_of_ten_megabytes_comes_whole_inline(void **state)
{
    const struct tinyset set = {.count = 1500, .size_min = 10001, .size_max = 10001};

    (void)state;
    take_large(&set, OHEM_INLINE, 1000, 5);
}

/* Each record is a message of its own, or more than one would like to be. */
static void a_batch_of_a_few_giants_comes_whole_inline(void **state)
{
    const struct tinyset set = {.count = 8, .size_min = 5000001, .size_max = 5000009};

    (void)state;
    take_large(&set, OHEM_INLINE, 6, 3);
}

static void a_batch_of_forty_megabytes_comes_whole_inline(void **state)
{
    const struct tinyset set = {.count = 10000, .size_min = 0, .size_max = 9999};

    (void)state;
    take_large(&set, OHEM_INLINE, 8000, 2);
}

static void a_batch_of_forty_megabytes_comes_whole_by_shm(void **state)
{
    const struct tinyset set = {.count = 10000, .size_min = 0, .size_max = 9999};

    (void)state;
    take_large(&set, OHEM_SHM, 8000, 2);
}

/* 16 records of 1,500 bytes on the average: now more than a slot's, now less. */
static void a_batch_that_does_not_fit_its_slot_comes_inline(void **state)
{
    const struct tinyset set = {.count = 3000, .size_min = 0, .size_max = 2999};
    struct daemon d = {.settings = "slot_bytes_max = 24576\n"};
    unsigned by[OHEM_MAP + 1] = {0};

    (void)state;
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    for (int layout = OHEM_SCATTERED; layout <= OHEM_ALIGNED64; layout++) {
        struct way way = {layout, OHEM_SHM};
        struct ohem_client *client = ways_connect(&d, way, 16, 4);

        for (int i = 0; i < 100; i++) {
            struct ohem_batch *b = daemon_next(client);

            by[ohem_batch_transport(b)]++;
            ways_assert_records(&set, way, b);
            ways_report_and_release(b);
        }
        ohem_close(client);
    }
    assert_true(by[OHEM_SHM] > 30 && by[OHEM_INLINE] > 30);
    daemon_stop(&d);
}

TEST_MAIN(TEST(records_of_one_size_are_the_same_by_every_way),
          TEST(records_of_varied_sizes_are_the_same_by_every_way),
          TEST(records_without_a_byte_come_by_every_way), TEST(the_draws_are_the_same_by_every_way),
          TEST(a_batch_of_two_megabytes_comes_whole_inline),
          TEST(a_block_of_ten_megabytes_comes_whole_inline),
          TEST(a_batch_of_a_few_giants_comes_whole_inline),
          TEST(a_batch_of_forty_megabytes_comes_whole_inline),
          TEST(a_batch_of_forty_megabytes_comes_whole_by_shm),
          TEST(a_batch_that_does_not_fit_its_slot_comes_inline))
