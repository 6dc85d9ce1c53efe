/* audit.h - what happened in a job, for whoever asks why an instance was drawn.
 *
 * A log of two kinds of entries: a draw (a batch is handed out), and a report (its losses are
 * applied). A capture writes what is new as rows of ROWS_AUDIT, together with what the entries
 * brought about: the log on disk tells of each report that is on disk, once. It is never read back
 * by the engine. A row's number is the byte of the log at which it begins, so the log is bounded by
 * removing rows below a number.
 */
#ifndef OHEM_AUDIT_H
#define OHEM_AUDIT_H

#include "rows.h"
#include "sampler.h"

#define AUDIT_SEGMENT_BYTES (65536u - 64u) /* a row of entries, if not a single one is larger */
#define AUDIT_UNSAVED_MAX   (64u << 20)    /* bytes; then nothing is drawn until a commit is done */
#define AUDIT_CUT_BYTES_MAX (256u << 20)   /* of old rows that a capture removes */

struct audit {
    bool on;
    uint64_t bytes_max;    /* of the log on disk */
    unsigned char *bytes;  /* entries since the last capture */
    size_t size, capacity; /* of these */
    uint64_t begin, end;   /* of the log on disk: bytes begin..end - 1 are in it */
};

/** bytes_max 0: it is off, and all of the below do nothing. */
void audit_init(struct audit *a, uint64_t bytes_max);
void audit_deinit(struct audit *a);

/** Room for one more entry of a batch of so many. @return 0 or -OHEM_NOMEM: what it would tell of
 *  must not happen */
int audit_reserve(struct audit *a, uint32_t count);

/* A batch as it is handed out. */
struct audit_draw {
    uint64_t step, session; /* its number */
    uint64_t epoch, lsn;    /* lsn: of the last report that the draw knew of */
    double bias_share;      /* of hard slots, as planned; 0: no bias was in force */
    uint32_t count, coverage_count;
    const uint32_t *ids;
    const float *probabilities, *weights;
};

/* A report as it is applied. */
struct audit_report {
    uint64_t step, session, lsn;
    bool late;
    bool undecided; /* it is in a round, which is open: nothing is selected yet */
    uint32_t count;
    const uint32_t *ids;
    const float *losses;
    const uint32_t *selected; /* [selected_count] places in the batch */
    uint32_t selected_count;
};

/** Note them; audit_reserve() said yes. */
void audit_draw(struct audit *a, const struct audit_draw *draw,
                const struct sampler_policy *policy);
void audit_report(struct audit *a, const struct audit_report *report);

/** Bytes that audit_capture() will need at most. */
size_t audit_capture_bytes(const struct audit *a);

/** Collect the entries since the last time, and remove what is above bytes_max. */
void audit_capture(struct audit *a, uint32_t job, struct rows *out);

/* ---- reading: from any thread, of rows as they lie on disk ---- */

enum audit_kind { AUDIT_DRAW = 1, AUDIT_REPORT };

/* What an entry says of one place in its batch. */
struct audit_event {
    enum audit_kind kind;
    uint64_t step, session, lsn;
    uint32_t count, place; /* 0..count - 1, which of the batch */
    /* of a draw */
    uint64_t epoch;
    bool coverage; /* the slot; else hard */
    uint32_t coverage_count;
    enum sampler_weight weight;
    double alpha, bias_share;
    float p, w;
    /* of a report */
    bool late, undecided, selected;
    uint32_t selected_count;
    float loss;
    uint32_t rank; /* of the loss in the batch, 1 the largest; 0: it is not finite */
};

typedef void (*audit_event_cb)(void *ctx, const struct audit_event *event);

/** All events of an instance in a row, in their order. @return 0, or -OHEM_STATE: the row cannot be
 *  read, or not from a certain entry on; what stands before was told */
int audit_search(const void *value, size_t size, uint32_t id, audit_event_cb event_cb, void *ctx);

#endif
