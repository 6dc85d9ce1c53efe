/* usage.h - CPU time and memory of processes, and whether others used the machine meanwhile. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <sys/types.h>

/** CPU seconds of a process (0: this one) so far, all threads, user and system. */
double usage_cpu_s(pid_t pid);

/** Resident memory of a process (0: this one), and the part of it that is not a file's, in MB. */
void usage_memory(pid_t pid, double *rss_mb, double *private_mb);

/* The machine's and our own CPU time at a moment. */
struct usage_mark {
    double busy_s; /* of all processors, stolen time included */
    double own_s;  /* of this process and all that come from it */
    double clock_s;
};

void usage_mark(struct usage_mark *out);

/** The share (0..1) of the machine's CPU time since then that others used. */
double usage_foreign(const struct usage_mark *since);

#endif
