/* log.h - one event, one line on stderr: level, group, message, key=value.
 *
 *     info server: listening endpoint=ipc:///run/ohemd/ohemd.sock
 *
 * Under systemd (JOURNAL_STREAM is set) the level is a priority prefix "<6>". Only main, server and
 * status speak; pure modules return errors. Any thread may log; a line is written whole.
 */
#ifndef OHEMD_LOG_H
#define OHEMD_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** What is below this is not written. Set once at start (the default is info). */
void log_set_level(enum log_level level);

/** "error", "warning", "info", "debug" to a level. @return 0 or -OHEM_INVALID. */
int log_level_parse(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);

/** Write a line. `message` is printf style and ends with the key=value pairs; values that hold
 *  spaces are quoted by the caller. Control characters in it are replaced by '?'. */
void log_write(enum log_level level, const char *group, const char *message, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(group, ...)   log_write(LOG_LEVEL_ERROR, group, __VA_ARGS__)
#define log_warning(group, ...) log_write(LOG_LEVEL_WARNING, group, __VA_ARGS__)
#define log_info(group, ...)    log_write(LOG_LEVEL_INFO, group, __VA_ARGS__)
#define log_debug(group, ...)   log_write(LOG_LEVEL_DEBUG, group, __VA_ARGS__)

#endif
