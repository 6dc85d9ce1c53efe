/* daemon.c - a real ohemd as a child of the test; see daemon.h. */
#include "daemon.h"

#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS      2000000 /* between two looks at what is waited for */
#define AT_ONCE_MS   1000    /* what does not wait takes less */
#define CONFIG_FILE  "ohemd.conf"
#define ANSWER_BYTES (1u << 20) /* the largest that the status socket gives us */
#define EXIT_NO_EXEC 127

int64_t daemon_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void daemon_be_busy_for(int ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

void daemon_look_again_soon(int64_t deadline, const char *what)
{
    if (daemon_now_ms() > deadline)
        fail_msg("not within %d ms: %s", DAEMON_DEADLINE_MS, what);
    (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

/* fail_msg() does not return either, but its declaration does not say so. */
static void lose(const char *what, const char *detail) __attribute__((noreturn));

static void lose(const char *what, const char *detail)
{
    fail_msg("%s: %s", what, detail);
    abort();
}

/* ---- HTTP --------------------------------------------------------------------------------------
 */

/* All that is answered, head and body, to a request on a connection of its own. @return its size,
 * or -1 when nobody listens. */
static ssize_t ask(const struct daemon *d, const char *path, char *out, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char request[DAEMON_PATH_MAX];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: ohemd\r\n\r\n", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t got, sum = 0;

    assert_true(fd >= 0 && strlen(d->status) < sizeof address.sun_path);
    memcpy(address.sun_path, d->status, strlen(d->status) + 1);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        send(fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
        (void)close(fd);
        return -1;
    }
    while ((got = read(fd, out + sum, size - (size_t)sum)) > 0)
        sum += got; /* the daemon closes after its answer */
    (void)close(fd);
    assert_true((size_t)sum < size);
    return sum;
}

char *daemon_get(const struct daemon *d, const char *path)
{
    char *answer = malloc(ANSWER_BYTES), *body;
    ssize_t size;

    assert_non_null(answer);
    size = ask(d, path, answer, ANSWER_BYTES);
    if (size < 0)
        fail_msg("GET %s: nobody answers at %s", path, d->status);
    answer[size] = '\0';
    body = strstr(answer, "\r\n\r\n");
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || body == NULL)
        lose(path, answer);
    memmove(answer, body + 4, strlen(body + 4) + 1);
    return answer;
}

double daemon_number_in(const char *body, const char *name)
{
    char quoted[DAEMON_PATH_MAX];
    const char *found;
    char *end;
    double value;

    (void)snprintf(quoted, sizeof quoted, "\"%s\":", name);
    found = strstr(body, quoted);
    if (found == NULL)
        lose("not in the answer", quoted);
    value = strtod(found + strlen(quoted), &end);
    assert_true(end > found + strlen(quoted));
    return value;
}

uint64_t daemon_counter(const struct daemon *d, const char *name)
{
    char *body = daemon_get(d, "/v1/jobs/default");
    double value = daemon_number_in(body, name);

    free(body);
    return (uint64_t)value;
}

void daemon_await_counter(const struct daemon *d, const char *name, uint64_t least)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;

    while (daemon_counter(d, name) < least)
        daemon_look_again_soon(deadline, name);
}

/* ---- trainers ----------------------------------------------------------------------------------
 */

struct ohem_client *daemon_connect(const struct daemon *d, uint32_t batch_size, uint32_t credit)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client = NULL;

    options.endpoint = d->endpoint;
    options.batch_size = batch_size;
    options.credit = credit;
    options.connect_timeout_ms = DAEMON_DEADLINE_MS;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("connect: %s", ohem_connect_error());
    return client;
}

void daemon_assert_ok(struct ohem_client *client, int rc)
{
    if (rc != 0)
        fail_msg("%s: %s", ohem_error_name(rc), ohem_client_error(client));
}

struct ohem_batch *daemon_next(struct ohem_client *client)
{
    struct ohem_batch *batch = NULL;
    int rc = ohem_next(client, DAEMON_DEADLINE_MS, &batch);

    if (rc != 0)
        fail_msg("next: %s: %s", ohem_error_name(rc), ohem_client_error(client));
    return batch;
}

const struct ohem_selection *daemon_report(struct ohem_batch *batch, const float *losses)
{
    const struct ohem_selection *selection = NULL;
    int rc = ohem_report(batch, losses, ohem_batch_count(batch), DAEMON_DEADLINE_MS, &selection);

    if (rc != 0)
        fail_msg("report: %s", ohem_error_name(rc));
    return selection;
}

void daemon_submit(struct ohem_batch *batch, const float *losses)
{
    int64_t began = daemon_now_ms();

    assert_int_equal(ohem_submit(batch, losses, ohem_batch_count(batch)), 0);
    assert_true(daemon_now_ms() - began < AT_ONCE_MS);
}

const struct ohem_selection *daemon_selection(struct ohem_batch *batch)
{
    const struct ohem_selection *selection = NULL;
    int rc = ohem_selection(batch, DAEMON_DEADLINE_MS, &selection);

    if (rc != 0)
        fail_msg("selection: %s", ohem_error_name(rc));
    return selection;
}

struct ohem_client *daemon_begin(struct daemon *d, const struct tinyset *set, uint32_t batch_size,
                                 uint32_t credit)
{
    tinyset_make(set, DAEMON_DATASET);
    daemon_start(d);
    return daemon_connect(d, batch_size, credit);
}

void daemon_end(struct daemon *d, struct ohem_client *client)
{
    ohem_close(client);
    daemon_stop(d);
}

/* ---- the process -------------------------------------------------------------------------------
 */

static const char *or_none(const char *lines)
{
    return lines != NULL ? lines : "";
}

static void write_config(struct daemon *d)
{
    char here[DAEMON_PATH_MAX - 32];
    FILE *f = fopen(CONFIG_FILE, "w");

    assert_non_null(f);
    assert_non_null(getcwd(here, sizeof here));
    if (d->listen != NULL)
        (void)snprintf(d->endpoint, sizeof d->endpoint, "%s", d->listen);
    else
        (void)snprintf(d->endpoint, sizeof d->endpoint, "ipc://%s/ohemd.sock", here);
    (void)snprintf(d->status, sizeof d->status, "%s/status.sock", here);
    (void)fprintf(f, "[daemon]\nlisten = %s\nstatus_socket = %s\nshare_socket = %s/%s\n%s\n",
                  d->endpoint, d->status, here, DAEMON_SHARE, or_none(d->settings));
    (void)fprintf(f, "[dataset default]\npath = %s\n%s\n[job default]\n%s", DAEMON_DATASET,
                  or_none(d->dataset), or_none(d->job));
    assert_int_equal(fclose(f), 0);
}

static void become_ohemd(pid_t parent)
{
    char program[DAEMON_PATH_MAX];

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_NO_EXEC); /* the test ended before that took hold */
    (void)snprintf(program, sizeof program, "%s/ohemd", test_build());
    (void)execl(program, "ohemd", "--config", CONFIG_FILE, (char *)NULL);
    perror(program);
    _exit(EXIT_NO_EXEC);
}

static bool answers(const struct daemon *d)
{
    char answer[4096];

    return ask(d, "/v1/jobs/default/instances/0", answer, sizeof answer) > 0;
}

void daemon_start(struct daemon *d)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    pid_t parent = getpid();
    int status;

    assert_int_equal(d->pid, 0);
    write_config(d);
    (void)fflush(NULL);
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0)
        become_ohemd(parent);
    while (!answers(d)) {
        if (waitpid(d->pid, &status, WNOHANG) != 0)
            fail_msg("ohemd ended at its start, wait status %#x", (unsigned)status);
        daemon_look_again_soon(deadline, "ohemd answers");
    }
}

void daemon_ask_to_end(struct daemon *d)
{
    assert_int_equal(kill(d->pid, SIGTERM), 0);
}

void daemon_await_end(struct daemon *d)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    int status = 0;

    while (waitpid(d->pid, &status, WNOHANG) == 0)
        daemon_look_again_soon(deadline, "ohemd ends");
    d->pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("ohemd ended with wait status %#x", (unsigned)status);
}

void daemon_stop(struct daemon *d)
{
    daemon_ask_to_end(d);
    daemon_await_end(d);
}

void daemon_kill(struct daemon *d)
{
    assert_int_equal(kill(d->pid, SIGKILL), 0);
    assert_int_equal(waitpid(d->pid, NULL, 0), d->pid);
    d->pid = 0;
}

void daemon_pause(struct daemon *d)
{
    int status;

    assert_int_equal(kill(d->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(d->pid, &status, WUNTRACED), d->pid);
    assert_true(WIFSTOPPED(status));
}

void daemon_resume(struct daemon *d)
{
    assert_int_equal(kill(d->pid, SIGCONT), 0);
}
