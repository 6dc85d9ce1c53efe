/* metrics.c - see metrics.h. One sort by logit, then one pass from the highest down. */
#include "metrics.h"

#include <stdlib.h>

struct judged {
    float logit;
    uint8_t label;
};

static int by_logit_falling(const void *a, const void *b)
{
    const struct judged *x = a, *y = b;

    return (x->logit < y->logit) - (x->logit > y->logit);
}

/* sorted: highest logit first. */
static double average_precision(const struct judged *sorted, size_t count, size_t positives)
{
    size_t found = 0, found_before = 0;
    double sum = 0.0;

    for (size_t i = 0; i < count; i++) {
        found += sorted[i].label != 0;
        if (i + 1 < count && sorted[i + 1].logit == sorted[i].logit)
            continue; /* the same threshold takes in the next one too */
        sum += (double)(found - found_before) * (double)found / (double)(i + 1);
        found_before = found;
    }
    return positives == 0 ? 0.0 : sum / (double)positives;
}

int metrics_compute(const float *logits, const uint8_t *labels, size_t count, struct metrics *out)
{
    struct judged *sorted = calloc(count == 0 ? 1 : count, sizeof *sorted);
    size_t positives = 0, detected = 0, right = 0;

    if (sorted == NULL)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int positive = labels[i] != 0, said = logits[i] > 0.0f;

        sorted[i] = (struct judged){.logit = logits[i], .label = labels[i]};
        positives += (size_t)positive;
        detected += (size_t)(positive && said);
        right += (size_t)(positive == said);
    }
    qsort(sorted, count, sizeof *sorted, by_logit_falling);
    out->average_precision = average_precision(sorted, count, positives);
    out->recall = positives == 0 ? 0.0 : (double)detected / (double)positives;
    out->accuracy = count == 0 ? 0.0 : (double)right / (double)count;
    free(sorted);
    return 0;
}
