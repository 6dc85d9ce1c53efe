/* peer.h - torch.utils.data.DataLoader on the same records, in a Python process that waits to be
 * asked (peer_dataloader.py). */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "workload.h"

#include <stdbool.h>

/* What it measured. */
struct peer_result {
    double instances_per_s, bytes_per_s;
    double cpu_share; /* seconds of CPU time per second, workers included */
    double rss_mb, first_ms;
};

/** Start it. @return false, with a note among the rows, if Python or a package is missing. */
bool peer_start(const char *script);
void peer_stop(void);

/** @param fetch  "default", "batched" or "views" */
void peer_run(const struct workload *w, const char *fetch, int workers, double seconds,
              struct peer_result *out);

#endif
