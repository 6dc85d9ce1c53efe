/* state_env.c - the state's environment is opened, made, looked through; see state_disk.h.
 *
 * A new one is made under another name and gets its own when its identity is on disk, so half of
 * one is never seen. An old one is only read until the first commit.
 *
 * To change the format: raise FORMAT, read the older ones, and say in CHANGELOG.md what happens.
 */
#include "state_disk.h"

#include "../proto/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium/core.h>
#include <sodium/randombytes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FORMAT       4u
#define MAGIC        "ohemd-st"
#define FILE_MODE    0600
#define OWNER_MASK   0077
#define DATA_FILE    "data.mdb" /* LMDB's name for it */
#define NEW_FILE     "data.new"
#define NAME_BYTES   16 /* of those, and a slash */
#define LMDB_MAGIC   UINT32_C(0xBEEFC0DE)
#define LMDB_HEADER  16 /* of a page; a meta page's magic and version follow */
#define LMDB_FREE    0  /* the database of free pages, for those who only read */
#define LMDB_MAIN    1
#define TEXT_OF_(x)  #x
#define TEXT_OF(x)   TEXT_OF_(x)
#define LMDB_VERSION TEXT_OF(MDB_VERSION_MAJOR) "." TEXT_OF(MDB_VERSION_MINOR)

/* As it lies on disk, in the machine's byte order, as all of an LMDB file. */
struct identity_row {
    char magic[8];
    uint32_t format, zero;
    struct state_identity identity;
};

/* ---- errors ------------------------------------------------------------------------------------
 */

/* The format that the file's header tells, or 0. */
static uint32_t file_version(const struct state_disk *d)
{
    char path[PATH_MAX + NAME_BYTES];
    uint32_t header[2] = {0, 0};
    int fd;

    (void)snprintf(path, sizeof path, "%s/" DATA_FILE, d->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (pread(fd, header, sizeof header, LMDB_HEADER) != (ssize_t)sizeof header)
        header[0] = 0;
    (void)close(fd);
    return header[0] == LMDB_MAGIC ? header[1] : 0;
}

int state_env_fail(const struct state_disk *d, const char *doing, int rc, struct reason *why)
{
    char hint[128] = "";

    if (rc == MDB_VERSION_MISMATCH)
        (void)snprintf(hint, sizeof hint,
                       " (it has format %" PRIu32 " of LMDB's, the library here is " LMDB_VERSION
                       ")",
                       file_version(d));
    else if (rc == MDB_INVALID)
        (void)snprintf(hint, sizeof hint,
                       " (damaged, or not of the format of the library here, " LMDB_VERSION ")");
    else if (rc == MDB_MAP_FULL)
        (void)snprintf(hint, sizeof hint, " (state_bytes_max = %" PRIu64 ")", d->bytes_max);
    reason_set(why, "state '%.200s': %s: %s%s", d->dir, doing, mdb_strerror(rc), hint);
    return rc == ENOMEM ? -OHEM_NOMEM : -OHEM_STATE;
}

/* ---- identity ----------------------------------------------------------------------------------
 */

uint64_t state_env_wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int state_env_draw_identity(struct state_identity *out, struct reason *why)
{
    if (sodium_init() < 0) {
        reason_set(why, "no random numbers");
        return -OHEM_SYSTEM;
    }
    out->created_ms = state_env_wall_ms();
    randombytes_buf(&out->memory, sizeof out->memory);
    randombytes_buf(out->secret, sizeof out->secret);
    return 0;
}

static MDB_val identity_key(void)
{
    static char name[] = "identity";

    return (MDB_val){sizeof name - 1, name};
}

int state_env_put_identity(struct state_disk *d, MDB_txn *txn)
{
    struct identity_row row = {.format = FORMAT, .identity = d->identity};
    MDB_val key = identity_key(), value = {sizeof row, &row};

    memcpy(row.magic, MAGIC, sizeof row.magic);
    return mdb_put(txn, d->meta, &key, &value, 0);
}

/* Format first: of a newer one nothing else is known. */
static int take_identity(const struct state_disk *d, const MDB_val *value,
                         struct state_identity *out, struct reason *why)
{
    struct identity_row row = {.format = 0};

    memcpy(&row, value->mv_data, value->mv_size < sizeof row ? value->mv_size : sizeof row);
    if (memcmp(row.magic, MAGIC, sizeof row.magic) == 0 && row.format > FORMAT) {
        reason_set(why,
                   "state '%.200s': a newer ohemd wrote it: format %" PRIu32
                   ", this one reads formats up to %u",
                   d->dir, row.format, FORMAT);
        return -OHEM_STATE;
    }
    if (memcmp(row.magic, MAGIC, sizeof row.magic) == 0 && row.format > 0 && row.format < FORMAT) {
        reason_set(
            why,
            "state '%.200s': it has format %" PRIu32
            ", of before the first release, which this ohemd (format %u) does not read: move "
            "the directory away and start over",
            d->dir, row.format, FORMAT);
        return -OHEM_STATE;
    }
    if (memcmp(row.magic, MAGIC, sizeof row.magic) != 0 || row.format == 0 ||
        value->mv_size != sizeof row) {
        reason_set(why, "state '%.200s': damaged: its identity cannot be read", d->dir);
        return -OHEM_STATE;
    }
    *out = row.identity;
    return 0;
}

static int read_identity(struct state_disk *d, MDB_txn *txn, struct state_identity *out,
                         struct reason *why)
{
    MDB_val key = identity_key(), value;
    int rc = mdb_dbi_open(txn, "meta", 0, &d->meta);

    if (rc == 0)
        rc = mdb_get(txn, d->meta, &key, &value);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE) {
        reason_set(why, "state '%.200s': an LMDB database that is no state of ohemd lies in it",
                   d->dir);
        return -OHEM_STATE;
    }
    return rc == 0 ? take_identity(d, &value, out, why)
                   : state_env_fail(d, "cannot be read", rc, why);
}

/* ---- the environment ---------------------------------------------------------------------------
 */

void state_env_close(struct state_disk *d)
{
    if (d->env != NULL)
        mdb_env_close(d->env);
    d->env = NULL;
}

/* @return 0 or LMDB's code */
static int open_env(struct state_disk *d, const char *path, unsigned flags)
{
    int rc = mdb_env_create(&d->env);

    if (rc != 0)
        d->env = NULL;
    if (rc == 0)
        rc = mdb_env_set_maxdbs(d->env, 3);
    if (rc == 0)
        rc = mdb_env_set_mapsize(d->env, d->bytes_max);
    if (rc == 0)
        rc = mdb_env_open(d->env, path, flags | MDB_NOTLS, FILE_MODE);
    if (rc != 0)
        state_env_close(d);
    return rc;
}

/* @return 0 or LMDB's code; both databases are open then, for all transactions */
static int make_databases(struct state_disk *d)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &d->meta);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "rows", MDB_CREATE, &d->rows);
    if (rc == 0)
        rc = state_env_put_identity(d, txn);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static int make_new(struct state_disk *d, const char *path, struct reason *why)
{
    char made[PATH_MAX + NAME_BYTES];
    int rc = state_env_draw_identity(&d->identity, why);

    if (rc != 0)
        return rc;
    (void)snprintf(made, sizeof made, "%s/" NEW_FILE, d->dir);
    (void)unlink(made); /* of a start that was ended */
    rc = open_env(d, made, MDB_NOSUBDIR | MDB_NOLOCK);
    if (rc == 0)
        rc = make_databases(d);
    state_env_close(d);
    if (rc == 0 && rename(made, path) != 0)
        rc = errno;
    if (rc != 0)
        (void)unlink(made);
    else
        rc = state_folder_sync(d->dir);
    return rc == 0 ? 0 : state_env_fail(d, "cannot be made", rc, why);
}

static int make_if_new(struct state_disk *d, struct reason *why)
{
    char path[PATH_MAX + NAME_BYTES];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/" DATA_FILE, d->dir);
    if (stat(path, &st) != 0)
        return errno == ENOENT ? make_new(d, path, why)
                               : state_env_fail(d, "cannot be read", errno, why);
    if (S_ISREG(st.st_mode) && st.st_size > 0) /* LMDB would fill an empty one */
        return 0;
    reason_set(why, "state '%.200s': " DATA_FILE " is %s", d->dir,
               S_ISREG(st.st_mode) ? "empty" : "no regular file");
    return -OHEM_STATE;
}

/* ---- looking through it ------------------------------------------------------------------------
 */

/* Touch each page that is in use, but the middle of long values. @return whether LMDB could */
static bool walk(MDB_txn *txn, MDB_dbi dbi)
{
    volatile char byte = 0;
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, dbi, &cursor);

    if (rc != 0)
        return false;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        if (value.mv_size > 0)
            byte = ((const char *)value.mv_data)[value.mv_size - 1];
    (void)byte;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND;
}

/* One that is not there, or is none, has its own error later. */
static bool walk_named(MDB_txn *txn, const char *name)
{
    MDB_dbi dbi;
    int rc = mdb_dbi_open(txn, name, 0, &dbi);

    return rc == 0 ? walk(txn, dbi) : rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE;
}

/* In a child: a missing page or a damaged tree ends who walks it. */
static _Noreturn void walk_all(MDB_txn *txn)
{
    static const struct rlimit no_core = {0, 0};
    static const int signals[] = {SIGBUS, SIGSEGV, SIGABRT, SIGFPE};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)signal(signals[i], SIG_DFL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (null >= 0)
        (void)dup2(null, STDERR_FILENO); /* LMDB prints where it stumbled */
    _exit(walk(txn, LMDB_FREE) && walk(txn, LMDB_MAIN) && walk_named(txn, "meta") &&
                  walk_named(txn, "rows")
              ? 0
              : 1);
}

static int check_pages(const struct state_disk *d, MDB_txn *txn, struct reason *why)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        walk_all(txn);
    if (child < 0)
        return state_env_fail(d, "cannot be looked through", errno, why);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status == 0)
        return 0;
    reason_set(why,
               "state '%.200s': damaged, or cut short: of %" PRIu64
               " bytes in use some cannot be read",
               d->dir, state_disk_bytes(d));
    return -OHEM_STATE;
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* Open what is there and read who it is; changes nothing. `checks`: look through it, too. */
static int open_old(struct state_disk *d, bool checks, struct state_identity *out,
                    struct reason *why)
{
    MDB_txn *txn;
    int rc = open_env(d, d->dir, 0);

    if (rc == 0)
        rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return state_env_fail(d, "cannot be opened", rc, why);
    rc = checks ? check_pages(d, txn, why) : 0;
    if (rc == 0)
        rc = read_identity(d, txn, out, why);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "rows", 0, &d->rows);
        rc = rc == 0 ? 0 : state_env_fail(d, "damaged: no rows", rc, why);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* what opened the databases for good */
    return rc == 0 ? 0 : state_env_fail(d, "cannot be read", rc, why);
}

int state_env_reopen(struct state_disk *d, struct reason *why)
{
    struct state_identity identity;
    mdb_filehandle_t fd;
    int rc = open_old(d, false, &identity, why);

    if (rc != 0)
        return rc;
    rc = mdb_env_get_fd(d->env, &fd);
    if (rc == 0 && fsync(fd) != 0)
        rc = errno;
    if (rc != 0)
        return state_env_fail(d, "cannot be synced", rc, why);
    if (identity.memory == d->memory || identity.memory == d->identity.memory)
        return 0;
    reason_set(why, "state '%.200s': it is another one now", d->dir);
    return -OHEM_STATE;
}

/* What is made is for its owner alone, whatever the mask is for sockets. */
int state_disk_open(const char *dir, uint64_t bytes_max, struct state_disk **out,
                    struct reason *why)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct state_disk *d = calloc(1, sizeof *d);
    mode_t mask;
    int rc;

    if (d == NULL) {
        reason_set(why, "state '%.200s': no memory", dir);
        return -OHEM_NOMEM;
    }
    (void)snprintf(d->dir, sizeof d->dir, "%s", dir);
    d->bytes_max = bytes_max / page * page;
    d->lock_fd = -1;
    mask = umask(OWNER_MASK);
    rc = state_folder_lock(dir, &d->lock_fd, why);
    if (rc == 0)
        rc = make_if_new(d, why);
    if (rc == 0)
        rc = open_old(d, true, &d->identity, why);
    (void)umask(mask);
    if (rc != 0) {
        state_disk_close(d);
        return rc;
    }
    d->memory = d->identity.memory;
    *out = d;
    return 0;
}

void state_disk_close(struct state_disk *d)
{
    if (d == NULL)
        return;
    state_env_close(d);
    if (d->lock_fd >= 0)
        (void)close(d->lock_fd);
    free(d);
}
