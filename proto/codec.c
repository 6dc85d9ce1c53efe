/* codec.c - messages to frames and back, by the layouts.
 *
 * msgpack-c sees only headers that scan_header() passed; what it makes of those fits the zone's
 * first chunk, so decoding allocates nothing. Knows no message by name: the tables are layout.c's.
 */
#include "codec.h"

#include "error.h"
#include "layout.h"
#include "scan.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>

#define ZONE_BYTES 8192 /* more than MESSAGE_FIELDS_MAX objects need */

struct codec {
    msgpack_zone zone;
};

/* ---- encode -------------------------------------------------------------------------------- */

static int append_cb(void *data, const char *bytes, size_t size)
{
    struct frames *out = data;
    struct frame *header = &out->list[0];

    assert(header->size + size <= sizeof out->header);
    memcpy(out->header + header->size, bytes, size);
    header->size += size;
    return 0;
}

static void put_token(msgpack_packer *pk, struct token t)
{
    (void)msgpack_pack_bin_with_body(pk, &t, sizeof t); /* step, tag: as on the wire */
}

/* A text with a byte that a reader would refuse is cut before it: it came from elsewhere (a file's
 * name, a text cut in mid-character) and must not cost the message. */
static void put_text(msgpack_packer *pk, const struct layout_field *f, const char *text)
{
    size_t size = strnlen(text, (size_t)f->max + 1);

    assert(size <= f->max);
    (void)msgpack_pack_str_with_body(pk, text, scan_text(text, size));
}

static void put_field(msgpack_packer *pk, const struct layout_field *f, const struct message *m)
{
    const void *at = (const char *)m + f->offset;
    uint64_t value;

    switch (f->kind) {
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_SIZE:
        value = layout_load(f, m);
        assert(value >= f->min && value <= f->max);
        (void)msgpack_pack_uint64(pk, value);
        break;
    case FIELD_F32:
        (void)msgpack_pack_float(pk, *(const float *)at);
        break;
    case FIELD_F64:
        (void)msgpack_pack_double(pk, *(const double *)at);
        break;
    case FIELD_TEXT:
        put_text(pk, f, at);
        break;
    case FIELD_KEY:
        (void)msgpack_pack_bin_with_body(pk, at, sizeof(struct session_key));
        break;
    case FIELD_TOKEN:
        put_token(pk, *(const struct token *)at);
        break;
    }
}

static struct frame column_frame(const struct layout *l, const struct layout_column *c,
                                 const struct message *m)
{
    const struct vector *v = (const void *)((const char *)m + c->offset);
    struct frame f = {.data = v->data, .size = v->count * c->element_bytes};

    assert(v->count <= c->bytes_max && f.size <= c->bytes_max);
    assert(c->count_field == LAYOUT_NO_COUNT ||
           v->count == layout_load(&l->fields[c->count_field], m) + c->count_extra);
    return f;
}

void codec_encode(const struct message *m, struct frames *out)
{
    const struct layout *l = layout_find(m->type);
    msgpack_packer pk;

    assert(l != NULL);
    out->list[0] = (struct frame){.data = out->header, .size = 0};
    out->count = 1 + l->column_count;
    msgpack_packer_init(&pk, out, append_cb);
    (void)msgpack_pack_array(&pk, 1 + l->field_count);
    (void)msgpack_pack_uint64(&pk, m->type);
    for (size_t i = 0; i < l->field_count; i++)
        put_field(&pk, &l->fields[i], m);
    for (size_t i = 0; i < l->column_count; i++)
        out->list[1 + i] = column_frame(l, &l->columns[i], m);
    for (size_t i = 0; i < l->optional_count && out->list[out->count - 1].size == 0; i++)
        out->count--;
}

/* ---- decode -------------------------------------------------------------------------------- */

struct words {
    char text[48];
};

/* A value in words, for the reason. */
static struct words describe(const msgpack_object *o)
{
    struct words w;

    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        (void)snprintf(w.text, sizeof w.text, "%" PRIu64, o->via.u64);
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        (void)snprintf(w.text, sizeof w.text, "%" PRId64, o->via.i64);
    else if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
        (void)snprintf(w.text, sizeof w.text, "the float %g", o->via.f64);
    else if (o->type == MSGPACK_OBJECT_STR)
        (void)snprintf(w.text, sizeof w.text, "a string of %" PRIu32 " bytes", o->via.str.size);
    else if (o->type == MSGPACK_OBJECT_BIN)
        (void)snprintf(w.text, sizeof w.text, "binary of %" PRIu32 " bytes", o->via.bin.size);
    else
        (void)snprintf(w.text, sizeof w.text, "%s",
                       o->type == MSGPACK_OBJECT_NIL ? "nil" : "a boolean");
    return w;
}

static int get_integer(const struct layout_field *f, const char *who, const msgpack_object *o,
                       struct message *out, struct reason *why)
{
    bool is_positive = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER;

    if (is_positive && o->via.u64 >= f->min && o->via.u64 <= f->max) {
        layout_store(f, out, o->via.u64);
        return 0;
    }
    reason_set(why, "%s: %s is %s; an integer of %" PRIu64 "..%" PRIu64 "%s%s%s is wanted", who,
               f->name, describe(o).text, f->min, f->max, f->limit != NULL ? " (" : "",
               f->limit != NULL ? f->limit : "", f->limit != NULL ? ")" : "");
    return is_positive && o->via.u64 > f->max && f->limit != NULL ? -OHEM_TOO_LARGE
                                                                  : -OHEM_MALFORMED;
}

static bool is_float(const msgpack_object *o)
{
    return o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64;
}

static int get_float(const struct layout_field *f, const char *who, const msgpack_object *o,
                     struct message *out, struct reason *why)
{
    float value;

    if (!is_float(o) || (isfinite(o->via.f64) && fabs(o->via.f64) > (double)FLT_MAX)) {
        reason_set(why, "%s: %s is %s; a float32 is wanted", who, f->name, describe(o).text);
        return -OHEM_MALFORMED;
    }
    value = (float)o->via.f64;
    memcpy((char *)out + f->offset, &value, sizeof value);
    return 0;
}

static int get_double(const struct layout_field *f, const char *who, const msgpack_object *o,
                      struct message *out, struct reason *why)
{
    if (!is_float(o)) {
        reason_set(why, "%s: %s is %s; a float64 is wanted", who, f->name, describe(o).text);
        return -OHEM_MALFORMED;
    }
    memcpy((char *)out + f->offset, &o->via.f64, sizeof o->via.f64);
    return 0;
}

static int get_text(const struct layout_field *f, const char *who, const msgpack_object *o,
                    struct message *out, struct reason *why)
{
    char *at = (char *)out + f->offset;
    size_t clean;

    if (o->type != MSGPACK_OBJECT_STR) {
        reason_set(why, "%s: %s is %s; a string is wanted", who, f->name, describe(o).text);
        return -OHEM_MALFORMED;
    }
    if (o->via.str.size > f->max) {
        reason_set(why, "%s: %s has %" PRIu32 " bytes; at most %" PRIu64 " (%s) are allowed", who,
                   f->name, o->via.str.size, f->max, f->limit);
        return -OHEM_TOO_LARGE;
    }
    clean = scan_text(o->via.str.ptr, o->via.str.size);
    if (clean != o->via.str.size) {
        reason_set(why,
                   "%s: %s has the byte 0x%02x at %zu; UTF-8 without control characters is "
                   "allowed",
                   who, f->name, (unsigned char)o->via.str.ptr[clean], clean);
        return -OHEM_MALFORMED;
    }
    if (clean > 0) /* msgpack-c lends no pointer for an empty string */
        memcpy(at, o->via.str.ptr, clean);
    at[clean] = '\0';
    return 0;
}

/* A key or a token: both are 16 bytes, and in memory as on the wire. */
static int get_binary(const struct layout_field *f, const char *who, const msgpack_object *o,
                      struct message *out, struct reason *why)
{
    enum { BYTES = 16 };

    _Static_assert(sizeof(struct session_key) == BYTES, "a key is 16 bytes");
    _Static_assert(sizeof(struct token) == BYTES, "a token is 16 bytes");
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != BYTES) {
        reason_set(why, "%s: %s is %s; binary of %d bytes is wanted", who, f->name,
                   describe(o).text, BYTES);
        return -OHEM_MALFORMED;
    }
    memcpy((char *)out + f->offset, o->via.bin.ptr, BYTES);
    return 0;
}

static int get_field(const struct layout_field *f, const char *who, const msgpack_object *o,
                     struct message *out, struct reason *why)
{
    switch (f->kind) {
    case FIELD_F32:
        return get_float(f, who, o, out, why);
    case FIELD_F64:
        return get_double(f, who, o, out, why);
    case FIELD_TEXT:
        return get_text(f, who, o, out, why);
    case FIELD_KEY:
    case FIELD_TOKEN:
        return get_binary(f, who, o, out, why);
    default:
        return get_integer(f, who, o, out, why);
    }
}

/* Its first two fields are the same in every version, so that both sides can say what they speak.
 */
static int check_version(const struct layout *l, const char *who, const struct message *m,
                         struct reason *why)
{
    uint64_t major = layout_load(&l->fields[0], m);

    if (major == PROTO_MAJOR)
        return 0;
    reason_set(why, "%s: the peer speaks version %" PRIu64 ".%" PRIu64 " of the protocol, we %d.%d",
               who, major, layout_load(&l->fields[1], m), PROTO_MAJOR, PROTO_MINOR);
    return -OHEM_VERSION;
}

static int get_fields(const struct layout *l, const char *who, msgpack_object_array values,
                      struct message *out, struct reason *why)
{
    int rc = 0;

    for (size_t i = 0; i < l->field_count && rc == 0; i++) {
        if (1 + i >= values.size) {
            reason_set(why, "%s: %s is missing (%" PRIu32 " fields, %zu are needed)", who,
                       l->fields[i].name, values.size, 1 + l->field_count);
            return -OHEM_MALFORMED;
        }
        rc = get_field(&l->fields[i], who, &values.ptr[1 + i], out, why);
        if (rc == 0 && l->versioned && i == 1)
            rc = check_version(l, who, out, why);
    }
    return rc;
}

static int get_column(const struct layout *l, const struct layout_column *c, const char *who,
                      struct frame f, struct message *out, struct reason *why)
{
    struct vector *v = (void *)((char *)out + c->offset);
    uint64_t wanted;

    if (f.size > c->bytes_max) {
        reason_set(why, "%s: %s has %zu bytes; at most %zu (%s) are allowed", who, c->name, f.size,
                   c->bytes_max, c->limit);
        return -OHEM_TOO_LARGE;
    }
    wanted = c->count_field == LAYOUT_NO_COUNT
                 ? f.size / c->element_bytes
                 : layout_load(&l->fields[c->count_field], out) + c->count_extra;
    if (f.size != wanted * c->element_bytes) {
        reason_set(why, "%s: %s has %zu bytes; %" PRIu64 " elements of %zu are wanted", who,
                   c->name, f.size, wanted, c->element_bytes);
        return -OHEM_MALFORMED;
    }
    *v = (struct vector){.data = f.data, .count = (size_t)wanted};
    return 0;
}

static int get_columns(const struct layout *l, const char *who, const struct frame *list,
                       size_t count, struct message *out, struct reason *why)
{
    size_t needed = 1 + l->column_count - l->optional_count;
    int rc = 0;

    if (count < needed) {
        reason_set(why, "%s: the frame of %s is missing (%zu frames, %zu are needed)", who,
                   l->columns[count - 1].name, count, needed);
        return -OHEM_MALFORMED;
    }
    for (size_t i = 0; i < l->column_count && rc == 0; i++) {
        struct frame f = 1 + i < count ? list[1 + i] : (struct frame){"", 0};

        rc = get_column(l, &l->columns[i], who, f, out, why);
    }
    for (size_t i = 1 + l->column_count; i < count && rc == 0; i++) {
        if (list[i].size > MESSAGE_FRAME_BYTES_MAX) {
            reason_set(why,
                       "%s: frame %zu has %zu bytes; at most %u (MESSAGE_FRAME_BYTES_MAX) are "
                       "allowed",
                       who, i, list[i].size, MESSAGE_FRAME_BYTES_MAX);
            rc = -OHEM_TOO_LARGE;
        }
    }
    return rc;
}

/* The header's values, lent by the zone and the frame, and the type that they begin with. */
static int get_header(struct codec *c, struct frame header, msgpack_object_array *out_values,
                      const struct layout **out_layout, struct reason *why)
{
    msgpack_object o;
    size_t at = 0;
    int rc = scan_header(header, why);

    if (rc != 0)
        return rc;
    msgpack_zone_clear(&c->zone);
    if (msgpack_unpack(header.data, header.size, &at, &c->zone, &o) != MSGPACK_UNPACK_SUCCESS) {
        reason_set(why, "header is not msgpack (%zu bytes)", header.size);
        return -OHEM_MALFORMED;
    }
    *out_values = o.via.array;
    *out_layout = o.via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER
                      ? layout_find(o.via.array.ptr[0].via.u64)
                      : NULL;
    if (*out_layout == NULL) {
        reason_set(why, "type is %s; no message has that", describe(&o.via.array.ptr[0]).text);
        return -OHEM_MALFORMED;
    }
    return 0;
}

int codec_decode(struct codec *c, const struct frame *list, size_t count, struct message *out,
                 struct reason *why)
{
    const struct layout *l;
    msgpack_object_array values;
    const char *who;
    int rc;

    out->type = 0;
    if (count == 0 || count > MESSAGE_FRAMES_MAX) {
        reason_set(why, "message has %zu frames; 1..%u (MESSAGE_FRAMES_MAX) are allowed", count,
                   MESSAGE_FRAMES_MAX);
        return count == 0 ? -OHEM_MALFORMED : -OHEM_TOO_LARGE;
    }
    rc = get_header(c, list[0], &values, &l, why);
    if (rc != 0)
        return rc;
    out->type = l->type;
    who = message_type_name(out->type);
    rc = get_fields(l, who, values, out, why);
    if (rc == 0)
        rc = get_columns(l, who, list, count, out, why);
    if (rc == 0 && l->check != NULL)
        rc = l->check(out, why);
    return rc;
}

const char *message_type_name(uint32_t type)
{
    switch (type) {
#define TYPE_NAME(name, number) \
    case (number): \
        return #name;
        MESSAGE_TYPES(TYPE_NAME)
#undef TYPE_NAME
    default:
        return "?";
    }
}

const char *codec_library_version(void)
{
    return msgpack_version();
}

struct codec *codec_new(void)
{
    struct codec *c = malloc(sizeof *c);

    if (c != NULL && !msgpack_zone_init(&c->zone, ZONE_BYTES)) {
        free(c);
        c = NULL;
    }
    return c;
}

void codec_free(struct codec *c)
{
    if (c == NULL)
        return;
    msgpack_zone_destroy(&c->zone);
    free(c);
}
