/* witness.h - hears all that trainers and an engine say to each other, and knows what must follow.
 *
 * Players are trainers that speak through the witness: before a message reaches the engine, the
 * witness works out the one right answer from its own list of sessions and from the job's ledger;
 * what comes back is compared and only then heard by the player. Batches and the passing of time go
 * through it too. A difference fails the test.
 */
#ifndef WITNESS_H
#define WITNESS_H

#include "ledger.h"
#include "trainer.h"

#define WITNESS_JOBS_MAX    3u
#define WITNESS_PLAYERS_MAX 40u
#define WITNESS_SEATS_MAX   20000u /* sessions of one test */

/* A session as the engine must know it. */
struct seat {
    struct session_key key;
    uint64_t peer, heard_ms;
    uint32_t credit;
    size_t job;
    bool alive, unreachable;
    bool failed; /* a delivery just did */
};

/* A trainer and its mood. */
struct player {
    struct trainer trainer;
    size_t job;
    bool joined; /* as far as it knows */
    bool dead;   /* says and hears nothing more */
    uint64_t away_until, link_until;
};

struct witness {
    struct shell *shell;
    struct ledger ledgers[WITNESS_JOBS_MAX];
    struct seat seats[WITNESS_SEATS_MAX]; /* by session number */
    struct player players[WITNESS_PLAYERS_MAX];
    size_t job_count, player_count;
    uint64_t seat_count; /* sessions so far: numbers 1..seat_count */
    uint64_t reports_late, sessions_forgotten, batches_resent;
};

/** The player says this, and gets the right answer, if its link is up. */
void witness_hello(struct witness *w, struct player *p);
void witness_loss(struct witness *w, struct player *p, const struct message *loss);
void witness_report(struct witness *w, struct player *p, struct trainer_batch *b);
void witness_release(struct witness *w, struct player *p, struct trainer_batch *b);
void witness_ping(struct witness *w, struct player *p);
void witness_bye(struct witness *w, struct player *p);

/** So many batches are drawn, or nobody goes hungry; nobody gets more than its credit. */
void witness_work(struct witness *w, size_t batches);

/** Time passes as shell_advance() says; whoever may be forgotten is, and no one else. */
void witness_pass_time(struct witness *w, uint64_t ms, size_t hops);

#endif
