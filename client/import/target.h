/* target.h - the data set's folder, which appears under its name only when it is whole.
 *
 * Work is done in TARGET.importing beside it, which is renamed at the end, after everything in it
 * has reached the disk. A lock on that folder tells a running import from a dead one; what a dead
 * one left is removed by the next import into the same target.
 */
#ifndef IMPORT_TARGET_H
#define IMPORT_TARGET_H

#include "../../proto/reason.h"

#include <stdbool.h>
#include <stddef.h>

#define TARGET_PATH_MAX   4096
#define TARGET_NOISE_FILE "noise.tsv"

struct target {
    char path[TARGET_PATH_MAX];
    char work[TARGET_PATH_MAX]; /* where to write until target_commit() */
    int lock_fd;                /* of the work folder; -1: no target is begun */
    bool removed_leftover;      /* a dead import's work was there */
};

/** The path of a file in the work folder. `out` has TARGET_PATH_MAX bytes; names are ours and
 * short. */
void target_file(const struct target *t, const char *name, char *out);

/**
 * Refuse a target that exists, make the work folder, lock it.
 * @return 0, or -OHEM_EXISTS (also when another import into it runs), -OHEM_INVALID, -OHEM_SYSTEM
 */
int target_begin(struct target *t, const char *path, struct reason *why);

/** Sync the work folder and give it its name. @return 0, -OHEM_EXISTS or -OHEM_SYSTEM. */
int target_commit(struct target *t, struct reason *why);

/** Without a commit before it, remove the work folder. Takes a target that was never begun. */
void target_end(struct target *t);

#endif
