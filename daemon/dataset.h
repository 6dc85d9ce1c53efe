/* dataset.h - a read-only view of an LMDB data set: ids to addresses.
 *
 * Opened once, in one read transaction that is kept: it pins the pages, so the addresses found by
 * one scan at the start stay valid and a record is found without a tree descent. An instance's id
 * is the ordinal of its key. Reading records is safe from any thread; keys and scan from the loop's
 * only.
 */
#ifndef OHEMD_DATASET_H
#define OHEMD_DATASET_H

#include "../proto/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATASET_INSTANCES_MAX    UINT32_MAX /* ids are u32 inside: 0..N-1 */
#define DATASET_RECORD_BYTES_MAX (1u << 30)

struct dataset;

struct dataset_record {
    const void *data; /* lent, as long as the data set is open */
    size_t size;
};

/** Called every second or so while a long scan goes on; `total` as LMDB's own count has it. */
typedef void (*dataset_progress_cb)(void *ctx, uint64_t done, uint64_t total);

/**
 * Open and scan. Data sets of one environment share its snapshot, and must agree on immutable. From
 * the loop's thread only, as dataset_close().
 * @param path       an LMDB folder, or a data file (MDB_NOSUBDIR)
 * @param database   a named sub-database, or "" for the main one
 * @param immutable  nobody writes: open without the lock file
 * @return 0, or -OHEM_DATASET, -OHEM_NOMEM with the reason
 */
int dataset_open(const char *path, const char *database, bool immutable, struct dataset **out,
                 struct reason *why, dataset_progress_cb progress_cb, void *ctx);
void dataset_close(struct dataset *d);

uint64_t dataset_count(const struct dataset *d);
uint64_t dataset_record_bytes(const struct dataset *d);     /* of every record, 0: sizes differ */
uint64_t dataset_record_bytes_max(const struct dataset *d); /* of the largest */
uint64_t dataset_bytes(const struct dataset *d);            /* all records together */
uint64_t dataset_fingerprint(const struct dataset *d);      /* rolling hash over keys, and N */

/** id < dataset_count(). */
struct dataset_record dataset_record(const struct dataset *d, uint64_t id);

/** The key of an id, by a short walk. Lent as the record is. @return 0 or -OHEM_DATASET. */
int dataset_key(const struct dataset *d, uint64_t id, struct dataset_record *out);

/** LMDB's version, as it says itself. */
const char *dataset_library_version(void);

#endif
