/* demo.c - ohem-demo: the same network trained three times, and the hardest instances as pictures.
 *
 * demo.sh starts the daemon with the three jobs and calls this. The endpoint comes from
 * $OHEM_ENDPOINT, as for every trainer.
 *
 * Exit codes: 0 done, 1 failed, or the bias did not pay, 2 a wrong command line.
 */
#include "draw.h"
#include "selftest.h"
#include "train.h"

#include <cblas.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POSITIVE_CLASS 6u /* shirt */
#define BACKWARD_MAX   150000u
#define BLAS_THREADS   1 /* the other core is the daemon's; two gain nothing at this size */

/* The jobs of demo.sh. The second must end above the first. */
static const char *const jobs[] = {"uniform", "bias", "bias_ohem"};

#define JOB_COUNT (sizeof jobs / sizeof jobs[0])

static const char usage[] =
    "usage: ohem-demo train TEST_IMAGES TEST_LABELS\n"
    "       ohem-demo draw JOB < TABLE    TABLE as `ohemctl top` prints it\n"
    "       ohem-demo selftest\n";

static int train_all(const struct idx *test, struct train_result *results)
{
    (void)printf("%-10s %8s %9s %9s  %6s  %6s  %8s\n", "job", "seconds", "forward", "backward",
                 "AP", "recall", "accuracy");
    for (size_t i = 0; i < JOB_COUNT; i++) {
        const struct train_result *r = &results[i];

        if (train_job(jobs[i], BACKWARD_MAX, test, &results[i]) < 0)
            return -1;
        (void)printf("%-10s %8.1f %9" PRIu64 " %9" PRIu64 "  %6.3f  %6.3f  %8.3f\n", jobs[i],
                     r->seconds, r->forward_count, r->backward_count, r->test.average_precision,
                     r->test.recall, r->test.accuracy);
        (void)fflush(stdout);
    }
    return 0;
}

static int judge(double uniform, double bias)
{
    (void)printf("\naverage precision of %s is %.3f, of %s %.3f: %s\n", jobs[1], bias, jobs[0],
                 uniform, bias > uniform ? "the bias pays" : "the bias did NOT pay");
    return bias > uniform ? 0 : -1;
}

static int run_train(const char *images, const char *labels)
{
    struct train_result results[JOB_COUNT];
    struct idx test;
    uint32_t positives = 0;
    int rc;

    openblas_set_num_threads(BLAS_THREADS);
    if (idx_read(images, labels, &test) < 0)
        return -1;
    for (uint32_t i = 0; i < test.count; i++) {
        test.labels[i] = test.labels[i] == POSITIVE_CLASS;
        positives += test.labels[i];
    }
    (void)printf("test set at its natural frequencies: %u shirts among %u pictures\n"
                 "(so accuracy is %.3f when nothing is detected; recall is at probability 0.5)\n\n",
                 positives, test.count, 1.0 - (double)positives / (double)test.count);
    rc = train_all(&test, results);
    if (rc == 0)
        rc = judge(results[0].test.average_precision, results[1].test.average_precision);
    idx_free(&test);
    return rc;
}

static int run_selftest(void)
{
    if (selftest_metrics() < 0 || selftest_gradient() < 0 || selftest_ascii() < 0)
        return -1;
    (void)puts("metrics, gradient and pictures are as they should be");
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    int rc;

    if (strcmp(command, "train") == 0 && argc == 4)
        rc = run_train(argv[2], argv[3]);
    else if (strcmp(command, "draw") == 0 && argc == 3)
        rc = draw_instances(argv[2], stdin);
    else if (strcmp(command, "selftest") == 0 && argc == 2)
        rc = run_selftest();
    else {
        (void)fputs(usage, stderr);
        return 2;
    }
    return rc < 0 ? 1 : 0;
}
