/* dataset.h - a read-only view of an LMDB data set: ids to addresses.
 *
 * Opened once, in one read transaction that is kept: it pins the pages, so the addresses found by
 * one scan at the start stay valid and a record is found without a tree descent. An instance's id
 * is the ordinal of its key. What is written later is seen by the next generation: a data set of
 * its own, which replaces this one if its keys only grew at the end. Reading records is safe from
 * any thread; keys and scan from the loop's only.
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

/** One more owner: records are lent until the last one closes it. @return d */
struct dataset *dataset_ref(struct dataset *d);
void dataset_close(struct dataset *d);

/* ---- the next generation (dataset_grow.c) ---- */

/**
 * Has the environment been written to since? Then pin its present state, unread.
 * @param out  NULL: nothing was written, or nobody ever writes to it (immutable)
 * @return 0, or -OHEM_DATASET, -OHEM_NOMEM with the reason: it cannot be followed
 */
int dataset_look(const struct dataset *d, struct dataset **out, struct reason *why);

/** Read what dataset_look() pinned. Long; any thread, and nobody else may touch it meanwhile.
 *  @return as dataset_open(); then it can only be closed */
int dataset_scan(struct dataset *next, struct reason *why);

/** Give up its scan soon, with -OHEM_DATASET. From another thread. */
void dataset_stop_scan(struct dataset *next);

/**
 * May `next` take the place of d? All keys of d must come first, and what its clients count on must
 * hold: where all records had one size they still have.
 * @return 0, or -OHEM_DATASET with the first key that differs and where it stands
 */
int dataset_compare(const struct dataset *d, const struct dataset *next, struct reason *why);

/** The fingerprint that a data set of the first n keys has. @return whether there are so many */
bool dataset_prefix(const struct dataset *d, uint64_t n, uint64_t *out);

uint64_t dataset_count(const struct dataset *d);
uint64_t dataset_record_bytes(const struct dataset *d);     /* of every record, 0: sizes differ */
uint64_t dataset_record_bytes_max(const struct dataset *d); /* of the largest */
uint64_t dataset_bytes(const struct dataset *d);            /* all records together */
uint64_t dataset_fingerprint(const struct dataset *d);      /* rolling hash over keys, and N */

/** id < dataset_count(). */
struct dataset_record dataset_record(const struct dataset *d, uint64_t id);

/* The data file, as a client may map it (share.h of proto/ says what the watch is for). */
struct dataset_file {
    int fd; /* lent, read-only, as long as the data set is open */
    uint64_t bytes;
    uint64_t watch[2], watch_max;
    bool guarded; /* by our read transaction; an immutable data set has none that writers see */
};

/** @return 0, or -OHEM_DATASET with the reason why it cannot be mapped. */
int dataset_file(const struct dataset *d, struct dataset_file *out, struct reason *why);

/** Bring the addresses of these records into the cache: they are looked up next. */
void dataset_fetch(const struct dataset *d, const uint32_t *ids, uint32_t count);

/** Where in the data file a record begins. Needs dataset_file() to succeed. */
uint64_t dataset_offset(const struct dataset *d, uint64_t id);

/** Tell the kernel that these records will be read soon. Any thread; does not wait for the disk. */
void dataset_read_ahead(const struct dataset *d, const uint32_t *ids, uint32_t count);

/**
 * Copy a record by reading the file. A page fault on a cold page may hold the lock of the process's
 * memory while the disk works, and who allocates then waits as well; reading does not. Any thread.
 */
void dataset_read(const struct dataset *d, uint64_t id, void *out);

/* When these two pay. */
enum dataset_readahead {
    DATASET_READAHEAD_AUTO, /* when reading had to wait for the disk lately */
    DATASET_READAHEAD_YES,
    DATASET_READAHEAD_NO
};

/** Before threads read. */
void dataset_set_readahead(struct dataset *d, enum dataset_readahead mode);

/** Is it time for them? Any thread, as the next. */
bool dataset_wants_read_ahead(const struct dataset *d);

/** A piece of a batch was read, with so many major page faults. */
void dataset_note_faults(struct dataset *d, uint64_t major_faults);

/** The key of an id, by a short walk. Lent as the record is. @return 0 or -OHEM_DATASET. */
int dataset_key(const struct dataset *d, uint64_t id, struct dataset_record *out);

/** LMDB's version, as it says itself. */
const char *dataset_library_version(void);

#endif
