/* test_cold_age.c - a batch that grows old while it is read from a slow disk, and the job's
 * max_age.
 *
 * While one trainer's batch is being gathered, another reports four that it holds: then the first
 * one's was drawn four reports ago. Ages without a slow disk: test_ages.c.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/slow.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#define READ_MS   100
#define K         16
#define HELD      4
#define BELOW     "below"
#define FILE_NAME DAEMON_DATASET "/data.mdb"

static const struct tinyset set = {.count = 512, .size_min = 16000, .size_max = 16000};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

/* @return batches that were drawn anew since they had grown too old */
static uint64_t grow_old(struct way way, const char *job)
{
    struct slow disk;
    struct daemon d = {.dataset = "immutable = yes\nreadahead = yes\n", .job = job};
    struct ohem_client *slow, *other;
    struct ohem_batch *held[HELD], *b;
    uint64_t redrawn;

    tinyset_make(&set, BELOW);
    slow_mount(&disk, BELOW, DAEMON_DATASET);
    daemon_start(&d);
    other = ways_connect(&d, way, K, HELD);
    for (int i = 0; i < HELD; i++)
        held[i] = daemon_next(other);
    slow_down(&disk, FILE_NAME, READ_MS);
    slow = ways_connect(&d, way, K, 1);
    slow_await_waiting(&disk, 1);
    for (int i = 0; i < HELD; i++)
        (void)daemon_report(held[i], losses);
    slow_speed_up(&disk);
    b = daemon_next(slow);
    ways_assert_records(&set, way, b);
    assert_int_equal(ohem_selection_lsn(daemon_report(b, losses)), HELD + 1);
    redrawn = daemon_counter(&d, "batches_redrawn");
    ohem_release(b);
    for (int i = 0; i < HELD; i++)
        ohem_release(held[i]);
    ohem_close(slow);
    ohem_close(other);
    daemon_stop(&d);
    slow_unmount(&disk);
    return redrawn;
}

static void a_batch_older_than_max_age_is_drawn_anew_inline(void **state)
{
    (void)state;
    assert_int_equal(grow_old((struct way){OHEM_PACKED, OHEM_INLINE}, "max_age = 3\n"), 1);
}

static void a_batch_older_than_max_age_is_drawn_anew_by_shm(void **state)
{
    (void)state;
    assert_int_equal(grow_old((struct way){OHEM_PACKED, OHEM_SHM}, "max_age = 3\n"), 1);
}

static void a_batch_as_old_as_max_age_is_sent(void **state)
{
    (void)state;
    assert_int_equal(grow_old((struct way){OHEM_PACKED, OHEM_SHM}, "max_age = 4\n"), 0);
}

static void without_max_age_a_batch_is_sent_however_old(void **state)
{
    (void)state;
    assert_int_equal(grow_old((struct way){OHEM_PACKED, OHEM_SHM}, NULL), 0);
}

TEST_MAIN(TEST(a_batch_older_than_max_age_is_drawn_anew_inline),
          TEST(a_batch_older_than_max_age_is_drawn_anew_by_shm),
          TEST(a_batch_as_old_as_max_age_is_sent),
          TEST(without_max_age_a_batch_is_sent_however_old))
