/* train.h - trainers on libohem that do nothing but read their batches and report losses. */
#ifndef BENCH_TRAIN_H
#define BENCH_TRAIN_H

#include "../../client/ohem.h"
#include "run.h"

struct train_plan {
    const struct workload *workload;
    const char *job;
    enum ohem_transport transport; /* the layout is the one that it is for */
    uint32_t credit;
    int clients;
    bool blocking;  /* report and wait, and only then the next batch; else pipelined */
    uint32_t items; /* of a ragged report, all instances', for train_items_run() */
    double seconds;
    pid_t daemon;
    void (*began)(void *ctx); /* as in struct run */
    void *ctx;
};

/** Train. Every byte is read, every instance gets a loss, every selection is taken. Pipelined, the
 *  losses of a batch are submitted, and its selection is taken some batches later, so that half of
 *  the credit is read ahead and half waits for selections: `report` is then what the two calls took
 *  together. */
void train_run(const struct train_plan *plan, struct run_result *out);

/** Train with one client, credit 1 and ragged reports, of whose items a quarter is selected;
 *  nothing is read. `report` is what ohem_report_items() took. */
void train_items_run(const struct train_plan *plan, struct run_result *out);

#endif
