/* test_keeper.c - when rows are captured and committed, with an engine that is three numbers.
 *
 * The engine's functions that the keeper calls are defined here, so the real ones are not linked.
 * A change raises `made`; a capture writes its number as a row; `durable` is what was told.
 */
#include "../../daemon/keeper.h"
#include "../../proto/error.h"
#include "../lib/space.h"
#include "../lib/test.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR       "state"
#define COMMIT_MS 20
#define LOG       "log"

static struct engine engine; /* only its address is used */
static uint64_t made, captured, durable, restored;
static int restored_rows, captures, captures_before_end, commits, end_calls, restore_rc,
    warm_captures;

int engine_restore_row(struct engine *e, const struct rows_key *key, const void *value, size_t size,
                       struct reason *why)
{
    assert_ptr_equal(e, &engine);
    assert_int_equal(key->table, ROWS_JOB);
    assert_int_equal(size, sizeof restored);
    memcpy(&restored, value, sizeof restored);
    restored_rows++;
    reason_set(why, "of another data set");
    return restore_rc;
}

int engine_restore_end(struct engine *e, uint64_t now_ms, struct reason *why)
{
    (void)e;
    (void)now_ms;
    (void)why;
    end_calls++;
    return 0;
}

bool engine_unsaved(const struct engine *e)
{
    (void)e;
    return made > captured;
}

bool engine_warming(const struct engine *e)
{
    (void)e;
    return captures < warm_captures;
}

int engine_capture(struct engine *e, struct rows *out)
{
    void *at = rows_put(out, (struct rows_key){ROWS_JOB, 1, 0}, sizeof made);

    (void)e;
    assert_non_null(at);
    memcpy(at, &made, sizeof made);
    captured = made;
    captures++;
    return 0;
}

void engine_end(struct engine *e)
{
    (void)e;
    captures_before_end = captures;
}

void engine_committed(struct engine *e)
{
    (void)e;
    durable = captured;
    commits++;
}

/* ---- a loop with a keeper ----------------------------------------------------------------------
 */

struct life {
    struct config config;
    struct keeper *keeper;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t change;
    uint64_t until; /* the loop ends when this is durable */
};

static void prepare_cb(uv_prepare_t *prepare)
{
    struct life *l = prepare->data;

    keeper_turn(l->keeper);
    if (durable >= l->until)
        uv_stop(&l->loop);
}

static void begin(struct life *l)
{
    struct reason why = {""};

    made = captured = durable = restored = 0;
    restored_rows = captures = commits = end_calls = 0;
    (void)snprintf(l->config.state, sizeof l->config.state, DIR);
    l->config.state_bytes_max = 1 << 26;
    l->config.commit_ms = COMMIT_MS;
    assert_int_equal(uv_loop_init(&l->loop), 0);
    (void)uv_prepare_init(&l->loop, &l->prepare);
    (void)uv_timer_init(&l->loop, &l->change);
    l->prepare.data = l->change.data = l;
    (void)uv_prepare_start(&l->prepare, prepare_cb);
    assert_int_equal(keeper_open(&l->config, &l->keeper, &why), 0);
    if (keeper_start(l->keeper, &l->loop, &engine, &why) != 0)
        fail_msg("%s", why.text);
}

static void end(struct life *l)
{
    keeper_close(l->keeper);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->change, NULL);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    keeper_free(l->keeper);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

static void run_until(struct life *l, uint64_t until)
{
    l->until = until;
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_int_equal(durable, until);
}

static struct keeper_status status_of(const struct life *l)
{
    struct keeper_status status;

    keeper_get_status(l->keeper, &status);
    return status;
}

/* ---- cases --------------------------------------------------------------------------------------
 */

static void what_the_engine_reserves_is_on_disk_before_the_start_ends(void **state)
{
    struct life l = {.until = 0};

    (void)state;
    begin(&l);
    assert_int_equal(end_calls, 1);
    assert_int_equal(commits, 1);
    assert_int_equal(status_of(&l).state->commits, 1);
    end(&l);
}

static void what_takes_several_captures_is_on_disk_before_the_start_ends(void **state)
{
    struct life l = {.until = 0};

    (void)state;
    warm_captures = 5;
    begin(&l);
    assert_int_equal(captures, 5);
    assert_int_equal(commits, 5);
    warm_captures = 0;
    end(&l);
}

static void a_change_is_committed_after_commit_ms_and_once(void **state)
{
    struct life l = {.until = 0};
    uint64_t began;

    (void)state;
    begin(&l);
    made = 1;
    began = uv_hrtime();
    run_until(&l, 1);
    assert_true(uv_hrtime() - began >= (COMMIT_MS - 1) * UINT64_C(1000000));
    assert_int_equal(captures, 2);
    assert_true(status_of(&l).capture_ns_longest >= status_of(&l).capture_ns_last);
    end(&l);
}

/* A change with every turn of the loop; many fall into one commit. */
static void change_cb(uv_timer_t *timer)
{
    struct life *l = timer->data;

    if (++made == l->until)
        (void)uv_timer_stop(timer);
}

static void changes_during_a_commit_come_with_the_next(void **state)
{
    struct life l = {.until = 0};

    (void)state;
    begin(&l);
    (void)uv_timer_start(&l.change, change_cb, 1, 1);
    run_until(&l, 100);
    assert_int_equal(captures, commits);
    assert_in_range(captures, 3, 60);
    end(&l);
    begin(&l);
    assert_int_equal(restored, 100);
    end(&l);
}

static void the_rest_is_written_at_the_end(void **state)
{
    struct life l = {.until = 0};
    struct reason why = {""};

    (void)state;
    begin(&l);
    made = 7;
    assert_int_equal(keeper_finish(l.keeper, &why), 0);
    assert_int_equal(durable, 7);
    assert_int_equal(captures, captures_before_end + 1); /* the engine knew that it was the last */
    end(&l);
    begin(&l);
    assert_int_equal(restored_rows, 1);
    assert_int_equal(restored, 7);
    end(&l);
}

static void a_fresh_start_restores_nothing(void **state)
{
    struct life l = {.until = 0};
    struct engine_settings before = {0}, after = {0};
    struct reason why = {""};

    (void)state;
    begin(&l);
    made = 7;
    keeper_fill_settings(l.keeper, &before);
    assert_true(before.durable);
    assert_int_equal(keeper_finish(l.keeper, &why), 0);
    end(&l);
    l.config.fresh = true;
    begin(&l);
    keeper_fill_settings(l.keeper, &after);
    assert_int_equal(restored_rows, 0);
    assert_int_equal(end_calls, 1);
    assert_true(after.memory != before.memory);
    end(&l);
}

static void a_row_that_cannot_be_used_fails_the_start_with_the_reason(void **state)
{
    struct life l = {.until = 0};
    struct reason why = {""};

    (void)state;
    begin(&l);
    end(&l);
    assert_int_equal(uv_loop_init(&l.loop), 0);
    restore_rc = -OHEM_STATE;
    assert_int_equal(keeper_open(&l.config, &l.keeper, &why), 0);
    assert_int_equal(keeper_start(l.keeper, &l.loop, &engine, &why), -OHEM_STATE);
    assert_string_equal(why.text, "state 'state' cannot be restored: of another data set");
    keeper_close(l.keeper);
    keeper_free(l.keeper);
    assert_int_equal(uv_loop_close(&l.loop), 0);
}

static void without_a_folder_nothing_is_kept(void **state)
{
    struct config config = {.commit_ms = COMMIT_MS};
    struct engine_settings settings = {.durable = true};
    struct keeper *k = NULL;
    struct keeper_status status;
    struct reason why = {""};
    uint64_t secret[2] = {0, 0};
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(keeper_open(&config, &k, &why), 0);
    keeper_fill_settings(k, &settings);
    keeper_fill_secret(k, secret);
    assert_false(settings.durable);
    assert_true(settings.boot != 0 && settings.memory == settings.boot);
    assert_true(secret[0] != 0 && secret[1] != 0);
    assert_int_equal(keeper_start(k, &loop, &engine, &why), 0);
    made = 1;
    keeper_turn(k);
    assert_int_equal(keeper_finish(k, &why), 0);
    assert_int_equal(captures, 0);
    keeper_get_status(k, &status);
    assert_null(status.path);
    keeper_close(k);
    keeper_free(k);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- a full disk -------------------------------------------------------------------------------
 */

static void mount_small(void)
{
    assert_int_equal(mkdir(DIR, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", DIR, "tmpfs", 0, "size=1m,mode=700") != 0)
        test_skip("mounts are not allowed here");
}

/* Changes go on while it fails; at its second failure there is space again. */
static void failing_cb(uv_timer_t *timer)
{
    struct life *l = timer->data;

    made++;
    if (status_of(l).state->failures >= 2) {
        (void)unlink(DIR "/filler");
        (void)uv_timer_stop(timer);
        l->until = made;
    }
}

/* How often a text stands in the log. */
static int lines_with(const char *text)
{
    char line[1024];
    FILE *log = fopen(LOG, "r");
    int count = 0;

    assert_non_null(log);
    while (fgets(line, sizeof line, log) != NULL)
        count += strstr(line, text) != NULL;
    (void)fclose(log);
    return count;
}

static void a_full_disk_is_told_once_and_nothing_is_durable_before_it_is(void **state)
{
    struct life l = {.until = 0};

    (void)state;
    mount_small();
    assert_non_null(freopen(LOG, "w", stderr));
    begin(&l);
    space_take_all(DIR);
    made = 1;
    (void)uv_timer_start(&l.change, failing_cb, 10, 10);
    l.until = UINT64_MAX;
    (void)uv_run(&l.loop, UV_RUN_DEFAULT);
    assert_int_equal(durable, made);
    assert_int_equal(captures, 3); /* the start's, the one that failed, and all since then */
    assert_int_equal(commits, 3);
    assert_int_equal(status_of(&l).state->failures, 2);
    assert_int_equal(lines_with("error state: not saved, serving goes on from memory"), 1);
    assert_int_equal(lines_with("info state: saved again"), 1);
    end(&l);
}

static void a_disk_that_stays_full_is_an_error_at_the_end(void **state)
{
    struct life l = {.until = 0};
    struct reason why = {""};

    (void)state;
    mount_small();
    begin(&l);
    space_take_all(DIR);
    made = 1;
    assert_int_equal(keeper_finish(l.keeper, &why), -OHEM_STATE);
    assert_non_null(strstr(why.text, "No space left on device"));
    assert_int_equal(durable, 0);
    end(&l);
}

TEST_MAIN(TEST(what_the_engine_reserves_is_on_disk_before_the_start_ends),
          TEST(what_takes_several_captures_is_on_disk_before_the_start_ends),
          TEST(a_change_is_committed_after_commit_ms_and_once),
          TEST(changes_during_a_commit_come_with_the_next), TEST(the_rest_is_written_at_the_end),
          TEST(a_fresh_start_restores_nothing),
          TEST(a_row_that_cannot_be_used_fails_the_start_with_the_reason),
          TEST(without_a_folder_nothing_is_kept),
          TEST(a_full_disk_is_told_once_and_nothing_is_durable_before_it_is),
          TEST(a_disk_that_stays_full_is_an_error_at_the_end))
