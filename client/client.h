/* client.h - the client as its parts see it: what it knows of its session, and the conversation.
 *
 * connect.c opens and closes, send.c speaks, conversation.c listens and waits, welcome.c begins a
 * session anew, client.c has the trainer's calls and durable.c those about reports that are kept.
 */
#ifndef OHEM_CLIENT_H
#define OHEM_CLIENT_H

#include "../proto/fields.h"
#include "batch.h"
#include "kept.h"
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
    struct kept kept;         /* reports that may have to be sent again */
    uint64_t durable_seq;     /* reports up to this one survive a restart */
    uint64_t sync_seq;        /* SYNC is unanswered, 0: none */
    uint64_t forgotten_count; /* reports that went with a daemon's memory */
    uint64_t kept_step_max;   /* of those kept at the last WELCOME, or reported EARLY */
    uint64_t round_next;      /* of a report whose trainer does not say */
    uint64_t lost_nonce;      /* of the PONG at which unanswered reports were looked at */
    int reconnect_ms;         /* how long a daemon may be silent, -1: without end */
    struct token held[MESSAGE_CREDIT_MAX]; /* scratch for HELLO */
    struct batch_list batches;             /* ready and held, in the order received; orphans too */
    struct batch_list spare;               /* memory to use again */
    struct token credits[MESSAGE_CREDIT_MAX]; /* CREDITs to be sent with the next message */
    uint32_t credit_count;
    int64_t submitted_us; /* when ohem_submit() was last called */
    uint64_t report_seq;
    uint64_t lsn;                    /* the highest heard of */
    uint64_t ping_nonce, pong_nonce; /* of the last PING sent, and the last PONG heard */
    int64_t heard_ms, asked_ms;      /* when the daemon was last heard; when it was last asked */
    int64_t unanswered_ms;           /* when it was first asked since it was heard, 0: was not */
    int64_t called_ms;               /* when the trainer's call began */
    bool welcomed;                   /* a session is open as far as is known */
    bool came_back;                  /* WELCOME arrived since a PING was last sent */
    bool draining;
    int64_t retry_ms;    /* when early reports are sent again, 0: there are none */
    int64_t listened_ms; /* when all that had arrived was filed */
    int dead;            /* an error that ends the session, 0: none */
    struct reason why;
};

/* ---- conversation.c ---- */

int64_t client_now_ms(void);
int64_t client_now_us(void);

/** When a call that may take so long has to end. */
int64_t client_deadline_in(int timeout_ms);

/** A call begins: is this client usable in this process? @return 0 or -OHEM_FORKED */
int client_check(struct ohem_client *c);

/** The daemon said how far reports are durable. */
void client_take_durable(struct ohem_client *c, uint64_t seq);

/** How many batches are in that state. */
uint32_t client_count_batches(const struct ohem_client *c, enum batch_state state);

/** Memory that is used again, or freed when it is of another size. */
void client_recycle(struct ohem_client *c, struct ohem_batch *b);

/** File what has arrived, without waiting. @return 0 or the error that ended the session */
int client_listen(struct ohem_client *c);

/** Wait for one message and file it. @return 0, the error that ended the session, or a time-out */
int client_pump(struct ohem_client *c, int64_t deadline);

/* ---- send.c ---- */

void client_send_hello(struct ohem_client *c);
void client_send_ping(struct ohem_client *c);

/** LOSS, now, behind all that was put off. */
void client_send_loss(struct ohem_client *c, struct kept_report *r);

/** LOSS, soon: as client_give_credit(). */
void client_put_off_loss(struct ohem_client *c, struct kept_report *r);

/**
 * CREDIT, soon: with the next message that is sent, or before anything is waited for. To send it
 * alone would wake three threads for a few bytes.
 */
void client_give_credit(struct ohem_client *c, struct token token);

/** Send what was put off: CREDITs, then LOSSes. Without a session it stays put off. */
void client_flush(struct ohem_client *c);

/** SYNC, if that report is not durable and was not asked for. */
void client_ask_durable(struct ohem_client *c, uint64_t seq);

/** After WELCOME: all that the daemon may lack. */
void client_say_again(struct ohem_client *c);

/** Reports whose answers are overdue, since a PING sent after them was answered: they got lost. */
void client_say_lost(struct ohem_client *c);

/** Send again the reports that came before their turn. */
void client_say_early(struct ohem_client *c);

/* ---- durable.c ---- */

/**
 * Wait until another report of K, with so many bytes of items, can be kept.
 * @param deadline  -1: as long as a daemon may be silent
 * @return 0, or as client_pump()
 */
int client_await_room(struct ohem_client *c, uint32_t batch_size, size_t items_bytes,
                      int64_t deadline);

/** Before BYE: a moment for what was reported to become durable. */
void client_settle(struct ohem_client *c);

/* ---- welcome.c ---- */

/** A WELCOME came: the session stands. */
void client_take_welcome(struct ohem_client *c, const struct message_welcome *m);

#endif
