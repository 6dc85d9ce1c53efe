/* damage.c - rows that are too short, too long or of another version; see damage.h. */
#include "damage.h"

#include "../../proto/error.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* A copy of `size` bytes, those beyond `known` being 0. */
static int read_copy(damage_read_fn *read, void *ctx, const void *value, size_t known, size_t size)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);
    int rc;

    assert_non_null(copy);
    memset(copy, 0, size);
    memcpy(copy, value, known < size ? known : size);
    rc = read(ctx, copy, size);
    free(copy);
    return rc;
}

int damage_read(damage_read_fn *read, void *ctx, const void *value, size_t size, size_t offset,
                const void *bytes, size_t count)
{
    unsigned char *copy = malloc(size);
    int rc;

    assert_non_null(copy);
    assert_true(offset + count <= size);
    memcpy(copy, value, size);
    memcpy(copy + offset, bytes, count);
    rc = read(ctx, copy, size);
    free(copy);
    return rc;
}

static void refuse_versions(damage_read_fn *read, void *ctx, const void *value, size_t size)
{
    uint32_t version, other = 0;

    memcpy(&version, value, sizeof version);
    assert_int_equal(damage_read(read, ctx, value, size, 0, &other, sizeof other), -OHEM_STATE);
    for (int bit = 0; bit < 32; bit++) {
        other = version ^ UINT32_C(1) << bit;
        assert_int_equal(damage_read(read, ctx, value, size, 0, &other, sizeof other), -OHEM_STATE);
    }
}

void damage_refused(damage_read_fn *read, void *ctx, const void *value, size_t size)
{
    for (size_t shorter = 0; shorter < size; shorter++)
        assert_int_equal(read_copy(read, ctx, value, size, shorter), -OHEM_STATE);
    for (size_t more = 1; more <= 16; more++)
        assert_int_equal(read_copy(read, ctx, value, size, size + more), -OHEM_STATE);
    refuse_versions(read, ctx, value, size);
}
