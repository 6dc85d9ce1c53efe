/* server.h - the engine on the loop: messages in from the router, batches out through the loader.
 *
 * ZeroMQ's descriptor is edge-triggered, so after every send and receive the socket's events are
 * looked at again; each turn of the loop does a bounded amount of work.
 */
#ifndef OHEMD_SERVER_H
#define OHEMD_SERVER_H

#include "config.h"
#include "dataset.h"
#include "engine/engine.h"
#include "generations.h"
#include "keeper.h"
#include "share.h"
#include "turns.h"

#include <uv.h>

/* Time spent, for status and the benchmark. */
struct server_timing {
    uint64_t draw_ns, gather_ns, send_ns, receive_ns; /* gather: sum over the threads */
    struct turns turns;
    uint64_t batches, payload_bytes;              /* inline and shm: copied by us */
    uint64_t batches_by_way[MESSAGE_WAY_MAX + 1]; /* sent, by enum message_way */
};

struct server;

/**
 * Open the state, bind the socket and make the engine, with its jobs. Nobody is served before
 * server_start().
 * @param datasets  [config->dataset_count], open; outlive the server, which may put grown ones in
 *                  their place
 * @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM, -OHEM_CONFIG, -OHEM_STATE with the reason
 */
int server_new(uv_loop_t *loop, const struct config *config, struct dataset **datasets,
               struct server **out, struct reason *why);

/** Restore what the state holds: the last thing that can fail, when all else of the daemon is
 * there, since a fresh start replaces the state. @return 0, or as keeper_start() */
int server_start(struct server *s, struct reason *why);

struct engine *server_engine(struct server *s);
const struct dataset *server_dataset(const struct server *s, uint32_t number);
const struct server_timing *server_timing(const struct server *s);
const struct share_counts *server_share_counts(const struct server *s);
void server_get_keeper_status(const struct server *s, struct keeper_status *out);
/** Read a part of the audit, if that can be done: as keeper_read(). */
bool server_can_read(const struct server *s);
void server_read(struct server *s, struct state_reading *r);

uint64_t server_now_ms(const struct server *s);

/** Its data sets' generations, for a reload. */
struct generations *server_generations(struct server *s);

/** Settings have changed (config_take_over()): new sessions and batches follow them. */
void server_configure(struct server *s);

/** Hand out nothing more; call done_cb when no batch waits for its report, or after drain_ms. */
void server_drain(struct server *s, void (*done_cb)(void *ctx), void *ctx);

/** What is not on disk yet goes there; between server_drain() and server_close(). @return 0, or as
 *  keeper_finish() */
int server_finish(struct server *s, struct reason *why);

/** Stop all that runs on the loop; run the loop until it is empty, then server_free(). */
void server_close(struct server *s);
void server_free(struct server *s);

#endif
