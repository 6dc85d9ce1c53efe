/* dataset_env.c - one LMDB environment, shared by the data sets that lie in it; see dataset_env.h.
 */
#include "dataset_env.h"

#include "../proto/error.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DATABASES_OPEN_MAX \
    256 /* of one environment: the named ones looked at, and those served \
         */
#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

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
    if (e->txn != NULL)
        mdb_txn_abort(e->txn);
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
        rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &e->txn);
    if (rc == 0) {
        *out = e;
        return 0;
    }
    rc = dataset_env_fail(path, "cannot open", rc, why);
    dataset_env_unref(e);
    return rc;
}
