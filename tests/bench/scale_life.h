/* scale_life.h - an engine with one job of N instances, its state, and a trainer, in one process.
 *
 * Engine and state are the daemon's own, and so is the way of a commit: rows are collected between
 * two turns of the loop and written on a thread. The trainer is played here and takes no time.
 */
#ifndef BENCH_SCALE_LIFE_H
#define BENCH_SCALE_LIFE_H

#include "../../daemon/engine/engine.h"
#include "../../daemon/state.h"
#include "measure.h"

#include <uv.h>

#define SCALE_LIFE_BATCH 256u

/* A commit pauses the loop for as long as the longest turn that it takes between the first of the
 * commit's rows and the word that they are on disk: by the clock, and by the CPU time of the loop's
 * thread, which does not run while somebody else has the processor. */
struct scale_commits {
    struct times pauses, pauses_cpu, writes;
    struct samples megabytes;
    uint64_t longest_ns, longest_cpu_ns; /* of the commit that is under way */
};

struct scale_life {
    struct engine engine;
    struct state *state;
    uv_loop_t loop;
    struct message loss; /* the report of the batch that came last */
    float losses[SCALE_LIFE_BATCH];
    uint64_t reports, captured; /* so far, and with the last capture */
    bool writes;                /* a commit is under way */
    struct scale_commits commits;
    struct reason why;
};

/** An engine with a job of n instances, which it draws by coverage alone; no state yet. */
void scale_life_begin(struct scale_life *l, uint32_t n);

/** A state in `dir`, with nothing in it; or what is in it comes back. */
void scale_life_open_new(struct scale_life *l, const char *dir);
void scale_life_load(struct scale_life *l, const char *dir);

/** Draw batches and report them until all have so many reports, with a commit after each
 *  SCALE_LIFE_REPORTS; all is on disk when it returns. Once in a life. */
void scale_life_train(struct scale_life *l, uint64_t reports);

/* As many as the fastest way of `make bench` brings in commit_ms: 3.1 M instances/s. */
#define SCALE_LIFE_REPORTS 2400u

struct job *scale_life_job(struct scale_life *l);
void scale_life_end(struct scale_life *l);

#endif
