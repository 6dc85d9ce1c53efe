/* vectors.h - the wire's test vectors (proto/vectors, whose files say how they are written).
 *
 * Also the other way: a message in the words of those files. It is written by hand from PROTOCOL.md
 * and knows nothing of the codec's tables, so that a mistake in those shows.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include "../../proto/codec.h"

#include <stdio.h>

#define VECTORS_REASONS_MAX 8

/* A block of a file. All is in memory of its own. */
struct vectors_block {
    char name[64];
    char error[16]; /* hostile ones: the error's name */
    char type[16];  /* and the message's, or "?" */
    char reasons[VECTORS_REASONS_MAX][96];
    size_t reason_count;
    char fields[2048]; /* the lines from "message" on, without the frames */
    struct frame list[16];
    size_t frame_count;
};

/** Read the next block of a file that is open; false at its end. Fails the test at a bad line. */
bool vectors_read(FILE *file, struct vectors_block *out);
void vectors_free(struct vectors_block *b);

/** Open proto/vectors/NAME of the source tree. */
FILE *vectors_open(const char *name);

/** A message as the lines of a block. */
void vectors_describe(const struct message *m, char *out, size_t out_bytes);

#endif
