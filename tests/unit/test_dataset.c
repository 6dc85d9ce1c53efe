/* test_dataset.c - any LMDB opens, what is none is refused in one line, and the bytes stay right.
 *
 * The databases are made through liblmdb directly. A case says what it wants as a struct recipe;
 * keys and values come from functions of the ordinal, so a test knows each byte.
 */
#include "../../daemon/dataset.h"
#include "../../proto/error.h"
#include "../lib/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES      (256u << 20) /* of address space: files are as large as what is in them */
#define KEY_BYTES_MAX  511          /* LMDB's own limit */
#define SIZE_BYTES_MAX 100000
#define NOBODY         65534

/* Fill in a key or a value. @return its bytes. */
typedef size_t fill_fn(uint64_t i, unsigned char *out);

struct recipe {
    const char *path;
    const char *database; /* NULL: the main one */
    unsigned env_flags, dbi_flags;
    uint64_t count;
    fill_fn *key, *value;
};

/* ---- keys and values ---------------------------------------------------------------------------
 */

static size_t decimal_key(uint64_t i, unsigned char *out)
{
    return (size_t)sprintf((char *)out, "%08" PRIu64, i);
}

static size_t native_key(uint64_t i, unsigned char *out)
{
    size_t number = (size_t)i * 3 + 250; /* its bytes in memory are not in this order */

    memcpy(out, &number, sizeof number);
    return sizeof number;
}

/* Every length from 1 to 511, all bytes, zeros too; in LMDB's order: by bytes, the shorter first.
 */
static size_t binary_key(uint64_t i, unsigned char *out)
{
    size_t size = 2 + (size_t)(i * 7 % (KEY_BYTES_MAX - 1));

    memset(out, 0, size);
    out[0] = (unsigned char)(i >> 8);
    out[1] = (unsigned char)i;
    for (size_t k = 2; k < size; k++)
        out[k] = (unsigned char)(k * i);
    return size;
}

static size_t fixed_value(uint64_t i, unsigned char *out)
{
    for (size_t k = 0; k < 40; k++)
        out[k] = (unsigned char)(i * 31 + k);
    return 40;
}

/* 0 to 100,000 bytes: nothing, within a leaf, and on overflow pages. */
static size_t varied_value(uint64_t i, unsigned char *out)
{
    static const size_t sizes[] = {0, 1, 100, 2000, 5000, SIZE_BYTES_MAX};
    size_t size = sizes[i % 6];

    for (size_t k = 0; k < size; k++)
        out[k] = (unsigned char)(i * 131 + k * 7 + (k >> 8));
    return size;
}

static size_t empty_value(uint64_t i, unsigned char *out)
{
    (void)i;
    (void)out;
    return 0;
}

/* ---- making ------------------------------------------------------------------------------------
 */

static void must(int rc, const char *what)
{
    if (rc != 0)
        fail_msg("%s: %s", what, mdb_strerror(rc));
}

static MDB_env *open_env(const char *path, unsigned flags)
{
    MDB_env *env;

    if (!(flags & MDB_NOSUBDIR))
        (void)mkdir(path, 0755);
    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, MAP_BYTES), "map size");
    must(mdb_env_set_maxdbs(env, 8), "databases");
    must(mdb_env_open(env, path, flags | MDB_NOSYNC, 0644), path);
    return env;
}

static void put(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, void *value,
                size_t size)
{
    MDB_val k = {.mv_size = key_size, .mv_data = (void *)(uintptr_t)key};
    MDB_val v = {.mv_size = size, .mv_data = value};

    must(mdb_put(txn, dbi, &k, &v, 0), "put");
}

/* In the reverse order: that ids follow the keys must come from LMDB. */
static void put_all(const struct recipe *r, MDB_txn *txn, MDB_dbi dbi)
{
    unsigned char key[KEY_BYTES_MAX];
    unsigned char *value = malloc(SIZE_BYTES_MAX);

    assert_non_null(value);
    for (uint64_t i = r->count; i-- > 0;) {
        size_t key_size = r->key(i, key);

        put(txn, dbi, key, key_size, value, r->value(i, value));
    }
    free(value);
}

static void make(const struct recipe *r)
{
    MDB_env *env = open_env(r->path, r->env_flags);
    MDB_txn *txn;
    MDB_dbi dbi;

    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(
        mdb_dbi_open(txn, r->database, r->dbi_flags | (r->database != NULL ? MDB_CREATE : 0), &dbi),
        "database");
    put_all(r, txn, dbi);
    must(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static off_t file_bytes(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* ---- looking -----------------------------------------------------------------------------------
 */

static struct dataset *must_open(const char *path, const char *database)
{
    struct dataset *d = NULL;
    struct reason why = {""};

    if (dataset_open(path, database, false, &d, &why, NULL, NULL) != 0)
        fail_msg("%s", why.text);
    return d;
}

/* Refused with -OHEM_DATASET, in one line that names the path and holds `part`. */
static void assert_refused(const char *path, const char *database, const char *part)
{
    struct dataset *d = NULL;
    struct reason why = {""};
    int rc = dataset_open(path, database, false, &d, &why, NULL, NULL);

    assert_int_equal(rc, -OHEM_DATASET);
    assert_null(d);
    if (strstr(why.text, part) == NULL || strstr(why.text, path) == NULL)
        fail_msg("'%s' does not hold '%s' and '%s'", why.text, path, part);
    assert_null(strchr(why.text, '\n'));
}

static void assert_bytes(struct dataset_record got, const unsigned char *expected, size_t size)
{
    assert_int_equal(got.size, size);
    if (size > 0)
        assert_memory_equal(got.data, expected, size);
}

/* The keys and values of the recipe come first, right to the last byte. @return their bytes. */
static uint64_t assert_begins_with(const struct dataset *d, const struct recipe *r)
{
    unsigned char key[KEY_BYTES_MAX];
    unsigned char *value = malloc(SIZE_BYTES_MAX);
    uint64_t bytes = 0;

    assert_non_null(value);
    for (uint64_t i = 0; i < r->count; i++) {
        size_t key_size = r->key(i, key), size = r->value(i, value);
        struct dataset_record got;

        assert_bytes(dataset_record(d, i), value, size);
        assert_int_equal(dataset_key(d, i, &got), 0);
        assert_bytes(got, key, key_size);
        bytes += size;
    }
    free(value);
    return bytes;
}

static void assert_holds(const struct dataset *d, const struct recipe *r)
{
    assert_int_equal(dataset_count(d), r->count);
    assert_int_equal(dataset_bytes(d), assert_begins_with(d, r));
}

static void assert_opens(const struct recipe *r)
{
    struct dataset *d;

    make(r);
    d = must_open(r->path, r->database != NULL ? r->database : "");
    assert_holds(d, r);
    dataset_close(d);
}

/* ---- any LMDB opens ----------------------------------------------------------------------------
 */

static void a_folder_opens(void **state)
{
    (void)state;
    assert_opens(
        &(struct recipe){.path = "data", .count = 10, .key = decimal_key, .value = fixed_value});
}

static void a_single_file_opens(void **state)
{
    (void)state;
    assert_opens(&(struct recipe){.path = "data.mdb",
                                  .env_flags = MDB_NOSUBDIR,
                                  .count = 10,
                                  .key = decimal_key,
                                  .value = fixed_value});
}

static void a_named_database_opens(void **state)
{
    struct recipe train = {.path = "data",
                           .database = "train",
                           .count = 300,
                           .key = decimal_key,
                           .value = fixed_value};
    struct recipe test = {
        .path = "data", .database = "test", .count = 7, .key = binary_key, .value = varied_value};
    struct dataset *d;

    (void)state;
    make(&train);
    assert_opens(&test);
    d = must_open("data", "train");
    assert_holds(d, &train);
    dataset_close(d);
}

static void keys_may_be_any_bytes_and_ids_are_their_order(void **state)
{
    (void)state;
    assert_opens(
        &(struct recipe){.path = "data", .count = 1100, .key = binary_key, .value = fixed_value});
}

/* Checkpoints are 256 apart: the last id before one, on one, behind one; also in falling order. */
static void each_count_around_256_gives_each_key(void **state)
{
    static const uint64_t counts[] = {1, 255, 256, 257, 511, 512, 513, 768};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char path[16];
        struct recipe r = {
            .path = path, .count = counts[i], .key = decimal_key, .value = fixed_value};
        unsigned char key[KEY_BYTES_MAX];
        struct dataset *d;

        (void)snprintf(path, sizeof path, "data%zu", i);
        assert_opens(&r);
        d = must_open(path, "");
        for (uint64_t id = counts[i]; id-- > 0;) {
            struct dataset_record got;

            assert_int_equal(dataset_key(d, id, &got), 0);
            assert_bytes(got, key, decimal_key(id, key));
        }
        dataset_close(d);
    }
}

static void a_database_of_native_integers_opens(void **state)
{
    struct recipe r = {.path = "data",
                       .dbi_flags = MDB_INTEGERKEY,
                       .database = "numbers",
                       .count = 700,
                       .key = native_key,
                       .value = fixed_value};

    (void)state;
    assert_opens(&r);
}

static void a_main_database_of_native_integers_opens(void **state)
{
    struct recipe r = {.path = "data",
                       .dbi_flags = MDB_INTEGERKEY,
                       .count = 300,
                       .key = native_key,
                       .value = fixed_value};

    (void)state;
    assert_opens(&r);
}

static void record_bytes_is_the_size_when_all_have_one(void **state)
{
    struct recipe r = {.path = "data", .count = 50, .key = decimal_key, .value = fixed_value};
    struct dataset *d;

    (void)state;
    make(&r);
    d = must_open("data", "");
    assert_int_equal(dataset_record_bytes(d), 40);
    assert_int_equal(dataset_record_bytes_max(d), 40);
    dataset_close(d);
}

static void sizes_may_differ_from_nothing_to_overflow_pages(void **state)
{
    struct recipe r = {.path = "data", .count = 60, .key = decimal_key, .value = varied_value};
    struct dataset *d;

    (void)state;
    assert_opens(&r);
    d = must_open("data", "");
    assert_int_equal(dataset_record_bytes(d), 0);
    assert_int_equal(dataset_record_bytes_max(d), SIZE_BYTES_MAX);
    dataset_close(d);
}

static void values_may_all_be_empty(void **state)
{
    struct recipe r = {.path = "data", .count = 9, .key = decimal_key, .value = empty_value};
    struct dataset *d;

    (void)state;
    assert_opens(&r);
    d = must_open("data", "");
    assert_int_equal(dataset_record_bytes_max(d), 0);
    dataset_close(d);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    assert_refused("nowhere", "", "No such file");
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_refused("folder", "", "folder/data.mdb': No such file");
}

static void an_empty_file_and_a_pipe_are_refused(void **state)
{
    (void)state;
    write_file("empty", "", 0);
    assert_refused("empty", "", "the file is empty");
    assert_int_equal(mkfifo("pipe", 0644), 0);
    assert_refused("pipe", "", "not a regular file"); /* and is not waited for */
    assert_int_equal(access("empty-lock", F_OK), -1);
}

static void an_empty_database_is_refused_with_the_limits(void **state)
{
    (void)state;
    make(&(struct recipe){.path = "data"});
    assert_refused("data", "", "has 0 instances; 1 to 4294967294");
}

static void random_bytes_are_refused_with_the_librarys_version(void **state)
{
    unsigned char noise[50000];

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)(i * 2654435761u >> 11);
    write_file("noise", noise, sizeof noise);
    assert_refused("noise", "", "not an LMDB file of this library's format, 0.9");
    write_file("short", noise, 100);
    assert_refused("short", "", "not an LMDB file");
}

static void an_unknown_database_is_named(void **state)
{
    struct recipe r = {
        .path = "data", .database = "train", .count = 3, .key = decimal_key, .value = fixed_value};

    (void)state;
    make(&r);
    assert_refused("data", "trian", "has no database 'trian'");
}

static void a_record_is_no_database(void **state)
{
    struct recipe r = {.path = "data", .count = 3, .key = decimal_key, .value = fixed_value};

    (void)state;
    make(&r);
    assert_refused("data", "00000001", "cannot open the database");
}

static void a_main_database_of_databases_lists_them(void **state)
{
    static const char *const names[] = {"val", "train", "test"};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        make(&(struct recipe){.path = "data",
                              .database = names[i],
                              .count = 3,
                              .key = decimal_key,
                              .value = fixed_value});
    assert_refused("data", "", "holds named databases (test, train, val): choose one");
}

static void several_values_under_a_key_are_refused(void **state)
{
    struct recipe r = {.path = "data",
                       .database = "d",
                       .dbi_flags = MDB_DUPSORT,
                       .count = 3,
                       .key = decimal_key,
                       .value = fixed_value};

    (void)state;
    make(&r);
    assert_refused("data", "d", "MDB_DUPSORT");
}

/* ---- a file that is cut short ------------------------------------------------------------------
 */

/* Every length at which an interrupted copy may end: in the headers, a page, between pages. */
static void a_file_that_is_cut_short_is_refused_with_both_sizes(void **state)
{
    struct recipe r = {.path = "data", .count = 300, .key = decimal_key, .value = varied_value};
    char sizes[96];
    off_t whole;

    (void)state;
    make(&r);
    whole = file_bytes("data/data.mdb");
    for (off_t size = whole - 1; size >= 8192; size = size * 2 / 3) {
        assert_int_equal(truncate("data/data.mdb", size), 0);
        (void)snprintf(sizes, sizeof sizes, "cut short: its file has %jd of %jd bytes",
                       (intmax_t)size, (intmax_t)whole);
        assert_refused("data", "", sizes);
    }
    assert_int_equal(truncate("data/data.mdb", 8192), 0);
    assert_refused("data", "", "cut short");
    assert_int_equal(truncate("data/data.mdb", 4096), 0);
    assert_refused("data", "", "not an LMDB file");
}

/* Put a value, or delete it when it is NULL. */
static void change(const char *path, const char *key, const void *value, size_t size)
{
    MDB_env *env = open_env(path, 0);
    MDB_val k = {.mv_size = strlen(key), .mv_data = (void *)(uintptr_t)key};
    MDB_txn *txn;
    MDB_dbi dbi;

    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
    if (value == NULL)
        must(mdb_del(txn, dbi, &k, NULL), "delete");
    else
        put(txn, dbi, key, strlen(key), (void *)(uintptr_t)value, size);
    must(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
}

static const unsigned char big[SIZE_BYTES_MAX];

/* The tree's pages come first, the value's last: the scan itself touches none that is missing. */
static void a_cut_through_one_record_alone_is_found(void **state)
{
    struct recipe r = {.path = "data", .count = 1, .key = decimal_key, .value = fixed_value};

    (void)state;
    make(&r);
    change("data", "zz", big, sizeof big);
    dataset_close(must_open("data", ""));
    assert_int_equal(truncate("data/data.mdb", file_bytes("data/data.mdb") - 10 * 4096), 0);
    assert_refused("data", "", "cut short");
}

/* Put and delete at random in one transaction. @return the bytes that the header tells of. */
static off_t churn(const char *path, unsigned seed)
{
    static const size_t sizes[] = {10, 1000, 5000, 50000};
    MDB_env *env = open_env(path, 0);
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_envinfo info;

    srand(seed);
    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
    for (int i = 0; i < 100; i++) {
        char name[16];
        MDB_val key = {.mv_size = (size_t)sprintf(name, "zz%02d", rand() % 40), .mv_data = name};

        if (rand() % 2 == 0)
            put(txn, dbi, name, key.mv_size, (void *)(uintptr_t)big, sizes[rand() % 4]);
        else
            (void)mdb_del(txn, dbi, &key, NULL);
    }
    must(mdb_txn_commit(txn), "commit");
    must(mdb_env_info(env, &info), "info");
    mdb_env_close(env);
    return (off_t)(info.me_last_pgno + 1) * 4096;
}

/* LMDB does not write what a transaction took at the file's end and gave back. */
static void a_whole_file_that_is_shorter_than_its_header_says_opens(void **state)
{
    char path[32];
    struct recipe r = {.path = path, .count = 30, .key = decimal_key, .value = fixed_value};
    bool shorter = false;
    struct dataset *d;

    (void)state;
    for (unsigned seed = 0; !shorter; seed++) { /* a few in a hundred come out so */
        assert_true(seed < 400);
        (void)snprintf(path, sizeof path, "data%u", seed);
        make(&r);
        for (unsigned i = 0; i < 2; i++)
            (void)churn(path, 3 * seed + i);
        shorter = churn(path, 3 * seed + 2) > file_bytes(strcat(path, "/data.mdb"));
        *strchr(path, '/') = '\0';
    }
    d = must_open(path, "");
    (void)assert_begins_with(d, &r);
    dataset_close(d);
}

/* ---- without the right to write ----------------------------------------------------------------
 */

/* In a child without rights (root has them all): 0 when it opens, 1 and the reason in a file. */
static int open_as_nobody(const char *path, bool immutable, struct reason *why)
{
    int status = 0, pair[2];
    pid_t child;

    assert_int_equal(chmod(".", 0755), 0);
    assert_int_equal(pipe(pair), 0);
    child = fork();
    if (child == 0) {
        struct dataset *d = NULL;
        int rc;

        if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(2);
        rc = dataset_open(path, "", immutable, &d, why, NULL, NULL);
        dataset_close(d);
        if (write(pair[1], why, sizeof *why) < 0)
            _exit(3);
        _exit(rc == 0 ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) < 2)
        assert_true(read(pair[0], why, sizeof *why) > 0);
    (void)close(pair[0]);
    (void)close(pair[1]);
    return WEXITSTATUS(status);
}

static void who_may_not_write_the_lock_file_is_told_of_immutable(void **state)
{
    struct recipe r = {.path = "data", .count = 10, .key = decimal_key, .value = fixed_value};
    struct reason why = {""};
    int rc;

    (void)state;
    make(&r);
    assert_int_equal(unlink("data/lock.mdb"), 0);
    assert_int_equal(chmod("data", 0555), 0);
    rc = open_as_nobody("data", false, &why);
    if (rc > 1)
        test_skip("cannot become another user");
    assert_int_equal(rc, 1);
    assert_non_null(strstr(why.text, "immutable = yes"));
    assert_int_equal(open_as_nobody("data", true, &why), 0);
    assert_int_equal(access("data/lock.mdb", F_OK), -1); /* nothing was made */
}

/* ---- what it tells of itself -------------------------------------------------------------------
 */

static uint64_t fingerprint_of(const char *path)
{
    struct dataset *d = must_open(path, "");
    uint64_t fingerprint = dataset_fingerprint(d);

    dataset_close(d);
    return fingerprint;
}

static void the_fingerprint_follows_the_keys_and_not_the_values(void **state)
{
    struct recipe r = {.count = 500, .key = decimal_key, .value = fixed_value};
    uint64_t before;

    (void)state;
    r.path = "a";
    make(&r);
    r.path = "b";
    r.value = varied_value;
    make(&r);
    before = fingerprint_of("a");
    assert_int_equal(fingerprint_of("b"), before);
    change("a", "00000007", "another value", 13);
    assert_int_equal(fingerprint_of("a"), before);
    change("a", "00000007x", "a new key", 9);
    assert_int_not_equal(fingerprint_of("a"), before);
    r.path = "c";
    r.key = native_key;
    make(&r);
    assert_int_not_equal(fingerprint_of("c"), before);
}

/* The same bytes, cut into keys at another place: not the same data set. */
static void the_fingerprint_knows_where_a_key_ends(void **state)
{
    (void)state;
    make(&(struct recipe){.path = "a"});
    make(&(struct recipe){.path = "b"});
    change("a", "ab", "", 0);
    change("a", "c", "", 0);
    change("b", "a", "", 0);
    change("b", "bc", "", 0);
    assert_int_not_equal(fingerprint_of("a"), fingerprint_of("b"));
}

static void the_library_says_its_version(void **state)
{
    int major = 0, minor = 0, patch = 0;

    (void)state;
    assert_int_equal(sscanf(dataset_library_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    assert_int_equal(major, MDB_VERSION_MAJOR);
    assert_int_equal(minor, MDB_VERSION_MINOR);
}

static void nothing_is_closed_without_complaint(void **state)
{
    (void)state;
    dataset_close(NULL);
}

/* ---- while somebody writes ---------------------------------------------------------------------
 */

/* Delete and write all anew, often enough that freed pages are used again. */
static void rewrite(const struct recipe *r)
{
    MDB_env *env = open_env(r->path, 0);
    MDB_txn *txn;
    MDB_dbi dbi;

    for (int round = 0; round < 4; round++) {
        must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        must(mdb_dbi_open(txn, r->database, 0, &dbi), "database");
        must(mdb_drop(txn, dbi, 0), "drop");
        put_all(r, txn, dbi);
        must(mdb_txn_commit(txn), "commit");
    }
    mdb_env_close(env);
}

static size_t other_value(uint64_t i, unsigned char *out)
{
    size_t size = varied_value(i + 3, out);

    memset(out, 0xEE, size);
    return size;
}

/* A process that rewrites a data set each time it is told to. */
struct writer {
    pid_t pid;
    int go[2], done[2];
};

/* Before the data set is opened here: a writer is a stranger. */
static void writer_start(struct writer *w, const struct recipe *r)
{
    char byte;

    assert_int_equal(pipe(w->go), 0);
    assert_int_equal(pipe(w->done), 0);
    w->pid = fork();
    if (w->pid == 0) {
        (void)close(w->go[1]);
        while (read(w->go[0], &byte, 1) == 1) {
            rewrite(r);
            if (write(w->done[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    assert_true(w->pid > 0);
    (void)close(w->go[0]);
    (void)close(w->done[1]);
}

static void writer_write(struct writer *w)
{
    char byte = 0;

    assert_int_equal(write(w->go[1], &byte, 1), 1);
    assert_int_equal(read(w->done[0], &byte, 1), 1);
}

static void writer_end(struct writer *w)
{
    int status = -1;

    (void)close(w->go[1]);
    (void)close(w->done[0]);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, 0);
}

static void records_and_keys_stay_right_while_a_writer_changes_all(void **state)
{
    struct recipe r = {.path = "data", .count = 300, .key = decimal_key, .value = varied_value};
    struct recipe other = {.path = "data", .count = 400, .key = binary_key, .value = other_value};
    struct writer w;
    struct dataset *d;

    (void)state;
    make(&r);
    writer_start(&w, &other);
    d = must_open("data", "");
    writer_write(&w);
    assert_holds(d, &r);
    dataset_close(d);
    d = must_open("data", ""); /* and what was written is there for who opens it now */
    assert_holds(d, &other);
    dataset_close(d);
    writer_end(&w);
}

/* LMDB itself would let the second one take the first one's place among the readers. */
static void two_data_sets_of_one_environment_both_stay_right(void **state)
{
    struct recipe train = {.path = "data",
                           .database = "train",
                           .count = 300,
                           .key = decimal_key,
                           .value = varied_value};
    struct recipe test = {
        .path = "data", .database = "test", .count = 20, .key = binary_key, .value = fixed_value};
    struct recipe other = train;
    struct dataset *a, *b, *same;
    struct writer w;

    (void)state;
    other.value = other_value;
    make(&train);
    make(&test);
    writer_start(&w, &other);
    a = must_open("data", "train");
    writer_write(&w);
    b = must_open("data", "test");
    same = must_open("data/../data", "train");
    writer_write(&w);
    assert_holds(a, &train);
    assert_holds(b, &test);
    assert_holds(same, &train); /* one environment, one snapshot */
    dataset_close(a);           /* in any order */
    writer_write(&w);
    assert_refused("data", "", "holds named databases (test, train)");
    assert_holds(b, &test);
    assert_holds(same, &train);
    dataset_close(b);
    dataset_close(same);
    a = must_open("data", "train");
    assert_holds(a, &other);
    dataset_close(a);
    writer_end(&w);
}

static void two_data_sets_of_one_environment_must_agree_on_immutable(void **state)
{
    struct recipe r = {.path = "data", .count = 3, .key = decimal_key, .value = fixed_value};
    struct dataset *a, *b = NULL;
    struct reason why = {""};

    (void)state;
    make(&r);
    a = must_open("data", "");
    assert_int_equal(dataset_open("data", "", true, &b, &why, NULL, NULL), -OHEM_DATASET);
    assert_non_null(strstr(why.text, "immutable"));
    assert_holds(a, &r);
    dataset_close(a);
    assert_int_equal(dataset_open("data", "", true, &b, &why, NULL, NULL), 0);
    dataset_close(b);
}

TEST_MAIN(TEST(a_folder_opens), TEST(a_single_file_opens), TEST(a_named_database_opens),
          TEST(keys_may_be_any_bytes_and_ids_are_their_order),
          TEST(each_count_around_256_gives_each_key), TEST(a_database_of_native_integers_opens),
          TEST(a_main_database_of_native_integers_opens),
          TEST(record_bytes_is_the_size_when_all_have_one),
          TEST(sizes_may_differ_from_nothing_to_overflow_pages), TEST(values_may_all_be_empty),
          TEST(what_is_not_there_is_named), TEST(an_empty_file_and_a_pipe_are_refused),
          TEST(an_empty_database_is_refused_with_the_limits),
          TEST(random_bytes_are_refused_with_the_librarys_version),
          TEST(an_unknown_database_is_named), TEST(a_record_is_no_database),
          TEST(a_main_database_of_databases_lists_them),
          TEST(several_values_under_a_key_are_refused),
          TEST(a_file_that_is_cut_short_is_refused_with_both_sizes),
          TEST(a_cut_through_one_record_alone_is_found),
          TEST(a_whole_file_that_is_shorter_than_its_header_says_opens),
          TEST(who_may_not_write_the_lock_file_is_told_of_immutable),
          TEST(the_fingerprint_follows_the_keys_and_not_the_values),
          TEST(the_fingerprint_knows_where_a_key_ends), TEST(the_library_says_its_version),
          TEST(nothing_is_closed_without_complaint),
          TEST(records_and_keys_stay_right_while_a_writer_changes_all),
          TEST(two_data_sets_of_one_environment_both_stay_right),
          TEST(two_data_sets_of_one_environment_must_agree_on_immutable))
