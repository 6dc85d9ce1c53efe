/* keeper.h - keeps the engine's rows: gives them back at the start, writes what changed while it
 * runs.
 *
 * A commit begins at most commit_ms after the first change that no commit holds, if none is under
 * way. Without a folder for the state (config->state) it keeps nothing, and the engine is told so.
 * Loop's thread only.
 */
#ifndef OHEMD_KEEPER_H
#define OHEMD_KEEPER_H

#include "config.h"
#include "engine/engine.h"
#include "state.h"

#include <uv.h>

struct keeper;

struct keeper_status {
    const char *path; /* of the folder; NULL: nothing is kept, and the rest says nothing */
    const struct state_status *state;
    uint64_t capture_ns_last, capture_ns_longest; /* of the loop's time */
};

/** Open the state. @return 0, or as state_open(), state_forget() */
int keeper_open(const struct config *config, struct keeper **out, struct reason *why);

/** What of it the engine has to know, before it is made: boot, memory, durable. */
void keeper_fill_settings(const struct keeper *k, struct engine_settings *out);

/** The key of tokens and digests, for all jobs. */
void keeper_fill_secret(const struct keeper *k, uint64_t out[2]);

/**
 * Give back what is kept to an engine that has its jobs and did nothing yet; write what it
 * reserves; from then on keep what changes.
 * @return 0, or -OHEM_STATE, -OHEM_NOMEM, -OHEM_SYSTEM with the reason
 */
int keeper_start(struct keeper *k, uv_loop_t *loop, struct engine *engine, struct reason *why);

/** At the end of each turn of the loop. */
void keeper_turn(struct keeper *k);

/** The engine does no more: write the rest, here and now. @return 0, or -OHEM_STATE, -OHEM_NOMEM */
int keeper_finish(struct keeper *k, struct reason *why);

/** Read a part of the audit, as state_read(). keeper_can_read(): the state is open and its thread
 *  runs, so from keeper_start() to keeper_finish() or keeper_close(). */
bool keeper_can_read(const struct keeper *k);
void keeper_read(struct keeper *k, struct state_reading *r);

void keeper_get_status(const struct keeper *k, struct keeper_status *out);

/** Write nothing more; run the loop until it is empty, then keeper_free(). Both take NULL. */
void keeper_close(struct keeper *k);
void keeper_free(struct keeper *k);

#endif
