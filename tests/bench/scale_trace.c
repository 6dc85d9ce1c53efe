/* scale_trace.c - see scale_trace.h. */
#include "scale_trace.h"

#include "../../daemon/engine/rng.h"
#include "measure.h"

#include <stdio.h>
#include <string.h>

/* 2 x 240 KB: they stay in the L2 cache, and are read between the measurements only. */
static float losses[SCALE_TRACE_INSTANCES][SCALE_TRACE_PHASES];
static float scores[SCALE_TRACE_INSTANCES][SCALE_TRACE_PHASES];

static float loss_from(const unsigned char *bytes)
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 24;
    float loss;

    memcpy(&loss, &bits, sizeof loss);
    return loss;
}

/* Twice around: what it began with is then forgotten. */
static void follow(uint32_t i)
{
    float score = losses[i][0];

    for (uint32_t v = 0; v < 2 * SCALE_TRACE_PHASES; v++) {
        uint32_t phase = v % SCALE_TRACE_PHASES;

        score = score + SCALE_TRACE_LAMBDA * (losses[i][phase] - score);
        scores[i][phase] = score;
    }
}

void scale_trace_read(const char *path)
{
    unsigned char bytes[SCALE_TRACE_VISITS][2];
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        die("no trace at '%s'", path);
    for (uint32_t i = 0; i < SCALE_TRACE_INSTANCES; i++) {
        if (fread(bytes, sizeof bytes, 1, file) != 1)
            die("the trace '%s' ends too early", path);
        for (uint32_t p = 0; p < SCALE_TRACE_PHASES; p++)
            losses[i][p] = loss_from(bytes[p < SCALE_TRACE_VISITS ? p : SCALE_TRACE_PHASES - p]);
        follow(i);
    }
    (void)fclose(file);
}

static uint32_t recorded(uint32_t id)
{
    return (uint32_t)(rng_mix(id) % SCALE_TRACE_INSTANCES);
}

uint8_t scale_trace_begin(uint32_t id, float *out_score)
{
    uint8_t phase = (uint8_t)((rng_mix(id) >> 32) % SCALE_TRACE_PHASES);

    *out_score = scores[recorded(id)][phase];
    return phase;
}

float scale_trace_next(uint32_t id, uint8_t *phase)
{
    *phase = (uint8_t)((*phase + 1) % SCALE_TRACE_PHASES);
    return losses[recorded(id)][*phase];
}
