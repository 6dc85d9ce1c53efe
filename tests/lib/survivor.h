/* survivor.h - a trainer that outlives daemons, by PROTOCOL.md section 6: it keeps every report
 * until it is durable, and says again what a daemon that came back may lack.
 *
 * Shares no code with libohem. What comes for it waits in its box until it looks; what it says goes
 * through the world (world.h), which may lose it. Its losses are trainer_loss(id, step).
 */
#ifndef SURVIVOR_H
#define SURVIVOR_H

#include "trainer.h"

#define SURVIVOR_BATCHES_MAX 1024u

struct world;

/* A batch at hand, or its report, or both. */
struct survivor_batch {
    struct token token;
    uint64_t boot, session; /* of the daemon that it came from, and to whom it came */
    uint32_t count;
    uint64_t *ids;
    float *losses;
    uint64_t seq;   /* of its report; 0: none was made */
    uint64_t round; /* likewise */
    bool held;      /* it is not released */
    bool kept;      /* its report is, since it is not known to be durable */
    bool answered;  /* or refused */
};

/* What was sent to it. */
struct survivor_mail {
    struct message m; /* of a BATCH the ids are its own, other vectors are gone */
    TAILQ_ENTRY(survivor_mail) queue;
};

struct survivor {
    uint32_t number; /* everywhere: the oracle's `owner` */
    size_t job;
    struct session_key key;
    uint64_t peer;
    uint32_t batch_size, credit, broken_share;
    bool dead;           /* says and hears nothing more */
    bool gone;           /* it said BYE, or was not let in */
    bool cut;            /* its connection loses all, and it does not know */
    uint64_t away_until; /* it does nothing till then */

    bool welcomed;
    struct message_welcome welcome; /* the last */
    uint64_t seq, durable_seq, sync_seq;
    uint64_t round;        /* of its next report at least */
    uint64_t durable_said; /* to this session, last */
    struct survivor_batch batches[SURVIVOR_BATCHES_MAX];
    uint32_t batch_count;
    struct token credits[MESSAGE_CREDIT_MAX]; /* to be said after WELCOME */
    uint32_t credit_count;
    TAILQ_HEAD(survivor_box, survivor_mail) box;
    size_t box_count;

    /* the world's: what the engine must know of it */
    uint64_t known_peer, active_ms;
};

void survivor_init(struct survivor *s, uint32_t number, size_t job);
void survivor_deinit(struct survivor *s);

/** Put a copy into its box; all of the box but the first is lost. */
void survivor_post(struct survivor *s, const struct message *m);
void survivor_lose_mail(struct survivor *s, size_t left);

/** Look at the next thing in the box, and do what follows from it. */
void survivor_hear(struct world *w, struct survivor *s);

void survivor_hello(struct world *w, struct survivor *s);
void survivor_ping(struct world *w, struct survivor *s);
void survivor_sync(struct world *w, struct survivor *s);
void survivor_bye(struct world *w, struct survivor *s);

/** Report a batch, for the first time or again; release it. */
void survivor_report(struct world *w, struct survivor *s, struct survivor_batch *b);
void survivor_release(struct world *w, struct survivor *s, struct survivor_batch *b);

/** The LOSS of a batch as it would be said. Lent: it points into the batch. */
struct message survivor_loss(struct survivor *s, struct survivor_batch *b);

uint32_t survivor_count_held(const struct survivor *s);
uint32_t survivor_count_kept(const struct survivor *s);

#endif
