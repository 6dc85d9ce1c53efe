/* test_job_begin.c - a job that begins with another's scores is on disk with all of them or not at
 * all, and one that is begun anew leaves nothing of its life before there.
 */
#include "../lib/disk.h"
#include "../lib/shell.h"
#include "../lib/test.h"

#include "../../proto/error.h"

#include <string.h>

#define N (300u * JOURNAL_CHUNK_IDS + 7) /* chunks for three captures */

struct life {
    struct shell *shell;
    struct job *old, *new;
};

static struct life begin(const struct disk *disk, bool with_new)
{
    struct engine_settings settings = shell_settings();
    struct job_settings of_old = shell_job("old", N), of_new = shell_job("new", N);
    struct reason why = {""};
    struct life l = {0};

    settings.durable = true;
    l.shell = shell_new(&settings);
    l.old = shell_add_job(l.shell, &of_old);
    memcpy(of_new.warm_start, "old", sizeof "old");
    of_new.warm_factor = 0.5;
    if (with_new)
        l.new = shell_add_job(l.shell, &of_new);
    assert_int_equal(disk_restore(disk, &l.shell->engine, &why), 0);
    assert_int_equal(engine_restore_end(&l.shell->engine, 0, &why), 0);
    return l;
}

/* @return the bytes of the commit */
static size_t commit(struct life *l, struct disk *disk)
{
    struct rows rows = {0};
    size_t size;

    assert_int_equal(engine_capture(&l->shell->engine, &rows), 0);
    assert_false(rows.failed);
    size = rows.size;
    disk_write(disk, &rows);
    engine_committed(&l->shell->engine);
    rows_deinit(&rows);
    return size;
}

/* A job `old` with a score for each third id, all of it on disk. */
static void make_old(struct disk *disk)
{
    struct life l = begin(disk, false);

    for (uint32_t id = 0; id < N; id += 3)
        hardness_report(&l.old->hardness, id, 1.0f + (float)id, 1);
    journal_need_all(&l.old->journal);
    while (journal_is_behind(&l.old->journal))
        (void)commit(&l, disk);
    shell_free(l.shell);
}

static void assert_halved(const struct life *l)
{
    for (uint32_t id = 0; id < N; id++) {
        struct hardness_story was = hardness_story(&l->old->hardness, id);
        struct hardness_story is = hardness_story(&l->new->hardness, id);

        assert_true(is.scored == was.scored && is.score == was.score / 2);
        assert_int_equal(is.visits, was.scored);
    }
}

static bool has_row(const struct disk *disk, uint32_t table, uint32_t job)
{
    for (size_t i = 0; i < disk->count; i++)
        if (disk->rows[i].key.table == table && disk->rows[i].key.job == job)
            return true;
    return false;
}

static void scores_that_are_taken_over_come_in_bounded_commits_and_then_the_job(void **state)
{
    struct disk disk = {0};
    struct life l;
    uint32_t number;
    int commits = 0;

    (void)state;
    make_old(&disk);
    l = begin(&disk, true);
    number = l.new->saved.number;
    assert_halved(&l);
    for (; engine_warming(&l.shell->engine); commits++) {
        assert_false(has_row(&disk, ROWS_JOB, number));
        assert_true(commit(&l, &disk) <
                    2u * JOURNAL_CHUNKS_MAX * JOURNAL_CHUNK_IDS * sizeof(struct hardness_entry));
    }
    assert_true(commits > 2);
    assert_true(has_row(&disk, ROWS_JOB, number));
    shell_free(l.shell);
    l = begin(&disk, true);
    assert_true(l.new->saved.restored);
    assert_false(engine_warming(&l.shell->engine));
    assert_halved(&l);
    shell_free(l.shell);
    disk_deinit(&disk);
}

static void a_start_that_ends_too_soon_begins_again(void **state)
{
    struct disk disk = {0};
    struct life l;

    (void)state;
    make_old(&disk);
    l = begin(&disk, true);
    (void)commit(&l, &disk);
    assert_true(engine_warming(&l.shell->engine));
    assert_true(has_row(&disk, ROWS_CHUNK, l.new->saved.number));
    shell_free(l.shell);

    l = begin(&disk, true); /* what lies there of it is nobody's */
    assert_false(l.new->saved.restored);
    assert_halved(&l);
    hardness_report(&l.old->hardness, 1, 5.0f, 2); /* another job with its number would see this */
    while (engine_warming(&l.shell->engine))
        (void)commit(&l, &disk);
    shell_free(l.shell);

    l = begin(&disk, true);
    assert_true(l.new->saved.restored);
    assert_false(hardness_story(&l.new->hardness, 1).scored);
    shell_free(l.shell);
    disk_deinit(&disk);
}

static void a_reset_leaves_no_row_of_the_life_before(void **state)
{
    struct disk disk = {0};
    struct reason why = {""};
    struct life l;

    (void)state;
    make_old(&disk);
    assert_true(has_row(&disk, ROWS_CHUNK, 1));
    l = begin(&disk, false);
    (void)commit(&l, &disk);
    assert_int_equal(engine_reset_job(&l.shell->engine, l.old, &why), 0);
    l.old = engine_find_job(&l.shell->engine, "old");
    assert_int_equal(l.old->saved.life, 1);
    assert_int_equal(l.old->saved.number, 1);
    (void)commit(&l, &disk);
    assert_false(has_row(&disk, ROWS_CHUNK, 1));
    assert_true(has_row(&disk, ROWS_JOB, 1));
    shell_free(l.shell);

    l = begin(&disk, false);
    assert_int_equal(l.old->saved.life, 1);
    assert_int_equal(l.old->hardness.partition.count, 0);
    shell_free(l.shell);
    disk_deinit(&disk);
}

TEST_MAIN(TEST(scores_that_are_taken_over_come_in_bounded_commits_and_then_the_job),
          TEST(a_start_that_ends_too_soon_begins_again),
          TEST(a_reset_leaves_no_row_of_the_life_before))
