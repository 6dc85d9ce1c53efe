/* steps.h - what became of every step's batch, for as long as its token may still be shown.
 *
 * A lease is forgotten when its batch is given back, and with the daemon, unless it was saved. What
 * must not be forgotten so soon is whether a report under the token was applied, and which: so
 * every step has a word here, until lease_ms + late_ms after its draw. Knows no sessions.
 */
#ifndef OHEM_STEPS_H
#define OHEM_STEPS_H

#include "rows.h"

#include <stdint.h>

#define STEPS_BLOCK      512  /* steps that are kept, and saved, together */
#define STEPS_BLOCKS_MAX 8192 /* then the oldest are closed, whatever the time: 2^22 steps */

/* Fates other than these two are the digest of the losses that were applied. */
#define STEPS_OPEN     UINT64_C(0) /* no report was applied */
#define STEPS_RELEASED UINT64_C(1) /* given back without one */

struct steps_block {
    uint64_t number;          /* of its first step / STEPS_BLOCK */
    struct steps_block *next; /* of those that are free */
    uint64_t drawn_ms;        /* when a step of it was last drawn */
    bool dirty;               /* not saved as it is */
    uint64_t fates[STEPS_BLOCK];
};

struct steps {
    struct steps_block *blocks[STEPS_BLOCKS_MAX]; /* block b at b % STEPS_BLOCKS_MAX, or NULL */
    struct steps_block *memory;                   /* [STEPS_BLOCKS_MAX], touched as it is needed */
    size_t used;                                  /* of it, ever */
    struct steps_block *free;                     /* of these, what can be used again */
    uint64_t first, end; /* blocks that may be here; steps before `first` are closed */
    uint64_t saved_first;
    uint64_t gap_ms; /* when blocks were last skipped: steps of an earlier life may be in them */
    uint64_t now_ms; /* the latest time heard of */
    bool dirty;
};

/** @return 0 or -OHEM_NOMEM; later nothing can fail for want of memory. */
int steps_init(struct steps *s);
void steps_deinit(struct steps *s);

/** A step is drawn. */
void steps_draw(struct steps *s, uint64_t step, uint64_t now_ms);

/** Is a step so old that nothing more is taken for it? */
bool steps_is_closed(const struct steps *s, uint64_t step);

/** STEPS_OPEN, STEPS_RELEASED, or the digest that was set. */
uint64_t steps_fate(const struct steps *s, uint64_t step);

/** @param fate  STEPS_RELEASED or a digest */
void steps_set(struct steps *s, uint64_t step, uint64_t fate);

/** A digest that cannot be taken for one of the two words. */
uint64_t steps_digest(uint64_t hash);

/** Close the blocks in which nothing was drawn for so long. */
void steps_expire(struct steps *s, uint64_t now_ms, uint64_t keep_ms);

/** When steps_expire() has work next; UINT64_MAX: never. */
uint64_t steps_next_due(const struct steps *s, uint64_t keep_ms);

/** Bytes that steps_capture() will need at most. */
size_t steps_capture_bytes(const struct steps *s);

/** Collect the rows that changed (table ROWS_STEPS). */
void steps_capture(struct steps *s, uint32_t job, struct rows *out);

/** A row comes back. @return 0 or -OHEM_STATE */
int steps_restore(struct steps *s, uint64_t number, const void *value, size_t size);

/** All rows are back: as if all their steps were drawn now. */
void steps_resume(struct steps *s, uint64_t now_ms);

#endif
