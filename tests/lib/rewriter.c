/* rewriter.c - a writer beside the daemon; see rewriter.h. */
#include "rewriter.h"

#include "test.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES    (96u << 20) /* a pinned snapshot makes the file grow with each commit */
#define FILE_MODE    0644
#define KEY_BYTES    24
#define MASK_COUNT   255u
#define FULL_WAIT_MS 1

/* What the test asks for; each is answered by the number of transactions so far. */
struct order {
    uint32_t commits; /* 0: until the next order */
    uint32_t one_in;  /* 0: no transaction */
};

static unsigned char mask_of(uint32_t n)
{
    return (unsigned char)(n % MASK_COUNT + 1);
}

bool rewriter_wrote(const struct rewriter *w, uint32_t n, uint64_t id, const void *data,
                    size_t size)
{
    unsigned char *original = malloc(size + 1);
    bool same;

    assert_non_null(original);
    for (size_t i = 0; i < size; i++)
        original[i] = ((const unsigned char *)data)[i] ^ mask_of(n);
    same = tinyset_is(w->set, id, original, size);
    free(original);
    return same;
}

/* ---- the process ------------------------------------------------------------------------------
 *
 * It asserts nothing, but ends with a line and an exit code; then the test finds its socket closed.
 */

struct writer {
    MDB_env *env;
    MDB_dbi dbi;
    uint64_t count;
    uint32_t commits;
    unsigned char **originals; /* of each record */
    size_t *sizes;
};

static void must(int rc, const char *what)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "rewriter: %s: %s\n", what, mdb_strerror(rc));
    _exit(1);
}

static MDB_val key_of(uint64_t id, char *name)
{
    int length = snprintf(name, KEY_BYTES, "%020" PRIu64, id);

    return (MDB_val){.mv_size = (size_t)length, .mv_data = name};
}

static void note_originals(struct writer *w)
{
    MDB_txn *txn;

    must(mdb_txn_begin(w->env, NULL, MDB_RDONLY, &txn), "begin to read");
    must(mdb_dbi_open(txn, NULL, 0, &w->dbi), "database");
    w->originals = calloc(w->count, sizeof *w->originals);
    w->sizes = calloc(w->count, sizeof *w->sizes);
    must(w->originals == NULL || w->sizes == NULL ? ENOMEM : 0, "memory");
    for (uint64_t id = 0; id < w->count; id++) {
        char name[KEY_BYTES];
        MDB_val key = key_of(id, name), value;

        must(mdb_get(txn, w->dbi, &key, &value), "get");
        w->originals[id] = malloc(value.mv_size + 1);
        must(w->originals[id] == NULL ? ENOMEM : 0, "memory");
        memcpy(w->originals[id], value.mv_data, value.mv_size);
        w->sizes[id] = value.mv_size;
    }
    must(mdb_txn_commit(txn), "end of reading");
}

static int put_records(const struct writer *w, MDB_txn *txn, uint32_t n, uint32_t one_in)
{
    int rc = 0;

    for (uint64_t id = n % one_in; rc == 0 && id < w->count; id += one_in) {
        char name[KEY_BYTES];
        MDB_val key = key_of(id, name), value = {.mv_size = w->sizes[id]};

        rc = mdb_put(txn, w->dbi, &key, &value, MDB_RESERVE);
        for (size_t i = 0; rc == 0 && i < value.mv_size; i++)
            ((unsigned char *)value.mv_data)[i] = w->originals[id][i] ^ mask_of(n);
    }
    return rc;
}

/* @return 0, or MDB_MAP_FULL: nothing was committed */
static int commit_one(struct writer *w, uint32_t one_in)
{
    int dead, rc;
    MDB_txn *txn;

    must(mdb_reader_check(w->env, &dead), "look for dead readers");
    must(mdb_txn_begin(w->env, NULL, 0, &txn), "begin");
    rc = put_records(w, txn, w->commits + 1, one_in);
    if (rc == 0) {
        rc = mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
    must(rc != MDB_MAP_FULL ? rc : 0, "write");
    w->commits += rc == 0;
    return rc;
}

static bool is_asked(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) != 0;
}

/* When the file is full try again until the reader that pins it is gone. */
static void commit_until_asked(struct writer *w, int fd, uint32_t one_in)
{
    int wait_ms = 0;

    while (!is_asked(fd, wait_ms))
        wait_ms = commit_one(w, one_in) == 0 ? 0 : FULL_WAIT_MS;
}

static void carry_out(struct writer *w, int fd, struct order order)
{
    bool endless = order.commits == 0 && order.one_in != 0;

    for (uint32_t n = 0; n < order.commits + endless; n++)
        must(commit_one(w, order.one_in), "commit");
    if (write(fd, &w->commits, sizeof w->commits) != sizeof w->commits)
        _exit(0);
    if (endless)
        commit_until_asked(w, fd, order.one_in);
}

static void work(const struct tinyset *set, const char *path, int fd, unsigned flags)
{
    struct writer w = {.count = set->count};
    struct order order;

    must(mdb_env_create(&w.env), "create");
    must(mdb_env_set_mapsize(w.env, MAP_BYTES), "map");
    must(mdb_env_open(w.env, path, MDB_NOSYNC | flags, FILE_MODE), path);
    note_originals(&w);
    while (read(fd, &order, sizeof order) == sizeof order)
        carry_out(&w, fd, order);
    _exit(0); /* all goes with the process */
}

/* ---- the test's end ---------------------------------------------------------------------------
 */

static uint32_t ask(struct rewriter *w, struct order order)
{
    uint32_t commits = 0;

    assert_int_equal(send(w->fd, &order, sizeof order, MSG_NOSIGNAL), sizeof order);
    if (read(w->fd, &commits, sizeof commits) != sizeof commits)
        fail_msg("the rewriter has ended");
    return commits;
}

void rewriter_start(struct rewriter *w, const struct tinyset *set, const char *path,
                    bool through_map)
{
    pid_t parent = getpid();
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    (void)fflush(NULL);
    w->set = set;
    w->fd = ends[0];
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(ends[0]);
        if (getppid() == parent)
            work(set, path, ends[1], through_map ? MDB_WRITEMAP : 0);
        _exit(1);
    }
    (void)close(ends[1]);
    (void)ask(w, (struct order){0}); /* it has seen the originals */
}

uint32_t rewriter_commit(struct rewriter *w, uint32_t commits, uint32_t one_in)
{
    assert_true(commits > 0 && one_in > 0);
    return ask(w, (struct order){commits, one_in});
}

void rewriter_go(struct rewriter *w, uint32_t one_in)
{
    (void)ask(w, (struct order){0, one_in});
}

uint32_t rewriter_halt(struct rewriter *w)
{
    return ask(w, (struct order){0});
}

void rewriter_end(struct rewriter *w)
{
    int status = 0;

    (void)close(w->fd);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
