/* quiet.h - measure again when others used the machine meanwhile.
 *
 * Others' work is the machine's busy and stolen CPU time without that of the bench and all that
 * comes from it. What a neighbour does to caches and memory does not show here; the spread of the
 * rounds shows it.
 */
#ifndef BENCH_QUIET_H
#define BENCH_QUIET_H

/** @param repeat_s  how long repeated measurements may take in all */
void quiet_init(double repeat_s);

/** Measure, and if that was disturbed, again; what counts is the last. */
void quiet_run(void (*measure)(void *ctx), void *ctx);

/** Say among the rows what was repeated. */
void quiet_note(void);

#endif
