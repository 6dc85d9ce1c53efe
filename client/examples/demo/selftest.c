/* selftest.c - see selftest.h: figures against cases done by hand, the gradient against
 * differences. */
#include "selftest.h"

#include "ascii.h"
#include "metrics.h"
#include "mlp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metrics_case {
    const char *name;
    size_t count;
    float logits[6];
    uint8_t labels[6];
    struct metrics expected;
};

static const struct metrics_case metrics_cases[] = {
    {"all positives on top", 4, {3, 2, -1, -2}, {1, 1, 0, 0}, {1, 1, 1}},
    /* precision 1/2 and 2/4 where a positive is found */
    {"a negative before each", 4, {4, 3, 2, 1}, {0, 1, 0, 1}, {0.5, 1, 0.5}},
    {"unsorted, half found", 4, {-1, 2, 1, -2}, {1, 1, 0, 0}, {(1 + 2.0 / 3) / 2, 0.5, 0.5}},
    {"all alike: one threshold", 4, {-1, -1, -1, -1}, {1, 0, 0, 0}, {0.25, 0, 0.75}},
    {"no positives", 2, {1, -1}, {0, 0}, {0, 0, 0.5}},
};

int selftest_metrics(void)
{
    for (size_t i = 0; i < sizeof metrics_cases / sizeof metrics_cases[0]; i++) {
        const struct metrics_case *c = &metrics_cases[i];
        struct metrics m;

        if (metrics_compute(c->logits, c->labels, c->count, &m) < 0 ||
            fabs(m.average_precision - c->expected.average_precision) > 1e-12 ||
            fabs(m.recall - c->expected.recall) > 1e-12 ||
            fabs(m.accuracy - c->expected.accuracy) > 1e-12) {
            (void)fprintf(stderr, "metrics, %s: AP %g, recall %g, accuracy %g\n", c->name,
                          m.average_precision, m.recall, m.accuracy);
            return -1;
        }
    }
    return 0;
}

#define INPUTS 5u
#define HIDDEN 7u
#define ROWS   6u
#define KEPT   3u

static const uint8_t labels[ROWS] = {1, 0, 0, 1, 1, 0};
static const uint32_t kept[KEPT] = {0, 2, 3};
static const float weights[KEPT] = {0.5f, 0.25f, 1.0f};

static double loss(struct mlp *m, const float *x)
{
    float logits[ROWS], losses[ROWS];
    double sum = 0;

    mlp_forward(m, x, ROWS, logits);
    mlp_losses(logits, labels, ROWS, losses);
    for (uint32_t j = 0; j < KEPT; j++)
        sum += (double)weights[j] * (double)losses[kept[j]];
    return sum;
}

/* Each parameter moved both ways by a little. Floats give the difference three good digits. */
static int compare_gradient(struct mlp *m, const float *x)
{
    const float step = 1e-2f;
    size_t count;
    float *parameters = mlp_parameters(m, &count);

    for (size_t i = 0; i < count; i++) {
        float before = parameters[i];
        double above, slope;

        parameters[i] = before + step;
        above = loss(m, x);
        parameters[i] = before - step;
        slope = (above - loss(m, x)) / (2.0 * (double)step);
        parameters[i] = before;
        if (fabs(slope - (double)mlp_gradient(m)[i]) > 1e-3) {
            (void)fprintf(stderr, "gradient of parameter %zu: %g, by differences %g\n", i,
                          (double)mlp_gradient(m)[i], slope);
            return -1;
        }
    }
    return 0;
}

int selftest_gradient(void)
{
    struct mlp *m = mlp_new(INPUTS, HIDDEN, ROWS, 3);
    float x[ROWS * INPUTS], logits[ROWS];
    int rc;

    if (m == NULL)
        return -1;
    for (uint32_t i = 0; i < ROWS * INPUTS; i++)
        x[i] = sinf((float)(i * i + 1)); /* any numbers of both signs */
    mlp_forward(m, x, ROWS, logits);
    mlp_backward(m, x, logits, labels, kept, weights, KEPT);
    rc = compare_gradient(m, x);
    mlp_free(m);
    return rc;
}

int selftest_ascii(void)
{
    static uint8_t pixels[ASCII_SIDE * ASCII_SIDE];
    struct ascii_picture pictures[2] = {{pixels, "one"}, {pixels, "two"}};
    char *text = NULL;
    size_t size = 0, at_signs = 0, lines = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return -1;
    memset(pixels, 255, sizeof pixels / 2);
    ascii_print(pictures, 2, 2 * ASCII_COLUMNS, out);
    (void)fclose(out);
    for (size_t i = 0; i < size; i++) {
        at_signs += text[i] == '@';
        lines += text[i] == '\n';
    }
    free(text);
    /* the upper half of both is white; one row of pictures, caption and empty line */
    if (at_signs == (size_t)2 * ASCII_SIDE * ASCII_SIDE / 4 && lines == ASCII_SIDE / 2 + 2)
        return 0;
    (void)fprintf(stderr, "ascii: %zu white characters in %zu lines\n", at_signs, lines);
    return -1;
}
