/* dataset.c - one scan at the start, then records by address; see dataset.h.
 *
 * The scan runs in key order, so an id is the number of entries before its key. LMDB promises that
 * what a read transaction returned stays where it is until the transaction ends; ours ends with the
 * data set. Keys are needed rarely: every DATASET_STRIDE-th is kept, the rest is a short walk.
 */
#include "dataset_inner.h"

#include "../proto/error.h"
#include "engine/rng.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATABASES_MAX   128 /* names looked at for "holds named databases: ..." */
#define NAMES_BYTES_MAX 256 /* of the list in that error */
#define PROGRESS_STRIDE 65536
#define NAME_BYTES_MAX  512

/* ---- the database ------------------------------------------------------------------------------
 */

/* Is the entry of the main database a database itself? Then its name goes on the list. */
static bool note_database(struct dataset *d, const MDB_val *key, char *names)
{
    char name[NAME_BYTES_MAX];
    MDB_dbi dbi;

    if (key->mv_size >= sizeof name || memchr(key->mv_data, '\0', key->mv_size) != NULL)
        return false;
    memcpy(name, key->mv_data, key->mv_size);
    name[key->mv_size] = '\0';
    if (mdb_dbi_open(d->at->txn, name, 0, &dbi) != 0)
        return false;
    if (strlen(names) + strlen(name) + 3 < NAMES_BYTES_MAX) {
        strcat(names, names[0] != '\0' ? ", " : "");
        strcat(names, name);
    }
    return true;
}

/* The main database's entries may be databases: serving their headers as records would be absurd.
 */
static int refuse_databases(struct dataset *d, const char *path, struct reason *why)
{
    char names[NAMES_BYTES_MAX] = "";
    MDB_cursor *cursor;
    MDB_val key;
    bool found = false;
    int rc = mdb_cursor_open(d->at->txn, d->dbi, &cursor);

    if (rc != 0)
        return dataset_env_fail(path, "cannot read", rc, why);
    for (int i = 0; i < DATABASES_MAX && mdb_cursor_get(cursor, &key, NULL, MDB_NEXT) == 0; i++)
        found |= note_database(d, &key, names);
    mdb_cursor_close(cursor);
    if (!found)
        return 0;
    reason_set(why, "data set '%s' holds named databases (%s): choose one with database = NAME",
               path, names);
    return -OHEM_DATASET;
}

static int open_database(struct dataset *d, const char *path, const char *database,
                         struct reason *why)
{
    const char *name = database[0] != '\0' ? database : NULL;
    unsigned flags = 0;
    int rc = mdb_dbi_open(d->at->txn, name, 0, &d->dbi);

    if (rc == MDB_NOTFOUND) {
        reason_set(why, "data set '%s' has no database '%s'", path, database);
        return -OHEM_DATASET;
    }
    if (rc == 0)
        rc = mdb_dbi_flags(d->at->txn, d->dbi, &flags);
    if (rc != 0)
        return dataset_env_fail(path, "cannot open the database", rc, why);
    if (flags & MDB_DUPSORT) {
        reason_set(why,
                   "data set '%s' keeps several values under a key (MDB_DUPSORT); "
                   "an instance is one key with one value",
                   path);
        return -OHEM_DATASET;
    }
    return name == NULL ? refuse_databases(d, path, why) : 0;
}

/* ---- a file that is cut short ------------------------------------------------------------------
 */

/* Look at the last byte of each value. */
static void touch_records(struct dataset *d)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    volatile char byte;

    if (mdb_cursor_open(d->at->txn, d->dbi, &cursor) != 0)
        return;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0)
        if (value.mv_size > 0)
            byte = ((const char *)value.mv_data)[value.mv_size - 1];
    (void)byte;
}

/* Are all pages there? One that is not ends who touches it by SIGBUS, so a child tries. */
static bool can_be_read(struct dataset *d, const char *path, const char *database)
{
    static const struct rlimit no_core = {0, 0};
    struct reason ignored;
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (open_database(d, path, database, &ignored) == 0)
            touch_records(d);
        _exit(0);
    }
    if (child > 0)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    return status == 0;
}

/* A copy that was interrupted opens, and kills the daemon when a record beyond its end is drawn.
 * A shorter file than the header tells may be whole all the same: a writer does not write pages
 * that it took and gave back in one transaction. So only then all is tried.
 */
static int check_length(struct dataset *d, const char *path, const char *database,
                        struct reason *why)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat st;
    mdb_filehandle_t fd;
    uint64_t whole, size;
    int rc = mdb_env_get_fd(d->in->env, &fd);

    if (rc == 0)
        rc = mdb_env_info(d->in->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(d->in->env, &pages);
    if (rc == 0 && fstat(fd, &st) != 0)
        rc = errno;
    if (rc != 0)
        return dataset_env_fail(path, "cannot open", rc, why);
    whole = ((uint64_t)info.me_last_pgno + 1) * pages.ms_psize;
    size = (uint64_t)st.st_size;
    if (size >= whole || (size % pages.ms_psize == 0 && can_be_read(d, path, database)))
        return 0;
    reason_set(why,
               "data set '%s' is cut short: its file has %" PRIu64 " of %" PRIu64
               " bytes; was a copy interrupted?",
               path, size, whole);
    return -OHEM_DATASET;
}

/* ---- the scan ----------------------------------------------------------------------------------
 */

static int take_index_memory(struct dataset *d, const char *path, struct reason *why)
{
    MDB_stat st;
    int rc = mdb_stat(d->at->txn, d->dbi, &st);

    if (rc != 0)
        return dataset_env_fail(path, "cannot read", rc, why);
    if (st.ms_entries == 0 || st.ms_entries >= DATASET_INSTANCES_MAX) {
        reason_set(why, "data set '%s' has %zu instances; 1 to %u are allowed", path, st.ms_entries,
                   DATASET_INSTANCES_MAX - 1);
        return -OHEM_DATASET;
    }
    d->capacity = st.ms_entries;
    d->records = malloc(d->capacity * sizeof *d->records);
    d->checkpoints = malloc((d->capacity / DATASET_STRIDE + 1) * sizeof *d->checkpoints);
    d->hashes = malloc((d->capacity / DATASET_STRIDE + 1) * sizeof *d->hashes);
    if (d->records != NULL && d->checkpoints != NULL && d->hashes != NULL)
        return 0;
    reason_set(why, "data set '%s': no memory for the addresses of %zu instances", path,
               st.ms_entries);
    return -OHEM_NOMEM;
}

uint64_t dataset_hash_key(uint64_t before, const MDB_val *key)
{
    const unsigned char *byte = key->mv_data;
    uint64_t h = key->mv_size;

    for (size_t i = 0; i < key->mv_size; i++)
        h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
    return rng_mix(before + rng_mix(h));
}

static void note_record(struct dataset *d, const MDB_val *key, const MDB_val *value)
{
    d->records[d->count] = (struct dataset_record){value->mv_data, value->mv_size};
    if (d->count % DATASET_STRIDE == 0) {
        d->checkpoints[d->count / DATASET_STRIDE] =
            (struct dataset_record){key->mv_data, key->mv_size};
        d->hashes[d->count / DATASET_STRIDE] = d->fingerprint;
    }
    d->fingerprint = dataset_hash_key(d->fingerprint, key);
    d->bytes += value->mv_size;
    if (value->mv_size < d->size_min)
        d->size_min = value->mv_size;
    if (value->mv_size > d->size_max)
        d->size_max = value->mv_size;
    d->count++;
}

static int scan(struct dataset *d, const char *path, struct reason *why,
                dataset_progress_cb progress_cb, void *ctx)
{
    time_t told = time(NULL);
    MDB_val key, value;
    int rc;

    while ((rc = mdb_cursor_get(d->cursor, &key, &value, MDB_NEXT)) == 0 &&
           d->count < d->capacity) {
        if (value.mv_size > DATASET_RECORD_BYTES_MAX) {
            reason_set(why,
                       "data set '%s': instance %" PRIu64 " has %zu bytes, over the limit of %u",
                       path, d->count, value.mv_size, DATASET_RECORD_BYTES_MAX);
            return -OHEM_DATASET;
        }
        note_record(d, &key, &value);
        if (d->count % PROGRESS_STRIDE == 0 && atomic_load(&d->stop)) {
            reason_set(why, "data set '%s': no longer wanted", path);
            return -OHEM_DATASET;
        }
        if (d->count % PROGRESS_STRIDE == 0 && progress_cb != NULL && time(NULL) != told) {
            told = time(NULL);
            progress_cb(ctx, d->count, d->capacity);
        }
    }
    if (rc != MDB_NOTFOUND)
        return dataset_env_fail(path, "cannot read", rc, why);
    return 0;
}

/* ---- its file ----------------------------------------------------------------------------------
 */

#define CHECKS 64u /* records compared with the file */

/* Is the record where we say that it is in the file? */
static bool check_offset(const struct dataset *d, uint64_t id)
{
    struct dataset_record r = d->records[id];
    uint64_t offset = dataset_offset(d, id);
    char bytes[256];
    size_t size = r.size < sizeof bytes ? r.size : sizeof bytes;

    return (const char *)r.data >= d->file.base && offset <= d->file.bytes &&
           r.size <= d->file.bytes - offset &&
           pread(d->file.fd, bytes, size, (off_t)offset) == (ssize_t)size &&
           memcmp(bytes, r.data, size) == 0;
}

/* What a client may map. That it cannot is no error of the data set: there are other ways. */
static void find_file(struct dataset *d)
{
    uint64_t stride = d->count / CHECKS + 1;

    if (dataset_env_file(d->at, d->records[0].data, &d->file, &d->no_file) != 0)
        return;
    for (uint64_t id = 0; id < d->count; id++) {
        const char *end = (const char *)d->records[id].data + d->records[id].size;
        bool inside = (const char *)d->records[id].data >= d->file.base &&
                      end <= d->file.base + d->file.bytes;

        if (!inside || (id % stride == 0 && !check_offset(d, id))) {
            reason_set(&d->no_file, "record %" PRIu64 " is not where its address says", id);
            return;
        }
    }
}

/* ---- opening -----------------------------------------------------------------------------------
 */

int dataset_new(const char *path, const char *database, struct dataset **out, struct reason *why)
{
    struct dataset *d = calloc(1, sizeof *d);

    if (d != NULL) {
        d->refs = 1;
        d->size_min = UINT64_MAX;
        d->path = strdup(path);
        d->database = strdup(database);
    }
    if (d != NULL && d->path != NULL && d->database != NULL) {
        *out = d;
        return 0;
    }
    dataset_close(d);
    reason_set(why, "data set '%s': no memory", path);
    return -OHEM_NOMEM;
}

/* LMDB forgets the handles of named databases with the transaction that opened them, unless that is
 * committed. Later snapshots need them, so the first one is preceded by a transaction that opens
 * all, as far as they are looked for. */
static int open_handles(struct dataset *d)
{
    char ignored[NAMES_BYTES_MAX] = "";
    MDB_cursor *cursor;
    MDB_val key;
    MDB_dbi dbi;
    int rc = mdb_dbi_open(d->at->txn, NULL, 0, &dbi);

    if (rc == 0)
        rc = mdb_cursor_open(d->at->txn, dbi, &cursor);
    if (rc != 0)
        return rc;
    if (d->database[0] != '\0')
        (void)mdb_dbi_open(d->at->txn, d->database, 0,
                           &dbi); /* what is wrong with it comes later */
    for (int i = 0; i < DATABASES_MAX && mdb_cursor_get(cursor, &key, NULL, MDB_NEXT) == 0; i++)
        (void)note_database(d, &key, ignored);
    mdb_cursor_close(cursor);
    return dataset_env_snapshot_commit(d->at);
}

/* The first snapshot of an environment, or the one that other data sets have. */
static int open_snapshot(struct dataset *d, struct reason *why)
{
    bool first = TAILQ_EMPTY(&d->in->snapshots);
    int rc = dataset_env_snapshot(d->in, false, &d->at);

    if (rc != 0)
        return dataset_env_fail(d->path, "cannot open", rc, why);
    if (!first)
        return 0;
    rc = check_length(d, d->path, d->database, why);
    if (rc != 0)
        return rc;
    rc = open_handles(d);
    return rc == 0 ? 0 : dataset_env_fail(d->path, "cannot read", rc, why);
}

int dataset_read_all(struct dataset *d, struct reason *why, dataset_progress_cb progress_cb,
                     void *ctx)
{
    int rc = take_index_memory(d, d->path, why);

    if (rc == 0 && (rc = mdb_cursor_open(d->at->txn, d->dbi, &d->cursor)) != 0)
        rc = dataset_env_fail(d->path, "cannot read", rc, why);
    if (rc == 0)
        rc = scan(d, d->path, why, progress_cb, ctx);
    if (rc == 0)
        find_file(d);
    return rc;
}

int dataset_open(const char *path, const char *database, bool immutable, struct dataset **out,
                 struct reason *why, dataset_progress_cb progress_cb, void *ctx)
{
    struct dataset *d = NULL;
    int rc = dataset_new(path, database, &d, why);

    if (rc == 0)
        rc = dataset_env_open(path, immutable, &d->in, why);
    if (rc == 0)
        rc = open_snapshot(d, why);
    if (rc == 0)
        rc = open_database(d, path, database, why);
    if (rc == 0)
        rc = dataset_read_all(d, why, progress_cb, ctx);
    if (rc != 0) {
        dataset_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

struct dataset *dataset_ref(struct dataset *d)
{
    d->refs++;
    return d;
}

void dataset_close(struct dataset *d)
{
    if (d == NULL || --d->refs > 0)
        return;
    if (d->cursor != NULL)
        mdb_cursor_close(d->cursor);
    dataset_env_snapshot_unref(d->at);
    dataset_env_unref(d->in);
    free(d->records);
    free(d->checkpoints);
    free(d->hashes);
    free(d->path);
    free(d->database);
    free(d);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

uint64_t dataset_count(const struct dataset *d)
{
    return d->count;
}

uint64_t dataset_record_bytes(const struct dataset *d)
{
    return d->size_min == d->size_max ? d->size_max : 0;
}

uint64_t dataset_record_bytes_max(const struct dataset *d)
{
    return d->size_max;
}

uint64_t dataset_bytes(const struct dataset *d)
{
    return d->bytes;
}

uint64_t dataset_fingerprint(const struct dataset *d)
{
    return d->fingerprint;
}

struct dataset_record dataset_record(const struct dataset *d, uint64_t id)
{
    return d->records[id];
}

int dataset_walk_to(const struct dataset *d, uint64_t id, MDB_val *out)
{
    const struct dataset_record *checkpoint = &d->checkpoints[id / DATASET_STRIDE];
    MDB_val key = {.mv_size = checkpoint->size, .mv_data = (void *)(uintptr_t)checkpoint->data};
    int rc = mdb_cursor_get(d->cursor, &key, NULL, MDB_SET_KEY);

    for (uint64_t i = 0; i < id % DATASET_STRIDE && rc == 0; i++)
        rc = mdb_cursor_get(d->cursor, &key, NULL, MDB_NEXT);
    if (rc != 0)
        return -OHEM_DATASET;
    *out = key;
    return 0;
}

int dataset_key(const struct dataset *d, uint64_t id, struct dataset_record *out)
{
    MDB_val key;
    int rc = dataset_walk_to(d, id, &key);

    if (rc == 0)
        *out = (struct dataset_record){key.mv_data, key.mv_size};
    return rc;
}

int dataset_file(const struct dataset *d, struct dataset_file *out, struct reason *why)
{
    if (d->no_file.text[0] != '\0') {
        reason_set(why, "%s", d->no_file.text);
        return -OHEM_DATASET;
    }
    *out = (struct dataset_file){
        .fd = d->file.fd,
        .bytes = d->file.bytes,
        .watch = {d->file.watch[0], d->file.watch[1]},
        .watch_max = d->file.snapshot + 1,
        .guarded = !d->in->immutable,
    };
    return 0;
}

uint64_t dataset_offset(const struct dataset *d, uint64_t id)
{
    return (uint64_t)((const char *)d->records[id].data - d->file.base);
}

void dataset_fetch(const struct dataset *d, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        __builtin_prefetch(&d->records[ids[i]]);
}

/* ---- reading ahead -----------------------------------------------------------------------------
 */

#define COLD_PIECES 64u /* read ahead for so many more, once the disk was waited for */

void dataset_read_ahead(const struct dataset *d, const uint32_t *ids, uint32_t count)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    for (uint32_t i = 0; i < count; i++) {
        struct dataset_record r = d->records[ids[i]];
        uintptr_t from = (uintptr_t)r.data / page * page, to = (uintptr_t)r.data + r.size;

        if (r.size > 0)
            (void)madvise((void *)from, to - from, MADV_WILLNEED);
    }
}

void dataset_read(const struct dataset *d, uint64_t id, void *out)
{
    struct dataset_record r = d->records[id];
    off_t at = d->no_file.text[0] == '\0' ? (off_t)dataset_offset(d, id) : 0;
    size_t got = 0;

    while (at > 0 && got < r.size) {
        ssize_t more = pread(d->file.fd, (char *)out + got, r.size - got, at + (off_t)got);

        if (more > 0)
            got += (size_t)more;
        else if (more == 0 || errno != EINTR)
            break;
    }
    if (got < r.size) /* the disk refused: the fault will say so, as it does for all records */
        memcpy((char *)out + got, (const char *)r.data + got, r.size - got);
}

void dataset_set_readahead(struct dataset *d, enum dataset_readahead mode)
{
    d->readahead = mode;
}

bool dataset_wants_read_ahead(const struct dataset *d)
{
    if (d->readahead == DATASET_READAHEAD_AUTO)
        return atomic_load_explicit(&d->cold, memory_order_relaxed) > 0;
    return d->readahead == DATASET_READAHEAD_YES;
}

void dataset_note_faults(struct dataset *d, uint64_t major_faults)
{
    unsigned cold = atomic_load_explicit(&d->cold, memory_order_relaxed);

    if (major_faults > 0)
        atomic_store_explicit(&d->cold, COLD_PIECES, memory_order_relaxed);
    else if (cold > 0)
        atomic_store_explicit(&d->cold, cold - 1, memory_order_relaxed);
}

const char *dataset_library_version(void)
{
    static char text[32];
    int major, minor, patch;

    (void)mdb_version(&major, &minor, &patch);
    (void)snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}
