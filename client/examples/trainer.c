/* trainer.c - a whole trainer: logistic regression on records of a label byte (0 or 1) and pixels.
 *
 *     cc trainer.c $(pkg-config --cflags --libs ohem) -lm -o trainer && ./trainer [JOB]
 */
#include <math.h>
#include <ohem/ohem.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 1000, TIMEOUT_MS = 10000 };
static const float rate = 0.01f;

static float logit(const float *model, const unsigned char *record, size_t size)
{
    float z = model[0]; /* the label's place holds the offset */

    for (size_t i = 1; i < size; i++)
        z += model[i] * (float)record[i] / 255.0f;
    return z;
}

/* Forward over all K, report, backward over the M that were selected. */
static int train(struct ohem_batch *batch, float *model, float *logits, float *losses)
{
    const struct ohem_selection *kept;
    size_t size, k = ohem_batch_count(batch);

    for (uint32_t i = 0; i < k; i++) {
        const unsigned char *record = ohem_batch_data(batch, i, &size);
        float z = logits[i] = logit(model, record, size);

        losses[i] = fmaxf(z, 0) + log1pf(expf(-fabsf(z))) - (record[0] ? z : 0);
    }
    int rc = ohem_report(batch, losses, k, TIMEOUT_MS, &kept);
    for (size_t j = 0; rc == 0 && j < ohem_selection_count(kept); j++) {
        uint32_t i = ohem_selection_indices(kept)[j];
        const unsigned char *record = ohem_batch_data(batch, i, &size);
        float weight = ohem_batch_weights(batch)[i] * ohem_selection_weights(kept)[j];
        float error = 1 / (1 + expf(-logits[i])) - (record[0] ? 1.0f : 0.0f);
        float step = rate * weight * error / (float)ohem_selection_count(kept);

        model[0] -= step;
        for (size_t p = 1; p < size; p++)
            model[p] -= step * (float)record[p] / 255.0f;
    }
    if (rc == 0 && ohem_batch_step(batch) % 100 == 0)
        printf("mean loss %.4f\n", (double)ohem_selection_stats_all(kept)->mean);
    return rc;
}

int main(int argc, char **argv)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;
    struct ohem_batch *batch;

    options.job = argc > 1 ? argv[1] : NULL;
    if (ohem_connect(&options, &client) != 0)
        return fprintf(stderr, "trainer: %s\n", ohem_connect_error()), 1;
    size_t k = ohem_batch_size(client), size = ohem_record_bytes(client);
    float *memory = calloc(size + 2 * k, sizeof *memory);
    int rc = size > 0 && memory != NULL ? 0 : -OHEM_INVALID; /* records of one size only */

    for (int step = 0; rc == 0 && step < STEPS; step++) {
        rc = ohem_next(client, TIMEOUT_MS, &batch);
        if (rc != 0)
            break;
        rc = train(batch, memory, memory + size, memory + size + k);
        ohem_release(batch);
    }
    if (rc != 0)
        fprintf(stderr, "trainer: %s: %s\n", ohem_strerror(rc), ohem_client_error(client));
    ohem_close(client);
    free(memory);
    return rc != 0;
}
