/* alloc_each.h - let memory run out at every place where it can, one after the other.
 *
 * A function that allocates is tried: its 1st, 2nd, 3rd... allocation fails until one attempt gets
 * through. A failed attempt says -OHEM_NOMEM; the same object is then used for the next attempt.
 * For programs that are linked as alloc.h says.
 */
#ifndef ALLOC_EACH_H
#define ALLOC_EACH_H

#include <stddef.h>

/* Something that allocates: 0 or a negative code, as the function that it calls. */
typedef int alloc_attempt_fn(void *object);
/* Undoes a successful attempt, or looks at what a failed one left. */
typedef void alloc_check_fn(void *object);

/** A failed attempt keeps no block, and after `undo` the last one has left none.
 *  @param unchanged  called after each failure; may be NULL
 *  @return how many allocations the attempt makes */
size_t alloc_fail_each(alloc_attempt_fn *attempt, alloc_check_fn *unchanged, alloc_check_fn *undo,
                       void *object);

/** The same without an end: what the last attempt did stays. A failed one may keep memory for the
 *  next; whose object it is gives that back. */
size_t alloc_get_through(alloc_attempt_fn *attempt, alloc_check_fn *unchanged, void *object);

#endif
