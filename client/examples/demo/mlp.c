/* mlp.c - see mlp.h.
 *
 * All parameters lie in one array (w1 [inputs][hidden], b1, w2, b2), the gradient and the velocity
 * in two more of the same shape: a step is one loop.
 */
#include "mlp.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where each part of the parameters begins. */
struct part {
    float *w1, *b1, *w2, *b2;
};

struct mlp {
    uint32_t inputs, hidden;
    size_t parameter_count;
    float *parameters, *gradient, *velocity; /* [parameter_count] */
    float *activations;                      /* [batch_max][hidden], after ReLU */
    float *kept_x, *kept_activations;        /* the rows that go backward, packed */
    float *kept_delta;                       /* [batch_max][hidden], dL/d(hidden before ReLU) */
    float *delta;                            /* [batch_max], dL/d(logit) */
};

static struct part part_of(const struct mlp *m, float *all)
{
    struct part p = {.w1 = all};

    p.b1 = p.w1 + (size_t)m->inputs * m->hidden;
    p.w2 = p.b1 + m->hidden;
    p.b2 = p.w2 + m->hidden;
    return p;
}

/* splitmix64: enough for the first weights, and the same on every machine. */
static double next_uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* Uniform in +-1/sqrt(fan in), weights and offsets alike. */
static void fill(float *w, size_t count, uint32_t fan_in, uint64_t *state)
{
    double bound = 1.0 / sqrt(fan_in);

    for (size_t i = 0; i < count; i++)
        w[i] = (float)((2.0 * next_uniform(state) - 1.0) * bound);
}

struct mlp *mlp_new(uint32_t inputs, uint32_t hidden, uint32_t batch_max, uint64_t seed)
{
    struct mlp *m = calloc(1, sizeof *m);
    struct part p;

    if (m == NULL)
        return NULL;
    m->inputs = inputs;
    m->hidden = hidden;
    m->parameter_count = (size_t)inputs * hidden + 2 * (size_t)hidden + 1;
    m->parameters = calloc(m->parameter_count, sizeof(float));
    m->gradient = calloc(m->parameter_count, sizeof(float));
    m->velocity = calloc(m->parameter_count, sizeof(float));
    m->activations = calloc((size_t)batch_max * hidden, sizeof(float));
    m->kept_x = calloc((size_t)batch_max * inputs, sizeof(float));
    m->kept_activations = calloc((size_t)batch_max * hidden, sizeof(float));
    m->kept_delta = calloc((size_t)batch_max * hidden, sizeof(float));
    m->delta = calloc(batch_max, sizeof(float));
    if (m->parameters == NULL || m->gradient == NULL || m->velocity == NULL ||
        m->activations == NULL || m->kept_x == NULL || m->kept_activations == NULL ||
        m->kept_delta == NULL || m->delta == NULL) {
        mlp_free(m);
        return NULL;
    }
    p = part_of(m, m->parameters);
    fill(p.w1, (size_t)inputs * hidden + hidden, inputs, &seed);
    fill(p.w2, (size_t)hidden + 1, hidden, &seed);
    return m;
}

void mlp_free(struct mlp *m)
{
    if (m == NULL)
        return;
    free(m->parameters);
    free(m->gradient);
    free(m->velocity);
    free(m->activations);
    free(m->kept_x);
    free(m->kept_activations);
    free(m->kept_delta);
    free(m->delta);
    free(m);
}

/* c = beta c + a' b, all row by row; a' is a or its transpose. */
static void product(enum CBLAS_TRANSPOSE side, uint32_t rows, uint32_t columns, uint32_t inner,
                    const float *a, uint32_t a_width, const float *b, float beta, float *c)
{
    cblas_sgemm(CblasRowMajor, side, CblasNoTrans, (blasint)rows, (blasint)columns, (blasint)inner,
                1.0f, a, (blasint)a_width, b, (blasint)columns, beta, c, (blasint)columns);
}

void mlp_forward(struct mlp *m, const float *x, uint32_t rows, float *out_logits)
{
    struct part p = part_of(m, m->parameters);

    for (uint32_t i = 0; i < rows; i++) {
        memcpy(m->activations + (size_t)i * m->hidden, p.b1, m->hidden * sizeof(float));
        out_logits[i] = *p.b2;
    }
    product(CblasNoTrans, rows, m->hidden, m->inputs, x, m->inputs, p.w1, 1.0f, m->activations);
    for (size_t i = 0; i < (size_t)rows * m->hidden; i++)
        if (m->activations[i] < 0.0f)
            m->activations[i] = 0.0f;
    product(CblasNoTrans, rows, 1, m->hidden, m->activations, m->hidden, p.w2, 1.0f, out_logits);
}

void mlp_losses(const float *logits, const uint8_t *labels, uint32_t rows, float *out_losses)
{
    for (uint32_t i = 0; i < rows; i++) {
        float z = labels[i] != 0 ? -logits[i] : logits[i];

        /* log(1 + e^z) without overflow */
        out_losses[i] = fmaxf(z, 0.0f) + log1pf(expf(-fabsf(z)));
    }
}

/* Pack the kept rows, and the derivative of the loss by each one's logit and hidden sums. */
static void gather(struct mlp *m, const float *x, const float *logits, const uint8_t *labels,
                   const uint32_t *kept, const float *weights, uint32_t count)
{
    const float *w2 = part_of(m, m->parameters).w2;

    for (uint32_t j = 0; j < count; j++) {
        uint32_t i = kept[j];
        float sigmoid = 1.0f / (1.0f + expf(-logits[i]));
        float *a = m->kept_activations + (size_t)j * m->hidden;
        float *d = m->kept_delta + (size_t)j * m->hidden;

        memcpy(m->kept_x + (size_t)j * m->inputs, x + (size_t)i * m->inputs,
               m->inputs * sizeof(float));
        memcpy(a, m->activations + (size_t)i * m->hidden, m->hidden * sizeof(float));
        m->delta[j] = weights[j] * (sigmoid - (float)(labels[i] != 0));
        for (uint32_t h = 0; h < m->hidden; h++)
            d[h] = a[h] > 0.0f ? m->delta[j] * w2[h] : 0.0f;
    }
}

void mlp_backward(struct mlp *m, const float *x, const float *logits, const uint8_t *labels,
                  const uint32_t *kept, const float *weights, uint32_t count)
{
    struct part g = part_of(m, m->gradient);

    gather(m, x, logits, labels, kept, weights, count);
    product(CblasTrans, m->inputs, m->hidden, count, m->kept_x, m->inputs, m->kept_delta, 0.0f,
            g.w1);
    product(CblasTrans, m->hidden, 1, count, m->kept_activations, m->hidden, m->delta, 0.0f, g.w2);
    memset(g.b1, 0, m->hidden * sizeof(float));
    *g.b2 = 0.0f;
    for (uint32_t j = 0; j < count; j++) {
        for (uint32_t h = 0; h < m->hidden; h++)
            g.b1[h] += m->kept_delta[(size_t)j * m->hidden + h];
        *g.b2 += m->delta[j];
    }
}

void mlp_step(struct mlp *m, float rate, float momentum)
{
    for (size_t i = 0; i < m->parameter_count; i++) {
        m->velocity[i] = momentum * m->velocity[i] + m->gradient[i];
        m->parameters[i] -= rate * m->velocity[i];
    }
}

float *mlp_parameters(struct mlp *m, size_t *out_count)
{
    *out_count = m->parameter_count;
    return m->parameters;
}

const float *mlp_gradient(const struct mlp *m)
{
    return m->gradient;
}
