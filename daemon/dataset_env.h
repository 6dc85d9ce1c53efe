/* dataset_env.h - one LMDB environment, its snapshots, and its file as a client may map it.
 *
 * Private to dataset*.c, the only ones to include lmdb.h. LMDB's locks are the process's: who opens
 * an environment twice loses the first one's snapshot to the next writer. So data sets that lie in
 * one environment share it, and a later snapshot is one more transaction beside the earlier ones.
 * From the loop's thread only.
 */
#ifndef OHEMD_DATASET_ENV_H
#define OHEMD_DATASET_ENV_H

#include "../proto/reason.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

TAILQ_HEAD(snapshot_list, snapshot);

struct environment {
    TAILQ_ENTRY(environment) of_process;
    unsigned refs;
    dev_t device; /* which data file it is */
    ino_t inode;
    bool immutable;
    MDB_env *env;
    struct snapshot_list snapshots; /* oldest first */
};

/* A read transaction, which pins the pages that it sees. */
struct snapshot {
    TAILQ_ENTRY(snapshot) of_environment;
    unsigned refs; /* by data sets, which hold the environment as well */
    struct environment *in;
    MDB_txn *txn;
};

/** Open, or join one that is open already. Data sets of one environment must agree on immutable.
 *  @return 0, or -OHEM_DATASET, -OHEM_NOMEM */
int dataset_env_open(const char *path, bool immutable, struct environment **out,
                     struct reason *why);

/** Is that path's data file another one than this environment's by now? */
bool dataset_env_was_replaced(const struct environment *e, const char *path);

/** The latest snapshot that is held already; else, or when it is not the newest state of the file
 *  and that is asked for, a new one. @return 0, or LMDB's error */
int dataset_env_snapshot(struct environment *e, bool newest, struct snapshot **out);

/** End its transaction, keep the handles of databases that it opened, and begin it anew. Nobody
 *  else has it. @return 0, or LMDB's error */
int dataset_env_snapshot_commit(struct snapshot *s);

/** NULL is allowed. */
void dataset_env_snapshot_unref(struct snapshot *s);

/** NULL is allowed. */
void dataset_env_unref(struct environment *e);

/** LMDB's error in words, with what can be done about it. @return our code for it */
int dataset_env_fail(const char *path, const char *doing, int rc, struct reason *why);

/** The file behind an environment, as a client may map it. */
struct environment_file {
    int fd;            /* LMDB's, read-only */
    uint64_t bytes;    /* of the file */
    const char *base;  /* where its byte 0 lies, or would lie, in this process */
    uint64_t watch[2]; /* where the transaction ids of the two meta pages lie */
    uint64_t snapshot; /* the id of ours */
};

/**
 * Find it, given the address of some record: from the mapping that holds it (/proc/self/maps), and
 * from the header of a meta page, whose newest id must be the one that LMDB tells.
 * @return 0, or -OHEM_DATASET with the reason
 */
int dataset_env_file(const struct snapshot *s, const void *record, struct environment_file *out,
                     struct reason *why);

#endif
