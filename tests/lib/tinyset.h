/* tinyset.h - a tiny LMDB data set whose every byte is known.
 *
 * Written through lmdb directly, not by ohem-import: what reads it is what is under test. Keys are
 * decimal with leading zeros, so that an instance's id is the number that it was made from.
 */
#ifndef TINYSET_H
#define TINYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tinyset {
    uint64_t count;
    size_t size_min, size_max; /* bytes of a record; equal: all have one size */
};

/** Write it as an LMDB folder; a test that cannot have it fails. */
void tinyset_make(const struct tinyset *set, const char *path);

/** Give the folder, in which the first `had` records are, the others, too. */
void tinyset_grow(const struct tinyset *set, const char *path, uint64_t had);

/** Bytes of a record: from size_min to size_max and again from the start. */
size_t tinyset_size(const struct tinyset *set, uint64_t id);

/** Is this the record, to the last byte? */
bool tinyset_is(const struct tinyset *set, uint64_t id, const void *data, size_t size);

#endif
