/* message.h - what the daemon and its trainers say to each other: the messages and every limit.
 *
 * A message is a small header and, for some, vectors. Here it is a plain struct; codec.h turns it
 * into frames and back, PROTOCOL.md describes those. Vectors are lent: they point into a received
 * frame or into the sender's memory, may be unaligned, and are read with vector_* below.
 *
 * To change a message: append fields (a reader ignores what it does not know) and raise
 * PROTO_MINOR, or change anything else and raise PROTO_MAJOR; edit PROTOCOL.md, codec.c and the
 * vectors under proto/vectors in the same commit.
 */
#ifndef OHEM_MESSAGE_H
#define OHEM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire's vectors are little-endian and sent as they lie in memory"
#endif

#define PROTO_MAJOR 0 /* another major is refused; 0 until the first release */
#define PROTO_MINOR 6 /* a newer minor is accepted */

/* Limits of the wire. Both sides refuse what is over them, by name. */
#define MESSAGE_HEADER_BYTES_MAX    1024u
#define MESSAGE_FIELDS_MAX          32u /* fields of a header, unknown ones included */
#define MESSAGE_FRAMES_MAX          8u
#define MESSAGE_FRAME_BYTES_MAX     (4u << 20)  /* any frame but a payload */
#define MESSAGE_TRANSPORT_BYTES_MAX (16u << 20) /* beyond it ZeroMQ drops the connection */
#define MESSAGE_PAYLOAD_BYTES_MAX   (1u << 30)  /* the records of one batch */
#define MESSAGE_BATCH_SIZE_MAX      65536u      /* K */
#define MESSAGE_ITEMS_MAX           (1u << 20)  /* items in a ragged report, all instances' */
#define MESSAGE_BOXES_MAX           65536u      /* of them, when they have boxes */
#define MESSAGE_INSTANCE_BOXES_MAX  8192u       /* and of one instance */
#define MESSAGE_CREDIT_MAX          64u         /* batches a session may hold */
#define MESSAGE_RANK_MAX            65535u
#define MESSAGE_ROUND_RANKS_MAX     64u /* in a job with rounds */
#define MESSAGE_NAME_BYTES_MAX      64u /* a job's name */
#define MESSAGE_AGENT_BYTES_MAX     64u /* the client's name for logs */
#define MESSAGE_TEXT_BYTES_MAX      480u
#define MESSAGE_SHARE_BYTES_MAX     107u   /* the path of a Unix socket */
#define MESSAGE_PARTS_MAX           128u   /* PARTs that one batch's records come in */
#define MESSAGE_KEPT_MAX            65536u /* reports that a client may keep until they are durable */
#define MESSAGE_RULE_MAX            5u     /* enum message_rule */
#define MESSAGE_SCORE_MAX           2u     /* enum message_score */

/* X(NAME, number): the message types */
#define MESSAGE_TYPES(X) \
    X(HELLO, 1) \
    X(WELCOME, 2) \
    X(CREDIT, 3) \
    X(BATCH, 4) \
    X(LOSS, 5) \
    X(SELECTION, 6) \
    X(PING, 7) \
    X(PONG, 8) \
    X(BYE, 9) \
    X(ERROR, 10) \
    X(READY, 11) \
    X(PART, 12) \
    X(SYNC, 13) \
    X(DURABLE, 14)

enum message_type {
#define MESSAGE_ENUM(name, number) MESSAGE_##name = (number),
    MESSAGE_TYPES(MESSAGE_ENUM)
#undef MESSAGE_ENUM
};

/* How the records of a batch reach the trainer. */
enum message_way {
    WAY_INLINE, /* in the messages */
    WAY_SHM,    /* in a slot of memory that the daemon shares with the session */
    WAY_MAP     /* they stay in the data set's file, which the client has mapped */
};
#define MESSAGE_WAY_MAX  2u
#define MESSAGE_WAYS_MAX 7u /* a set of them: sum of 1 << way */

/* How the records of a batch lie beside each other. */
enum message_records {
    RECORDS_SCATTERED, /* anywhere */
    RECORDS_PACKED,    /* one behind the other */
    RECORDS_ALIGNED64  /* each at a multiple of 64 bytes */
};
#define MESSAGE_RECORDS_MAX 2u
#define MESSAGE_ALIGNMENT   64u

/* By which rule a report is answered. What count and value are to each: */
enum message_rule {
    RULE_JOB,       /* the job's own policy. Neither means anything, as with the next */
    RULE_ALL,       /* all losses */
    RULE_TOP,       /* count: M; if that is 0, value: the share of the batch, above 0, at most 1 */
    RULE_THRESHOLD, /* value: what a loss must be above; count: at most so many, 0: any number */
    RULE_NEGPOS,    /* value: negatives per positive; count: negatives if there is no positive */
    RULE_CDF        /* value: the power of the percentile */
};
#define SELECT_NEG_RATIO_MAX 1e6
#define SELECT_CDF_POWER_MAX 64.0
#define SELECT_THRESHOLD_MAX 1e30 /* of either sign */

/* How a trainer wants a report answered, where the job lets it choose. */
struct message_select {
    uint32_t rule; /* enum message_rule */
    uint32_t count;
    double value;
};

/* What a trainer says of a loss, a sum. */
#define LOSS_FLAG_POSITIVE 1u /* for RULE_NEGPOS */
/* It is not selected. An instance's loss counts for its score all the same, an item's does not. */
#define LOSS_FLAG_IGNORED 2u
#define LOSS_FLAGS_ALL    3u

/* What a batch is handed out under: its step in the job and a keyed hash over whom it was given to.
 */
struct token {
    uint64_t step;
    uint64_t tag;
};

/* 128 random bits that the client drew; they outlive a connection and tell who speaks. */
struct session_key {
    uint8_t bytes[16];
};

struct vector {
    const void *data; /* lent, unaligned */
    size_t count;     /* elements, not bytes */
};

/* How the losses of an instance's items become its own. */
enum message_score {
    SCORE_MAX,
    SCORE_MEAN,
    SCORE_TOP /* the mean of its `top` largest */
};

/* A ragged report: each instance has any number of losses, its items (regions, anchors, pixels).
 * The items of the first instance come first. */
struct message_items {
    struct vector counts;  /* u32[K] items of each instance; empty: the report is not ragged */
    uint32_t score;        /* enum message_score */
    uint32_t top;          /* SCORE_TOP: how many, else 0 */
    double iou;            /* items that overlap a harder one by more are left out; 0: none is */
    struct vector boxes;   /* f32[4 n] x1, y1, x2, y2 of each item, with an iou; else empty */
    struct vector classes; /* u32[n] only items of one class leave out each other; may be empty */
};

/* client -> daemon: let me train on this job. Sent again with the same key after a reconnect. */
struct message_hello {
    uint32_t major, minor;
    struct session_key key;
    char job[MESSAGE_NAME_BYTES_MAX + 1];
    uint32_t rank;       /* the trainer's rank in its data-parallel group; for logs and rounds */
    uint32_t batch_size; /* K; 0: the job's own */
    uint32_t credit;     /* batches held at once; 0: the job's own */
    char agent[MESSAGE_AGENT_BYTES_MAX + 1];
    uint32_t layout;    /* enum message_records */
    uint32_t ways;      /* those that the client can take, sum of 1 << enum message_way */
    uint64_t memory;    /* that held and kept are of, as WELCOME said; 0 at first */
    struct vector held; /* 16-byte tokens of the batches that the client has and has not released */
    struct vector kept; /* tokens of batches released, whose reports are not known to be durable */
};

/* daemon -> client: the answer to HELLO. */
struct message_welcome {
    uint32_t major, minor;
    uint64_t boot;    /* random per start of the daemon: another number means that it restarted */
    uint64_t session; /* the session's number in logs and status */
    char job[MESSAGE_NAME_BYTES_MAX + 1];
    uint64_t instance_count;   /* N */
    uint64_t record_bytes;     /* size of every record, or 0 when sizes differ */
    uint64_t record_bytes_max; /* the largest record */
    uint64_t generation;       /* of the data set */
    uint32_t batch_size, credit;
    uint64_t lease_ms;
    uint32_t layout; /* as asked for */
    uint32_t way;    /* how batches will come; not inline: after READY only */
    char share[MESSAGE_SHARE_BYTES_MAX + 1]; /* the Unix socket that hands out what to map, or "" */
    struct session_key cookie; /* to be shown there, once; zeros when there is nothing to fetch */
    char fields[MESSAGE_TEXT_BYTES_MAX + 1]; /* what a record consists of (fields.h), or "" */
    uint64_t memory; /* of which scores and tokens are part: another number, and all is forgotten */
    uint32_t durable; /* 1: the memory is written to disk; 0: it ends with the daemon */
    uint32_t round;   /* R: so many ranks are answered together; 0: each by itself */
};

/* client -> daemon: the batch's slot is free again, fill it. Acknowledges the batch's SELECTION. */
struct message_credit {
    struct session_key key;
    struct token token;
};

/* daemon -> client: K instances. Slots 0..coverage_count-1 are coverage, the rest hard draws. */
struct message_batch {
    struct token token;
    uint64_t epoch; /* of the first coverage slot, or the current one */
    uint32_t count; /* K */
    uint32_t coverage_count;
    uint64_t record_bytes; /* as in WELCOME */
    uint64_t lease_ms;
    uint64_t lsn;                /* the last report that its draw knew of */
    uint32_t way;                /* enum message_way */
    uint32_t slot;               /* shm: which slot of the ring */
    uint64_t bytes;              /* of the block that the records lie in; map: 0 */
    uint32_t parts;              /* inline: PARTs that follow with the block; 0: it is `payload` */
    struct vector ids;           /* u64[K] */
    struct vector probabilities; /* f32[K] */
    struct vector weights;       /* f32[K] */
    struct vector offsets;       /* u64[K] where each record begins in the block, or in the file */
    struct vector sizes;         /* u32[K] bytes of each record */
    struct vector payload;       /* the block, when it comes inline and in one piece; else empty */
};

/* daemon -> client: a piece of a batch's block; its BATCH came before. */
struct message_part {
    struct token token;
    uint64_t begin;        /* where in the block the piece lies */
    uint32_t first, count; /* the records that lie in it, whole: first .. first + count - 1 */
    struct vector payload; /* bytes */
};

/* client -> daemon: what WELCOME offered is mapped, or cannot be: send batches by this way. */
struct message_ready {
    struct session_key key;
    uint32_t way; /* the one offered, or inline */
};

/* client -> daemon: the losses of a batch, in its order. */
struct message_loss {
    struct session_key key;
    struct token token;
    uint64_t seq;         /* the session's own number of this report, from 1; a repeat keeps it */
    struct vector losses; /* f32[n]: n is K, in a ragged report the number of its items */
    struct vector ids;    /* u64[K] the batch's ids: in a report that is sent again; else empty */
    struct vector flags;  /* u8[n] LOSS_FLAG_*; empty: all 0 */
    struct message_select select;
    struct message_items items;
    uint64_t round; /* that it is for, in a job with rounds: rises with each report */
};

/* the lease had ended, or the round was over: the scores took the losses all the same */
#define SELECTION_FLAG_LATE     1u
#define SELECTION_FLAG_REPEATED 2u /* the report had been applied before; nothing changed now */
/* the batch was released before, so its answer was not kept: with REPEATED, and nothing selected */
#define SELECTION_FLAG_FORGOTTEN 4u
/* strict order: another trainer's report of this step came first, this one changed nothing */
#define SELECTION_FLAG_SUPERSEDED 8u
/* strict order, after a restart: the selection stands, but the report's turn has not come again and
 * nothing is changed yet. It is to be sent again in a moment */
#define SELECTION_FLAG_EARLY 16u

/* Over a set of losses; all 0 when it is empty. */
struct loss_stats {
    uint32_t count;
    float mean, min, max;
};

/* Of a round (a job whose trainers hold the shards of one batch): what a rank has of it. Without
 * rounds each batch is one. */
struct message_share {
    uint32_t count;   /* M: the selected of all ranks */
    uint32_t present; /* ranks that are in it; 0: this one came too late */
    float scale;      /* of the rank's loss, so that the mean over all ranks is that over the M */
};

/* daemon -> client: the answer to LOSS. */
struct message_selection {
    struct token token;
    uint64_t seq;   /* the report's */
    uint64_t lsn;   /* the report's place in the order in which the job applied reports, from 1 */
    uint32_t flags; /* SELECTION_FLAG_* */
    uint32_t nonfinite_count;    /* losses that were NaN or infinite: not applied, not selected */
    struct loss_stats all, kept; /* over those of the n that could be selected; over the M */
    uint64_t durable_seq;        /* all of the session's reports up to this one survive a restart */
    uint32_t ignored_count;      /* finite losses that could not be selected; not among `all` */
    struct message_share share;
    struct vector indices; /* u32[M], ascending */
    struct vector weights; /* f32[M]; empty: all are 1 */
    struct vector scores;  /* f32[K] of a ragged report: the loss of each instance; else empty */
};

/* client -> daemon: I live; keep my leases. */
struct message_ping {
    struct session_key key;
    uint64_t nonce;
};

/* daemon -> client */
struct message_pong {
    uint64_t nonce;
    uint64_t boot;
    uint64_t durable_seq; /* as in SELECTION; 0 for who has no session */
};

/* client -> daemon: say DURABLE as soon as all my reports up to this one are. */
struct message_sync {
    struct session_key key;
    uint64_t seq;
};

/* daemon -> client: the answer to SYNC. */
struct message_durable {
    uint64_t seq; /* as durable_seq: at least the one that was asked for */
};

/* client -> daemon: I close. daemon -> client: the answer, or unasked: I am going down. */
struct message_bye {
    struct session_key key;
    char text[MESSAGE_TEXT_BYTES_MAX + 1];
};

/* daemon -> client */
struct message_error {
    uint32_t code;      /* error.h, positive */
    uint32_t about;     /* the type of the message that was refused, 0 when it could not be read */
    struct token token; /* of that message, or zeros */
    char text[MESSAGE_TEXT_BYTES_MAX + 1];
};

struct message {
    enum message_type type;
    union {
        struct message_hello hello;
        struct message_welcome welcome;
        struct message_credit credit;
        struct message_batch batch;
        struct message_loss loss;
        struct message_selection selection;
        struct message_ping ping;
        struct message_pong pong;
        struct message_bye bye;
        struct message_error error;
        struct message_ready ready;
        struct message_part part;
        struct message_sync sync;
        struct message_durable durable;
    };
};

static inline float vector_f32(struct vector v, size_t i)
{
    float x;

    memcpy(&x, (const char *)v.data + i * sizeof x, sizeof x);
    return x;
}

static inline uint8_t vector_u8(struct vector v, size_t i)
{
    return ((const uint8_t *)v.data)[i];
}

static inline uint32_t vector_u32(struct vector v, size_t i)
{
    uint32_t x;

    memcpy(&x, (const char *)v.data + i * sizeof x, sizeof x);
    return x;
}

static inline uint64_t vector_u64(struct vector v, size_t i)
{
    uint64_t x;

    memcpy(&x, (const char *)v.data + i * sizeof x, sizeof x);
    return x;
}

static inline struct token vector_token(struct vector v, size_t i)
{
    return (struct token){.step = vector_u64(v, 2 * i), .tag = vector_u64(v, 2 * i + 1)};
}

static inline bool token_equal(struct token a, struct token b)
{
    return a.step == b.step && a.tag == b.tag;
}

static inline bool session_key_equal(const struct session_key *a, const struct session_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

#endif
