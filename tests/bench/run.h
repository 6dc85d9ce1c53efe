/* run.h - measure clients, each a process of its own, against a server.
 *
 * A client opens (connects), warms up until it has seen as many instances as the data set holds and
 * half as many again (but no longer than it will be measured), waits until all others are ready,
 * steps for so many seconds, and tells what it saw through a pipe. What is counted is what happened
 * in those seconds: CPU time too.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "measure.h"
#include "workload.h"

#include <sys/types.h>

#define RUN_CLIENTS_MAX 4

/* What a client saw; or, of a whole run, what all of them saw together. */
struct run_result {
    double seconds;
    double instances, bytes, batches;
    double instances_per_s; /* of all clients */
    double client_cpu_s, server_cpu_s;
    uint64_t first_at_ns;      /* when the first batch was at hand; 0: this kind does not say */
    double first_ms;           /* from before the connect until then; the worst client's */
    double rss_mb, private_mb; /* of a client; the largest */
    double age_sum, age_max;
    struct times next, report; /* what the calls took */
};

struct run_client; /* what a kind of client keeps between its steps */

/* A kind of client. The functions run in its process. */
struct run_kind {
    struct run_client *(*open)(const void *plan, int index);
    void (*step)(struct run_client *client, struct run_result *out); /* one batch */
    void (*close)(struct run_client *client);                        /* NULL: it just ends */
};

struct run {
    const struct run_kind *kind;
    const void *plan; /* for open() */
    const struct workload *workload;
    int clients;
    pid_t server; /* whose CPU time counts; 0: none */
    double seconds;
    void (*began)(void *ctx); /* called when all are ready and before they go; may be NULL */
    void *ctx;
};

void run_clients(const struct run *run, struct run_result *out);

/** Add what a run gave to the rows of that name. */
void run_add_rows(const struct run_result *r, const char *workload, const char *name, int clients);

/** A batch was done: count it. */
static inline void run_count(struct run_result *out, double instances, double bytes)
{
    out->instances += instances;
    out->bytes += bytes;
}

#endif
