/* layout.h - how each message lies on the wire: its header's fields and its vectors, as a table.
 *
 * For codec.c alone, which encodes and decodes by it, so the two cannot disagree. Knows no msgpack.
 */
#ifndef OHEM_LAYOUT_H
#define OHEM_LAYOUT_H

#include "message.h"
#include "reason.h"

#define LAYOUT_NO_COUNT SIZE_MAX

/* Integers are told apart by the width of the struct's member; on the wire they are one. */
enum layout_kind {
    FIELD_U32,
    FIELD_U64,
    FIELD_SIZE,
    FIELD_F32,
    FIELD_F64,
    FIELD_TEXT,
    FIELD_KEY,
    FIELD_TOKEN
};

/* A value in the header. */
struct layout_field {
    const char *name;
    enum layout_kind kind;
    size_t offset;     /* in struct message */
    uint64_t min, max; /* of an integer; max: bytes of a text */
    const char *limit; /* max's name in message.h; NULL: it is no more than the type's range */
};

/* A vector, in a frame of its own. */
struct layout_column {
    const char *name;
    size_t offset; /* of its struct vector in struct message */
    size_t element_bytes;
    size_t count_field; /* index of the field that says how many elements, or LAYOUT_NO_COUNT */
    size_t count_extra; /* and so many more */
    size_t bytes_max;
    const char *limit; /* the name of bytes_max */
};

struct layout {
    const struct layout_field *fields; /* in the order of the wire, behind the type */
    const struct layout_column *columns;
    size_t field_count, column_count;
    size_t optional_count; /* of the last columns; they may be missing when they are empty */
    /** What the table cannot say, once all is read; NULL: nothing. @return 0,
     *  -OHEM_MALFORMED or -OHEM_TOO_LARGE */
    int (*check)(const struct message *m, struct reason *why);
    enum message_type type;
    bool versioned; /* its first fields are major and minor, in every version of the protocol */
};

/** The layout of a message type, or NULL when there is none. */
const struct layout *layout_find(uint64_t type);

/** An integer field's value, whatever its width. */
uint64_t layout_load(const struct layout_field *f, const struct message *m);
void layout_store(const struct layout_field *f, struct message *m, uint64_t value);

#endif
