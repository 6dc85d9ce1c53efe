/* ring.c - sealed memory in slots; see ring.h.
 *
 * Its pages are not touched beforehand: zeroing a hundred megabytes would stop the loop, and the
 * gathering threads do it bit by bit.
 */
#include "ring.h"

#include "../proto/error.h"
#include "sealed.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct share_ring {
    uv_loop_t *loop;
    uv_work_t work;
    unsigned refs;
    int fd;
    uint32_t slot_count;
    size_t slot_bytes;
    unsigned char *memory;
    uint64_t busy; /* a bit for each slot that is being gathered into */
};

_Static_assert(MESSAGE_CREDIT_MAX <= 64, "a bit for each slot");

int share_ring_new(uv_loop_t *loop, uint32_t slot_count, size_t slot_bytes, struct share_ring **out)
{
    struct share_ring *r = calloc(1, sizeof *r);
    void *memory;
    int rc;

    if (r == NULL)
        return -OHEM_NOMEM;
    r->loop = loop;
    r->refs = 1;
    r->slot_count = slot_count;
    r->slot_bytes = slot_bytes;
    rc = sealed_memory_new("ohemd-ring", slot_count * slot_bytes, &r->fd, &memory);
    if (rc != 0) {
        free(r);
        return rc;
    }
    r->memory = memory;
    *out = r;
    return 0;
}

int share_ring_descriptor(const struct share_ring *r)
{
    return r->fd;
}

void share_ring_close_descriptor(struct share_ring *r)
{
    if (r->fd >= 0)
        (void)close(r->fd);
    r->fd = -1;
}

unsigned char *share_ring_begin(struct share_ring *r, uint32_t slot, size_t bytes)
{
    uint64_t bit = UINT64_C(1) << slot;

    assert(slot < r->slot_count);
    if ((r->busy & bit) != 0 || bytes > r->slot_bytes)
        return NULL;
    r->busy |= bit;
    return r->memory + slot * r->slot_bytes;
}

void share_ring_end(struct share_ring *r, uint32_t slot)
{
    r->busy &= ~(UINT64_C(1) << slot);
}

struct share_ring *share_ring_ref(struct share_ring *r)
{
    r->refs++;
    return r;
}

static void unmap_cb(uv_work_t *work)
{
    struct share_ring *r = work->data;

    (void)munmap(r->memory, r->slot_count * r->slot_bytes);
    share_ring_close_descriptor(r);
}

static void unmapped_cb(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    free(work->data);
}

void share_ring_unref(struct share_ring *r)
{
    if (r == NULL || --r->refs > 0)
        return;
    r->work.data = r;
    (void)uv_queue_work(r->loop, &r->work, unmap_cb, unmapped_cb);
}
