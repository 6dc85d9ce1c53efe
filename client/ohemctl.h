/* ohemctl.h - the parts of ohemctl: fetch (ohemctl_http.c), print (ohemctl_text.c), and one view
 * per command (ohemctl_views.c, ohemctl_hist.c, ohemctl_why.c).
 *
 * ohemctl is thin: it asks the daemon's status socket, and lays out what comes. It trusts none of
 * the strings in there: keys and agents were chosen by others and are escaped before they are
 * printed.
 */
#ifndef OHEMCTL_H
#define OHEMCTL_H

#include "../proto/reason.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* ---- ohemctl_http.c ---- */

/**
 * GET a path of the status socket.
 * @param out  the parsed body; the caller's reference
 * @return CTL_OK; CTL_FAILED (nobody answers, no such thing), CTL_USAGE (the daemon finds a number
 *         not allowed) with the reason
 */
enum ctl_exit ctl_get(const char *socket, const char *path, json_t **out, struct reason *why);

/** POST to a path of the control socket; else as ctl_get(). */
enum ctl_exit ctl_post(const char *socket, const char *path, json_t **out, struct reason *why);

/** A name made fit for a path. @return malloc'd, or NULL. */
char *ctl_path_escape(const char *text);

/* ---- ohemctl_text.c ---- */

/** Can block characters be printed? After setlocale(). */
bool text_is_utf8(void);

/** Columns of the terminal; 80 when there is none. */
int text_columns(void);

/** A field as printable text: control, format and undecodable bytes as \xNN. @return malloc'd. */
char *text_escape(const char *text);

/** An integer or real of an object; NAN when it is missing or null. */
double json_real_at(const json_t *object, const char *name);

/** A text of an object; "-" when it is missing. Lent. Not escaped. */
const char *json_text_at(const json_t *object, const char *name);

/** A bar of `share` (0..1) of so many columns; something is shown for every share above 0. */
void text_bar(double share, int columns);

/* Rows of cells, laid out when all are known. */
struct table;

struct table_column {
    const char *title;
    bool right; /* aligned, as numbers are */
};

/** @return a table, or ends the program when there is no memory (all of ohemctl_text.c does). */
struct table *table_new(const struct table_column *columns, size_t column_count);

/** The next cell, row by row: a text of the daemon's (it is escaped), or a number. */
void table_add_text(struct table *t, const char *text);
void table_add_count(struct table *t, double x);
void table_add_real(struct table *t, double x);

/** Print the titles and rows, each line behind the indent, and free it. */
void table_print(struct table *t, const char *indent);

/* ---- ohemctl_hist.c ---- */

void view_hist(const json_t *hardness);

/* ---- ohemctl_views.c ---- */

void view_status(const char *socket, const json_t *health, const json_t *jobs);
void view_jobs(const json_t *jobs);

/** An instance's key for a person: escaped, or 0x and its bytes. @return malloc'd. */
char *view_key(const json_t *instance);

void view_top(const json_t *instances);
void view_show(const json_t *instance);
void view_reset(const json_t *done);

/* ---- ohemctl_quarantine.c ---- */

/** @param whole  of all parts together: "quarantine", "instances" */
void view_quarantine(const json_t *whole);

/** A line of titles, then a line for each instance; as RFC 4180 has it, but with a line feed. */
void view_quarantine_csv(const json_t *whole);
void view_pardon(const json_t *done);

/* ---- ohemctl_why.c ---- */

/** @param story  of all parts together: "events", and how many "damaged_rows" */
void view_why(const json_t *story);

#endif
