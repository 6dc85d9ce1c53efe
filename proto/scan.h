/* scan.h - a look at bytes from a peer before anything is made of them.
 *
 * msgpack-c trusts the counts in what it reads: a header of five bytes makes it reserve 8 GB. So it
 * gets only a flat array of few fields, each of them inside the frame. For codec.c alone.
 */
#ifndef OHEM_SCAN_H
#define OHEM_SCAN_H

#include "codec.h"

/** May msgpack-c see this header? @return 0, -OHEM_MALFORMED, -OHEM_TOO_LARGE with the reason. */
int scan_header(struct frame header, struct reason *why);

/** Bytes of a text's longest beginning that may go over the wire: UTF-8, no control character. */
size_t scan_text(const char *text, size_t size);

#endif
