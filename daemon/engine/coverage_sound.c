/* coverage_sound.c - can this be what a coverage left? A part of coverage.h.
 *
 * Data from a disk may be damaged, and a wrong count would break an assertion much later.
 */
#include "coverage.h"
#include "partition.h"

/* The ranges that joined lie one behind the other, at the end of the ids. */
static bool joined_are_sound(const struct coverage *c)
{
    uint64_t next = c->n;

    if (c->joined_count > COVERAGE_JOINED_MAX)
        return false;
    for (size_t i = c->joined_count; i-- > 0;) {
        const struct coverage_joined *j = &c->joined[i];

        if (j->count == 0 || j->count >= next || j->first != next - j->count ||
            j->position > j->count)
            return false;
        next = j->first;
    }
    return c->position <= next;
}

static bool report_is_sound(const struct coverage *c, const struct coverage_report *r)
{
    uint64_t n = r->instances;

    if (r->closed || r->epoch > c->epoch || n > c->n || r->missing == 0)
        return false;
    if (r->cut >= PARTITION_BUCKETS || !(r->ratio >= 0 && r->ratio < 1))
        return false;
    if (r->reported > n || r->released > n || r->skipped > n || r->missing > n)
        return false; /* nor can their sum be more than it looks */
    return r->reported + r->released + r->skipped + r->missing == n;
}

static bool open_are_sound(const struct coverage *c)
{
    if (c->open_count == 0 || c->open_count > COVERAGE_OPEN_MAX || c->epoch > UINT32_MAX)
        return false;
    for (size_t i = 0; i < c->open_count; i++)
        if (!report_is_sound(c, &c->open[i]) || (i > 0 && c->open[i].epoch <= c->open[i - 1].epoch))
            return false;
    return true;
}

/* Of the current epoch: all ids are its own, and what is not handed out is missing. A closed one
 * has nothing left. */
static bool current_is_sound(struct coverage *c)
{
    const struct coverage_report *r = coverage_find_open(c, c->epoch);
    uint64_t left = coverage_left(c);

    return r != NULL ? r->instances == c->n && r->missing >= left : left == 0;
}

static const struct coverage_slot *pooled(const struct coverage *c, size_t i)
{
    return &c->pool[(c->pool_head + i) % c->pool_capacity];
}

/* What came back is missing in its epoch, beside what was never handed out. To count it without
 * memory, it is taken from what is missing for a moment. */
static bool pool_is_sound(struct coverage *c)
{
    size_t counted = 0;
    bool sound = true;

    if (c->pool_head >= c->pool_capacity || c->pool_count > c->pool_capacity)
        return false;
    for (; counted < c->pool_count; counted++) {
        const struct coverage_slot *slot = pooled(c, counted);
        struct coverage_report *r = coverage_find_open(c, slot->epoch);

        if (r == NULL || slot->id >= r->instances || r->missing == 0)
            break;
        r->missing--;
    }
    sound = counted == c->pool_count && current_is_sound(c);
    while (counted-- > 0)
        coverage_find_open(c, pooled(c, counted)->epoch)->missing++;
    return sound;
}

bool coverage_sound(struct coverage *c)
{
    return joined_are_sound(c) && open_are_sound(c) && pool_is_sound(c);
}
