/* journal.h - reports in the order in which they were applied, until the scores are saved.
 *
 * Scores are saved in chunks of ids, some per capture. A chunk's row holds the scores as they were
 * after a certain report (its LSN); what came later is in the journal, whose rows are kept for as
 * long as a chunk needs them. So recovery is chunks + journal, and each capture is bounded.
 */
#ifndef OHEM_JOURNAL_H
#define OHEM_JOURNAL_H

#include "hardness.h"
#include "rows.h"

#define JOURNAL_CHUNK_IDS     1024        /* ids whose scores are saved together */
#define JOURNAL_CHUNKS_MIN    16          /* chunks in a capture, if so many changed ... */
#define JOURNAL_CHUNKS_MAX    128         /* ... and when many reports came */
#define JOURNAL_SEGMENT_BYTES (1u << 16)  /* a row of reports, if not a single one is larger */
#define JOURNAL_UNSAVED_MAX   (64u << 20) /* bytes; then nothing is drawn until a commit is done */

struct journal {
    uint32_t chunk_count;
    uint64_t *needs; /* [chunk_count] LSN of the first report that its row does not hold, 0: none */
    uint64_t *images;     /* [chunk_count] the LSN in the row that it came back from, 0: none did */
    uint32_t next;        /* chunk to be looked at first by the next capture */
    unsigned char *bytes; /* reports since the last capture */
    size_t size, capacity;
    uint64_t cut; /* rows up to this LSN are gone */
};

/** @return 0 or -OHEM_NOMEM. n: ids of the job. */
int journal_init(struct journal *j, uint64_t n);
void journal_deinit(struct journal *j);

/** n grew. @return 0 or -OHEM_NOMEM, unchanged */
int journal_grow(struct journal *j, uint64_t n);

/** Room for one more report. @return 0 or -OHEM_NOMEM: it must not be applied */
int journal_reserve(struct journal *j, uint32_t count);

/** A report is applied as number lsn, from 1; journal_reserve() said yes. */
void journal_append(struct journal *j, uint64_t lsn, uint64_t step, uint32_t count,
                    const uint32_t *ids, const float *losses);

/** The scores are not those of any report: all chunks have to be saved. */
void journal_need_all(struct journal *j);

/** Is there a chunk whose row is behind the scores? */
bool journal_is_behind(const struct journal *j);

/** Bytes that journal_capture() will need at most. */
size_t journal_capture_bytes(const struct journal *j);

/** Collect the reports since the last time, and the scores of some chunks as they are after lsn. */
void journal_capture(struct journal *j, uint32_t job, uint64_t lsn, const struct hardness *h,
                     struct rows *out);

/** A chunk's row comes back. @return 0, or -OHEM_STATE: damaged */
int journal_restore_chunk(struct journal *j, uint64_t number, const void *value, size_t size,
                          struct hardness *h);

/** A row of reports comes back, after all chunks: it is applied where a chunk lacks it.
 *  @return 0, or -OHEM_STATE: damaged */
int journal_restore_reports(struct journal *j, const void *value, size_t size, struct hardness *h);

/** All rows are back: the chunk whose row is oldest is saved first, as if there had been no end. */
void journal_resume(struct journal *j);

#endif
