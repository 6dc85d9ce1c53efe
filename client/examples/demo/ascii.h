/* ascii.h - grey pictures as characters, several side by side. */
#ifndef ASCII_H
#define ASCII_H

#include <stdint.h>
#include <stdio.h>

#define ASCII_SIDE    28u /* pixels of a picture's side, and columns of its text */
#define ASCII_COLUMNS 30u /* with the gap to the next */

struct ascii_picture {
    const uint8_t *pixels; /* [ASCII_SIDE][ASCII_SIDE], 0 black, 255 white */
    char caption[64];      /* cut at the picture's width */
};

/**
 * Print the pictures in rows, each with its caption below. A character stands for two pixels, one
 * above the other, since characters are about twice as high as wide.
 * @param width  columns of the terminal; one picture to a row at least
 */
void ascii_print(const struct ascii_picture *pictures, uint32_t count, uint32_t width, FILE *out);

#endif
