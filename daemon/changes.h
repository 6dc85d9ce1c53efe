/* changes.h - which settings differ between two printed sections (config_print_job()). */
#ifndef OHEMD_CHANGES_H
#define OHEMD_CHANGES_H

#include <stddef.h>

#define CHANGES_VALUE_MAX 160 /* bytes of a value that are told */

/* A setting whose value is another. was: "" when an older version did not have it. */
typedef void (*changes_cb)(void *ctx, const char *key, const char *was, const char *is);

/** Call for each setting of `now` that differs. Pure. */
void changes_each(const char *before, const char *now, changes_cb cb, void *ctx);

#endif
