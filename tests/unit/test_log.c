/* test_log.c - lines on stderr: their form for a terminal and for the journal. */
#include "../lib/test.h"

#include "../../daemon/log.h"
#include "../../proto/error.h"

#include <fcntl.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char written[2 * LOG_LINE_BYTES_MAX];

/* stderr goes to a file of its own until stderr_end(), which reads it into `written`. */
static int stderr_begin(void)
{
    int saved = dup(STDERR_FILENO);
    int fd = open("stderr.txt", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

    assert_true(saved >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(fd), 0);
    return saved;
}

static void stderr_end(int saved)
{
    FILE *file = fopen("stderr.txt", "r");

    assert_non_null(file);
    written[fread(written, 1, sizeof written - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t compiled;

    assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&compiled, text, 0, NULL, 0) != 0)
        fail_msg("'%s' does not match '%s'", text, pattern);
    regfree(&compiled);
}

static void a_line_has_time_level_group_and_message(void **state)
{
    int saved;

    (void)state;
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    saved = stderr_begin();
    log_info("server", "listening endpoint=%s sessions=%d", "ipc:///run/x", 3);
    stderr_end(saved);
    assert_matches(written,
                   "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
                   "info server: listening endpoint=ipc:///run/x sessions=3\n$");
}

/* As systemd does it: the variable names the device and inode of stderr. */
static void the_journal_gets_a_priority_and_no_time(void **state)
{
    char stream[64];
    struct stat s;
    int saved;

    (void)state;
    saved = stderr_begin();
    assert_int_equal(fstat(STDERR_FILENO, &s), 0);
    (void)snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)s.st_dev, (uintmax_t)s.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    log_error("a", "1");
    log_warning("b", "2");
    log_info("c", "3");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("d", "4");
    stderr_end(saved);
    assert_string_equal(written, "<3>a: 1\n<4>b: 2\n<6>c: 3\n<7>d: 4\n");
}

static void another_stderr_than_the_journals_gets_the_time(void **state)
{
    int saved;

    (void)state;
    assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    saved = stderr_begin();
    log_error("main", "no");
    stderr_end(saved);
    assert_matches(written, "^20.*Z error main: no\n$");
}

static void what_is_below_the_level_is_not_written(void **state)
{
    int saved = stderr_begin();

    (void)state;
    log_debug("main", "by default not");
    log_set_level(LOG_LEVEL_WARNING);
    log_info("main", "not this");
    log_warning("main", "but this");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("main", "no more");
    stderr_end(saved);
    assert_matches(written, "^[^\n]* warning main: but this\n$");
}

static void a_control_character_cannot_forge_a_line(void **state)
{
    int saved = stderr_begin();

    (void)state;
    log_info("main", "agent=%s", "x\n<3>error: forged\x1b[31m\t\x7f");
    stderr_end(saved);
    assert_matches(written, "^[^\n]* agent=x\\?<3>error: forged\\?\\[31m\\?\\?\n$");
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    char *text = malloc(3 * LOG_LINE_BYTES_MAX);
    int saved = stderr_begin();

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 3 * LOG_LINE_BYTES_MAX - 1);
    text[3 * LOG_LINE_BYTES_MAX - 1] = '\0';
    log_info("main", "%s", text);
    stderr_end(saved);
    free(text);
    assert_in_range(strlen(written), LOG_LINE_BYTES_MAX - 8, LOG_LINE_BYTES_MAX);
    assert_matches(written, "^[^\n]*xxx\\.\\.\\.\n$");
}

static void each_levels_name_reads_back_and_no_other(void **state)
{
    enum log_level level = LOG_LEVEL_ERROR;

    (void)state;
    for (enum log_level i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        assert_int_equal(log_level_parse(log_level_name(i), &level), 0);
        assert_int_equal(level, i);
    }
    level = LOG_LEVEL_WARNING;
    assert_int_equal(log_level_parse("warn", &level), -OHEM_INVALID);
    assert_int_equal(log_level_parse("", &level), -OHEM_INVALID);
    assert_int_equal(level, LOG_LEVEL_WARNING);
}

TEST_MAIN(TEST(a_line_has_time_level_group_and_message),
          TEST(the_journal_gets_a_priority_and_no_time),
          TEST(another_stderr_than_the_journals_gets_the_time),
          TEST(what_is_below_the_level_is_not_written),
          TEST(a_control_character_cannot_forge_a_line), TEST(a_long_line_is_cut_and_says_so),
          TEST(each_levels_name_reads_back_and_no_other))
