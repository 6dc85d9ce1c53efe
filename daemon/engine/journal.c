/* journal.c - reports until the scores are saved; see journal.h.
 *
 * `needs` says for each chunk of ids from which report on its row is behind. A capture goes round
 * the chunks and saves some of those that are; the smallest of the needs that are left is where the
 * rows of reports may be cut.
 */
#include "journal.h"

#include "../../proto/error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MIN 65536

/* On disk, both. To change one: raise its version, read both, write the new one. */
#define CHUNK_VERSION  1
#define REPORT_VERSION 1

struct chunk_row {
    uint32_t version, count;
    uint64_t lsn;
    struct hardness_entry entries[]; /* [count] */
};

struct report { /* one behind the other in a row, each at a multiple of 8 */
    uint64_t lsn, step;
    uint32_t version, count;
    /* then u32 ids[count], f32 losses[count] */
};

static uint32_t chunks_for(uint64_t n)
{
    return (uint32_t)((n + JOURNAL_CHUNK_IDS - 1) / JOURNAL_CHUNK_IDS);
}

int journal_init(struct journal *j, uint64_t n)
{
    *j = (struct journal){0};
    return journal_grow(j, n);
}

void journal_deinit(struct journal *j)
{
    free(j->needs);
    free(j->images);
    free(j->bytes);
    *j = (struct journal){0};
}

/* A longer list, the new end of it 0. */
static bool lengthen(uint64_t **list, uint32_t from, uint32_t to)
{
    uint64_t *longer = realloc(*list, to * sizeof *longer);

    if (longer == NULL)
        return false;
    memset(longer + from, 0, (to - from) * sizeof *longer);
    *list = longer;
    return true;
}

int journal_grow(struct journal *j, uint64_t n)
{
    uint32_t count = chunks_for(n);

    if (count <= j->chunk_count)
        return 0;
    if (!lengthen(&j->needs, j->chunk_count, count) || !lengthen(&j->images, j->chunk_count, count))
        return -OHEM_NOMEM;
    j->chunk_count = count;
    return 0;
}

/* ---- reports -----------------------------------------------------------------------------------
 */

static size_t report_bytes(uint32_t count)
{
    return sizeof(struct report) + (size_t)count * (sizeof(uint32_t) + sizeof(float));
}

int journal_reserve(struct journal *j, uint32_t count)
{
    size_t capacity = j->capacity > 0 ? j->capacity : BYTES_MIN;
    unsigned char *bytes;

    while (capacity - j->size < report_bytes(count))
        capacity *= 2;
    if (capacity == j->capacity)
        return 0;
    bytes = realloc(j->bytes, capacity);
    if (bytes == NULL)
        return -OHEM_NOMEM;
    j->bytes = bytes;
    j->capacity = capacity;
    return 0;
}

static void note_need(struct journal *j, uint32_t id, uint64_t lsn)
{
    uint64_t *need = &j->needs[id / JOURNAL_CHUNK_IDS];

    if (*need == 0)
        *need = lsn;
}

void journal_append(struct journal *j, uint64_t lsn, uint64_t step, uint32_t count,
                    const uint32_t *ids, const float *losses)
{
    struct report r = {.lsn = lsn, .step = step, .version = REPORT_VERSION, .count = count};
    unsigned char *at = j->bytes + j->size;

    assert(j->capacity - j->size >= report_bytes(count));
    memcpy(at, &r, sizeof r);
    memcpy(at + sizeof r, ids, count * sizeof *ids);
    memcpy(at + sizeof r + count * sizeof *ids, losses, count * sizeof *losses);
    j->size += report_bytes(count);
    for (uint32_t i = 0; i < count; i++)
        note_need(j, ids[i], lsn);
}

void journal_need_all(struct journal *j)
{
    for (uint32_t i = 0; i < j->chunk_count; i++)
        j->needs[i] = 1;
}

bool journal_is_behind(const struct journal *j)
{
    for (uint32_t i = 0; i < j->chunk_count; i++)
        if (j->needs[i] != 0)
            return true;
    return false;
}

/* Reports that go into one row: from `begin`, at least one. @return where the next row begins. */
static size_t segment_end(const struct journal *j, size_t begin, uint64_t *out_lsn)
{
    size_t end = begin;

    while (end < j->size) {
        struct report r;

        memcpy(&r, j->bytes + end, sizeof r);
        if (end > begin && end + report_bytes(r.count) - begin > JOURNAL_SEGMENT_BYTES)
            break;
        *out_lsn = r.lsn;
        end += report_bytes(r.count);
    }
    return end;
}

static void capture_reports(struct journal *j, uint32_t job, struct rows *out)
{
    for (size_t begin = 0, end = 0; begin < j->size; begin = end) {
        uint64_t lsn = 0;
        void *row;

        end = segment_end(j, begin, &lsn);
        row = rows_put(out, (struct rows_key){ROWS_JOURNAL, job, lsn}, end - begin);
        if (row != NULL)
            memcpy(row, j->bytes + begin, end - begin);
    }
    j->size = 0;
}

/* ---- chunks ------------------------------------------------------------------------------------
 */

/* Twice the bytes of the reports, so that the chunks keep up with them. */
static uint32_t chunk_budget(const struct journal *j)
{
    size_t wanted = 2 * j->size / (JOURNAL_CHUNK_IDS * sizeof(struct hardness_entry));

    if (wanted < JOURNAL_CHUNKS_MIN)
        return JOURNAL_CHUNKS_MIN;
    return wanted < JOURNAL_CHUNKS_MAX ? (uint32_t)wanted : JOURNAL_CHUNKS_MAX;
}

static size_t chunk_bytes(uint32_t count)
{
    return sizeof(struct chunk_row) + count * sizeof(struct hardness_entry);
}

static void capture_chunk(struct journal *j, uint32_t job, uint32_t chunk, uint64_t lsn,
                          const struct hardness *h, struct rows *out)
{
    uint32_t first = chunk * JOURNAL_CHUNK_IDS, count = h->n - first;
    struct chunk_row *row;

    count = count < JOURNAL_CHUNK_IDS ? count : JOURNAL_CHUNK_IDS;
    row = rows_put(out, (struct rows_key){ROWS_CHUNK, job, chunk}, chunk_bytes(count));
    if (row == NULL)
        return;
    row->version = CHUNK_VERSION;
    row->count = count;
    row->lsn = lsn;
    memcpy(row->entries, h->entries + first, count * sizeof *row->entries);
    j->needs[chunk] = 0;
}

static void capture_chunks(struct journal *j, uint32_t job, uint32_t budget, uint64_t lsn,
                           const struct hardness *h, struct rows *out)
{
    for (uint32_t seen = 0; seen < j->chunk_count && budget > 0; seen++) {
        if (j->needs[j->next] != 0) {
            capture_chunk(j, job, j->next, lsn, h, out);
            budget--;
        }
        j->next = (j->next + 1) % j->chunk_count;
    }
}

/* No chunk needs a report up to this one. */
static uint64_t find_cut(const struct journal *j, uint64_t lsn)
{
    uint64_t least = lsn + 1;

    for (uint32_t i = 0; i < j->chunk_count; i++)
        if (j->needs[i] != 0 && j->needs[i] < least)
            least = j->needs[i];
    return least - 1;
}

size_t journal_capture_bytes(const struct journal *j)
{
    size_t segments = j->size / (JOURNAL_SEGMENT_BYTES / 2) + 2;

    return j->size + segments * ROWS_CHANGE_BYTES + ROWS_CHANGE_BYTES +
           chunk_budget(j) * (chunk_bytes(JOURNAL_CHUNK_IDS) + ROWS_CHANGE_BYTES);
}

void journal_capture(struct journal *j, uint32_t job, uint64_t lsn, const struct hardness *h,
                     struct rows *out)
{
    uint32_t budget = chunk_budget(j);
    uint64_t cut;

    capture_reports(j, job, out);
    capture_chunks(j, job, budget, lsn, h, out);
    cut = find_cut(j, lsn);
    if (cut > j->cut)
        rows_remove(out, ROWS_JOURNAL, job, 0, cut);
    j->cut = cut;
}

/* ---- recovery ----------------------------------------------------------------------------------
 */

int journal_restore_chunk(struct journal *j, uint64_t number, const void *value, size_t size,
                          struct hardness *h)
{
    const struct chunk_row *row = value;
    uint64_t first = number * JOURNAL_CHUNK_IDS;

    if (size < sizeof *row || row->version != CHUNK_VERSION || number >= j->chunk_count ||
        row->count > JOURNAL_CHUNK_IDS || size != chunk_bytes(row->count) ||
        first + row->count > h->n || !hardness_sound(row->entries, row->count))
        return -OHEM_STATE;
    memcpy(h->entries + first, row->entries, row->count * sizeof *row->entries);
    j->images[number] = row->lsn;
    return 0;
}

static int restore_report(struct journal *j, const struct report *r, struct hardness *h)
{
    const uint32_t *ids = (const uint32_t *)(r + 1);
    const void *behind = ids + r->count;
    const float *losses = behind;

    for (uint32_t i = 0; i < r->count; i++) {
        if (ids[i] >= h->n)
            return -OHEM_STATE;
        if (j->images[ids[i] / JOURNAL_CHUNK_IDS] >= r->lsn)
            continue;
        note_need(j, ids[i], r->lsn);
        if (isfinite(losses[i]))
            hardness_apply(h, ids[i], losses[i], r->step);
    }
    return 0;
}

int journal_restore_reports(struct journal *j, const void *value, size_t size, struct hardness *h)
{
    const unsigned char *bytes = value;
    int rc = size > 0 ? 0 : -OHEM_STATE;

    for (size_t at = 0; at < size && rc == 0;) {
        const struct report *r = (const void *)(bytes + at);

        if (size - at < sizeof *r || r->version != REPORT_VERSION ||
            size - at < report_bytes(r->count))
            return -OHEM_STATE;
        rc = restore_report(j, r, h);
        at += report_bytes(r->count);
    }
    return rc;
}

/* Rounds that began anew with each life would never reach the last chunks of a daemon that is
 * killed again and again, and the reports that those need would become more and more. */
void journal_resume(struct journal *j)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < j->chunk_count; i++)
        if (j->needs[i] != 0 && j->images[i] < oldest) {
            oldest = j->images[i];
            j->next = i;
        }
}
