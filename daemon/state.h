/* state.h - the engine's rows on disk: one LMDB environment in a folder of its own.
 *
 * A commit writes a list of changes, all or none, and has synced them to disk when it is done. It
 * runs on a thread of its own: the loop never waits for a disk, and no other work waits behind a
 * commit as it would in a queue that is shared. What cannot be written is kept and tried again,
 * every STATE_RETRY_MS, until it can; meanwhile nothing later is taken.
 *
 * Rows of ROWS_AUDIT are not loaded at the start: they are read in parts, by state_read().
 *
 * All calls are made on the loop's thread.
 *
 *     state_open()  state_load()  state_commit_now()        at the start, before anything is served
 *     state_start()  state_rows() -> state_commit() -> done_cb ...             while the loop runs
 *     state_stop()  state_commit_now()  (run the loop until it is empty)  state_close()  at the end
 */
#ifndef OHEMD_STATE_H
#define OHEMD_STATE_H

#include "../proto/reason.h"
#include "engine/rows.h"
#include "pool.h"

#include <stdint.h>
#include <uv.h>

#define STATE_RETRY_MS 1000

/* Drawn when the state is made. */
struct state_identity {
    uint64_t memory;     /* which state it is, for trainers */
    uint64_t secret[2];  /* the key of tokens and digests */
    uint64_t created_ms; /* of the wall clock */
};

struct state_status {
    uint64_t commits, failures; /* failures: tries, of all commits */
    uint64_t commit_bytes_last, commit_ns_last, commit_ns_longest;
    uint64_t bytes;              /* of the environment, as far as it is used */
    bool failing;                /* the last try failed */
    struct reason last_error;    /* "" before the first */
    uint64_t last_error_wall_ms; /* when */
};

struct state;
struct state_disk;

/**
 * Open the state in a folder; make both when they are not there. Of the folder's path only the last
 * level is made. Nobody else can open it until state_close(), or this process's end.
 * @param bytes_max  the environment grows no further; takes address space only
 * @return 0, or -OHEM_STATE, -OHEM_NOMEM with the reason; what was there is as it was
 */
int state_open(const char *dir, uint64_t bytes_max, struct state **out, struct reason *why);

const struct state_identity *state_identity(const struct state *s);

/**
 * Begin anew: a new identity, and no rows. On disk all is as it was until the next commit, which
 * replaces it as a whole. Before state_start().
 * @return 0, or -OHEM_SYSTEM: no random numbers
 */
int state_forget(struct state *s, struct reason *why);

/** @param value  lent, aligned to 8. @return 0, or an error that ends the walk */
typedef int (*state_row_cb)(void *ctx, const struct rows_key *key, const void *value, size_t size,
                            struct reason *why);

/** All rows but those of ROWS_AUDIT, in the order of their keys; after state_forget() there are
 * none. Before state_start().
 *  @return 0, the callback's error, or -OHEM_STATE, -OHEM_NOMEM with the reason */
int state_load(struct state *s, state_row_cb row_cb, void *ctx, struct reason *why);

/** Rows that were handed over are on disk (rc 0); or they are not and are tried again: then
 *  state_status() says why, and there will be another call. */
typedef void (*state_done_cb)(void *ctx, int rc);

/** Commit on a thread from now on. @return 0, or -OHEM_NOMEM, -OHEM_SYSTEM */
int state_start(struct state *s, uv_loop_t *loop, state_done_cb done_cb, void *ctx);

/** The list to fill, empty; or NULL while rows that were handed over are not on disk. */
struct rows *state_rows(struct state *s);

/** Write what state_rows() was filled with. */
void state_commit(struct state *s);

/* A part of the audit (ROWS_AUDIT) to be read; the caller's, and in use until done_cb. */
struct state_reading {
    struct rows_key from; /* and what follows of this table and job */
    size_t bytes_max;     /* after so many no further row is begun */
    /** On the state's thread, for each row; value lent, aligned to 8. @return whether to go on */
    bool (*row_cb)(void *ctx, uint64_t number, const void *value, size_t size);
    /** Likewise, when that was all: may make of it what the loop has no time for. May be NULL. */
    void (*end_cb)(struct state_reading *r);
    /** On the loop's thread. Not called after state_stop(). */
    void (*done_cb)(struct state_reading *r);
    void *ctx;
    /* the outcome */
    int rc; /* 0, or -OHEM_STATE, -OHEM_NOMEM with the reason */
    struct reason why;
    bool more;     /* there are further rows, from: */
    uint64_t next; /* the number of the first */
    /* the state's */
    struct state_disk *disk;
    struct pool_item item;
};

/** Read what the last commit left there, on the state's thread: in turn with commits. After
 *  state_start(), before state_stop(). */
void state_read(struct state *s, struct state_reading *r);

/** Wait for the thread's try and end the thread; done_cb is called no more. If state_rows() is NULL
 *  then, state_commit_now() has to come next. */
void state_stop(struct state *s);

/** Write here and now what state_rows() was filled with, or what was handed over and is not on disk
 *  yet. Before state_start() or after state_stop(). @return 0, or -OHEM_STATE, -OHEM_NOMEM */
int state_commit_now(struct state *s, struct reason *why);

const struct state_status *state_status(const struct state *s);

/** NULL is allowed. After state_stop() if it was started, and when the loop is empty. */
void state_close(struct state *s);

#endif
