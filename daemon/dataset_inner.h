/* dataset_inner.h - what the files of dataset share; private to them. */
#ifndef OHEMD_DATASET_INNER_H
#define OHEMD_DATASET_INNER_H

#include "dataset.h"
#include "dataset_env.h"

#include <stdatomic.h>

#define DATASET_STRIDE 256 /* of the ids whose keys are kept */

struct dataset {
    unsigned refs;
    struct environment *in;
    struct snapshot *at;
    char *path, *database; /* as they were given */
    MDB_dbi dbi;
    MDB_cursor *cursor; /* for keys */
    struct dataset_record *records;
    struct dataset_record *checkpoints; /* the keys of ids 0, 256, 512, ... */
    uint64_t *hashes;                   /* the fingerprint of all keys before those */
    uint64_t count, capacity;
    uint64_t bytes, size_min, size_max, fingerprint;
    struct environment_file file;
    struct reason no_file; /* why clients cannot map it, or "" */
    enum dataset_readahead readahead;
    atomic_bool stop; /* the scan is of no use any more */
    atomic_uint cold; /* pieces still to be read ahead for, since the disk was waited for */
};

/** One without a snapshot; dataset_close() frees it. @return 0 or -OHEM_NOMEM */
int dataset_new(const char *path, const char *database, struct dataset **out, struct reason *why);

/** Scan its snapshot. Long; on any thread that has the data set to itself. */
int dataset_read_all(struct dataset *d, struct reason *why, dataset_progress_cb progress_cb,
                     void *ctx);

/** The fingerprint of some keys, and then of those with one more behind them. */
uint64_t dataset_hash_key(uint64_t before, const MDB_val *key);

/** Its cursor to an id, from the nearest checkpoint. @return 0 or -OHEM_DATASET */
int dataset_walk_to(const struct dataset *d, uint64_t id, MDB_val *out);

#endif
