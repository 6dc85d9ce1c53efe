/* batch.c - the memory of a batch and what the trainer may ask of it; see batch.h and ohem.h. */
#include "batch.h"

#include "../proto/error.h"

#include <assert.h>
#include <inttypes.h>
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
    s = &b->selection;
    b->ids = malloc(capacity * sizeof *b->ids);
    b->probabilities = malloc(capacity * sizeof *b->probabilities);
    b->weights = malloc(capacity * sizeof *b->weights);
    b->records = malloc(capacity * sizeof *b->records);
    b->sizes = malloc(capacity * sizeof *b->sizes);
    b->offsets = malloc(capacity * sizeof *b->offsets);
    b->losses = malloc(capacity * sizeof *b->losses);
    b->flags = malloc(capacity * sizeof *b->flags);
    s->capacity = capacity;
    s->indices = malloc(capacity * sizeof *s->indices);
    s->weights = malloc(capacity * sizeof *s->weights);
    if (b->ids == NULL || b->probabilities == NULL || b->weights == NULL || b->records == NULL ||
        b->sizes == NULL || b->offsets == NULL || b->losses == NULL || b->flags == NULL ||
        s->indices == NULL || s->weights == NULL) {
        batch_free(b);
        return NULL;
    }
    return b;
}

void batch_free(struct ohem_batch *b)
{
    if (b == NULL)
        return;
    batch_drop_records(b);
    free(b->frames);
    free(b->block);
    free(b->ids);
    free(b->probabilities);
    free(b->weights);
    free(b->records);
    free(b->sizes);
    free(b->offsets);
    free(b->losses);
    free(b->flags);
    free(b->selection.indices);
    free(b->selection.weights);
    free(b->selection.scores);
    free(b);
}

void batch_drop_records(struct ohem_batch *b)
{
    while (b->frame_count > 0)
        (void)zmq_msg_close(&b->frames[--b->frame_count]);
    attach_unref(b->attachment);
    b->attachment = NULL;
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

/* Out of a frame, which may be unaligned, into an array. */
static void copy_vector(void *to, struct vector from, size_t element_size)
{
    memcpy(to, from.data, from.count * element_size);
}

void batch_fill(struct ohem_batch *b, const struct message_batch *m, enum message_records layout)
{
    assert(m->count <= b->capacity);
    batch_drop_records(b);
    b->state = BATCH_READY;
    b->token = m->token;
    b->epoch = m->epoch;
    b->record_bytes = m->record_bytes;
    b->lease_ms = m->lease_ms;
    b->lsn = m->lsn;
    b->age = 0;
    b->count = m->count;
    b->coverage_count = m->coverage_count;
    b->way = (enum message_way)m->way;
    b->layout = layout;
    b->parts_left = 0;
    b->seq = 0;
    b->refused = 0;
    b->selection.arrived = false;
    copy_vector(b->ids, m->ids, sizeof *b->ids);
    copy_vector(b->probabilities, m->probabilities, sizeof *b->probabilities);
    copy_vector(b->weights, m->weights, sizeof *b->weights);
    copy_vector(b->sizes, m->sizes, sizeof *b->sizes);
    copy_vector(b->offsets, m->offsets, sizeof *b->offsets);
}

static void place_records(struct ohem_batch *b, const unsigned char *base)
{
    for (uint32_t i = 0; i < b->count; i++)
        b->records[i] = base + b->offsets[i];
}

int batch_take_mapped(struct ohem_batch *b, const struct message_batch *m, struct attachment *a,
                      struct reason *why)
{
    const unsigned char *base = NULL;
    int rc = attach_base(a, m, &base, why);

    if (rc != 0)
        return rc;
    b->attachment = attach_ref(a);
    place_records(b, base);
    return 0;
}

/* Room for so many frames. The ones that are there stay. */
static int ensure_frames(struct ohem_batch *b, uint32_t count)
{
    zmq_msg_t *more;

    if (count <= b->frame_capacity)
        return 0;
    assert(b->frame_count == 0); /* a zmq_msg_t must not be moved by bytes */
    more = realloc(b->frames, count * sizeof *more);
    if (more == NULL)
        return -OHEM_NOMEM;
    b->frames = more;
    b->frame_capacity = count;
    return 0;
}

static const unsigned char *keep_frame(struct ohem_batch *b, zmq_msg_t *frame)
{
    zmq_msg_t *kept = &b->frames[b->frame_count++];

    (void)zmq_msg_init(kept);
    (void)zmq_msg_move(kept, frame);
    return zmq_msg_data(kept);
}

/* A block of our own, so aligned that records at multiples of 64 are aligned too. */
static int ensure_block(struct ohem_batch *b, uint64_t bytes)
{
    size_t size = ((size_t)bytes / MESSAGE_ALIGNMENT + 1) * MESSAGE_ALIGNMENT;
    unsigned char *bigger;

    if (size <= b->block_capacity)
        return 0;
    size += size / 8 / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT; /* sizes differ: the next is larger */
    bigger = aligned_alloc(MESSAGE_ALIGNMENT, size);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    free(b->block);
    b->block = bigger;
    b->block_capacity = size;
    return 0;
}

static bool is_aligned(const void *at)
{
    return (uintptr_t)at % MESSAGE_ALIGNMENT == 0;
}

int batch_take_block(struct ohem_batch *b, const struct message_batch *m, zmq_msg_t *frame)
{
    int rc;

    if (b->layout == RECORDS_ALIGNED64 && !is_aligned(zmq_msg_data(frame))) {
        rc = ensure_block(b, m->bytes);
        if (rc != 0)
            return rc;
        memcpy(b->block, m->payload.data, m->payload.count);
        place_records(b, b->block);
        return 0;
    }
    rc = ensure_frames(b, 1);
    if (rc == 0)
        place_records(b, keep_frame(b, frame));
    return rc;
}

/* Must the records lie in one piece? */
static bool needs_block(const struct ohem_batch *b)
{
    return b->layout != RECORDS_SCATTERED;
}

int batch_await_parts(struct ohem_batch *b, const struct message_batch *m)
{
    int rc = needs_block(b) ? ensure_block(b, m->bytes) : ensure_frames(b, m->parts);

    if (rc != 0)
        return rc;
    memset(b->records, 0, b->count * sizeof *b->records);
    b->parts_left = m->parts;
    b->records_left = m->count;
    b->state = BATCH_COMING;
    return 0;
}

/* Are these records of this batch, not there yet, and where their part says? */
static bool fits(const struct ohem_batch *b, const struct message_part *m)
{
    uint32_t last = m->first + m->count - 1;

    if (b->state != BATCH_COMING || m->first >= b->count || m->count > b->count - m->first)
        return false;
    for (uint32_t i = m->first; i <= last; i++)
        if (b->records[i] != NULL)
            return false;
    /* the last part brings what is left, and no other does */
    return (b->parts_left == 1) == (m->count == b->records_left) &&
           m->begin == b->offsets[m->first] &&
           m->payload.count == b->offsets[last] + b->sizes[last] - m->begin;
}

int batch_take_part(struct ohem_batch *b, const struct message_part *m, zmq_msg_t *frame,
                    struct reason *why)
{
    const unsigned char *base;

    if (!fits(b, m)) {
        reason_set(why,
                   "a part with records %u..%u at byte %" PRIu64 " does not fit the batch of step "
                   "%" PRIu64,
                   m->first, m->first + m->count - 1, m->begin, b->token.step);
        return -OHEM_MALFORMED;
    }
    if (needs_block(b)) {
        memcpy(b->block + m->begin, m->payload.data, m->payload.count);
        base = b->block + m->begin;
    } else {
        base = keep_frame(b, frame);
    }
    for (uint32_t i = m->first; i < m->first + m->count; i++)
        b->records[i] = base + (b->offsets[i] - m->begin);
    b->records_left -= m->count;
    if (--b->parts_left == 0)
        b->state = BATCH_READY;
    return 0;
}

static struct ohem_stats public_stats(struct loss_stats s)
{
    return (struct ohem_stats){.count = s.count, .mean = s.mean, .min = s.min, .max = s.max};
}

/* Room for more than K: of a ragged report any number may be selected. */
static int ensure_selection(struct ohem_selection *s, size_t count)
{
    uint32_t *indices;
    float *weights;

    if (count <= s->capacity)
        return 0;
    indices = malloc(count * sizeof *indices);
    weights = malloc(count * sizeof *weights);
    if (indices == NULL || weights == NULL) {
        free(indices);
        free(weights);
        return -OHEM_NOMEM;
    }
    free(s->indices);
    free(s->weights);
    s->indices = indices;
    s->weights = weights;
    s->ones = 0;
    s->capacity = count;
    return 0;
}

/* What is not said is 1, and mostly was before. */
static void take_weights(struct ohem_selection *s, struct vector weights)
{
    if (weights.count > 0) {
        copy_vector(s->weights, weights, sizeof *s->weights);
        s->ones = 0;
        return;
    }
    for (; s->ones < s->count; s->ones++)
        s->weights[s->ones] = 1;
}

static int take_scores(struct ohem_batch *b, struct vector scores)
{
    struct ohem_selection *s = &b->selection;

    s->has_scores = scores.count > 0;
    if (!s->has_scores)
        return 0;
    if (s->scores == NULL)
        s->scores = malloc(b->capacity * sizeof *s->scores);
    if (s->scores == NULL)
        return -OHEM_NOMEM;
    copy_vector(s->scores, scores, sizeof *s->scores);
    return 0;
}

int batch_answer(struct ohem_batch *b, const struct message_selection *m)
{
    struct ohem_selection *s = &b->selection;
    int rc = ensure_selection(s, m->indices.count);

    if (rc == 0)
        rc = take_scores(b, m->scores);
    if (rc != 0)
        return rc;
    s->arrived = true;
    s->told = false;
    s->flags = m->flags;
    s->count = (uint32_t)m->indices.count;
    s->nonfinite_count = m->nonfinite_count;
    s->ignored_count = m->ignored_count;
    s->lsn = m->lsn;
    s->share = m->share;
    s->all = public_stats(m->all);
    s->kept = public_stats(m->kept);
    copy_vector(s->indices, m->indices, sizeof *s->indices);
    take_weights(s, m->weights);
    return 0;
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

uint64_t ohem_batch_age(const struct ohem_batch *batch)
{
    return batch->age;
}

enum ohem_transport ohem_batch_transport(const struct ohem_batch *batch)
{
    return (enum ohem_transport)(batch->way + OHEM_INLINE);
}

int ohem_batch_check(const struct ohem_batch *batch)
{
    return batch->attachment == NULL || attach_is_good(batch->attachment) ? 0 : -OHEM_STALE;
}

const void *ohem_batch_data(const struct ohem_batch *batch, uint32_t i, size_t *out_size)
{
    if (i >= batch->count)
        return NULL;
    if (out_size != NULL)
        *out_size = batch->sizes[i];
    return batch->records[i];
}

const void *ohem_batch_block(const struct ohem_batch *batch, size_t *out_stride)
{
    size_t stride = batch->record_bytes;

    if (batch->layout == RECORDS_SCATTERED)
        stride = 0;
    else if (batch->layout == RECORDS_ALIGNED64)
        stride = (stride + MESSAGE_ALIGNMENT - 1) / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT;
    if (out_stride != NULL)
        *out_stride = stride;
    return stride > 0 ? batch->records[0] : NULL;
}

const void *ohem_batch_field(const struct ohem_batch *batch, const struct ohem_field *field,
                             uint32_t i)
{
    if (i >= batch->count || field->offset + field->bytes > batch->sizes[i])
        return NULL;
    return batch->records[i] + field->offset;
}

const void *ohem_batch_field_view(const struct ohem_batch *batch, const struct ohem_field *field,
                                  size_t *out_stride)
{
    const unsigned char *block = ohem_batch_block(batch, out_stride);

    if (block == NULL)
        return NULL;
    if (field->offset + field->bytes <= batch->record_bytes)
        return block + field->offset;
    if (out_stride != NULL)
        *out_stride = 0;
    return NULL;
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

uint32_t ohem_selection_ignored_count(const struct ohem_selection *selection)
{
    return selection->ignored_count;
}

const float *ohem_selection_scores(const struct ohem_selection *selection)
{
    return selection->has_scores ? selection->scores : NULL;
}

uint64_t ohem_selection_lsn(const struct ohem_selection *selection)
{
    return selection->lsn;
}

uint32_t ohem_selection_round_count(const struct ohem_selection *selection)
{
    return selection->share.count;
}

uint32_t ohem_selection_round_present(const struct ohem_selection *selection)
{
    return selection->share.present;
}

float ohem_selection_scale(const struct ohem_selection *selection)
{
    return selection->share.scale;
}

int ohem_selection_is_late(const struct ohem_selection *selection)
{
    return (selection->flags & SELECTION_FLAG_LATE) != 0;
}

int ohem_selection_is_repeated(const struct ohem_selection *selection)
{
    return (selection->flags & SELECTION_FLAG_REPEATED) != 0;
}

int ohem_selection_is_superseded(const struct ohem_selection *selection)
{
    return (selection->flags & SELECTION_FLAG_SUPERSEDED) != 0;
}
