/* progress.h - a bar with rate and time to go on a terminal; elsewhere it draws nothing. */
#ifndef IMPORT_PROGRESS_H
#define IMPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* "labels", "records" */
    bool shown;       /* stderr is a terminal */
    uint64_t began_ms;
    uint64_t drawn_ms; /* 0: not yet */
};

void progress_begin(struct progress *p, const char *what);

/** Draw, at most ten times a second. done of total in any unit; total 0: unknown. */
void progress_update(struct progress *p, uint64_t instances, uint64_t done, uint64_t total);

/** Take the bar away. */
void progress_end(struct progress *p);

uint64_t progress_now_ms(void);

#endif
