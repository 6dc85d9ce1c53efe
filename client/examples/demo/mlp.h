/* mlp.h - a network of one hidden layer (ReLU) and one output, trained by SGD with momentum.
 *
 * Two classes: the output is the logit of "positive", the loss is the cross-entropy of its sigmoid.
 * Forward goes over a whole batch, backward over any of its positions: that is what mining saves.
 * OpenBLAS does the products. Knows nothing of ohemd.
 */
#ifndef MLP_H
#define MLP_H

#include <stddef.h>
#include <stdint.h>

struct mlp;

/**
 * @param batch_max  rows of the largest batch
 * @param seed       the same seed gives the same network
 * @return NULL when there is no memory
 */
struct mlp *mlp_new(uint32_t inputs, uint32_t hidden, uint32_t batch_max, uint64_t seed);
void mlp_free(struct mlp *m); /* NULL is allowed */

/**
 * Logits of a batch.
 * @param x           float[rows][inputs]; must stay until the mlp_backward() that belongs to it
 * @param rows        at most batch_max
 * @param out_logits  float[rows]
 */
void mlp_forward(struct mlp *m, const float *x, uint32_t rows, float *out_logits);

/** The loss of each row: log(1 + e^z) - y z. @param labels 0 or 1, uint8[rows] */
void mlp_losses(const float *logits, const uint8_t *labels, uint32_t rows, float *out_losses);

/**
 * The gradient of L = sum over j of weights[j] * loss[kept[j]], for the last batch that went
 * forward. Replaces the gradient that was there.
 * @param kept  positions in that batch, uint32[count]
 */
void mlp_backward(struct mlp *m, const float *x, const float *logits, const uint8_t *labels,
                  const uint32_t *kept, const float *weights, uint32_t count);

/** One step of SGD with the gradient that mlp_backward() left: v = momentum v + g, w -= rate v. */
void mlp_step(struct mlp *m, float rate, float momentum);

/** All parameters, and their gradient, as one array each: to check the one against the other. */
float *mlp_parameters(struct mlp *m, size_t *out_count);
const float *mlp_gradient(const struct mlp *m);

#endif
