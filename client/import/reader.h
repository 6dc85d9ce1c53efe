/* reader.h - one source of instances, whatever its format: open, next, next, ..., close.
 *
 * A format is a row of functions in its reader_*.c. A reader gives key, body and label apart;
 * whether the label becomes the record's first byte is the writer's affair, so that filters can
 * rewrite it. Sources are hostile input: every number in them is checked before it is used, and an
 * error names file, offset, value and limit. One thread; nothing here knows LMDB but reader_lmdb.c.
 */
#ifndef IMPORT_READER_H
#define IMPORT_READER_H

#include "../../proto/error.h"
#include "../../proto/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READER_RECORD_BYTES_MAX (1u << 30)
#define READER_INSTANCES_MAX    UINT32_MAX
#define READER_LABEL_MAX        65535
#define READER_LABEL_NONE       (-1)
#define READER_KEY_DIGITS_MIN   8 /* of an ordinal used as key: "00000042" */

struct instance {
    const void *key;
    size_t key_size;
    const void *body; /* without a label byte */
    size_t body_size;
    int32_t label; /* 0..READER_LABEL_MAX, or READER_LABEL_NONE */
};

/* What to read, as the command line says it. Lent; it outlives the reader. */
struct source {
    const struct reader_format *format;
    char **paths;
    size_t path_count;
    const char *member;   /* tar: only this member of each sample; NULL: all */
    const char *database; /* lmdb: a named database; NULL: the main one */
    bool label_byte;      /* the record begins, or shall begin, with its label as one byte */
    bool labels_only;     /* bodies are not wanted: leave them empty, and do not read them */
};

/* The head of every reader; a format's own struct begins with it. */
struct reader {
    const struct reader_format *format;
    bool labelled; /* instances may have labels; a tar's sample still can be without */
    uint64_t done,
        total; /* in the reader's own unit (instances, bytes), for a bar; total 0: unknown */
};

struct reader_format {
    const char *name;
    const char *usage;      /* its arguments */
    const char *label_from; /* where labels come from, for the error when there are none */
    size_t paths_min, paths_max;
    bool target_first;      /* on the command line; else it comes last */
    bool label_byte_always; /* the format's records have a label byte, asked for or not */

    /** @return 0; or -OHEM_NOMEM, -OHEM_SYSTEM, -OHEM_DATASET, -OHEM_TOO_LARGE with the reason. */
    int (*open)(const struct source *s, struct reader **out, struct reason *why);

    /**
     * The next instance, lent until the next call.
     * @return 1, 0 at the end, or an error as open() has them; after one, only close() is allowed
     */
    int (*next)(struct reader *r, struct instance *out, struct reason *why);

    void (*close)(struct reader *r);
};

extern const struct reader_format reader_idx, reader_folder, reader_tar, reader_npy, reader_lmdb;

/** The format of that name, or NULL. */
const struct reader_format *reader_find(const char *name);

/** All of them, ended by NULL. */
const struct reader_format *const *reader_formats(void);

/* An ordinal as a key: zero-padded, so that the order of keys is the order of the source. */
struct reader_ordinal {
    char text[24];
};

/** Key of instance `index` of `count`. @return its size; the text is written to `out`. */
size_t reader_ordinal_set(struct reader_ordinal *out, uint64_t index, uint64_t count);

/** Is a record of `size` bytes, times `count`, within the limits? @return 0 or -OHEM_TOO_LARGE. */
int reader_check_size(const char *path, uint64_t count, uint64_t size, struct reason *why);

/** The reason for -OHEM_SYSTEM, from errno. */
int reader_fail_errno(const char *path, struct reason *why);

/** -OHEM_NOMEM, with the reason. */
int reader_fail_memory(const char *path, struct reason *why);

#endif
