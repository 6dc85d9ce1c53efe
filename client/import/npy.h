/* npy.h - one .npy file (NumPy's own format, versions 1 to 3) as rows of bytes, or as labels.
 *
 * Row i is the array's [i] in C order, its bytes as they are in the file. What has no such rows is
 * refused: Fortran order, objects, structured types, an array without dimensions.
 */
#ifndef IMPORT_NPY_H
#define IMPORT_NPY_H

#include "../../proto/reason.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define NPY_HEADER_BYTES_MAX 65536u
#define NPY_DIMS_MAX         32

struct npy {
    const char *path; /* lent */
    FILE *file;
    char kind;       /* b i u f c S U V m M, as NumPy names them */
    bool big_endian; /* of the elements */
    uint64_t element_size;
    uint64_t count;    /* rows */
    uint64_t row_size; /* bytes */
};

/**
 * Open, and check the header and the file's size against each other.
 * @return 0, -OHEM_SYSTEM, -OHEM_DATASET, -OHEM_TOO_LARGE, -OHEM_NOMEM; npy_close() is due after
 * each
 */
int npy_open(struct npy *n, const char *path, struct reason *why);

/** The next row_size bytes. @return 0, or -OHEM_DATASET, -OHEM_SYSTEM. */
int npy_read_row(struct npy *n, void *out, struct reason *why);

/** Are the rows integers, one each? @return 0 or -OHEM_DATASET. */
int npy_check_labels(const struct npy *n, struct reason *why);

/** The next row of such an array. @return 0; -OHEM_DATASET outside 0..READER_LABEL_MAX. */
int npy_read_label(struct npy *n, int32_t *out, struct reason *why);

void npy_close(struct npy *n);

#endif
