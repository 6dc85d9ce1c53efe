/* notify.h - what systemd is told: READY, RELOADING, STOPPING, STATUS, WATCHDOG.
 *
 * Does nothing without $NOTIFY_SOCKET.
 */
#ifndef OHEMD_NOTIFY_H
#define OHEMD_NOTIFY_H

#include <stdint.h>

void notify_ready(const char *status);
void notify_reloading(void); /* until the next notify_ready() */
void notify_stopping(const char *status);
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** How often notify_watchdog() must be called, in milliseconds (half of what systemd waits); 0:
 * never. */
uint64_t notify_watchdog_ms(void);
void notify_watchdog(void);

#endif
