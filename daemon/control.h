/* control.h - the control socket: verbs, by HTTP POST on a Unix socket of its own.
 *
 * The file's mode decides who may use it: out of the box the daemon's own user (and root).
 * Runs on the loop's thread, between two turns of the engine.
 *
 *     POST /v1/jobs/J/reset                  begin the job anew: {"job", "life", "sessions_ended"}
 *
 *     POST /v1/jobs/J/instances/ID/pardon    never a suspect again: {"job", "id", "pardoned"}
 *     POST /v1/jobs/J/instances/ID/unpardon  it may be one again
 *
 * Errors are {"error": "..."} with 400, 404, 405, 409 (the job has no quarantine), 503 (no memory;
 * nothing changed).
 */
#ifndef OHEMD_CONTROL_H
#define OHEMD_CONTROL_H

#include "server.h"

struct control;

/** Bind the socket and serve; nothing if config->control_socket is "". @return 0, or -OHEM_SYSTEM,
 * -OHEM_NOMEM with the reason. */
int control_new(uv_loop_t *loop, const struct config *config, struct server *server,
                struct control **out, struct reason *why);

/** Stop; run the loop until it is empty, then control_free(). Both take NULL. */
void control_close(struct control *c);
void control_free(struct control *c);

#endif
