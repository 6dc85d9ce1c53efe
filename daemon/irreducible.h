/* irreducible.h - a file of losses that no training brings down, one for each instance.
 *
 * RHO-LOSS (Mindermann et al., ICML 2022): the loss of a reference model that was trained on other
 * data. What a trainer reports above it can still be learned; noise and ambiguity cannot.
 */
#ifndef OHEMD_IRREDUCIBLE_H
#define OHEMD_IRREDUCIBLE_H

#include "../proto/reason.h"

#include <stddef.h>
#include <stdint.h>

/**
 * Read float32, little-endian, one behind the other, by id.
 * @param n  instances of the data set: there may be fewer, but not more
 * @param out  [*out_count], for free()
 * @return 0, or -OHEM_CONFIG (no such file; its size; a value that is not finite), -OHEM_NOMEM with
 *         the reason
 */
int irreducible_read(const char *path, uint64_t n, float **out, uint64_t *out_count,
                     struct reason *why);

#endif
