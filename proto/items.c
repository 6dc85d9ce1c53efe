/* items.c - see items.h. */
#include "items.h"

#include "error.h"

#include <inttypes.h>

/* Without counts there is nothing that the rest could be about. */
static int check_absent(const struct message_items *items, struct reason *why)
{
    const struct {
        const char *name;
        double value;
    } rest[] = {{"items.score", items->score},
                {"items.top", items->top},
                {"items.iou", items->iou},
                {"boxes.count", (double)items->boxes.count},
                {"classes.count", (double)items->classes.count}};

    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        if (!(rest[i].value >= 0 && rest[i].value <= 0)) {
            reason_set(why, "%s is %g; it is 0 when items.count is 0", rest[i].name, rest[i].value);
            return -OHEM_INVALID;
        }
    return 0;
}

static int check_score(const struct message_items *items, struct reason *why)
{
    uint32_t low = items->score == SCORE_TOP ? 1 : 0;
    uint32_t high = items->score == SCORE_TOP ? MESSAGE_ITEMS_MAX : 0;

    if (items->score > MESSAGE_SCORE_MAX) {
        reason_set(why, "items.score is %" PRIu32 "; at most %u (MESSAGE_SCORE_MAX) is allowed",
                   items->score, MESSAGE_SCORE_MAX);
        return -OHEM_INVALID;
    }
    if (items->top >= low && items->top <= high)
        return 0;
    reason_set(why,
               "items.top is %" PRIu32 "; %" PRIu32 "..%" PRIu32 " is allowed with score %" PRIu32,
               items->top, low, high, items->score);
    return -OHEM_INVALID;
}

static int check_boxes(const struct message_items *items, size_t n, struct reason *why)
{
    bool wanted = items->iou > 0;

    if (!(items->iou >= 0 && items->iou <= 1)) {
        reason_set(why, "items.iou is %g; 0 to 1 is allowed", items->iou);
        return -OHEM_INVALID;
    }
    if (items->boxes.count != (wanted ? 4 * n : 0)) {
        reason_set(why, "boxes.count is %zu; %zu is wanted with items.iou %g", items->boxes.count,
                   wanted ? 4 * n : 0, items->iou);
        return -OHEM_INVALID;
    }
    if (items->classes.count != 0 && (!wanted || items->classes.count != n)) {
        reason_set(why, "classes.count is %zu; 0%s%s is allowed with items.iou %g",
                   items->classes.count, wanted ? " or " : "", wanted ? "count" : "", items->iou);
        return -OHEM_INVALID;
    }
    return 0;
}

static int check_counts(const struct message_items *items, size_t n, struct reason *why)
{
    uint64_t total = 0;

    for (size_t i = 0; i < items->counts.count; i++) {
        uint32_t count = vector_u32(items->counts, i);

        if (items->iou > 0 && count > MESSAGE_INSTANCE_BOXES_MAX) {
            reason_set(why,
                       "items[%zu] is %" PRIu32 "; at most %u (MESSAGE_INSTANCE_BOXES_MAX) "
                       "items of an instance may have boxes",
                       i, count, MESSAGE_INSTANCE_BOXES_MAX);
            return -OHEM_TOO_LARGE;
        }
        total += count;
    }
    if (total == n)
        return 0;
    reason_set(why, "the counts of items add up to %" PRIu64 "; count is %zu", total, n);
    return -OHEM_INVALID;
}

int items_check(const struct message_items *items, size_t n, struct reason *why)
{
    int rc;

    if (!items_are_ragged(items))
        return check_absent(items, why);
    rc = check_score(items, why);
    if (rc == 0)
        rc = check_boxes(items, n, why);
    return rc == 0 ? check_counts(items, n, why) : rc;
}
