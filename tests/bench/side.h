/* side.h - the sides that are set beside each other: one measurement of each, with its rows.
 *
 * Each is repeated when it was disturbed (quiet.h). They give instances per second.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include "rig.h"
#include "train.h"

/* How long a bench takes. */
struct effort {
    int rounds;
    double seconds;    /* each measurement, per round */
    double repeat_s;   /* of all that is measured again */
    bool all_peers;    /* DataLoader with 1 and 2 workers, and on all workloads */
    bool rigs_of_two;  /* with 2 clients too */
    int module_rounds; /* short ones: a neighbour on the machine spoils some */
    double module_s;
};

struct bench {
    const struct effort *effort;
    struct workload workloads[WORKLOADS];
    const char *program; /* ohemd */
    uint32_t credit;     /* of rigs and ohemd alike */
    size_t part_bytes;   /* of the inline rig */
    pid_t daemon;        /* 0: rigs and peers only */
    bool has_peer;
};

/* A way of ohemd, the rig that it is set against, and the names of the rows and ratios. */
struct way {
    enum ohem_transport transport;
    enum rig_way rig;
    const char *name, *uniform_name, *rig_name;
    const char *vs_rig, *vs_rig_of_two, *vs_dataloader;
};

/** Workload W's job "W-POLICY", in the row of that name. */
double side_job(const struct bench *b, const struct workload *w, const char *policy,
                enum ohem_transport transport, const char *name, int clients);

/** A job with rho 0.5 (biased) or 1. */
double side_ohemd(const struct bench *b, const struct workload *w, const struct way *way,
                  bool biased, int clients);

/** Its rig. */
double side_rig(const struct bench *b, const struct workload *w, const struct way *way,
                int clients);

/** All kinds of DataLoader. @param views  set to the one that copies nothing, 0 without it
 *  @return the best of the others */
double side_peers(const struct bench *b, const struct workload *w, double *views);

double side_gather(const struct bench *b, const struct workload *w);

/** The median of ohem_report() with credit 1 and nothing else on the line, in microseconds. */
double side_report(const struct bench *b);

/** The same of the bare round trip. */
double side_trip(const struct bench *b);

/** The median of ohem_report_items() for 2^20 items, in microseconds; and what it takes to move
 *  their bytes once. */
double side_items(const struct bench *b);
double side_move(const struct bench *b);

#endif
