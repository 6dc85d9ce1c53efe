/* log.c - lines on stderr, for a terminal or the journal; see log.h.
 *
 * A line is put together in a buffer and leaves by one write(), so lines of several threads never
 * mix. What cannot be written is lost: there is nobody to tell.
 */
#include "log.h"

#include "../proto/error.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static enum log_level log_level = LOG_LEVEL_INFO;

static const struct {
    const char *name;
    int priority;
} levels[] = {
#define LEVEL(name, word, priority) {word, priority},
    LOG_LEVELS(LEVEL)
#undef LEVEL
};

void log_set_level(enum log_level level)
{
    log_level = level;
}

int log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -OHEM_INVALID;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

/* Children of a service inherit the variable; with another stderr it is not meant for them. */
bool log_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char mine[64];
    struct stat s;

    if (stream == NULL || fstat(STDERR_FILENO, &s) != 0)
        return false;
    (void)snprintf(mine, sizeof mine, "%ju:%ju", (uintmax_t)s.st_dev, (uintmax_t)s.st_ino);
    return strcmp(stream, mine) == 0;
}

/* What stands before the message. @return its bytes. */
static size_t write_head(char *line, size_t size, enum log_level level, const char *group)
{
    struct timespec now;
    struct tm utc;
    size_t used;

    if (log_is_journal())
        return (size_t)snprintf(line, size, "<%d>%s: ", levels[level].priority, group);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return used + (size_t)snprintf(line + used, size - used,
                                   ".%03ldZ %s %s: ", now.tv_nsec / 1000000, levels[level].name,
                                   group);
}

void log_write(enum log_level level, const char *group, const char *message, ...)
{
    char line[LOG_LINE_BYTES_MAX];
    const size_t room = sizeof line - 1; /* the newline */
    size_t used;
    va_list args;

    if (level > log_level)
        return;
    used = write_head(line, room, level, group);
    if (used < room) {
        va_start(args, message);
        used += (size_t)vsnprintf(line + used, room - used, message, args);
        va_end(args);
    }
    if (used >= room) {
        used = room - 1;
        memcpy(line + used - 3, "...", 3);
    }
    for (size_t i = 0; i < used; i++)
        if (iscntrl((unsigned char)line[i]))
            line[i] = '?';
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
