/* status.h - the status socket: HTTP and JSON on a Unix socket, read only.
 *
 * Runs on the loop's thread (http.h) and so reads the engine directly; every answer is bounded.
 *
 *     GET /metrics                      what can be counted, in Prometheus' text format; that alone
 *                                       also at 127.0.0.1:metrics_port
 *     GET /v1/health                    data sets, counters, times; `state`: commits to disk,
 *                                       failures, the last error, how long they and captures take;
 *                                       `reload`: what the last one changed, left and refused
 *     GET /v1/jobs                      all jobs: settings, progress, epochs, counters, sessions
 *     GET /v1/jobs/J                    one of them
 *     GET /v1/jobs/J/hardness           histogram by bucket, quantiles, mean
 *     GET /v1/jobs/J/hardest?n=10       the hardest: id, key, score, visits, last loss
 *     GET /v1/jobs/J/quarantine?from=0  the cut, and 1000 of its instances by id, from one on; the
 *                                       `next`, if there are more. Of a job with quarantine = yes
 *     GET /v1/jobs/J/instances/ID       one instance's story
 *     GET /v1/jobs/J/instances/ID/why?from=0
 *                                       its draws and reports, of a job with audit = yes, up to the
 *                                       last commit: a part of the audit, and where the `next` is
 *
 * Errors are {"error": "..."} with 400, 404, 405, 409 (the job does not keep that).
 */
#ifndef OHEMD_STATUS_H
#define OHEMD_STATUS_H

#include "reload.h"
#include "server.h"

struct status;

/** Bind the socket, and metrics_port, and serve. @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM with the
 *  reason: then *out, if it is set, is closed already, and only to be freed. */
int status_new(uv_loop_t *loop, const struct config *config, struct server *server,
               const struct reload *reload, struct status **out, struct reason *why);

/** Stop; run the loop until it is empty, then status_free(). */
void status_close(struct status *s);
void status_free(struct status *s); /* takes NULL */

#endif
