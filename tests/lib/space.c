/* space.c - a file system without any space; see space.h. */
#include "space.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void space_take_all(const char *dir)
{
    static char block[4096];
    char path[512];
    int fd;

    (void)snprintf(path, sizeof path, "%s/filler", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    (void)close(fd);
}
