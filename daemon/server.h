/* server.h - the trainers' socket on the loop: frames in, frames out. The only one to include
 * zmq.h.
 *
 * A ROUTER. ZeroMQ's descriptor is edge-triggered, so after every send and receive the socket's
 * events are looked at again; each turn of the loop does a bounded amount of work.
 */
#ifndef OHEMD_SERVER_H
#define OHEMD_SERVER_H

#include "config.h"
#include "dataset.h"
#include "engine/engine.h"

#include <uv.h>

/* Time spent, for status and the benchmark. */
struct server_timing {
    uint64_t draw_ns, gather_ns, send_ns, receive_ns; /* gather: sum over the threads */
    uint64_t turn_ns_max;                             /* the loop's longest turn */
    uint64_t batches, payload_bytes;
};

struct server;

/**
 * Bind the socket and make the engine, with its jobs.
 * @param datasets  [config->dataset_count], open; outlive the server
 * @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM, -OHEM_CONFIG with the reason
 */
int server_new(uv_loop_t *loop, const struct config *config, struct dataset *const *datasets,
               struct server **out, struct reason *why);

struct engine *server_engine(struct server *s);
const struct dataset *server_dataset(const struct server *s, uint32_t number);
const struct server_timing *server_timing(const struct server *s);
uint64_t server_now_ms(const struct server *s);

/** Hand out nothing more; call done_cb when no batch waits for its report, or after drain_ms. */
void server_drain(struct server *s, void (*done_cb)(void *ctx), void *ctx);

/** Stop all that runs on the loop; run the loop until it is empty, then server_free(). */
void server_close(struct server *s);
void server_free(struct server *s);

/** ZeroMQ's version, as it says itself. */
const char *server_library_version(void);

#endif
