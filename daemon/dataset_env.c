/* dataset_env.c - one LMDB environment, shared by the data sets that lie in it; see dataset_env.h.
 */
#include "dataset_env.h"

#include "../proto/error.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DATABASES_OPEN_MAX \
    256 /* of one environment: the named ones looked at, and those served \
         */
#define MAP_SPARE_BYTES (UINT64_C(16) << 30) /* address space to grow in, and ... */
#define MAP_SPARE_TIMES 8                    /* ... so many times the file's size */
#define TEXT_OF_(x)     #x
#define TEXT_OF(x)      TEXT_OF_(x)

TAILQ_HEAD(environment_list, environment);
static struct environment_list environments = TAILQ_HEAD_INITIALIZER(environments);

int dataset_env_fail(const char *path, const char *doing, int rc, struct reason *why)
{
    const char *hint = "";

    if (rc == EACCES)
        hint = " (the reader must be able to write LMDB's lock file; if nobody ever writes the "
               "data set, set immutable = yes)";
    else if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
        hint = " (not an LMDB file of this library's format, " TEXT_OF(
            MDB_VERSION_MAJOR) "." TEXT_OF(MDB_VERSION_MINOR) ")";
    reason_set(why, "data set '%s': %s: %s%s", path, doing, mdb_strerror(rc), hint);
    return rc == ENOMEM || rc == MDB_MAP_FULL ? -OHEM_NOMEM : -OHEM_DATASET;
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* The data file, looked at before LMDB does: it leaves a lock file beside what it refuses, and its
 * errors for a file that is missing or empty name neither.
 */
static int check_file(const char *path, bool *out_folder, struct stat *out, struct reason *why)
{
    char file[PATH_MAX];
    struct stat st;
    int rc = stat(path, &st);
    bool folder = rc == 0 && S_ISDIR(st.st_mode);

    (void)snprintf(file, sizeof file, "%s%s", path, folder ? "/data.mdb" : "");
    if (folder)
        rc = stat(file, &st);
    if (rc != 0)
        reason_set(why, "data set '%s': %s", file, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        reason_set(why, "data set '%s': not a regular file", file);
    else if (st.st_size == 0)
        reason_set(why, "data set '%s': the file is empty", file);
    else {
        *out_folder = folder;
        *out = st;
        return 0;
    }
    return -OHEM_DATASET;
}

void dataset_env_unref(struct environment *e)
{
    if (e == NULL || --e->refs > 0)
        return;
    TAILQ_REMOVE(&environments, e, of_process);
    if (e->env != NULL)
        mdb_env_close(e->env);
    free(e);
}

static int environment_new(const struct stat *file, bool immutable, const char *path,
                           struct environment **out, struct reason *why)
{
    struct environment *e = calloc(1, sizeof *e);

    if (e == NULL) {
        reason_set(why, "data set '%s': no memory", path);
        return -OHEM_NOMEM;
    }
    e->refs = 1;
    e->device = file->st_dev;
    e->inode = file->st_ino;
    e->immutable = immutable;
    TAILQ_INIT(&e->snapshots);
    TAILQ_INSERT_TAIL(&environments, e, of_process);
    *out = e;
    return 0;
}

static struct environment *find_environment(const struct stat *file)
{
    struct environment *e;

    TAILQ_FOREACH (e, &environments, of_process)
        if (e->device == file->st_dev && e->inode == file->st_ino)
            return e;
    return NULL;
}

/* One that is open already, by another data set. */
static int join_environment(struct environment *e, bool immutable, const char *path,
                            struct environment **out, struct reason *why)
{
    if (e->immutable == immutable) {
        e->refs++;
        *out = e;
        return 0;
    }
    reason_set(why, "data set '%s': another data set lies in it too; give both the same immutable",
               path);
    return -OHEM_DATASET;
}

/* LMDB gives its old map up first: it would be left with none. */
static bool is_there_space(uint64_t bytes)
{
    void *space;

    if (bytes > SIZE_MAX / 2)
        return false;
    space = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return false;
    (void)munmap(space, bytes);
    return true;
}

/* Records stay where they are while somebody reads them, so the map cannot be made larger later: it
 * is made so now. It takes address space only; if there is not that much, growth has to do without.
 */
static int reserve_map(struct environment *e, uint64_t file_bytes)
{
    uint64_t wanted = file_bytes * MAP_SPARE_TIMES + MAP_SPARE_BYTES;
    MDB_envinfo info;
    int rc = mdb_env_info(e->env, &info);

    if (rc != 0 || e->immutable || info.me_mapsize >= wanted || !is_there_space(wanted))
        return rc;
    return mdb_env_set_mapsize(e->env, wanted);
}

int dataset_env_open(const char *path, bool immutable, struct environment **out, struct reason *why)
{
    bool folder = false;
    struct stat file;
    struct environment *e = NULL;
    int rc = check_file(path, &folder, &file, why);
    unsigned flags = MDB_RDONLY | MDB_NOTLS | MDB_NORDAHEAD | (folder ? 0 : MDB_NOSUBDIR) |
                     (immutable ? MDB_NOLOCK : 0);

    if (rc != 0)
        return rc;
    e = find_environment(&file);
    if (e != NULL)
        return join_environment(e, immutable, path, out, why);
    rc = environment_new(&file, immutable, path, &e, why);
    if (rc != 0)
        return rc;
    rc = mdb_env_create(&e->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(e->env, DATABASES_OPEN_MAX);
    if (rc == 0)
        rc = mdb_env_open(e->env, path, flags, 0);
    if (rc == 0)
        rc = reserve_map(e, (uint64_t)file.st_size);
    if (rc == 0) {
        *out = e;
        return 0;
    }
    rc = dataset_env_fail(path, "cannot open", rc, why);
    dataset_env_unref(e);
    return rc;
}

bool dataset_env_was_replaced(const struct environment *e, const char *path)
{
    struct reason ignored = {""};
    struct stat file;
    bool folder;

    return check_file(path, &folder, &file, &ignored) != 0 || file.st_dev != e->device ||
           file.st_ino != e->inode;
}

/* ---- snapshots ---------------------------------------------------------------------------------
 */

static bool is_newest(const struct environment *e, const struct snapshot *s)
{
    MDB_envinfo info;

    return mdb_env_info(e->env, &info) == 0 && info.me_last_txnid == mdb_txn_id(s->txn);
}

int dataset_env_snapshot(struct environment *e, bool newest, struct snapshot **out)
{
    struct snapshot *s = TAILQ_LAST(&e->snapshots, snapshot_list);
    int rc;

    if (s != NULL && (!newest || is_newest(e, s))) {
        s->refs++;
        *out = s;
        return 0;
    }
    s = calloc(1, sizeof *s);
    rc = s != NULL ? mdb_txn_begin(e->env, NULL, MDB_RDONLY, &s->txn) : ENOMEM;
    if (rc != 0) {
        free(s);
        return rc;
    }
    s->refs = 1;
    s->in = e;
    TAILQ_INSERT_TAIL(&e->snapshots, s, of_environment);
    *out = s;
    return 0;
}

int dataset_env_snapshot_commit(struct snapshot *s)
{
    int rc;

    assert(s->refs == 1);
    rc = mdb_txn_commit(s->txn);
    s->txn = NULL;
    return rc == 0 ? mdb_txn_begin(s->in->env, NULL, MDB_RDONLY, &s->txn) : rc;
}

void dataset_env_snapshot_unref(struct snapshot *s)
{
    if (s == NULL || --s->refs > 0)
        return;
    TAILQ_REMOVE(&s->in->snapshots, s, of_environment);
    if (s->txn != NULL)
        mdb_txn_abort(s->txn);
    free(s);
}
