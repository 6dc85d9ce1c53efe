/* idx.h - the Fashion-MNIST files: a gzipped IDX of pictures and one of labels. */
#ifndef IDX_H
#define IDX_H

#include <stdint.h>

#define IDX_SIDE   28u
#define IDX_PIXELS (IDX_SIDE * IDX_SIDE)

struct idx {
    uint32_t count;
    uint8_t *pixels; /* [count][IDX_PIXELS] */
    uint8_t *labels; /* [count], 0..9 */
};

/** Read both files; says on stderr what is wrong with which. @return 0 or -1. Free with idx_free().
 */
int idx_read(const char *images_path, const char *labels_path, struct idx *out);
void idx_free(struct idx *set);

#endif
