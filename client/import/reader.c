/* reader.c - the table of source formats, and the little that they share; see reader.h. */
#include "reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct reader_format *const formats[] = {
    &reader_idx, &reader_folder, &reader_tar, &reader_npy, &reader_lmdb, NULL,
};

const struct reader_format *const *reader_formats(void)
{
    return formats;
}

const struct reader_format *reader_find(const char *name)
{
    for (size_t i = 0; formats[i] != NULL; i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

/* Ten digits hold every ordinal below READER_INSTANCES_MAX; eight do for most data sets. */
size_t reader_ordinal_set(struct reader_ordinal *out, uint64_t index, uint64_t count)
{
    int digits = count <= 100000000 ? READER_KEY_DIGITS_MIN : 10;

    return (size_t)snprintf(out->text, sizeof out->text, "%0*" PRIu64, digits, index);
}

int reader_check_size(const char *path, uint64_t count, uint64_t size, struct reason *why)
{
    if (size == 0) {
        reason_set(why, "%s: its header claims records of 0 bytes", path);
        return -OHEM_DATASET;
    }
    if (size > READER_RECORD_BYTES_MAX) {
        reason_set(why,
                   "%s: its header claims records of %" PRIu64 " bytes; at most %u are allowed",
                   path, size, READER_RECORD_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    if (count > READER_INSTANCES_MAX) {
        reason_set(why, "%s: its header claims %" PRIu64 " instances; at most %u are allowed", path,
                   count, READER_INSTANCES_MAX);
        return -OHEM_TOO_LARGE;
    }
    return 0;
}

int reader_fail_errno(const char *path, struct reason *why)
{
    reason_set(why, "%s: %s", path, strerror(errno));
    return -OHEM_SYSTEM;
}

int reader_fail_memory(const char *path, struct reason *why)
{
    reason_set(why, "%s: out of memory", path);
    return -OHEM_NOMEM;
}
