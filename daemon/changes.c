/* changes.c - which settings differ; see changes.h. */
#include "changes.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 64

/* "key = value" of a line. @return where the next line begins, or NULL at the end */
static const char *next_line(const char *at, char key[KEY_MAX], char value[CHANGES_VALUE_MAX])
{
    size_t size = strcspn(at, "\n");
    const char *sign = memchr(at, '=', size);
    size_t left = sign != NULL ? (size_t)(sign - at) : 0;
    const char *from = sign != NULL ? sign + 1 : at + size;

    if (*at == '\0')
        return NULL;
    while (left > 0 && at[left - 1] == ' ')
        left--;
    while (*from == ' ')
        from++;
    (void)snprintf(key, KEY_MAX, "%.*s", (int)left, at);
    (void)snprintf(value, CHANGES_VALUE_MAX, "%.*s", (int)(at + size - from), from);
    return at[size] == '\0' ? at + size : at + size + 1;
}

static bool find(const char *text, const char *wanted, char value[CHANGES_VALUE_MAX])
{
    char key[KEY_MAX];

    for (const char *at = text; (at = next_line(at, key, value)) != NULL;)
        if (strcmp(key, wanted) == 0)
            return true;
    value[0] = '\0';
    return false;
}

void changes_each(const char *before, const char *now, changes_cb cb, void *ctx)
{
    char key[KEY_MAX], is[CHANGES_VALUE_MAX], was[CHANGES_VALUE_MAX];

    for (const char *at = now; (at = next_line(at, key, is)) != NULL;) {
        bool known = find(before, key, was);

        if (key[0] != '\0' && key[0] != '[' && (!known || strcmp(was, is) != 0))
            cb(ctx, key, was, is);
    }
}
