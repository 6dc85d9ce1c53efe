/* quickselect.c - Hoare's partition around the median of three; see quickselect.h. */
#include "quickselect.h"

static float median_of_three(float a, float b, float c)
{
    float low = a < b ? a : b, high = a < b ? b : a;

    return c < low ? low : c < high ? c : high;
}

/* Smaller ones to the front, larger ones to the back. @return the last of the front, below `last`.
 */
static uint32_t part(float *values, uint32_t first, uint32_t last)
{
    float pivot = median_of_three(values[first], values[first + (last - first) / 2], values[last]);
    uint32_t i = first, j = last;

    for (;; i++, j--) {
        float x;

        while (values[i] < pivot)
            i++;
        while (pivot < values[j])
            j--;
        if (i >= j)
            return j < last ? j : last - 1;
        x = values[i];
        values[i] = values[j];
        values[j] = x;
    }
}

float quickselect(float *values, uint32_t count, uint32_t rank)
{
    uint32_t first = 0, last = count - 1;

    while (first < last) {
        uint32_t middle = part(values, first, last);

        if (rank <= middle)
            last = middle;
        else
            first = middle + 1;
    }
    return values[rank];
}
