/* engine.h - the heart as a whole: (message, now) in, replies out.
 *
 * Pure: it knows no socket, no clock, no thread, no file. The shell gives it decoded messages and
 * the time, and takes from it messages to send and batches to gather. Everything happens on one
 * thread, inside the call that caused it.
 *
 *     engine_message()  what a peer said            -> out->send()
 *     engine_work()     draw for who has credit     -> out->deliver()
 *     engine_tick()     end leases that are over;   engine_next_due() says when
 */
#ifndef OHEM_ENGINE_H
#define OHEM_ENGINE_H

#include "job.h"
#include "rows.h"

/* A batch to gather and send. All is lent until deliver() returns. */
struct engine_delivery {
    const struct session *session;
    const struct job_dataset *dataset;
    const struct lease *lease;
    uint32_t slot; /* of the session's that the lease is in, 0..credit-1 */
    uint64_t lease_ms;
};

/* The shell's side. */
struct engine_out {
    void *ctx;
    /** Send, or fail with -OHEM_UNREACHABLE (the peer is gone or does not read). Vectors are lent
     *  until it returns. */
    int (*send)(void *ctx, uint64_t peer, const struct message *m);
    /** WELCOME goes out, and the session has not yet said that it is ready: how is it to take its
     *  batches? Fills way, share and cookie. NULL: inline. */
    void (*offer)(void *ctx, const struct session *s, struct message_welcome *out);
    /** The session is no more: what was offered or lent to it is taken back. May be NULL. */
    void (*ended)(void *ctx, const struct session *s);
    /** Is there room for another batch to this peer? NULL: always. Not while it reads too slowly.
     */
    bool (*has_room)(void *ctx, uint64_t peer);
    /** Gather and send. What fails, now or later, is told by engine_undelivered(). */
    void (*deliver)(void *ctx, const struct engine_delivery *d);
    /** A line for the log about a session; level as in log.h. */
    void (*event)(void *ctx, const struct session *s, const char *what, const char *detail);
};

#define ENGINE_SILENT_MS \
    30000 /* of silence: then a session may be asked whether it is still there */

struct engine_settings {
    uint64_t boot;               /* random per start */
    uint64_t memory;             /* random per state directory; without one, as boot */
    bool durable;                /* captured rows are written to disk */
    uint32_t sessions_max;       /* of all jobs */
    uint64_t payload_bytes_max;  /* of one batch: K times the largest record */
    uint64_t prefetch_bytes_max; /* of all the batches that one session holds; 0: no limit */
};

struct engine {
    struct engine_settings settings;
    struct engine_out out;
    struct metrics_daemon metrics;
    struct job_list jobs;
    struct session_list hungry; /* those with free slots, in the order of serving */
    struct map by_key;          /* sessions by session_key_hash() */
    struct ragged ragged;       /* scratch: of the report at hand */
    size_t session_count;
    uint64_t session_number; /* of the last one */
    uint32_t job_number;     /* the highest in the keys of rows */
    bool draining;
};

/** @return 0 or -OHEM_NOMEM. */
int engine_init(struct engine *e, const struct engine_settings *settings,
                const struct engine_out *out);
void engine_deinit(struct engine *e);

/** Add a job before serving begins. @return as job_new(); -OHEM_EXISTS when the name is taken. */
int engine_add_job(struct engine *e, const struct job_settings *settings, struct reason *why);

/**
 * The data set of that number (job_dataset.number) has grown at its end: its jobs go on with it.
 * @param say_cb  called with the reason for each job that could not; it keeps its N
 * @return how many jobs grew
 */
size_t engine_grow(struct engine *e, const struct job_dataset *dataset,
                   void (*say_cb)(void *ctx, const char *reason), void *ctx);

/** Is a batch of this data set that came by map, and was handed out when job_dataset.serial was at
 *  most this, still with a session? Also when it was reported or its lease is over. */
bool engine_holds_mapped(const struct engine *e, uint32_t dataset, uint64_t serial);

/** A session whose batches could be over payload_bytes_max if records may be so large, or NULL. */
const struct session *engine_find_too_small(const struct engine *e, uint32_t dataset,
                                            uint64_t record_bytes_max);

/** Other limits, for sessions that come. */
void engine_set_limits(struct engine *e, uint64_t payload_bytes_max, uint64_t prefetch_bytes_max);

/** The job of that name, or NULL. */
struct job *engine_find_job(const struct engine *e, const char *name);

/**
 * Begin a job anew: no scores but those that warm_start names, the first step, the first epoch. Its
 * sessions end and are told so; they come back by themselves. What they held is void: reports of it
 * are refused by -OHEM_TOKEN.
 * @return 0, or -OHEM_NOMEM with the reason, and nothing changed
 */
int engine_reset_job(struct engine *e, struct job *j, struct reason *why);

/** What a peer said. Answers by out->send(); what cannot be done is answered by an ERROR. */
void engine_message(struct engine *e, uint64_t peer, const struct message *m, uint64_t now_ms);

/**
 * A ragged report, as a LOSS of engine_message() in three steps, so that the work need not be done
 * on the engine's thread:
 *
 *     if (engine_begin_ragged(e, peer, m, r, now_ms)) {
 *         ragged_work(r, &m->loss);
 *         engine_end_ragged(e, peer, m, r, now_ms);
 *     }
 *
 * Between the first step and the last other messages may come; those of the same session that do
 * would overtake the report.
 * @return whether it is to be worked through; else it was refused, and that is all
 */
bool engine_begin_ragged(struct engine *e, uint64_t peer, const struct message *m, struct ragged *r,
                         uint64_t now_ms);
void engine_end_ragged(struct engine *e, uint64_t peer, const struct message *m,
                       const struct ragged *r, uint64_t now_ms);

/** A peer sent what could not be decoded: count it and answer with an ERROR. */
void engine_malformed(struct engine *e, uint64_t peer, uint32_t type, int code, const char *why);

/**
 * Draw at most `batches` batches for sessions that have credit, in turn.
 * @return how many were drawn; less than asked means that nobody has credit left
 */
size_t engine_work(struct engine *e, size_t batches, uint64_t now_ms);

/**
 * A batch is gathered and about to be sent: shall it be? Not when its session or lease is gone, or
 * when it is older than its job's max_age: then another is drawn in its place.
 */
bool engine_may_send(struct engine *e, uint64_t peer, const struct session_key *key,
                     struct token token);

/**
 * A batch could not be delivered: it is to be sent again.
 * @param unreachable  since the peer is gone or does not read: nothing is drawn or sent for its
 *                     sessions until they are heard
 */
void engine_undelivered(struct engine *e, uint64_t peer, struct token token, bool unreachable);

/** End leases and sessions that are over. */
void engine_tick(struct engine *e, uint64_t now_ms);

/** When engine_tick() has work next; UINT64_MAX: never. */
uint64_t engine_next_due(const struct engine *e);

/* ---- what survives a restart ----
 *
 * At the start: engine_add_job() for each, engine_restore_row() for every row that is kept, in the
 * order of the keys, then engine_restore_end(). Then, whenever engine_unsaved() and no commit is
 * under way: engine_capture(), write the rows, all or none, and engine_committed() when they are on
 * disk. Rows that could not be written have to be written before any later ones.
 */

/** A row of an earlier life. @return 0, or -OHEM_STATE, -OHEM_NOMEM with the reason: it cannot be
 *  used, and the engine is fit for engine_deinit() only */
int engine_restore_row(struct engine *e, const struct rows_key *key, const void *value, size_t size,
                       struct reason *why);

/** That was all. Leases that were open have a full time from now. @return as above */
int engine_restore_end(struct engine *e, uint64_t now_ms, struct reason *why);

/** Has anything changed that engine_capture() would collect? */
bool engine_unsaved(const struct engine *e);

/** Is there a job that took over scores and has not captured all of them? It serves nothing yet. */
bool engine_warming(const struct engine *e);

/** Collect what changed since the last time, as it is now. Bounded (JOURNAL_CHUNKS_MAX, and the
 *  batches that may be out). @return 0, or -OHEM_NOMEM: nothing was collected, ask again */
int engine_capture(struct engine *e, struct rows *out);

/** Nothing more is handed out in this life: the next capture is the last, and reserves no steps. */
void engine_end(struct engine *e);

/** What was captured last is on disk: reports in it are durable, who waits for that is told. */
void engine_committed(struct engine *e);

/** Hand out nothing more and tell every session; those that cannot be told are ended. */
void engine_drain(struct engine *e);

/** Is no batch waiting for its report? */
bool engine_idle(const struct engine *e);

#endif
