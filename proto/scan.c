/* scan.c - what a header's and a text's bytes may be; see scan.h. */
#include "scan.h"

#include "error.h"
#include "message.h"

#include <inttypes.h>

static uint32_t big_endian(const uint8_t *p, size_t width)
{
    uint32_t x = 0;

    for (size_t i = 0; i < width; i++)
        x = x << 8 | p[i];
    return x;
}

/* Bytes of the value at p: more than `left` when it is cut off, 0 when a header may not hold it
 * (array, map, extension, the byte 0xc1). The numbers are those of the msgpack specification. */
static uint64_t value_bytes(const uint8_t *p, size_t left)
{
    static const uint8_t fixed[] = {
        [0x00] = 1, [0x02] = 1, [0x03] = 1,             /* c0 nil, c2 c3 boolean */
        [0x0a] = 5, [0x0b] = 9,                         /* ca cb float */
        [0x0c] = 2, [0x0d] = 3, [0x0e] = 5, [0x0f] = 9, /* cc..cf unsigned */
        [0x10] = 2, [0x11] = 3, [0x12] = 5, [0x13] = 9, /* d0..d3 signed */
    };
    uint8_t b = p[0];
    size_t width;

    if (b < 0x80 || b >= 0xe0) /* a small integer */
        return 1;
    if (b >= 0xa0 && b <= 0xbf) /* a short string */
        return 1u + (b & 0x1fu);
    if ((b >= 0xc4 && b <= 0xc6) || (b >= 0xd9 && b <= 0xdb)) { /* binary, string */
        width = (size_t)1 << (b >= 0xd9 ? b - 0xd9 : b - 0xc4);
        return 1 + width + (width < left ? big_endian(p + 1, width) : 0u);
    }
    return b >= 0xc0 && b < 0xc0 + sizeof fixed ? fixed[b - 0xc0] : 0;
}

/* The array's head: how many fields it says it has. @return its bytes, 0 when it is none. */
static size_t array_head(const uint8_t *p, size_t size, uint32_t *out_count)
{
    size_t width;

    if (size > 0 && (p[0] & 0xf0) == 0x90) {
        *out_count = p[0] & 0x0fu;
        return 1;
    }
    if (size == 0 || (p[0] != 0xdc && p[0] != 0xdd))
        return 0;
    width = p[0] == 0xdc ? 2 : 4;
    if (size < 1 + width)
        return 0;
    *out_count = big_endian(p + 1, width);
    return 1 + width;
}

int scan_header(struct frame header, struct reason *why)
{
    const uint8_t *p = header.data;
    uint32_t count = 0;
    size_t at;

    if (header.size > MESSAGE_HEADER_BYTES_MAX) {
        reason_set(why, "header has %zu bytes; at most %u (MESSAGE_HEADER_BYTES_MAX) are allowed",
                   header.size, MESSAGE_HEADER_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    at = array_head(p, header.size, &count);
    if (at == 0 || count == 0) {
        reason_set(why, "header is not a msgpack array with a type (%zu bytes)", header.size);
        return -OHEM_MALFORMED;
    }
    if (count > MESSAGE_FIELDS_MAX) {
        reason_set(why,
                   "header has %" PRIu32 " fields; at most %u (MESSAGE_FIELDS_MAX) are allowed",
                   count, MESSAGE_FIELDS_MAX);
        return -OHEM_TOO_LARGE;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t left = header.size - at;
        uint64_t bytes = left > 0 ? value_bytes(p + at, left) : 1;

        if (bytes == 0) {
            reason_set(why, "header's field %" PRIu32 " is no plain value (byte 0x%02x)", i, p[at]);
            return -OHEM_MALFORMED;
        }
        if (bytes > left) {
            reason_set(why, "header is cut off in field %" PRIu32 " of %" PRIu32 " (%zu bytes)", i,
                       count, header.size);
            return -OHEM_MALFORMED;
        }
        at += (size_t)bytes;
    }
    if (at != header.size) {
        reason_set(why, "header has %zu bytes behind its %" PRIu32 " fields", header.size - at,
                   count);
        return -OHEM_MALFORMED;
    }
    return 0;
}

/* Bytes of the UTF-8 character at s; 0 when it is broken, overlong, a surrogate or a control. */
static size_t character_bytes(const uint8_t *s, size_t left)
{
    static const uint32_t lowest[] = {0, 0, 0xa0, 0x800, 0x10000}; /* by bytes; C1 ends at 0x9f */
    size_t bytes = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t c = s[0] & (0x7fu >> bytes);

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if (s[0] < 0xc2 || s[0] > 0xf4 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < lowest[bytes] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : bytes;
}

size_t scan_text(const char *text, size_t size)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0, step;

    for (; i < size && (step = character_bytes(s + i, size - i)) != 0; i += step)
        continue;
    return i;
}
