/* ragged.c - from many losses an instance to one, and the items selected; see ragged.h. */
#include "ragged.h"

#include "../../proto/error.h"
#include "largest.h"

#include <math.h>
#include <stdlib.h>

void ragged_init(struct ragged *r)
{
    *r = (struct ragged){0};
}

void ragged_deinit(struct ragged *r)
{
    free(r->aside);
    free(r->scores);
    free(r->kept);
    free(r->selection.indices);
    free(r->selection.weights);
    free(r->losses);
    free(r->flags);
    free(r->order);
    ragged_init(r);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* @param array  the address of a pointer; its contents are not kept */
static bool renew(void *array, size_t count, size_t size)
{
    void **at = array;
    void *fresh = malloc(count * size);

    if (fresh == NULL)
        return false;
    free(*at);
    *at = fresh;
    return true;
}

static bool reserve_instances(struct ragged *r, size_t k)
{
    if (k <= r->k_capacity)
        return true;
    if (!renew(&r->aside, k, sizeof *r->aside) || !renew(&r->scores, k, sizeof *r->scores) ||
        !renew(&r->kept, k, sizeof *r->kept))
        return false;
    r->k_capacity = k;
    return true;
}

static bool reserve_items(struct ragged *r, size_t n)
{
    n = n > 0 ? n : 1;
    if (n <= r->n_capacity)
        return true;
    if (!renew(&r->losses, n, sizeof *r->losses) || !renew(&r->flags, n, sizeof *r->flags) ||
        !renew(&r->selection.indices, n, sizeof *r->selection.indices) ||
        !renew(&r->selection.weights, n, sizeof *r->selection.weights))
        return false;
    r->n_capacity = n;
    return true;
}

/* Capacities are raised when all of it is there: arrays that are larger than they say are no harm.
 */
int ragged_reserve(struct ragged *r, const struct message_loss *loss)
{
    bool done = reserve_instances(r, loss->items.counts.count) &&
                reserve_items(r, loss->losses.count) &&
                (loss->items.boxes.count == 0 || r->order != NULL ||
                 renew(&r->order, MESSAGE_INSTANCE_BOXES_MAX, sizeof *r->order));

    return done ? 0 : -OHEM_NOMEM;
}

/* ---- an instance's loss ------------------------------------------------------------------------
 */

static float larger_loss(float a, float b)
{
    return a > b ? a : b; /* no NaN is above anything */
}

/* Of any losses, those that are no numbers left out, in four lanes that do not wait for each other.
 */
static float largest_of_any(const float *losses, uint32_t n)
{
    float most[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    uint32_t i = 0;

    for (; i + 4 <= n; i += 4)
        for (uint32_t lane = 0; lane < 4; lane++)
            most[lane] = larger_loss(losses[i + lane], most[lane]);
    for (; i < n; i++)
        most[0] = larger_loss(losses[i], most[0]);
    return larger_loss(larger_loss(most[0], most[1]), larger_loss(most[2], most[3]));
}

static float largest_of(const float *losses, uint32_t n)
{
    float most = largest_of_any(losses, n);

    if (most < INFINITY)
        return most > -INFINITY ? most : NAN;
    most = -INFINITY;
    for (uint32_t i = 0; i < n; i++) /* infinities are seldom */
        if (losses[i] < INFINITY)
            most = larger_loss(losses[i], most);
    return most > -INFINITY ? most : NAN;
}

static float mean_of(const float *losses, uint32_t n)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < n; i++)
        if (isfinite(losses[i])) {
            sum += (double)losses[i];
            count++;
        }
    return count > 0 ? (float)(sum / count) : NAN;
}

/* @param scratch  [n] */
static float mean_of_top(const float *losses, uint32_t n, uint32_t top, uint32_t *scratch)
{
    struct largest l;
    struct largest_cut cut;

    largest_look(&l, losses, n);
    if (l.stats.count <= top)
        return mean_of(losses, n);
    cut = largest_find(&l, losses, n, top, scratch);
    largest_write(&l, losses, n, cut, top, scratch);
    return (float)(largest_sum(losses, scratch, top) / top);
}

static float score_of(const struct ragged *r, const struct message_items *items, uint32_t first,
                      uint32_t n)
{
    const float *losses = r->items + first;

    if (items->score == SCORE_TOP)
        return mean_of_top(losses, n, items->top, r->selection.indices);
    return items->score == SCORE_MEAN ? mean_of(losses, n) : largest_of(losses, n);
}

/* ---- overlaps ----------------------------------------------------------------------------------
 */

struct box {
    double x1, y1, x2, y2;
};

static struct box box_at(struct vector boxes, size_t i)
{
    return (struct box){(double)vector_f32(boxes, 4 * i), (double)vector_f32(boxes, 4 * i + 1),
                        (double)vector_f32(boxes, 4 * i + 2), (double)vector_f32(boxes, 4 * i + 3)};
}

static double area(double x1, double y1, double x2, double y2)
{
    return x2 > x1 && y2 > y1 ? (x2 - x1) * (y2 - y1) : 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* A box without an area has no side that a comparison could be wrong about: it overlaps nothing. */
static bool overlap(const struct box *a, const struct box *b, double iou)
{
    double one = area(a->x1, a->y1, a->x2, a->y2), other = area(b->x1, b->y1, b->x2, b->y2), both;

    if (!(one > 0 && other > 0))
        return false;
    both = area(larger(a->x1, b->x1), larger(a->y1, b->y1), smaller(a->x2, b->x2),
                smaller(a->y2, b->y2));
    return both > iou * (one + other - both);
}

/* Hardest first, of equals the earlier one: smaller is before. */
static uint64_t order_key(float loss, uint32_t i)
{
    uint32_t bits;

    loss += 0.0F; /* -0 is 0 */
    memcpy(&bits, &loss, sizeof bits);
    bits = (bits & UINT32_C(0x80000000)) != 0 ? bits : ~bits & UINT32_C(0x7fffffff);
    return (uint64_t)bits << 32 | i;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t put_in_order(struct ragged *r, uint32_t first, uint32_t n)
{
    uint32_t count = 0;

    for (uint32_t i = first; i < first + n; i++)
        if (isfinite(r->items[i]))
            r->order[count++] = order_key(r->items[i], i);
    qsort(r->order, count, sizeof *r->order, compare_keys);
    return count;
}

static bool same_class(struct vector classes, uint32_t a, uint32_t b)
{
    return classes.count == 0 || vector_u32(classes, a) == vector_u32(classes, b);
}

/* Greedy, as in ragged.h; what is taken out is flagged as ignored. */
static void leave_out(struct ragged *r, const struct message_items *items, uint32_t first,
                      uint32_t n)
{
    uint32_t count = put_in_order(r, first, n);

    for (uint32_t at = 0; at < count; at++) {
        uint32_t hard = (uint32_t)r->order[at];
        struct box box = box_at(items->boxes, hard);

        if ((r->flags[hard] & LOSS_FLAG_IGNORED) != 0)
            continue;
        for (uint32_t later = at + 1; later < count; later++) {
            uint32_t i = (uint32_t)r->order[later];
            struct box other = box_at(items->boxes, i);

            if (same_class(items->classes, hard, i) && overlap(&box, &other, items->iou))
                r->flags[i] |= LOSS_FLAG_IGNORED;
        }
    }
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

static const float *aligned(struct ragged *r, struct vector losses)
{
    if (r->n == 0 || (uintptr_t)losses.data % sizeof(float) == 0)
        return losses.data;
    memcpy(r->losses, losses.data, r->n * sizeof *r->losses);
    return r->losses;
}

/* Does anything but its value keep an item from being selected? */
static bool has_flags(const struct ragged *r, const struct message_loss *loss)
{
    return loss->flags.count > 0 || loss->items.iou > 0 || r->has_aside;
}

static void take_items(struct ragged *r, const struct message_loss *loss)
{
    r->k = (uint32_t)loss->items.counts.count;
    r->n = (uint32_t)loss->losses.count;
    r->items = aligned(r, loss->losses);
    if (loss->flags.count == 0) {
        if (has_flags(r, loss))
            memset(r->flags, 0, r->n);
        return;
    }
    memcpy(r->flags, loss->flags.data, r->n);
    if (r->items != r->losses)
        memcpy(r->losses, r->items, r->n * sizeof *r->losses);
    r->items = r->losses;
    for (uint32_t i = 0; i < r->n; i++)
        if ((r->flags[i] & LOSS_FLAG_IGNORED) != 0)
            r->losses[i] = NAN;
}

static void work_instance(struct ragged *r, const struct message_items *items, uint32_t k,
                          uint32_t first, uint32_t n)
{
    r->scores[k] = score_of(r, items, first, n);
    if (items->iou > 0)
        leave_out(r, items, first, n);
    if (r->has_aside && r->aside[k] != 0)
        for (uint32_t i = first; i < first + n; i++)
            r->flags[i] |= LOSS_FLAG_IGNORED;
}

/* The selection tells ignored from non-finite items by itself. */
static void choose(struct ragged *r, const struct message_loss *loss)
{
    struct selection_input in = {.losses = aligned(r, loss->losses),
                                 .flags = has_flags(r, loss) ? r->flags : NULL,
                                 .count = r->n,
                                 .step = r->step};

    selection_choose(selection_answered(&r->policy), &in, &r->selection);
}

static void count_kept(struct ragged *r, struct vector counts)
{
    uint32_t end = 0, at = 0;

    for (uint32_t k = 0; k < r->k; k++) {
        uint32_t before = at;

        end += vector_u32(counts, k);
        while (at < r->selection.count && r->selection.indices[at] < end)
            at++;
        r->kept[k] = at - before;
    }
}

void ragged_work(struct ragged *r, const struct message_loss *loss)
{
    uint32_t first = 0;

    take_items(r, loss);
    for (uint32_t k = 0; k < r->k; k++) {
        uint32_t n = vector_u32(loss->items.counts, k);

        work_instance(r, &loss->items, k, first, n);
        first += n;
    }
    choose(r, loss);
    count_kept(r, loss->items.counts);
}
