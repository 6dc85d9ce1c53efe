/* dataset_grow.c - the next generation of a data set: what was written since; see dataset.h.
 *
 * An id is the ordinal of a key, so only keys behind the last one may be new: any other change
 * would give the score of one instance to another. The fingerprint is a hash that rolls over the
 * keys and is kept for every DATASET_STRIDE-th, so the first key that differs is found by looking
 * at those and then at the keys of one stride.
 */
#include "dataset_inner.h"

#include "../proto/error.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_SHOWN_BYTES 64 /* of a key, in an error */

/* ---- looking -----------------------------------------------------------------------------------
 */

/* The handle must be known to the new transaction, and the map must hold all that it sees. */
static int pin(struct dataset *next, struct reason *why)
{
    unsigned flags;
    int rc = dataset_env_snapshot(next->in, true, &next->at);

    if (rc == MDB_MAP_RESIZED) {
        reason_set(why,
                   "data set '%s' has grown beyond the address space that was taken for it; "
                   "restart to serve all of it",
                   next->path);
        return -OHEM_DATASET;
    }
    if (rc == 0)
        rc = mdb_dbi_flags(next->at->txn, next->dbi, &flags);
    return rc == 0 ? 0 : dataset_env_fail(next->path, "cannot read what is new", rc, why);
}

int dataset_look(const struct dataset *d, struct dataset **out, struct reason *why)
{
    struct dataset *next = NULL;
    int rc;

    *out = NULL;
    if (d->in->immutable)
        return 0;
    if (dataset_env_was_replaced(d->in, d->path)) {
        reason_set(why, "data set '%s' is another file now; restart to serve that one", d->path);
        return -OHEM_DATASET;
    }
    rc = dataset_new(d->path, d->database, &next, why);
    if (rc != 0)
        return rc;
    next->in = d->in;
    d->in->refs++;
    next->dbi = d->dbi;
    next->readahead = d->readahead;
    rc = pin(next, why);
    if (rc == 0 && next->at != d->at) {
        *out = next;
        return 0;
    }
    dataset_close(next);
    return rc;
}

int dataset_scan(struct dataset *next, struct reason *why)
{
    return dataset_read_all(next, why, NULL, NULL);
}

void dataset_stop_scan(struct dataset *next)
{
    atomic_store(&next->stop, true);
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

bool dataset_prefix(const struct dataset *d, uint64_t n, uint64_t *out)
{
    uint64_t first = n / DATASET_STRIDE * DATASET_STRIDE, hash;
    MDB_val key;
    int rc = 0;

    if (n > d->count)
        return false;
    if (n == d->count) {
        *out = d->fingerprint;
        return true;
    }
    hash = d->hashes[n / DATASET_STRIDE];
    for (uint64_t id = first; id < n && rc == 0; id++) {
        rc = id == first ? dataset_walk_to(d, id, &key)
                         : mdb_cursor_get(d->cursor, &key, NULL, MDB_NEXT);
        if (rc == 0)
            hash = dataset_hash_key(hash, &key);
    }
    *out = hash;
    return rc == 0;
}

/* As text, if it is some; else in hexadecimal digits. */
static void show_key(const MDB_val *key, char out[2 * KEY_SHOWN_BYTES + 4])
{
    const unsigned char *bytes = key->mv_data;
    size_t size = key->mv_size < KEY_SHOWN_BYTES ? key->mv_size : KEY_SHOWN_BYTES;
    bool text = true;

    for (size_t i = 0; i < size; i++)
        text = text && isprint(bytes[i]) && bytes[i] != '\'' && bytes[i] != '"';
    if (text) {
        (void)snprintf(out, KEY_SHOWN_BYTES + 3, "'%.*s'", (int)size, (const char *)bytes);
        return;
    }
    (void)snprintf(out, 3, "0x");
    for (size_t i = 0; i < size; i++)
        (void)snprintf(out + 2 + 2 * i, 3, "%02x", bytes[i]);
}

/* The first stride of ids in which not all keys are the same. */
static uint64_t find_stride(const struct dataset *d, const struct dataset *next)
{
    uint64_t i = 0, count = d->count < next->count ? d->count : next->count;

    while ((i + 1) * DATASET_STRIDE < count && d->hashes[i + 1] == next->hashes[i + 1])
        i++;
    return i * DATASET_STRIDE;
}

static int get_key(const struct dataset *d, uint64_t id, MDB_val *out)
{
    return id < d->count ? dataset_walk_to(d, id, out) : -OHEM_DATASET;
}

static void explain(const struct dataset *d, const struct dataset *next, struct reason *why)
{
    char shown[2 * KEY_SHOWN_BYTES + 4] = "";
    uint64_t id = find_stride(d, next);
    MDB_val was = {0}, is = {0};
    bool has_was = true, has_is = true, gone;

    for (;; id++) {
        has_was = get_key(d, id, &was) == 0;
        has_is = get_key(next, id, &is) == 0;
        if (!has_was || !has_is || mdb_cmp(d->at->txn, d->dbi, &was, &is) != 0)
            break;
    }
    gone = has_was && (!has_is || mdb_cmp(d->at->txn, d->dbi, &was, &is) < 0);
    show_key(gone ? &was : &is, shown);
    reason_set(why,
               "data set '%s': key %s %s at %" PRIu64 " of %" PRIu64
               "; only keys behind the last one may be new, so the old ones are served on",
               d->path, shown, gone ? "is gone, which stood" : "was put in", id, d->count);
}

int dataset_compare(const struct dataset *d, const struct dataset *next, struct reason *why)
{
    uint64_t hash = 0, bytes = dataset_record_bytes(d);

    if (!dataset_prefix(next, d->count, &hash) || hash != d->fingerprint) {
        explain(d, next, why);
        return -OHEM_DATASET;
    }
    if (bytes == 0 || dataset_record_bytes(next) == bytes)
        return 0;
    reason_set(why,
               "data set '%s': all records had %" PRIu64
               " bytes, which its trainers count on, and now sizes differ; the old ones are served "
               "on, restart to serve all",
               d->path, bytes);
    return -OHEM_DATASET;
}
