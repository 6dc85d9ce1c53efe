/* damage.h - what a damaged disk may give back, for those who read rows. */
#ifndef DAMAGE_H
#define DAMAGE_H

#include <stddef.h>

/* Reads a row: 0 or a negative code, as the function that it calls. */
typedef int damage_read_fn(void *ctx, const void *value, size_t size);

/**
 * Refused with -OHEM_STATE: each shorter row, one that is longer, and each other version (the u32
 * in front). What is read stands at the end of its memory, so that a sanitizer sees a look beyond.
 */
void damage_refused(damage_read_fn *read, void *ctx, const void *value, size_t size);

/** The same row with other bytes at an offset. @return what reading it says */
int damage_read(damage_read_fn *read, void *ctx, const void *value, size_t size, size_t offset,
                const void *bytes, size_t count);

#endif
