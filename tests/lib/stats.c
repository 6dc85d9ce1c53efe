/* stats.c - the chi-square test; see stats.h.
 *
 * The tail of the distribution is the regularised upper incomplete gamma function Q(df/2, x/2): by
 * its power series below the mean, by Legendre's continued fraction above (modified Lentz), as each
 * converges fast only there.
 */
#include "stats.h"

#include <assert.h>
#include <math.h>

#define TERMS_MAX 100000
#define PRECISION 1e-14

/* P(a, x) = x^a e^-x / Gamma(a+1) * sum of x^n / ((a+1) ... (a+n)) */
static double lower_by_series(double a, double x)
{
    double term = 1, sum = 1;

    for (int n = 1; n < TERMS_MAX && term > sum * PRECISION; n++) {
        term *= x / (a + n);
        sum += term;
    }
    return sum * exp(a * log(x) - x - lgamma(a + 1));
}

/* Q(a, x) = x^a e^-x / Gamma(a) * 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))) */
static double upper_by_fraction(double a, double x)
{
    double b = x + 1 - a, c = 1e300, d = 1 / b, value = d, step = 0;

    for (int n = 1; n < TERMS_MAX && fabs(step - 1) > PRECISION; n++) {
        double numerator = n * (a - n);

        b += 2;
        d = 1 / (b + numerator * d);
        c = b + numerator / c;
        step = c * d;
        value *= step;
    }
    return value * exp(a * log(x) - x - lgamma(a));
}

double stats_chi_square_tail(double chi2, double freedom)
{
    double a = freedom / 2, x = chi2 / 2;

    assert(freedom > 0 && chi2 >= 0);
    if (x == 0)
        return 1;
    return x < a + 1 ? 1 - lower_by_series(a, x) : upper_by_fraction(a, x);
}

struct sum {
    double chi2;
    size_t cells;
};

static void sum_add(struct sum *s, double count, double expected)
{
    s->chi2 += (count - expected) * (count - expected) / expected;
    s->cells++;
}

double stats_fit(const uint64_t *counts, const double *probability, size_t cells)
{
    struct sum sum = {0};
    double total = 0, mass = 0, pooled = 0, pooled_expected = 0;

    for (size_t i = 0; i < cells; i++) {
        total += (double)counts[i];
        mass += probability[i];
    }
    assert(fabs(mass - 1) < 1e-6);
    for (size_t i = 0; i < cells; i++) {
        double expected = total * probability[i];

        if (expected <= 0 && counts[i] > 0)
            return 0;
        if (expected >= STATS_EXPECT_MIN) {
            sum_add(&sum, (double)counts[i], expected);
            continue;
        }
        pooled += (double)counts[i];
        pooled_expected += expected;
        if (pooled_expected >= STATS_EXPECT_MIN) {
            sum_add(&sum, pooled, pooled_expected);
            pooled = pooled_expected = 0;
        }
    }
    if (pooled_expected > 1) /* the rest of the rest: a little rough, but not to be lost */
        sum_add(&sum, pooled, pooled_expected);
    return sum.cells < 2 ? 1 : stats_chi_square_tail(sum.chi2, (double)(sum.cells - 1));
}

double stats_fit_uniform(const uint64_t *counts, size_t cells)
{
    double total = 0, chi2 = 0;

    for (size_t i = 0; i < cells; i++)
        total += (double)counts[i];
    for (size_t i = 0; i < cells; i++) {
        double off = (double)counts[i] - total / (double)cells;

        chi2 += off * off / (total / (double)cells);
    }
    return cells < 2 ? 1 : stats_chi_square_tail(chi2, (double)(cells - 1));
}
