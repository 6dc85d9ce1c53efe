/* notify.c - what systemd is told; see notify.h.
 *
 * libsystemd finds the socket by $NOTIFY_SOCKET and does nothing without it. Failures are not
 * reported: systemd notices by itself what it does not hear.
 */
#include "notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_BYTES_MAX 256

void notify_ready(const char *status)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

/* When it began tells newer versions of systemd which READY ends it. */
void notify_reloading(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reloading",
                     (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void notify_stopping(const char *status)
{
    (void)sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void notify_status(const char *format, ...)
{
    char status[STATUS_BYTES_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(status, sizeof status, format, args);
    va_end(args);
    (void)sd_notifyf(0, "STATUS=%s", status);
}

uint64_t notify_watchdog_ms(void)
{
    uint64_t timeout_us = 0;

    if (sd_watchdog_enabled(0, &timeout_us) <= 0)
        return 0;
    return timeout_us < 4000 ? 1 : timeout_us / 2000;
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}
