/* warden.h - remembers who was in a job's quarantine at each commit, and looks whether they are
 * back.
 *
 * What the disk gives back has to be what was captured: each id's marks, the cut, and how far the
 * next look is. A difference fails the test.
 */
#ifndef WARDEN_H
#define WARDEN_H

#include "../../daemon/engine/job.h"

/* A quarantine at a moment. */
struct warden_list {
    uint8_t *marks; /* [n] 1 suspect, 2 pardoned */
    uint32_t n;
    double cut, explained;
    uint64_t unseen;
};

struct warden {
    struct warden_list captured, disk;
    uint64_t found; /* suspects that came back, for the totals */
};

void warden_deinit(struct warden *w);

/* The daemon's commits. */
void warden_capture(struct warden *w, const struct job *j);
void warden_written(struct warden *w);

/** The daemon begins, with a job that has this quarantine. */
void warden_restored(struct warden *w, const struct job *j);

#endif
