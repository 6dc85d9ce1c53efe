/* steps.c - what became of every step's batch; see steps.h.
 *
 * A ring of blocks by number. Only blocks in which something was drawn or reported have memory, so
 * that a jump in the steps (after a restart) costs nothing. What is skipped is not over: an earlier
 * life may have handed out steps there and died before it saved anything of them.
 */
#include "steps.h"

#include "../../proto/error.h"

#include <stdlib.h>
#include <string.h>

/* On disk. To change it: raise the version, read both, write the new one. */
#define ROW_VERSION 1

struct row {
    uint64_t version;
    uint64_t fates[STEPS_BLOCK];
};

#define HEAD_NUMBER UINT64_MAX /* behind all blocks */

struct head {
    uint64_t version;
    uint64_t first; /* blocks before are closed: without it they would be open again */
};

int steps_init(struct steps *s)
{
    *s = (struct steps){.memory = malloc(STEPS_BLOCKS_MAX * sizeof *s->memory)};
    return s->memory != NULL ? 0 : -OHEM_NOMEM;
}

void steps_deinit(struct steps *s)
{
    free(s->memory);
    *s = (struct steps){0};
}

static struct steps_block **place_of(struct steps *s, uint64_t number)
{
    return &s->blocks[number % STEPS_BLOCKS_MAX];
}

static void drop_first(struct steps *s)
{
    struct steps_block **place = place_of(s, s->first++);

    if (*place == NULL)
        return;
    (*place)->next = s->free;
    s->free = *place;
    *place = NULL;
}

/* Let the ring reach so far. */
static void reach(struct steps *s, uint64_t number)
{
    if (number < s->end)
        return;
    if (number > s->end)
        s->gap_ms = s->now_ms;
    s->end = number + 1;
    if (s->end - s->first > 2 * STEPS_BLOCKS_MAX) { /* a jump over more than there is */
        for (uint64_t i = 0; i < STEPS_BLOCKS_MAX; i++)
            drop_first(s);
        s->first = s->end - STEPS_BLOCKS_MAX;
    }
    while (s->end - s->first > STEPS_BLOCKS_MAX)
        drop_first(s);
}

static struct steps_block *find(const struct steps *s, uint64_t number)
{
    struct steps_block *b = s->blocks[number % STEPS_BLOCKS_MAX];

    return number >= s->first && number < s->end ? b : NULL;
}

/* There are as many as places. */
static struct steps_block *take_memory(struct steps *s)
{
    struct steps_block *b = s->free;

    if (b == NULL)
        return &s->memory[s->used++];
    s->free = b->next;
    return b;
}

static struct steps_block *take(struct steps *s, uint64_t number)
{
    struct steps_block *b;

    reach(s, number);
    b = find(s, number);
    if (b != NULL)
        return b;
    b = take_memory(s);
    *b = (struct steps_block){.number = number, .drawn_ms = s->now_ms};
    *place_of(s, number) = b;
    return b;
}

bool steps_is_closed(const struct steps *s, uint64_t step)
{
    return step / STEPS_BLOCK < s->first;
}

void steps_draw(struct steps *s, uint64_t step, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (!steps_is_closed(s, step))
        take(s, step / STEPS_BLOCK)->drawn_ms = now_ms;
}

uint64_t steps_fate(const struct steps *s, uint64_t step)
{
    const struct steps_block *b = find(s, step / STEPS_BLOCK);

    return b != NULL ? b->fates[step % STEPS_BLOCK] : STEPS_OPEN;
}

void steps_set(struct steps *s, uint64_t step, uint64_t fate)
{
    struct steps_block *b;

    if (steps_is_closed(s, step))
        return; /* nobody asks any more */
    b = take(s, step / STEPS_BLOCK);
    b->fates[step % STEPS_BLOCK] = fate;
    b->dirty = s->dirty = true;
}

uint64_t steps_digest(uint64_t hash)
{
    return hash > STEPS_RELEASED ? hash : hash + 2;
}

/* The newest block stays. */
uint64_t steps_next_due(const struct steps *s, uint64_t keep_ms)
{
    const struct steps_block *b = find(s, s->first);

    if (s->first + 1 >= s->end)
        return UINT64_MAX;
    return (b != NULL ? b->drawn_ms : s->gap_ms) + keep_ms;
}

void steps_expire(struct steps *s, uint64_t now_ms, uint64_t keep_ms)
{
    s->now_ms = now_ms;
    while (s->first + 1 < s->end && steps_next_due(s, keep_ms) <= now_ms)
        drop_first(s);
    s->dirty |= s->first != s->saved_first;
}

size_t steps_capture_bytes(const struct steps *s)
{
    size_t count = 1;

    for (uint64_t i = s->first; s->dirty && i < s->end; i++) {
        const struct steps_block *b = find(s, i);

        count += b != NULL && b->dirty;
    }
    return count * (sizeof(struct row) + ROWS_CHANGE_BYTES) + sizeof(struct head) +
           ROWS_CHANGE_BYTES;
}

static void capture_first(struct steps *s, uint32_t job, struct rows *out)
{
    struct head *head;

    if (s->first == s->saved_first)
        return;
    rows_remove(out, ROWS_STEPS, job, 0, s->first - 1);
    head = rows_put(out, (struct rows_key){ROWS_STEPS, job, HEAD_NUMBER}, sizeof *head);
    if (head != NULL)
        *head = (struct head){.version = ROW_VERSION, .first = s->first};
    s->saved_first = s->first;
}

void steps_capture(struct steps *s, uint32_t job, struct rows *out)
{
    capture_first(s, job, out);
    for (uint64_t i = s->first; s->dirty && i < s->end; i++) {
        struct steps_block *b = find(s, i);
        struct row *row;

        if (b == NULL || !b->dirty)
            continue;
        row = rows_put(out, (struct rows_key){ROWS_STEPS, job, i}, sizeof *row);
        if (row == NULL)
            return;
        row->version = ROW_VERSION;
        memcpy(row->fates, b->fates, sizeof row->fates);
        b->dirty = false;
    }
    s->dirty = false;
}

static int restore_first(struct steps *s, const void *value, size_t size)
{
    const struct head *head = value;

    if (size != sizeof *head || head->version != ROW_VERSION || head->first < s->first)
        return -OHEM_STATE;
    if (head->first > s->end)
        reach(s, head->first - 1);
    while (s->first < head->first)
        drop_first(s);
    s->saved_first = s->first;
    return 0;
}

int steps_restore(struct steps *s, uint64_t number, const void *value, size_t size)
{
    const struct row *row = value;

    if (number == HEAD_NUMBER)
        return restore_first(s, value, size);
    if (size != sizeof *row || row->version != ROW_VERSION || number < s->first ||
        number > UINT64_MAX / STEPS_BLOCK)
        return -OHEM_STATE;
    memcpy(take(s, number)->fates, row->fates, sizeof row->fates);
    return 0;
}

void steps_resume(struct steps *s, uint64_t now_ms)
{
    s->now_ms = s->gap_ms = now_ms;
    for (size_t i = 0; i < STEPS_BLOCKS_MAX; i++)
        if (s->blocks[i] != NULL)
            s->blocks[i]->drawn_ms = now_ms;
}
