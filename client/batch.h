/* batch.h - a batch as the trainer holds it: its vectors, its records, its report and selection.
 *
 * Not the conversation: conversation.c receives and sends. A batch outlives its client: its vectors
 * are its own, and its records lie in received frames, in a block of its own, or in mapped memory
 * that it holds a reference on.
 */
#ifndef OHEM_BATCH_H
#define OHEM_BATCH_H

#include "../proto/message.h"
#include "attach.h"
#include "ohem.h"

#include <stdbool.h>
#include <sys/queue.h>
#include <zmq.h>

struct ohem_selection {
    bool arrived;
    bool told; /* to the trainer */
    uint32_t flags, count, nonfinite_count, ignored_count;
    uint64_t lsn;
    struct message_share share; /* of a round */
    struct ohem_stats all, kept;
    uint32_t *indices; /* [capacity], K at least */
    float *weights;    /* likewise */
    size_t ones;       /* so many of the first weights are 1 */
    size_t capacity;
    float *scores; /* [K] once a ragged report was answered, or NULL */
    bool has_scores;
};

enum batch_state {
    BATCH_COMING, /* received, but parts of its records are still under way */
    BATCH_READY,  /* all there, not yet given to the trainer */
    BATCH_HELD,   /* with the trainer */
    BATCH_ORPHAN, /* with the trainer; the daemon forgot the session that it was handed to */
};

struct ohem_batch {
    struct ohem_client *client; /* NULL once closed */
    enum batch_state state;
    struct token token;
    uint64_t epoch, record_bytes, lease_ms, lsn, age;
    uint32_t count, coverage_count;
    uint32_t capacity;              /* K that the arrays have room for */
    uint64_t *ids;                  /* [K] */
    float *probabilities, *weights; /* [K] */

    enum message_way way;
    enum message_records layout;
    const unsigned char **records; /* [K] where each is; NULL while it is coming */
    uint32_t *sizes;               /* [K] bytes */
    uint64_t *offsets;             /* [K] in the block */
    zmq_msg_t *frames;             /* that the records lie in */
    uint32_t frame_count, frame_capacity;
    uint32_t parts_left, records_left; /* to come */
    unsigned char *block;              /* a copy of our own: of parts to be joined, or aligned */
    size_t block_capacity;
    struct attachment *attachment; /* the mapped memory that the records lie in, or NULL */

    float *losses;  /* [K] as reported */
    uint8_t *flags; /* [K] likewise, unless it came without (has_flags) */
    bool has_flags;
    struct message_select select; /* likewise */
    uint64_t round;               /* likewise */
    bool ragged;                  /* it was reported by items: losses and flags mean nothing */
    size_t report_count;          /* losses in the report */
    uint64_t seq;                 /* of the report, 0: none yet */
    uint64_t boot;                /* of the daemon that handed it out ... */
    uint64_t session;             /* ... and the session it was handed to */
    int refused;                  /* the error that answered the report, 0: none */
    char why[MESSAGE_TEXT_BYTES_MAX + 1];
    struct ohem_selection selection;
    TAILQ_ENTRY(ohem_batch) entry;
};

TAILQ_HEAD(batch_list, ohem_batch);

/** Memory for batches of K. @return NULL when there is none. */
struct ohem_batch *batch_new(struct ohem_client *client, uint32_t capacity);
void batch_free(struct ohem_batch *b);

/** Let go of the records: of frames and mapped memory. */
void batch_drop_records(struct ohem_batch *b);

/**
 * Take over a decoded BATCH, all but its records: then one of the next three.
 * @param layout  as the session has it
 */
void batch_fill(struct ohem_batch *b, const struct message_batch *m, enum message_records layout);

/** The records lie in memory that is mapped. @return 0 or -OHEM_MALFORMED */
int batch_take_mapped(struct ohem_batch *b, const struct message_batch *m, struct attachment *a,
                      struct reason *why);

/** The block came inline and whole; the frame is moved. @return 0 or -OHEM_NOMEM */
int batch_take_block(struct ohem_batch *b, const struct message_batch *m, zmq_msg_t *frame);

/** The block comes in parts. @return 0 or -OHEM_NOMEM */
int batch_await_parts(struct ohem_batch *b, const struct message_batch *m);

/** A part came; the frame is moved. With the last one the batch is READY.
 *  @return 0, or -OHEM_MALFORMED: it is not where its records are, or came before */
int batch_take_part(struct ohem_batch *b, const struct message_part *m, zmq_msg_t *frame,
                    struct reason *why);

/** Keep the answer to the batch's report. @return 0 or -OHEM_NOMEM */
int batch_answer(struct ohem_batch *b, const struct message_selection *m);

#endif
