/* test_state.c - rows come back as they were written, and what cannot be used is refused in one
 * line and stays as it is. What happens when the process or the power dies: test_state_crash.c.
 */
#include "../../daemon/state.h"
#include "../../proto/error.h"
#include "../lib/alloc.h"
#include "../lib/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR       "state"
#define DATA      DIR "/data.mdb"
#define BYTES_MAX (UINT64_C(1) << 28)
#define NOBODY    65534

/* ---- a state and a picture of it ---------------------------------------------------------------
 */

static struct state *must_open(const char *dir)
{
    struct state *s = NULL;
    struct reason why = {""};

    if (state_open(dir, BYTES_MAX, &s, &why) != 0)
        fail_msg("%s", why.text);
    return s;
}

static void must_commit(struct state *s)
{
    struct reason why = {""};

    if (state_commit_now(s, &why) != 0)
        fail_msg("%s", why.text);
}

/* Refused in one line that names the folder and holds `part`. */
static void assert_refused(const char *dir, const char *part)
{
    struct state *s = NULL;
    struct reason why = {""};

    assert_int_equal(state_open(dir, BYTES_MAX, &s, &why), -OHEM_STATE);
    assert_null(s);
    if (strstr(why.text, part) == NULL || strstr(why.text, dir) == NULL)
        fail_msg("'%s' does not hold '%s' and '%s'", why.text, part, dir);
    assert_null(strchr(why.text, '\n'));
}

static void put(struct state *s, uint32_t table, uint32_t job, uint64_t number, const char *text)
{
    char *at = rows_put(state_rows(s), (struct rows_key){table, job, number}, strlen(text));

    assert_non_null(at);
    memcpy(at, text, strlen(text));
}

/* rows as text: "table.job.number=value " for each */
struct picture {
    char text[4096];
    size_t size;
};

static int picture_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                      struct reason *why)
{
    struct picture *p = ctx;

    (void)why;
    assert_int_equal((uintptr_t)value % 8, 0);
    p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size,
                                "%" PRIu32 ".%" PRIu32 ".%" PRIx64 "=%.*s ", key->table, key->job,
                                key->number, (int)size, (const char *)value);
    return 0;
}

static void assert_holds(struct state *s, const char *expected)
{
    struct picture p = {"", 0};
    struct reason why = {""};

    if (state_load(s, picture_cb, &p, &why) != 0)
        fail_msg("%s", why.text);
    assert_string_equal(p.text, expected);
}

/* A state with a row in it, closed. */
static void make_some(void)
{
    struct state *s = must_open(DIR);

    put(s, ROWS_JOB, 1, 0, "one");
    must_commit(s);
    state_close(s);
}

/* ---- files -------------------------------------------------------------------------------------
 */

static unsigned char *read_file(const char *path, size_t *out_size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = malloc(1u << 22);

    assert_non_null(file);
    assert_non_null(bytes);
    *out_size = fread(bytes, 1, 1u << 22, file);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Refused, and not a byte of it is another one. */
static void assert_refused_untouched(const char *part)
{
    size_t before_size, after_size;
    unsigned char *before = read_file(DATA, &before_size), *after;

    assert_refused(DIR, part);
    after = read_file(DATA, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    free(before);
    free(after);
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

static void rows_come_back_in_the_order_of_their_keys(void **state)
{
    struct state *s = must_open(DIR);

    (void)state;
    put(s, ROWS_JOURNAL, 1, 0, "h");
    put(s, ROWS_LEASE, 2, 0, "f");
    put(s, ROWS_LEASE, 1, UINT64_MAX, "e");
    put(s, ROWS_LEASE, 1, 256, "d");
    put(s, ROWS_LEASE, 1, 255, "");
    put(s, ROWS_JOB, 256, 0, "c");
    put(s, ROWS_JOB, 255, 0, "b");
    must_commit(s);
    put(s, ROWS_CHUNK, 1, 0, "g");
    put(s, ROWS_JOB, 1, 0, "a");
    must_commit(s);
    assert_holds(s, "1.1.0=a 1.255.0=b 1.256.0=c 4.1.ff= 4.1.100=d 4.1.ffffffffffffffff=e "
                    "4.2.0=f 7.1.0=g 8.1.0=h ");
    state_close(s);
    s = must_open(DIR);
    assert_holds(s, "1.1.0=a 1.255.0=b 1.256.0=c 4.1.ff= 4.1.100=d 4.1.ffffffffffffffff=e "
                    "4.2.0=f 7.1.0=g 8.1.0=h ");
    assert_true(state_status(s)->bytes > 0);
    state_close(s);
}

static void changes_are_made_in_their_order(void **state)
{
    struct state *s = must_open(DIR);

    (void)state;
    for (uint64_t i = 0; i < 10; i++)
        put(s, ROWS_POOL, 1, i, "x");
    put(s, ROWS_POOL, 2, 5, "other");
    rows_remove(state_rows(s), ROWS_POOL, 1, 2, 8); /* of this commit */
    put(s, ROWS_POOL, 1, 4, "again");
    must_commit(s);
    assert_holds(s, "5.1.0=x 5.1.1=x 5.1.4=again 5.1.9=x 5.2.5=other ");
    rows_remove(state_rows(s), ROWS_POOL, 1, 1, 4);           /* of an earlier one, ends included */
    rows_remove(state_rows(s), ROWS_LEASE, 1, 0, UINT64_MAX); /* nothing there */
    put(s, ROWS_POOL, 1, 0, "y");
    must_commit(s);
    assert_holds(s, "5.1.0=y 5.1.9=x 5.2.5=other ");
    rows_remove(state_rows(s), ROWS_POOL, 2, 0, UINT64_MAX);
    must_commit(s);
    assert_holds(s, "5.1.0=y 5.1.9=x ");
    state_close(s);
}

/* In leaves and on pages of their own; many, so that LMDB's tree has levels. */
static int big_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                  struct reason *why)
{
    uint64_t *next = ctx;
    const unsigned char *bytes = value;

    (void)why;
    assert_int_equal((uintptr_t)value % 8, 0);
    assert_int_equal(key->number, *next);
    assert_int_equal(size, key->number * 37 % 10000);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(key->number + i))
            fail_msg("row %" PRIu64 " byte %zu", key->number, i);
    ++*next;
    return 0;
}

static void rows_of_all_sizes_come_back(void **state)
{
    struct state *s = must_open(DIR);
    struct reason why = {""};
    uint64_t next = 0;

    (void)state;
    for (uint64_t n = 0; n < 2000; n++) {
        size_t size = (size_t)(n * 37 % 10000);
        unsigned char *at = rows_put(state_rows(s), (struct rows_key){ROWS_CHUNK, 7, n}, size);

        for (size_t i = 0; i < size; i++)
            at[i] = (unsigned char)(n + i);
    }
    must_commit(s);
    state_close(s);
    s = must_open(DIR);
    assert_int_equal(state_load(s, big_cb, &next, &why), 0);
    assert_int_equal(next, 2000);
    state_close(s);
}

static int refuse_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                     struct reason *why)
{
    (void)key;
    (void)value;
    (void)size;
    ++*(int *)ctx;
    reason_set(why, "no");
    return -OHEM_NOMEM;
}

static void a_row_that_is_refused_ends_the_walk(void **state)
{
    struct state *s = must_open(DIR);
    struct reason why = {""};
    int calls = 0;

    (void)state;
    put(s, ROWS_JOB, 1, 0, "a");
    put(s, ROWS_JOB, 2, 0, "b");
    must_commit(s);
    assert_int_equal(state_load(s, refuse_cb, &calls, &why), -OHEM_NOMEM);
    assert_int_equal(calls, 1);
    assert_string_equal(why.text, "no");
    state_close(s);
}

/* ---- identity ----------------------------------------------------------------------------------
 */

static void a_state_keeps_its_identity_and_no_two_have_the_same(void **state)
{
    struct state *s = must_open(DIR), *other = must_open("other");
    struct state_identity identity = *state_identity(s);

    (void)state;
    assert_true(identity.memory != 0 && identity.created_ms != 0);
    assert_true(identity.secret[0] != 0 && identity.secret[1] != 0);
    assert_true(state_identity(other)->memory != identity.memory);
    assert_true(state_identity(other)->secret[0] != identity.secret[0]);
    state_close(other);
    state_close(s);
    s = must_open(DIR);
    assert_memory_equal(state_identity(s), &identity, sizeof identity);
    state_close(s);
}

static void a_fresh_start_takes_effect_with_its_first_commit(void **state)
{
    struct state_identity identity, fresh;
    struct reason why = {""};
    struct state *s;

    (void)state;
    make_some();
    s = must_open(DIR);
    identity = *state_identity(s);
    assert_int_equal(state_forget(s, &why), 0);
    assert_true(state_identity(s)->memory != identity.memory);
    assert_holds(s, "");
    put(s, ROWS_JOB, 1, 0, "never written");
    state_close(s); /* the start failed */
    s = must_open(DIR);
    assert_memory_equal(state_identity(s), &identity, sizeof identity);
    assert_holds(s, "1.1.0=one ");
    assert_int_equal(state_forget(s, &why), 0);
    fresh = *state_identity(s);
    put(s, ROWS_JOB, 2, 0, "two");
    must_commit(s);
    put(s, ROWS_JOB, 3, 0, "three");
    must_commit(s);
    state_close(s);
    s = must_open(DIR);
    assert_memory_equal(state_identity(s), &fresh, sizeof fresh);
    assert_holds(s, "1.2.0=two 1.3.0=three ");
    state_close(s);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

static void a_second_daemon_is_refused_with_the_pid_of_the_first(void **state)
{
    char pid[64];
    struct state *s = must_open(DIR);

    (void)state;
    (void)snprintf(pid, sizeof pid, "another ohemd uses it (pid %ld)", (long)getpid());
    assert_refused(DIR, pid);
    state_close(s);
    state_close(must_open(DIR));
}

static void the_lock_goes_with_kill_9(void **state)
{
    int ready[2], status;
    char byte;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        (void)must_open(DIR);
        (void)!write(ready[1], "", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_refused(DIR, "another ohemd");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    state_close(must_open(DIR));
}

static void only_the_last_level_of_the_path_is_made(void **state)
{
    struct stat st;

    (void)state;
    assert_refused("no/state", "the directory above is not there");
    state_close(must_open("made"));
    assert_int_equal(stat("made", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat("made/data.mdb", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_is_no_directory_is_refused(void **state)
{
    (void)state;
    write_file(DIR, "x", 1);
    assert_refused(DIR, "not a directory");
    assert_refused(DIR "/below", "Not a directory");
}

static void another_database_is_refused_and_stays_as_it_is(void **state)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {4, "meta"}, value = {4, "data"};

    (void)state;
    assert_int_equal(mkdir(DIR, 0700), 0);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, DIR, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_refused_untouched("no state of ohemd");
}

/* Wherever an identity lies in the file. */
static void change_all(const char *magic, size_t at, unsigned char value)
{
    size_t size;
    unsigned char *bytes = read_file(DATA, &size);

    for (size_t i = 0; i + 16 < size; i++)
        if (memcmp(bytes + i, magic, 8) == 0)
            bytes[i + at] = value;
    write_file(DATA, bytes, size);
    free(bytes);
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
    (void)state;
    make_some();
    change_all("ohemd-st", 8, 5);
    assert_refused_untouched("format 5, this one reads formats up to 4");
    change_all("ohemd-st", 8, 4);
    state_close(must_open(DIR));
}

static void an_older_format_is_refused_with_both_numbers_and_a_way_on(void **state)
{
    (void)state;
    make_some();
    change_all("ohemd-st", 8, 3);
    assert_refused_untouched(
        "it has format 3, of before the first release, which this ohemd (format "
        "4) does not read: move the directory away and start over");
}

static void a_damaged_identity_is_refused(void **state)
{
    (void)state;
    make_some();
    change_all("ohemd-st", 8, 0);
    assert_refused_untouched("damaged");
}

static void another_version_of_lmdb_is_refused_with_both(void **state)
{
    size_t size;
    unsigned char *bytes;

    (void)state;
    make_some();
    bytes = read_file(DATA, &size);
    bytes[20] = bytes[4096 + 20] = 2;
    write_file(DATA, bytes, size);
    free(bytes);
    assert_refused_untouched("format 2 of LMDB's, the library here is 0.9");
}

static void what_is_no_lmdb_file_is_refused(void **state)
{
    size_t size;
    unsigned char *bytes;

    (void)state;
    make_some();
    bytes = read_file(DATA, &size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    write_file(DATA, bytes, size);
    assert_refused_untouched("damaged, or not of the format");
    write_file(DATA, bytes, 100);
    assert_refused_untouched("damaged, or not of the format");
    memset(bytes, 0, size);
    write_file(DATA, bytes, size);
    assert_refused_untouched("damaged, or not of the format");
    write_file(DATA, bytes, 0);
    assert_refused_untouched("data.mdb is empty");
    free(bytes);
}

static void make_pages(uint64_t rows)
{
    struct state *s = must_open(DIR);

    for (uint64_t i = 0; i < rows; i++)
        put(s, ROWS_CHUNK, 1, i, "some bytes to fill more than a page");
    must_commit(s);
    state_close(s);
}

static void a_state_that_is_cut_short_is_refused(void **state)
{
    size_t size;
    unsigned char *bytes;

    (void)state;
    make_pages(100);
    bytes = read_file(DATA, &size);
    for (size_t pages = size / 4096 - 1; pages > 1; pages--) {
        write_file(DATA, bytes, pages * 4096);
        assert_refused_untouched("damaged, or cut short");
    }
    free(bytes);
}

/* Any page, any damage: refused or opened, and never the end of the process. */
static void damaged_pages_never_end_the_daemon(void **state)
{
    struct state *s;
    size_t size;
    unsigned char *bytes;

    (void)state;
    make_pages(400);
    bytes = read_file(DATA, &size);
    for (size_t page = 2 * 4096; page < size; page += 4096) {
        unsigned char saved[64];

        memcpy(saved, bytes + page, sizeof saved);
        memset(bytes + page, 0xa5, sizeof saved);
        write_file(DATA, bytes, size);
        memcpy(bytes + page, saved, sizeof saved);
        s = NULL;
        if (state_open(DIR, BYTES_MAX, &s, NULL) == 0)
            state_close(s);
    }
    free(bytes);
}

static void a_folder_that_cannot_be_written_is_refused(void **state)
{
    pid_t child;
    int status;

    (void)state;
    make_some();
    if (getuid() != 0)
        test_skip("only root can become somebody else");
    assert_int_equal(chmod(".", 0755), 0);
    assert_int_equal(chmod(DIR, 0755), 0);
    child = fork();
    if (child == 0) {
        if (setuid(NOBODY) == 0)
            assert_refused(DIR, "cannot write in it: ohemd.lock: Permission denied");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_read_only_file_system_is_refused(void **state)
{
    struct reason why = {""};
    struct state *s = NULL;

    (void)state;
    make_some();
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(DIR, DIR, "none", MS_BIND, NULL) != 0 ||
        mount(DIR, DIR, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
        test_skip("mounts are not allowed here");
    assert_int_equal(state_open(DIR, BYTES_MAX, &s, &why), -OHEM_STATE);
    assert_non_null(strstr(why.text, "Read-only file system"));
    assert_int_equal(umount(DIR), 0);
    s = must_open(DIR);
    assert_holds(s, "1.1.0=one ");
    state_close(s);
}

/* ---- what cannot be written --------------------------------------------------------------------
 */

static void a_full_map_is_an_error_and_the_rows_are_kept(void **state)
{
    struct reason why = {""};
    struct state *s = NULL;

    (void)state;
    make_some();
    assert_int_equal(state_open(DIR, 64 << 10, &s, &why), 0);
    assert_non_null(rows_put(state_rows(s), (struct rows_key){ROWS_CHUNK, 1, 0}, 1 << 20));
    assert_int_equal(state_commit_now(s, &why), -OHEM_STATE);
    assert_non_null(strstr(why.text, "state_bytes_max = 65536"));
    assert_null(state_rows(s));
    assert_true(state_status(s)->failing);
    assert_int_equal(state_status(s)->failures, 1);
    assert_string_equal(state_status(s)->last_error.text, why.text);
    assert_int_equal(state_commit_now(s, &why), -OHEM_STATE);
    state_close(s);
    s = must_open(DIR); /* a larger one opens what there is */
    assert_holds(s, "1.1.0=one ");
    state_close(s);
}

/* Open, write and load with the nth allocation failing. @return the first error, or 0 */
static int live_once(size_t nth)
{
    static const char odd[] = "a row of an odd length, which LMDB does not align";
    struct picture p = {"", 0};
    struct reason why = {""};
    struct state *s = NULL;
    int rc;

    alloc_fail_at(nth);
    rc = state_open(DIR, BYTES_MAX, &s, &why);
    if (rc != 0) {
        assert_null(s);
        return rc;
    }
    for (uint64_t i = 0; rc == 0 && i < 3; i++)
        if (rows_put(state_rows(s), (struct rows_key){ROWS_CHUNK, 1, i}, sizeof odd + i) == NULL)
            rc = -OHEM_NOMEM;
    if (rc != 0)
        rows_clear(state_rows(s));
    if (rc == 0)
        rc = state_commit_now(s, &why);
    if (rc == 0)
        rc = state_load(s, picture_cb, &p, &why);
    alloc_fail_at(0);
    state_close(s);
    return rc;
}

static void each_allocation_may_fail_and_nothing_leaks(void **state)
{
    size_t live = alloc_live(), nth = 0;
    int rc;

    (void)state;
    do {
        rc = live_once(++nth);
        assert_true(rc == 0 || rc == -OHEM_NOMEM);
        assert_int_equal(alloc_live(), live);
    } while (rc != 0 && nth < 100);
    assert_in_range(nth, 4, 20);
}

TEST_MAIN(TEST(rows_come_back_in_the_order_of_their_keys), TEST(changes_are_made_in_their_order),
          TEST(rows_of_all_sizes_come_back), TEST(a_row_that_is_refused_ends_the_walk),
          TEST(a_state_keeps_its_identity_and_no_two_have_the_same),
          TEST(a_fresh_start_takes_effect_with_its_first_commit),
          TEST(a_second_daemon_is_refused_with_the_pid_of_the_first),
          TEST(the_lock_goes_with_kill_9), TEST(only_the_last_level_of_the_path_is_made),
          TEST(what_is_no_directory_is_refused),
          TEST(another_database_is_refused_and_stays_as_it_is),
          TEST(a_newer_format_is_refused_with_both_numbers),
          TEST(an_older_format_is_refused_with_both_numbers_and_a_way_on),
          TEST(a_damaged_identity_is_refused), TEST(another_version_of_lmdb_is_refused_with_both),
          TEST(what_is_no_lmdb_file_is_refused), TEST(a_state_that_is_cut_short_is_refused),
          TEST(damaged_pages_never_end_the_daemon),
          TEST(a_folder_that_cannot_be_written_is_refused),
          TEST(a_read_only_file_system_is_refused),
          TEST(a_full_map_is_an_error_and_the_rows_are_kept),
          TEST(each_allocation_may_fail_and_nothing_leaks))
