/* draw.h - show instances as pictures, fetched from a job as a trainer would. */
#ifndef DRAW_H
#define DRAW_H

#include <stdio.h>

/**
 * Draw the instances named in `table`, which is what `ohemctl top` prints: lines that begin with id
 * and score; others, such as the titles, are passed over.
 * @return 0, or -1 after saying on stderr what is wrong
 */
int draw_instances(const char *job, FILE *table);

#endif
