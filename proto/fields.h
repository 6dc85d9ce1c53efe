/* fields.h - what a record consists of: `label = u8@0, image = u8[28,28]@1`.
 *
 * A list of fields, separated by commas. Each has a name, a type (u8 i8 u16 i16 u32 i32 u64 i64 f16
 * f32 f64; little-endian), perhaps a shape in brackets, and behind the @ the byte at which it
 * begins. Fields may overlap, and need not be in order. Blanks are allowed between all parts. Pure:
 * text in, structs out. The daemon checks what an operator wrote, the client hands out views.
 */
#ifndef OHEM_FIELDS_H
#define OHEM_FIELDS_H

#include "reason.h"

#include <stddef.h>
#include <stdint.h>

#define FIELDS_MAX            16
#define FIELDS_NAME_BYTES_MAX 32
#define FIELDS_DIMS_MAX       8

/* One field. Laid out as struct ohem_field of ohem.h is (batch.c asserts it). */
struct field {
    char name[FIELDS_NAME_BYTES_MAX + 1]; /* [A-Za-z_][A-Za-z0-9_]* */
    char type[4];                         /* "u8", "f32" */
    uint32_t item_bytes;                  /* of one element: 1, 2, 4 or 8 */
    uint32_t dims;                        /* 0: a single element */
    uint64_t shape[FIELDS_DIMS_MAX];
    uint64_t offset; /* in the record */
    uint64_t bytes;  /* item_bytes times the shape */
};

struct fields {
    struct field list[FIELDS_MAX];
    size_t count;
};

/**
 * Read a list; "" is none.
 * @param record_bytes  of every record; 0 if they differ: then ends are not checked
 * @return 0, or -OHEM_INVALID with the reason, which names the field, what is wrong and the limit
 */
int fields_parse(const char *text, uint64_t record_bytes, struct fields *out, struct reason *why);

/** The field of that name, or NULL. */
const struct field *fields_find(const struct fields *f, const char *name);

#endif
