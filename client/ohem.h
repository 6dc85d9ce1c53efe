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
 *         ohem_report(batch, losses, 10000, &selection);
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

/* What to connect to. Start from OHEM_OPTIONS_INIT; what stays 0 or NULL has the default. */
struct ohem_options {
    size_t struct_bytes;  /* sizeof (struct ohem_options), so that later versions may append */
    const char *endpoint; /* "ipc:///path" or "tcp://host:port"; NULL: $OHEM_ENDPOINT, else the
                             first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ohemd, /run/ohemd that
                             is set (the last always is), with ohemd.sock in it */
    const char *job;      /* NULL: "default" */
    uint32_t batch_size;  /* K, 1..65536 and at most N; 0: the job's own */
    uint32_t credit;      /* batches held at once, 1..64, those read ahead included; 0: the job's */
    uint32_t rank;        /* of this trainer among those of the job, for logs */
    int connect_timeout_ms; /* 0: 10,000; -1: without end */
    const char *agent;      /* a name for the daemon's log; NULL: the program's */
};

#define OHEM_OPTIONS_INIT \
    { \
        .struct_bytes = sizeof(struct ohem_options) \
    }

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
 *   -OHEM_INVALID      an option is out of its range
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

/** N, the number of instances in the job's data set: ids are 0..N-1. */
OHEM_API uint64_t ohem_instance_count(const struct ohem_client *client);

/** Bytes of every record of the data set, or 0 when their sizes differ. */
OHEM_API uint64_t ohem_record_bytes(const struct ohem_client *client);

/** K, the instances in each batch. */
OHEM_API uint32_t ohem_batch_size(const struct ohem_client *client);

/** The batches this session may hold at once. */
OHEM_API uint32_t ohem_credit(const struct ohem_client *client);

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
 *   -OHEM_UNREACHABLE  nothing came in time and the daemon has been silent: it may be gone. Asking
 *                      again is right if it may come back (the library reconnects by itself).
 *   -OHEM_LIMIT        all `credit` batches are held: nothing can come before ohem_release()
 *   -OHEM_DRAINING     the daemon is going down; report what you hold and close
 *   -OHEM_MALFORMED    the daemon sent what we cannot read; close
 *   -OHEM_DATASET      the daemon was restarted on another data set (keys, count or record size
 *                      differ): ids no longer mean the same; close
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

/** float[K]: w = (N p)^-beta, normalised over the batch as the job says; all 1 when beta is 0. */
OHEM_API const float *ohem_batch_weights(const struct ohem_batch *batch);

/** 1 if position i is a draw by hardness, 0 if it is coverage (the epoch's permutation). */
OHEM_API int ohem_batch_is_hard(const struct ohem_batch *batch, uint32_t i);

/** The number of this batch in its job, from 0. */
OHEM_API uint64_t ohem_batch_step(const struct ohem_batch *batch);

/** The epoch of its first coverage instance, from 0. */
OHEM_API uint64_t ohem_batch_epoch(const struct ohem_batch *batch);

/** How long the lease was when the batch was handed out, in milliseconds. */
OHEM_API uint64_t ohem_batch_lease_ms(const struct ohem_batch *batch);

/**
 * The record at position i.
 * @param out_size  set to its bytes; may be NULL
 * @return lent until ohem_release(); no alignment is promised. NULL if i is not below K.
 */
OHEM_API const void *ohem_batch_data(const struct ohem_batch *batch, uint32_t i, size_t *out_size);

/**
 * The whole batch as one block of K x record bytes, when all records of the data set have one size.
 * @param out_record_bytes  set to the size of a record (0 when there is no block); may be NULL
 * @return lent until ohem_release(), or NULL when sizes differ
 */
OHEM_API const void *ohem_batch_block(const struct ohem_batch *batch, size_t *out_record_bytes);

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
 *   -OHEM_TIMEDOUT, -OHEM_UNREACHABLE  no answer in time. The report may have arrived: call again
 *                   with the same losses; it is applied once and gets the same answer.
 *   -OHEM_COUNT     count is not K
 *   -OHEM_CONFLICT  this batch was reported before with other losses; the first stay
 *   -OHEM_EXPIRED   the report came too long after the lease's end
 *   -OHEM_TOKEN     the daemon does not know the batch (it was restarted)
 *   -OHEM_FORKED, -OHEM_NOMEM, -OHEM_SYSTEM, -OHEM_MALFORMED
 *   -OHEM_INVALID   the client of this batch is closed
 */
OHEM_API int ohem_report(struct ohem_batch *batch, const float *losses, size_t count,
                         int timeout_ms, const struct ohem_selection **out_selection);

/** M, how many to back-propagate; 0 only when no loss was finite. */
OHEM_API uint32_t ohem_selection_count(const struct ohem_selection *selection);

/** uint32[M]: positions in the batch, ascending. */
OHEM_API const uint32_t *ohem_selection_indices(const struct ohem_selection *selection);

/**
 * float[M]: s, the weight of each kept loss. The loss to back-propagate is
 * L = sum over kept i of w[i] * s[i] * loss[i] / M, with w of ohem_batch_weights().
 */
OHEM_API const float *ohem_selection_weights(const struct ohem_selection *selection);

/** Statistics over all finite losses of the batch. */
OHEM_API const struct ohem_stats *ohem_selection_stats_all(const struct ohem_selection *selection);

/** Statistics over the M kept; min is the threshold that resulted. */
OHEM_API const struct ohem_stats *ohem_selection_stats_kept(const struct ohem_selection *selection);

/** How many losses were NaN or infinite. */
OHEM_API uint32_t ohem_selection_nonfinite_count(const struct ohem_selection *selection);

/** The report's place in the order in which the job applied reports, from 1. */
OHEM_API uint64_t ohem_selection_lsn(const struct ohem_selection *selection);

/** 1 if the lease had ended before the report came; its losses counted all the same. */
OHEM_API int ohem_selection_is_late(const struct ohem_selection *selection);

/** 1 if the daemon had applied this report before, and so changed nothing now. */
OHEM_API int ohem_selection_is_repeated(const struct ohem_selection *selection);

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

/**
 * End the session: batches not reported go back to the pool. Waits up to a second for what was sent
 * to leave. Batches still held stay readable until ohem_release(). NULL is allowed.
 */
OHEM_API void ohem_close(struct ohem_client *client);

#ifdef __cplusplus
}
#endif

#endif
