/* status_json.h - what the status socket answers, as JSON values made from the engine's structures.
 *
 * Reads only and knows no socket, so a test can ask it about an engine that has none. Names are
 * snake_case and end in their unit; what has none is a count or a share. A number that JSON cannot
 * hold (NaN, infinite) becomes null. Whatever has more than 53 bits of meaning (a seed, a
 * fingerprint) is a string. Loop's thread only, but status_json_event().
 *
 * All of them return a new reference, or NULL when there is no memory.
 */
#ifndef OHEMD_STATUS_JSON_H
#define OHEMD_STATUS_JSON_H

#include "config.h"
#include "dataset.h"
#include "engine/engine.h"
#include "reload.h"
#include "server.h"

#include <jansson.h>

#define STATUS_SESSIONS_MAX 256  /* listed per job; their count is always given */
#define STATUS_SUSPECTS_MAX 1000 /* instances of a quarantine in one answer */
#define STATUS_EPOCHS_MAX   8    /* closed epochs listed per job, and open ones */

/** @param old  earlier generations of it that are kept for batches */
json_t *status_json_dataset(const struct config_dataset *c, const struct dataset *d, size_t old);

/** @param datasets  an array of the above; its reference is taken, also on failure */
json_t *status_json_health(const struct engine *e, json_t *datasets,
                           const struct server_timing *timing, const struct share_counts *share,
                           const struct keeper_status *kept, const struct reload_status *reload,
                           uint64_t started_ms, uint64_t now_ms);

/** @param dataset  the data set's name */
json_t *status_json_job(const struct job *j, const char *dataset, uint64_t now_ms);

/** The histogram: buckets that hold something, easiest first. */
json_t *status_json_hardness(const struct job *j);

/** @param n  1..HARDNESS_HARDEST_MAX */
json_t *status_json_hardest(const struct job *j, const struct dataset *d, size_t n);

/** @param id  below the job's instance count */
json_t *status_json_instance(const struct job *j, const struct dataset *d, uint32_t id);

/** The quarantine and its instances, by id, from one on. @param from  below the instance count */
json_t *status_json_suspects(const struct job *j, const struct dataset *d, uint32_t from);

/** Which it is: the names of the job and the instance. @param id  likewise */
json_t *status_json_name(const struct job *j, const struct dataset *d, uint32_t id);

/** A draw or a report of an instance. */
json_t *status_json_event(const struct audit_event *e);

#endif
