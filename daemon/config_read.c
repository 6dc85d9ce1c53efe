/* config_read.c - a configuration file, line by line, into the structs.
 *
 * inih splits `key = value` and takes comments away. What it would do silently is refused here
 * before it sees the line: its buffer cuts long lines in two, it cuts a section's name at 49 bytes,
 * and an indented line would continue the value above. So it is fed one checked line at a time.
 */
#include "config_table.h"

#include "../proto/error.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES_MAX 120 /* of a text from the file, in an error */

struct reader {
    struct config *config;
    const char *file;
    char folder[PATH_MAX]; /* of the file: where relative paths start */
    FILE *stream;
    int line; /* the present one, from 1 */

    /* the present section */
    bool in_section, daemon_seen;
    enum config_section section;
    char title[sizeof "[dataset ]" + MESSAGE_NAME_BYTES_MAX];
    void *base;                     /* its struct */
    bool seen[CONFIG_SETTINGS_MAX]; /* row i of the table was given in it */

    int rc; /* the first error; then nothing more is read */
    struct reason *why;
};

/* An error in the present line. Control characters of the file do not reach the terminal. */
static void fail(struct reader *r, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct reader *r, int rc, const char *format, ...)
{
    struct reason text = {""};
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text.text, sizeof text.text, format, args);
    va_end(args);
    for (char *p = text.text; *p != '\0'; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    reason_set(r->why, "%s:%d: %s", r->file, r->line, text.text);
    r->rc = rc;
}

/* ---- lines ---- */

/* One line with its newline, or false at the end and after an error. */
static bool get_line(struct reader *r, char *line, size_t size)
{
    size_t used = 0;
    int ch;

    r->line++;
    while ((ch = getc(r->stream)) != EOF && ch != '\n') {
        if (ch == '\0') {
            fail(r, -OHEM_CONFIG, "the line holds a zero byte");
            return false;
        }
        if (used + 2 == size) { /* the newline and the final zero */
            fail(r, -OHEM_CONFIG, "the line is longer than %zu bytes", size - 2);
            return false;
        }
        line[used++] = (char)ch;
    }
    line[used] = '\n';
    line[used + 1] = '\0';
    return ch != EOF || used > 0;
}

/* Without its byte order mark and its indentation. */
static void strip_start(const struct reader *r, char *line)
{
    static const char mark[] = "\xEF\xBB\xBF";
    char *start = line;

    if (r->line == 1 && strncmp(line, mark, sizeof mark - 1) == 0)
        start += sizeof mark - 1;
    while (*start != '\n' && isspace((unsigned char)*start))
        start++;
    memmove(line, start, strlen(start) + 1);
}

/* ---- sections ---- */

/* The rank's own default exponent, unless the file said one. */
static void end_section(struct reader *r)
{
    size_t row = (size_t)(config_find(CONFIG_JOB, "alpha") - config_settings);
    struct config_job *job = r->base;

    if (r->in_section && r->section == CONFIG_JOB && !r->seen[row] &&
        job->settings.sampler.weight == SAMPLER_RANK)
        job->settings.sampler.alpha = CONFIG_ALPHA_RANK;
}

static bool find_section(const char *word, enum config_section *out)
{
    for (enum config_section s = CONFIG_DAEMON; s < CONFIG_SECTION_COUNT; s++) {
        if (strcmp(word, config_section_name(s)) == 0) {
            *out = s;
            return true;
        }
    }
    return false;
}

static void fail_unknown_section(struct reader *r, const char *word, const char *name)
{
    static const char *const forms[] = {"[daemon]", "[dataset NAME]", "[job NAME]"};

    for (enum config_section s = CONFIG_DAEMON; s < CONFIG_SECTION_COUNT; s++) {
        if (config_is_near(word, config_section_name(s))) {
            fail(r, -OHEM_CONFIG, "unknown section [%.*s%s%.*s]; did you mean %s?", SHOWN_BYTES_MAX,
                 word, name[0] == '\0' ? "" : " ", SHOWN_BYTES_MAX, name, forms[s]);
            return;
        }
    }
    fail(r, -OHEM_CONFIG, "unknown section [%.*s%s%.*s]: must be %s, %s or %s", SHOWN_BYTES_MAX,
         word, name[0] == '\0' ? "" : " ", SHOWN_BYTES_MAX, name, forms[0], forms[1], forms[2]);
}

static void open_section(struct reader *r, const char *name)
{
    struct config_dataset *dataset = NULL;
    struct config_job *job = NULL;
    struct reason why = {""};
    int rc = 0;

    if (r->section == CONFIG_DAEMON && (name[0] != '\0' || r->daemon_seen)) {
        reason_set(&why, "%s",
                   r->daemon_seen ? "[daemon] is given twice" : "[daemon] takes no name");
        rc = -OHEM_CONFIG;
    } else if (r->section == CONFIG_DAEMON) {
        r->daemon_seen = true;
        r->base = r->config;
    } else if (r->section == CONFIG_DATASET) {
        rc = config_new_dataset(r->config, name, &dataset, &why);
        r->base = dataset;
    } else {
        rc = config_new_job(r->config, name, &job, &why);
        r->base = job;
    }
    if (rc != 0)
        fail(r, rc, "%s", why.text);
}

/* `[word name]`, blanks around each; the line is cut to pieces. */
static void begin_section(struct reader *r, char *line)
{
    char *end = strchr(line, ']'), *word = line + 1, *name, *rest;

    if (end == NULL) {
        fail(r, -OHEM_CONFIG, "a section must end with ']': %.*s", SHOWN_BYTES_MAX, line);
        return;
    }
    rest = end + 1 + strspn(end + 1, " \t\r\n");
    if (*rest != '\0' && *rest != ';' && *rest != '#') {
        fail(r, -OHEM_CONFIG, "nothing may follow a section's ']': %.*s", SHOWN_BYTES_MAX, rest);
        return;
    }
    while (end > word && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    word += strspn(word, " \t");
    name = word + strcspn(word, " \t");
    if (*name != '\0')
        *name++ = '\0';
    name += strspn(name, " \t");

    end_section(r);
    r->in_section = find_section(word, &r->section);
    memset(r->seen, 0, sizeof r->seen);
    if (!r->in_section) {
        fail_unknown_section(r, word, name);
        return;
    }
    (void)snprintf(r->title, sizeof r->title, "[%s%s%s]", word, name[0] == '\0' ? "" : " ", name);
    open_section(r, name);
}

/* inih's source of lines. A section's line is ours alone: inih gets an empty one instead. */
static char *line_cb(char *line, int size, void *ctx)
{
    struct reader *r = ctx;

    if (r->rc != 0 || !get_line(r, line, (size_t)size))
        return NULL;
    strip_start(r, line);
    if (line[0] != '[')
        return line;
    begin_section(r, line);
    line[0] = '\n';
    line[1] = '\0';
    return r->rc == 0 ? line : NULL;
}

/* ---- settings ---- */

static void fail_unknown_key(struct reader *r, const char *key)
{
    const char *nearest = config_nearest_key(r->section, key);

    for (enum config_section s = CONFIG_DAEMON; nearest == NULL && s < CONFIG_SECTION_COUNT; s++) {
        if (config_find(s, key) != NULL) {
            fail(r, -OHEM_CONFIG, "%s unknown key '%s'; it belongs to [%s%s]", r->title, key,
                 config_section_name(s), s == CONFIG_DAEMON ? "" : " NAME");
            return;
        }
    }
    if (nearest != NULL)
        fail(r, -OHEM_CONFIG, "%s unknown key '%.*s'; did you mean '%s'?", r->title,
             SHOWN_BYTES_MAX, key, nearest);
    else
        fail(r, -OHEM_CONFIG, "%s unknown key '%.*s'; --help-config lists all", r->title,
             SHOWN_BYTES_MAX, key);
}

static void take_setting(struct reader *r, const struct config_setting *s, const char *value)
{
    struct reason must = {""};
    bool *seen = &r->seen[s - config_settings];
    int rc;

    if (*seen) {
        fail(r, -OHEM_CONFIG, "%s %s is given twice", r->title, s->key);
        return;
    }
    *seen = true;
    rc = config_value_parse(s, value, r->base, &must);
    if (rc == 0)
        rc = config_path_resolve(s->type, r->folder, (char *)r->base + s->offset, &must);
    if (rc != 0)
        fail(r, rc, "%s %s = %.*s: %s", r->title, s->key, SHOWN_BYTES_MAX, value, must.text);
}

/* inih's word for `key = value`. @return 0 when it is not good. */
static int setting_cb(void *ctx, const char *section, const char *key, const char *value)
{
    struct reader *r = ctx;
    const struct config_setting *s;

    (void)section;
    if (r->rc != 0)
        return 0;
    if (!r->in_section) {
        fail(r, -OHEM_CONFIG, "'%.*s' stands before the first [section]", SHOWN_BYTES_MAX, key);
        return 0;
    }
    s = config_find(r->section, key);
    if (s == NULL)
        fail_unknown_key(r, key);
    else
        take_setting(r, s, value);
    return r->rc == 0;
}

/* ---- the file ---- */

static int open_file(struct reader *r)
{
    char copy[PATH_MAX];

    if (strlen(r->file) >= sizeof copy) {
        reason_set(r->why, "%.*s...: the path is too long", SHOWN_BYTES_MAX, r->file);
        return -OHEM_CONFIG;
    }
    memcpy(copy, r->file, strlen(r->file) + 1);
    r->stream = fopen(r->file, "re");
    if (r->stream == NULL || realpath(dirname(copy), r->folder) == NULL) {
        reason_set(r->why, "%s: %s", r->file, strerror(errno));
        if (r->stream != NULL)
            (void)fclose(r->stream);
        return -OHEM_CONFIG;
    }
    return 0;
}

int config_read(struct config *c, const char *file, struct reason *why)
{
    struct reader r = {.config = c, .file = file, .why = why};
    int bad_line, rc = open_file(&r);

    if (rc != 0)
        return rc;
    bad_line = ini_parse_stream(line_cb, &r, setting_cb, &r);
    if (bad_line > 0 && (r.rc == 0 || bad_line < r.line)) {
        r.line = bad_line;
        fail(&r, -OHEM_CONFIG, "must be '[section]', 'key = value' or a comment (; or #)");
    } else if (bad_line < 0) {
        fail(&r, -OHEM_NOMEM, "%s", error_text(OHEM_NOMEM));
    } else if (r.rc == 0 && ferror(r.stream)) {
        reason_set(why, "%s: %s", file, strerror(errno));
        r.rc = -OHEM_CONFIG;
    }
    if (r.rc == 0)
        end_section(&r);
    (void)fclose(r.stream);
    return r.rc;
}
