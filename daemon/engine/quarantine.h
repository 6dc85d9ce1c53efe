/* quarantine.h - instances whose loss stays high: more likely a wrong label than a hard example.
 *
 * A suspect has been seen often enough and its score is above the cut. It is set aside from the
 * draws by hardness and is not to be selected; coverage still brings it, and when its score has
 * fallen it is no suspect any more. The cut is a quantile of all scores, or is found in their
 * histogram. Two bits per id: suspect, and pardoned (released by hand: never a suspect again).
 *
 * A function of the reports in their order: no clock, no chance.
 */
#ifndef OHEM_QUARANTINE_H
#define OHEM_QUARANTINE_H

#include "hardness.h"
#include "rows.h"

#define QUARANTINE_EVIDENCE_MIN \
    1000 /* scores, below which no cut is looked for in the histogram \
          */

struct quarantine_policy {
    bool on;
    double share;    /* the cut is the quantile 1 - share; 0: it is found in the histogram */
    uint32_t visits; /* reports before an instance can be a suspect, at least 1 */
    double cv;       /* sqrt(variance) / score is at most so much; 0: any */
    double cap;      /* at most so large a share of the scored are suspects */
};

#define QUARANTINE_POLICY_DEFAULT \
    { \
        .visits = 4, .cap = 0.4 \
    }

struct quarantine {
    struct quarantine_policy policy;
    uint32_t n;
    uint32_t *marks; /* two bits per id */
    uint64_t *dirty; /* bits: rows that changed */
    uint32_t suspects, pardons;
    double cut;       /* a suspect's score is above; 0: there is none */
    double explained; /* the share of the scores' variance that the best cut explains */
    uint64_t unseen;  /* losses since the cut was looked for */
    bool stray;       /* it is off, and an earlier life left rows */
};

/** @return 0 or -OHEM_NOMEM. Off, it takes no memory, and no id is a suspect. */
int quarantine_init(struct quarantine *q, uint32_t n, const struct quarantine_policy *policy);
void quarantine_deinit(struct quarantine *q);

/** @return 0, or -OHEM_NOMEM and nothing has changed. n >= q->n */
int quarantine_grow(struct quarantine *q, uint32_t n);

/** Other numbers from the next look on; whether it is on does not change. */
void quarantine_set_policy(struct quarantine *q, const struct quarantine_policy *policy);

bool quarantine_is_suspect(const struct quarantine *q, uint32_t id);
bool quarantine_is_pardoned(const struct quarantine *q, uint32_t id);

/** A report came for these ids, and their scores have moved: some become suspects, some leave.
 * Looks for the cut anew when losses for a sixteenth of the scored have come since.
 *  @param out_left  how many left; @return how many became suspects */
uint32_t quarantine_see(struct quarantine *q, struct hardness *h, const uint32_t *ids,
                        uint32_t count, uint32_t *out_left);

/** Release by hand, for good; or (pardoned false) let it be a suspect again. */
void quarantine_pardon(struct quarantine *q, struct hardness *h, uint32_t id, bool pardoned);

/** The first suspect from an id on, or UINT32_MAX. */
uint32_t quarantine_next(const struct quarantine *q, uint32_t from);

/** Where a histogram falls apart, by Otsu's criterion (IEEE SMC, 1979): the bucket from which on
 *  scores are above the cut, or 0. It has to explain at least 75 % of the scores' variance, at most
 *  `cap` of them may lie above it, and what lies above it must be a heap of its own: somewhere
 *  between the two highest points the histogram, over five buckets each, is below 0.7 of the lower
 *  one, and not by chance.
 *  @param out_explained  the share that the best cut explains, also when it is not taken */
unsigned quarantine_find_cut(const uint32_t counts[PARTITION_BUCKETS], double cap,
                             double *out_explained);

/* ---- rows: of table ROWS_MARKS ---- */

size_t quarantine_capture_bytes(const struct quarantine *q);
void quarantine_capture(struct quarantine *q, uint32_t job, struct rows *out);

/** A row comes back. @return 0, or -OHEM_STATE: damaged */
int quarantine_restore(struct quarantine *q, uint64_t number, const void *value, size_t size);

/** All are back, and so are the scores, none set aside yet. @return 0, or -OHEM_STATE: a suspect
 *  without a score */
int quarantine_resume(struct quarantine *q, struct hardness *h);

#endif
