/* ring.c - a sealed memfd; see ring.h.
 *
 * Its pages are not touched beforehand: zeroing a hundred megabytes would stop the loop, and the
 * gathering threads do it bit by bit.
 */
#include "ring.h"

#include "../proto/error.h"

#include <assert.h>
#include <fcntl.h>
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

static int map_memory(struct share_ring *r, size_t bytes)
{
    void *memory;

    r->fd = memfd_create("ohemd-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->fd < 0)
        return -OHEM_SYSTEM;
    if (ftruncate(r->fd, (off_t)bytes) != 0)
        goto err;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    if (memory == MAP_FAILED)
        goto err;
    r->memory = memory;
    if (fcntl(r->fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
        goto err_after_map;
    return 0;

err_after_map:
    (void)munmap(memory, bytes);
err:
    (void)close(r->fd);
    return -OHEM_SYSTEM;
}

int share_ring_new(uv_loop_t *loop, uint32_t slot_count, size_t slot_bytes, struct share_ring **out)
{
    struct share_ring *r = calloc(1, sizeof *r);
    int rc;

    if (r == NULL)
        return -OHEM_NOMEM;
    r->loop = loop;
    r->refs = 1;
    r->slot_count = slot_count;
    r->slot_bytes = slot_bytes;
    rc = map_memory(r, slot_count * slot_bytes);
    if (rc != 0) {
        free(r);
        return rc;
    }
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
