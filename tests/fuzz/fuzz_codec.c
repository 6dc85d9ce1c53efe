/* fuzz_codec.c - bytes as frames into the decoder: it refuses with a reason, or gives a message
 * that encodes and decodes to itself.
 *
 * The input is frames one after another, each a size (u16, little-endian) and its bytes; the last
 * one may be shorter than it says.
 */
#include "../../proto/codec.h"
#include "../../proto/error.h"

#include <stdlib.h>

#define FRAMES_MAX (MESSAGE_FRAMES_MAX + 2) /* and so more than is allowed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each frame gets memory of its own size, so that a step behind it is seen. */
static size_t split(const uint8_t *data, size_t size, struct frame *out)
{
    size_t count = 0;

    while (size >= 2 && count < FRAMES_MAX) {
        size_t n = (size_t)data[0] | (size_t)data[1] << 8;
        void *bytes;

        data += 2;
        size -= 2;
        n = n < size ? n : size;
        bytes = malloc(n > 0 ? n : 1);
        if (bytes == NULL)
            abort();
        memcpy(bytes, data, n);
        out[count++] = (struct frame){.data = bytes, .size = n};
        data += n;
        size -= n;
    }
    return count;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool same_frames(const struct frames *a, const struct frames *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->list[i].size != b->list[i].size ||
            (a->list[i].size > 0 && memcmp(a->list[i].data, b->list[i].data, a->list[i].size) != 0))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec *c;
    static struct frames once, twice;
    struct frame list[FRAMES_MAX];
    struct message m, again;
    struct reason why = {""};
    size_t count = split(data, size, list);
    int rc;

    if (c == NULL)
        c = codec_new();
    rc = codec_decode(c, list, count, &m, &why);
    if (rc == 0) {
        codec_encode(&m, &once);
        require(codec_decode(c, once.list, once.count, &again, &why) == 0);
        codec_encode(&again, &twice);
        require(same_frames(&once, &twice));
    } else {
        require(rc == -OHEM_MALFORMED || rc == -OHEM_TOO_LARGE || rc == -OHEM_VERSION);
        require(why.text[0] != '\0');
    }
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)list[i].data);
    return 0;
}
