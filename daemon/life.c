/* life.c - a robust mutex in sealed memory; see life.h. */
#include "life.h"

#include "../proto/error.h"
#include "../proto/share.h"
#include "sealed.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct life {
    int fd;
    bool held;
    pthread_mutex_t *mutex; /* its first word is the futex */
};

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
    void *page;
    int rc =
        l != NULL ? sealed_memory_new("ohemd-life", SHARE_LIFE_BYTES, &l->fd, &page) : -OHEM_NOMEM;

    if (rc != 0) {
        free(l);
        return rc;
    }
    l->mutex = page;
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
