/* disk.h - a disk for an engine in a test: a sorted list of rows (rows.h), written all or none.
 *
 * What was written survives everything; what was not is gone with the daemon. No file behind it.
 */
#ifndef DISK_H
#define DISK_H

#include "../../daemon/engine/engine.h"

struct disk_row {
    struct rows_key key;
    void *value;
    size_t size;
};

struct disk {
    struct disk_row *rows; /* by key */
    size_t count, capacity;
};

/** Make these changes, in their order. */
void disk_write(struct disk *d, const struct rows *changes);

/** Give every row that comes back (rows.h) to an engine that has its jobs. @return as
 * engine_restore_row() */
int disk_restore(const struct disk *d, struct engine *e, struct reason *why);

void disk_deinit(struct disk *d);

#endif
