/* sealed.c - see sealed.h. */
#include "sealed.h"

#include "../proto/error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

int sealed_memory_new(const char *name, size_t bytes, int *out_fd, void **out_memory)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *memory;

    if (fd < 0)
        return -OHEM_SYSTEM;
    if (ftruncate(fd, (off_t)bytes) != 0)
        goto err;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        goto err;
    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0)
        goto err_after_map;
    *out_fd = fd;
    *out_memory = memory;
    return 0;

err_after_map:
    (void)munmap(memory, bytes);
err:
    (void)close(fd);
    return -OHEM_SYSTEM;
}
