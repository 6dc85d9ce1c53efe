/* select.h - how a trainer may want its report answered: the limits, for both sides. */
#ifndef OHEM_SELECT_H
#define OHEM_SELECT_H

#include "message.h"
#include "reason.h"

/** Is this a rule, and are its numbers in their ranges? @return 0, or -OHEM_INVALID with the
 * reason, which names the field, its value and the limit */
int select_check(const struct message_select *select, struct reason *why);

/** Are two that were checked the same? */
bool select_equal(const struct message_select *a, const struct message_select *b);

#endif
