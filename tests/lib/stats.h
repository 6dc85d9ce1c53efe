/* stats.h - is a set of counts what the probabilities say? Pearson's chi-square, no tables.
 *
 * A test fixes its seed, so its p-value is a constant: it cannot flake, only break. STATS_P_MIN is
 * how unlucky that constant may be before we call the code wrong.
 */
#ifndef STATS_H
#define STATS_H

#include <stddef.h>
#include <stdint.h>

#define STATS_P_MIN      1e-4
#define STATS_EXPECT_MIN 5.0 /* cells that expect less are pooled: the approximation needs it */

/** P(X >= chi2) of a chi-square variable X with so many degrees of freedom (> 0). */
double stats_chi_square_tail(double chi2, double freedom);

/**
 * How likely counts that are at least so far off are, if the probabilities are right.
 * @param probability  sums to 1. A count in a cell of probability 0 is impossible.
 * @return the p-value; 0 for the impossible; 1 when a single cell remains after pooling
 */
double stats_fit(const uint64_t *counts, const double *probability, size_t cells);

/** The same against equal probabilities. */
double stats_fit_uniform(const uint64_t *counts, size_t cells);

#endif
