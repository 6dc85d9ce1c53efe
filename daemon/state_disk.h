/* state_disk.h - the state's LMDB environment: its folder, opening, identity, rows in and out.
 *
 * Private to state*.c. One thread at a time. Three databases lie in it: `meta` with one row, the
 * identity; `rows`; and `audit` with those of ROWS_AUDIT, made by the first commit, which a start
 * never looks at: it may be large. A key is table (1 byte), job (4) and number (8), high bytes
 * first, so LMDB's order is that of rows.h.
 */
#ifndef OHEMD_STATE_DISK_H
#define OHEMD_STATE_DISK_H

#include "state.h"

#include <limits.h>
#include <lmdb.h>

#define STATE_KEY_BYTES 13u

struct state_disk {
    char dir[PATH_MAX];
    uint64_t bytes_max;
    int lock_fd;
    MDB_env *env; /* NULL after a write that failed, until the next one */
    MDB_dbi meta, rows;
    struct state_identity identity; /* to be, when `forgets` */
    uint64_t memory;                /* of what lies on disk */
    bool forgets;                   /* the next write begins anew */
};

/** As state_open(). */
int state_disk_open(const char *dir, uint64_t bytes_max, struct state_disk **out,
                    struct reason *why);

/** NULL is allowed. */
void state_disk_close(struct state_disk *d);

/** As state_forget(), state_load(). */
int state_disk_forget(struct state_disk *d, struct reason *why);
int state_disk_load(struct state_disk *d, state_row_cb row_cb, void *ctx, struct reason *why);

/** One transaction with all changes, synced. @return 0, or -OHEM_STATE, -OHEM_NOMEM: whether they
 *  are on disk is not known, write them again */
int state_disk_write(struct state_disk *d, const struct rows *rows, struct reason *why);

/** As state_read(), here and now. Fills rc, why, next and more. */
void state_disk_read(struct state_disk *d, struct state_reading *r);

/** Bytes of the environment that are used, free pages between them included. */
uint64_t state_disk_bytes(const struct state_disk *d);

/* ---- of state_env.c, for the above ---- */

/** LMDB's error in words. @return our code for it */
int state_env_fail(const struct state_disk *d, const char *doing, int rc, struct reason *why);

/** Open what a failed write closed; it must be what it was. @return 0, or as state_disk_write() */
int state_env_reopen(struct state_disk *d, struct reason *why);
void state_env_close(struct state_disk *d);

/** The wall clock. */
uint64_t state_env_wall_ms(void);

/** @return 0, or -OHEM_SYSTEM */
int state_env_draw_identity(struct state_identity *out, struct reason *why);

/** @return 0 or LMDB's code */
int state_env_put_identity(struct state_disk *d, MDB_txn *txn);

/* ---- of state_folder.c ---- */

/** Make the folder if it is not there, and lock it. @return 0, or -OHEM_STATE with the reason.
 *  @param out_fd  the lock is held as long as this is open */
int state_folder_lock(const char *dir, int *out_fd, struct reason *why);

/** The names in it are on disk. @return 0 or errno */
int state_folder_sync(const char *dir);

#endif
