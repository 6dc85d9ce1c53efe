/* trainer.h - fake trainers for an engine in a fake shell: they say what a trainer would, when
 * told.
 *
 * A trainer keeps what it was sent, as libohem does, and knows its losses by heart: f(id, step), so
 * that a loss on the wrong instance shows. Whoever drives it makes it honest or not: report twice,
 * report in any order, say nothing for an hour, leave without a word, or lie (trainer_lie).
 */
#ifndef TRAINER_H
#define TRAINER_H

#include "shell.h"

/* A batch that a trainer holds. */
struct trainer_batch {
    struct parcel *parcel; /* the BATCH */
    float *losses;         /* [count] what it reports */
    uint64_t seq;          /* of its report; 0: not reported */
    uint64_t round;        /* likewise */
    bool answered;
};

struct trainer {
    struct shell *shell;
    uint64_t peer;
    struct session_key key;
    char job[MESSAGE_NAME_BYTES_MAX + 1];
    uint32_t rank, batch_size, credit; /* what it asks for */
    uint64_t round;                    /* of its next report */
    uint32_t broken_share;             /* of 1000 losses: NaN, infinite or negative */
    uint64_t seq;                      /* of the last report */
    struct trainer_batch held[MESSAGE_CREDIT_MAX];
    uint32_t held_count;

    struct message_welcome welcome;                              /* the last */
    struct message_selection selection;                          /* the last, without its vectors */
    struct message_error error;                                  /* the last */
    uint64_t welcomes, batches, selections, errors, pongs, byes; /* received */
};

enum trainer_lie {
    TRAINER_LIE_SHORT,   /* a loss too few */
    TRAINER_LIE_LONG,    /* a loss too many */
    TRAINER_LIE_TAG,     /* a forged token */
    TRAINER_LIE_STEP,    /* the right tag at another step */
    TRAINER_LIE_FOREIGN, /* another session's token */
    TRAINER_LIE_LOSSES,  /* other losses than before */
    TRAINER_LIE_KEY,     /* another session's key and token */
    TRAINER_LIES
};

/** The loss of an instance at a step; one in a thousand times broken_share is no usual number. */
float trainer_loss(uint64_t id, uint64_t step, uint32_t broken_share);

/** A trainer with a key and a peer of its own, which has said nothing. */
void trainer_init(struct trainer *t, struct shell *shell, const char *job, uint64_t key);
void trainer_deinit(struct trainer *t);

/** HELLO, from the peer that it has, with the tokens that it holds. */
void trainer_hello(struct trainer *t);

/** It was told something; the parcel is now the trainer's. */
void trainer_hear(struct trainer *t, struct parcel *p);

/** Give what waits in the shell to those of the trainers whose peer it is for; the rest is freed.
 */
void trainer_hear_all(struct trainer *trainers, size_t count);

/** The LOSS that it would send for a batch, its sequence number included. */
struct message trainer_loss_message(struct trainer *t, struct trainer_batch *b);

/** LOSS; said again when it was said before. */
void trainer_report(struct trainer *t, struct trainer_batch *b);

/** CREDIT: the batch is given back and no longer held. */
void trainer_release(struct trainer *t, struct trainer_batch *b);
void trainer_ping(struct trainer *t);
void trainer_bye(struct trainer *t);

/** Turn the honest LOSS of a batch into a lie. `losses` has room for one more than the batch.
 *  @param other  whose token or key is stolen; holds a batch. */
void trainer_lie(struct message *loss, enum trainer_lie lie, const struct trainer *other,
                 float *losses);

/** Forget a batch, or all, without a word: as after a crash. */
void trainer_drop(struct trainer *t, struct trainer_batch *b);
void trainer_drop_all(struct trainer *t);

#endif
