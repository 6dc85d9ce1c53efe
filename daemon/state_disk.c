/* state_disk.c - rows to LMDB and back; see state_disk.h.
 *
 * After a commit that failed, what the kernel shows of the file may not be what is on disk, and
 * LMDB may refuse to go on (MDB_PANIC). So the environment is closed, opened again, synced, and the
 * same changes are written once more as a whole: made twice, they end in the same rows. Until then
 * LMDB's older header stands, and no page that it refers to has been written over.
 */
#include "state_disk.h"

#include "../proto/error.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 8u
#define AUDIT     "audit"

uint64_t state_disk_bytes(const struct state_disk *d)
{
    MDB_envinfo info;
    MDB_stat pages;

    if (d->env == NULL || mdb_env_info(d->env, &info) != 0 || mdb_env_stat(d->env, &pages) != 0)
        return 0;
    return ((uint64_t)info.me_last_pgno + 1) * pages.ms_psize;
}

int state_disk_forget(struct state_disk *d, struct reason *why)
{
    int rc = state_env_draw_identity(&d->identity, why);

    d->forgets |= rc == 0;
    return rc;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void put_number(unsigned char *out, uint64_t number, size_t bytes)
{
    while (bytes-- > 0) {
        out[bytes] = (unsigned char)number;
        number >>= 8;
    }
}

static uint64_t get_number(const unsigned char *in, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | in[i];
    return number;
}

static void put_key(unsigned char out[STATE_KEY_BYTES], const struct rows_key *key)
{
    assert(key->table > 0 && key->table <= UINT8_MAX);
    put_number(out, key->table, 1);
    put_number(out + 1, key->job, 4);
    put_number(out + 5, key->number, 8);
}

static struct rows_key get_key(const unsigned char *in)
{
    return (struct rows_key){
        .table = in[0], .job = (uint32_t)get_number(in + 1, 4), .number = get_number(in + 5, 8)};
}

/* ---- writing -----------------------------------------------------------------------------------
 */

/* All rows from the cursor's place on whose keys are not above `last`. */
static int delete_rows(MDB_cursor *cursor, MDB_val *key, const unsigned char *last)
{
    int rc = mdb_cursor_get(cursor, key, NULL, MDB_SET_RANGE);

    while (rc == 0 && memcmp(key->mv_data, last, STATE_KEY_BYTES) <= 0) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, key, NULL, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int make_change(MDB_cursor *cursor, const struct rows_change *c)
{
    unsigned char first[STATE_KEY_BYTES], last[STATE_KEY_BYTES];
    struct rows_key end = {c->key.table, c->key.job, c->last};
    MDB_val key = {sizeof first, first};
    MDB_val value = {c->size, (void *)(uintptr_t)c->value};

    put_key(first, &c->key);
    if (c->value != NULL)
        return mdb_cursor_put(cursor, &key, &value, 0);
    put_key(last, &end);
    return delete_rows(cursor, &key, last);
}

/* Nothing of what was there, and another identity. */
static int begin_anew(struct state_disk *d, MDB_txn *txn, MDB_dbi audit)
{
    int rc = mdb_drop(txn, d->rows, 0);

    if (rc == 0)
        rc = mdb_drop(txn, audit, 0);
    return rc == 0 ? state_env_put_identity(d, txn) : rc;
}

static int make_changes(struct state_disk *d, MDB_txn *txn, const struct rows *rows)
{
    struct rows_change change;
    MDB_cursor *cursor, *audit_cursor = NULL;
    MDB_dbi audit;
    size_t at = 0;
    int rc = mdb_dbi_open(txn, AUDIT, MDB_CREATE, &audit); /* as good as nothing once it is open */

    if (rc == 0 && d->forgets)
        rc = begin_anew(d, txn, audit);
    if (rc == 0)
        rc = mdb_cursor_open(txn, d->rows, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_open(txn, audit, &audit_cursor);
    while (rc == 0 && rows_next(rows, &at, &change))
        rc = make_change(change.key.table == ROWS_AUDIT ? audit_cursor : cursor, &change);
    if (audit_cursor != NULL)
        mdb_cursor_close(audit_cursor);
    mdb_cursor_close(cursor);
    return rc;
}

/* @return 0 or LMDB's code */
static int write_rows(struct state_disk *d, const struct rows *rows)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    rc = make_changes(d, txn, rows);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

int state_disk_write(struct state_disk *d, const struct rows *rows, struct reason *why)
{
    int rc = d->env == NULL ? state_env_reopen(d, why) : 0;

    assert(!rows->failed);
    if (rc == 0) {
        rc = write_rows(d, rows);
        if (rc != 0)
            rc = state_env_fail(d, "cannot be written", rc, why);
    }
    if (rc != 0) {
        state_env_close(d);
        return rc;
    }
    d->forgets = false;
    d->memory = d->identity.memory;
    return 0;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Where a value that LMDB did not align is copied to. */
struct copy {
    void *bytes;
    size_t capacity;
};

static const void *align(struct copy *c, const MDB_val *value)
{
    if ((uintptr_t)value->mv_data % ALIGNMENT == 0)
        return value->mv_data;
    if (c->bytes == NULL || value->mv_size > c->capacity) {
        free(c->bytes);
        c->capacity = 2 * value->mv_size + ALIGNMENT;
        c->bytes = malloc(c->capacity);
        if (c->bytes == NULL)
            c->capacity = 0;
    }
    if (c->bytes != NULL)
        memcpy(c->bytes, value->mv_data, value->mv_size);
    return c->bytes;
}

static int load_row(const struct state_disk *d, struct copy *c, const MDB_val *key,
                    const MDB_val *value, state_row_cb row_cb, void *ctx, struct reason *why)
{
    const void *bytes = align(c, value);
    struct rows_key row;

    if (bytes == NULL) {
        reason_set(why, "state '%.200s': no memory for a row of %zu bytes", d->dir, value->mv_size);
        return -OHEM_NOMEM;
    }
    if (key->mv_size != STATE_KEY_BYTES) {
        reason_set(why, "state '%.200s': damaged: a key of %zu bytes", d->dir, key->mv_size);
        return -OHEM_STATE;
    }
    row = get_key(key->mv_data);
    return row_cb(ctx, &row, bytes, value->mv_size, why);
}

static int load_rows(const struct state_disk *d, MDB_cursor *cursor, state_row_cb row_cb, void *ctx,
                     struct reason *why)
{
    struct copy copy = {NULL, 0};
    MDB_val key, value;
    int got = 0, rc = 0;

    while (rc == 0 && (got = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        rc = load_row(d, &copy, &key, &value, row_cb, ctx, why);
    free(copy.bytes);
    if (rc == 0 && got != MDB_NOTFOUND)
        rc = state_env_fail(d, "cannot be read", got, why);
    return rc;
}

int state_disk_load(struct state_disk *d, state_row_cb row_cb, void *ctx, struct reason *why)
{
    MDB_cursor *cursor;
    MDB_txn *txn;
    int rc;

    if (d->forgets)
        return 0;
    rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return state_env_fail(d, "cannot be read", rc, why);
    rc = mdb_cursor_open(txn, d->rows, &cursor);
    if (rc == 0) {
        rc = load_rows(d, cursor, row_cb, ctx, why);
        mdb_cursor_close(cursor);
    } else {
        rc = state_env_fail(d, "cannot be read", rc, why);
    }
    mdb_txn_abort(txn);
    return rc;
}

/* ---- reading a part of the audit ---------------------------------------------------------------
 */

/* Is the cursor at a row that is still to be read? Then *out says which. */
static bool is_of(const struct state_reading *r, const MDB_val *key, struct rows_key *out)
{
    if (key->mv_size != STATE_KEY_BYTES)
        return false;
    *out = get_key(key->mv_data);
    return out->table == r->from.table && out->job == r->from.job;
}

/* @return 0 or LMDB's code */
static int read_rows(struct state_reading *r, MDB_cursor *cursor)
{
    unsigned char first[STATE_KEY_BYTES];
    MDB_val key = {sizeof first, first}, value;
    struct copy copy = {NULL, 0};
    struct rows_key row;
    size_t bytes = 0;
    int rc;

    put_key(first, &r->from);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && is_of(r, &key, &row)) {
        const void *aligned;

        r->more = bytes >= r->bytes_max;
        r->next = row.number;
        if (r->more)
            break;
        aligned = align(&copy, &value);
        if (aligned == NULL)
            rc = ENOMEM;
        else if (!r->row_cb(r->ctx, row.number, aligned, value.mv_size))
            bytes = r->bytes_max;
        bytes += value.mv_size;
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    free(copy.bytes);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* @return 0 or LMDB's code */
static int read_audit(struct state_disk *d, struct state_reading *r)
{
    MDB_cursor *cursor;
    MDB_txn *txn;
    MDB_dbi audit;
    int rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, AUDIT, 0, &audit);
    if (rc == 0)
        rc = mdb_cursor_open(txn, audit, &cursor);
    if (rc == 0) {
        rc = read_rows(r, cursor);
        mdb_cursor_close(cursor);
    }
    if (rc != 0)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);       /* `audit` stays open */
    return rc == MDB_NOTFOUND ? 0 : rc; /* no commit was made yet */
}

void state_disk_read(struct state_disk *d, struct state_reading *r)
{
    int rc;

    r->more = false;
    r->next = r->from.number;
    r->rc = d->env == NULL ? state_env_reopen(d, &r->why) : 0;
    if (r->rc != 0) {
        state_env_close(d);
        return;
    }
    rc = d->forgets ? 0 : read_audit(d, r);
    if (rc != 0)
        r->rc = state_env_fail(d, "cannot be read", rc, &r->why);
}
