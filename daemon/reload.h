/* reload.h - SIGHUP: the configuration is read anew, and data sets are served as they are now.
 *
 * A new configuration is checked as a whole before anything else: a wrong one changes nothing. Of a
 * right one all applies that can while the daemon runs; what needs a restart is named. Then data
 * sets are read on a thread of libuv's and taken over on the loop's, each by itself as
 * dataset_compare() decides. The log, status and systemd hear of it.
 */
#ifndef OHEMD_RELOAD_H
#define OHEMD_RELOAD_H

#include "config.h"
#include "server.h"

#define RELOAD_LINES_MAX 32 /* of each list, for status; the log has all */

struct reload;

/* Lines for a person: how many, and the first of them. */
struct reload_lines {
    size_t count;
    struct reason lines[RELOAD_LINES_MAX];
};

/* What became of the last reload. */
struct reload_status {
    uint64_t count;              /* reloads that have ended */
    uint64_t ended_ms;           /* when the last one did, by the loop's clock */
    bool busy;                   /* one is under way; the rest is about it, so far */
    bool config_taken;           /* the configuration was right */
    size_t changed;              /* settings that apply */
    size_t moved;                /* data sets, to a new generation */
    struct reload_lines waiting; /* settings that need a restart */
    struct reload_lines refused; /* what is wrong with the configuration, or a data set */
};

/**
 * @param argc, argv  the command line: it is read again, with the file that it names
 * @param config      the present one; changes with a reload
 * @param datasets    [config->dataset_count], the server's
 * @return 0 or -OHEM_NOMEM
 */
int reload_new(uv_loop_t *loop, int argc, char **argv, struct config *config,
               struct dataset **datasets, struct server *server, struct reload **out);

/** Reload; if one is under way, once more after it. */
void reload_begin(struct reload *r);

const struct reload_status *reload_status(const struct reload *r);

/** Take nothing over any more; run the loop until it is empty, then reload_free(). Both take NULL.
 */
void reload_close(struct reload *r);
void reload_free(struct reload *r);

#endif
