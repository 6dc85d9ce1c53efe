/* json_text.c - text of any origin as a JSON string; see json_text.h. */
#include "json_text.h"

#include <stdlib.h>
#include <string.h>

/* A control character at text[i], of one byte or (C1) two? */
static bool is_control(const char *text, size_t i, size_t size)
{
    unsigned char c = (unsigned char)text[i];

    if (c < 0x20 || c == 0x7f)
        return true;
    return c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0;
}

bool json_text_is_printable(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (is_control(text, i, size))
            return false;
    return true;
}

json_t *json_text(const char *text)
{
    size_t size = strlen(text);
    char *copy = malloc(size + 1);
    json_t *value;

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, size + 1);
    for (size_t i = 0; i < size; i++)
        if (is_control(text, i, size))
            copy[i] = '?';
    value = json_string(copy);
    /* A C1 character was cut in two above, or it never was UTF-8: keep its ASCII. */
    for (size_t i = 0; value == NULL && i < size; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    if (value == NULL)
        value = json_string(copy);
    free(copy);
    return value;
}
