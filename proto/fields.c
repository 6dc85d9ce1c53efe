/* fields.c - what a record consists of; see fields.h.
 *
 * A reader walks over the text once. No number gets beyond BYTES_MAX, so the product of two, and
 * their sum, fit in 64 bits. A refusal shows what it found as printable ASCII: the text may come
 * from a peer, and the line goes to a log.
 */
#include "fields.h"

#include "error.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define BYTES_MAX (UINT64_C(1) << 30) /* of a field, and where it begins: no record is larger */
#define SHOWN_MAX 40                  /* characters of a text in a refusal */

/* X(name, bytes of an element) */
#define FIELD_TYPES(X) \
    X(u8, 1) \
    X(i8, 1) \
    X(u16, 2) \
    X(i16, 2) \
    X(u32, 4) \
    X(i32, 4) \
    X(u64, 8) \
    X(i64, 8) \
    X(f16, 2) \
    X(f32, 4) \
    X(f64, 8)

static const struct {
    const char *name;
    uint32_t bytes;
} types[] = {
#define TYPE_ROW(name, bytes) {#name, bytes},
    FIELD_TYPES(TYPE_ROW)
#undef TYPE_ROW
};

#define TYPE_WORD(name, bytes) " " #name
#define TYPE_NAMES             FIELD_TYPES(TYPE_WORD)

/* Where we are in the text, and the field that is being read. */
struct reader {
    const char *at;
    struct field f;
    struct reason *why;
};

struct shown {
    char text[SHOWN_MAX + 1];
};

/* The beginning of a text, safe to print. */
static struct shown show(const char *text, size_t size)
{
    struct shown s = {""};

    for (size_t i = 0; i < size && i < SHOWN_MAX && text[i] != '\0'; i++)
        s.text[i] = '?';
    for (size_t i = 0; s.text[i] != '\0'; i++)
        if (text[i] >= ' ' && text[i] <= '~')
            s.text[i] = text[i];
    return s;
}

static void skip_blanks(struct reader *r)
{
    r->at += strspn(r->at, " \t");
}

/* The character, behind blanks. @return whether it was there; then it is behind us. */
static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

static int refuse_here(const struct reader *r, const char *wanted)
{
    if (*r->at == '\0')
        reason_set(r->why, "field '%s': %s is wanted where the text ends", r->f.name, wanted);
    else
        reason_set(r->why, "field '%s': %s is wanted at '%s'", r->f.name, wanted,
                   show(r->at, SHOWN_MAX).text);
    return -OHEM_INVALID;
}

/* A number of at most BYTES_MAX. */
static int take_number(struct reader *r, const char *what, uint64_t *out)
{
    uint64_t value = 0;
    size_t digits;

    skip_blanks(r);
    digits = strspn(r->at, "0123456789");
    if (digits == 0)
        return refuse_here(r, what);
    for (size_t i = 0; i < digits; i++) {
        value = 10 * value + (uint64_t)(r->at[i] - '0');
        if (value > BYTES_MAX) {
            reason_set(r->why, "field '%s': %s of %s; at most %" PRIu64 " is allowed", r->f.name,
                       what, show(r->at, digits).text, BYTES_MAX);
            return -OHEM_INVALID;
        }
    }
    r->at += digits;
    *out = value;
    return 0;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_letter(text[i]) && (i == 0 || text[i] < '0' || text[i] > '9'))
            return false;
    return size > 0;
}

/* The name, if there are not too many of them and none is the same. */
static int take_name(struct reader *r, const struct fields *others)
{
    size_t size;

    skip_blanks(r);
    size = strcspn(r->at, " \t=[]@,");
    if (!is_name(r->at, size)) {
        reason_set(
            r->why,
            "field %zu: '%s' is no name; 1 to %d of A-Z a-z 0-9 _ are, without a digit first",
            others->count + 1, show(r->at, size).text, FIELDS_NAME_BYTES_MAX);
        return -OHEM_INVALID;
    }
    if (size > FIELDS_NAME_BYTES_MAX) {
        reason_set(r->why, "field '%s': a name of %zu bytes; at most %d are allowed",
                   show(r->at, size).text, size, FIELDS_NAME_BYTES_MAX);
        return -OHEM_INVALID;
    }
    memcpy(r->f.name, r->at, size);
    r->at += size;
    if (fields_find(others, r->f.name) != NULL) {
        reason_set(r->why, "field '%s' is given twice; a name is allowed once", r->f.name);
        return -OHEM_INVALID;
    }
    if (others->count == FIELDS_MAX) {
        reason_set(r->why, "field '%s' is number %zu; at most %d are allowed", r->f.name,
                   others->count + 1, FIELDS_MAX);
        return -OHEM_INVALID;
    }
    return 0;
}

static int take_type(struct reader *r)
{
    size_t size;

    skip_blanks(r);
    size = strcspn(r->at, " \t=[]@,");
    if (size == 0)
        return refuse_here(r, "a type, one of" TYPE_NAMES ",");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strlen(types[i].name) == size && memcmp(types[i].name, r->at, size) == 0) {
            memcpy(r->f.type, types[i].name, size);
            r->f.item_bytes = types[i].bytes;
            r->f.bytes = types[i].bytes;
            r->at += size;
            return 0;
        }
    reason_set(r->why, "field '%s': unknown type '%s'; allowed are" TYPE_NAMES, r->f.name,
               show(r->at, size).text);
    return -OHEM_INVALID;
}

static int take_dimension(struct reader *r)
{
    struct field *f = &r->f;
    uint64_t size = 0;
    int rc;

    if (f->dims == FIELDS_DIMS_MAX) {
        reason_set(r->why, "field '%s': over %d dimensions, with one more at '%s'; %d are allowed",
                   f->name, FIELDS_DIMS_MAX, show(r->at, SHOWN_MAX).text, FIELDS_DIMS_MAX);
        return -OHEM_INVALID;
    }
    rc = take_number(r, "a dimension", &size);
    if (rc != 0)
        return rc;
    if (size == 0) {
        reason_set(r->why, "field '%s': dimension %" PRIu32 " is 0; at least 1 is allowed", f->name,
                   f->dims + 1);
        return -OHEM_INVALID;
    }
    if (f->bytes * size > BYTES_MAX) {
        reason_set(r->why,
                   "field '%s': dimension %" PRIu32 " of %" PRIu64 " makes it %" PRIu64
                   " bytes; at most %" PRIu64 " are allowed",
                   f->name, f->dims + 1, size, f->bytes * size, BYTES_MAX);
        return -OHEM_INVALID;
    }
    f->shape[f->dims++] = size;
    f->bytes *= size;
    return 0;
}

/* [28,28], or nothing. */
static int take_shape(struct reader *r)
{
    int rc;

    if (!take(r, '['))
        return 0;
    do
        rc = take_dimension(r);
    while (rc == 0 && take(r, ','));
    if (rc == 0 && !take(r, ']'))
        rc = refuse_here(r, "',' or ']'");
    return rc;
}

static int check_end(const struct reader *r, uint64_t record_bytes)
{
    uint64_t end = r->f.offset + r->f.bytes;

    if (record_bytes == 0 || end <= record_bytes)
        return 0;
    reason_set(r->why,
               "field '%s' ends at byte %" PRIu64 " (%" PRIu64 " bytes from %" PRIu64
               "); a record has %" PRIu64,
               r->f.name, end, r->f.bytes, r->f.offset, record_bytes);
    return -OHEM_INVALID;
}

/* NAME = TYPE[SHAPE]@BYTE */
static int take_field(struct reader *r, const struct fields *others)
{
    int rc;

    memset(&r->f, 0, sizeof r->f);
    rc = take_name(r, others);
    if (rc == 0 && !take(r, '='))
        rc = refuse_here(r, "'='");
    if (rc == 0)
        rc = take_type(r);
    if (rc == 0)
        rc = take_shape(r);
    if (rc == 0 && !take(r, '@'))
        rc = refuse_here(r, "'@' with the byte at which it begins");
    return rc == 0 ? take_number(r, "an offset", &r->f.offset) : rc;
}

int fields_parse(const char *text, uint64_t record_bytes, struct fields *out, struct reason *why)
{
    struct reader r = {.at = text, .why = why};
    struct fields fields = {.count = 0};
    int rc;

    skip_blanks(&r);
    if (*r.at != '\0') {
        do {
            rc = take_field(&r, &fields);
            if (rc == 0)
                rc = check_end(&r, record_bytes);
            if (rc != 0)
                return rc;
            fields.list[fields.count++] = r.f;
        } while (take(&r, ','));
        if (*r.at != '\0')
            return refuse_here(&r, "',' or the end");
    }
    *out = fields;
    return 0;
}

const struct field *fields_find(const struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->list[i].name, name) == 0)
            return &f->list[i];
    return NULL;
}
