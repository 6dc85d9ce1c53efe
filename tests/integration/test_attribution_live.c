/* test_attribution_live.c - attribution and exactly-once, over real sockets and with real deaths.
 *
 * Worker processes take batches of their own sizes, report in any order, report twice, give batches
 * back unreported, outlive their leases, and die holding some; others take their places. A worker
 * writes every answered report down before it goes on and dies only between reports, so what is
 * written is what was applied. In the end a naive model takes all of it in the order of the LSNs
 * and must remember of every instance exactly what the daemon does.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/model.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N           20000
#define WORKERS     8  /* at a time */
#define LIVES       48 /* workers in all */
#define BATCHES_MAX 60 /* in a life */
#define K_MAX       256
#define CREDIT_MAX  6
#define LAMBDA      0.5f
#define LEASE_MS    300
#define BUSY_MS     400 /* a validation pass without a keepalive: it outlasts the lease */

static const struct tinyset set = {.count = N, .size_min = 4, .size_max = 12};

/* A report as a worker wrote it down; the ids and then the losses follow. */
struct entry {
    uint64_t lsn, step;
    uint32_t count, late;
};

/* ---- a worker ----------------------------------------------------------------------------------
 *
 * In a process of its own: it asserts nothing, but ends with a line and an exit code.
 */

struct worker {
    uint64_t random; /* xorshift64 */
    int log;         /* descriptor */
    struct ohem_client *client;
    struct ohem_batch *held[CREDIT_MAX];
    uint32_t held_count;
};

static void give_up(const char *what, int rc)
{
    (void)fprintf(stderr, "worker %d: %s: %s\n", (int)getpid(), what, ohem_error_name(rc));
    _exit(1);
}

static uint32_t random_below(struct worker *w, uint32_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 16) % n);
}

/* f(id, step): a loss on the wrong instance or under the wrong step shows. */
static float loss_of(uint64_t id, uint64_t step)
{
    uint64_t mixed = (id + 1) * 0x9e3779b97f4a7c15u ^ (step + 1) * 0xbf58476d1ce4e5b9u;

    mixed = (mixed ^ mixed >> 29) * 0x94d049bb133111ebu;
    mixed ^= mixed >> 32;
    if (mixed % 1000 == 0)
        return mixed & 1024 ? NAN : INFINITY;
    if (mixed % 100 == 1)
        return -0.25f;
    return ldexpf((float)(mixed & 0xffffff), -22 + (int)(mixed >> 24 & 3)); /* below 32 */
}

static void write_down(struct worker *w, const struct ohem_batch *b, const float *losses,
                       const struct ohem_selection *s)
{
    unsigned char bytes[sizeof(struct entry) + K_MAX * (sizeof(uint64_t) + sizeof(float))];
    struct entry e = {.lsn = ohem_selection_lsn(s),
                      .step = ohem_batch_step(b),
                      .count = ohem_batch_count(b),
                      .late = (uint32_t)ohem_selection_is_late(s)};
    size_t size = sizeof e;

    memcpy(bytes, &e, sizeof e);
    memcpy(bytes + size, ohem_batch_ids(b), e.count * sizeof(uint64_t));
    size += e.count * sizeof(uint64_t);
    memcpy(bytes + size, losses, e.count * sizeof *losses);
    size += e.count * sizeof *losses;
    if (write(w->log, bytes, size) != (ssize_t)size)
        give_up("its notes", -OHEM_SYSTEM);
}

static const struct ohem_selection *report(struct ohem_batch *b, const float *losses)
{
    const struct ohem_selection *s = NULL;
    int rc = ohem_report(b, losses, ohem_batch_count(b), DAEMON_DEADLINE_MS, &s);

    if (rc != 0)
        give_up("report", rc);
    return s;
}

static void report_once_or_twice(struct worker *w, struct ohem_batch *b)
{
    const struct ohem_selection *s;
    float losses[K_MAX];
    uint64_t lsn;

    for (uint32_t i = 0; i < ohem_batch_count(b); i++)
        losses[i] = loss_of(ohem_batch_ids(b)[i], ohem_batch_step(b));
    s = report(b, losses);
    write_down(w, b, losses, s);
    if (random_below(w, 8) != 0)
        return;
    lsn = ohem_selection_lsn(s);
    s = report(b, losses);
    if (ohem_selection_lsn(s) != lsn || !ohem_selection_is_repeated(s))
        give_up("a repeated report has another answer", -OHEM_INTERNAL);
}

static void take(struct worker *w)
{
    int rc = ohem_next(w->client, DAEMON_DEADLINE_MS, &w->held[w->held_count]);

    if (rc != 0)
        give_up("next", rc);
    w->held_count++;
}

/* One of the held, whichever: reported, or now and then given back without. */
static void settle_one(struct worker *w)
{
    uint32_t at = random_below(w, w->held_count);
    struct ohem_batch *b = w->held[at];

    if (random_below(w, 16) != 0)
        report_once_or_twice(w, b);
    ohem_release(b);
    w->held[at] = w->held[--w->held_count];
}

static void work_through(struct worker *w, uint32_t batches, uint32_t credit)
{
    uint32_t busy_at = random_below(w, 2 * batches); /* in every other life */

    for (uint32_t n = 0; n < batches; n++) {
        while (w->held_count < credit && (w->held_count == 0 || random_below(w, credit) != 0))
            take(w);
        if (n == busy_at)
            daemon_be_busy_for(BUSY_MS);
        settle_one(w);
    }
}

/* A life that ends with batches in hand, and every other time without a word. */
static void live(const struct daemon *d, uint32_t number, pid_t parent)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct worker w = {.random = 0x2545f4914f6cdd1du * (number + 1)};
    char path[32];
    int rc;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(path, sizeof path, "worker-%u.log", number);
    w.log = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
    options.endpoint = d->endpoint;
    options.batch_size = 1 + random_below(&w, K_MAX);
    options.credit = 1 + random_below(&w, CREDIT_MAX);
    options.rank = number;
    options.connect_timeout_ms = DAEMON_DEADLINE_MS;
    if (w.log < 0 || getppid() != parent)
        give_up("its beginning", -OHEM_SYSTEM);
    rc = ohem_connect(&options, &w.client);
    if (rc != 0)
        give_up(ohem_connect_error(), rc);
    work_through(&w, BATCHES_MAX / 2 + random_below(&w, BATCHES_MAX / 2), options.credit);
    if (number % 2 == 0)
        _exit(0);
    ohem_close(w.client);
    while (w.held_count > 0)
        ohem_release(w.held[--w.held_count]);
    (void)close(w.log);
    _exit(0);
}

/* ---- the parent --------------------------------------------------------------------------------
 */

static void begin_life(const struct daemon *d, uint32_t number)
{
    pid_t parent = getpid(), child = fork();

    assert_true(child >= 0);
    if (child == 0)
        live(d, number, parent);
}

static void run_workers(const struct daemon *d)
{
    uint32_t begun = 0, ended = 0;
    int status = 0;

    (void)fflush(NULL);
    while (begun < WORKERS)
        begin_life(d, begun++);
    for (; ended < LIVES; ended++) {
        pid_t child;

        do
            child = wait(&status);
        while (child < 0);
        assert_int_not_equal(child, d->pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("a worker ended with wait status %#x", (unsigned)status);
        if (begun < LIVES)
            begin_life(d, begun++);
    }
}

struct note {
    struct entry entry;
    uint64_t *ids;
    float *losses;
};

struct notes {
    struct note *list;
    size_t count, capacity;
};

static void read_whole(FILE *f, void *out, size_t element_bytes, size_t count)
{
    assert_int_equal(fread(out, element_bytes, count, f), count);
}

static void read_notes(struct notes *notes, uint32_t number)
{
    struct note note = {0};
    char path[32];
    FILE *f;

    (void)snprintf(path, sizeof path, "worker-%u.log", number);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fread(&note.entry, sizeof note.entry, 1, f) == 1) {
        assert_in_range(note.entry.count, 1, K_MAX);
        note.ids = malloc(note.entry.count * sizeof *note.ids);
        note.losses = malloc(note.entry.count * sizeof *note.losses);
        assert_true(note.ids != NULL && note.losses != NULL && notes->count < notes->capacity);
        read_whole(f, note.ids, sizeof *note.ids, note.entry.count);
        read_whole(f, note.losses, sizeof *note.losses, note.entry.count);
        notes->list[notes->count++] = note;
    }
    (void)fclose(f);
}

static int compare_lsn(const void *a, const void *b)
{
    const struct note *x = a, *y = b;

    return (x->entry.lsn > y->entry.lsn) - (x->entry.lsn < y->entry.lsn);
}

/* All that the workers wrote, in the order in which it was applied. */
static void gather_notes(struct notes *notes)
{
    notes->capacity = LIVES * BATCHES_MAX;
    notes->list = malloc(notes->capacity * sizeof *notes->list);
    assert_non_null(notes->list);
    for (uint32_t number = 0; number < LIVES; number++)
        read_notes(notes, number);
    qsort(notes->list, notes->count, sizeof *notes->list, compare_lsn);
    for (size_t i = 0; i < notes->count; i++)
        if (notes->list[i].entry.lsn != i + 1)
            fail_msg("after LSN %zu comes %" PRIu64, i, notes->list[i].entry.lsn);
}

/* @return how many of the reports were late */
static uint64_t replay(struct notes *notes, struct model *m)
{
    uint64_t late = 0;

    for (size_t i = 0; i < notes->count; i++) {
        struct note *note = &notes->list[i];

        late += note->entry.late;
        for (uint32_t k = 0; k < note->entry.count; k++)
            model_report(m, note->ids[k], note->losses[k], note->entry.step);
        free(note->ids);
        free(note->losses);
    }
    free(notes->list);
    return late;
}

/* Does the daemon say the same of the instance as the model, to the last bit? */
static bool agrees(const struct model *m, uint32_t id, const char *said)
{
    return daemon_number_in(said, "id") == id &&
           (strstr(said, "\"scored\":true") != NULL) == (m->visits[id] > 0) &&
           (float)daemon_number_in(said, "score") == m->score[id] &&
           (float)daemon_number_in(said, "variance") == m->variance[id] &&
           (float)daemon_number_in(said, "last_loss") == m->last_loss[id] &&
           daemon_number_in(said, "visits") == m->visits[id] &&
           daemon_number_in(said, "last_step") == (double)m->last_step[id];
}

static size_t count_differences(const struct daemon *d, const struct model *m)
{
    char path[DAEMON_PATH_MAX];
    size_t differences = 0;

    for (uint32_t id = 0; id < N; id++) {
        char *said;

        (void)snprintf(path, sizeof path, "/v1/jobs/default/instances/%u", id);
        said = daemon_get(d, path);
        if (!agrees(m, id, said) && differences++ == 0)
            print_error("model: score %.9g variance %.9g visits %u loss %.9g step %" PRIu64
                        "\ndaemon: %s",
                        (double)m->score[id], (double)m->variance[id], m->visits[id],
                        (double)m->last_loss[id], m->last_step[id], said);
        free(said);
    }
    return differences;
}

static void assert_counters(const struct daemon *d, size_t applied, uint64_t late)
{
    static const char *const none[] = {"reports_refused_token", "reports_refused_foreign",
                                       "reports_refused_count", "reports_refused_conflict",
                                       "reports_refused_expired"};

    assert_int_equal(daemon_counter(d, "reports_applied"), applied);
    assert_int_equal(daemon_counter(d, "reports_late"), late);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(daemon_counter(d, none[i]), 0);
    /* what the workers are here to do has happened */
    assert_true(late > 0);
    assert_true(daemon_counter(d, "reports_repeated") > 0);
    assert_true(daemon_counter(d, "leases_released") > 0);
    assert_true(daemon_counter(d, "leases_abandoned") > 0);
    daemon_await_counter(d, "leases_expired", 1);
}

static void workers_that_die_repeat_and_withhold_leave_the_memory_of_a_replay(void **state)
{
    char job[64];
    struct daemon d = {.job = job};
    struct notes notes = {0};
    struct model m;
    uint64_t late;
    size_t applied;

    (void)state;
    (void)snprintf(job, sizeof job, "lambda = %g\nlease_ms = %d\n", (double)LAMBDA, LEASE_MS);
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(&d);
    run_workers(&d);
    gather_notes(&notes);
    applied = notes.count;
    model_init(&m, N, LAMBDA);
    late = replay(&notes, &m);
    assert_counters(&d, applied, late);
    assert_int_equal(count_differences(&d, &m), 0);
    print_message("%zu reports applied, %" PRIu64 " of them late, over %d workers\n", applied, late,
                  LIVES);
    model_deinit(&m);
    daemon_stop(&d);
}

TEST_MAIN(TEST(workers_that_die_repeat_and_withhold_leave_the_memory_of_a_replay))
