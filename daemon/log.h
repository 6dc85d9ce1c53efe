/* log.h - one event, one line on stderr: time, level, group, message, key=value.
 *
 *     2026-01-02T03:04:05.678Z info server: listening endpoint=ipc:///run/ohemd/ohemd.sock
 *
 * When stderr is the journal's ($JOURNAL_STREAM names it), the line begins with a priority, "<6>",
 * instead of the time and level, which the journal keeps itself. Only main, server and status
 * speak; pure modules return errors. Any thread may log; a line is written whole, by one write().
 */
#ifndef OHEMD_LOG_H
#define OHEMD_LOG_H

#include <stdbool.h>

#define LOG_LINE_BYTES_MAX 2048 /* a longer line is cut, and ends with "..." */

/* X(NAME, word, syslog's priority), the gravest first */
#define LOG_LEVELS(X) \
    X(ERROR, "error", 3) \
    X(WARNING, "warning", 4) \
    X(INFO, "info", 6) \
    X(DEBUG, "debug", 7)

enum log_level {
#define LOG_LEVEL_ENUM(name, word, priority) LOG_LEVEL_##name,
    LOG_LEVELS(LOG_LEVEL_ENUM)
#undef LOG_LEVEL_ENUM
};

/** What is below this is not written. Set once at start (the default is info). */
void log_set_level(enum log_level level);

/** "error", "warning", "info", "debug" to a level. @return 0 or -OHEM_INVALID. */
int log_level_parse(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);

/** Is stderr the journal's? */
bool log_is_journal(void);

/** Write a line. `message` is printf style and ends with the key=value pairs; values that hold
 *  spaces are quoted by the caller. Control characters in it are replaced by '?'. */
void log_write(enum log_level level, const char *group, const char *message, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(group, ...)   log_write(LOG_LEVEL_ERROR, group, __VA_ARGS__)
#define log_warning(group, ...) log_write(LOG_LEVEL_WARNING, group, __VA_ARGS__)
#define log_info(group, ...)    log_write(LOG_LEVEL_INFO, group, __VA_ARGS__)
#define log_debug(group, ...)   log_write(LOG_LEVEL_DEBUG, group, __VA_ARGS__)

#endif
