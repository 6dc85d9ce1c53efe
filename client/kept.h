/* kept.h - the reports that the daemon may not have yet, or may lose: what is sent again.
 *
 * Each report is kept from when it is made until it is answered and, by a daemon that writes its
 * memory to disk, durable; its batch may be released long before. They stand in the order of seq.
 * Bounded by bytes and by MESSAGE_KEPT_MAX; memory that is free again is used again. Sends nothing.
 */
#ifndef OHEM_KEPT_H
#define OHEM_KEPT_H

#include "../proto/message.h"

#include <stdatomic.h>

#include <sys/queue.h>

/* The items of a ragged report: until it is answered, then the instances' losses do. */
struct kept_items {
    struct vector losses, flags; /* [n]; they and the next lend from the memory behind */
    struct message_items items;
    size_t capacity;  /* bytes of it */
    atomic_uint refs; /* its report's, and one for each frame that lends from it */
    SLIST_ENTRY(kept_items) entry;
    unsigned char memory[];
};

SLIST_HEAD(kept_items_list, kept_items);

struct kept_report {
    struct token token;
    uint64_t seq;
    uint64_t boot;       /* of the daemon that handed the batch out ... */
    uint64_t session;    /* ... and the session it was handed to */
    uint64_t ping_nonce; /* of the last PING before it was sent */
    bool released;       /* the batch: its CREDIT follows when the report is sent again */
    bool answered;
    bool put_off;  /* not sent yet */
    bool early;    /* the daemon wants it again in a moment (EARLY) */
    uint32_t room; /* K that the arrays have room for */
    uint32_t count;
    float *losses;  /* [K], behind the ids */
    uint8_t *flags; /* [K], behind the losses; not used unless has_flags */
    bool has_flags;
    struct message_select select;
    uint64_t round;
    struct kept_items *items; /* ragged, and not answered: in place of losses and flags; or NULL */
    TAILQ_ENTRY(kept_report) entry;
    uint64_t ids[]; /* [K] */
};

TAILQ_HEAD(kept_list, kept_report);

struct kept {
    struct kept_list list;  /* by seq */
    struct kept_list spare; /* memory to use again */
    size_t count, put_off_count;
    size_t bytes, bytes_max; /* of those in the list */
    size_t made;             /* in the list and spare */
    struct kept_items_list spare_items;
    struct token *tokens; /* [token_capacity] for kept_tokens(): at least `made` */
    size_t token_capacity;
};

void kept_init(struct kept *k, size_t bytes_max);
void kept_deinit(struct kept *k);

/** Have memory for so many reports of K at hand, as far as there is any. */
void kept_reserve(struct kept *k, size_t count, uint32_t batch_size);

/** Bytes that the items of a ragged report take; 0 for one that is not. */
size_t kept_items_bytes(const struct message_loss *report);

/** May another report of K be added, with so many bytes of items? The first always may. */
bool kept_has_room(const struct kept *k, uint32_t batch_size, size_t items_bytes);

/**
 * Keep a report; its arrays are then to be filled: `ids`, `losses` and perhaps `flags`,
 * `count` of them.
 * @param room   K of the session
 * @return NULL without memory
 */
struct kept_report *kept_add(struct kept *k, struct token token, uint64_t seq, uint32_t room);

/** Copy a ragged report's losses, flags and items. @return 0 or -OHEM_NOMEM */
int kept_take_items(struct kept *k, struct kept_report *r, const struct message_loss *report);

/** A frame lends from them; and no more, on any thread. Who drops the last reference frees. */
void kept_items_ref(struct kept_items *items);
void kept_items_unref(struct kept_items *items);

/** They are wanted no more. */
void kept_drop_items(struct kept *k, struct kept_report *r);

/** The report of that number, or that token; NULL: it is not kept. Quick for late ones. */
struct kept_report *kept_find(const struct kept *k, uint64_t seq);
struct kept_report *kept_find_token(const struct kept *k, struct token token);

void kept_drop(struct kept *k, struct kept_report *r);
void kept_clear(struct kept *k);

/** Remember whether it waits to be sent. */
void kept_put_off(struct kept *k, struct kept_report *r, bool put_off);

/** The first that waits to be sent, or NULL. */
struct kept_report *kept_first_put_off(const struct kept *k);

/** Those up to seq are durable: drop them, but for those whose answer is awaited, and those that
 * the daemon did not take yet. */
void kept_take_durable(struct kept *k, uint64_t seq);

/** The first that is above `durable_seq` and not above `seq`, or NULL: all is safe. */
struct kept_report *kept_first_unsafe(const struct kept *k, uint64_t durable_seq, uint64_t seq);

/** The tokens of those that are released, for HELLO. Lent until the next call of any kind. */
struct vector kept_tokens(struct kept *k);

#endif
