/* writer.c - instances into a fresh LMDB data set; see writer.h.
 *
 * Keys that come in order are appended, which packs pages full (LMDB otherwise splits them in
 * half); others are put where they belong. The lock file is not used: nobody else can know the
 * folder.
 */
#include "writer.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_PUTS_MAX  1024
#define BATCH_BYTES_MAX (16u << 20)
#define KEY_BYTES_MAX   511 /* LMDB's own limit, as Debian builds it */
#define KEY_SHOWN_BYTES 80
#define MAP_BYTES_MIN   (1u << 30) /* address space, not disk */
#define PUT_PAGES_MAX   24 /* that one put can touch: a path of 8, each page copied and split */

struct writer {
    char *folder;
    MDB_env *env;
    MDB_txn *txn; /* NULL between batches */
    MDB_dbi dbi;
    size_t map_size;
    size_t page_size;
    size_t batch_puts, batch_bytes;
    unsigned char last_key[KEY_BYTES_MAX]; /* the highest so far */
    size_t last_key_size;
    uint64_t count, bytes;
};

static int fail_lmdb(const struct writer *w, int rc, struct reason *why)
{
    /* LMDB calls a write that was cut short, as on a full disk, an input/output error */
    const char *hint = rc == EIO ? " (is the disk full?)" : "";

    reason_set(why, "%s: %s%s", w->folder, mdb_strerror(rc), hint);
    return rc == ENOMEM ? -OHEM_NOMEM : -OHEM_SYSTEM;
}

static int open_env(struct writer *w, struct reason *why)
{
    MDB_stat stat;
    int rc = mdb_env_create(&w->env);

    w->map_size = MAP_BYTES_MIN;
    if (rc == 0)
        rc = mdb_env_set_mapsize(w->env, w->map_size);
    if (rc == 0)
        rc = mdb_env_open(w->env, w->folder, MDB_NOSYNC | MDB_NOLOCK, 0666);
    if (rc == 0)
        rc = mdb_env_stat(w->env, &stat);
    if (rc != 0)
        return fail_lmdb(w, rc, why);
    w->page_size = stat.ms_psize;
    return 0;
}

int writer_open(const char *folder, struct writer **out, struct reason *why)
{
    struct writer *w = calloc(1, sizeof *w);
    int rc = -OHEM_NOMEM;

    if (w != NULL)
        w->folder = strdup(folder);
    rc = w != NULL && w->folder != NULL ? open_env(w, why) : reader_fail_memory(folder, why);
    if (rc != 0) {
        writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* The map must hold the batch to come, whose first record may be larger than a batch ought to be.
 */
static int grow_map(struct writer *w, size_t first_size)
{
    MDB_envinfo info;
    size_t needed;
    int rc = mdb_env_info(w->env, &info);

    if (rc != 0)
        return rc;
    needed = (info.me_last_pgno + 1) * w->page_size + first_size + BATCH_BYTES_MAX +
             (size_t)BATCH_PUTS_MAX * PUT_PAGES_MAX * w->page_size;
    if (needed <= w->map_size)
        return 0;
    while (w->map_size < needed)
        w->map_size *= 2;
    return mdb_env_set_mapsize(w->env, w->map_size);
}

static int begin_batch(struct writer *w, size_t first_size, struct reason *why)
{
    int rc = grow_map(w, first_size);

    if (rc == 0)
        rc = mdb_txn_begin(w->env, NULL, 0, &w->txn);
    if (rc == 0)
        rc = mdb_dbi_open(w->txn, NULL, 0, &w->dbi);
    w->batch_puts = 0;
    w->batch_bytes = 0;
    return rc == 0 ? 0 : fail_lmdb(w, rc, why);
}

static int commit_batch(struct writer *w, struct reason *why)
{
    MDB_txn *txn = w->txn;
    int rc;

    if (txn == NULL)
        return 0;
    w->txn = NULL;
    rc = mdb_txn_commit(txn);
    return rc == 0 ? 0 : fail_lmdb(w, rc, why);
}

/* Room for a record of `size` bytes in the present batch, or in a new one. */
static int make_room(struct writer *w, size_t size, struct reason *why)
{
    int rc = 0;

    if (w->batch_puts == BATCH_PUTS_MAX ||
        (w->batch_puts > 0 && w->batch_bytes + size > BATCH_BYTES_MAX))
        rc = commit_batch(w, why);
    if (rc == 0 && w->txn == NULL)
        rc = begin_batch(w, size, why);
    w->batch_puts++;
    w->batch_bytes += size;
    return rc;
}

static int check_sizes(const struct writer *w, const struct instance *in, size_t size,
                       struct reason *why)
{
    int shown = (int)(in->key_size < KEY_SHOWN_BYTES ? in->key_size : KEY_SHOWN_BYTES);

    if (in->key_size == 0 || in->key_size > KEY_BYTES_MAX) {
        reason_set(why, "instance %llu: key '%.*s' has %zu bytes; 1 to %d are allowed",
                   (unsigned long long)w->count, shown, (const char *)in->key, in->key_size,
                   KEY_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    if (size > READER_RECORD_BYTES_MAX) {
        reason_set(why, "instance '%.*s': a record of %zu bytes; at most %u are allowed", shown,
                   (const char *)in->key, size, READER_RECORD_BYTES_MAX);
        return -OHEM_TOO_LARGE;
    }
    if (w->count == READER_INSTANCES_MAX) {
        reason_set(why, "instance '%.*s': one too many; at most %u are allowed", shown,
                   (const char *)in->key, READER_INSTANCES_MAX);
        return -OHEM_TOO_LARGE;
    }
    return 0;
}

/* LMDB's order of keys: bytes, and the shorter first. */
static bool is_above_last(const struct writer *w, const struct instance *in)
{
    size_t common = in->key_size < w->last_key_size ? in->key_size : w->last_key_size;
    int order = memcmp(in->key, w->last_key, common);

    return order > 0 || (order == 0 && in->key_size > w->last_key_size);
}

/* Make the record's place in the tree. */
static int reserve(struct writer *w, const struct instance *in, size_t size, void **out,
                   struct reason *why)
{
    MDB_val key = {in->key_size, (void *)(uintptr_t)in->key}, value = {size, NULL};
    bool append = is_above_last(w, in);
    int rc = mdb_put(w->txn, w->dbi, &key, &value,
                     MDB_RESERVE | (append ? MDB_APPEND : MDB_NOOVERWRITE));

    if (rc == MDB_KEYEXIST) {
        reason_set(why, "key '%.*s' comes twice; keys must differ", (int)in->key_size,
                   (const char *)in->key);
        return -OHEM_DATASET;
    }
    if (rc != 0)
        return fail_lmdb(w, rc, why);
    if (append) {
        memcpy(w->last_key, in->key, in->key_size);
        w->last_key_size = in->key_size;
    }
    *out = value.mv_data;
    return 0;
}

int writer_put(struct writer *w, const struct instance *in, int label_byte, struct reason *why)
{
    size_t prefix = label_byte == WRITER_NO_LABEL_BYTE ? 0 : 1;
    size_t size = prefix + in->body_size;
    void *place = NULL;
    int rc = check_sizes(w, in, size, why);

    if (rc == 0)
        rc = make_room(w, size + in->key_size, why);
    if (rc == 0)
        rc = reserve(w, in, size, &place, why);
    if (rc != 0)
        return rc;
    if (prefix > 0)
        *(unsigned char *)place = (unsigned char)label_byte;
    if (in->body_size > 0)
        memcpy((unsigned char *)place + prefix, in->body, in->body_size);
    w->count++;
    w->bytes += size;
    return 0;
}

int writer_finish(struct writer *w, struct reason *why)
{
    int rc = commit_batch(w, why);

    if (rc != 0)
        return rc;
    rc = mdb_env_sync(w->env, 1);
    return rc == 0 ? 0 : fail_lmdb(w, rc, why);
}

void writer_free(struct writer *w)
{
    if (w == NULL)
        return;
    if (w->txn != NULL)
        mdb_txn_abort(w->txn);
    if (w->env != NULL)
        mdb_env_close(w->env);
    free(w->folder);
    free(w);
}

uint64_t writer_count(const struct writer *w)
{
    return w->count;
}

uint64_t writer_bytes(const struct writer *w)
{
    return w->bytes;
}
