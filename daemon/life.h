/* life.h - the life page: shared memory that tells a client whether the daemon still guards a file.
 *
 * The word at its start is a robust mutex held by the thread that made the page. When that thread
 * dies, however it dies, the kernel takes its id out of the word (get_robust_list(2)), and does so
 * before it closes the process's files: so before a writer can see that LMDB's reader is gone. A
 * page of a data set that nobody guards is never held, and says so from the start.
 */
#ifndef OHEMD_LIFE_H
#define OHEMD_LIFE_H

#include <stdbool.h>

struct life;

/** @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM. */
int life_new(bool held, struct life **out);

/** To be handed to clients; can only be read. Lent as long as the page is. */
int life_descriptor(const struct life *l);

/** Let go, from the thread that made it: before the data sets are closed. NULL is allowed. */
void life_free(struct life *l);

#endif
