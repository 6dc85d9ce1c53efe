/* unix_socket.h - a listening Unix socket at a path, taken over from a dead daemon if need be.
 *
 * A socket file that nobody answers at is what a killed daemon left behind, and is replaced. One
 * that somebody answers at is never touched, nor is a file of another kind.
 */
#ifndef OHEMD_UNIX_SOCKET_H
#define OHEMD_UNIX_SOCKET_H

#include "../proto/reason.h"

#include <stdint.h>
#include <sys/types.h>

/* The file that was made, to know it again: somebody may have put another one in its place. */
struct unix_socket {
    int fd;
    const char *path; /* lent */
    dev_t device;
    ino_t inode;
};

/**
 * Bind and listen, non-blocking.
 * @param path  stays where it is until unix_socket_unlink()
 * @param mode  of the file, in force before anybody can connect
 * @return 0 or -OHEM_SYSTEM with the reason
 */
int unix_socket_open(const char *path, uint32_t mode, struct unix_socket *out, struct reason *why);

/** Remove the file, if it is still the one that was made. The descriptor is closed by its user. */
void unix_socket_unlink(const struct unix_socket *s);

#endif
