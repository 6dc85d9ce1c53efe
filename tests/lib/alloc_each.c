/* alloc_each.c - an attempt for each allocation that may fail; see alloc_each.h. */
#include "alloc_each.h"

#include "../../proto/error.h"
#include "alloc.h"
#include "test.h"

#include <stdbool.h>

#define ATTEMPTS_MAX 1000

/* @return whether it got through */
static bool try(alloc_attempt_fn *attempt, alloc_check_fn *unchanged, void *object, size_t nth)
{
    bool failed;
    int rc;

    alloc_fail_at(nth);
    rc = attempt(object);
    failed = alloc_has_failed();
    alloc_fail_at(0);
    assert_int_equal(rc, failed ? -OHEM_NOMEM : 0);
    if (failed && unchanged != NULL)
        unchanged(object);
    return !failed;
}

size_t alloc_fail_each(alloc_attempt_fn *attempt, alloc_check_fn *unchanged, alloc_check_fn *undo,
                       void *object)
{
    for (size_t nth = 1; nth < ATTEMPTS_MAX; nth++) {
        size_t live = alloc_live();
        bool through = try(attempt, unchanged, object, nth);

        if (through)
            undo(object);
        assert_int_equal(alloc_live(), live);
        if (through)
            return nth - 1;
    }
    fail_msg("more than %d allocations", ATTEMPTS_MAX);
    return 0;
}

size_t alloc_get_through(alloc_attempt_fn *attempt, alloc_check_fn *unchanged, void *object)
{
    size_t nth = 1;

    while (!try(attempt, unchanged, object, nth))
        if (++nth >= ATTEMPTS_MAX)
            fail_msg("more than %d allocations", ATTEMPTS_MAX);
    return nth - 1;
}
