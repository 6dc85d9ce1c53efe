/* shell.h - a shell round an engine with no socket, clock or thread: for tests, and deterministic.
 *
 * What the engine sends is copied into parcels that wait in one queue, oldest first; a batch to
 * deliver becomes a BATCH parcel without records. The clock stands until it is moved, and moving it
 * ticks the engine at each due time on the way. Peers are small numbers, each with a link.
 */
#ifndef SHELL_H
#define SHELL_H

#include "../../daemon/engine/engine.h"

#define SHELL_PEERS_MAX 65536u

enum shell_link {
    SHELL_LINK_UP,
    SHELL_LINK_LOSES, /* what is sent disappears, and nobody notices */
    SHELL_LINK_DOWN   /* sending fails with -OHEM_UNREACHABLE */
};

/* Something that the engine sent. */
struct parcel {
    uint64_t peer;
    bool lost;        /* it was sent over a link that is not up: nobody received it */
    struct message m; /* its vectors are the parcel's */
    char job[MESSAGE_NAME_BYTES_MAX + 1]; /* BATCH: whose */
    uint32_t *epochs;                     /* BATCH: the epoch of each coverage slot */
    void *memory[5];
    TAILQ_ENTRY(parcel) queue;
};

struct shell_failure {
    uint64_t peer;
    struct token token;
};

struct shell {
    struct engine engine;
    uint64_t now_ms;
    uint64_t peer_count; /* peers are 1..peer_count */
    unsigned char links[SHELL_PEERS_MAX];
    struct shell_failure *failures; /* deliveries that failed, to be told to the engine */
    size_t failure_count, failure_capacity;
    size_t events;          /* lines for the log */
    enum message_way offer; /* what each session is offered */
    size_t ended;           /* sessions that ended */
    TAILQ_HEAD(parcel_list, parcel) parcels;
};

/** Settings that allow everything the tests want. */
struct engine_settings shell_settings(void);

/** A job over n instances with the defaults of the policies, lambda 0.5 and leases of a second. */
struct job_settings shell_job(const char *name, uint64_t n);

struct shell *shell_new(const struct engine_settings *settings);
void shell_free(struct shell *s);

/** Add a job, which must succeed. */
struct job *shell_add_job(struct shell *s, const struct job_settings *settings);

/** A peer that has not spoken before. */
uint64_t shell_new_peer(struct shell *s);
void shell_set_link(struct shell *s, uint64_t peer, enum shell_link link);

/** A peer says something, now. */
void shell_say(struct shell *s, uint64_t peer, const struct message *m);

/** Draw; deliveries over links that are down are told to the engine afterwards, as the loader does.
 */
size_t shell_work(struct shell *s, size_t batches);

/** Move the clock, with a tick at each due time on the way, at most `hops` of them, and one at the
 * end. */
void shell_advance(struct shell *s, uint64_t ms, size_t hops);

/** The oldest parcel, which is now the caller's; NULL when none waits. Lost ones come too. */
struct parcel *shell_take(struct shell *s);
void parcel_free(struct parcel *p);

/** Throw away what waits. */
void shell_forget(struct shell *s);

#endif
