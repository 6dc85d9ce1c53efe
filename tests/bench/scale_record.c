/* scale_record.c - record the losses that bench-scale plays: what instances of a real training
 * reported, visit after visit.
 *
 *     scale_record TEST_IMAGES TEST_LABELS TRACE
 *
 * It is the demo's trainer on a job "record" that draws uniformly (scale_record.sh has the daemon);
 * ohem_report() is wrapped by the linker. Every 26th of the 54,545 instances is followed for 16
 * visits. Losses are kept as the upper half of the float: scale_trace.c reads them.
 */
#include "../../client/examples/demo/train.h"
#include "../../client/ohem.h"
#include "scale_trace.h"

#include <stdio.h>
#include <string.h>

#define STRIDE       26u
#define BACKWARD_MAX (17u * 54545u) /* 17 epochs: some instances have only just begun the last */

static uint16_t trace[SCALE_TRACE_INSTANCES][SCALE_TRACE_VISITS];
static uint32_t visits[SCALE_TRACE_INSTANCES];

int __real_ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                       const struct ohem_selection **out_selection);
int __wrap_ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                       const struct ohem_selection **out_selection);

static void record(uint64_t id, float loss)
{
    uint64_t i = id / STRIDE;
    uint32_t bits;

    if (id % STRIDE != 0 || i >= SCALE_TRACE_INSTANCES || visits[i] == SCALE_TRACE_VISITS)
        return;
    memcpy(&bits, &loss, sizeof bits);
    trace[i][visits[i]++] = (uint16_t)(bits >> 16);
}

int __wrap_ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                       const struct ohem_selection **out_selection)
{
    for (size_t i = 0; i < count; i++)
        record(ohem_batch_ids(batch)[i], losses[i]);
    return __real_ohem_report(batch, losses, count, timeout_ms, out_selection);
}

static int write_trace(const char *path)
{
    FILE *file = fopen(path, "wb");
    size_t written = 0;

    for (uint32_t i = 0; i < SCALE_TRACE_INSTANCES; i++)
        if (visits[i] < SCALE_TRACE_VISITS) {
            (void)fprintf(stderr, "scale_record: instance %u had %u visits\n", i, visits[i]);
            return -1;
        }
    if (file != NULL) {
        written = fwrite(trace, sizeof trace, 1, file);
        if (fclose(file) != 0)
            written = 0;
    }
    return written == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct train_result result;
    struct idx test;
    int rc;

    if (argc != 4) {
        (void)fputs("usage: scale_record TEST_IMAGES TEST_LABELS TRACE\n", stderr);
        return 2;
    }
    if (idx_read(argv[1], argv[2], &test) < 0)
        return 1;
    rc = train_job("record", BACKWARD_MAX, &test, &result);
    idx_free(&test);
    return rc == 0 && write_trace(argv[3]) == 0 ? 0 : 1;
}
