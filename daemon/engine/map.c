/* map.c - linear probing with a multiplicative hash, deletion by shifting back; see map.h. */
#include "map.h"

#include "../../proto/error.h"
#include "rng.h"

#include <assert.h>
#include <stdlib.h>

/* Cells for so many keys at a load of one half. */
static size_t capacity_for(size_t count_max)
{
    size_t capacity = 8;

    while (capacity < 2 * count_max)
        capacity *= 2;
    return capacity;
}

int map_init(struct map *m, size_t count_max)
{
    size_t capacity = capacity_for(count_max);
    struct map_cell *cells = calloc(capacity, sizeof *cells);

    if (cells == NULL)
        return -OHEM_NOMEM;
    *m = (struct map){.cells = cells, .capacity = capacity};
    return 0;
}

void map_deinit(struct map *m)
{
    free(m->cells);
    *m = (struct map){0};
}

static size_t home(const struct map *m, uint64_t key)
{
    return (size_t)rng_mix(key) & (m->capacity - 1);
}

/* The key's cell, or the empty one where it would go. */
static size_t find(const struct map *m, uint64_t key)
{
    size_t i = home(m, key);

    while (m->cells[i].value != NULL && m->cells[i].key != key)
        i = (i + 1) & (m->capacity - 1);
    return i;
}

int map_reserve(struct map *m, size_t count_max)
{
    struct map bigger;
    int rc;

    if (capacity_for(count_max) <= m->capacity)
        return 0;
    rc = map_init(&bigger, count_max);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->cells[i].value != NULL)
            map_put(&bigger, m->cells[i].key, m->cells[i].value);
    map_deinit(m);
    *m = bigger;
    return 0;
}

void map_put(struct map *m, uint64_t key, void *value)
{
    size_t i = find(m, key);

    assert(value != NULL && m->cells[i].value == NULL && 2 * m->count < m->capacity);
    m->cells[i] = (struct map_cell){.key = key, .value = value};
    m->count++;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->cells[find(m, key)].value;
}

void map_remove(struct map *m, uint64_t key)
{
    size_t hole = find(m, key), mask = m->capacity - 1;

    if (m->cells[hole].value == NULL)
        return;
    /* whoever would not be found past the hole moves into it */
    for (size_t i = (hole + 1) & mask; m->cells[i].value != NULL; i = (i + 1) & mask) {
        size_t from_home = (i - home(m, m->cells[i].key)) & mask;

        if (from_home >= ((i - hole) & mask)) {
            m->cells[hole] = m->cells[i];
            hole = i;
        }
    }
    m->cells[hole].value = NULL;
    m->count--;
}
