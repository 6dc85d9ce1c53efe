/* metrics.h - what is counted, from one list: the struct, the names, the words all come from it.
 *
 * Counters only rise. They are plain numbers: the loop's thread owns them.
 */
#ifndef OHEM_METRICS_H
#define OHEM_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* X(name, what it counts) - per job */
#define METRICS_JOB(X) \
    X(batches_drawn, "batches handed out") \
    X(batches_redrawn, "batches that had grown older than max_age before they could be sent") \
    X(batches_resent, "batches sent again to a session that came back") \
    X(instances_coverage, "coverage instances handed out") \
    X(instances_hard, "instances drawn by hardness") \
    X(instances_skipped, "coverage instances left out by infobatch") \
    X(draws_redrawn, "hard draws thrown away because their instance was in the batch") \
    X(draws_fallen, "hard slots that fell to coverage") \
    X(reports_applied, "reports that changed the scores, late ones included") \
    X(reports_late, "of those, after the lease's end") \
    X(reports_repeated, "reports answered again without changing anything") \
    X(reports_refused_token, "reports under a token that is not held") \
    X(reports_refused_foreign, "reports under another session's token") \
    X(reports_refused_count, "reports whose number of losses was not the batch's") \
    X(reports_refused_conflict, "reports repeated with other losses") \
    X(reports_refused_expired, "reports that came after the batch was closed") \
    X(reports_refused_select, \
      "reports that wanted an answer by a rule that the job does not allow") \
    X(releases_refused, "batches given back under a token that is not held") \
    X(reports_recovered, "reports of batches that only the report itself still knew") \
    X(reports_superseded, "reports of a step that another trainer had reported (strict order)") \
    X(reports_early, "reports that came before their turn (strict order, after a restart)") \
    X(losses_applied, "losses that reached a score") \
    X(losses_nonfinite, "losses that were NaN or infinite, never applied") \
    X(losses_negative, "losses below zero, counted as 0 for the draw") \
    X(rounds_answered, "rounds whose ranks were answered together") \
    X(rounds_incomplete, "of those, with a rank awaited until the time was over") \
    X(rounds_missed, "reports that came when their round was over") \
    X(reports_ragged, "reports with any number of losses for an instance") \
    X(items_reported, "losses in them") \
    X(items_selected, "of these, chosen to be back-propagated") \
    X(instances_selected, "instances chosen to be back-propagated") \
    X(instances_ignored, \
      "instances that could not be chosen: flagged by their trainer, or in quarantine") \
    X(suspects_found, "times that an instance came into quarantine") \
    X(suspects_left, "times that one left it since its score had fallen") \
    X(leases_expired, "batches whose lease ended without a report") \
    X(leases_released, "batches released without a report by a live trainer") \
    X(leases_abandoned, "batches held by a session when it said goodbye") \
    X(sessions_opened, "sessions that joined") \
    X(sessions_resumed, "times a session came back with its key") \
    X(sessions_closed, "sessions that left or were forgotten")

/* X(name, what it counts) - of the daemon as a whole */
#define METRICS_DAEMON(X) \
    X(messages_received, "messages taken from the trainers' socket") \
    X(messages_malformed, "of those, not readable") \
    X(messages_refused, "of those, readable and refused with an ERROR") \
    X(messages_unsent, "messages that could not be sent: the peer was gone or did not read") \
    X(messages_discarded, "messages discarded unread: the peer chose its own address")

struct metrics_job {
#define METRICS_FIELD(name, text) uint64_t name;
    METRICS_JOB(METRICS_FIELD)
};

struct metrics_daemon {
    METRICS_DAEMON(METRICS_FIELD)
#undef METRICS_FIELD
};

struct metrics_value {
    const char *name, *text;
    uint64_t value;
};

/** The i-th counter, in the list's order. @return its name, text and value; name is NULL behind the
 * last. */
struct metrics_value metrics_job_at(const struct metrics_job *m, size_t i);
struct metrics_value metrics_daemon_at(const struct metrics_daemon *m, size_t i);

#endif
