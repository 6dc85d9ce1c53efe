/* reader_idx.c - IDX, the format of MNIST: a file of arrays and a file of labels, plain or gzipped.
 *
 *   00 00 TYPE NDIM, then NDIM sizes (big-endian u32), then the elements
 *
 * The first size is the number of instances; the others and the type make the body's size. Elements
 * are copied as they are (big-endian, if wider than a byte). Labels are unsigned bytes in one
 * dimension. zlib reads both kinds of file, so an offset in an error is that of the unpacked bytes.
 */
#include "reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define IDX_DIMS_MAX   8
#define IDX_UNSIGNED   0x08
#define ZLIB_BUFFER    (256u << 10)
#define READ_BYTES_MAX (64u << 20) /* of one gzread, which counts in int */

struct idx_file {
    const char *path;
    gzFile gz;
    unsigned type;
    uint64_t count;     /* the first dimension */
    uint64_t body_size; /* of one instance */
};

struct idx {
    struct reader base;
    struct idx_file images, labels;
    unsigned char *body; /* [images.body_size], NULL when only labels are wanted */
    struct reader_ordinal key;
};

/* Why zlib gave less than was asked for. Its own text begins with the path. */
static const char *failure(const struct idx_file *f)
{
    size_t path_size = strlen(f->path);
    int code;
    const char *text = gzerror(f->gz, &code);

    if (code == Z_ERRNO)
        return strerror(errno);
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR)
        return "it ends there";
    return strncmp(text, f->path, path_size) == 0
               ? text + path_size + strspn(text + path_size, ": ")
               : text;
}

static int fail_read(const struct idx_file *f, struct reason *why)
{
    reason_set(why, "%s: offset %" PRId64 ": %s; its header claims %" PRIu64 " x %" PRIu64 " bytes",
               f->path, (int64_t)gztell(f->gz), failure(f), f->count, f->body_size);
    return -OHEM_DATASET;
}

static int read_exactly(struct idx_file *f, void *out, size_t size, struct reason *why)
{
    unsigned char *to = out;

    while (size > 0) {
        unsigned part = size < READ_BYTES_MAX ? (unsigned)size : READ_BYTES_MAX;
        int got = gzread(f->gz, to, part);

        if (got <= 0)
            return fail_read(f, why);
        to += got;
        size -= (size_t)got;
    }
    return 0;
}

/* The bytes of an element, 0 for a type that is none. */
static uint64_t element_size(unsigned type)
{
    static const uint8_t sizes[] = {
        [0x08] = 1, [0x09] = 1, [0x0b] = 2, [0x0c] = 4, [0x0d] = 4, [0x0e] = 8};

    return type < sizeof sizes ? sizes[type] : 0;
}

static int read_magic(struct idx_file *f, unsigned *out_dims, struct reason *why)
{
    unsigned char magic[4];

    if (gzread(f->gz, magic, sizeof magic) != (int)sizeof magic) {
        reason_set(why, "%s: offset %" PRId64 ": no IDX header: %s", f->path,
                   (int64_t)gztell(f->gz), failure(f));
        return -OHEM_DATASET;
    }
    if (magic[0] != 0 || magic[1] != 0 || element_size(magic[2]) == 0 || magic[3] == 0) {
        reason_set(why, "%s: offset 0: %02x %02x %02x %02x is no IDX magic", f->path, magic[0],
                   magic[1], magic[2], magic[3]);
        return -OHEM_DATASET;
    }
    if (magic[3] > IDX_DIMS_MAX) {
        reason_set(why, "%s: offset 3: %u dimensions; at most %d are allowed", f->path, magic[3],
                   IDX_DIMS_MAX);
        return -OHEM_TOO_LARGE;
    }
    f->type = magic[2];
    *out_dims = magic[3];
    return 0;
}

/* body_size stops growing above the limit: eight sizes of 2^32 each cannot overflow it. */
static int read_header(struct idx_file *f, struct reason *why)
{
    unsigned char sizes[4 * IDX_DIMS_MAX];
    unsigned dims;
    int rc = read_magic(f, &dims, why);

    if (rc != 0)
        return rc;
    if (gzread(f->gz, sizes, 4 * dims) != (int)(4 * dims)) {
        reason_set(why, "%s: offset %" PRId64 ": ends within the %u sizes of its header", f->path,
                   (int64_t)gztell(f->gz), dims);
        return -OHEM_DATASET;
    }
    f->body_size = element_size(f->type);
    for (unsigned i = 0; i < dims; i++) {
        const unsigned char *s = &sizes[(size_t)4 * i];
        uint64_t size = (uint64_t)s[0] << 24 | (uint64_t)s[1] << 16 | (uint64_t)s[2] << 8 | s[3];

        if (i == 0)
            f->count = size;
        else if (f->body_size <= READER_RECORD_BYTES_MAX)
            f->body_size *= size;
    }
    return reader_check_size(f->path, f->count, f->body_size, why);
}

static int file_open(struct idx_file *f, const char *path, struct reason *why)
{
    f->path = path;
    errno = 0;
    f->gz = gzopen(path, "rb");
    if (f->gz == NULL)
        return errno != 0 ? reader_fail_errno(path, why) : reader_fail_memory(path, why);
    (void)gzbuffer(f->gz, ZLIB_BUFFER);
    return read_header(f, why);
}

/* Both files end where their headers say; reading on also makes zlib check its sum. */
static int expect_end(struct idx_file *f, struct reason *why)
{
    unsigned char byte;
    int got = gzread(f->gz, &byte, 1);

    if (got < 0)
        return fail_read(f, why);
    if (got == 0) {
        int code;

        (void)gzerror(f->gz, &code);
        return code == Z_BUF_ERROR ? fail_read(f, why) : 0;
    }
    reason_set(why,
               "%s: offset %" PRId64 ": goes on behind the %" PRIu64 " x %" PRIu64
               " bytes that its header claims",
               f->path, (int64_t)gztell(f->gz) - 1, f->count, f->body_size);
    return -OHEM_DATASET;
}

static int check_pair(const struct idx *x, struct reason *why)
{
    if (x->labels.type != IDX_UNSIGNED || x->labels.body_size != 1) {
        reason_set(why,
                   "%s: not labels: type %02x, %" PRIu64 " bytes each; unsigned bytes are needed",
                   x->labels.path, x->labels.type, x->labels.body_size);
        return -OHEM_DATASET;
    }
    if (x->labels.count != x->images.count) {
        reason_set(why, "%s has %" PRIu64 " labels, %s has %" PRIu64 " instances", x->labels.path,
                   x->labels.count, x->images.path, x->images.count);
        return -OHEM_DATASET;
    }
    return 0;
}

static void idx_close(struct reader *r)
{
    struct idx *x = (struct idx *)r;

    if (x->images.gz != NULL)
        (void)gzclose_r(x->images.gz);
    if (x->labels.gz != NULL)
        (void)gzclose_r(x->labels.gz);
    free(x->body);
    free(x);
}

static int idx_setup(struct idx *x, const struct source *s, struct reason *why)
{
    int rc = file_open(&x->images, s->paths[0], why);

    if (rc == 0)
        rc = file_open(&x->labels, s->paths[1], why);
    if (rc == 0)
        rc = check_pair(x, why);
    if (rc != 0 || s->labels_only)
        return rc;
    assert(x->images.body_size > 0); /* as reader_check_size() has it */
    x->body = malloc(x->images.body_size);
    return x->body != NULL ? 0 : reader_fail_memory(x->images.path, why);
}

static int idx_open(const struct source *s, struct reader **out, struct reason *why)
{
    struct idx *x = calloc(1, sizeof *x);
    int rc;

    if (x == NULL)
        return reader_fail_memory(s->paths[0], why);
    rc = idx_setup(x, s, why);
    if (rc != 0) {
        idx_close(&x->base);
        return rc;
    }
    x->base = (struct reader){&reader_idx, true, 0, x->images.count};
    *out = &x->base;
    return 0;
}

static int idx_end(struct idx *x, struct reason *why)
{
    int rc = expect_end(&x->labels, why);

    return rc != 0 || x->body == NULL ? rc : expect_end(&x->images, why);
}

static int idx_next(struct reader *r, struct instance *out, struct reason *why)
{
    struct idx *x = (struct idx *)r;
    unsigned char label;
    int rc;

    if (r->done == r->total)
        return idx_end(x, why);
    rc = read_exactly(&x->labels, &label, 1, why);
    if (rc == 0 && x->body != NULL)
        rc = read_exactly(&x->images, x->body, x->images.body_size, why);
    if (rc != 0)
        return rc;
    *out = (struct instance){
        .key = x->key.text,
        .key_size = reader_ordinal_set(&x->key, r->done++, r->total),
        .body = x->body,
        .body_size = x->body != NULL ? x->images.body_size : 0,
        .label = label,
    };
    return 1;
}

const struct reader_format reader_idx = {
    .name = "idx",
    .usage = "IMAGES LABELS TARGET",
    .label_from = "the LABELS file",
    .paths_min = 2,
    .paths_max = 2,
    .label_byte_always = true,
    .open = idx_open,
    .next = idx_next,
    .close = idx_close,
};
