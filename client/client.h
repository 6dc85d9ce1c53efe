/* client.h - the client as its parts see it: what it knows of its session, and the conversation.
 *
 * connect.c opens and closes, conversation.c sends and receives, welcome.c begins a session anew,
 * client.c has the trainer's calls.
 */
#ifndef OHEM_CLIENT_H
#define OHEM_CLIENT_H

#include "../proto/fields.h"
#include "batch.h"
#include "link.h"

#include <sys/types.h>

struct ohem_client {
    pid_t pid; /* of the process that may use it */
    struct link link;
    struct message_hello hello; /* as first sent */
    struct message_welcome welcome;
    enum ohem_transport wanted;    /* that it must be, or OHEM_AUTO */
    enum message_way way;          /* that batches come by */
    struct attachment *attachment; /* what is mapped for the session, or NULL */
    struct reason way_why;         /* why it is not a better way, or "" */
    struct fields fields;
    uint32_t held_capacity;
    struct token *held;        /* scratch for HELLO */
    struct batch_list batches; /* ready and held, in the order received; orphans too */
    struct batch_list spare;   /* memory to use again */
    struct token credits[MESSAGE_CREDIT_MAX]; /* CREDITs to be sent with the next message */
    uint32_t credit_count;
    struct ohem_batch *reports[MESSAGE_CREDIT_MAX]; /* their LOSSes likewise, behind the CREDITs */
    uint32_t report_count;
    int64_t submitted_us; /* when ohem_submit() was last called */
    uint64_t report_seq;
    uint64_t lsn;                    /* the highest heard of */
    uint64_t ping_nonce, pong_nonce; /* of the last PING sent, and the last PONG heard */
    int64_t heard_ms, asked_ms;      /* when the daemon was last heard; when it was last asked */
    int64_t unanswered_ms;           /* when it was first asked since it was heard, 0: was not */
    bool welcomed;                   /* a session is open as far as is known */
    bool came_back;                  /* WELCOME arrived since a PING was last sent */
    bool draining;
    int64_t listened_ms; /* when all that had arrived was filed */
    int dead;            /* an error that ends the session, 0: none */
    struct reason why;
};

/* ---- conversation.c ---- */

int64_t client_now_ms(void);
int64_t client_now_us(void);

/** When a call that may take so long has to end. */
int64_t client_deadline_in(int timeout_ms);

/** Is this client usable in this process? @return 0 or -OHEM_FORKED */
int client_check(struct ohem_client *c);

void client_send_hello(struct ohem_client *c);
void client_send_ping(struct ohem_client *c);

/** LOSS, now, behind all that was put off. */
void client_send_loss(struct ohem_client *c, struct ohem_batch *b);

/** LOSS, soon: as client_give_credit(). */
void client_put_off_loss(struct ohem_client *c, struct ohem_batch *b);

/**
 * CREDIT, soon: with the next message that is sent, or before anything is waited for. To send it
 * alone would wake three threads for a few bytes.
 */
void client_give_credit(struct ohem_client *c, struct token token);

/** Send what was put off. */
void client_flush(struct ohem_client *c);

/** How many batches are in that state. */
uint32_t client_count_batches(const struct ohem_client *c, enum batch_state state);

/** Memory that is used again, or freed when it is of another size. */
void client_recycle(struct ohem_client *c, struct ohem_batch *b);

/** File what has arrived, without waiting. @return 0 or the error that ended the session */
int client_listen(struct ohem_client *c);

/** Wait for one message and file it. @return 0, the error that ended the session, or a time-out */
int client_pump(struct ohem_client *c, int64_t deadline);

/* ---- welcome.c ---- */

/** A WELCOME came: the session stands. */
void client_take_welcome(struct ohem_client *c, const struct message_welcome *m);

#endif
