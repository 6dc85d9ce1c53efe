/* idx.c - see idx.h. IDX is big-endian: 0, 0, element type (8: bytes), dimensions, each one's size.
 */
#include "idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define IMAGES_MAGIC 0x0803u /* bytes in three dimensions */
#define LABELS_MAGIC 0x0801u
#define COUNT_MAX    (1u << 20)

static int wrong(const char *path, const char *what)
{
    (void)fprintf(stderr, "ohem-demo: %s: %s\n", path, what);
    return -1;
}

static int read_u32(gzFile file, uint32_t *out)
{
    uint8_t b[4];

    if (gzread(file, b, sizeof b) != (int)sizeof b)
        return -1;
    *out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return 0;
}

static int read_images(gzFile file, const char *path, struct idx *out)
{
    uint32_t magic, rows, columns;

    if (read_u32(file, &magic) < 0 || magic != IMAGES_MAGIC || read_u32(file, &out->count) < 0 ||
        read_u32(file, &rows) < 0 || read_u32(file, &columns) < 0)
        return wrong(path, "not an IDX file of pictures");
    if (rows != IDX_SIDE || columns != IDX_SIDE || out->count == 0 || out->count > COUNT_MAX)
        return wrong(path, "its pictures are not 28 x 28, or none, or over 2^20");
    out->pixels = malloc((size_t)out->count * IDX_PIXELS);
    if (out->pixels == NULL)
        return wrong(path, "out of memory");
    if (gzfread(out->pixels, IDX_PIXELS, out->count, file) != out->count)
        return wrong(path, "ends too early, or is damaged");
    return 0;
}

static int read_labels(gzFile file, const char *path, struct idx *out)
{
    uint32_t magic, count;

    if (read_u32(file, &magic) < 0 || magic != LABELS_MAGIC || read_u32(file, &count) < 0)
        return wrong(path, "not an IDX file of labels");
    if (count != out->count)
        return wrong(path, "has not one label for each picture");
    out->labels = malloc(count);
    if (out->labels == NULL)
        return wrong(path, "out of memory");
    if (gzfread(out->labels, 1, count, file) != count)
        return wrong(path, "ends too early, or is damaged");
    return 0;
}

static int read_file(const char *path, int (*read_cb)(gzFile, const char *, struct idx *),
                     struct idx *out)
{
    gzFile file = gzopen(path, "rb");
    int rc;

    if (file == NULL)
        return wrong(path, "cannot be opened");
    rc = read_cb(file, path, out);
    (void)gzclose(file);
    return rc;
}

int idx_read(const char *images_path, const char *labels_path, struct idx *out)
{
    struct idx set = {0};

    if (read_file(images_path, read_images, &set) < 0 ||
        read_file(labels_path, read_labels, &set) < 0) {
        idx_free(&set);
        return -1;
    }
    *out = set;
    return 0;
}

void idx_free(struct idx *set)
{
    free(set->pixels);
    free(set->labels);
    *set = (struct idx){0};
}
