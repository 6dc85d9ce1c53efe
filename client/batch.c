/* batch.c - the memory of a batch and what the trainer may ask of it; see batch.h and ohem.h. */
#include "batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct ohem_batch *batch_new(struct ohem_client *client, uint32_t capacity)
{
    struct ohem_batch *b = calloc(1, sizeof *b);
    struct ohem_selection *s;

    if (b == NULL)
        return NULL;
    b->client = client;
    b->capacity = capacity;
    (void)zmq_msg_init(&b->payload);
    s = &b->selection;
    b->ids = malloc(capacity * sizeof *b->ids);
    b->offsets = malloc((capacity + 1) * sizeof *b->offsets);
    b->probabilities = malloc(capacity * sizeof *b->probabilities);
    b->weights = malloc(capacity * sizeof *b->weights);
    b->losses = malloc(capacity * sizeof *b->losses);
    s->indices = malloc(capacity * sizeof *s->indices);
    s->weights = malloc(capacity * sizeof *s->weights);
    if (b->ids == NULL || b->offsets == NULL || b->probabilities == NULL || b->weights == NULL ||
        b->losses == NULL || s->indices == NULL || s->weights == NULL) {
        batch_free(b);
        return NULL;
    }
    return b;
}

void batch_free(struct ohem_batch *b)
{
    if (b == NULL)
        return;
    (void)zmq_msg_close(&b->payload);
    free(b->ids);
    free(b->offsets);
    free(b->probabilities);
    free(b->weights);
    free(b->losses);
    free(b->selection.indices);
    free(b->selection.weights);
    free(b);
}

/* Out of a frame, which may be unaligned, into an array. */
static void copy_vector(void *to, struct vector from, size_t element_size)
{
    memcpy(to, from.data, from.count * element_size);
}

void batch_fill(struct ohem_batch *b, const struct message_batch *m, zmq_msg_t *payload)
{
    assert(m->count <= b->capacity);
    b->state = BATCH_READY;
    b->token = m->token;
    b->epoch = m->epoch;
    b->record_bytes = m->record_bytes;
    b->lease_ms = m->lease_ms;
    b->count = m->count;
    b->coverage_count = m->coverage_count;
    b->seq = 0;
    b->refused = 0;
    b->selection.arrived = false;
    copy_vector(b->ids, m->ids, sizeof *b->ids);
    copy_vector(b->offsets, m->offsets, sizeof *b->offsets);
    copy_vector(b->probabilities, m->probabilities, sizeof *b->probabilities);
    copy_vector(b->weights, m->weights, sizeof *b->weights);
    (void)zmq_msg_move(&b->payload, payload);
}

static struct ohem_stats public_stats(struct loss_stats s)
{
    return (struct ohem_stats){.count = s.count, .mean = s.mean, .min = s.min, .max = s.max};
}

void batch_answer(struct ohem_batch *b, const struct message_selection *m)
{
    struct ohem_selection *s = &b->selection;

    s->arrived = true;
    s->flags = m->flags;
    s->count = (uint32_t)m->indices.count;
    s->nonfinite_count = m->nonfinite_count;
    s->lsn = m->lsn;
    s->all = public_stats(m->all);
    s->kept = public_stats(m->kept);
    copy_vector(s->indices, m->indices, sizeof *s->indices);
    copy_vector(s->weights, m->weights, sizeof *s->weights);
}

uint32_t ohem_batch_count(const struct ohem_batch *batch)
{
    return batch->count;
}

const uint64_t *ohem_batch_ids(const struct ohem_batch *batch)
{
    return batch->ids;
}

const float *ohem_batch_probabilities(const struct ohem_batch *batch)
{
    return batch->probabilities;
}

const float *ohem_batch_weights(const struct ohem_batch *batch)
{
    return batch->weights;
}

int ohem_batch_is_hard(const struct ohem_batch *batch, uint32_t i)
{
    return i >= batch->coverage_count && i < batch->count;
}

uint64_t ohem_batch_step(const struct ohem_batch *batch)
{
    return batch->token.step;
}

uint64_t ohem_batch_epoch(const struct ohem_batch *batch)
{
    return batch->epoch;
}

uint64_t ohem_batch_lease_ms(const struct ohem_batch *batch)
{
    return batch->lease_ms;
}

static const unsigned char *payload_of(const struct ohem_batch *batch)
{
    /* zmq_msg_data() takes no const, and changes nothing */
    return zmq_msg_data((zmq_msg_t *)(uintptr_t)&batch->payload);
}

const void *ohem_batch_data(const struct ohem_batch *batch, uint32_t i, size_t *out_size)
{
    if (i >= batch->count)
        return NULL;
    if (out_size != NULL)
        *out_size = batch->offsets[i + 1] - batch->offsets[i];
    return payload_of(batch) + batch->offsets[i];
}

const void *ohem_batch_block(const struct ohem_batch *batch, size_t *out_record_bytes)
{
    if (out_record_bytes != NULL)
        *out_record_bytes = batch->record_bytes;
    return batch->record_bytes > 0 ? payload_of(batch) : NULL;
}

uint32_t ohem_selection_count(const struct ohem_selection *selection)
{
    return selection->count;
}

const uint32_t *ohem_selection_indices(const struct ohem_selection *selection)
{
    return selection->indices;
}

const float *ohem_selection_weights(const struct ohem_selection *selection)
{
    return selection->weights;
}

const struct ohem_stats *ohem_selection_stats_all(const struct ohem_selection *selection)
{
    return &selection->all;
}

const struct ohem_stats *ohem_selection_stats_kept(const struct ohem_selection *selection)
{
    return &selection->kept;
}

uint32_t ohem_selection_nonfinite_count(const struct ohem_selection *selection)
{
    return selection->nonfinite_count;
}

uint64_t ohem_selection_lsn(const struct ohem_selection *selection)
{
    return selection->lsn;
}

int ohem_selection_is_late(const struct ohem_selection *selection)
{
    return (selection->flags & SELECTION_FLAG_LATE) != 0;
}

int ohem_selection_is_repeated(const struct ohem_selection *selection)
{
    return (selection->flags & SELECTION_FLAG_REPEATED) != 0;
}
