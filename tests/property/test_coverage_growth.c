/* test_coverage_growth.c - an epoch of a data set that grows under it, against a naive model.
 *
 * A random trainer takes, settles and returns; at random moments ids join, and at random moments
 * the coverage is left and a new one goes on from its plain data. A twin lives the same life
 * without such restarts. The model knows who belongs to which epoch and who was settled in it.
 */
#include "../../daemon/engine/coverage.h"
#include "../../proto/error.h"
#include "../lib/stats.h"
#include "../lib/test.h"

#include <string.h>

#define EPOCHS  6
#define N_MAX   700
#define OUT_MAX ((size_t)N_MAX * EPOCHS)

struct model {
    uint64_t n, epoch;          /* the current ones */
    uint64_t instances[EPOCHS]; /* N of each */
    uint64_t handed[EPOCHS], done[EPOCHS];
    uint8_t met[EPOCHS][N_MAX], settled[EPOCHS][N_MAX];
    unsigned grown; /* times in the current epoch */
    struct coverage_slot out[OUT_MAX];
    size_t out_count, pool_count;
    uint64_t seed, draws;
};

static struct rng stream(uint64_t seed)
{
    return rng_make(seed, "job", RNG_PERMUTATION);
}

static uint32_t pick(struct model *m, size_t below)
{
    return (uint32_t)rng_below(rng_at(stream(~m->seed), m->draws++, 9, 9).second, below);
}

static bool is_used_up(const struct model *m)
{
    return m->handed[m->epoch] == m->instances[m->epoch];
}

static bool may_take(const struct model *m)
{
    return m->pool_count > 0 || !is_used_up(m) || m->epoch + 1 < EPOCHS;
}

static void begin(struct model *m, uint64_t epoch)
{
    m->epoch = epoch;
    m->instances[epoch] = m->n;
    m->grown = 0;
}

static void note_taken(struct model *m, struct coverage_slot slot)
{
    if (m->pool_count > 0) { /* what came back goes first */
        assert_int_equal(m->met[slot.epoch][slot.id], 1);
        m->pool_count--;
    } else {
        if (is_used_up(m))
            begin(m, m->epoch + 1);
        assert_int_equal(slot.epoch, m->epoch);
        assert_true(slot.id < m->instances[slot.epoch]);
        assert_int_equal(m->met[slot.epoch][slot.id]++, 0);
        m->handed[slot.epoch]++;
    }
    assert_int_equal(m->settled[slot.epoch][slot.id], 0);
    m->out[m->out_count++] = slot;
}

static void assert_taken(struct coverage *c, uint32_t count, const uint32_t *ids,
                         const uint32_t *epochs)
{
    uint32_t got_ids[8], got_epochs[8];

    coverage_take_many(c, count, got_ids, got_epochs);
    assert_memory_equal(got_ids, ids, count * sizeof *ids);
    assert_memory_equal(got_epochs, epochs, count * sizeof *epochs);
}

/* One by one here, many at once there. */
static void take(struct coverage *c, struct coverage *twin, struct model *m)
{
    uint32_t ids[8], epochs[8], count = 0;

    for (uint32_t wanted = 1 + pick(m, 8); count < wanted && may_take(m); count++) {
        struct coverage_slot slot = coverage_take(c);

        note_taken(m, slot);
        ids[count] = slot.id;
        epochs[count] = slot.epoch;
    }
    assert_taken(twin, count, ids, epochs);
}

static struct coverage_slot pull(struct model *m)
{
    size_t i = pick(m, m->out_count);
    struct coverage_slot slot = m->out[i];

    m->out[i] = m->out[--m->out_count];
    return slot;
}

static void settle(struct coverage *c, struct coverage *twin, struct model *m)
{
    struct coverage_slot slot = pull(m);
    bool reported = pick(m, 3) > 0;

    m->settled[slot.epoch][slot.id]++;
    m->done[slot.epoch]++;
    coverage_settle(c, slot, reported);
    coverage_settle(twin, slot, reported);
}

static void give_back(struct coverage *c, struct coverage *twin, struct model *m)
{
    struct coverage_slot slot = pull(m);

    m->pool_count++;
    coverage_return(c, slot);
    coverage_return(twin, slot);
}

/* The next epoch begins at once where nothing waits for the last. */
static void note_closing(const struct coverage *c, struct model *m)
{
    if (c->epoch > m->epoch && m->epoch + 1 < EPOCHS)
        begin(m, m->epoch + 1);
}

static void grow(struct coverage *c, struct coverage *twin, struct model *m)
{
    uint64_t n = m->n + pick(m, m->n < 20 ? 5 : m->n / 4);
    bool open = m->done[m->epoch] < m->instances[m->epoch];
    int expected = 0;

    if (n > N_MAX || c->epoch != m->epoch)
        return;
    if (n > m->n && open && m->grown == COVERAGE_JOINED_MAX)
        expected = -OHEM_LIMIT;
    assert_int_equal(coverage_grow(c, n), expected);
    assert_int_equal(coverage_grow(twin, n), expected);
    if (expected != 0)
        return;
    if (open)
        m->instances[m->epoch] += n - m->n;
    else /* the epoch is over; in the model, nobody has to hand them out any more */
        assert_int_equal(coverage_left(c), 0);
    m->grown += n > m->n && open;
    m->n = n;
}

/* A new coverage from the plain data of the old one, and nothing else of it. */
static void restart(struct coverage *c, const struct model *m)
{
    struct coverage next;

    assert_int_equal(coverage_init(&next, c->n, stream(m->seed)), 0);
    assert_int_equal(coverage_reserve(&next, OUT_MAX), 0);
    next.epoch = c->epoch;
    next.position = c->position;
    memcpy(next.joined, c->joined, c->joined_count * sizeof *c->joined);
    next.joined_count = c->joined_count;
    for (size_t i = 0; i < c->pool_count; i++)
        next.pool[i] = c->pool[(c->pool_head + i) % c->pool_capacity];
    next.pool_count = c->pool_count;
    memcpy(next.open, c->open, c->open_count * sizeof *c->open);
    next.open_count = c->open_count;
    memcpy(next.reports, c->reports, sizeof c->reports);
    next.closed_count = c->closed_count;
    coverage_deinit(c);
    assert_int_equal(coverage_resume(&next), 0);
    *c = next;
}

static void assert_report(const struct model *m, const struct coverage_report *r)
{
    uint64_t covered = r->reported + r->released;

    if (r->epoch >= EPOCHS || (r->epoch > m->epoch))
        return;
    assert_int_equal(r->instances, m->instances[r->epoch]);
    assert_int_equal(covered, m->done[r->epoch]);
    assert_int_equal(r->instances, covered + r->skipped + r->missing);
    assert_true(r->closed == (r->missing == 0));
    assert_int_equal(r->served - r->repeated, m->handed[r->epoch]);
}

static void assert_same(const struct coverage *c, const struct coverage *twin,
                        const struct model *m)
{
    double handed = (double)m->handed[m->epoch];

    for (size_t i = 0; i < c->open_count; i++)
        assert_report(m, coverage_open(c, i));
    for (size_t back = 0; coverage_closed(c, back) != NULL; back++)
        assert_report(m, coverage_closed(c, back));
    assert_memory_equal(c->open, twin->open, c->open_count * sizeof *c->open);
    assert_memory_equal(c->reports, twin->reports, sizeof c->reports);
    assert_true(coverage_progress(c) == coverage_progress(twin));
    if (c->epoch == m->epoch && c->n == m->instances[m->epoch])
        assert_true(coverage_progress(c) == (double)m->epoch + handed / (double)c->n);
}

static void act(struct coverage *c, struct coverage *twin, struct model *m, uint32_t patience)
{
    if (pick(m, 40) == 0)
        grow(c, twin, m);
    if (pick(m, 30) == 0)
        restart(c, m);
    if (may_take(m) && (m->out_count == 0 || pick(m, 100) < patience))
        take(c, twin, m);
    else if (pick(m, 4) == 0)
        give_back(c, twin, m);
    else
        settle(c, twin, m);
    note_closing(c, m);
}

static void live(uint64_t n, uint64_t seed, uint32_t patience)
{
    static struct model m;
    struct coverage c, twin;

    memset(&m, 0, sizeof m);
    m.seed = seed;
    m.n = n;
    begin(&m, 0);
    assert_int_equal(coverage_init(&c, n, stream(seed)), 0);
    assert_int_equal(coverage_init(&twin, n, stream(seed)), 0);
    assert_int_equal(coverage_reserve(&c, OUT_MAX), 0);
    assert_int_equal(coverage_reserve(&twin, OUT_MAX), 0);
    while (may_take(&m) || m.out_count > 0) {
        act(&c, &twin, &m, patience);
        if (m.n <= 20 || pick(&m, 20) == 0)
            assert_same(&c, &twin, &m);
    }
    assert_same(&c, &twin, &m);
    assert_int_equal(c.closed_count, EPOCHS);
    for (uint64_t e = 0; e < EPOCHS; e++)
        for (uint64_t id = 0; id < N_MAX; id++)
            assert_int_equal(m.settled[e][id], id < m.instances[e]);
    coverage_deinit(&c);
    coverage_deinit(&twin);
}

static void every_instance_is_settled_once_per_epoch_while_the_set_grows(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        uint64_t n = 1 + seed % 40;
        uint32_t patience = 20 + (uint32_t)(seed % 4) * 25;

        print_message("n %lu, seed %lu\n", (unsigned long)n, (unsigned long)seed);
        live(n, seed, patience);
    }
}

static void a_set_may_grow_so_often_in_one_epoch_and_again_in_the_next(void **state)
{
    struct coverage c;

    (void)state;
    assert_int_equal(coverage_init(&c, 10, stream(1)), 0);
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        uint64_t n = c.n;

        for (uint64_t i = 1; i <= COVERAGE_JOINED_MAX; i++)
            assert_int_equal(coverage_grow(&c, n + i), 0);
        n = c.n;
        assert_int_equal(coverage_grow(&c, n), 0);
        assert_int_equal(coverage_grow(&c, n + 1), -OHEM_LIMIT);
        assert_int_equal(c.n, n);
        assert_int_equal(coverage_open(&c, 0)->instances, n);
        while (c.epoch == epoch)
            coverage_settle(&c, coverage_take(&c), true);
        assert_int_equal(coverage_closed(&c, 0)->reported, n);
    }
    coverage_deinit(&c);
}

/* Its epoch is closed, an older one is not: what joins then belongs to the next. */
static void what_joins_between_two_epochs_belongs_to_the_next(void **state)
{
    struct coverage c;
    struct coverage_slot held;

    (void)state;
    assert_int_equal(coverage_init(&c, 3, stream(1)), 0);
    held = coverage_take(&c);
    for (int i = 1; i < 6; i++)
        coverage_settle(&c, coverage_take(&c), true);
    assert_int_equal(coverage_closed(&c, 0)->epoch, 1);
    assert_int_equal(coverage_grow(&c, 5), 0);
    assert_true(coverage_progress(&c) == 2.0);
    assert_int_equal(coverage_open(&c, 0)->instances, 3);
    assert_int_equal(coverage_closed(&c, 0)->instances, 3);
    for (int i = 0; i < 5; i++) {
        struct coverage_slot slot = coverage_take(&c);

        assert_int_equal(slot.epoch, 2);
        coverage_settle(&c, slot, true);
    }
    assert_int_equal(coverage_closed(&c, 0)->instances, 5);
    coverage_settle(&c, held, true);
    assert_int_equal(coverage_closed(&c, 0)->instances, 3);
    coverage_deinit(&c);
}

static void who_joined_is_as_likely_next_as_who_is_left(void **state)
{
    uint64_t counts[16] = {0};
    double p[16];

    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct coverage c;

        assert_int_equal(coverage_init(&c, 10, stream(seed)), 0);
        for (int i = 0; i < 4; i++)
            (void)coverage_take(&c);
        assert_int_equal(coverage_grow(&c, 13), 0);
        assert_int_equal(coverage_grow(&c, 16), 0);
        counts[coverage_take(&c).id]++;
        coverage_deinit(&c);
    }
    for (int id = 0; id < 16; id++)
        p[id] = (id < 10 ? 0.6 : 1.0) / 12; /* 4 of the first 10 were taken */
    assert_true(stats_fit(counts, p, 16) > STATS_P_MIN);
}

/* ---- what a damaged disk may hold --------------------------------------------------------------
 */

/* Two open epochs, joined ids and a pool. */
static void open_busy(struct coverage *c)
{
    struct coverage_slot slots[8];

    assert_int_equal(coverage_init(c, 5, stream(3)), 0);
    for (int i = 0; i < 8; i++)
        slots[i] = coverage_take(c);
    assert_int_equal(coverage_grow(c, 7), 0);
    assert_int_equal(coverage_grow(c, 8), 0);
    for (int i = 3; i < 7; i++)
        coverage_return(c, slots[i]);
    coverage_settle(c, slots[0], true);
    assert_int_equal(c->open_count, 2);
    assert_int_equal(c->pool_count, 4);
}

/* What is said to be wrong here, is. `field` is 64 bits wide. */
static void assert_refused(struct coverage *c, uint64_t *field, uint64_t value)
{
    uint64_t good = *field;

    *field = value;
    assert_int_equal(coverage_resume(c), -OHEM_STATE);
    *field = good;
    assert_int_equal(coverage_resume(c), 0);
}

static void damaged_plain_data_is_refused(void **state)
{
    struct coverage c;

    (void)state;
    open_busy(&c);
    assert_refused(&c, &c.n, 9);
    assert_refused(&c, &c.n, 0);
    assert_refused(&c, &c.epoch, 0);
    assert_refused(&c, &c.epoch, 2);
    assert_refused(&c, &c.epoch, UINT64_MAX);
    assert_refused(&c, &c.position, 6);
    assert_refused(&c, &c.position, UINT64_MAX);
    assert_refused(&c, &c.position, 0); /* more left than missing */
    assert_refused(&c, &c.joined[0].first, 4);
    assert_refused(&c, &c.joined[0].count, 3);
    assert_refused(&c, &c.joined[1].count, 0);
    assert_refused(&c, &c.joined[1].count, UINT64_MAX);
    assert_refused(&c, &c.joined[1].position, 2);
    assert_refused(&c, &c.joined_count, 1);
    assert_refused(&c, &c.joined_count, COVERAGE_JOINED_MAX + 1);
    assert_refused(&c, &c.pool_count, c.pool_capacity + 1);
    assert_refused(&c, &c.pool_head, c.pool_capacity);
    assert_refused(&c, &c.open_count, 0);
    assert_refused(&c, &c.open_count, 1);
    assert_refused(&c, &c.open_count, COVERAGE_OPEN_MAX + 1);
    assert_refused(&c, &c.open[0].epoch, 1);
    assert_refused(&c, &c.open[0].missing, 0);
    assert_refused(&c, &c.open[0].missing, 3);
    assert_refused(&c, &c.open[0].missing, UINT64_MAX);
    assert_refused(&c, &c.open[0].reported, UINT64_MAX);
    assert_refused(&c, &c.open[1].instances, 7);
    assert_refused(&c, &c.open[1].instances, 9);
    coverage_deinit(&c);
}

static void damaged_pools_are_refused(void **state)
{
    struct coverage c;

    (void)state;
    open_busy(&c);
    c.pool[0].epoch = 7;
    assert_int_equal(coverage_resume(&c), -OHEM_STATE);
    c.pool[0].epoch = 0;
    c.pool[0].id = 5; /* one that the older epoch does not know */
    assert_int_equal(coverage_resume(&c), -OHEM_STATE);
    c.pool[0].id = 4;
    assert_int_equal(coverage_resume(&c), 0);
    c.pool[2].epoch = c.pool[3].epoch = 0;
    c.pool[2].id = c.pool[3].id = 0;
    assert_int_equal(coverage_resume(&c), 0); /* 4 are missing there and 4 came back */
    c.pool[c.pool_count++] = c.pool[0];
    assert_int_equal(coverage_resume(&c), -OHEM_STATE);
    coverage_deinit(&c);
}

/* Bits change at random; what is taken for sound can be lived with. */
static void whatever_is_resumed_can_be_lived_with(void **state)
{
    unsigned resumed = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct coverage c;
        uint64_t x = rng_mix(seed + 1);
        uint64_t *fields[] = {&c.n,
                              &c.epoch,
                              &c.position,
                              &c.pool_count,
                              &c.pool_head,
                              &c.joined[0].first,
                              &c.joined_count,
                              &c.joined[0].count,
                              &c.joined[1].position};

        open_busy(&c);
        if (x % 3 > 0)
            *fields[(x >> 8) % 9] ^= UINT64_C(1) << (x >> 16) % (x >> 24 & 1 ? 64 : 4);
        else
            ((uint64_t *)&c.open[x >> 8 & 1])[(x >> 16) % 9] ^= UINT64_C(1) << (x >> 24) % 4;
        if (coverage_resume(&c) == 0) {
            resumed++;
            for (uint64_t i = 0; i < 3 * c.n && coverage_ready(&c); i++)
                coverage_settle(&c, coverage_take(&c), true);
        }
        coverage_deinit(&c);
    }
    assert_true(resumed > 0 && resumed < 10000);
}

TEST_MAIN(TEST(every_instance_is_settled_once_per_epoch_while_the_set_grows),
          TEST(a_set_may_grow_so_often_in_one_epoch_and_again_in_the_next),
          TEST(what_joins_between_two_epochs_belongs_to_the_next),
          TEST(who_joined_is_as_likely_next_as_who_is_left), TEST(damaged_plain_data_is_refused),
          TEST(damaged_pools_are_refused), TEST(whatever_is_resumed_can_be_lived_with))
