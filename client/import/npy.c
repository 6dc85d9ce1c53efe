/* npy.c - one .npy file; see npy.h.
 *
 * The header is a Python dictionary in text: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (60000, 28, 28), }. We look for its three keys and read the value behind each.
 */
#include "npy.h"

#include "reader.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PREFIX_BYTES 8 /* magic and version */

static int fail_header(const struct npy *n, const char *what, struct reason *why)
{
    reason_set(why, "%s: its header: %s", n->path, what);
    return -OHEM_DATASET;
}

static int fail_short(const struct npy *n, struct reason *why)
{
    if (ferror(n->file))
        return reader_fail_errno(n->path, why);
    reason_set(why, "%s: offset %" PRId64 ": it ends there", n->path, (int64_t)ftello(n->file));
    return -OHEM_DATASET;
}

/* The text behind 'key': or NULL. */
static const char *find_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);

    if (at == NULL)
        return NULL;
    at += strlen(key);
    at += strspn(at, " ");
    if (*at++ != ':')
        return NULL;
    return at + strspn(at, " ");
}

/* '<f4': byte order, kind, bytes of an element (characters of four bytes for U). */
static int parse_type(struct npy *n, const char *header, struct reason *why)
{
    const char *at = find_value(header, "'descr'");
    char *end;

    if (at == NULL || *at != '\'')
        return fail_header(n, "'descr' names no simple type", why);
    at++;
    if (strchr("<>|", *at) == NULL || at[1] == '\0' || strchr("biufcSUVmM", at[1]) == NULL ||
        !isdigit((unsigned char)at[2])) {
        reason_set(why, "%s: its header: type '%.*s' has no rows of plain bytes", n->path,
                   (int)strcspn(at, "'"), at);
        return -OHEM_DATASET;
    }
    n->big_endian = at[0] == '>';
    n->kind = at[1];
    n->element_size = strtoull(at + 2, &end, 10);
    if (n->element_size > READER_RECORD_BYTES_MAX)
        return reader_check_size(n->path, 0, n->element_size, why);
    if (n->kind == 'U')
        n->element_size *= 4;
    return 0;
}

/* (60000, 28, 28): the row's size stops growing above the limit, so it cannot overflow. */
static int parse_shape(struct npy *n, const char *header, unsigned *out_dims, struct reason *why)
{
    const char *at = find_value(header, "'shape'");
    unsigned dims = 0;

    if (at == NULL || *at++ != '(')
        return fail_header(n, "no 'shape'", why);
    n->row_size = n->element_size;
    for (at += strspn(at, " "); isdigit((unsigned char)*at); at += strspn(at, ", ")) {
        char *end;
        uint64_t size;

        errno = 0;
        size = strtoull(at, &end, 10);
        at = end;
        if (errno != 0 || size > INT64_MAX / READER_RECORD_BYTES_MAX || dims == NPY_DIMS_MAX) {
            at = find_value(header, "'shape'");
            reason_set(why, "%s: its header: shape %.*s... is over the limits", n->path,
                       (int)strcspn(at, ")") < 60 ? (int)strcspn(at, ")") : 60, at);
            return -OHEM_TOO_LARGE;
        }
        if (dims++ == 0)
            n->count = size;
        else if (n->row_size <= READER_RECORD_BYTES_MAX)
            n->row_size *= size;
    }
    if (*at != ')' || dims == 0)
        return fail_header(n, "'shape' is no list of sizes, or an empty one", why);
    *out_dims = dims;
    return reader_check_size(n->path, n->count, n->row_size, why);
}

static int parse_order(const struct npy *n, const char *header, unsigned dims, struct reason *why)
{
    const char *at = find_value(header, "'fortran_order'");

    if (at == NULL || (strncmp(at, "False", 5) != 0 && strncmp(at, "True", 4) != 0))
        return fail_header(n, "no 'fortran_order'", why);
    if (*at == 'T' && dims > 1)
        return fail_header(n, "the array is in Fortran order; save it in C order", why);
    return 0;
}

static int parse_header(struct npy *n, const char *header, struct reason *why)
{
    unsigned dims = 0;
    int rc = parse_type(n, header, why);

    if (rc == 0)
        rc = parse_shape(n, header, &dims, why);
    return rc != 0 ? rc : parse_order(n, header, dims, why);
}

/* Magic, version and the length of the text, which is 2 bytes in version 1 and 4 later. */
static int read_length(struct npy *n, uint32_t *out, struct reason *why)
{
    unsigned char head[PREFIX_BYTES], length[4] = {0};

    if (fread(head, 1, sizeof head, n->file) != sizeof head || memcmp(head, "\x93NUMPY", 6) != 0) {
        reason_set(why, "%s: offset 0: no .npy magic", n->path);
        return -OHEM_DATASET;
    }
    if (head[6] < 1 || head[6] > 3) {
        reason_set(why, "%s: offset 6: version %u; 1 to 3 are known", n->path, head[6]);
        return -OHEM_DATASET;
    }
    if (fread(length, 1, head[6] == 1 ? 2 : 4, n->file) != (head[6] == 1 ? 2u : 4u))
        return fail_short(n, why);
    *out = length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 |
           (uint32_t)length[3] << 24;
    if (*out > NPY_HEADER_BYTES_MAX) {
        reason_set(why, "%s: offset %d: a header of %" PRIu32 " bytes; at most %u are allowed",
                   n->path, PREFIX_BYTES, *out, NPY_HEADER_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    return 0;
}

static int read_header(struct npy *n, struct reason *why)
{
    uint32_t size = 0;
    char *header;
    int rc = read_length(n, &size, why);

    if (rc != 0)
        return rc;
    header = calloc(1, (size_t)size + 1);
    if (header == NULL)
        return reader_fail_memory(n->path, why);
    rc =
        fread(header, 1, size, n->file) == size ? parse_header(n, header, why) : fail_short(n, why);
    free(header);
    return rc;
}

/* count < 2^32 and row_size <= 2^30: their product is sound. */
static int check_file_size(const struct npy *n, struct reason *why)
{
    struct stat info;
    uint64_t claimed;

    if (fstat(fileno(n->file), &info) != 0)
        return reader_fail_errno(n->path, why);
    claimed = (uint64_t)ftello(n->file) + n->count * n->row_size;
    if ((uint64_t)info.st_size == claimed)
        return 0;
    reason_set(why,
               "%s: %" PRId64 " bytes; its header claims %" PRIu64 " (%" PRIu64 " rows of %" PRIu64
               ")",
               n->path, (int64_t)info.st_size, claimed, n->count, n->row_size);
    return -OHEM_DATASET;
}

int npy_open(struct npy *n, const char *path, struct reason *why)
{
    int rc;

    *n = (struct npy){.path = path, .file = fopen(path, "rbe")};
    if (n->file == NULL)
        return reader_fail_errno(path, why);
    rc = read_header(n, why);
    return rc != 0 ? rc : check_file_size(n, why);
}

int npy_read_row(struct npy *n, void *out, struct reason *why)
{
    return fread(out, 1, n->row_size, n->file) == n->row_size ? 0 : fail_short(n, why);
}

int npy_check_labels(const struct npy *n, struct reason *why)
{
    uint64_t size = n->element_size;

    if (strchr("biu", n->kind) != NULL && n->row_size == size &&
        (size == 1 || size == 2 || size == 4 || size == 8))
        return 0;
    reason_set(why, "%s: not labels: %" PRIu64 " bytes of kind '%c' a row; one integer is needed",
               n->path, n->row_size, n->kind);
    return -OHEM_DATASET;
}

int npy_read_label(struct npy *n, int32_t *out, struct reason *why)
{
    int64_t at = ftello(n->file);
    unsigned size = (unsigned)n->element_size;
    unsigned char bytes[8];
    uint64_t value = 0, sign = 0;
    int rc;

    assert(size >= 1 && size <= sizeof bytes); /* npy_check_labels() comes first */
    rc = npy_read_row(n, bytes, why);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | bytes[n->big_endian ? i : size - 1 - i];
    if (n->kind == 'i')
        sign = bytes[n->big_endian ? 0 : size - 1] & 0x80;
    if (value > READER_LABEL_MAX || sign != 0) {
        reason_set(why, "%s: offset %" PRId64 ": label 0x%" PRIx64 "; 0 to %d are allowed", n->path,
                   at, value, READER_LABEL_MAX);
        return -OHEM_DATASET;
    }
    *out = (int32_t)value;
    return 0;
}

void npy_close(struct npy *n)
{
    if (n->file != NULL)
        (void)fclose(n->file);
    n->file = NULL;
}
