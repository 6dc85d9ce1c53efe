/* codec.h - messages to frames and back; the only code that knows msgpack.
 *
 * Frame 0 is the header, a flat msgpack array [type, field, ...]; the vectors follow, each a raw
 * little-endian frame (PROTOCOL.md). Nothing here knows ZeroMQ: a frame is a pointer and a size.
 */
#ifndef OHEM_CODEC_H
#define OHEM_CODEC_H

#include "message.h"
#include "reason.h"

struct frame {
    const void *data;
    size_t size; /* bytes */
};

/* An encoded message. Frame 0 points into `header`, the others into the message's own vectors:
 * valid as long as both stand still. */
struct frames {
    struct frame list[MESSAGE_FRAMES_MAX];
    size_t count;
    uint8_t header[MESSAGE_HEADER_BYTES_MAX];
};

struct codec; /* a decoder's memory, reused from message to message; one thread at a time */

/** @return a decoder, or NULL when there is no memory. */
struct codec *codec_new(void);
void codec_free(struct codec *c);

/**
 * Encode a message. What goes over a limit of message.h is a fault of the caller's (asserted), a
 * text with a byte that a reader would refuse is sent as far as it is clean.
 * @param out  the frames; lent memory as said above
 */
void codec_encode(const struct message *m, struct frames *out);

/**
 * Decode a message.
 *
 * @param c     the decoder
 * @param list  the frames as received (without ZeroMQ's routing id)
 * @param out   set on success. Its vectors point into `list`, its texts are copies. On failure
 *              out->type alone means something: the type if that much could be read, or 0.
 * @param why   filled on failure with what is wrong, its value and the limit
 *
 * @return 0, or -OHEM_MALFORMED, -OHEM_TOO_LARGE, -OHEM_VERSION (HELLO and WELCOME of another
 * major)
 */
int codec_decode(struct codec *c, const struct frame *list, size_t count, struct message *out,
                 struct reason *why);

/** "BATCH", or "?" for a number that names no message. */
const char *message_type_name(uint32_t type);

/** The version of the msgpack library that is loaded, as "4.0.0". Lives for ever. */
const char *codec_library_version(void);

#endif
