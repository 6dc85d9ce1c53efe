/* job_rows.h - the two rows of a job itself, as they lie on disk; see engine.h.
 *
 * One row holds what is small and changes with every batch; what came back to coverage and waits
 * has rows of its own, in blocks by its number; the rest is said by the parts themselves.
 * To change one: raise its version, read both, write the new one.
 */
#ifndef OHEM_JOB_ROWS_H
#define OHEM_JOB_ROWS_H

#include "job.h"

#define POOL_BLOCK 1024 /* slots in one row of ROWS_POOL */

#define JOB_VERSION  4
#define POOL_VERSION 2

struct job_row {
    uint32_t version, batch_size, staleness, joined_count;
    char name[MESSAGE_NAME_BYTES_MAX + 8];
    uint64_t n, generation, seed, life;
    uint64_t step_limit, lsn, applied, carry;
    uint64_t epoch, position, closed_count, open_count;
    uint64_t pool_first, pool_count;
    uint64_t audit_begin, audit_end, session_last;
    uint64_t generations[JOB_GENERATIONS_MAX];         /* earlier ones */
    uint64_t growth_n, growth_generation, growth_step; /* ids that will join; n 0: none */
    double quarantine_cut, quarantine_explained;
    uint64_t quarantine_unseen;
    double gain; /* of the bias */
    struct coverage_joined joined[COVERAGE_JOINED_MAX];
    struct coverage_report reports[COVERAGE_REPORTS_MAX];
    struct metrics_job metrics;
    struct coverage_report open[]; /* [open_count] */
};

struct pool_row {
    uint64_t version;
    struct coverage_slot slots[POOL_BLOCK]; /* those that waited; the others are 0 */
};

#endif
