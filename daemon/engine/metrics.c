/* metrics.c - the counters by number, for those who print them; see metrics.h. */
#include "metrics.h"

#define METRICS_VALUE(name, text) {#name, text, m->name},

struct metrics_value metrics_job_at(const struct metrics_job *m, size_t i)
{
    const struct metrics_value values[] = {METRICS_JOB(METRICS_VALUE){NULL, NULL, 0}};
    size_t last = sizeof values / sizeof values[0] - 1;

    return values[i < last ? i : last];
}

struct metrics_value metrics_daemon_at(const struct metrics_daemon *m, size_t i)
{
    const struct metrics_value values[] = {METRICS_DAEMON(METRICS_VALUE){NULL, NULL, 0}};
    size_t last = sizeof values / sizeof values[0] - 1;

    return values[i < last ? i : last];
}
