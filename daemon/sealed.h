/* sealed.h - memory without a name that others can map for reading only.
 *
 * A memfd, mapped writable here and then sealed: its size stays, and nobody can map it for writing
 * or write to it any more, not even who opens the descriptor anew.
 */
#ifndef OHEMD_SEALED_H
#define OHEMD_SEALED_H

#include <stddef.h>

/** @param name  for /proc only. @return 0 or -OHEM_SYSTEM; the caller unmaps and closes. */
int sealed_memory_new(const char *name, size_t bytes, int *out_fd, void **out_memory);

#endif
