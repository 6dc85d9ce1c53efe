/* test_state_crash.c - what was confirmed is there again, however the process or the power ended;
 * and each commit is there wholly or not at all.
 *
 * Commit c writes several rows whose values follow from c, and removes one, so that from the last
 * commit's number all rows of the state are known. A child makes commits and tells each that is
 * confirmed; it dies; the parent opens the state and looks.
 */
#include "../../daemon/state.h"
#include "../../proto/error.h"
#include "../lib/powercut.h"
#include "../lib/space.h"
#include "../lib/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR         "state"
#define BYTES_MAX   (UINT64_C(1) << 26)
#define CHUNKS      7u /* rewritten in turn */
#define JOURNAL     5u /* the last so many */
#define TRIES_MAX   50 /* of a commit on a disk that fails for a while */
#define KILLS       40
#define CUTS        60
#define COMMITS     12 /* of a child whose power goes */
#define CHILD_ENV   "TEST_STATE_CHILD"
#define PIPE_TARGET 30 /* the child's descriptor for confirmations */

/* ---- numbered commits --------------------------------------------------------------------------
 */

static size_t size_of(uint32_t table, uint64_t c)
{
    return table == ROWS_CHUNK ? 100 + c * 977 % 9000 : 8 + c * 13 % 300;
}

static void put(struct rows *rows, uint32_t table, uint64_t number, uint64_t c)
{
    size_t size = size_of(table, c);
    unsigned char *at = rows_put(rows, (struct rows_key){table, 1, number}, size);

    if (at == NULL)
        abort();
    for (size_t i = 8; i < size; i++)
        at[i] = (unsigned char)(c * 7 + i);
    memcpy(at, &c, sizeof c);
}

static void fill(struct rows *rows, uint64_t c)
{
    put(rows, ROWS_JOB, 0, c);
    put(rows, ROWS_JOURNAL, c, c);
    put(rows, ROWS_CHUNK, c % CHUNKS, c);
    if (c > JOURNAL)
        rows_remove(rows, ROWS_JOURNAL, 1, 0, c - JOURNAL);
}

/* What a walk found. */
struct found {
    uint64_t last; /* the job's row comes first */
    uint64_t rows;
};

static uint64_t expected_rows(uint64_t last)
{
    return last == 0 ? 0 : 1 + (last < CHUNKS ? last : CHUNKS) + (last < JOURNAL ? last : JOURNAL);
}

/* The commit that wrote a row last. */
static uint64_t writer_of(const struct rows_key *key, uint64_t last)
{
    if (key->table == ROWS_JOB)
        return last;
    if (key->table == ROWS_JOURNAL)
        return key->number;
    return last - (last + CHUNKS - key->number) % CHUNKS;
}

static int row_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                  struct reason *why)
{
    struct found *f = ctx;
    const unsigned char *bytes = value;
    uint64_t c;

    (void)why;
    memcpy(&c, value, sizeof c);
    if (key->table == ROWS_JOB)
        f->last = c;
    f->rows++;
    if (c != writer_of(key, f->last) || size != size_of(key->table, c))
        fail_msg("after %" PRIu64 " row %" PRIu32 ".%" PRIu64 " is of %" PRIu64, f->last,
                 key->table, key->number, c);
    for (size_t i = 8; i < size; i++)
        assert_int_equal(bytes[i], (unsigned char)(c * 7 + i));
    if (key->table == ROWS_JOURNAL)
        assert_true(c <= f->last && c + JOURNAL > f->last);
    return 0;
}

static uint64_t last_of(struct state *s)
{
    struct found f = {0, 0};
    struct reason why = {""};

    if (state_load(s, row_cb, &f, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(f.rows, expected_rows(f.last));
    return f.last;
}

static struct state *must_open(void)
{
    struct state *s = NULL;
    struct reason why = {""};

    if (state_open(DIR, BYTES_MAX, &s, &why) != 0)
        fail_msg("%s", why.text);
    return s;
}

/* Whole, with all that was confirmed and at most one commit more. @return the last one */
static uint64_t assert_whole(uint64_t confirmed)
{
    struct state *s = must_open();
    uint64_t last = last_of(s);

    state_close(s);
    if (last < confirmed || last > confirmed + 1)
        fail_msg("confirmed %" PRIu64 ", found %" PRIu64, confirmed, last);
    return last;
}

/* ---- a loop that commits -----------------------------------------------------------------------
 */

struct writer {
    struct state *state;
    uv_loop_t loop;
    uint64_t c, until; /* the commit under way; the last one to make */
    int fd;            /* where confirmations go */
    unsigned failures;
    void (*failed)(struct writer *w);
};

static void next(struct writer *w)
{
    fill(state_rows(w->state), ++w->c);
    state_commit(w->state);
}

/* state_done_cb */
static void done_cb(void *ctx, int rc)
{
    struct writer *w = ctx;

    assert_true((state_rows(w->state) != NULL) == (rc == 0));
    if (rc != 0) {
        w->failures++;
        if (w->failed != NULL)
            w->failed(w);
        return;
    }
    if (w->fd >= 0 && write(w->fd, &w->c, sizeof w->c) != sizeof w->c)
        _exit(1);
    if (w->c < w->until)
        next(w);
    else
        state_stop(w->state);
}

static void run_writer(struct writer *w)
{
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(state_start(w->state, &w->loop, done_cb, w), 0);
    next(w);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void commits_run_while_the_loop_goes_on(void **state)
{
    struct writer w = {.state = must_open(), .until = 100, .fd = -1};

    (void)state;
    run_writer(&w);
    assert_int_equal(state_status(w.state)->commits, 100);
    assert_int_equal(state_status(w.state)->failures, 0);
    assert_true(state_status(w.state)->commit_ns_longest > 0);
    assert_true(state_status(w.state)->commit_bytes_last > 0);
    state_close(w.state);
    assert_int_equal(assert_whole(100), 100);
}

/* The end comes while a commit is under way: it is finished, then the last rows are written. */
static void a_commit_under_way_at_the_end_is_finished(void **state)
{
    struct state *s = must_open();
    struct writer w = {.state = s};

    (void)state;
    assert_int_equal(uv_loop_init(&w.loop), 0);
    assert_int_equal(state_start(s, &w.loop, done_cb, &w), 0);
    fill(state_rows(s), 1);
    state_commit(s);
    assert_null(state_rows(s));
    state_stop(s);
    assert_int_equal(state_commit_now(s, NULL), 0);
    assert_int_equal(state_status(s)->commits, 1);
    fill(state_rows(s), 2);
    assert_int_equal(state_commit_now(s, NULL), 0);
    assert_int_equal(state_status(s)->commits, 2);
    assert_int_equal(uv_run(&w.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    state_close(s);
    assert_int_equal(assert_whole(2), 2);
}

/* ---- kill -9 -----------------------------------------------------------------------------------
 */

static uint64_t read_confirmed(int fd, uint64_t confirmed)
{
    uint64_t c;

    while (read(fd, &c, sizeof c) == sizeof c)
        confirmed = c;
    return confirmed;
}

static pid_t start_endless_writer(int *out_fd)
{
    int ends[2];
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        struct writer w = {.state = must_open(), .until = UINT64_MAX, .fd = ends[1]};

        w.c = last_of(w.state);
        run_writer(&w);
        _exit(1);
    }
    assert_true(child > 0);
    (void)close(ends[1]);
    *out_fd = ends[0];
    return child;
}

static void kill_9_loses_no_confirmed_commit(void **state)
{
    uint64_t confirmed = 0;

    (void)state;
    state_close(must_open());
    for (unsigned i = 0; i < KILLS; i++) {
        int fd, status;
        pid_t child = start_endless_writer(&fd);
        uint64_t c;

        for (unsigned k = i % 7; k > 0; k--) /* a few confirmations, then at some moment after */
            if (read(fd, &c, sizeof c) == sizeof c)
                confirmed = c;
        (void)usleep(i * 7919 % 3000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        confirmed = assert_whole(read_confirmed(fd, confirmed));
        (void)close(fd);
    }
    assert_true(confirmed > KILLS);
}

/* ---- power -------------------------------------------------------------------------------------
 */

/* A commit, on a disk that may fail for a while. */
static bool commit(struct state *s, uint64_t c)
{
    fill(state_rows(s), c);
    for (int i = 0; i < TRIES_MAX; i++)
        if (state_commit_now(s, NULL) == 0)
            return true;
    return false;
}

/* The child, whose disk is tests/lib/powercut.c. */
static void be_child(void)
{
    struct reason why = {""};
    struct state *s = NULL;
    int rc = -1;

    for (int i = 0; rc != 0 && i < TRIES_MAX; i++)
        rc = state_open(DIR, BYTES_MAX, &s, &why);
    if (rc != 0)
        fail_msg("%s", why.text);
    for (uint64_t c = last_of(s) + 1, end = c + COMMITS; c < end; c++)
        if (!commit(s, c) || write(PIPE_TARGET, &c, sizeof c) != sizeof c)
            _exit(1);
    state_close(s);
    _exit(0);
}

static void set_number(const char *name, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    (void)setenv(name, text, 1);
}

struct cut {
    uint64_t at, seed;
    uint64_t fail_from, fail_to; /* 0: none */
};

static void exec_child(const char *name, const struct cut *cut)
{
    char program[4096], library[4096], range[48], asan[512];

    (void)snprintf(program, sizeof program, "%s/tests/unit/test_state_crash", test_build());
    (void)snprintf(library, sizeof library, "%s/" POWERCUT_LIBRARY, test_build());
    (void)snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, cut->fail_from, cut->fail_to);
    (void)snprintf(asan, sizeof asan, "%s:verify_asan_link_order=0",
                   getenv("ASAN_OPTIONS") != NULL ? getenv("ASAN_OPTIONS") : "");
    (void)setenv("LD_PRELOAD", library, 1);
    (void)setenv("ASAN_OPTIONS", asan, 1);
    (void)setenv("POWERCUT_FAIL", range, 1);
    (void)setenv(CHILD_ENV, "1", 1);
    set_number("POWERCUT_AT", cut->at);
    set_number("POWERCUT_SEED", cut->seed);
    (void)execl(program, program, name, (char *)NULL);
    _exit(1);
}

/* A child makes commits until its power goes. @return whether it did: else they were all made
 * before */
static bool run_child(const char *name, const struct cut *cut, uint64_t *confirmed)
{
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], PIPE_TARGET);
        exec_child(name, cut);
    }
    (void)close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    *confirmed = read_confirmed(ends[0], *confirmed);
    (void)close(ends[0]);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != POWERCUT_EXIT))
        fail_msg("at %" PRIu64 " seed %" PRIu64 ": status %x", cut->at, cut->seed, status);
    return WEXITSTATUS(status) == POWERCUT_EXIT;
}

static void remove_state(void)
{
    (void)unlink(DIR "/data.mdb");
    (void)unlink(DIR "/data.new");
    (void)unlink(DIR "/lock.mdb");
    (void)unlink(DIR "/ohemd.lock");
    (void)rmdir(DIR);
}

/* At each operation in turn, from the making of the state on, until there are no more. */
static void power_lost_at_any_write_loses_no_confirmed_commit(void **state)
{
    struct cut cut = {.at = 1};
    bool went = true;

    (void)state;
    if (getenv(CHILD_ENV) != NULL)
        be_child();
    for (; went; cut.at++) {
        uint64_t confirmed = 0;

        remove_state();
        cut.seed = cut.at;
        went = run_child(__func__, &cut, &confirmed);
        (void)assert_whole(confirmed);
    }
    assert_true(cut.at > 3 * COMMITS);
}

/* Again and again in one state, so that pages are used again. */
static void power_lost_many_times_loses_no_confirmed_commit(void **state)
{
    uint64_t confirmed = 0;

    (void)state;
    if (getenv(CHILD_ENV) != NULL)
        be_child();
    for (uint64_t i = 0; i < CUTS; i++) {
        struct cut cut = {.at = 2 + i * 31 % 70, .seed = i};

        (void)run_child(__func__, &cut, &confirmed);
        confirmed = assert_whole(confirmed);
    }
    assert_true(confirmed > CUTS);
}

/* Writes and syncs fail for a while, from any operation on; later the power goes. */
static void a_disk_that_fails_loses_no_confirmed_commit(void **state)
{
    uint64_t confirmed = 0;

    (void)state;
    if (getenv(CHILD_ENV) != NULL)
        be_child();
    for (uint64_t i = 0; i < CUTS; i++) {
        struct cut cut = {.at = 12 + i * 37 % 70, .seed = i, .fail_from = 1 + i % 30};

        if (i % 20 == 0) {
            remove_state();
            confirmed = 0;
        }
        cut.fail_to = cut.fail_from + i % 5;
        (void)run_child(__func__, &cut, &confirmed);
        confirmed = assert_whole(confirmed);
    }
}

/* ---- a full disk -------------------------------------------------------------------------------
 */

static void make_space(struct writer *w)
{
    assert_true(state_status(w->state)->failing);
    assert_non_null(strstr(state_status(w->state)->last_error.text, "No space left"));
    if (w->failures == 2)
        assert_int_equal(unlink(DIR "/filler"), 0);
}

static void a_full_disk_is_waited_for_and_nothing_is_lost(void **state)
{
    struct writer w = {.until = 200, .fd = -1, .failed = make_space};

    (void)state;
    assert_int_equal(mkdir(DIR, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", DIR, "tmpfs", 0, "size=1m,mode=700") != 0)
        test_skip("mounts are not allowed here");
    w.state = must_open();
    space_take_all(DIR);
    run_writer(&w);
    assert_int_equal(w.failures, 2);
    assert_int_equal(state_status(w.state)->failures, 2);
    assert_false(state_status(w.state)->failing);
    assert_int_equal(state_status(w.state)->commits, 200);
    state_close(w.state);
    assert_int_equal(assert_whole(200), 200);
}

/* Rows that wait for space when the end comes: the last try tells that it failed. */
static void a_disk_that_stays_full_is_told_at_the_end(void **state)
{
    struct reason why = {""};
    struct state *s;

    (void)state;
    assert_int_equal(mkdir(DIR, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", DIR, "tmpfs", 0, "size=1m,mode=700") != 0)
        test_skip("mounts are not allowed here");
    s = must_open();
    space_take_all(DIR);
    fill(state_rows(s), 1);
    assert_int_equal(state_commit_now(s, &why), -OHEM_STATE);
    assert_non_null(strstr(why.text, "No space left"));
    assert_int_equal(unlink(DIR "/filler"), 0);
    assert_int_equal(state_commit_now(s, &why), 0);
    space_take_all(DIR);
    state_close(s);
    assert_int_equal(assert_whole(1), 1);
}

TEST_MAIN(TEST(commits_run_while_the_loop_goes_on), TEST(a_commit_under_way_at_the_end_is_finished),
          TEST(kill_9_loses_no_confirmed_commit),
          TEST(power_lost_at_any_write_loses_no_confirmed_commit),
          TEST(power_lost_many_times_loses_no_confirmed_commit),
          TEST(a_disk_that_fails_loses_no_confirmed_commit),
          TEST(a_full_disk_is_waited_for_and_nothing_is_lost),
          TEST(a_disk_that_stays_full_is_told_at_the_end))
