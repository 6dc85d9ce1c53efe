/* buffer.h - bytes that grow up to READER_RECORD_BYTES_MAX, for bodies whose size nobody can trust.
 */
#ifndef IMPORT_BUFFER_H
#define IMPORT_BUFFER_H

#include <stddef.h>

/* All zero is empty. */
struct buffer {
    unsigned char *data;
    size_t size, capacity;
};

/** Make room for `more` bytes behind the end. @return 0, -OHEM_TOO_LARGE or -OHEM_NOMEM. */
int buffer_reserve(struct buffer *b, size_t more);

/** @return as buffer_reserve(). */
int buffer_append(struct buffer *b, const void *data, size_t size);

void buffer_deinit(struct buffer *b);

#endif
