/* fake.h - an ohemd that does what a test wants: dies, comes back with its memory or without, keeps
 * answers to itself, takes its time to write to disk. It trains nothing; it writes down what is
 * said.
 *
 *     struct fake f = {.durable = 1};
 *     struct ohem_client *client = fake_begin(&f); // it has a thread of its own
 *
 *     fake_restart(&f, 0, true);
 *     ... fake_said(&f, &count) ...
 *     fake_end(&f, client);
 *
 * It has one session, and batches of FAKE_K under the steps 0, 1, 2. Settings are changed between
 * fake_lock() and fake_unlock().
 */
#ifndef FAKE_H
#define FAKE_H

#include "../../client/ohem.h"
#include "../../proto/codec.h"

#include <pthread.h>
#include <stdbool.h>

#define FAKE_ENDPOINT "ipc://fake.sock"
#define FAKE_K        4
#define FAKE_N        1000
#define FAKE_SAID_MAX 256
#define FAKE_PEER_MAX 32

/* What a client said; fields of other types are 0. */
struct fake_said {
    enum message_type type;
    struct token token;
    uint64_t seq;
    size_t ids_count, held_count, kept_count;
    uint64_t memory;
    bool unknown; /* it was answered NO_SESSION */
};

struct fake {
    /* settings */
    uint32_t credit;             /* 0: 4 */
    uint32_t durable;            /* WELCOME's */
    bool keeps_answers;          /* LOSS gets none */
    bool keeps_welcome;          /* HELLO gets none */
    uint32_t refuses_with;       /* LOSS gets this error */
    bool stalls;                 /* after a NO_SESSION it hears nothing, until this is over */
    uint32_t refuses_hello_with; /* HELLO gets this error */
    uint32_t batch_size;         /* 0: FAKE_K, which is the most */
    uint32_t flags;              /* of SELECTIONs */
    bool selects_anew;           /* also what is flagged FORGOTTEN */
    uint64_t durable_seq;
    int sync_ms; /* so long after a SYNC all that was said is durable; 0: it never is */
    /* its own */
    uint64_t boot, memory, session;
    uint64_t step;
    struct token out[MESSAGE_CREDIT_MAX]; /* not released */
    size_t out_count;
    uint64_t seq, sync_seq;
    int64_t sync_at_ms; /* when it is answered, 0: there is none */
    unsigned char peer[FAKE_PEER_MAX];
    size_t peer_size;
    struct fake_said said[FAKE_SAID_MAX];
    size_t said_count;
    int64_t up_ms; /* when it comes back, 0: it is there */
    bool restarts, ends, stalled;
    void *context, *socket;
    struct codec *codec;
    pthread_mutex_t mutex;
    pthread_t thread;
};

void fake_start(struct fake *f);
void fake_stop(struct fake *f);

/** A trainer of it. The options' endpoint is set here. */
struct ohem_client *fake_connect(struct ohem_options options);

/** Start it, and connect a trainer; and the other way round. */
struct ohem_client *fake_begin(struct fake *f);
void fake_end(struct fake *f, struct ohem_client *client);

void fake_lock(struct fake *f);
void fake_unlock(struct fake *f);

/** Die now, come back so much later (-1: never): with the memory, or without. */
void fake_restart(struct fake *f, int down_ms, bool with_memory);

/** The same daemon forgets over which connection its session speaks: HELLO has to come again. */
void fake_forget_connection(struct fake *f);

/** It forgets which session it has, too, but not what is out: a new one is made. */
void fake_forget_session(struct fake *f);

/** BYE unasked: it is going down. */
void fake_say_bye(struct fake *f);

/** What was said since the last HELLO, that one included. Lent until fake_stop(). */
const struct fake_said *fake_said(struct fake *f, size_t *out_count);

#endif
