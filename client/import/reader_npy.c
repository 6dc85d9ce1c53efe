/* reader_npy.c - NumPy arrays: row i of DATA is instance i, its label is LABELS[i] when given.
 *
 * Key: the ordinal. The format itself is npy.c's.
 */
#include "npy.h"
#include "reader.h"

#include <inttypes.h>
#include <stdlib.h>

struct arrays {
    struct reader base;
    struct npy data, labels; /* labels.file is NULL without labels */
    unsigned char *row;      /* [data.row_size], NULL when only labels are wanted */
    struct reader_ordinal key;
};

static int open_labels(struct arrays *a, const char *path, struct reason *why)
{
    int rc = npy_open(&a->labels, path, why);

    if (rc == 0)
        rc = npy_check_labels(&a->labels, why);
    if (rc != 0 || a->labels.count == a->data.count)
        return rc;
    reason_set(why, "%s has %" PRIu64 " labels, %s has %" PRIu64 " rows", path, a->labels.count,
               a->data.path, a->data.count);
    return -OHEM_DATASET;
}

static int arrays_setup(struct arrays *a, const struct source *s, struct reason *why)
{
    int rc = npy_open(&a->data, s->paths[0], why);

    if (rc == 0 && s->path_count > 1)
        rc = open_labels(a, s->paths[1], why);
    if (rc != 0 || s->labels_only)
        return rc;
    a->row = malloc(a->data.row_size);
    return a->row != NULL ? 0 : reader_fail_memory(a->data.path, why);
}

static void arrays_close(struct reader *r)
{
    struct arrays *a = (struct arrays *)r;

    npy_close(&a->data);
    npy_close(&a->labels);
    free(a->row);
    free(a);
}

static int arrays_open(const struct source *s, struct reader **out, struct reason *why)
{
    struct arrays *a = calloc(1, sizeof *a);
    int rc;

    if (a == NULL)
        return reader_fail_memory(s->paths[0], why);
    rc = arrays_setup(a, s, why);
    if (rc != 0) {
        arrays_close(&a->base);
        return rc;
    }
    a->base = (struct reader){&reader_npy, a->labels.file != NULL, 0, a->data.count};
    *out = &a->base;
    return 0;
}

static int arrays_next(struct reader *r, struct instance *out, struct reason *why)
{
    struct arrays *a = (struct arrays *)r;
    int32_t label = READER_LABEL_NONE;
    int rc = 0;

    if (r->done == r->total)
        return 0;
    if (a->row != NULL)
        rc = npy_read_row(&a->data, a->row, why);
    if (rc == 0 && a->labels.file != NULL)
        rc = npy_read_label(&a->labels, &label, why);
    if (rc != 0)
        return rc;
    *out = (struct instance){
        .key = a->key.text,
        .key_size = reader_ordinal_set(&a->key, r->done++, r->total),
        .body = a->row,
        .body_size = a->row != NULL ? a->data.row_size : 0,
        .label = label,
    };
    return 1;
}

const struct reader_format reader_npy = {
    .name = "npy",
    .usage = "DATA [LABELS] TARGET",
    .label_from = "a LABELS array between DATA and TARGET",
    .paths_min = 1,
    .paths_max = 2,
    .open = arrays_open,
    .next = arrays_next,
    .close = arrays_close,
};
