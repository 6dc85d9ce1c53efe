/* ohem.h - the client of ohemd, the whole contract of libohem.
 *
 * A trainer connects to a job, takes batches, reports the loss of every instance, back-propagates
 * the ones that the daemon selects, and releases the batch:
 *
 *     struct ohem_options options = OHEM_OPTIONS_INIT;
 *     struct ohem_client *client;
 *     struct ohem_batch *batch;
 *     const struct ohem_selection *selection;
 *
 *     options.job = "default";
 *     ohem_connect(&options, &client);
 *     while (ohem_next(client, 10000, &batch) == 0) {
 *         forward(batch, losses);
 *         ohem_report(batch, losses, ohem_batch_count(batch), 10000, &selection);
 *         backward(batch, selection);
 *         ohem_release(batch);
 *     }
 *     ohem_close(client);
 *
 * Threads: a client and all that came from it belong to one thread at a time. The library starts no
 * thread of its own (ZeroMQ has its I/O thread) and prints nothing.
 * Fork: a client cannot be used in a process forked after ohem_connect(): calls give -OHEM_FORKED.
 * Errors: functions return 0 or the negative of a code in error.h; outputs are set on success only.
 * Deadlines: timeout_ms is how long a call may take; 0 only looks, -1 waits without end.
 * Restarts: the library reconnects by itself, inside the calls. A daemon that keeps its memory on
 * disk (ohem_durable()) may be killed and started again: calls take longer, nothing else changes.
 * Batches stay good, and reports that were not on its disk yet are sent again, each applied once.
 * One that keeps nothing has forgotten the batches after a restart (-OHEM_TOKEN): release them.
 * A call gives up (-OHEM_UNREACHABLE) when nothing is heard of the daemon for reconnect_timeout_ms
 * while it waits, even with timeout_ms -1; to call again is right if it may still come back.
 */
#ifndef OHEM_H
#define OHEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef OHEM_IN_TREE
#include "../proto/error.h"
#else
#include <ohem/error.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define OHEM_API __attribute__((visibility("default")))

struct ohem_client;    /* a connection to a job: one session */
struct ohem_batch;     /* K instances on lease */
struct ohem_selection; /* which M of the K to back-propagate */

/* How the records of a batch lie beside each other. */
enum ohem_layout {
    OHEM_SCATTERED, /* anywhere: take each with ohem_batch_data(). The fastest on the same host */
    OHEM_PACKED,    /* one behind the other: with records of one size, a block of K x L bytes */
    OHEM_ALIGNED64  /* each at an address that is a multiple of 64 */
};

/* How the records reach the trainer. The library takes the best that the layout and the daemon
 * allow; whichever it is, all calls work alike. */
enum ohem_transport {
    OHEM_AUTO,   /* as an option only: choose */
    OHEM_INLINE, /* in messages, over ipc:// and tcp:// alike */
    OHEM_SHM,    /* same host: the daemon copies them into memory that it shares with this client */
    OHEM_MAP     /* same host, OHEM_SCATTERED only: the data set's own file, mapped; no copy */
};

/* What to connect to. Start from OHEM_OPTIONS_INIT; what stays 0 or NULL has the default. */
struct ohem_options {
    size_t struct_bytes;  /* sizeof (struct ohem_options), so that later versions may append */
    const char *endpoint; /* "ipc:///path" or "tcp://host:port"; NULL: $OHEM_ENDPOINT, else the
                             first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ohemd, /run/ohemd that
                             is set (the last always is), with ohemd.sock in it */
    const char *job;      /* NULL: "default" */
    uint32_t batch_size;  /* K, 1..65536 and at most N; 0: the job's own */
    uint32_t credit;      /* batches held at once, 1..64, those read ahead included; 0: the job's */
    uint32_t rank; /* of this trainer among those of the job: for rounds (ohem_round()) and logs */
    int connect_timeout_ms; /* 0: 10,000; -1: without end */
    const char *agent;      /* a name for the daemon's log; NULL: the program's */
    enum ohem_layout layout;
    enum ohem_transport transport; /* OHEM_AUTO, or the one that it must be: else
                                      ohem_connect() fails with -OHEM_TRANSPORT */
    const char *fields;       /* what a record consists of, as "label = u8@0, image = u8[28,28]@1":
                                 NAME = TYPE[SHAPE]@BYTE; NULL: as the daemon's operator says */
    size_t unacked_bytes_max; /* of the reports that are kept since the daemon may yet lose them: 13
                                 bytes per instance and a little; at most 65536 of them. When it is
                                 full, reports wait. One may always be kept. In strict order it
                                 has to hold `staleness` of them, since a report is durable only
                                 behind those of all steps before: else trainers can wait for each
                                 other until they time out. 0: 64 MiB */
    int reconnect_timeout_ms; /* how long a call waits for a daemon that does not answer;
                                 0: 60,000; -1: without end */
};

#define OHEM_OPTIONS_INIT \
    { \
        .struct_bytes = sizeof(struct ohem_options) \
    }

#define OHEM_FIELD_NAME_BYTES_MAX 32
#define OHEM_FIELD_DIMS_MAX       8

/* A field of every record. */
struct ohem_field {
    char name[OHEM_FIELD_NAME_BYTES_MAX + 1];
    char type[4];        /* u8 i8 u16 i16 u32 i32 u64 i64 f16 f32 f64, little-endian */
    uint32_t item_bytes; /* of one element */
    uint32_t dims;       /* 0: a single element */
    uint64_t shape[OHEM_FIELD_DIMS_MAX];
    uint64_t offset; /* where in the record it begins; no alignment is promised */
    uint64_t bytes;  /* item_bytes times the shape */
};

/* Over the finite losses of a batch, or over the kept; all 0 when there are none. */
struct ohem_stats {
    uint32_t count;
    float mean, min, max;
};

/** The library's version, as "0.1.0". */
OHEM_API const char *ohem_version(void);

/** What an error (of either sign) says to a person. Never NULL; lives for ever. */
OHEM_API const char *ohem_strerror(int error);

/** The error's name without OHEM_, as "TIMEDOUT". Never NULL; lives for ever. */
OHEM_API const char *ohem_error_name(int error);

/**
 * Open a session with a job.
 *
 * @param options     copied; NULL: all defaults
 * @param out_client  set on success; end it with ohem_close()
 *
 * @return 0, or one of
 *   -OHEM_INVALID      an option is out of its range, or `fields` cannot be read
 *   -OHEM_TRANSPORT    the transport that was asked for cannot be had
 *   -OHEM_UNREACHABLE  no daemon answered within connect_timeout_ms
 *   -OHEM_NO_JOB       it has no such job
 *   -OHEM_VERSION      it speaks another major version of the protocol
 *   -OHEM_LIMIT        it has as many sessions, or instances on lease, as it may
 *   -OHEM_TOO_LARGE    a batch could be larger than it allows (payload_bytes_max)
 *   -OHEM_DRAINING     it is going down
 *   -OHEM_NOMEM, -OHEM_SYSTEM
 * ohem_connect_error() then has the details, with names, values and limits.
 */
OHEM_API int ohem_connect(const struct ohem_options *options, struct ohem_client **out_client);

/** Why the last ohem_connect() of this thread failed, in one line; "" if none did. */
OHEM_API const char *ohem_connect_error(void);

/** Why the last call on this client that failed did so, in one line; "" if none did. Lent until the
 *  next call. */
OHEM_API const char *ohem_client_error(const struct ohem_client *client);

/** N, the number of instances in the job's data set: ids are 0..N-1. When the operator lets a job
 *  go on with a data set that has grown at its end, N grows before ohem_next() hands out an id that
 *  was not below it: who keeps an array by id looks again then. */
OHEM_API uint64_t ohem_instance_count(const struct ohem_client *client);

/** Bytes of every record of the data set, or 0 when their sizes differ. */
OHEM_API uint64_t ohem_record_bytes(const struct ohem_client *client);

/** K, the instances in each batch. */
OHEM_API uint32_t ohem_batch_size(const struct ohem_client *client);

/** The batches this session may hold at once. */
OHEM_API uint32_t ohem_credit(const struct ohem_client *client);

/** How this session's batches come: OHEM_INLINE, OHEM_SHM or OHEM_MAP. A batch that does not fit
 *  its shared slot comes inline all the same; so do all when sharing breaks off. */
OHEM_API enum ohem_transport ohem_transport(const struct ohem_client *client);

/** "auto", "inline", "shm", "map". Never NULL; lives for ever. */
OHEM_API const char *ohem_transport_name(enum ohem_transport transport);

/** Why the session's transport is not a better one, in one line; "" if it is the layout's best. */
OHEM_API const char *ohem_transport_reason(const struct ohem_client *client);

/** The fields of a record: how many, the i-th (NULL beyond the last), the one of that name (NULL:
 *  none). Lent as long as the client is open. */
OHEM_API size_t ohem_field_count(const struct ohem_client *client);
OHEM_API const struct ohem_field *ohem_field_at(const struct ohem_client *client, size_t i);
OHEM_API const struct ohem_field *ohem_field_find(const struct ohem_client *client,
                                                  const char *name);

/** The session's number in the daemon's log and status. */
OHEM_API uint64_t ohem_session(const struct ohem_client *client);

/**
 * Wait for the next batch.
 *
 * @param client      an open client
 * @param timeout_ms  how long to wait; 0 only looks, -1 waits without end
 * @param out_batch   set on success only. It and its records stay where they are until
 *                    ohem_release(), even if the client is closed first.
 *
 * @return 0, or one of
 *   -OHEM_TIMEDOUT     nothing came in time; ask again
 *   -OHEM_UNREACHABLE  nothing came in time and the daemon has been silent: it may be gone; or it
 *                      was silent for reconnect_timeout_ms. Asking again is right if it may come
 *                      back (the library reconnects by itself).
 *   -OHEM_LIMIT        all `credit` batches are held: nothing can come before ohem_release()
 *   -OHEM_DRAINING     the daemon is going down; report what you hold and close. One that keeps its
 *                      memory on disk is expected back: this is said when timeout_ms is over
 *   -OHEM_MALFORMED    the daemon sent what we cannot read; close
 *   -OHEM_DATASET      the daemon was restarted on another data set (keys, count or record size
 *                      differ): ids no longer mean the same; close
 *   -OHEM_TRANSPORT    a restarted daemon does not offer the transport that was asked for; close
 *   -OHEM_NO_JOB, -OHEM_INVALID, -OHEM_TOO_LARGE  a restarted daemon refused the session; close
 *   -OHEM_FORKED, -OHEM_NOMEM, -OHEM_SYSTEM
 *
 * The batch is leased: without a report within ohem_batch_lease_ms() its coverage instances go
 * back to the pool (a late report still counts, once). One thread at a time per client.
 */
OHEM_API int ohem_next(struct ohem_client *client, int timeout_ms, struct ohem_batch **out_batch);

/** K. All per-instance arrays below have this many elements, in the batch's order. */
OHEM_API uint32_t ohem_batch_count(const struct ohem_batch *batch);

/** uint64[K]: which instance stands at each position; the ordinal of its key in the data set. */
OHEM_API const uint64_t *ohem_batch_ids(const struct ohem_batch *batch);

/** float[K]: p, the probability that one slot of this batch holds that instance (DESIGN: p). */
OHEM_API const float *ohem_batch_probabilities(const struct ohem_batch *batch);

/** float[K]: w = (N p)^-beta, normalised over the batch as the job says; all 1 when beta is 0. With
 *  sampling = infobatch: 1/(1-r) for those that could have been skipped, else 1. */
OHEM_API const float *ohem_batch_weights(const struct ohem_batch *batch);

/** 1 if position i is a draw by hardness, 0 if it is coverage (the epoch's permutation). */
OHEM_API int ohem_batch_is_hard(const struct ohem_batch *batch, uint32_t i);

/** The number of this batch in its job, from 0. */
OHEM_API uint64_t ohem_batch_step(const struct ohem_batch *batch);

/** The epoch of its first coverage instance, from 0. */
OHEM_API uint64_t ohem_batch_epoch(const struct ohem_batch *batch);

/**
 * How stale the batch was when ohem_next() handed it out: the job's reports that were applied after
 * the batch was drawn, as far as this client knows (from its selections). Read-ahead makes it grow,
 * `credit` bounds it; the job's max_age bounds what the daemon sends.
 */
OHEM_API uint64_t ohem_batch_age(const struct ohem_batch *batch);

/** How this batch came. */
OHEM_API enum ohem_transport ohem_batch_transport(const struct ohem_batch *batch);

/** How long the lease was when the batch was handed out, in milliseconds. */
OHEM_API uint64_t ohem_batch_lease_ms(const struct ohem_batch *batch);

/**
 * The record at position i.
 * @param out_size  set to its bytes; may be NULL
 * @return lent until ohem_release(); no alignment is promised. NULL if i is not below K.
 */
OHEM_API const void *ohem_batch_data(const struct ohem_batch *batch, uint32_t i, size_t *out_size);

/**
 * The whole batch as one block, when all records of the data set have one size and the layout is
 * OHEM_PACKED or OHEM_ALIGNED64.
 * @param out_stride  set to the bytes from one record to the next (0 when there is no block): the
 *                    record's size, with OHEM_ALIGNED64 rounded up to 64; may be NULL
 * @return lent until ohem_release(), or NULL: take the records one by one
 */
OHEM_API const void *ohem_batch_block(const struct ohem_batch *batch, size_t *out_stride);

/**
 * A field of the record at position i.
 * @param field  of ohem_field_find()
 * @return lent until ohem_release(); NULL if i is not below K or the record ends before the field
 */
OHEM_API const void *ohem_batch_field(const struct ohem_batch *batch,
                                      const struct ohem_field *field, uint32_t i);

/**
 * A field of all records, as a strided view of the block.
 * @param out_stride  set to the bytes from one record's field to the next's (0: no view); may be
 *                    NULL
 * @return the first record's, lent until ohem_release(), or NULL when ohem_batch_block() is
 */
OHEM_API const void *ohem_batch_field_view(const struct ohem_batch *batch,
                                           const struct ohem_field *field, size_t *out_stride);

/**
 * Is what was read of the batch's records so far sure to be the data set's? Only OHEM_MAP can say
 * no: when the daemon has died, nobody keeps a writer from using the file's pages again. The
 * library looks by itself in ohem_next() and before a report is sent.
 * @return 0 or -OHEM_STALE: release the batch, its losses mean nothing
 */
OHEM_API int ohem_batch_check(const struct ohem_batch *batch);

/**
 * Report the loss of every instance and get the selection.
 *
 * @param losses         float[count], position i belongs to instance ids[i]. NaN and infinities are
 *                       counted and neither applied nor selected. Copied.
 * @param count          K; another number is refused here already
 * @param timeout_ms     how long to wait for the answer
 * @param out_selection  lent until ohem_release()
 *
 * @return 0, or one of
 *   -OHEM_TIMEDOUT, -OHEM_UNREACHABLE  no answer in time, or no room to keep the report
 *                   (unacked_bytes_max). The report may have arrived: call again with the same
 *                   losses; it is applied once and gets the same answer.
 *   -OHEM_COUNT     count is not K
 *   -OHEM_CONFLICT  this batch was reported before with other losses; the first stay
 *   -OHEM_EXPIRED   the report came too long after the lease's end
 *   -OHEM_TOKEN     the daemon does not know the batch (it was restarted without its memory); or
 *                   it does, had applied this report before and has no selection to give: the
 *                   report counts, ohem_client_error() says which
 *   -OHEM_STALE     the records may have been overwritten while they were read
 *                   (ohem_batch_check()); nothing was sent
 *   -OHEM_FORKED, -OHEM_NOMEM, -OHEM_SYSTEM, -OHEM_MALFORMED
 *   -OHEM_INVALID   the client of this batch is closed
 */
OHEM_API int ohem_report(struct ohem_batch *batch, const float *losses, size_t count,
                         int timeout_ms, const struct ohem_selection **out_selection);

/**
 * The first half of ohem_report(): send the losses and do not wait, so that the next batch's
 * forward pass can begin while the selection is under way. Get it with ohem_selection(); or release
 * the batch without, when the selection is not wanted: the report counts all the same. A trainer
 * that submits several batches within a millisecond has a few of them sent together: with the next
 * report, with the last batch that is at hand, or before a call waits. It waits only when the
 * reports that are kept have reached unacked_bytes_max: until there is room, for
 * reconnect_timeout_ms at most.
 * @return 0, or one of -OHEM_COUNT, -OHEM_CONFLICT, -OHEM_TOKEN, -OHEM_STALE, -OHEM_FORKED,
 *         -OHEM_INVALID, -OHEM_NOMEM, as ohem_report(); -OHEM_TIMEDOUT or -OHEM_UNREACHABLE when no
 *         room was made: nothing was submitted, call again
 */
OHEM_API int ohem_submit(struct ohem_batch *batch, const float *losses, size_t count);

/**
 * The second half: wait for the answer to ohem_submit().
 * @param out_selection  lent until ohem_release()
 * @return as ohem_report(); -OHEM_INVALID also when nothing was submitted
 */
OHEM_API int ohem_selection(struct ohem_batch *batch, int timeout_ms,
                            const struct ohem_selection **out_selection);

/* What may be said of an instance beside its loss, a sum. */
#define OHEM_POSITIVE 1 /* for OHEM_SELECT_NEGPOS */
#define OHEM_IGNORED  2 /* its loss reaches its score, but it is not selected */

/* The rule by which a report is answered, with what `count` and `value` are to it. */
enum ohem_select {
    OHEM_SELECT_JOB, /* the job's own policy. Neither is anything, as with the next */
    OHEM_SELECT_ALL, /* all that may be selected */
    OHEM_SELECT_TOP, /* count: M; if that is 0, value: the share of the batch, above 0, at most 1.
                        OHEM: Shrivastava et al., CVPR 2016, with a share of 0.5 to 0.75 */
    OHEM_SELECT_THRESHOLD, /* losses above value; count: at most so many, the hardest; 0: any */
    OHEM_SELECT_NEGPOS, /* all positives and value times as many of the hardest negatives; count: so
                           many negatives when there is no positive. SSD: Liu et al., ECCV 2016,
                           with 3 and 0 */
    OHEM_SELECT_CDF     /* each by chance: with probability max(cdf_floor, percentile^value), its
                           percentile being that among the job's last 1,024 losses; s is 1/probability.
                           Selective-Backprop: Jiang et al., arXiv:1910.00762, with 1 to 3, and s 1 */
};

/* What a report says beside the losses. Start from OHEM_REPORT_OPTIONS_INIT. */
struct ohem_report_options {
    size_t struct_bytes;  /* sizeof (struct ohem_report_options); later versions may append */
    const uint8_t *flags; /* uint8[K], OHEM_POSITIVE, OHEM_IGNORED; copied. NULL: all 0 */
    enum ohem_select select;
    uint32_t count;
    double value;
    uint64_t round; /* which round it is for (ohem_round()), or OHEM_ROUND_NEXT */
};

/* One more than the round of this client's report before; of its first report: 0. */
#define OHEM_ROUND_NEXT UINT64_MAX

#define OHEM_REPORT_OPTIONS_INIT \
    { \
        .struct_bytes = sizeof(struct ohem_report_options), .round = OHEM_ROUND_NEXT \
    }

/**
 * ohem_report() and ohem_submit() of a report that says more than its losses. `min_keep` of the job
 * holds for the rules that it holds for there; a job whose selection is off or in shadow
 * (select_mode) selects all that may be, whatever is chosen here.
 *
 * @param options  NULL: as without
 *
 * @return as those; and
 *   -OHEM_INVALID   count or value is not in the rule's range, or the job does not let its trainers
 *                   choose (select_by_report = no), or not this rule (cdf in strict order): nothing
 *                   was applied, report again with other options
 *   -OHEM_CONFLICT  also when the batch was reported before with other options
 */
OHEM_API int ohem_report_with(struct ohem_batch *batch, const float *losses, size_t count,
                              const struct ohem_report_options *options, int timeout_ms,
                              const struct ohem_selection **out_selection);
OHEM_API int ohem_submit_with(struct ohem_batch *batch, const float *losses, size_t count,
                              const struct ohem_report_options *options);

/* How the losses of an instance's items become its own. */
enum ohem_score {
    OHEM_SCORE_MAX,  /* the largest */
    OHEM_SCORE_MEAN, /* their mean */
    OHEM_SCORE_TOP   /* the mean of the `top` largest, or of all when there are fewer */
};

/* A ragged report: any number of losses for each instance, its items (regions, anchors, pixels),
 * those of the first instance first. Start from OHEM_ITEMS_INIT. */
struct ohem_items {
    size_t struct_bytes;    /* sizeof (struct ohem_items); later versions may append */
    const float *losses;    /* float[count] */
    size_t count;           /* n, at most 1,048,576; may be 0 */
    const uint32_t *counts; /* uint32[K] items of each instance; they add up to n */
    const uint8_t *flags;   /* uint8[n] OHEM_POSITIVE, OHEM_IGNORED; NULL: all 0. An ignored item
                               is not selected and does not count for its instance's loss */
    double iou;             /* 0 to 1: items that overlap a harder one of their instance by more are
                               not selected; 0: no such thing (OHEM takes 0.7) */
    const float *boxes;     /* float[n][4] x1, y1, x2, y2, with an iou; else NULL. Then n is at most
                               65,536, and 8,192 of one instance */
    const uint32_t *classes; /* uint32[n] only items of one class leave out each other; NULL: all */
    enum ohem_score score;
    uint32_t top;            /* with OHEM_SCORE_TOP at least 1, else 0 */
    enum ohem_select select; /* as in struct ohem_report_options, but not OHEM_SELECT_CDF; counts
                                and shares are those of the report's n items */
    uint32_t select_count;
    double value;
};

#define OHEM_ITEMS_INIT \
    { \
        .struct_bytes = sizeof(struct ohem_items) \
    }

/**
 * ohem_report() and ohem_submit() of a ragged report. The selection is of items: its indices are
 * 0..n-1, positions in `losses`, its counts and statistics are over the items; the w of an item is
 * its instance's. The job hears of one
 * loss for each instance, which ohem_selection_scores() has; an instance without an item that is
 * finite and not ignored has none, and nothing happens to its score. A batch is reported once: a
 * second call waits for the first one's answer, and of the items it looks at no more than how many
 * they are.
 *
 * A report of 2^20 items is 4 MB; it is copied, and kept until it is answered.
 *
 * @return as ohem_report_with(); and
 *   -OHEM_INVALID    the arrays do not fit together, or the job selects by cdf and no other rule
 *                    was chosen
 *   -OHEM_TOO_LARGE  more items, or boxes, than a report may have
 */
OHEM_API int ohem_report_items(struct ohem_batch *batch, const struct ohem_items *items,
                               int timeout_ms, const struct ohem_selection **out_selection);
OHEM_API int ohem_submit_items(struct ohem_batch *batch, const struct ohem_items *items);

/**
 * R: the trainers with the ranks 0..R-1 (ohem_options.rank) of this job are answered together, the
 * hardest of all their batches are selected; 0: each by itself.
 *
 * Which of their batches belong together they say themselves, by the number of the round: that of
 * the training step, the same in all ranks, rising with each report. Ranks that begin together may
 * leave it to the library, which counts. A round is answered when all ranks have reported, or
 * round_ms (of the job) after its first report; ranks that are missing then are not waited for
 * until they are heard again.
 *
 * A rank may be selected nothing (ohem_selection_count() is 0): then it back-propagates 0 and takes
 * part in the averaging all the same. So does one that came too late (ohem_selection_is_late(),
 * and ohem_selection_round_present() is 0): its losses have reached the scores.
 */
OHEM_API uint32_t ohem_round(const struct ohem_client *client);

/** M over all ranks of the round; without rounds, of this batch. */
OHEM_API uint32_t ohem_selection_round_count(const struct ohem_selection *selection);

/** How many ranks are in the round; 1 without rounds; 0: it was over when this rank reported. */
OHEM_API uint32_t ohem_selection_round_present(const struct ohem_selection *selection);

/**
 * What this rank multiplies its loss L (see ohem_selection_weights()) by, so that the mean over all
 * R ranks of scale_r L_r, as data-parallel trainers average gradients, is the mean over the M:
 *   scale_r = R M_r / M,  (1/R) sum_r scale_r L_r = (1/M) sum over all M of w s loss.
 * 0 when nothing of this rank was selected; 1 without rounds.
 */
OHEM_API float ohem_selection_scale(const struct ohem_selection *selection);

/** float[K]: the loss of each instance that a ragged report came to, NaN where it has none; NULL:
 *  the report was not ragged. Lent until ohem_release(). */
OHEM_API const float *ohem_selection_scores(const struct ohem_selection *selection);

/** M, how many to back-propagate; 0 only when no loss was finite and not ignored. */
OHEM_API uint32_t ohem_selection_count(const struct ohem_selection *selection);

/** uint32[M]: positions in the batch (of a ragged report: among its items), ascending. */
OHEM_API const uint32_t *ohem_selection_indices(const struct ohem_selection *selection);

/**
 * float[M]: s, the weight of each kept loss. The loss to back-propagate is
 * L = sum over kept i of w[i] * s[i] * loss[i] / M, with w of ohem_batch_weights().
 */
OHEM_API const float *ohem_selection_weights(const struct ohem_selection *selection);

/** Statistics over the losses of the batch that could be selected: finite, and not ignored. */
OHEM_API const struct ohem_stats *ohem_selection_stats_all(const struct ohem_selection *selection);

/** Statistics over the M kept; min is the threshold that resulted. */
OHEM_API const struct ohem_stats *ohem_selection_stats_kept(const struct ohem_selection *selection);

/** How many losses were NaN or infinite. */
OHEM_API uint32_t ohem_selection_nonfinite_count(const struct ohem_selection *selection);

/** How many finite losses could not be selected: they came with OHEM_IGNORED, or their instance is
 * in the job's quarantine (its loss stayed high: a wrong label, more likely than not). */
OHEM_API uint32_t ohem_selection_ignored_count(const struct ohem_selection *selection);

/** The report's place in the order in which the job applied reports, from 1. */
OHEM_API uint64_t ohem_selection_lsn(const struct ohem_selection *selection);

/** 1 if the lease had ended before the report came; its losses counted all the same. */
OHEM_API int ohem_selection_is_late(const struct ohem_selection *selection);

/** 1 if the daemon had applied this report before, and so changed nothing now. */
OHEM_API int ohem_selection_is_repeated(const struct ohem_selection *selection);

/** 1 if this report changed nothing, since in strict order another trainer's report of this step
 *  came first: the daemon had handed the step on when this trainer was away. The selection follows
 *  from the losses as ever and may be trained on; the step was then trained on twice. */
OHEM_API int ohem_selection_is_superseded(const struct ohem_selection *selection);

/**
 * Give the batch back and let its slot be filled again. Without a report its coverage instances
 * count as seen. The batch, its records and its selection are gone. NULL is allowed.
 */
OHEM_API void ohem_release(struct ohem_batch *batch);

/**
 * Extend the leases of all batches that this session holds to a full lease from now, as before a
 * long validation pass, and see that the daemon lives.
 * @return 0, or as ohem_next()
 */
OHEM_API int ohem_keepalive(struct ohem_client *client, int timeout_ms);

/** 1 if the daemon keeps its memory on disk: a report survives its restart a moment after it was
 *  answered (ohem_flush() waits for it), and until then the library keeps it. 0: all that the
 *  daemon knows ends with it. */
OHEM_API int ohem_durable(const struct ohem_client *client);

/**
 * Wait until every report that was made so far would survive a restart of the daemon, as before a
 * checkpoint of the model. With a daemon that keeps nothing (ohem_durable() is 0): until all are
 * answered. Reports that were refused are not waited for; ohem_selection() has their errors.
 *
 * @return 0, or one of
 *   -OHEM_TIMEDOUT, -OHEM_UNREACHABLE  as ohem_next(); the reports are still kept
 *   -OHEM_TOKEN                        the daemon came back without its memory: they are lost
 *   or another error of ohem_next()
 */
OHEM_API int ohem_flush(struct ohem_client *client, int timeout_ms);

/**
 * How many reports are kept since they are not known to be answered and, where ohem_durable(), on
 * disk; as of the last message that was heard.
 * @param out_bytes  set to the memory that they take of unacked_bytes_max; may be NULL
 */
OHEM_API size_t ohem_unacked(const struct ohem_client *client, size_t *out_bytes);

/**
 * End the session: batches not reported go back to the pool. Where ohem_durable(), waits up to a
 * second for reports to become durable (what is kept then is lost: ohem_flush() says whether it
 * is); then up to a second for what was sent to leave. Batches still held stay readable until
 * ohem_release(). NULL is allowed.
 */
OHEM_API void ohem_close(struct ohem_client *client);

#ifdef __cplusplus
}
#endif

#endif
