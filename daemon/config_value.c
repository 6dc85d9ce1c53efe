/* config_value.c - one value: text to its place in a struct by its row of the table, and back.
 *
 * Strict: a value is the whole text, within its range, or it is refused with what is allowed. Knows
 * no file and no section.
 */
#include "config_table.h"

#include "../proto/error.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *place(const struct config_setting *s, void *base)
{
    return (char *)base + s->offset;
}

static const void *place_const(const struct config_setting *s, const void *base)
{
    return (const char *)base + s->offset;
}

bool config_is_name(const char *text)
{
    size_t size = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

    return size >= 1 && size <= MESSAGE_NAME_BYTES_MAX && text[size] == '\0';
}

/* ---- texts ---- */

/* What a file could not say is refused on the command line too, so that config_print() is honest:
 * a file's value has no control character, no blank at its ends, and ends before " ;". */
static int check_text(const char *text, size_t size_max, struct reason *must)
{
    size_t size = strlen(text);

    if (size > size_max) {
        reason_set(must, "is %zu bytes long, must be at most %zu", size, size_max);
        return -OHEM_CONFIG;
    }
    for (size_t i = 0; i < size; i++) {
        if (iscntrl((unsigned char)text[i])) {
            reason_set(must, "must hold no control characters");
            return -OHEM_CONFIG;
        }
        if (text[i] == ';' && (i == 0 || isspace((unsigned char)text[i - 1]))) {
            reason_set(must, "must hold no ';' after a blank: a comment begins there");
            return -OHEM_CONFIG;
        }
    }
    if (size > 0 && (isspace((unsigned char)text[0]) || isspace((unsigned char)text[size - 1]))) {
        reason_set(must, "must not begin or end with a blank");
        return -OHEM_CONFIG;
    }
    return 0;
}

static bool is_tcp_address(const char *address)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;

    if (colon == NULL || colon == address || !isdigit((unsigned char)colon[1]) ||
        strlen(colon) > sizeof ":65535" - 1)
        return false;
    return strtoul(colon + 1, &end, 10) <= UINT16_MAX && *end == '\0';
}

static int check_endpoint(const char *text, struct reason *must)
{
    bool ipc = strncmp(text, "ipc://", 6) == 0 && text[6] != '\0' && text[6] != '*';
    bool tcp = strncmp(text, "tcp://", 6) == 0 && is_tcp_address(text + 6);

    if (ipc || tcp)
        return 0;
    reason_set(must, "must be ipc://PATH or tcp://HOST:PORT");
    return -OHEM_CONFIG;
}

static int parse_text(const struct config_setting *s, const char *text, char *out,
                      struct reason *must)
{
    int rc = check_text(text, s->size - 1, must);

    if (rc == 0 && s->type == CONFIG_ENDPOINT)
        rc = check_endpoint(text, must);
    if (rc == 0 && s->type == CONFIG_PATH && text[0] == '\0' && !s->optional) {
        reason_set(must, "must not be empty");
        rc = -OHEM_CONFIG;
    }
    if (rc == 0 && s->type == CONFIG_NAME && text[0] != '\0' && !config_is_name(text)) {
        reason_set(must, "must be 1 to %u of A-Z a-z 0-9 _ . -", MESSAGE_NAME_BYTES_MAX);
        rc = -OHEM_CONFIG;
    }
    if (rc == 0)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}

/* The part of a text that is a path, or NULL when none of it is (tcp://, an abstract socket). */
static char *path_within(enum config_type type, char *text)
{
    if (type == CONFIG_PATH)
        return text;
    if (type == CONFIG_ENDPOINT && strncmp(text, "ipc://", 6) == 0 && text[6] != '@')
        return text + 6;
    return NULL;
}

int config_path_resolve(enum config_type type, const char *folder, char *text, struct reason *must)
{
    char *path = path_within(type, text);
    size_t size, room, folder_size = strlen(folder);

    if (path == NULL || path[0] == '/' || path[0] == '\0')
        return 0;
    size = strlen(path);
    room = CONFIG_PATH_MAX - (size_t)(path - text);
    if (folder_size + 1 + size >= room) {
        reason_set(must, "is %zu bytes long with its folder %s, must be at most %zu",
                   folder_size + 1 + size, folder, room - 1);
        return -OHEM_CONFIG;
    }
    memmove(path + folder_size + 1, path, size + 1);
    memcpy(path, folder, folder_size);
    path[folder_size] = '/';
    return 0;
}

/* ---- words ---- */

static int parse_bool(const char *text, bool *out, struct reason *must)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    }
    reason_set(must, "must be yes or no");
    return -OHEM_CONFIG;
}

/* "must be one of hard, rank, uniform" */
static void must_be_a_word(const struct config_setting *s, struct reason *must)
{
    char list[128] = "";
    size_t used = 0;

    for (size_t i = 0; s->words[i] != NULL && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ",
                                 s->words[i]);
    reason_set(must, "must be one of %s", list);
}

_Static_assert(sizeof(enum sampler_weight) == sizeof(unsigned) &&
                   sizeof(enum sampler_normalise) == sizeof(unsigned) &&
                   sizeof(enum selection_rule) == sizeof(unsigned) &&
                   sizeof(enum log_level) == sizeof(unsigned),
               "a word is stored as an unsigned");

static int parse_word(const struct config_setting *s, const char *text, unsigned *out,
                      struct reason *must)
{
    for (unsigned i = 0; s->words[i] != NULL; i++) {
        if (strcmp(text, s->words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    must_be_a_word(s, must);
    return -OHEM_CONFIG;
}

/* ---- numbers ---- */

static int parse_whole(const struct config_setting *s, const char *text, uint64_t *out,
                       struct reason *must)
{
    bool octal = s->type == CONFIG_MODE;
    bool digits = text[0] != '\0' && text[strspn(text, octal ? "01234567" : "0123456789")] == '\0';
    unsigned long long value = 0;

    errno = 0;
    if (digits)
        value = strtoull(text, NULL, octal ? 8 : 10);
    if (!digits || errno != 0 || value < s->min || value > s->max) {
        if (octal)
            reason_set(must, "must be an octal number from %04" PRIo64 " to %04" PRIo64, s->min,
                       s->max);
        else
            reason_set(must, "must be a whole number from %" PRIu64 " to %" PRIu64, s->min, s->max);
        return -OHEM_CONFIG;
    }
    *out = value;
    return 0;
}

static int parse_real(const struct config_setting *s, const char *text, double *out,
                      struct reason *must)
{
    /* strtod() also takes blanks, hexadecimals, "inf" and "nan" */
    bool decimal = text[0] != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0';
    char *end = NULL;
    double value = decimal ? strtod(text, &end) : 0;

    if (!decimal || *end != '\0' || !isfinite(value) || value < s->low || value > s->high ||
        (s->above_low && value <= s->low)) {
        if (s->above_low)
            reason_set(must, "must be above %.10g and at most %.10g", s->low, s->high);
        else
            reason_set(must, "must be a number from %.10g to %.10g", s->low, s->high);
        return -OHEM_CONFIG;
    }
    *out = value == 0 ? 0 : value; /* no -0 */
    return 0;
}

/* ---- by type ---- */

int config_value_parse(const struct config_setting *s, const char *text, void *base,
                       struct reason *must)
{
    void *out = place(s, base);
    uint64_t whole = 0;
    int rc;

    switch (s->type) {
    case CONFIG_TEXT:
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ENDPOINT:
        return parse_text(s, text, out, must);
    case CONFIG_BOOL:
        return parse_bool(text, out, must);
    case CONFIG_WORD:
        return parse_word(s, text, out, must);
    case CONFIG_F64:
        return parse_real(s, text, out, must);
    case CONFIG_MODE:
    case CONFIG_U32:
        rc = parse_whole(s, text, &whole, must);
        if (rc == 0)
            *(uint32_t *)out = (uint32_t)whole; /* the row's max is below 2^32 */
        return rc;
    case CONFIG_U64:
    default:
        return parse_whole(s, text, out, must);
    }
}

/* The shortest decimal that reads back to the same double. */
static int print_real(double value, FILE *out)
{
    char text[32];

    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return fprintf(out, "%s", text);
}

int config_value_print(const struct config_setting *s, const void *base, FILE *out)
{
    const void *at = place_const(s, base);

    switch (s->type) {
    case CONFIG_BOOL:
        return fprintf(out, "%s", *(const bool *)at ? "yes" : "no");
    case CONFIG_WORD:
        return fprintf(out, "%s", s->words[*(const unsigned *)at]);
    case CONFIG_F64:
        return print_real(*(const double *)at, out);
    case CONFIG_MODE:
        return fprintf(out, "%04" PRIo32, *(const uint32_t *)at);
    case CONFIG_U32:
        return fprintf(out, "%" PRIu32, *(const uint32_t *)at);
    case CONFIG_U64:
        return fprintf(out, "%" PRIu64, *(const uint64_t *)at);
    case CONFIG_TEXT:
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ENDPOINT:
    default:
        return fprintf(out, "%s", (const char *)at);
    }
}

int config_range_print(const struct config_setting *s, FILE *out)
{
    int size = 0;

    switch (s->type) {
    case CONFIG_TEXT:
        return fprintf(out, "text");
    case CONFIG_NAME:
        return fprintf(out, "name");
    case CONFIG_PATH:
        return fprintf(out, "path");
    case CONFIG_ENDPOINT:
        return fprintf(out, "endpoint");
    case CONFIG_BOOL:
        return fprintf(out, "yes|no");
    case CONFIG_F64:
        return fprintf(out, "%s%.10g to %.10g", s->above_low ? "above " : "", s->low, s->high);
    case CONFIG_MODE:
        return fprintf(out, "%04" PRIo64 " to %04" PRIo64, s->min, s->max);
    case CONFIG_U32:
    case CONFIG_U64:
        return fprintf(out, "%" PRIu64 " to %" PRIu64, s->min, s->max);
    case CONFIG_WORD:
    default:
        for (size_t i = 0; s->words[i] != NULL; i++)
            size += fprintf(out, "%s%s", i == 0 ? "" : "|", s->words[i]);
        return size;
    }
}
