/* prometheus.h - the daemon's numbers in Prometheus' text format (version 0.0.4).
 *
 * Names begin with ohemd_, units are base units and stand in the name; counters end in _total and
 * begin anew with the daemon, except those of a job that is kept on disk.
 */
#ifndef OHEMD_PROMETHEUS_H
#define OHEMD_PROMETHEUS_H

#include "engine/engine.h"
#include "keeper.h"
#include "server.h"

struct prometheus_source {
    const struct engine *engine;
    const struct server_timing *timing;
    const struct keeper_status *kept;
    uint64_t uptime_ms;
};

/** The whole text. @return for free(), or NULL without memory */
char *prometheus_render(const struct prometheus_source *s, size_t *out_size);

#endif
