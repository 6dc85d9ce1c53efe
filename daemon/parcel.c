/* parcel.c - a batch's vectors, block and pieces; see parcel.h. */
#include "parcel.h"

#include "../proto/error.h"
#include "../proto/prefetch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define AHEAD_BYTES 8192       /* of records that are on their way into the cache, about */
#define AHEAD_MAX   8          /* and at most so many records */
#define HUGE_BYTES  (2u << 20) /* a huge page; blocks from this size on are made of them */

struct parcel *parcel_new(struct loader *l)
{
    struct parcel *p = calloc(1, sizeof *p);

    if (p != NULL)
        p->loader = l;
    return p;
}

void parcel_free(struct parcel *p)
{
    if (p == NULL)
        return;
    free(p->ids);
    free(p->vectors);
    free(p->payload);
    free(p->pieces);
    free(p);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* Large blocks in huge pages: fewer faults when they are first written, fewer TLB misses later. */
static void *take_memory(size_t size)
{
    void *memory;

    if (size < HUGE_BYTES)
        return malloc(size);
    size = (size + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    memory = aligned_alloc(HUGE_BYTES, size);
    if (memory != NULL)
        (void)madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

/* Memory of at least so many bytes, with some to spare; the old contents are not kept. */
static int ensure(void *buffer, size_t *capacity, size_t size)
{
    void **memory = buffer;
    void *bigger;

    if (size <= *capacity)
        return 0;
    if (*capacity > 0)
        size += size / 8; /* records of many sizes: the next batch may be a little larger */
    bigger = take_memory(size);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    free(*memory);
    *memory = bigger;
    *capacity = size;
    return 0;
}

static int ensure_pieces(struct parcel *p, uint32_t count)
{
    struct piece *more;

    if (count <= p->piece_capacity)
        return 0;
    more = realloc(p->pieces, count * sizeof *more);
    if (more == NULL)
        return -OHEM_NOMEM;
    p->pieces = more;
    p->piece_capacity = count;
    return 0;
}

/* ---- where each record lies --------------------------------------------------------------------
 */

/* A parcel's vectors, widest first. */
struct columns {
    uint64_t *ids, *offsets;        /* [K] */
    float *probabilities, *weights; /* [K] */
    uint32_t *sizes;                /* [K] */
};

static size_t columns_bytes(size_t k)
{
    return k * (2 * sizeof(uint64_t) + 2 * sizeof(float) + sizeof(uint32_t));
}

static struct columns columns_of(const struct parcel *p, size_t k)
{
    struct columns c;

    c.ids = (uint64_t *)(void *)p->vectors;
    c.offsets = c.ids + k;
    c.probabilities = (float *)(void *)(c.offsets + k);
    c.weights = c.probabilities + k;
    c.sizes = (uint32_t *)(void *)(c.weights + k);
    return c;
}

/* In the file. */
static void place_in_file(struct parcel *p, const struct columns *c, uint32_t k)
{
    for (uint32_t i = 0; i < k; i++) {
        c->offsets[i] = dataset_offset(p->dataset, p->ids[i]);
        c->sizes[i] = (uint32_t)dataset_record(p->dataset, p->ids[i]).size;
    }
}

/* In a block, one behind the other. @return the block's bytes */
static uint64_t place_in_block(struct parcel *p, const struct columns *c, uint32_t k,
                               enum message_records layout)
{
    uint64_t mask = layout == RECORDS_ALIGNED64 ? MESSAGE_ALIGNMENT - 1 : 0, end = 0;

    for (uint32_t i = 0; i < k; i++) {
        c->offsets[i] = (end + mask) & ~mask;
        c->sizes[i] = (uint32_t)dataset_record(p->dataset, p->ids[i]).size;
        end = c->offsets[i] + c->sizes[i];
    }
    return end;
}

/* ---- filling -----------------------------------------------------------------------------------
 */

static void write_header(struct parcel *p, const struct engine_delivery *d)
{
    const struct lease *lease = d->lease;

    p->public.peer = d->session->peer;
    p->public.key = d->session->key;
    p->public.gather_ns = 0;
    p->public.dropped = false;
    p->public.batch.type = MESSAGE_BATCH;
    p->public.batch.batch = (struct message_batch){
        .token = lease->token,
        .epoch = lease->epoch,
        .count = lease->count,
        .coverage_count = lease->coverage_count,
        .record_bytes = d->dataset->record_bytes,
        .lease_ms = d->lease_ms,
        .lsn = lease->lsn,
    };
}

static void write_columns(struct parcel *p, const struct lease *lease, const struct columns *c)
{
    struct message_batch *b = &p->public.batch.batch;
    uint32_t k = lease->count;

    for (uint32_t i = 0; i < k; i++)
        c->ids[i] = lease->ids[i];
    memcpy(c->probabilities, lease->probabilities, k * sizeof *c->probabilities);
    memcpy(c->weights, lease->weights, k * sizeof *c->weights);
    b->ids = (struct vector){c->ids, k};
    b->probabilities = (struct vector){c->probabilities, k};
    b->weights = (struct vector){c->weights, k};
    b->offsets = (struct vector){c->offsets, k};
    b->sizes = (struct vector){c->sizes, k};
}

/* The block's way: the slot if it can be had, else memory of the parcel's own. */
static int place_block(struct parcel *p, const struct loader_order *order, uint64_t bytes)
{
    struct message_batch *b = &p->public.batch.batch;
    uint32_t slot = order->delivery->slot;
    int rc;

    b->bytes = bytes;
    if (order->way == WAY_SHM) {
        p->block = share_ring_begin(order->ring, slot, bytes);
        if (p->block != NULL) {
            b->way = WAY_SHM;
            b->slot = slot;
            p->ring = share_ring_ref(order->ring);
            return 0;
        }
    }
    rc = ensure(&p->payload, &p->payload_capacity, bytes > 0 ? bytes : 1);
    p->block = p->payload;
    return rc;
}

/* Whole records, at least `bytes` together in each piece but the last. @return how many pieces */
static uint32_t cut(struct parcel *p, uint32_t k, uint64_t bytes, uint32_t pieces_max,
                    uint32_t lane)
{
    bool slow = dataset_wants_read_ahead(p->dataset);
    const uint64_t *offsets = p->public.batch.batch.offsets.data;
    uint64_t begin = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < k; i++) {
        if (i > 0 && (count == pieces_max || offsets[i] - begin < bytes))
            continue;
        p->pieces[count] =
            (struct piece){.item = {.run = parcel_gather_piece, .lane = lane, .slow = slow},
                           .parcel = p,
                           .first = i};
        if (count > 0)
            p->pieces[count - 1].count = i - p->pieces[count - 1].first;
        begin = offsets[i];
        count++;
    }
    p->pieces[count - 1].count = k - p->pieces[count - 1].first;
    return count;
}

static int cut_block(struct parcel *p, uint32_t k, uint32_t lane)
{
    struct message_batch *b = &p->public.batch.batch;
    uint64_t wanted = b->bytes / LOADER_PIECE_BYTES + 1;
    uint32_t pieces = wanted < MESSAGE_PARTS_MAX ? (uint32_t)wanted : MESSAGE_PARTS_MAX;
    int rc = ensure_pieces(p, pieces);

    if (rc != 0)
        return rc;
    p->piece_count = p->left = cut(p, k, (b->bytes + pieces - 1) / pieces, pieces, lane);
    if (b->way != WAY_INLINE)
        return 0;
    if (p->piece_count > 1)
        b->parts = p->piece_count;
    else
        b->payload = (struct vector){p->block, b->bytes};
    return 0;
}

int parcel_fill(struct parcel *p, const struct loader_order *order)
{
    const struct lease *lease = order->delivery->lease;
    uint32_t k = lease->count;
    struct columns c;
    int rc = ensure(&p->ids, &p->ids_capacity, k * sizeof *p->ids);

    if (rc == 0)
        rc = ensure(&p->vectors, &p->vectors_capacity, columns_bytes(k));
    if (rc != 0)
        return rc;
    p->dataset = dataset_ref(order->dataset);
    p->announced = false;
    p->ring = NULL;
    p->piece_count = p->left = 0;
    memcpy(p->ids, lease->ids, k * sizeof *p->ids);
    dataset_fetch(p->dataset, p->ids, k);
    c = columns_of(p, k);
    write_header(p, order->delivery);
    write_columns(p, lease, &c);
    if (order->way == WAY_MAP) {
        p->public.batch.batch.way = WAY_MAP;
        place_in_file(p, &c, k);
        return 0;
    }
    rc = place_block(p, order, place_in_block(p, &c, k, order->layout));
    if (rc == 0)
        rc = cut_block(p, k, order->delivery->dataset->number);
    if (rc != 0)
        parcel_leave(p);
    return rc;
}

void parcel_leave(struct parcel *p)
{
    dataset_close(p->dataset);
    p->dataset = NULL;
    if (p->ring == NULL)
        return;
    share_ring_end(p->ring, p->public.batch.batch.slot);
    share_ring_unref(p->ring);
    p->ring = NULL;
}

struct message parcel_part(const struct parcel *p, const struct piece *piece)
{
    const struct message_batch *b = &p->public.batch.batch;
    const uint64_t *offsets = b->offsets.data;
    const uint32_t *sizes = b->sizes.data;
    uint32_t last = piece->first + piece->count - 1;
    struct message m = {.type = MESSAGE_PART};

    m.part.token = b->token;
    m.part.begin = offsets[piece->first];
    m.part.first = piece->first;
    m.part.count = piece->count;
    m.part.payload =
        (struct vector){p->block + m.part.begin, offsets[last] + sizes[last] - m.part.begin};
    return m;
}

/* ---- gathering ---------------------------------------------------------------------------------
 */

/* Of this thread, since it was last asked. */
static uint64_t major_faults(void)
{
    static _Thread_local uint64_t told;
    struct rusage usage;
    uint64_t before = told;

    if (getrusage(RUSAGE_THREAD, &usage) == 0)
        told = (uint64_t)usage.ru_majflt;
    return told - before;
}

/* How many records to ask for ahead of the one that is copied: about AHEAD_BYTES. */
static uint32_t ahead_for(const struct message_batch *b)
{
    uint64_t mean = b->bytes / b->count + 1, ahead = AHEAD_BYTES / mean;

    return ahead < 1 ? 1 : ahead > AHEAD_MAX ? AHEAD_MAX : (uint32_t)ahead;
}

/* Inlined by force: gcc 12 takes a function that does nothing else for one without effect. */
__attribute__((always_inline)) static inline void prefetch(const struct parcel *p, uint32_t i,
                                                           uint32_t end)
{
    struct dataset_record r;

    if (i >= end)
        return;
    r = dataset_record(p->dataset, p->ids[i]);
    prefetch_record(r.data, r.size, PREFETCH_RECORD_BYTES);
}

/* What lies between two records is set to 0: the memory may have held another job's. */
static void clear_gap(const struct parcel *p, uint32_t i, size_t size)
{
    const struct message_batch *b = &p->public.batch.batch;
    const uint64_t *offsets = b->offsets.data;
    uint64_t end = offsets[i] + size;

    if (i + 1 < b->count && offsets[i + 1] > end)
        memset(p->block + end, 0, offsets[i + 1] - end);
}

/* Out of the map, where all of it is in memory. */
static void copy_records(const struct parcel *p, uint32_t first, uint32_t count)
{
    const uint64_t *offsets = p->public.batch.batch.offsets.data;
    uint32_t ahead = ahead_for(&p->public.batch.batch), last = first + count;

    for (uint32_t i = first; i < first + ahead; i++)
        prefetch(p, i, last);
    for (uint32_t i = first; i < last; i++) {
        struct dataset_record r = dataset_record(p->dataset, p->ids[i]);

        prefetch(p, i + ahead, last);
        memcpy(p->block + offsets[i], r.data, r.size);
        clear_gap(p, i, r.size);
    }
}

/* Out of the file, where the disk has to be waited for: all are asked for before the first is. */
static void read_records(const struct parcel *p, uint32_t first, uint32_t count)
{
    const struct message_batch *b = &p->public.batch.batch;
    const uint64_t *offsets = b->offsets.data;
    const uint32_t *sizes = b->sizes.data;

    dataset_read_ahead(p->dataset, p->ids + first, count);
    for (uint32_t i = first; i < first + count; i++) {
        dataset_read(p->dataset, p->ids[i], p->block + offsets[i]);
        clear_gap(p, i, sizes[i]);
    }
}

void parcel_gather_piece(struct pool_item *item)
{
    struct piece *piece = (struct piece *)item;
    struct parcel *p = piece->parcel;
    uint64_t began = uv_hrtime();

    if (dataset_wants_read_ahead(p->dataset))
        read_records(p, piece->first, piece->count);
    else
        copy_records(p, piece->first, piece->count);
    dataset_note_faults(p->dataset, major_faults());
    piece->gather_ns = uv_hrtime() - began;
}
