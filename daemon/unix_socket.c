/* unix_socket.c - a listening Unix socket at a path; see unix_socket.h. */
#include "unix_socket.h"

#include "../proto/error.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG SOMAXCONN /* a full one refuses a burst of trainers that all connect at once */

static int make_address(const char *path, struct sockaddr_un *out, struct reason *why)
{
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof out->sun_path) {
        reason_set(why, "socket '%s': the path has %zu bytes; 1 to %zu are allowed", path, size,
                   sizeof out->sun_path - 1);
        return -OHEM_SYSTEM;
    }
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, size + 1);
    return 0;
}

/* What a connect says: 0 or EAGAIN (its queue is full) when somebody listens. */
static int try_connect(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd < 0)
        return errno;
    rc = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    (void)close(fd);
    return rc;
}

/* Remove a socket file that nobody answers at. */
static int remove_stale(const struct sockaddr_un *address, struct reason *why)
{
    const char *path = address->sun_path;
    struct stat info;
    int rc;

    if (lstat(path, &info) == 0 && !S_ISSOCK(info.st_mode)) {
        reason_set(why, "socket '%s': a file that is no socket stands there", path);
        return -OHEM_SYSTEM;
    }
    rc = try_connect(address);
    if (rc == 0 || rc == EAGAIN) {
        reason_set(why, "another daemon answers at '%s'", path);
        return -OHEM_SYSTEM;
    }
    if (rc != ECONNREFUSED && rc != ENOENT) {
        reason_set(why, "socket '%s': cannot tell whether a daemon answers there: %s", path,
                   strerror(rc));
        return -OHEM_SYSTEM;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        reason_set(why, "socket '%s' of a dead daemon: %s", path, strerror(errno));
        return -OHEM_SYSTEM;
    }
    return 0;
}

static int bind_address(int fd, const struct sockaddr_un *address, struct reason *why)
{
    const struct sockaddr *a = (const struct sockaddr *)address;
    int rc;

    if (bind(fd, a, sizeof *address) == 0)
        return 0;
    if (errno == EADDRINUSE) {
        rc = remove_stale(address, why);
        if (rc != 0)
            return rc;
        if (bind(fd, a, sizeof *address) == 0)
            return 0;
    }
    reason_set(why, "socket '%s': %s", address->sun_path, strerror(errno));
    return -OHEM_SYSTEM;
}

/* The mode is set between bind() and listen(): until then every connect is refused. */
static int open_up(int fd, const char *path, uint32_t mode, struct stat *out, struct reason *why)
{
    if (chmod(path, (mode_t)mode) == 0 && lstat(path, out) == 0 && listen(fd, BACKLOG) == 0)
        return 0;
    reason_set(why, "socket '%s': %s", path, strerror(errno));
    (void)unlink(path);
    return -OHEM_SYSTEM;
}

int unix_socket_open(const char *path, uint32_t mode, struct unix_socket *out, struct reason *why)
{
    struct sockaddr_un address;
    struct stat info;
    int fd;
    int rc = make_address(path, &address, why);

    if (rc != 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        reason_set(why, "socket '%s': %s", path, strerror(errno));
        return -OHEM_SYSTEM;
    }
    rc = bind_address(fd, &address, why);
    if (rc == 0)
        rc = open_up(fd, path, mode, &info, why);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    *out =
        (struct unix_socket){.fd = fd, .path = path, .device = info.st_dev, .inode = info.st_ino};
    return 0;
}

void unix_socket_unlink(const struct unix_socket *s)
{
    struct stat info;

    if (lstat(s->path, &info) == 0 && info.st_dev == s->device && info.st_ino == s->inode)
        (void)unlink(s->path);
}
