/* map.h - from a 64-bit number to a pointer: a small open-addressing table.
 *
 * For sessions by key and leases by step. A key stands in it once.
 */
#ifndef OHEM_MAP_H
#define OHEM_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_cell {
    uint64_t key;
    void *value; /* NULL: empty */
};

struct map {
    struct map_cell *cells;
    size_t capacity; /* a power of two */
    size_t count;
};

/** Room for so many keys before it is full. @return 0 or -OHEM_NOMEM. */
int map_init(struct map *m, size_t count_max);
void map_deinit(struct map *m);

/** Make room for at least so many keys. @return 0 or -OHEM_NOMEM, the map unchanged. */
int map_reserve(struct map *m, size_t count_max);

/** Put a value under a key that is not in it. Room was reserved (asserted). */
void map_put(struct map *m, uint64_t key, void *value);

/** The value under the key, or NULL. */
void *map_get(const struct map *m, uint64_t key);

/** Take the key out; nothing happens if it is not in it. */
void map_remove(struct map *m, uint64_t key);

#endif
