/* test_cold.c - a slow disk costs those that read from it, and nobody else.
 *
 * Two data sets, two jobs, one daemon: one lies on a disk where every page takes a second, the
 * other in memory. While a trainer of the slow one waits for its batches, each step of a trainer of
 * the fast one takes a small part of such a read. See slow.h for the disk.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/slow.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_MS   1000 /* a busy machine alone makes a step of 300 ms now and then */
#define STALL_MS  500  /* half a read: no step may take so long */
#define BOUND_MS  20   /* of 99 steps in 100, in one of the windows */
#define WINDOW_MS 1500
#define WINDOWS   4
#define STEPS_MAX 100000
#define SLOW_K    512 /* of which the disk has for longer than that */
#define FAST_K    16
#define BELOW     "below"
#define DISK      "disk"
#define DISK_FILE DISK "/data.mdb"

/* Each record of the slow one has four pages of its own, which the start does not touch. */
static const struct tinyset slow_set = {.count = 1024, .size_min = 16000, .size_max = 16000};
static const struct tinyset fast_set = {.count = 1000, .size_min = 1000, .size_max = 1000};

struct stage {
    struct slow disk;
    struct daemon daemon;
    struct way way;
    struct ohem_client *slow, *fast;
};

static const char two_jobs[] = "dataset = default\n"
                               "[dataset slow]\npath = " DISK "/data.mdb\nimmutable = yes\n"
                               "readahead = yes\n"
                               "[job slow]\ndataset = slow\n";

static void stage_open(struct stage *s, struct way way)
{
    tinyset_make(&slow_set, BELOW);
    tinyset_make(&fast_set, DAEMON_DATASET);
    slow_mount(&s->disk, BELOW, DISK);
    s->way = way;
    s->daemon = (struct daemon){.settings = "gather_threads = 2\n", .job = two_jobs};
    daemon_start(&s->daemon);
    slow_down(&s->disk, DISK_FILE, READ_MS);
}

static struct ohem_client *connect_slow(const struct stage *s, uint32_t credit)
{
    struct ohem_options options = ways_options(&s->daemon, s->way);
    struct ohem_client *client = NULL;

    options.job = "slow";
    options.batch_size = SLOW_K;
    options.credit = credit;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("connect: %s", ohem_connect_error());
    assert_int_equal(ohem_transport(client), s->way.transport);
    return client;
}

static void stage_close(struct stage *s)
{
    ohem_close(s->fast);
    daemon_stop(&s->daemon);
    slow_unmount(&s->disk);
}

/* ---- how long a step takes --------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static void step_fast(struct stage *s)
{
    struct ohem_batch *b = daemon_next(s->fast);

    ways_assert_records(&fast_set, s->way, b);
    ways_report_and_release(b);
}

static void ask_status(struct stage *s)
{
    free(daemon_get(&s->daemon, "/v1/jobs/slow"));
}

/* Again and again for a while: none of it waits for the disk. @return how long 99 of 100 took */
static int32_t watch(struct stage *s, void (*step)(struct stage *))
{
    static int32_t took[STEPS_MAX];
    int64_t end = daemon_now_ms() + WINDOW_MS, began;
    size_t steps = 0;

    while (steps < STEPS_MAX && (began = daemon_now_ms()) < end) {
        step(s);
        took[steps++] = (int32_t)(daemon_now_ms() - began);
    }
    qsort(took, steps, sizeof took[0], compare);
    print_message("by %s: %u steps, 99 %% took at most %d ms, the longest %d ms; %u reads wait\n",
                  ohem_transport_name(s->way.transport), (unsigned)steps, took[steps * 99 / 100],
                  took[steps - 1], (unsigned)s->disk.control->waiting);
    assert_in_range(took[steps - 1], 0, STALL_MS);
    return took[steps * 99 / 100];
}

static void assert_quick(struct stage *s, void (*step)(struct stage *))
{
    int32_t most = BOUND_MS + 1;

    for (int n = 0; n < WINDOWS && most > BOUND_MS; n++)
        most = watch(s, step);
    assert_in_range(most, 0, BOUND_MS);
}

/* ---- a trainer that waits for a slow disk -----------------------------------------------------
 */

static void work_beside(struct way way, uint32_t slow_credit, void (*step)(struct stage *))
{
    struct stage s;
    struct ohem_batch *b = NULL;

    stage_open(&s, way);
    s.fast = ways_connect(&s.daemon, way, FAST_K, 4);
    s.slow = connect_slow(&s, slow_credit);
    slow_await_waiting(&s.disk, 1);
    assert_quick(&s, step);
    assert_int_equal(ohem_next(s.slow, 0, &b), -OHEM_TIMEDOUT);
    slow_speed_up(&s.disk);
    b = daemon_next(s.slow);
    ways_assert_records(&slow_set, way, b);
    ways_report_and_release(b);
    ohem_close(s.slow);
    stage_close(&s);
}

static void a_slow_disk_holds_nobody_else_up_inline(void **state)
{
    (void)state;
    work_beside((struct way){OHEM_PACKED, OHEM_INLINE}, 1, step_fast);
}

static void a_slow_disk_holds_nobody_else_up_by_shm(void **state)
{
    (void)state;
    work_beside((struct way){OHEM_PACKED, OHEM_SHM}, 1, step_fast);
}

/* Eight slow batches would take every thread that there is. */
static void a_trainer_that_reads_ahead_from_it_leaves_the_others_a_thread_inline(void **state)
{
    (void)state;
    work_beside((struct way){OHEM_PACKED, OHEM_INLINE}, 8, step_fast);
}

static void a_trainer_that_reads_ahead_from_it_leaves_the_others_a_thread_by_shm(void **state)
{
    (void)state;
    work_beside((struct way){OHEM_PACKED, OHEM_SHM}, 8, step_fast);
}

static void the_status_socket_answers_while_a_disk_is_slow(void **state)
{
    (void)state;
    work_beside((struct way){OHEM_PACKED, OHEM_SHM}, 8, ask_status);
}

/* ---- by map: the trainer itself waits ---------------------------------------------------------
 */

/* In a process of its own: it asserts nothing, but ends with an exit code. */
static void read_slowly(struct stage *s)
{
    struct ohem_batch *b = NULL;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    s->slow = connect_slow(s, 1);
    if (ohem_next(s->slow, DAEMON_DEADLINE_MS, &b) != 0 || !ways_records_are(&slow_set, b))
        _exit(1);
    ohem_release(b);
    ohem_close(s->slow);
    _exit(0);
}

static void a_trainer_that_waits_for_a_slow_disk_by_map_holds_up_nobody_else(void **state)
{
    struct stage s;
    int status = 0;
    pid_t child;

    (void)state;
    stage_open(&s, (struct way){OHEM_SCATTERED, OHEM_MAP});
    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_slowly(&s);
    s.fast = ways_connect(&s.daemon, s.way, FAST_K, 4);
    slow_await_waiting(&s.disk, 1);
    assert_quick(&s, step_fast);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0);
    slow_speed_up(&s.disk);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    stage_close(&s);
}

TEST_MAIN(TEST(a_slow_disk_holds_nobody_else_up_inline),
          TEST(a_slow_disk_holds_nobody_else_up_by_shm),
          TEST(a_trainer_that_reads_ahead_from_it_leaves_the_others_a_thread_inline),
          TEST(a_trainer_that_reads_ahead_from_it_leaves_the_others_a_thread_by_shm),
          TEST(the_status_socket_answers_while_a_disk_is_slow),
          TEST(a_trainer_that_waits_for_a_slow_disk_by_map_holds_up_nobody_else))
