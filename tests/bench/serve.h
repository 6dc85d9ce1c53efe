/* serve.h - the real ohemd on a data set made for the bench, and what it says of its time.
 *
 * Everything lies in the working directory: data/, ohemd.conf, both sockets, ohemd.log. One daemon
 * at a time; it goes when the bench does.
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stddef.h>
#include <stdint.h>

#define SERVE_INSTANCES    60000u
#define SERVE_RECORD_BYTES 785u
#define SERVE_BATCH        256u
#define SERVE_ENDPOINT     "ipc://ohemd.sock"

/* The timing of /v1/health, since the daemon's start. */
struct serve_timing {
    double draw_ns, gather_ns, send_ns, receive_ns, turn_ns_max;
    double batches, payload_bytes;
};

/** Write the data set: an LMDB folder of pseudo-random bytes. */
void serve_make_dataset(void);

/** Start the daemon, with the jobs "biased" (rho 0.5) and "uniform" (rho 1). */
void serve_start(const char *program);

/** SIGTERM; it must end with 0. */
void serve_stop(void);

void serve_read_timing(struct serve_timing *out);

#endif
