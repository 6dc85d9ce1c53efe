/* buffer.c - bytes that grow up to a limit; see buffer.h. */
#include "buffer.h"

#include "reader.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 65536u

int buffer_reserve(struct buffer *b, size_t more)
{
    size_t capacity = b->capacity < CAPACITY_MIN ? CAPACITY_MIN : b->capacity;
    unsigned char *data;

    if (more > READER_RECORD_BYTES_MAX - b->size)
        return -OHEM_TOO_LARGE;
    while (capacity < b->size + more)
        capacity *= 2;
    if (capacity == b->capacity)
        return 0;
    data = realloc(b->data, capacity);
    if (data == NULL)
        return -OHEM_NOMEM;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *b, const void *data, size_t size)
{
    int rc = buffer_reserve(b, size);

    if (rc != 0)
        return rc;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return 0;
}

void buffer_deinit(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}
