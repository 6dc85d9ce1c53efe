/* test_dataset_grow.c - the next generation of a data set: what is accepted, what is refused and
 * how that is said. Another process writes, as it must be.
 */
#include "../../daemon/dataset.h"
#include "../../proto/error.h"
#include "../lib/test.h"

#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH      "data"
#define MAP_BYTES (UINT64_C(1) << 26)
#define KEY_MAX   32

/* ---- another process's writing -----------------------------------------------------------------
 */

static void must(int rc)
{
    if (rc != 0) {
        (void)fprintf(stderr, "writer: %s\n", mdb_strerror(rc));
        _exit(1);
    }
}

/* Keys of even numbers, so that there is room between any two. */
static MDB_val key_of(uint64_t number, char text[KEY_MAX])
{
    int size = snprintf(text, KEY_MAX, "k%06" PRIu64, number);

    return (MDB_val){.mv_size = (size_t)size, .mv_data = text};
}

struct change {
    const char *database;
    uint64_t put_from, put_to; /* instances: their keys are of twice the number */
    const char *put, *remove;  /* a single key */
    uint64_t map_bytes;        /* 0: MAP_BYTES */
    size_t value_bytes;        /* 0: of the key's digits */
};

static void put(MDB_txn *txn, MDB_dbi dbi, MDB_val key, size_t bytes)
{
    MDB_val value = {.mv_size = bytes > 0 ? bytes : key.mv_size};

    must(mdb_put(txn, dbi, &key, &value, MDB_RESERVE));
    memset(value.mv_data, 0, value.mv_size);
    memcpy(value.mv_data, key.mv_data, key.mv_size);
}

static void apply(const struct change *c)
{
    char text[KEY_MAX];
    MDB_val gone = {.mv_data = (void *)(uintptr_t)c->remove};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    must(mdb_env_create(&env));
    must(mdb_env_set_maxdbs(env, 8));
    must(mdb_env_set_mapsize(env, c->map_bytes > 0 ? c->map_bytes : MAP_BYTES));
    must(mdb_env_open(env, PATH, MDB_NOSYNC, 0644));
    must(mdb_txn_begin(env, NULL, 0, &txn));
    must(mdb_dbi_open(txn, c->database, c->database != NULL ? MDB_CREATE : 0, &dbi));
    for (uint64_t i = c->put_from; i < c->put_to; i++)
        put(txn, dbi, key_of(2 * i, text), c->value_bytes);
    if (c->put != NULL)
        put(txn, dbi, (MDB_val){strlen(c->put), (void *)(uintptr_t)c->put}, c->value_bytes);
    if (c->remove != NULL) {
        gone.mv_size = strlen(c->remove);
        must(mdb_del(txn, dbi, &gone, NULL));
    }
    must(mdb_txn_commit(txn));
    mdb_env_close(env);
}

static void change(struct change c)
{
    int status = -1;
    pid_t child;

    (void)mkdir(PATH, 0755);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        apply(&c);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- looking -----------------------------------------------------------------------------------
 */

static struct dataset *open_set(const char *database)
{
    struct dataset *d = NULL;
    struct reason why = {""};

    if (dataset_open(PATH, database, false, &d, &why, NULL, NULL) != 0)
        fail_msg("%s", why.text);
    return d;
}

/* Looked at and read; NULL: there is nothing new. */
static struct dataset *next_of(const struct dataset *d)
{
    struct dataset *next = NULL;
    struct reason why = {""};

    if (dataset_look(d, &next, &why) != 0 || (next != NULL && dataset_scan(next, &why) != 0))
        fail_msg("%s", why.text);
    return next;
}

static void assert_holds(const struct dataset *d, uint64_t count)
{
    assert_int_equal(dataset_count(d), count);
    for (uint64_t id = 0; id < count; id++) {
        char text[KEY_MAX];
        MDB_val key = key_of(2 * id, text);
        struct dataset_record r = dataset_record(d, id), k = {0};

        assert_true(r.size == key.mv_size && memcmp(r.data, key.mv_data, r.size) == 0);
        assert_int_equal(dataset_key(d, id, &k), 0);
        assert_true(k.size == key.mv_size && memcmp(k.data, key.mv_data, k.size) == 0);
    }
}

static void assert_refused(const struct dataset *d, const char *part)
{
    struct dataset *next = next_of(d);
    struct reason why = {""};

    assert_non_null(next);
    assert_int_equal(dataset_compare(d, next, &why), -OHEM_DATASET);
    if (strstr(why.text, part) == NULL)
        fail_msg("'%s' does not hold '%s'", why.text, part);
    dataset_close(next);
}

/* ---- the cases ---------------------------------------------------------------------------------
 */

static void what_is_put_behind_the_end_is_the_next_generation(void **state)
{
    struct dataset *d, *next;
    struct reason why = {""};
    uint64_t hash = 0;

    (void)state;
    change((struct change){.put_to = 1000});
    d = open_set("");
    assert_null(next_of(d));
    for (uint64_t count = 1000; count < 5000; count += 777) {
        change((struct change){.put_from = count, .put_to = count + 777});
        next = next_of(d);
        assert_non_null(next);
        assert_int_equal(dataset_compare(d, next, &why), 0);
        assert_true(dataset_fingerprint(next) != dataset_fingerprint(d));
        assert_true(dataset_prefix(next, count, &hash));
        assert_true(hash == dataset_fingerprint(d));
        assert_holds(d, count); /* both, side by side */
        assert_holds(next, count + 777);
        dataset_close(d);
        d = next;
    }
    dataset_close(d);
}

static void the_prefix_of_a_set_has_the_fingerprint_of_the_shorter_set(void **state)
{
    static const uint64_t counts[] = {1, 2, 255, 256, 257, 511, 512, 513, 700};
    struct dataset *longest;
    uint64_t prints[sizeof counts / sizeof *counts], hash = 0, from = 0;

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct dataset *d;

        change((struct change){.put_from = from, .put_to = counts[i]});
        d = open_set("");
        prints[i] = dataset_fingerprint(d);
        dataset_close(d);
        from = counts[i];
    }
    longest = open_set("");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        assert_true(dataset_prefix(longest, counts[i], &hash));
        assert_true(hash == prints[i]);
    }
    assert_true(dataset_prefix(longest, 0, &hash) && hash == 0);
    assert_false(dataset_prefix(longest, 701, &hash));
    dataset_close(longest);
}

static void the_first_key_that_differs_is_named_with_its_place(void **state)
{
    static const struct {
        const char *put, *remove, *named;
    } cases[] = {
        {"k000001", NULL, "key 'k000001' was put in at 1 of 600;"},
        {"a", NULL, "key 'a' was put in at 0 of 600;"},
        {"k000511", NULL, "key 'k000511' was put in at 256 of 600;"},
        {"k000509", NULL, "key 'k000509' was put in at 255 of 600;"},
        {"k001197", NULL, "key 'k001197' was put in at 599 of 600;"},
        {"\x01\xff", NULL, "key 0x01ff was put in at 0 of 600;"},
        {NULL, "k000000", "key 'k000000' is gone, which stood at 0 of 600;"},
        {NULL, "k000512", "key 'k000512' is gone, which stood at 256 of 600;"},
        {NULL, "k001198", "key 'k001198' is gone, which stood at 599 of 600;"},
        {"k000801", "k000600", "key 'k000600' is gone, which stood at 300 of 600;"},
        {"k000401", "k000600", "key 'k000401' was put in at 201 of 600;"},
    };
    struct dataset *d;

    (void)state;
    change((struct change){.put_to = 600});
    d = open_set("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change((struct change){.put = cases[i].put, .remove = cases[i].remove});
        assert_refused(d, cases[i].named);
        change((struct change){.put = cases[i].remove, .remove = cases[i].put});
    }
    assert_holds(d, 600);
    dataset_close(d);
}

/* Handles of named databases must outlive the transaction that they were opened in. */
static void two_databases_of_one_environment_grow_each_by_itself(void **state)
{
    struct dataset *a, *b, *next;
    struct reason why = {""};

    (void)state;
    change((struct change){.database = "a", .put_to = 300});
    change((struct change){.database = "b", .put_to = 20});
    a = open_set("a");
    b = open_set("b");
    for (uint64_t more = 10; more <= 50; more += 10) {
        change((struct change){.database = "a", .put_from = 300, .put_to = 300 + more});
        next = next_of(a);
        assert_int_equal(dataset_compare(a, next, &why), 0);
        dataset_close(a);
        a = next;
        assert_holds(a, 300 + more);
        next = next_of(b); /* something was written, but not here */
        assert_int_equal(dataset_compare(b, next, &why), 0);
        assert_holds(next, 20);
        dataset_close(next);
    }
    change((struct change){.database = "b", .put_from = 20, .put_to = 40});
    next = next_of(b);
    assert_int_equal(dataset_compare(b, next, &why), 0);
    dataset_close(b);
    assert_holds(next, 40);
    assert_holds(a, 350);
    dataset_close(next);
    dataset_close(a);
}

static void other_sizes_are_refused_where_all_had_one(void **state)
{
    struct dataset *d;

    (void)state;
    change((struct change){.put_to = 10});
    d = open_set("");
    change((struct change){.put_from = 10, .put_to = 11, .value_bytes = 100});
    assert_refused(d, "all records had 7 bytes");
    dataset_close(d);
}

static void an_immutable_set_is_not_looked_at(void **state)
{
    struct dataset *d = NULL, *next = NULL;
    struct reason why = {""};

    (void)state;
    change((struct change){.put_to = 10});
    assert_int_equal(dataset_open(PATH, "", true, &d, &why, NULL, NULL), 0);
    change((struct change){.put_from = 10, .put_to = 20});
    assert_int_equal(dataset_look(d, &next, &why), 0);
    assert_null(next);
    dataset_close(d);
}

/* Pages of address space in use. */
static rlim_t address_space(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void growth_beyond_the_address_space_is_refused_with_the_way_out(void **state)
{
    struct rlimit tight = {.rlim_max = RLIM_INFINITY}, before;
    struct dataset *d, *next = NULL;
    struct reason why = {""};

    (void)state;
    change((struct change){.put_to = 100, .map_bytes = 1 << 20});
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight.rlim_cur = address_space() + (1u << 29);
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    d = open_set("");
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    change((struct change){.put_from = 100, .put_to = 1000, .value_bytes = 10000});
    assert_int_equal(dataset_look(d, &next, &why), -OHEM_DATASET);
    assert_non_null(strstr(why.text, "restart to serve all of it"));
    assert_holds(d, 100);
    dataset_close(d);
}

TEST_MAIN(TEST(what_is_put_behind_the_end_is_the_next_generation),
          TEST(the_prefix_of_a_set_has_the_fingerprint_of_the_shorter_set),
          TEST(the_first_key_that_differs_is_named_with_its_place),
          TEST(two_databases_of_one_environment_grow_each_by_itself),
          TEST(other_sizes_are_refused_where_all_had_one), TEST(an_immutable_set_is_not_looked_at),
          TEST(growth_beyond_the_address_space_is_refused_with_the_way_out))
