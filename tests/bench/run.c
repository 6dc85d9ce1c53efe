/* run.c - clients as processes, measured together; see run.h. */
#include "run.h"

#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

#define WARM_EPOCHS    1.5
#define CLOCK_EVERY_NS 50000 /* rather look at the clock less often than this */

/* A client's process as the bench sees it. */
struct child {
    pid_t pid;
    int from, to; /* pipes */
};

/* ---- in the client's process ---- */

static void read_all(int fd, void *out, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, (char *)out + at, size - at);

        if (n <= 0)
            die("a client's process ended early");
        at += (size_t)n;
    }
}

static void write_all(int fd, const void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = write(fd, (const char *)data + at, size - at);

        if (n <= 0)
            die("write to a pipe: %s", strerror(errno));
        at += (size_t)n;
    }
}

/* Step until so many seconds are over, or so many instances seen. @return the seconds. */
static double step_on(const struct run *run, struct run_client *client, struct run_result *r,
                      double seconds, double instances)
{
    uint64_t began = measure_now_ns(), then = began, now;
    unsigned steps = 1;

    do {
        for (unsigned i = 0; i < steps; i++)
            run->kind->step(client, r);
        now = measure_now_ns();
        if (now - then < CLOCK_EVERY_NS)
            steps++;
        then = now;
    } while ((double)(now - began) < seconds * MEASURE_NS_PER_S && r->instances < instances);
    return (double)(now - began) / MEASURE_NS_PER_S;
}

static bool has_input(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void be_client(const struct run *run, int index, int from, int to)
{
    static struct run_result warm, r;
    uint64_t began = measure_now_ns();
    struct run_client *client;
    double cpu_s;
    char go = 1;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    client = run->kind->open(run->plan, index);
    run->kind->step(client, &warm);
    if (warm.first_at_ns != 0)
        r.first_ms = (double)(warm.first_at_ns - began) / 1e6;
    (void)step_on(run, client, &warm, run->seconds, WARM_EPOCHS * run->workload->count);
    write_all(to, &go, 1);
    while (!has_input(from)) /* in strict order all wait for one that stands still */
        run->kind->step(client, &warm);
    read_all(from, &go, 1);
    cpu_s = usage_cpu_s(0);
    r.seconds = step_on(run, client, &r, run->seconds, 1e300);
    r.client_cpu_s = usage_cpu_s(0) - cpu_s;
    usage_memory(0, &r.rss_mb, &r.private_mb);
    write_all(to, &r, sizeof r);
    if (run->kind->close != NULL)
        run->kind->close(client);
    _exit(0);
}

/* ---- in the bench ---- */

static void start(const struct run *run, int index, struct child *c)
{
    int there[2], back[2];

    if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0)
        die("pipe: %s", strerror(errno));
    c->pid = fork();
    if (c->pid < 0)
        die("fork: %s", strerror(errno));
    if (c->pid == 0)
        be_client(run, index, there[0], back[1]);
    (void)close(there[0]);
    (void)close(back[1]);
    c->to = there[1];
    c->from = back[0];
}

static void merge(struct run_result *into, const struct run_result *r)
{
    into->seconds += r->seconds;
    into->instances += r->instances;
    into->bytes += r->bytes;
    into->batches += r->batches;
    into->instances_per_s += r->instances / r->seconds;
    into->client_cpu_s += r->client_cpu_s;
    into->first_ms = into->first_ms > r->first_ms ? into->first_ms : r->first_ms;
    into->rss_mb = into->rss_mb > r->rss_mb ? into->rss_mb : r->rss_mb;
    into->private_mb = into->private_mb > r->private_mb ? into->private_mb : r->private_mb;
    into->age_sum += r->age_sum;
    into->age_max = into->age_max > r->age_max ? into->age_max : r->age_max;
    times_merge(&into->next, &r->next);
    times_merge(&into->report, &r->report);
}

static void finish(struct child *c, struct run_result *out)
{
    static struct run_result r;

    read_all(c->from, &r, sizeof r);
    merge(out, &r);
}

static void bury(struct child *c)
{
    int status;

    (void)close(c->to);
    (void)close(c->from);
    if (waitpid(c->pid, &status, 0) != c->pid || status != 0)
        die("a client's process ended badly");
}

void run_clients(const struct run *run, struct run_result *out)
{
    struct child children[RUN_CLIENTS_MAX];
    double cpu_s;
    char go;

    memset(out, 0, sizeof *out);
    for (int i = 0; i < run->clients; i++)
        start(run, i, &children[i]);
    for (int i = 0; i < run->clients; i++)
        read_all(children[i].from, &go, 1);
    if (run->began != NULL)
        run->began(run->ctx);
    cpu_s = run->server == 0 ? 0 : usage_cpu_s(run->server);
    for (int i = 0; i < run->clients; i++)
        write_all(children[i].to, &go, 1);
    for (int i = 0; i < run->clients; i++)
        finish(&children[i], out);
    out->server_cpu_s = run->server == 0 ? 0 : usage_cpu_s(run->server) - cpu_s;
    out->seconds /= run->clients;
    for (int i = 0; i < run->clients; i++)
        bury(&children[i]);
}

void run_add_rows(const struct run_result *r, const char *workload, const char *name, int clients)
{
    const struct {
        enum row_metric metric;
        double value;
    } values[] = {
        {ROW_INSTANCES, r->instances_per_s},
        {ROW_MEGABYTES, r->bytes / r->instances * r->instances_per_s / 1e6},
        {ROW_CPU, (r->client_cpu_s + r->server_cpu_s) * 1e6 / r->instances},
        {ROW_CPU_SERVER, r->server_cpu_s * 1e6 / r->instances},
        {ROW_CPU_CLIENT, r->client_cpu_s * 1e6 / r->instances},
        {ROW_CLIENT_RSS, r->rss_mb},
        {ROW_CLIENT_PRIVATE, r->private_mb},
    };

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        row_add_metric(workload, name, clients, values[i].metric, values[i].value);
    if (r->next.count > 0) {
        row_add_metric(workload, name, clients, ROW_FIRST, r->first_ms);
        row_add_metric(workload, name, clients, ROW_NEXT_P50, times_quantile_us(&r->next, 0.5));
        row_add_metric(workload, name, clients, ROW_NEXT_P99, times_quantile_us(&r->next, 0.99));
        row_add_metric(workload, name, clients, ROW_AGE_MEAN, r->age_sum / r->batches);
        row_add_metric(workload, name, clients, ROW_AGE_MAX, r->age_max);
    }
    if (r->report.count > 0) {
        row_add_metric(workload, name, clients, ROW_REPORT_P50, times_quantile_us(&r->report, 0.5));
        row_add_metric(workload, name, clients, ROW_REPORT_P99,
                       times_quantile_us(&r->report, 0.99));
    }
}
