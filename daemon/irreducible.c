/* irreducible.c - see irreducible.h. */
#include "irreducible.h"

#include "../proto/error.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int check_size(const char *path, const struct stat *info, uint64_t n, struct reason *why)
{
    uint64_t bytes = (uint64_t)info->st_size;

    if (!S_ISREG(info->st_mode)) {
        reason_set(why, "irreducible '%s' is no file", path);
        return -OHEM_CONFIG;
    }
    if (bytes > 0 && bytes % sizeof(float) == 0 && bytes / sizeof(float) <= n)
        return 0;
    reason_set(why,
               "irreducible '%s' has %" PRIu64 " bytes; %zu for each of the %" PRIu64
               " instances (float32), or for the first of them, are wanted",
               path, bytes, sizeof(float), n);
    return -OHEM_CONFIG;
}

static int check_values(const char *path, const float *values, uint64_t count, struct reason *why)
{
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i])) {
            reason_set(why, "irreducible '%s': the loss of instance %" PRIu64 " is %g", path, i,
                       (double)values[i]);
            return -OHEM_CONFIG;
        }
    return 0;
}

static int read_all(const char *path, FILE *file, float *values, uint64_t count, struct reason *why)
{
    if (fread(values, sizeof *values, count, file) == count)
        return check_values(path, values, count, why);
    reason_set(why, "irreducible '%s' cannot be read: %s", path,
               ferror(file) ? strerror(errno) : "it has become shorter");
    return -OHEM_CONFIG;
}

static int read_file(const char *path, FILE *file, uint64_t n, float **out, uint64_t *out_count,
                     struct reason *why)
{
    struct stat info;
    float *values;
    int rc;

    if (fstat(fileno(file), &info) != 0) {
        reason_set(why, "irreducible '%s': %s", path, strerror(errno));
        return -OHEM_CONFIG;
    }
    rc = check_size(path, &info, n, why);
    if (rc != 0)
        return rc;
    values = malloc((size_t)info.st_size);
    if (values == NULL) {
        reason_set(why, "irreducible '%s': no memory for its losses", path);
        return -OHEM_NOMEM;
    }
    *out_count = (uint64_t)info.st_size / sizeof *values;
    rc = read_all(path, file, values, *out_count, why);
    if (rc == 0)
        *out = values;
    else
        free(values);
    return rc;
}

int irreducible_read(const char *path, uint64_t n, float **out, uint64_t *out_count,
                     struct reason *why)
{
    FILE *file = fopen(path, "rbe");
    int rc;

    if (file == NULL) {
        reason_set(why, "irreducible '%s': %s", path, strerror(errno));
        return -OHEM_CONFIG;
    }
    rc = read_file(path, file, n, out, out_count, why);
    (void)fclose(file);
    return rc;
}
