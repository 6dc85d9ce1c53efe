/* ledger.h - what must be true of one job's batches, by somebody who is told the same things.
 *
 * Every batch ever handed out by its step, every instance of every epoch, and the memory (model.h):
 * scans over arrays, no queues, no pool. It is told what went over the wire and when, says what the
 * engine must answer, and ledger_check() compares the two. A difference fails the test.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include "model.h"
#include "shell.h"
#include "test.h"

#include <stdlib.h>

/* Fail the test, in words, unless it holds. (abort() is never reached; it says so to analysers.) */
#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            fail_msg(__VA_ARGS__); \
            abort(); \
        } \
    } while (0)

enum ledger_state { LEDGER_OPEN, LEDGER_RETURNED, LEDGER_SETTLED, LEDGER_CLOSED, LEDGER_GONE };

struct ledger_lease {
    struct token token;
    uint64_t session; /* its number */
    enum ledger_state state;
    bool resend; /* its session came back without it */
    uint64_t end_ms;
    uint32_t count, coverage_count;
    uint64_t *ids;
    uint32_t *epochs;
    float *losses; /* as reported; NULL before */
    uint64_t seq, lsn;
    bool late;
};

struct ledger_epoch {
    unsigned char *instances; /* [N] where each is; NULL when all are settled */
    uint64_t settled;
    struct coverage_report report; /* as it must come out */
};

struct ledger {
    struct job *job;
    uint64_t lease_ms, late_ms;
    struct model memory;
    struct ledger_lease *leases; /* by step */
    size_t lease_count, lease_capacity;
    size_t first_live; /* all before are GONE */
    struct ledger_epoch *epochs;
    size_t epoch_count, epochs_closed;
    size_t back_count; /* instances that came back and wait to be handed out */
    uint64_t lsn;
};

/* What a LOSS must be answered. */
struct ledger_verdict {
    int code; /* 0: a SELECTION; or the error, positive */
    uint32_t flags;
    uint64_t seq, lsn;
};

void ledger_init(struct ledger *l, struct job *job);
void ledger_deinit(struct ledger *l);

/** A BATCH went out to a session, for the first time or again. */
void ledger_handed_out(struct ledger *l, const struct parcel *p, uint64_t session, uint64_t now_ms);

/** What is over at this time is over. */
void ledger_tick(struct ledger *l, uint64_t now_ms);

/** A session said this. Judging a report also applies it. @return release: 0 or the error */
struct ledger_verdict ledger_report(struct ledger *l, uint64_t session,
                                    const struct message_loss *loss);
int ledger_release(struct ledger *l, uint64_t session, struct token token);
void ledger_ping(struct ledger *l, uint64_t session, uint64_t now_ms);
void ledger_resume(struct ledger *l, uint64_t session, const struct token *held, size_t count);

/** A session ended. */
void ledger_end(struct ledger *l, uint64_t session);

/** Batches that a session holds (those that count against its credit), or only those in a state. */
size_t ledger_held(const struct ledger *l, uint64_t session);
size_t ledger_held_in(const struct ledger *l, uint64_t session, enum ledger_state state);
size_t ledger_resends(const struct ledger *l, uint64_t session);

/** Is every instance of the epochs 0..last settled? */
bool ledger_covered(const struct ledger *l, uint64_t last);

/** Compare counts and closed epochs; with `all`, also every batch and every instance's memory. */
void ledger_check(struct ledger *l, bool all);

#endif
