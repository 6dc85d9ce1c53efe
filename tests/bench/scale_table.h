/* scale_table.h - the rows as a table of growth: a column for each N. */
#ifndef BENCH_SCALE_TABLE_H
#define BENCH_SCALE_TABLE_H

#include <stddef.h>

/** Print rows, then ratios with the goals of the largest N, then notes. Rows' workloads and ratios'
 *  parts are among the sizes; a ratio has been made of each. */
void scale_table_print(const char *const *sizes, size_t count);

#endif
