/* gain.c - see gain.h. */
#include "gain.h"

#include <math.h>

double gain_measure(const struct hardness *h)
{
    double sum = 0, squares = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double count = h->partition.buckets[b].count, x = partition_bucket_middle(b);

        sum += count * x;
        squares += count * x * x;
    }
    return sum > 0 ? sqrt(h->partition.count * squares) / sum : 1;
}

double gain_average(double average, double measure)
{
    return average > 0 ? GAIN_INERTIA * average + (1 - GAIN_INERTIA) * measure : measure;
}
