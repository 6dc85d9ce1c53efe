/* coverage.c - every instance once per epoch; see coverage.h.
 *
 * What was returned waits in a ring and goes out first. `open` holds the epochs that still wait for
 * an instance, oldest first; each but the last has one outstanding or in the ring.
 */
#include "coverage.h"

#include "../../proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CAPACITY_MIN 64

/* Places of the stream beside those of the epoch's own permutation, by the redraw's number. */
#define REDRAW_JOINED 1 /* keys of what joined */
#define REDRAW_WHICH  2 /* which range comes next */
#define REDRAW_SKIP   3 /* whether an id is left out */

static void begin_epoch(struct coverage *c, uint64_t epoch)
{
    assert(c->open_count < COVERAGE_OPEN_MAX);
    c->epoch = epoch;
    c->position = 0;
    c->joined_count = 0;
    permutation_init(&c->order, c->n, c->rng, epoch);
    c->open[c->open_count++] =
        (struct coverage_report){.epoch = epoch, .instances = c->n, .missing = c->n};
}

int coverage_init(struct coverage *c, uint64_t n, struct rng rng)
{
    *c = (struct coverage){.n = n, .rng = rng, .pool_capacity = POOL_CAPACITY_MIN};
    c->pool = malloc(c->pool_capacity * sizeof *c->pool);
    c->open = malloc(COVERAGE_OPEN_MAX * sizeof *c->open);
    if (c->pool == NULL || c->open == NULL) {
        coverage_deinit(c);
        return -OHEM_NOMEM;
    }
    begin_epoch(c, 0);
    return 0;
}

void coverage_deinit(struct coverage *c)
{
    free(c->pool);
    free(c->open);
    free(c->joined_orders);
    *c = (struct coverage){0};
}

int coverage_reserve(struct coverage *c, size_t leased_max)
{
    struct coverage_slot *bigger;
    size_t to_end;

    if (leased_max <= c->pool_capacity)
        return 0;
    bigger = malloc(leased_max * sizeof *bigger);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    /* unroll the ring: from its head to the end of the memory, then from the beginning */
    to_end = c->pool_capacity - c->pool_head;
    if (to_end > c->pool_count)
        to_end = c->pool_count;
    memcpy(bigger, c->pool + c->pool_head, to_end * sizeof *bigger);
    memcpy(bigger + to_end, c->pool, (c->pool_count - to_end) * sizeof *bigger);
    free(c->pool);
    c->pool = bigger;
    c->pool_head = 0;
    c->pool_capacity = leased_max;
    return 0;
}

bool coverage_ready(const struct coverage *c)
{
    return c->open_count < COVERAGE_OPEN_MAX;
}

/* The open epoch of that number: epochs close out of order, so they need not be consecutive. */
struct coverage_report *coverage_find_open(struct coverage *c, uint64_t epoch)
{
    size_t low = 0, high = c->open_count;

    if (high == 0)
        return NULL;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (c->open[middle].epoch <= epoch)
            low = middle;
        else
            high = middle;
    }
    return c->open[low].epoch == epoch ? &c->open[low] : NULL;
}

static struct coverage_report *find_open(struct coverage *c, uint64_t epoch)
{
    struct coverage_report *r = coverage_find_open(c, epoch);

    assert(r != NULL);
    return r;
}

/* An epoch closes when nothing is missing, which also says that its permutation is used up. */
static void close_if_done(struct coverage *c, struct coverage_report *r)
{
    size_t at = (size_t)(r - c->open);

    if (r->missing > 0)
        return;
    r->closed = true;
    c->reports[c->closed_count++ % COVERAGE_REPORTS_MAX] = *r;
    memmove(r, r + 1, (c->open_count - at - 1) * sizeof *r);
    c->open_count--;
    if (c->open_count == 0)
        begin_epoch(c, c->epoch + 1);
}

/* ---- what joined -------------------------------------------------------------------------------
 */

/* How many ids the epoch had when it began. */
static uint64_t first_count(const struct coverage *c)
{
    return c->joined_count > 0 ? c->joined[0].first : c->n;
}

uint64_t coverage_left(const struct coverage *c)
{
    uint64_t left = c->n - c->position;

    for (size_t i = 0; i < c->joined_count; i++)
        left -= c->joined[i].position;
    return left;
}

/* Each range that joined has a key of its own: an epoch sees none of them twice. */
static void init_joined_order(struct coverage *c, size_t i)
{
    const struct coverage_joined *j = &c->joined[i];
    struct rng own = {rng_at(c->rng, c->epoch, (uint32_t)j->first, REDRAW_JOINED).first};

    permutation_init(&c->joined_orders[i], j->count, own, c->epoch);
}

static int need_joined_orders(struct coverage *c)
{
    if (c->joined_orders == NULL)
        c->joined_orders = malloc(COVERAGE_JOINED_MAX * sizeof *c->joined_orders);
    return c->joined_orders != NULL ? 0 : -OHEM_NOMEM;
}

int coverage_reserve_growth(struct coverage *c)
{
    if (c->joined_count == COVERAGE_JOINED_MAX && coverage_find_open(c, c->epoch) != NULL)
        return -OHEM_LIMIT;
    return need_joined_orders(c);
}

int coverage_grow(struct coverage *c, uint64_t n)
{
    struct coverage_report *r = coverage_find_open(c, c->epoch);
    int rc;

    assert(n >= c->n && n <= UINT32_MAX);
    if (n == c->n)
        return 0;
    if (r == NULL) { /* closed: it stays handed out, and the next begins with all */
        c->joined_count = 0;
        c->position = c->n = n;
        return 0;
    }
    rc = coverage_reserve_growth(c);
    if (rc != 0)
        return rc;
    c->joined[c->joined_count] = (struct coverage_joined){.first = c->n, .count = n - c->n};
    init_joined_order(c, c->joined_count++);
    r->instances += n - c->n;
    r->missing += n - c->n;
    c->n = n;
    return 0;
}

int coverage_resume(struct coverage *c)
{
    if (!coverage_sound(c))
        return -OHEM_STATE;
    permutation_init(&c->order, first_count(c), c->rng, c->epoch);
    if (c->joined_count > 0 && need_joined_orders(c) != 0)
        return -OHEM_NOMEM;
    for (size_t i = 0; i < c->joined_count; i++)
        init_joined_order(c, i);
    return 0;
}

/* The next of `left` ids, of which some joined: each is as likely. */
static uint32_t take_mixed(struct coverage *c, uint64_t left)
{
    struct rng_pair chance = rng_at(c->rng, c->epoch, (uint32_t)(c->n - left), REDRAW_WHICH);
    uint64_t place = rng_below(chance.first, left), here = first_count(c) - c->position;
    struct coverage_joined *j = c->joined;

    if (place < here)
        return (uint32_t)permutation_at(&c->order, c->position++);
    place -= here;
    for (; place >= (here = j->count - j->position); j++)
        place -= here;
    return (uint32_t)(j->first + permutation_at(&c->joined_orders[j - c->joined], j->position++));
}

/* One that this epoch has not handed out yet; if there is none, the next epoch begins. */
static uint32_t take_fresh(struct coverage *c)
{
    uint64_t left = coverage_left(c);

    if (left == 0)
        begin_epoch(c, c->epoch + 1);
    if (c->joined_count > 0)
        return take_mixed(c, left);
    return (uint32_t)permutation_at(&c->order, c->position++);
}

/* ---- out and back ------------------------------------------------------------------------------
 */

struct coverage_slot coverage_take(struct coverage *c)
{
    struct coverage_slot slot = {0};
    struct coverage_report *r;

    if (c->pool_count > 0) {
        slot = c->pool[c->pool_head];
        c->pool_head = (c->pool_head + 1) % c->pool_capacity;
        c->pool_count--;
        c->pool_taken++;
        r = find_open(c, slot.epoch);
        r->repeated++;
    } else {
        slot.id = take_fresh(c);
        slot.epoch = (uint32_t)c->epoch;
        r = find_open(c, slot.epoch);
    }
    r->served++;
    return slot;
}

uint32_t coverage_take_run(struct coverage *c, uint32_t count, uint32_t *ids, uint32_t *epochs)
{
    uint64_t left = coverage_left(c);
    uint32_t run;

    if (left == 0) {
        begin_epoch(c, c->epoch + 1);
        left = c->n;
    }
    run = count < left ? count : (uint32_t)left;
    if (c->joined_count == 0) {
        permutation_run(&c->order, c->position, run, ids);
        c->position += run;
    } else {
        for (uint32_t i = 0; i < run; i++)
            ids[i] = take_mixed(c, left - i);
    }
    for (uint32_t i = 0; i < run; i++)
        epochs[i] = (uint32_t)c->epoch;
    find_open(c, c->epoch)->served += run;
    return run;
}

void coverage_take_many(struct coverage *c, uint32_t count, uint32_t *ids, uint32_t *epochs)
{
    uint32_t taken = 0;

    for (; taken < count && c->pool_count > 0; taken++) {
        struct coverage_slot slot = coverage_take(c);

        ids[taken] = slot.id;
        epochs[taken] = slot.epoch;
    }
    while (taken < count)
        taken += coverage_take_run(c, count - taken, ids + taken, epochs + taken);
}

void coverage_skip(struct coverage *c, uint64_t epoch, uint32_t count)
{
    struct coverage_report *r = count > 0 ? find_open(c, epoch) : NULL;

    if (r == NULL)
        return;
    assert(count <= r->missing && count <= r->served);
    r->served -= count;
    r->skipped += count;
    r->missing -= count;
    close_if_done(c, r);
}

double coverage_chance(const struct coverage *c, uint64_t epoch, uint32_t id)
{
    return rng_unit(rng_at(c->rng, epoch, id, REDRAW_SKIP).first);
}

static void settle_run(struct coverage *c, uint64_t epoch, uint32_t run, bool reported)
{
    struct coverage_report *r = find_open(c, epoch);

    assert(run <= r->missing);
    if (reported)
        r->reported += run;
    else
        r->released += run;
    r->missing -= run;
    close_if_done(c, r);
}

void coverage_settle(struct coverage *c, struct coverage_slot slot, bool reported)
{
    settle_run(c, slot.epoch, 1, reported);
}

void coverage_settle_many(struct coverage *c, const uint32_t *epochs, uint32_t count, bool reported)
{
    for (uint32_t first = 0, end = 0; first < count; first = end) {
        while (end < count && epochs[end] == epochs[first])
            end++;
        settle_run(c, epochs[first], end - first, reported);
    }
}

void coverage_return(struct coverage *c, struct coverage_slot slot)
{
    assert(c->pool_count < c->pool_capacity);
    find_open(c, slot.epoch)->returned++;
    c->pool[(c->pool_head + c->pool_count) % c->pool_capacity] = slot;
    c->pool_count++;
}

double coverage_progress(const struct coverage *c)
{
    return (double)c->epoch + (double)(c->n - coverage_left(c)) / (double)c->n;
}

const struct coverage_report *coverage_open(const struct coverage *c, size_t i)
{
    assert(i < c->open_count);
    return &c->open[i];
}

const struct coverage_report *coverage_closed(const struct coverage *c, size_t back)
{
    if (back >= c->closed_count || back >= COVERAGE_REPORTS_MAX)
        return NULL;
    return &c->reports[(c->closed_count - 1 - back) % COVERAGE_REPORTS_MAX];
}
