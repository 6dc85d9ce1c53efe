/* test_journal_crash.c - whenever the daemon dies, the scores that come back are those after the
 * reports that were saved, bit for bit.
 *
 * Lives of random reports with captures at random moments, on a memory that sometimes grows. Beside
 * them the reports are written down, and applied to a second memory when a capture took them. After
 * each capture the rows alone must give the same; and some lives go on from there.
 */
#include "../../daemon/engine/journal.h"
#include "../../daemon/engine/rng.h"
#include "../lib/disk.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX   (45u * JOURNAL_CHUNK_IDS + 7)
#define K_MAX   3000u
#define LSN_MAX 1000u
#define JOB     4

struct report {
    uint64_t step;
    uint32_t count;
    uint32_t *ids;
    float *losses;
};

struct life {
    uint64_t seed, i; /* how often chance was asked */
    uint32_t n;
    struct hardness h;
    struct journal j;
    struct disk disk;
    struct report log[LSN_MAX + 1]; /* by LSN */
    uint64_t lsn, saved_lsn;
    struct hardness_entry *truth; /* after the reports up to saved_lsn */
    struct hardness applied;      /* whose entries those are */
};

static uint64_t chance(struct life *l, uint64_t below)
{
    return rng_at(rng_make(l->seed, "journal", RNG_DRAW), l->i++, 0, 0).first % below;
}

/* ---- the life ----------------------------------------------------------------------------------
 */

static void open_memory(struct hardness *h, struct journal *j, uint32_t n)
{
    assert_int_equal(hardness_init(h, n, 0.3f), 0);
    assert_int_equal(journal_init(j, n), 0);
}

static struct life *life_new(uint64_t seed)
{
    struct life *l = calloc(1, sizeof *l);

    assert_non_null(l);
    l->seed = seed;
    l->n = (uint32_t)(1 + chance(l, seed % 3 == 0 ? 2000 : N_MAX));
    open_memory(&l->h, &l->j, l->n);
    assert_int_equal(hardness_init(&l->applied, N_MAX, 0.3f), 0);
    l->truth = l->applied.entries;
    return l;
}

static void forget(struct report *r)
{
    free(r->ids);
    free(r->losses);
    *r = (struct report){0};
}

static void life_free(struct life *l)
{
    hardness_deinit(&l->h);
    hardness_deinit(&l->applied);
    journal_deinit(&l->j);
    disk_deinit(&l->disk);
    for (size_t i = 0; i <= LSN_MAX; i++)
        forget(&l->log[i]);
    free(l);
}

/* Ids all over, or close together, or the same again and again; some losses are no numbers. */
static void fill(struct life *l, struct report *r)
{
    uint32_t width = chance(l, 2) ? l->n : 1 + (uint32_t)chance(l, l->n);
    uint32_t first = (uint32_t)chance(l, l->n);

    r->step = chance(l, UINT64_C(1) << 40);
    r->count = (uint32_t)(chance(l, 8) == 0 ? chance(l, K_MAX) : chance(l, 40));
    r->ids = malloc((r->count + 1) * sizeof *r->ids);
    r->losses = malloc((r->count + 1) * sizeof *r->losses);
    assert_non_null(r->ids);
    assert_non_null(r->losses);
    for (uint32_t i = 0; i < r->count; i++) {
        uint64_t c = chance(l, UINT64_C(1) << 40);

        r->ids[i] = (first + (uint32_t)((c >> 20) % width)) % l->n;
        r->losses[i] = c % 19 == 0 ? NAN : c % 23 == 0 ? -INFINITY : (float)(c % 100000) / 77 - 100;
    }
}

static void report(struct life *l)
{
    struct report *r = &l->log[l->lsn + 1];

    if (l->lsn == LSN_MAX)
        return;
    fill(l, r);
    l->lsn++;
    assert_int_equal(journal_reserve(&l->j, r->count), 0);
    journal_append(&l->j, l->lsn, r->step, r->count, r->ids, r->losses);
    for (uint32_t i = 0; i < r->count; i++)
        if (isfinite(r->losses[i]))
            hardness_report(&l->h, r->ids[i], r->losses[i], r->step);
}

static void grow(struct life *l)
{
    l->n += (uint32_t)chance(l, (N_MAX - l->n) / 4 + 1);
    assert_int_equal(hardness_grow(&l->h, l->n), 0);
    assert_int_equal(journal_grow(&l->j, l->n), 0);
}

/* ---- what is saved -----------------------------------------------------------------------------
 */

/* Twice the bytes of the reports, within the bounds that have names. */
static size_t budget(size_t report_bytes)
{
    size_t chunks = 2 * report_bytes / (JOURNAL_CHUNK_IDS * sizeof(struct hardness_entry));

    chunks = chunks > JOURNAL_CHUNKS_MIN ? chunks : JOURNAL_CHUNKS_MIN;
    return chunks < JOURNAL_CHUNKS_MAX ? chunks : JOURNAL_CHUNKS_MAX;
}

static size_t count_chunks(const struct rows *rows)
{
    struct rows_change c;
    size_t at = 0, count = 0;

    while (rows_next(rows, &at, &c))
        count += c.key.table == ROWS_CHUNK;
    return count;
}

static void apply(struct life *l, const struct report *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (isfinite(r->losses[i]))
            hardness_apply(&l->applied, r->ids[i], r->losses[i], r->step);
}

static void capture(struct life *l)
{
    size_t bytes = journal_capture_bytes(&l->j), chunks_max = budget(l->j.size);
    struct rows rows = {0};

    journal_capture(&l->j, JOB, l->lsn, &l->h, &rows);
    assert_false(rows.failed);
    assert_true(rows.size <= bytes);
    assert_true(count_chunks(&rows) <= chunks_max);
    disk_write(&l->disk, &rows);
    rows_deinit(&rows);
    while (l->saved_lsn < l->lsn)
        apply(l, &l->log[++l->saved_lsn]);
}

/* ---- and comes back ----------------------------------------------------------------------------
 */

/* Which reports are on the disk, and what each chunk holds. */
struct survey {
    bool reports[LSN_MAX + 1];
    uint64_t images[N_MAX / JOURNAL_CHUNK_IDS + 1];
};

static void look(const struct disk_row *row, struct survey *s)
{
    const unsigned char *bytes = row->value;

    if (row->key.table == ROWS_CHUNK) {
        memcpy(&s->images[row->key.number], bytes + 8, sizeof s->images[0]);
        return;
    }
    for (size_t at = 0; at < row->size;) {
        uint64_t lsn;
        uint32_t count;

        memcpy(&lsn, bytes + at, sizeof lsn);
        memcpy(&count, bytes + at + 20, sizeof count);
        s->reports[lsn] = true;
        at += 24 + 8 * (size_t)count;
    }
}

/* No report is gone that the row of a chunk lacks. */
static void assert_needed_are_there(const struct life *l)
{
    struct survey s = {0};

    for (size_t i = 0; i < l->disk.count; i++)
        look(&l->disk.rows[i], &s);
    for (uint64_t lsn = 1; lsn <= l->saved_lsn; lsn++)
        for (uint32_t i = 0; i < l->log[lsn].count; i++)
            assert_true(s.reports[lsn] || s.images[l->log[lsn].ids[i] / JOURNAL_CHUNK_IDS] >= lsn);
}

static void restore(const struct life *l, struct hardness *h, struct journal *j)
{
    open_memory(h, j, l->n);
    for (size_t i = 0; i < l->disk.count; i++) {
        const struct disk_row *r = &l->disk.rows[i];

        if (r->key.table == ROWS_CHUNK)
            assert_int_equal(journal_restore_chunk(j, r->key.number, r->value, r->size, h), 0);
        else
            assert_int_equal(journal_restore_reports(j, r->value, r->size, h), 0);
    }
    assert_memory_equal(h->entries, l->truth, l->n * sizeof *h->entries);
    assert_int_equal(hardness_rebuild(h), 0);
}

/* The daemon dies: what was not saved has not happened. Or it only might have. */
static void die(struct life *l, bool really)
{
    struct hardness h;
    struct journal j;

    restore(l, &h, &j);
    if (really) {
        struct hardness old = l->h;
        struct journal old_journal = l->j;

        l->h = h;
        l->j = j;
        h = old;
        j = old_journal;
        while (l->lsn > l->saved_lsn)
            forget(&l->log[l->lsn--]);
    }
    hardness_deinit(&h);
    journal_deinit(&j);
}

static void live(struct life *l)
{
    while (l->lsn < LSN_MAX) {
        uint64_t kind = chance(l, 40);

        if (kind == 0)
            grow(l);
        else if (kind == 1)
            die(l, true);
        else if (kind < 10) {
            capture(l);
            assert_needed_are_there(l);
            die(l, chance(l, 8) == 0);
        } else
            report(l);
    }
}

/* When nothing more comes, everything is in the chunks, and no report is kept. */
static void come_to_rest(struct life *l)
{
    for (uint32_t i = 0; i <= N_MAX / JOURNAL_CHUNK_IDS / JOURNAL_CHUNKS_MIN + 1; i++) {
        capture(l);
        die(l, false);
    }
    for (size_t i = 0; i < l->disk.count; i++)
        assert_int_equal(l->disk.rows[i].key.table, ROWS_CHUNK);
    assert_memory_equal(l->h.entries, l->truth, l->n * sizeof *l->truth);
}

static void after_any_crash_the_scores_are_those_of_the_reports_that_were_saved(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct life *l = life_new(seed);

        print_message("seed %d\n", (int)seed);
        live(l);
        come_to_rest(l);
        life_free(l);
    }
}

TEST_MAIN(TEST(after_any_crash_the_scores_are_those_of_the_reports_that_were_saved))
