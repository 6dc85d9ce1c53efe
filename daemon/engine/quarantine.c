/* quarantine.c - who is a suspect; see quarantine.h. The cut is found in quarantine_cut.c. */
#include "quarantine.h"

#include "../../proto/error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SUSPECT  1u
#define PARDONED 2u
#define BITS     2u
#define PER_WORD (32 / BITS)

#define LEAVES_BELOW 0.8  /* of the cut */
#define LOOK_AFTER   16u  /* a look for each so large a part of the scored */
#define LOOK_MIN     256u /* losses, at least */

#define VERSION   1u
#define ROW_WORDS 512u                   /* 2 KB, which fit a page of the state with others */
#define ROW_IDS   (ROW_WORDS * PER_WORD) /* in one row */

struct row {
    uint64_t version;
    uint32_t words[ROW_WORDS]; /* those beyond the last id are 0 */
};

static size_t row_count(uint32_t n)
{
    return (n + (size_t)ROW_IDS - 1) / ROW_IDS;
}

static size_t dirty_words(uint32_t n)
{
    return (row_count(n) + 63) / 64;
}

int quarantine_init(struct quarantine *q, uint32_t n, const struct quarantine_policy *policy)
{
    *q = (struct quarantine){.policy = *policy, .n = n};
    if (!policy->on)
        return 0;
    q->marks = calloc(row_count(n), sizeof *q->marks * ROW_WORDS);
    q->dirty = calloc(dirty_words(n), sizeof *q->dirty);
    if (q->marks != NULL && q->dirty != NULL)
        return 0;
    quarantine_deinit(q);
    return -OHEM_NOMEM;
}

void quarantine_deinit(struct quarantine *q)
{
    free(q->marks);
    free(q->dirty);
    *q = (struct quarantine){0};
}

int quarantine_grow(struct quarantine *q, uint32_t n)
{
    struct quarantine larger;

    assert(n >= q->n);
    if (quarantine_init(&larger, n, &q->policy) != 0)
        return -OHEM_NOMEM;
    if (q->policy.on) {
        memcpy(larger.marks, q->marks, row_count(q->n) * sizeof *q->marks * ROW_WORDS);
        memcpy(larger.dirty, q->dirty, dirty_words(q->n) * sizeof *q->dirty);
        free(q->marks);
        free(q->dirty);
    }
    q->marks = larger.marks;
    q->dirty = larger.dirty;
    q->n = n;
    return 0;
}

void quarantine_set_policy(struct quarantine *q, const struct quarantine_policy *policy)
{
    bool on = q->policy.on;

    q->policy = *policy;
    q->policy.on = on;
}

/* ---- marks -------------------------------------------------------------------------------------
 */

static unsigned marks_of(const struct quarantine *q, uint32_t id)
{
    return q->marks[id / PER_WORD] >> (id % PER_WORD * BITS) & (SUSPECT | PARDONED);
}

bool quarantine_is_suspect(const struct quarantine *q, uint32_t id)
{
    return q->suspects > 0 && (marks_of(q, id) & SUSPECT) != 0;
}

bool quarantine_is_pardoned(const struct quarantine *q, uint32_t id)
{
    return q->pardons > 0 && (marks_of(q, id) & PARDONED) != 0;
}

/* Set or clear the marks given. */
static void mark(struct quarantine *q, uint32_t id, unsigned marks, bool on)
{
    uint32_t *word = &q->marks[id / PER_WORD];
    uint32_t bits = (uint32_t)marks << (id % PER_WORD * BITS);

    *word = on ? *word | bits : *word & ~bits;
    q->dirty[id / ROW_IDS / 64] |= UINT64_C(1) << (id / ROW_IDS % 64);
}

static void enter(struct quarantine *q, struct hardness *h, uint32_t id)
{
    mark(q, id, SUSPECT, true);
    q->suspects++;
    hardness_set_aside(h, id);
}

static void leave(struct quarantine *q, struct hardness *h, uint32_t id)
{
    mark(q, id, SUSPECT, false);
    q->suspects--;
    hardness_take_back(h, id);
}

void quarantine_pardon(struct quarantine *q, struct hardness *h, uint32_t id, bool pardoned)
{
    if (!q->policy.on || quarantine_is_pardoned(q, id) == pardoned)
        return;
    if (quarantine_is_suspect(q, id))
        leave(q, h, id);
    mark(q, id, PARDONED, pardoned);
    q->pardons += pardoned ? 1 : UINT32_MAX; /* or one less */
}

uint32_t quarantine_next(const struct quarantine *q, uint32_t from)
{
    for (uint32_t id = from; q->suspects > 0 && id < q->n; id++) {
        if (id % PER_WORD == 0 && q->marks[id / PER_WORD] == 0)
            id += PER_WORD - 1; /* none of the word's */
        else if ((marks_of(q, id) & SUSPECT) != 0)
            return id;
    }
    return UINT32_MAX;
}

/* ---- who is a suspect --------------------------------------------------------------------------
 */

static bool is_steady(const struct quarantine *q, const struct hardness_story *s)
{
    return !(q->policy.cv > 0) || sqrt((double)s->variance) <= q->policy.cv * (double)s->score;
}

static bool has_room(const struct quarantine *q, const struct hardness *h)
{
    return q->suspects + 1.0 <= q->policy.cap * hardness_scored(h);
}

static bool may_enter(const struct quarantine *q, const struct hardness *h, uint32_t id)
{
    struct hardness_story s;

    if (!(q->cut > 0) || !((double)h->entries[id].score > q->cut))
        return false;
    s = hardness_story(h, id);
    return s.visits >= q->policy.visits && is_steady(q, &s) && !quarantine_is_pardoned(q, id) &&
           has_room(q, h);
}

static bool may_leave(const struct quarantine *q, const struct hardness *h, uint32_t id)
{
    return !(q->cut > 0) || (double)h->entries[id].score < LEAVES_BELOW * q->cut;
}

static void look_for_cut(struct quarantine *q, const struct hardness *h)
{
    uint32_t counts[PARTITION_BUCKETS];
    unsigned bucket;

    q->unseen = 0;
    if (q->policy.share > 0) {
        q->cut = hardness_quantile(h, 1 - q->policy.share);
        return;
    }
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        counts[b] = hardness_members(h, b);
    bucket = quarantine_find_cut(counts, q->policy.cap, &q->explained);
    q->cut = bucket > 0 ? partition_bucket_floor(bucket) : 0;
}

uint32_t quarantine_see(struct quarantine *q, struct hardness *h, const uint32_t *ids,
                        uint32_t count, uint32_t *out_left)
{
    uint32_t entered = 0, left = 0;

    q->unseen += count;
    if (q->unseen >= LOOK_MIN && q->unseen >= hardness_scored(h) / LOOK_AFTER)
        look_for_cut(q, h);
    for (uint32_t i = 0; i < count; i++) {
        if (quarantine_is_suspect(q, ids[i])) {
            if (!may_leave(q, h, ids[i]))
                continue;
            leave(q, h, ids[i]);
            left++;
        } else if (may_enter(q, h, ids[i])) {
            enter(q, h, ids[i]);
            entered++;
        }
    }
    *out_left = left;
    return entered;
}

/* ---- rows --------------------------------------------------------------------------------------
 */

static bool is_dirty(const struct quarantine *q, size_t row)
{
    return (q->dirty[row / 64] >> row % 64 & 1) != 0;
}

size_t quarantine_capture_bytes(const struct quarantine *q)
{
    size_t rows = 0;

    for (size_t i = 0; q->policy.on && i < dirty_words(q->n); i++)
        rows += (size_t)__builtin_popcountll(q->dirty[i]);
    return rows * (sizeof(struct row) + ROWS_CHANGE_BYTES) + ROWS_CHANGE_BYTES;
}

static void capture_row(struct quarantine *q, uint32_t job, size_t number, struct rows *out)
{
    struct row *row = rows_put(out, (struct rows_key){ROWS_MARKS, job, number}, sizeof *row);

    if (row == NULL)
        return;
    row->version = VERSION;
    memcpy(row->words, q->marks + number * ROW_WORDS, sizeof row->words);
}

void quarantine_capture(struct quarantine *q, uint32_t job, struct rows *out)
{
    if (q->stray)
        rows_remove(out, ROWS_MARKS, job, 0, UINT64_MAX);
    q->stray = false;
    if (!q->policy.on)
        return;
    for (size_t number = 0; number < row_count(q->n); number++)
        if (is_dirty(q, number))
            capture_row(q, job, number, out);
    memset(q->dirty, 0, dirty_words(q->n) * sizeof *q->dirty);
}

int quarantine_restore(struct quarantine *q, uint64_t number, const void *value, size_t size)
{
    const struct row *row = value;
    uint32_t first = (uint32_t)number * ROW_IDS;

    if (size != sizeof *row || row->version != VERSION || number >= row_count(q->n))
        return -OHEM_STATE;
    if (!q->policy.on) {
        q->stray = true;
        return 0;
    }
    memcpy(q->marks + number * ROW_WORDS, row->words, sizeof row->words);
    for (uint32_t i = 0; i < ROW_IDS; i++) {
        unsigned marks = row->words[i / PER_WORD] >> (i % PER_WORD * BITS) & (SUSPECT | PARDONED);

        if (marks == 0)
            continue;
        if (i >= q->n - first || marks == (SUSPECT | PARDONED))
            return -OHEM_STATE;
        q->suspects += marks == SUSPECT;
        q->pardons += marks == PARDONED;
    }
    return 0;
}

int quarantine_resume(struct quarantine *q, struct hardness *h)
{
    for (uint32_t id = quarantine_next(q, 0); id != UINT32_MAX; id = quarantine_next(q, id + 1)) {
        if (h->entries[id].visits == 0)
            return -OHEM_STATE;
        hardness_set_aside(h, id);
    }
    return 0;
}
