/* serve.h - the real ohemd on the bench's data sets, and what it says of its time.
 *
 * Everything lies in the working directory: ohemd.conf, the sockets, ohemd.log. One daemon at a
 * time; it goes when the bench does.
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include "workload.h"

#include <sys/types.h>

#define SERVE_RECORD_BYTES 785u /* of the first workload */
#define SERVE_ENDPOINT     "ipc://ohemd.sock"

/* The timing of /v1/health, since the daemon's start. */
struct serve_timing {
    double draw_ns, gather_ns, send_ns, receive_ns;
    double turns, turn_ns_p50, turn_ns_p99, turn_ns_p999, turn_ns_max;
    double batches;
};

/** Start the daemon. Each workload W is a data set and has the jobs "W-biased" (rho 0.5),
 * "W-uniform" (rho 1) and "W-strict" (as biased, in strict order).
 *  @param durable  it keeps its state in a folder, which it begins anew
 *  @return its process */
pid_t serve_start(const char *program, const struct workload list[WORKLOADS], bool durable);

/** SIGTERM; it must end with 0. */
void serve_stop(void);

void serve_read_timing(struct serve_timing *out);

#endif
