/* life.c - a robust mutex in a sealed memfd; see life.h. */
#include "life.h"

#include "../proto/error.h"
#include "../proto/share.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct life {
    int fd;
    bool held;
    pthread_mutex_t *mutex; /* its first word is the futex */
};

static int map_page(struct life *l)
{
    void *page;

    l->fd = memfd_create("ohemd-life", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (l->fd < 0)
        return -OHEM_SYSTEM;
    if (ftruncate(l->fd, SHARE_LIFE_BYTES) != 0)
        goto err;
    page = mmap(NULL, SHARE_LIFE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
    if (page == MAP_FAILED)
        goto err;
    l->mutex = page;
    if (fcntl(l->fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
        return 0;
    (void)munmap(page, SHARE_LIFE_BYTES);
err:
    (void)close(l->fd);
    return -OHEM_SYSTEM;
}

static int hold(struct life *l)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);

    if (rc == 0)
        rc = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (rc == 0)
        rc = pthread_mutex_init(l->mutex, &attributes);
    if (rc == 0)
        rc = pthread_mutex_lock(l->mutex);
    (void)pthread_mutexattr_destroy(&attributes);
    l->held = rc == 0;
    return rc == 0 ? 0 : -OHEM_SYSTEM;
}

int life_new(bool held, struct life **out)
{
    struct life *l = calloc(1, sizeof *l);
    int rc = l != NULL ? map_page(l) : -OHEM_NOMEM;

    if (rc != 0) {
        free(l);
        return rc;
    }
    if (held)
        rc = hold(l);
    if (rc != 0) {
        life_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

int life_descriptor(const struct life *l)
{
    return l->fd;
}

void life_free(struct life *l)
{
    if (l == NULL)
        return;
    if (l->held)
        (void)pthread_mutex_unlock(l->mutex);
    (void)munmap(l->mutex, SHARE_LIFE_BYTES);
    (void)close(l->fd);
    free(l);
}
