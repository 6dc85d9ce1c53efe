/* rows.h - what the engine remembers across its death, as rows: a key, and bytes.
 *
 * The engine does not know where rows are kept. It collects those that changed since it was last
 * asked (engine_capture()); the shell writes all of them or none; after a restart every row comes
 * back in the order of the keys (engine_restore_row()). So the disk of a test is a list of rows.
 *
 * Keys are ordered by table, then job, then number. What a row holds is said where it is written;
 * every value begins with a version of its own.
 */
#ifndef OHEM_ROWS_H
#define OHEM_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows come back in this order: what a table's rows refer to stands before it. */
enum rows_table {
    ROWS_JOB = 1, /* number 0: one row per job */
    ROWS_SESSION, /* by the session's number */
    ROWS_BATCH,   /* by step: drawn, and not applied yet (strict order) */
    ROWS_LEASE,   /* by session and slot (lease_row_number()): handed out and not given back */
    ROWS_POOL,    /* by sequence: coverage that came back */
    ROWS_STEPS,   /* by block of steps: what became of each */
    ROWS_CHUNK,   /* by chunk of ids: their scores */
    ROWS_JOURNAL, /* by LSN: reports that some chunk does not hold yet */
    ROWS_TEXT,    /* number 0: the settings that the job ran with last */
    ROWS_AUDIT,   /* by byte of the job's audit log; these do not come back (audit.h) */
    ROWS_MARKS,   /* by block of ids: who is in quarantine, or pardoned */
    ROWS_TABLES_END
};

struct rows_key {
    uint32_t table, job;
    uint64_t number;
};

/* A change: the row is now these bytes; or, with value NULL, all rows of the table and job with
 * numbers from key.number to `last` are gone. */
struct rows_change {
    struct rows_key key;
    uint64_t last;
    const void *value; /* aligned to 8 */
    size_t size;
};

#define ROWS_CHANGE_BYTES 64 /* what a change takes beside its value, at most */

/* Changes in the order in which they have to be made. Memory is kept from use to use. */
struct rows {
    unsigned char *bytes;
    size_t size, capacity;
    size_t count;
    bool failed; /* there was no memory: what is in it is not whole */
};

void rows_deinit(struct rows *r);

/** Forget what is in it, keep the memory. */
void rows_clear(struct rows *r);

/** Make room for so many bytes of changes, ROWS_CHANGE_BYTES of them per change. @return 0 or
 *  -OHEM_NOMEM; after 0 puts and removes within it cannot fail */
int rows_reserve(struct rows *r, size_t bytes);

/** Put a row. @return where its bytes go (aligned to 8, valid until the next call), or NULL without
 *  memory; then `failed` stays set until rows_clear(). */
void *rows_put(struct rows *r, struct rows_key key, size_t size);

/** Remove the rows of a table and job with numbers first..last. */
void rows_remove(struct rows *r, uint32_t table, uint32_t job, uint64_t first, uint64_t last);

/* Numbers whose rows are to be removed with the next capture. */
struct rows_gone {
    uint64_t *numbers;
    size_t count, capacity;
};

/** Room for so many. @return 0 or -OHEM_NOMEM */
int rows_gone_reserve(struct rows_gone *g, size_t count);
void rows_gone_deinit(struct rows_gone *g);

/** Room was made (asserted). */
void rows_gone_add(struct rows_gone *g, uint64_t number);

/** Remove them all. */
void rows_gone_capture(struct rows_gone *g, uint32_t table, uint32_t job, struct rows *out);

/** Walk: *at is 0 at first. @return whether there was another change. */
bool rows_next(const struct rows *r, size_t *at, struct rows_change *out);

#endif
