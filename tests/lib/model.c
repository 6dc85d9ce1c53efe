/* model.c - the naive memory; see model.h. */
#include "model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VARIANCE_BITS     8    /* significant bits that are kept of a variance */
#define VARIANCE_TINY_EXP -133 /* the smallest step between two of them is 2^this */

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    assert(memory != NULL);
    return memory;
}

void model_init(struct model *m, uint32_t n, float lambda)
{
    *m = (struct model){.n = n, .lambda = lambda};
    m->score = zeros(n, sizeof *m->score);
    m->variance = zeros(n, sizeof *m->variance);
    m->last_loss = zeros(n, sizeof *m->last_loss);
    m->visits = zeros(n, sizeof *m->visits);
    m->last_step = zeros(n, sizeof *m->last_step);
}

void model_deinit(struct model *m)
{
    free(m->score);
    free(m->variance);
    free(m->last_loss);
    free(m->visits);
    free(m->last_step);
    *m = (struct model){0};
}

/* To 8 significant bits, ties to even: by arithmetic, not by the float's bits. */
static float round_variance(float x)
{
    int exponent;
    double step;

    (void)frexp((double)x, &exponent);
    step = ldexp(1.0, exponent - VARIANCE_BITS < VARIANCE_TINY_EXP ? VARIANCE_TINY_EXP
                                                                   : exponent - VARIANCE_BITS);
    return (float)(nearbyint((double)x / step) * step);
}

void model_report(struct model *m, uint64_t id, float loss, uint64_t step)
{
    float counted = fmaxf(loss, 0.0f), away;

    assert(id < m->n);
    if (!isfinite(loss))
        return;
    if (m->visits[id] == 0) {
        m->score[id] = counted;
    } else {
        away = counted - m->score[id];
        m->variance[id] =
            round_variance((1 - m->lambda) * (m->variance[id] + m->lambda * (away * away)));
        m->score[id] += m->lambda * away;
    }
    m->last_loss[id] = loss;
    m->last_step[id] = step;
    if (m->visits[id] < HARDNESS_VISITS_MAX)
        m->visits[id]++;
}

bool model_agrees(const struct model *m, const struct hardness *h, uint32_t id)
{
    struct hardness_story s = hardness_story(h, id);

    return s.scored == (m->visits[id] > 0) && s.score == m->score[id] &&
           s.variance == m->variance[id] && s.visits == m->visits[id] &&
           s.last_loss == m->last_loss[id] && s.last_step == (uint32_t)m->last_step[id];
}

static void print_difference(const struct model *m, const struct hardness *h, uint32_t id)
{
    struct hardness_story s = hardness_story(h, id);

    (void)printf("instance %u: engine score %a variance %a visits %u loss %a step %u, "
                 "model score %a variance %a visits %u loss %a step %llu\n",
                 id, (double)s.score, (double)s.variance, s.visits, (double)s.last_loss,
                 s.last_step, (double)m->score[id], (double)m->variance[id], m->visits[id],
                 (double)m->last_loss[id], (unsigned long long)m->last_step[id]);
}

size_t model_differences(const struct model *m, const struct hardness *h)
{
    size_t count = 0;

    for (uint32_t id = 0; id < m->n; id++)
        if (!model_agrees(m, h, id) && count++ == 0)
            print_difference(m, h, id);
    return count;
}
