/* chaos_trainer.c - a trainer that may be killed at any moment, and writes down what it does.
 *
 *     chaos_trainer ENDPOINT LOG WORK_US STEPS_FILE SLACK CREDIT LAYOUT TRANSPORT
 *
 * The loss is a function of id and step (loss.h). Each line of the log is one write(), before an
 * action what is intended, after it what came of it; what the daemon says is tapped where the
 * library receives it (--wrap=link_receive), so that answers to reports that were sent again are
 * seen, too. All times are microseconds of CLOCK_MONOTONIC, which is one for all processes.
 *
 *     H us                                          it begins
 *     W us boot session                             WELCOME
 *     G us step                                     BATCH arrived
 *     B us step epoch coverage_count id ...         the trainer was handed it
 *     R us step                                     it is about to be reported
 *     S us step seq lsn flags durable_seq           SELECTION
 *     D us durable_seq                              PONG, DURABLE
 *     E us step code                                ERROR about a report
 *     L us step                                     it is about to be released
 *     F us                                          all is durable
 *
 * It ends with 0: after SIGTERM, or when it gets a batch of the step in STEPS_FILE + SLACK; from
 * the file's step on batches are released at once. The file may appear at any time before that.
 * Then all that it reported is durable. What must not happen ends it with 1 and a line on stderr.
 */
#include "../../client/link.h"
#include "../../client/ohem.h"
#include "loss.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES    (22u * 65536) /* a batch of the largest size */
#define CALL_MS       200           /* between two looks at whether to stop */
#define CONNECT_MS    60000
#define CONNECT_TRIES 600
#define AGAIN_NS      100000000 /* the daemon has no room for another session yet */

static struct {
    const char *endpoint, *log_path, *steps_path;
    uint64_t work_us; /* for a batch, at most */
    uint64_t steps;   /* of the run; 0: not known yet */
    uint64_t slack;
    uint32_t credit;
    enum ohem_layout layout;
    enum ohem_transport transport;
} options;

static int log_fd;
static volatile sig_atomic_t stopping;
static float losses[65536];

/* ---- the log -----------------------------------------------------------------------------------
 */

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vfprintf(stderr, format, list);
    va_end(list);
    (void)fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void write_line(const char *line, size_t size)
{
    if (write(log_fd, line, size) != (ssize_t)size)
        die("cannot write the log");
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    char line[256];
    va_list list;
    int size = snprintf(line, sizeof line, "%c %" PRIu64, format[0], now_us());

    va_start(list, format);
    size += vsnprintf(line + size, sizeof line - (size_t)size, format + 1, list);
    va_end(list);
    line[size++] = '\n';
    write_line(line, (size_t)size);
}

static void note_batch(const struct ohem_batch *b)
{
    static char line[LINE_BYTES];
    const uint64_t *ids = ohem_batch_ids(b);
    uint32_t count = ohem_batch_count(b), coverage = 0;
    int size;

    while (coverage < count && !ohem_batch_is_hard(b, coverage))
        coverage++;
    size = snprintf(line, sizeof line, "B %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32, now_us(),
                    ohem_batch_step(b), ohem_batch_epoch(b), coverage);
    for (uint32_t i = 0; i < count; i++)
        size += snprintf(line + size, sizeof line - (size_t)size, " %" PRIu64, ids[i]);
    line[size++] = '\n';
    write_line(line, (size_t)size);
}

/* ---- the tap -----------------------------------------------------------------------------------
 */

int __real_link_receive(struct link *l, struct message *out, struct reason *why);
int __wrap_link_receive(struct link *l, struct message *out, struct reason *why);

static void note_message(const struct message *m)
{
    const struct message_selection *s = &m->selection;

    if (m->type == MESSAGE_WELCOME)
        note("W %" PRIu64 " %" PRIu64, m->welcome.boot, m->welcome.session);
    else if (m->type == MESSAGE_BATCH)
        note("G %" PRIu64, m->batch.token.step);
    else if (m->type == MESSAGE_SELECTION)
        note("S %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu64, s->token.step, s->seq,
             s->lsn, s->flags, s->durable_seq);
    else if (m->type == MESSAGE_PONG)
        note("D %" PRIu64, m->pong.durable_seq);
    else if (m->type == MESSAGE_DURABLE)
        note("D %" PRIu64, m->durable.seq);
    else if (m->type == MESSAGE_ERROR && m->error.about == MESSAGE_LOSS)
        note("E %" PRIu64 " %" PRIu32, m->error.token.step, m->error.code);
}

int __wrap_link_receive(struct link *l, struct message *out, struct reason *why)
{
    int rc = __real_link_receive(l, out, why);

    if (rc > 0)
        note_message(out);
    return rc;
}

/* ---- the trainer -------------------------------------------------------------------------------
 */

static void stop_cb(int number)
{
    (void)number;
    stopping = 1;
}

static void work(uint64_t step)
{
    uint64_t us = options.work_us > 0 ? chaos_hash(step ^ now_us()) % (options.work_us + 1) : 0;

    (void)nanosleep(&(struct timespec){.tv_nsec = (long)(us * 1000)}, NULL);
}

static bool is_again(int rc)
{
    return rc == -OHEM_TIMEDOUT || rc == -OHEM_UNREACHABLE || rc == -OHEM_DRAINING;
}

static struct ohem_client *connect_somehow(void)
{
    struct ohem_options o = OHEM_OPTIONS_INIT;
    struct ohem_client *client = NULL;
    int rc = 0;

    o.endpoint = options.endpoint;
    o.credit = options.credit;
    o.layout = options.layout;
    o.transport = options.transport;
    o.connect_timeout_ms = CONNECT_MS;
    o.agent = "chaos";
    for (int i = 0; i < CONNECT_TRIES && !stopping; i++) {
        rc = ohem_connect(&o, &client);
        if (rc == 0)
            return client;
        if (rc != -OHEM_LIMIT && rc != -OHEM_DRAINING)
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
    }
    if (stopping)
        exit(EXIT_SUCCESS);
    die("connect: %s: %s", ohem_error_name(rc), ohem_connect_error());
}

/* A record is its id and the id's complement: what was handed out is what the ids say. */
static void look_at_records(const struct ohem_batch *b)
{
    const uint64_t *ids = ohem_batch_ids(b);

    for (uint32_t i = 0; i < ohem_batch_count(b); i++) {
        const uint64_t record[2] = {ids[i], ~ids[i]};
        size_t size;
        const void *data = ohem_batch_data(b, i, &size);

        if (size != sizeof record || memcmp(data, record, sizeof record) != 0)
            die("step %" PRIu64 ": record %" PRIu32 " is not that of id %" PRIu64,
                ohem_batch_step(b), i, ids[i]);
    }
}

/* The batch was void before it was reported, or the report was refused: the log has it. */
static void expect(int rc, struct ohem_client *client, uint64_t step)
{
    if (rc != 0)
        die("step %" PRIu64 ": %s: %s", step, ohem_error_name(rc), ohem_client_error(client));
}

/* Three kinds of trainers: one that waits, one that does not want the selection, one that gets it
 * later. */
static void report(struct ohem_client *client, struct ohem_batch *b)
{
    uint64_t step = ohem_batch_step(b);
    uint32_t count = ohem_batch_count(b);
    const struct ohem_selection *selection;
    int rc;

    note("R %" PRIu64, step);
    do
        rc = ohem_submit(b, losses, count);
    while (is_again(rc));
    expect(rc, client, step);
    if (step % 3 == 0)
        return;
    if (step % 3 == 1)
        work(step);
    do
        rc = ohem_selection(b, CALL_MS, &selection);
    while (is_again(rc));
    if (rc != -OHEM_TOKEN) /* applied, and its selection forgotten: see take_selection() */
        expect(rc, client, step);
}

/* How long the run is may be said while it lasts. */
static void read_steps(void)
{
    FILE *file = options.steps == 0 ? fopen(options.steps_path, "re") : NULL;

    if (file == NULL)
        return;
    if (fscanf(file, "%" SCNu64, &options.steps) != 1)
        die("%s: no number", options.steps_path);
    (void)fclose(file);
}

static void take(struct ohem_client *client, struct ohem_batch *b)
{
    const uint64_t *ids = ohem_batch_ids(b);
    uint64_t step = ohem_batch_step(b);

    note_batch(b);
    read_steps();
    if (options.steps == 0 || step < options.steps) {
        look_at_records(b);
        for (uint32_t i = 0; i < ohem_batch_count(b); i++)
            losses[i] = chaos_loss(ids[i], step);
        work(step);
        if (step % 11 != 7) /* some are only looked at */
            report(client, b);
    }
    note("L %" PRIu64, step);
    ohem_release(b);
    if (options.steps > 0 && step >= options.steps + options.slack)
        stopping = 1;
}

static void train(struct ohem_client *client)
{
    while (!stopping) {
        struct ohem_batch *b;
        int rc = ohem_next(client, CALL_MS, &b);

        if (rc == 0)
            take(client, b);
        else if (!is_again(rc))
            die("next: %s: %s", ohem_error_name(rc), ohem_client_error(client));
    }
}

static void flush(struct ohem_client *client)
{
    int rc;

    do
        rc = ohem_flush(client, CALL_MS);
    while (is_again(rc));
    if (rc != 0)
        die("flush: %s: %s", ohem_error_name(rc), ohem_client_error(client));
    note("F");
}

static void read_options(char **argv)
{
    options.endpoint = argv[1];
    options.log_path = argv[2];
    options.work_us = strtoull(argv[3], NULL, 10);
    options.steps_path = argv[4];
    options.slack = strtoull(argv[5], NULL, 10);
    options.credit = (uint32_t)strtoul(argv[6], NULL, 10);
    options.layout = (enum ohem_layout)strtoul(argv[7], NULL, 10);
    options.transport = (enum ohem_transport)strtoul(argv[8], NULL, 10);
}

int main(int argc, char **argv)
{
    struct ohem_client *client;

    if (argc != 9)
        die("usage: chaos_trainer ENDPOINT LOG WORK_US STEPS_FILE SLACK CREDIT LAYOUT TRANSPORT");
    read_options(argv);
    log_fd = open(options.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0)
        die("cannot open %s", options.log_path);
    (void)signal(SIGTERM, stop_cb);
    note("H");
    client = connect_somehow();
    train(client);
    flush(client);
    ohem_close(client);
    return EXIT_SUCCESS;
}
