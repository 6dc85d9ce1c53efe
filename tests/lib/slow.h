/* slow.h - a folder as a slow disk shows it: every read from it takes a time that the test sets.
 *
 *     slow_mount(&slow, "below", "at");     // skips the test where FUSE cannot be had
 *     ... a daemon opens a data set in `at` ...
 *     slow_down(&slow, "at/data.mdb", 100); // from now on 100 ms, and nothing is in memory
 *     slow_await_waiting(&slow, 1);        // somebody waits for it
 *     slow_unmount(&slow);
 *
 * Behind it is a file system of our own, slowfs.c, as a process of its own. It shows the folder
 * `below`, one file at a time and for reading only. Reads wait side by side.
 */
#ifndef SLOW_H
#define SLOW_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* What the test and slowfs share, in a file. */
struct slow_control {
    _Atomic uint32_t mounted;
    _Atomic uint32_t delay_ms; /* of a read that begins now */
    _Atomic uint32_t waiting;  /* reads that wait now */
    _Atomic uint32_t reads;    /* since the start */
};

#define SLOW_CONTROL_FILE "slow.control"
#define SLOW_EXIT_NO_FUSE 3 /* slowfs cannot mount: nobody's fault */

struct slow {
    struct slow_control *control;
    const char *at;
    pid_t pid;
};

void slow_mount(struct slow *s, const char *below, const char *at);

/** From now on a read takes so long; 0: those that wait go on at once, too. What the kernel holds
 * of the file is dropped, mapped pages included. */
void slow_down(struct slow *s, const char *file, uint32_t delay_ms);
void slow_speed_up(struct slow *s);

/** Wait until so many reads wait. */
void slow_await_waiting(struct slow *s, uint32_t count);

/** After all that used it have ended. */
void slow_unmount(struct slow *s);

#endif
