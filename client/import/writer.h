/* writer.h - the one writer: instances into a fresh LMDB data set (main database, key -> record).
 *
 * Puts are gathered into transactions; the map grows between them, so nobody has to say how large
 * the data set will be. Nothing is synced before writer_finish(): the folder has no name yet.
 */
#ifndef IMPORT_WRITER_H
#define IMPORT_WRITER_H

#include "reader.h"

#define WRITER_NO_LABEL_BYTE (-1)

struct writer;

/** Begin a data set in an empty folder. @return 0, -OHEM_NOMEM or -OHEM_SYSTEM. */
int writer_open(const char *folder, struct writer **out, struct reason *why);

/**
 * Add an instance; its label is not looked at.
 * @param label_byte  0..255, put in front of the body, or WRITER_NO_LABEL_BYTE
 * @return 0; -OHEM_DATASET (key twice), -OHEM_TOO_LARGE (key or record), -OHEM_SYSTEM (disk full,
 * ...)
 */
int writer_put(struct writer *w, const struct instance *in, int label_byte, struct reason *why);

/** Commit and sync all. @return 0 or -OHEM_SYSTEM. writer_free() is still due. */
int writer_finish(struct writer *w, struct reason *why);

/** Takes NULL. What is not finished is lost. */
void writer_free(struct writer *w);

uint64_t writer_count(const struct writer *w); /* instances */
uint64_t writer_bytes(const struct writer *w); /* of all records */

#endif
