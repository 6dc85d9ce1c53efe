/* select.c - see select.h. */
#include "select.h"

#include "error.h"

#include <inttypes.h>
#include <math.h>

/* What `value` is to a rule, and its range; low itself may be left out. */
struct range {
    const char *meaning;
    double low, high;
    bool above; /* low is no value */
};

static const struct range ranges[MESSAGE_RULE_MAX + 1] = {
    [RULE_JOB] = {"nothing with the job's rule", 0, 0, false},
    [RULE_ALL] = {"nothing with all", 0, 0, false},
    [RULE_TOP] = {"the share of top", 0, 1, true},
    [RULE_THRESHOLD] = {"the threshold", -SELECT_THRESHOLD_MAX, SELECT_THRESHOLD_MAX, false},
    [RULE_NEGPOS] = {"negatives per positive", 0, SELECT_NEG_RATIO_MAX, true},
    [RULE_CDF] = {"the power of cdf", 0, SELECT_CDF_POWER_MAX, false},
};

static bool takes_count(uint32_t rule)
{
    return rule == RULE_TOP || rule == RULE_THRESHOLD || rule == RULE_NEGPOS;
}

static bool fits(const struct range *r, double value)
{
    return value <= r->high && (r->above ? value > r->low : value >= r->low); /* no NaN does */
}

static int check_value(const struct message_select *s, struct reason *why)
{
    struct range r = ranges[s->rule];

    if (s->rule == RULE_TOP && s->count > 0)
        r = (struct range){"nothing with a count", 0, 0, false};
    if (fits(&r, s->value))
        return 0;
    reason_set(why, "select.value is %g; it is %s: %s%g to %g is allowed", s->value, r.meaning,
               r.above ? "above " : "", r.low, r.high);
    return -OHEM_INVALID;
}

int select_check(const struct message_select *s, struct reason *why)
{
    uint32_t most = 0;

    if (s->rule > MESSAGE_RULE_MAX) {
        reason_set(why, "select.rule is %" PRIu32 "; at most %u (MESSAGE_RULE_MAX) is allowed",
                   s->rule, MESSAGE_RULE_MAX);
        return -OHEM_INVALID;
    }
    if (takes_count(s->rule))
        most = MESSAGE_ITEMS_MAX;
    if (s->count > most) {
        reason_set(why,
                   "select.count is %" PRIu32 "; 0 to %" PRIu32 " is allowed with rule %" PRIu32,
                   s->count, most, s->rule);
        return -OHEM_INVALID;
    }
    return check_value(s, why);
}

bool select_equal(const struct message_select *a, const struct message_select *b)
{
    return a->rule == b->rule && a->count == b->count && !(a->value < b->value) &&
           !(a->value > b->value);
}
