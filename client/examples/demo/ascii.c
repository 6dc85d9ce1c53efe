/* ascii.c - see ascii.h. */
#include "ascii.h"

static const char ramp[] = " .:-=+*#%@"; /* from dark to light */

static char shade(uint8_t above, uint8_t below)
{
    uint32_t sum = (uint32_t)above + below; /* 0..510 */

    return ramp[sum * (sizeof ramp - 2) / 510u];
}

static void print_line(const uint8_t *pixels, uint32_t y, FILE *out)
{
    const uint8_t *row = pixels + (size_t)y * ASCII_SIDE;

    for (uint32_t x = 0; x < ASCII_SIDE; x++)
        (void)fputc(shade(row[x], row[x + ASCII_SIDE]), out);
}

static void print_row(const struct ascii_picture *pictures, uint32_t count, FILE *out)
{
    const int gap = (int)(ASCII_COLUMNS - ASCII_SIDE);

    for (uint32_t y = 0; y < ASCII_SIDE; y += 2) {
        for (uint32_t i = 0; i < count; i++) {
            print_line(pictures[i].pixels, y, out);
            (void)fprintf(out, "%*s", gap, "");
        }
        (void)fputc('\n', out);
    }
    for (uint32_t i = 0; i < count; i++)
        (void)fprintf(out, "%-*.*s%*s", (int)ASCII_SIDE, (int)ASCII_SIDE, pictures[i].caption, gap,
                      "");
    (void)fputs("\n\n", out);
}

void ascii_print(const struct ascii_picture *pictures, uint32_t count, uint32_t width, FILE *out)
{
    uint32_t across = width < ASCII_COLUMNS ? 1 : width / ASCII_COLUMNS;

    for (uint32_t i = 0; i < count; i += across)
        print_row(pictures + i, count - i < across ? count - i : across, out);
}
