/* job.h - one training run: its policy, its memory, its epochs, its leases.
 *
 * Ranks of a job are sessions: they share one coverage stream and one hardness memory.
 */
#ifndef OHEM_JOB_H
#define OHEM_JOB_H

#include "../../proto/reason.h"
#include "audit.h"
#include "coverage.h"
#include "hardness.h"
#include "journal.h"
#include "lease.h"
#include "metrics.h"
#include "quarantine.h"
#include "ragged.h"
#include "round.h"
#include "sampler.h"
#include "selection.h"
#include "session.h"
#include "steps.h"
#include "strict.h"

#define JOB_REDRAWN_MAX       8           /* batches in a row; then one is sent however old */
#define JOB_INSTANCES_OUT_MAX (16u << 20) /* instances on lease at once, all sessions of a job */
#define JOB_GENERATIONS_MAX   16          /* earlier ones whose tokens are still known */
#define JOB_STEPS_RESERVED    16384 /* on disk before use, so that no step is given out twice */

/* What the job serves; the bytes themselves are the shell's. */
struct job_dataset {
    uint64_t instance_count; /* 1..2^32-1 */
    uint64_t record_bytes;   /* of every record, or 0 when sizes differ */
    uint64_t record_bytes_max;
    uint64_t generation; /* a hash over the keys */
    /** What `generation` would be with the first n keys only. @return false: there are fewer. NULL:
     *  nobody can tell, and a job of an earlier life must have had this very generation. */
    bool (*prefix)(const void *keys, uint64_t n, uint64_t *out_generation);
    const void *keys;   /* lent, as long as the job has this data set */
    uint64_t serial;    /* counts the generations that the daemon has served, from 0 */
    uint32_t number;    /* which of the shell's data sets; the engine only hands it back */
    const char *fields; /* what a record consists of (fields.h), or NULL; lent, handed back too */
};

struct job_settings {
    char name[MESSAGE_NAME_BYTES_MAX + 1];
    struct job_dataset dataset;
    uint64_t seed;
    double lambda; /* 0 < lambda <= 1 */
    struct sampler_policy sampler;
    struct selection_policy selection;
    struct quarantine_policy quarantine;
    struct round_policy round;
    uint32_t batch_size; /* for sessions that ask for none */
    uint32_t credit;     /* likewise */
    uint64_t lease_ms, late_ms;
    uint64_t max_age;   /* reports applied since its draw after which a batch is not sent; 0: any */
    uint32_t staleness; /* D of the strict order; 0: the order is free */
    uint64_t secret[2]; /* the key of tokens and digests */
    bool durable;       /* what is captured is written to disk */
    bool audit;         /* draws and reports are kept there (audit.h); needs durable */
    uint64_t audit_bytes_max;
    /* A job that begins takes over the scores of this one, of the same data set; "": of none. */
    char warm_start[MESSAGE_NAME_BYTES_MAX + 1];
    double warm_factor; /* 0..1: times this */
    /* The loss that no training brings down, by id; ids from the count on have 0. It is subtracted
     * from what is reported before anything is done with that (RHO-LOSS: Mindermann et al., ICML
     * 2022, equation 3). Lent, as long as the job is; NULL: all have 0 */
    const float *irreducible;
    uint64_t irreducible_count;
    /* The class of each instance by id, for the status: nothing follows from it. Lent likewise;
     * NULL: nobody asks. Of ids from the count on it is not known */
    const uint8_t *classes;
    uint64_t classes_count;
    const char *text; /* the settings for readers, kept with the state; lent, or NULL */
};

/* How many reports were applied between a batch's draw and a moment of its life. */
struct job_ages {
    uint64_t count, sum, max;
};

/* What a selection in shadow would have kept, since the start of the daemon or the last change of
 * the policies. */
struct job_shadow {
    uint64_t reports, instances, selected; /* instances: those with a finite loss */
    double loss, selected_loss;            /* sums over them */
};

/* Of a class, by the policy of selection, whether it is on or only looks on; since the start of the
 * daemon or the last change of the policies. */
struct job_class {
    uint64_t reported, selected; /* instances with a finite loss; of these */
};
#define JOB_CLASSES_MAX 256u

/* What is on disk of a durable job, and on its way there. */
struct job_saved {
    uint32_t number;               /* of the job in the keys of its rows */
    uint64_t step_limit;           /* steps below are reserved: they may be used */
    uint64_t step_captured;        /* likewise, once the capture that is under way is on disk */
    uint64_t step_earlier;         /* an earlier life may have handed out steps below */
    uint64_t pool_first, pool_end; /* coverage that came back, by its number, has rows from .. to */
    uint64_t pool_restored;        /* of these, came back from their rows */
    struct rows_gone sessions;     /* that left, and had rows */
    uint64_t session_last;         /* the highest number of its sessions, those that left too */
    uint64_t life;                 /* how often it was begun anew: tokens of before are void */
    uint64_t generation;           /* of the data set in its row: a later life knows it */
    uint64_t generation_captured;  /* likewise, once the capture that is under way is on disk */
    bool clears;                   /* what its number has on disk is of another life */
    bool warming;                  /* scores that it took over are on their way to disk */
    bool text_dirty;               /* settings.text is not what its row says */
    char *text_before;             /* the row's text as it came back, or NULL */
    bool dirty;                    /* something else changed */
    bool restored;                 /* it is one of an earlier life */
    bool ended;                    /* nothing will be drawn any more */
};

/* Of a job in strict order: ids that will join when it draws a certain step, so that a restart
 * draws the steps around it the same way again. It draws no further before that is on disk. */
struct job_growth {
    uint64_t n, generation; /* of the data set then; n 0: nothing waits */
    uint64_t step;
    bool captured, saved; /* in a capture; on disk */
};

struct job {
    struct job_settings settings;
    struct hardness hardness;
    struct quarantine quarantine;
    struct coverage coverage;
    struct sampler sampler;
    struct lease_table leases;
    struct steps steps;
    struct journal journal; /* of a durable job */
    struct audit audit;
    uint64_t generations[JOB_GENERATIONS_MAX]; /* earlier ones of the data set, the latest first */
    struct job_growth growth;
    struct strict strict;
    struct rounds rounds;
    struct metrics_job metrics;
    struct session_list sessions; /* in the order of active_ms */
    size_t session_count;
    size_t slot_count;          /* of the present sessions */
    uint64_t instances_out_max; /* what the present sessions may have on lease together */
    uint64_t step;              /* of the next batch */
    uint64_t lsn;               /* of the last report applied */
    struct loss_stats last_all, last_kept; /* of the last report */
    struct job_shadow shadow;
    struct job_class *by_class; /* [JOB_CLASSES_MAX], or NULL: nobody asks */
    uint32_t *looked;           /* scratch, with classes: [looked_count], selected in shadow */
    uint32_t looked_count;
    struct recent recent;        /* the last losses, in free order */
    const struct ragged *ragged; /* of the report at hand; NULL: it is not ragged */
    struct rng select_rng;
    struct job_ages sent_ages, reported_ages;
    float *losses;          /* scratch, aligned, [MESSAGE_BATCH_SIZE_MAX] */
    uint8_t *flags;         /* scratch, likewise; with a quarantine */
    struct lease forgotten; /* scratch: a batch that only its report still knows of, [..SIZE_MAX] */
    struct job_saved saved;
    TAILQ_ENTRY(job) of_engine;
};

TAILQ_HEAD(job_list, job);

/** @return 0, or -OHEM_NOMEM, -OHEM_INVALID with the reason. */
int job_new(const struct job_settings *settings, struct job **out, struct reason *why);
void job_free(struct job *j);

/** Take over the scores of another job of the same data set, times warm_factor. The job is new. */
void job_warm_start(struct job *j, const struct job *from);

/** The K of a session that asks for one; 0 asks for the job's own, but never more than N. */
uint32_t job_batch_size(const struct job *j, uint32_t asked);

/** Bytes that the records of a batch of so many may take, as they lie in a block. */
uint64_t job_batch_bytes_of(uint64_t record_bytes_max, uint32_t batch_size,
                            enum message_records layout);
uint64_t job_batch_bytes_max(const struct job *j, uint32_t batch_size, enum message_records layout);

/**
 * Let a trainer in: checks its wishes against the limits and takes all the memory it will need.
 * @return 0, or -OHEM_INVALID, -OHEM_TOO_LARGE, -OHEM_LIMIT, -OHEM_NOMEM with the reason
 */
int job_join(struct job *j, const struct message_hello *hello, uint64_t peer, uint64_t number,
             uint64_t now_ms, struct session **out, struct reason *why);

/** May a trainer with this rank and K take part in the job's rounds? To be asked at each HELLO: of
 * an earlier life sessions may be left that may not. @return 0, or -OHEM_INVALID, -OHEM_TOO_LARGE
 */
int job_check_round(const struct job *j, uint32_t rank, uint32_t batch_size, struct reason *why);

/** A session ends: its open batches go back to the pool. Frees it. */
void job_leave(struct job *j, struct session *s);

/** Before batches are handed out: in strict order they are drawn ahead. */
void job_prepare(struct job *j, uint64_t now_ms);

/** May a batch be sent again to this session now, and does it wait for one? */
bool job_may_resend(const struct session *s);

/** May a batch be drawn for this session now? */
bool job_ready(const struct job *j, const struct session *s);

/** Draw the next batch into a free slot and lease it. Needs job_ready(). @return NULL: no memory
 * for what the audit keeps of it; nothing happened */
struct lease *job_draw(struct job *j, struct session *s, uint64_t now_ms);

/* What became of a report. */
struct job_outcome {
    const struct lease *lease; /* settled, with the answer; lent until the next call. NULL: it is
                                  answered with its round, by job_next_round() */
    uint32_t flags;            /* SELECTION_FLAG_* */
};

/**
 * Apply a report once, and choose.
 * A lease that is not known any more (the batch was given back, or handed out by an earlier life of
 * the daemon) is known by the report's ids, if they and the token belong together.
 * @return 0, or -OHEM_TOKEN, -OHEM_FOREIGN, -OHEM_COUNT, -OHEM_CONFLICT, -OHEM_EXPIRED,
 * -OHEM_NOMEM with the reason; then nothing changed but the count of refusals
 */
int job_report(struct job *j, struct session *s, const struct message_loss *loss,
               struct job_outcome *out, struct reason *why);

/**
 * A ragged report is to be worked through: memory, the policy, and whose items are not selected.
 * @return 0, or -OHEM_INVALID (the rule is none for it), -OHEM_NOMEM with the reason
 */
int job_begin_ragged(struct job *j, struct session *s, const struct message_loss *loss,
                     struct ragged *r, struct reason *why);

/**
 * Take a ragged report that was worked through: the instances' losses are reported, as by
 * job_report(), and the lease's answer has the instances of which an item was selected.
 */
int job_report_ragged(struct job *j, struct session *s, const struct message_loss *loss,
                      const struct ragged *r, struct job_outcome *out, struct reason *why);

/**
 * The next round that is to be answered: its shards' answers are filled, and each lease's that is
 * still held. @return NULL: none; else rounds_done() is to follow
 */
struct round *job_next_round(struct job *j, uint64_t now_ms);

/**
 * A batch is about to be sent: is it as fresh as max_age wants it? If not it is undone: its
 * coverage instances go back to the pool, its slot is free, and its step is used up.
 */
bool job_send(struct job *j, struct session *s, struct lease *l);

/**
 * A batch is given back.
 * @return 0, or -OHEM_TOKEN, -OHEM_FOREIGN with the reason
 */
int job_release(struct job *j, struct session *s, struct token token, struct reason *why);

/** Full leases from now for all that the session holds open. */
void job_keepalive(struct job *j, struct session *s, uint64_t now_ms);

/** A message of the session came in. */
void job_heard(struct job *j, struct session *s, uint64_t now_ms);

/** End the leases that are over by now. */
void job_expire(struct job *j, uint64_t now_ms);

/** A session that was silent for so long that no batch of its can be reported any more, or NULL. */
struct session *job_forgotten(const struct job *j, uint64_t now_ms);

/** What a trainer is told of which memory its batches are: the daemon's, but for each life of the
 *  job another. */
uint64_t job_memory(const struct job *j, uint64_t memory);

/** The session says that it holds a batch under this token, of which nothing is known (it was
 * handed out by an earlier life): until it is given back so much less is sent to it. */
void job_claim(struct session *s, struct token token);

/**
 * The data set has grown at its end (job_grow.c): the job goes on with it. The new ids are handed
 * out in the current epoch (in strict order: that of the step at which they join); batches that are
 * out stay what they are.
 * @return 0, or -OHEM_NOMEM, -OHEM_LIMIT (it grew COVERAGE_JOINED_MAX times in this epoch, or a
 *         growth waits for its step) with the reason: the job keeps its N, all of whose ids are in
 *         the new data set as well
 */
int job_grow(struct job *j, const struct job_dataset *dataset, struct reason *why);

/** Its data set, with the ids that wait to join: a job that is begun anew has them at once. */
struct job_dataset job_dataset_to_come(const struct job *j);

/** Release an instance from the quarantine by hand, for good; or let it be a suspect again. */
void job_pardon(struct job *j, uint32_t id, bool pardoned);

/** Other policies from now on, and other wishes for trainers that have none. */
void job_set_policies(struct job *j, const struct job_settings *s);

/* ---- what survives (job_capture.c, job_restore.c); see engine.h ---- */

/** Has anything changed since the last capture? */
bool job_unsaved(const struct job *j);

/** Bytes that job_capture() will need at most. */
size_t job_capture_bytes(const struct job *j);
void job_capture(struct job *j, struct rows *out);

/** What was captured is on disk. */
void job_committed(struct job *j);

/** A row of this job comes back, in the order of the keys; but a session's comes back by job_join()
 *  and session_row_restore().
 *  @return 0, or -OHEM_STATE, -OHEM_NOMEM with the reason */
int job_restore_row(struct job *j, const struct rows_key *key, const void *value, size_t size,
                    struct reason *why);
int job_restore_end(struct job *j, uint64_t now_ms, struct reason *why);

/** The name in a row of ROWS_JOB, or NULL when it cannot be read. */
const char *job_row_name(const void *value, size_t size);

/** When job_expire(), job_forgotten() or job_next_round() has work next; UINT64_MAX: never. */
uint64_t job_next_due(const struct job *j);

#endif
