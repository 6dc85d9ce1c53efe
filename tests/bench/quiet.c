/* quiet.c - see quiet.h. */
#include "quiet.h"

#include "measure.h"
#include "usage.h"

#define FOREIGN_MAX 0.06 /* of the machine; /proc/stat counts in ticks of 10 ms */
#define REPEATS_MAX 2

static double seconds_left;
static unsigned runs, repeated, disturbed;

void quiet_init(double repeat_s)
{
    seconds_left = repeat_s;
}

void quiet_run(void (*measure)(void *ctx), void *ctx)
{
    runs++;
    for (int repeats = 0;; repeats++) {
        uint64_t began = measure_now_ns();
        struct usage_mark mark;

        usage_mark(&mark);
        measure(ctx);
        if (usage_foreign(&mark) <= FOREIGN_MAX)
            return;
        if (repeats == REPEATS_MAX || seconds_left <= 0) {
            disturbed++;
            return;
        }
        repeated++;
        seconds_left -= (double)(measure_now_ns() - began) / MEASURE_NS_PER_S;
    }
}

void quiet_note(void)
{
    rows_note("Others used more than %.0f %% of the machine in %u of %u measurements; %u were "
              "repeated, %u count all the same.",
              100 * FOREIGN_MAX, repeated + disturbed, runs + repeated, repeated, disturbed);
}
