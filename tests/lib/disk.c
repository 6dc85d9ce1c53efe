/* disk.c - rows in an array; see disk.h. Without memory it aborts: a test cannot go on. */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare(const struct rows_key *a, const struct rows_key *b)
{
    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->job != b->job)
        return a->job < b->job ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* The first row that is not before the key. */
static size_t find(const struct disk *d, const struct rows_key *key)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(&d->rows[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_rows(struct disk *d, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        free(d->rows[i].value);
    if (end > begin)
        memmove(&d->rows[begin], &d->rows[end], (d->count - end) * sizeof d->rows[0]);
    d->count -= end - begin;
}

static void remove_range(struct disk *d, const struct rows_change *c)
{
    struct rows_key last = c->key;
    size_t begin = find(d, &c->key), end;

    last.number = c->last;
    end = find(d, &last);
    end += end < d->count && compare(&d->rows[end].key, &last) == 0;
    remove_rows(d, begin, end > begin ? end : begin);
}

static struct disk_row *insert(struct disk *d, const struct rows_key *key)
{
    size_t at = find(d, key);

    if (at < d->count && compare(&d->rows[at].key, key) == 0)
        return &d->rows[at];
    if (d->count == d->capacity) {
        d->capacity = 2 * d->capacity + 64;
        d->rows = realloc(d->rows, d->capacity * sizeof d->rows[0]);
        assert(d->rows != NULL);
    }
    memmove(&d->rows[at + 1], &d->rows[at], (d->count - at) * sizeof d->rows[0]);
    d->count++;
    d->rows[at] = (struct disk_row){.key = *key};
    return &d->rows[at];
}

static void put(struct disk *d, const struct rows_change *c)
{
    struct disk_row *row = insert(d, &c->key);

    free(row->value);
    row->value = malloc(c->size > 0 ? c->size : 1); /* exact: what reads beyond it is found out */
    assert(row->value != NULL);
    memcpy(row->value, c->value, c->size);
    row->size = c->size;
}

void disk_write(struct disk *d, const struct rows *changes)
{
    struct rows_change c;
    size_t at = 0;

    assert(!changes->failed);
    while (rows_next(changes, &at, &c))
        if (c.value != NULL)
            put(d, &c);
        else
            remove_range(d, &c);
}

int disk_restore(const struct disk *d, struct engine *e, struct reason *why)
{
    int rc = 0;

    for (size_t i = 0; i < d->count && rc == 0; i++)
        if (d->rows[i].key.table != ROWS_AUDIT)
            rc = engine_restore_row(e, &d->rows[i].key, d->rows[i].value, d->rows[i].size, why);
    return rc;
}

void disk_deinit(struct disk *d)
{
    remove_rows(d, 0, d->count);
    free(d->rows);
    *d = (struct disk){0};
}
