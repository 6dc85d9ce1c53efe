/* rewriter.h - a process that writes to a data set while it is served, as nobody should but may.
 *
 *     rewriter_start(&w, &set, DAEMON_DATASET, false);   // before there are any clients: it forks
 *     rewriter_commit(&w, 3, 1);                         // three transactions over all records
 *     rewriter_go(&w, 4); ... rewriter_halt(&w);         // one after the other, meanwhile
 *     rewriter_end(&w);
 *
 * Each transaction replaces records by others of the same size, which differ from the original in
 * every byte. LMDB puts them on pages that no living reader needs any more.
 */
#ifndef REWRITER_H
#define REWRITER_H

#include "tinyset.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rewriter {
    const struct tinyset *set;
    pid_t pid;
    int fd;
};

/** @param through_map  it writes through a mapping of its own (MDB_WRITEMAP), and not by write(2)
 */
void rewriter_start(struct rewriter *w, const struct tinyset *set, const char *path,
                    bool through_map);

/** So many transactions, each over every one_in-th record, from another on each time. When it
 *  returns they are committed. @return how many there were since the start */
uint32_t rewriter_commit(struct rewriter *w, uint32_t commits, uint32_t one_in);

/** Commit without end; returns when the first is done. */
void rewriter_go(struct rewriter *w, uint32_t one_in);

/** @return how many there were since the start */
uint32_t rewriter_halt(struct rewriter *w);

void rewriter_end(struct rewriter *w);

/** Are these the bytes that its n-th transaction, from 1, gave the record? */
bool rewriter_wrote(const struct rewriter *w, uint32_t n, uint64_t id, const void *data,
                    size_t size);

#endif
