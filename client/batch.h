/* batch.h - a batch as the trainer holds it: its vectors, its records, its report and selection.
 *
 * Not the conversation: client.c receives and sends. A batch outlives its client: its memory is its
 * own, and its records are the received frame.
 */
#ifndef OHEM_BATCH_H
#define OHEM_BATCH_H

#include "../proto/message.h"
#include "ohem.h"

#include <stdbool.h>
#include <sys/queue.h>
#include <zmq.h>

struct ohem_selection {
    bool arrived;
    uint32_t flags, count, nonfinite_count;
    uint64_t lsn;
    struct ohem_stats all, kept;
    uint32_t *indices; /* [K] */
    float *weights;    /* [K] */
};

enum batch_state {
    BATCH_READY,  /* received, not yet given to the trainer */
    BATCH_HELD,   /* with the trainer */
    BATCH_ORPHAN, /* with the trainer; the daemon forgot the session that it was handed to */
};

struct ohem_batch {
    struct ohem_client *client; /* NULL once closed */
    enum batch_state state;
    struct token token;
    uint64_t epoch, record_bytes, lease_ms;
    uint32_t count, coverage_count;
    uint32_t capacity;              /* K that the arrays have room for */
    uint64_t *ids, *offsets;        /* [K], [K+1] */
    float *probabilities, *weights; /* [K] */
    zmq_msg_t payload;
    float *losses; /* [K] as reported, to send again */
    uint64_t seq;  /* of the report, 0: none yet */
    int refused;   /* the error that answered the report, 0: none */
    char why[MESSAGE_TEXT_BYTES_MAX + 1];
    struct ohem_selection selection;
    TAILQ_ENTRY(ohem_batch) entry;
};

TAILQ_HEAD(batch_list, ohem_batch);

/** Memory for batches of K. @return NULL when there is none. */
struct ohem_batch *batch_new(struct ohem_client *client, uint32_t capacity);
void batch_free(struct ohem_batch *b);

/** Take over a decoded BATCH; `payload` is the frame that its payload lies in, and is moved. */
void batch_fill(struct ohem_batch *b, const struct message_batch *m, zmq_msg_t *payload);

/** Keep the answer to the batch's report. */
void batch_answer(struct ohem_batch *b, const struct message_selection *m);

#endif
