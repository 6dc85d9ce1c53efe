/* ways.h - a trainer that takes its records by a way of its choice, and what must hold whichever.
 *
 *     struct way way = {OHEM_PACKED, OHEM_SHM};
 *     struct ohem_client *client = ways_connect(&d, way, K, 4);
 *     struct ohem_batch *b = daemon_next(client);
 *
 *     ways_assert_records(&set, way, b);
 */
#ifndef WAYS_H
#define WAYS_H

#include "daemon.h"
#include "tinyset.h"

#define WAYS_COUNT 7

struct way {
    enum ohem_layout layout;
    enum ohem_transport transport;
};

/* All that `share = map` allows: the layouts, each by every transport that it can have. */
extern const struct way ways[WAYS_COUNT];

/** May a layout come by this transport, from a data set with this `share`? */
bool ways_allowed(enum ohem_layout layout, enum ohem_transport transport, const char *share);

/** Options for a client of this daemon. */
struct ohem_options ways_options(const struct daemon *d, struct way way);

/** A client that has that way, and says so; 0: the job's own number. */
struct ohem_client *ways_connect(const struct daemon *d, struct way way, uint32_t batch_size,
                                 uint32_t credit);

/** Each record is, to the last byte, the one of its id; they lie as the layout says; the block is
 *  there if and only if it has to be. However the batch came. */
void ways_assert_records(const struct tinyset *set, struct way way, const struct ohem_batch *b);

/** The same bytes, without a word about how they lie. */
bool ways_records_are(const struct tinyset *set, const struct ohem_batch *b);

/** Report losses of which each instance has its own, answered; then give the batch back. */
void ways_report_and_release(struct ohem_batch *b);

/** Mappings of a process (0: this one) whose line in /proc/PID/maps holds that text. */
unsigned ways_mappings(pid_t pid, const char *text);

#define WAYS_RING "/memfd:" /* in the line of a ring or a life page */
#define WAYS_FILE "/" DAEMON_DATASET "/data.mdb"

#endif
