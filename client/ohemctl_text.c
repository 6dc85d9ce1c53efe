/* ohemctl_text.c - text for a terminal or a pipe: escapes, numbers, bars, tables; see ohemctl.h.
 *
 * There is no colour and no cursor movement, so a pipe gets what a terminal gets; only the bars
 * take the terminal's width and the locale's characters.
 */
#include "ohemctl.h"

#include <langinfo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN     40
#define COLUMNS_MAX     160
#define CELL_GAP        2

static void *take(void *memory)
{
    if (memory == NULL) {
        (void)fprintf(stderr, "ohemctl: out of memory\n");
        exit(CTL_FAILED);
    }
    return memory;
}

bool text_is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int text_columns(void)
{
    struct winsize size;

    if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
        size.ws_col == 0)
        return COLUMNS_DEFAULT;
    if (size.ws_col < COLUMNS_MIN)
        return COLUMNS_MIN;
    return size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
}

/* Characters that are not seen but change how others are: zero widths, directions, tags. */
static bool is_format(wchar_t c)
{
    return c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe007f);
}

char *text_escape(const char *text)
{
    size_t size = strlen(text);
    char *out = take(malloc(4 * size + 1));
    mbstate_t state = {0};
    size_t used = 0;

    for (size_t i = 0; i < size;) {
        wchar_t c;
        size_t bytes = mbrtowc(&c, text + i, size - i, &state);

        if (bytes > 0 && bytes <= size - i && iswprint((wint_t)c) != 0 && !is_format(c)) {
            memcpy(out + used, text + i, bytes);
            used += bytes;
            i += bytes;
            continue;
        }
        used += (size_t)snprintf(out + used, 5, "\\x%02x", (unsigned char)text[i++]);
        state = (mbstate_t){0};
    }
    out[used] = '\0';
    return out;
}

double json_real_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *json_text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "-";
}

void text_bar(double share, int columns)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    bool utf8 = text_is_utf8();
    int parts = utf8 ? 8 : 1;
    int length = (int)(share * columns * parts + 0.5);

    if (length == 0 && share > 0)
        length = 1;
    for (int i = 0; i < length / parts; i++)
        (void)fputs(utf8 ? "█" : "#", stdout);
    (void)fputs(eighths[length % parts], stdout);
}

/* ---- tables -------------------------------------------------------------------------------------
 */

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells;
    size_t cell_count;
};

/* How many columns of the terminal a text takes. */
static int width_of(const char *text)
{
    size_t size = strlen(text) + 1;
    wchar_t *wide = take(calloc(size, sizeof *wide));
    int width = mbstowcs(wide, text, size) == (size_t)-1 ? -1 : wcswidth(wide, size);

    free(wide);
    return width >= 0 ? width : (int)strlen(text);
}

struct table *table_new(const struct table_column *columns, size_t column_count)
{
    struct table *t = take(calloc(1, sizeof *t));

    t->columns = columns;
    t->column_count = column_count;
    return t;
}

static void add(struct table *t, char *cell)
{
    t->cells = take(realloc(t->cells, (t->cell_count + 1) * sizeof *t->cells));
    t->cells[t->cell_count++] = take(cell);
}

void table_add_text(struct table *t, const char *text)
{
    add(t, text_escape(text));
}

void table_add_count(struct table *t, double x)
{
    char text[32] = "-";

    if (isfinite(x))
        (void)snprintf(text, sizeof text, "%.0f", x);
    add(t, strdup(text));
}

void table_add_real(struct table *t, double x)
{
    char text[32] = "-";

    if (isfinite(x))
        (void)snprintf(text, sizeof text, "%.4g", x);
    add(t, strdup(text));
}

static int column_width(const struct table *t, size_t column)
{
    int widest = width_of(t->columns[column].title);

    for (size_t i = column; i < t->cell_count; i += t->column_count) {
        int width = width_of(t->cells[i]);

        if (width > widest)
            widest = width;
    }
    return widest;
}

static void print_cell(const struct table *t, size_t column, const char *text, int column_columns)
{
    int padding = column_columns - width_of(text);
    bool last = column + 1 == t->column_count;

    if (t->columns[column].right)
        (void)printf("%*s%s", padding, "", text);
    else
        (void)printf("%s%*s", text, last ? 0 : padding, "");
    (void)printf("%*s", last ? 0 : CELL_GAP, "");
}

void table_print(struct table *t, const char *indent)
{
    int *widths = take(calloc(t->column_count, sizeof *widths));

    for (size_t column = 0; column < t->column_count; column++)
        widths[column] = column_width(t, column);
    (void)fputs(indent, stdout);
    for (size_t column = 0; column < t->column_count; column++)
        print_cell(t, column, t->columns[column].title, widths[column]);
    (void)putchar('\n');
    for (size_t i = 0; i < t->cell_count; i++) {
        size_t column = i % t->column_count;

        if (column == 0)
            (void)fputs(indent, stdout);
        print_cell(t, column, t->cells[i], widths[column]);
        if (column + 1 == t->column_count)
            (void)putchar('\n');
        free(t->cells[i]);
    }
    free(widths);
    free(t->cells);
    free(t);
}
