/* items.h - a ragged report: its limits, for both sides. */
#ifndef OHEM_ITEMS_H
#define OHEM_ITEMS_H

#include "message.h"
#include "reason.h"

static inline bool items_are_ragged(const struct message_items *items)
{
    return items->counts.count > 0;
}

/**
 * Do the parts of a ragged report belong together? One that is not ragged has none.
 * @param n  its losses
 * @return 0, -OHEM_INVALID, or -OHEM_TOO_LARGE with the reason, which names the field, its value
 *         and the limit
 */
int items_check(const struct message_items *items, size_t n, struct reason *why);

#endif
