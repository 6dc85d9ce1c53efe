/* modules.h - single modules of the engine and the codec by themselves, in nanoseconds. */
#ifndef BENCH_MODULES_H
#define BENCH_MODULES_H

/**
 * Measure each for about so many seconds, so many times, and add the rows.
 * @param select_script  peer_select.py, whose times a selection is compared with; NULL: not
 */
void modules_run(int rounds, double seconds, const char *select_script);

#endif
