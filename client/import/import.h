/* import.h - one import: from a source, along a plan, into a target. */
#ifndef IMPORT_IMPORT_H
#define IMPORT_IMPORT_H

#include "options.h"

#include <signal.h>

/* What came of it, for the closing line. */
struct import_result {
    uint64_t instances;
    uint64_t bytes; /* of all records */
    uint64_t flipped;
    bool labelled;
    bool removed_leftover;
    uint64_t class_counts[READER_LABEL_MAX + 1]; /* as written; when labelled */
};

/**
 * Do it. On failure there is no target.
 * @param stop  looked at between instances; not 0 ends the import as failed
 */
int import_run(const struct options *o, const volatile sig_atomic_t *stop,
               struct import_result *out, struct reason *why);

#endif
