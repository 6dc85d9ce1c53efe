/* gain.h - would drawing by hardness pay?
 *
 * By how much importance sampling with probabilities g proportional to the scores lowers the
 * variance of a step, against uniform ones u, Katharopoulos and Fleuret (ICML 2018, section 3.3)
 * measure as tau = 1 / sqrt(1 - |g - u|^2 / |g|^2) and switch it on where a moving average of tau
 * is above a threshold. With u = 1/n it is sqrt(n |g|^2): the scores' root mean square over their
 * mean, 1 for equal ones.
 */
#ifndef OHEM_GAIN_H
#define OHEM_GAIN_H

#include "hardness.h"

#define GAIN_INERTIA 0.9 /* of the moving average, a step each */

/** tau over the ids that can be drawn by hardness, to the buckets' precision; 1 without any. */
double gain_measure(const struct hardness *h);

/** A step on. @param average  as it was; 0 at first. @return as it is */
double gain_average(double average, double measure);

#endif
