/* reader_lmdb.c - another LMDB data set, or what the filters leave of it: same keys, same values.
 *
 * With --label-byte a value's first byte is its label; it is given apart from the body and put back
 * by the writer. LMDB trusts its own pages: a file cut short is found here, one forged on purpose
 * is not, so read only what you would serve. One read transaction, which does not hinder a writer.
 */
#include "reader.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_BYTES_MAX       511 /* LMDB's own limit, as Debian builds it */
#define DATABASES_MAX       2   /* the one asked for, and one found by mistake */
#define DATABASE_ENTRY_SIZE 48  /* what LMDB keeps of a named database, in its main one */

struct subset {
    struct reader base;
    const struct source *source;
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor;
};

static int fail_lmdb(const struct subset *x, int rc, struct reason *why)
{
    const char *hint = "";

    if (rc == EACCES || rc == EROFS)
        hint =
            " (LMDB writes its lock file even to read; copy the data set, or give this user write"
            " access)";
    else if (rc == MDB_NOTFOUND)
        hint = " (is there a database of that name?)";
    reason_set(why, "%s%s%s: %s%s", x->source->paths[0], x->source->database != NULL ? ": " : "",
               x->source->database != NULL ? x->source->database : "", mdb_strerror(rc), hint);
    return rc == ENOMEM ? -OHEM_NOMEM : -OHEM_DATASET;
}

static int open_env(struct subset *x, struct reason *why)
{
    const char *path = x->source->paths[0];
    unsigned flags = MDB_RDONLY;
    struct stat info;
    int rc;

    if (stat(path, &info) != 0)
        return reader_fail_errno(path, why);
    if (!S_ISDIR(info.st_mode))
        flags |= MDB_NOSUBDIR;
    rc = mdb_env_create(&x->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(x->env, DATABASES_MAX);
    if (rc == 0)
        rc = mdb_env_open(x->env, path, flags, 0);
    return rc == 0 ? 0 : fail_lmdb(x, rc, why);
}

/* A page behind the end of the file would be a SIGBUS. */
static int check_file_size(const struct subset *x, struct reason *why)
{
    MDB_envinfo env;
    MDB_stat pages;
    struct stat info;
    mdb_filehandle_t fd;
    uint64_t needed;
    int rc = mdb_env_info(x->env, &env);

    if (rc == 0)
        rc = mdb_env_stat(x->env, &pages);
    if (rc == 0)
        rc = mdb_env_get_fd(x->env, &fd);
    if (rc != 0)
        return fail_lmdb(x, rc, why);
    if (fstat(fd, &info) != 0)
        return reader_fail_errno(x->source->paths[0], why);
    needed = ((uint64_t)env.me_last_pgno + 1) * pages.ms_psize;
    if ((uint64_t)info.st_size >= needed)
        return 0;
    reason_set(why, "%s: cut short: %" PRId64 " bytes; its pages need %" PRIu64,
               x->source->paths[0], (int64_t)info.st_size, needed);
    return -OHEM_DATASET;
}

static int open_cursor(struct subset *x, struct reason *why)
{
    unsigned flags = 0;
    MDB_dbi dbi = 0;
    MDB_stat stat;
    int rc = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &x->txn);

    if (rc == 0)
        rc = mdb_dbi_open(x->txn, x->source->database, 0, &dbi);
    if (rc == 0)
        rc = mdb_dbi_flags(x->txn, dbi, &flags);
    if (rc == 0)
        rc = mdb_stat(x->txn, dbi, &stat);
    if (rc == 0)
        rc = mdb_cursor_open(x->txn, dbi, &x->cursor);
    if (rc != 0)
        return fail_lmdb(x, rc, why);
    if ((flags & MDB_DUPSORT) != 0) {
        reason_set(why, "%s: several values per key (MDB_DUPSORT); an instance has one",
                   x->source->paths[0]);
        return -OHEM_DATASET;
    }
    x->base.total = stat.ms_entries;
    return 0;
}

static void subset_close(struct reader *r)
{
    struct subset *x = (struct subset *)r;

    if (x->cursor != NULL)
        mdb_cursor_close(x->cursor);
    if (x->txn != NULL)
        mdb_txn_abort(x->txn);
    if (x->env != NULL)
        mdb_env_close(x->env);
    free(x);
}

static int subset_open(const struct source *s, struct reader **out, struct reason *why)
{
    struct subset *x = calloc(1, sizeof *x);
    int rc;

    if (x == NULL)
        return reader_fail_memory(s->paths[0], why);
    x->source = s;
    x->base = (struct reader){&reader_lmdb, s->label_byte, 0, 0};
    rc = open_env(x, why);
    if (rc == 0)
        rc = check_file_size(x, why);
    if (rc == 0)
        rc = open_cursor(x, why);
    if (rc != 0) {
        subset_close(&x->base);
        return rc;
    }
    *out = &x->base;
    return 0;
}

/* A named database looks like a record of the main one; only trying to open it tells. */
static int check_record(const struct subset *x, const MDB_val *key, const MDB_val *value,
                        struct reason *why)
{
    char name[KEY_BYTES_MAX + 1] = "";
    MDB_dbi ignored;

    if (x->source->label_byte && value->mv_size == 0) {
        reason_set(why, "%s: instance %" PRIu64 " is empty: no label byte", x->source->paths[0],
                   x->base.done);
        return -OHEM_DATASET;
    }
    if (value->mv_size != DATABASE_ENTRY_SIZE || key->mv_size > KEY_BYTES_MAX)
        return 0;
    memcpy(name, key->mv_data, key->mv_size);
    if (x->source->database != NULL || strlen(name) != key->mv_size ||
        mdb_dbi_open(x->txn, name, 0, &ignored) != 0)
        return 0;
    reason_set(why, "%s: '%s' is a named database: say --database %s", x->source->paths[0], name,
               name);
    return -OHEM_DATASET;
}

static int subset_next(struct reader *r, struct instance *out, struct reason *why)
{
    struct subset *x = (struct subset *)r;
    size_t skip = x->source->label_byte ? 1 : 0;
    MDB_val key, value;
    int rc = mdb_cursor_get(x->cursor, &key, &value, MDB_NEXT);

    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return fail_lmdb(x, rc, why);
    rc = check_record(x, &key, &value, why);
    if (rc != 0)
        return rc;
    r->done++;
    *out = (struct instance){
        .key = key.mv_data,
        .key_size = key.mv_size,
        .body = (const unsigned char *)value.mv_data + skip,
        .body_size = value.mv_size - skip,
        .label = skip ? *(const unsigned char *)value.mv_data : READER_LABEL_NONE,
    };
    return 1;
}

const struct reader_format reader_lmdb = {
    .name = "lmdb",
    .usage = "SOURCE TARGET",
    .label_from = "the first byte of each value, with --label-byte",
    .paths_min = 1,
    .paths_max = 1,
    .open = subset_open,
    .next = subset_next,
    .close = subset_close,
};
