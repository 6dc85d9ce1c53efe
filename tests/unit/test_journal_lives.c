/* test_journal_lives.c - chunks and reports over many short lives: recovery, and how much is kept.
 */
#include "../../daemon/engine/journal.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#define CHUNKS      (4 * JOURNAL_CHUNKS_MIN)
#define N           (CHUNKS * JOURNAL_CHUNK_IDS)
#define JOB         1
#define LIVES       40
#define REPORTS_MAX 5 /* four captures save every chunk once; and the report of the present one */

struct life {
    struct journal journal;
    struct hardness hardness;
};

static size_t count_rows(const struct disk *d, uint32_t table)
{
    size_t count = 0;

    for (size_t i = 0; i < d->count; i++)
        count += d->rows[i].key.table == table;
    return count;
}

/* The disk's rows come in the order of their keys: all chunks before all reports. */
static void begin(struct life *life, const struct disk *d)
{
    assert_int_equal(journal_init(&life->journal, N), 0);
    assert_int_equal(hardness_init(&life->hardness, N, 0.5f), 0);
    for (size_t i = 0; i < d->count; i++) {
        const struct disk_row *r = &d->rows[i];
        int rc = r->key.table == ROWS_CHUNK
                     ? journal_restore_chunk(&life->journal, r->key.number, r->value, r->size,
                                             &life->hardness)
                     : journal_restore_reports(&life->journal, r->value, r->size, &life->hardness);

        assert_int_equal(rc, 0);
    }
    assert_int_equal(hardness_rebuild(&life->hardness), 0);
    journal_resume(&life->journal);
}

/* One report of an instance of every chunk, and one commit. */
static void work(struct life *life, uint64_t lsn, struct disk *d)
{
    uint32_t ids[CHUNKS];
    float losses[CHUNKS];
    struct rows rows = {0};

    for (uint32_t i = 0; i < CHUNKS; i++) {
        ids[i] = i * JOURNAL_CHUNK_IDS + (uint32_t)(lsn * 7 % 20);
        losses[i] = (float)((i + lsn * 5) % 11);
        hardness_report(&life->hardness, ids[i], losses[i], lsn);
    }
    assert_int_equal(journal_reserve(&life->journal, CHUNKS), 0);
    journal_append(&life->journal, lsn, lsn, CHUNKS, ids, losses);
    journal_capture(&life->journal, JOB, lsn, &life->hardness, &rows);
    disk_write(d, &rows);
    rows_deinit(&rows);
}

static void end(struct life *life)
{
    journal_deinit(&life->journal);
    hardness_deinit(&life->hardness);
}

static void lives_of_one_commit_leave_no_more_reports_than_a_long_one(void **state)
{
    struct disk d = {0};
    struct life long_life, life;

    (void)state;
    begin(&long_life, &d);
    for (uint64_t lsn = 1; lsn <= LIVES; lsn++) {
        struct disk nowhere = {0};

        work(&long_life, lsn, &nowhere);
        disk_deinit(&nowhere);
        begin(&life, &d);
        work(&life, lsn, &d);
        end(&life);
        assert_in_range(count_rows(&d, ROWS_JOURNAL), 1, REPORTS_MAX);
    }
    begin(&life, &d);
    assert_memory_equal(life.hardness.entries, long_life.hardness.entries,
                        N * sizeof *life.hardness.entries);
    end(&life);
    end(&long_life);
    disk_deinit(&d);
}

TEST_MAIN(TEST(lives_of_one_commit_leave_no_more_reports_than_a_long_one))
