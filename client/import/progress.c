/* progress.c - the bar; see progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS   30
#define DRAW_GAP_MS 100
#define ETA_MAX_S   359999 /* 99:59:59 */

uint64_t progress_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_begin(struct progress *p, const char *what)
{
    *p = (struct progress){what, isatty(STDERR_FILENO) == 1, progress_now_ms(), 0};
}

static void draw_bar(double part)
{
    int full = (int)(part * BAR_CELLS);

    (void)fputc('[', stderr);
    for (int i = 0; i < BAR_CELLS; i++)
        (void)fputc(i < full ? '#' : '.', stderr);
    (void)fprintf(stderr, "] %3d %%  ", (int)(part * 100));
}

static void draw_eta(double seconds)
{
    int64_t s = seconds < ETA_MAX_S ? (int64_t)seconds : ETA_MAX_S;

    (void)fprintf(stderr, "  %02" PRId64 ":%02" PRId64 ":%02" PRId64 " to go", s / 3600,
                  s / 60 % 60, s % 60);
}

void progress_update(struct progress *p, uint64_t instances, uint64_t done, uint64_t total)
{
    uint64_t now;
    double seconds, part;

    if (!p->shown)
        return;
    now = progress_now_ms();
    if (now - (p->drawn_ms != 0 ? p->drawn_ms : p->began_ms) < DRAW_GAP_MS)
        return;
    p->drawn_ms = now;
    seconds = (double)(now - p->began_ms) / 1000;
    part = total > 0 && done < total ? (double)done / (double)total : 1;
    (void)fprintf(stderr, "\r%s ", p->what);
    if (total > 0)
        draw_bar(part);
    (void)fprintf(stderr, "%" PRIu64 ", %.0f/s", instances, (double)instances / seconds);
    if (total > 0 && part > 0)
        draw_eta(seconds / part - seconds);
    (void)fputs("\033[K", stderr);
}

void progress_end(struct progress *p)
{
    if (p->drawn_ms != 0)
        (void)fputs("\r\033[K", stderr);
}
