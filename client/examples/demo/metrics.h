/* metrics.h - how good a detector's logits are: average precision, recall, accuracy.
 *
 * Pure functions over logits and labels (0 or 1).
 */
#ifndef METRICS_H
#define METRICS_H

#include <stddef.h>
#include <stdint.h>

struct metrics {
    double average_precision; /* over all thresholds; 0 without positives */
    double recall;            /* of the positives, at probability 0.5 */
    double accuracy;          /* at probability 0.5 */
};

/**
 * Average precision is the sum over thresholds of (recall gained) * precision, without
 * interpolation; equal logits share one threshold.
 * @return 0, or -1 when there is no memory
 */
int metrics_compute(const float *logits, const uint8_t *labels, size_t count, struct metrics *out);

#endif
