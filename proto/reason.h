/* reason.h - why something failed, in one line for a person, beside the code for the program.
 *
 * Whoever fails fills it; whoever speaks (main, server, status, the client's caller) prints it.
 */
#ifndef OHEM_REASON_H
#define OHEM_REASON_H

#define REASON_BYTES_MAX 512

struct reason {
    char text[REASON_BYTES_MAX]; /* one line, cut at the limit; "" when nothing was said */
};

/** Write the line, printf style. `why` may be NULL: then nothing happens. */
void reason_set(struct reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** The error's name without OHEM_ ("TOKEN"), or "?" for a number that is not in error.h. Takes
 * either sign. */
const char *error_name(int code);

/** What the error says to a person; never NULL. Takes either sign. */
const char *error_text(int code);

#endif
