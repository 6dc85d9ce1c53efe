/* reason.c - the words of an error: its line for a person, its name and its text. */
#include "reason.h"

#include "error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

void reason_set(struct reason *why, const char *format, ...)
{
    va_list args;

    if (why == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
}

/* Without its sign; of the smallest number too, which has no negative. */
static unsigned magnitude(int code)
{
    return code < 0 ? 0U - (unsigned)code : (unsigned)code;
}

const char *error_name(int code)
{
    switch (magnitude(code)) {
    case OHEM_OK:
        return "OK";
#define ERROR_NAME(name, number, text) \
    case OHEM_##name: \
        return #name;
        OHEM_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default:
        return "?";
    }
}

const char *error_text(int code)
{
    switch (magnitude(code)) {
    case OHEM_OK:
        return "no error";
#define ERROR_TEXT(name, number, text) \
    case OHEM_##name: \
        return text;
        OHEM_ERRORS(ERROR_TEXT)
#undef ERROR_TEXT
    default:
        return "an error this version does not know";
    }
}
