/* daemon.h - a real ohemd on a data set in the working directory, to talk to over its sockets.
 *
 *     struct daemon d = {.job = "rho = 1\n"};
 *
 *     daemon_start(&d);           // serves the folder `data`; its sockets lie beside it
 *     ... d.endpoint ...
 *     daemon_stop(&d);            // SIGTERM, and it must end with 0: so do the sanitizers'
 * findings
 *
 * It goes when the test's process does. What cannot be done fails the test, so all of this belongs
 * to that process and not to its children.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include "../../client/ohem.h"
#include "tinyset.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DAEMON_DATASET     "data"
#define DAEMON_SHARE       "share.sock"
#define DAEMON_DEADLINE_MS 60000 /* for one thing to happen: a start under a sanitizer is slow */
#define DAEMON_PATH_MAX    256

struct daemon {
    const char *settings; /* lines for [daemon]; NULL: none */
    const char *dataset;  /* lines for [dataset default]; NULL: none */
    const char *job;      /* lines for [job default], and sections behind it; NULL: none */
    const char *listen;   /* an endpoint; NULL: a Unix socket */
    char endpoint[DAEMON_PATH_MAX];
    char status[DAEMON_PATH_MAX]; /* path of the status socket */
    pid_t pid;                    /* 0: it does not run */
};

/** Start it, again if it had ended, and wait until it answers on its status socket. */
void daemon_start(struct daemon *d);

/** SIGTERM alone; daemon_await_end() is the rest of daemon_stop(). */
void daemon_ask_to_end(struct daemon *d);
void daemon_await_end(struct daemon *d);
void daemon_stop(struct daemon *d);

/** kill -9. */
void daemon_kill(struct daemon *d);

/** Stand still, as a machine that swaps does (SIGSTOP), and go on. */
void daemon_pause(struct daemon *d);
void daemon_resume(struct daemon *d);

/** Make the data set, start, and connect a trainer; and the other way round. */
struct ohem_client *daemon_begin(struct daemon *d, const struct tinyset *set, uint32_t batch_size,
                                 uint32_t credit);
void daemon_end(struct daemon *d, struct ohem_client *client);

/** A trainer of its job `default`; 0: the job's own number. */
struct ohem_client *daemon_connect(const struct daemon *d, uint32_t batch_size, uint32_t credit);

/** A call of the client gave 0, or the test fails with its error. */
void daemon_assert_ok(struct ohem_client *client, int rc);

/** The next batch, waited for. */
struct ohem_batch *daemon_next(struct ohem_client *client);

/** Submit the batch's losses, which takes no time. */
void daemon_submit(struct ohem_batch *batch, const float *losses);

/** The selection of what was submitted, waited for. */
const struct ohem_selection *daemon_selection(struct ohem_batch *batch);

/** Report with the answer waited for. @return the selection. */
const struct ohem_selection *daemon_report(struct ohem_batch *batch, const float *losses);

/** GET a path of the status socket. @return the body, free() it; the answer was 200. */
char *daemon_get(const struct daemon *d, const char *path);

/** The first number of that name in an answer. */
double daemon_number_in(const char *body, const char *name);

/** A number in /v1/jobs/default, as a counter of metrics.h. */
uint64_t daemon_counter(const struct daemon *d, const char *name);

/** Wait until the counter is at least that. */
void daemon_await_counter(const struct daemon *d, const char *name, uint64_t least);

/** Milliseconds of a clock that only goes forward. */
int64_t daemon_now_ms(void);

/** Not a wait for anything: a trainer computes, and in it nobody listens. */
void daemon_be_busy_for(int ms);

/** Between two looks at something that is waited for; past the deadline the test fails. */
void daemon_look_again_soon(int64_t deadline, const char *what);

#endif
