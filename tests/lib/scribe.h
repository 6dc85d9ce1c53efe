/* scribe.h - writes down each batch that a job hands out, and knows what its audit must tell.
 *
 * Draws follow the daemon's commits and deaths as the oracle's timeline does; the reports are the
 * oracle's own. scribe_check() reads a disk as `ohemctl why` would and compares. A difference fails
 * the test.
 */
#ifndef SCRIBE_H
#define SCRIBE_H

#include "disk.h"
#include "oracle.h"

#define SCRIBE_SESSIONS_MAX 4096u

struct scribe_draw {
    uint64_t step, session;
    uint32_t count, coverage_count;
    uint32_t *ids;
    float *p, *w;
};

struct scribe {
    struct scribe_draw *draws;
    size_t count, capacity;
    size_t captured, disk;                /* of these, the first so many */
    uint64_t resent;                      /* batches that went out again so far */
    uint32_t owners[SCRIBE_SESSIONS_MAX]; /* of sessions, by number: whose it is, + 1 */
    uint64_t events;                      /* found right, for the totals */
};

void scribe_deinit(struct scribe *s);

/** A batch goes out to a session of this owner. */
void scribe_handed_out(struct scribe *s, uint32_t owner, const struct engine_delivery *d);

/** An owner is told the number of its session. */
void scribe_welcomed(struct scribe *s, uint32_t owner, uint64_t session);

/* The daemon's commits and deaths. */
void scribe_capture(struct scribe *s);
void scribe_written(struct scribe *s);
void scribe_died(struct scribe *s);

/** The daemon begins, with a job that has this number and these counts. */
void scribe_restored(struct scribe *s, const struct job *j);

/** Is what the disk tells of an instance what happened to it, each once and in its order? */
void scribe_check(struct scribe *s, const struct disk *d, uint32_t job, const struct oracle *o,
                  uint32_t id);

#endif
