/* test_coverage.c - every instance once per epoch, whatever happens to those who hold them.
 *
 * The model keeps, for each epoch, which instances were settled and how often each event happened.
 * A random trainer takes, settles and returns; after each event the epochs are compared.
 */
#include "../../daemon/engine/coverage.h"
#include "../lib/test.h"

#include <string.h>

#define EPOCHS 8 /* the model's window; takes stop when the epochs reach it */
#define N_MAX  300

struct model {
    uint64_t n;
    uint8_t settled[EPOCHS][N_MAX];
    struct coverage_report reports[EPOCHS];
    uint64_t fresh;                            /* handed out for the first time, ever */
    struct coverage_slot out[N_MAX * EPOCHS];  /* on lease */
    struct coverage_slot pool[N_MAX * EPOCHS]; /* came back */
    size_t out_count, pool_count;
    uint64_t seed, draws;
};

static struct rng stream(uint64_t seed)
{
    return rng_make(seed, "job", RNG_PERMUTATION);
}

static uint32_t pick(struct model *m, size_t below)
{
    return (uint32_t)rng_below(rng_at(stream(m->seed), m->draws++, 9, 9).second, below);
}

static struct coverage_slot pull(struct coverage_slot *list, size_t *count, size_t i)
{
    struct coverage_slot slot = list[i];

    list[i] = list[--*count];
    return slot;
}

static size_t find(const struct coverage_slot *list, size_t count, struct coverage_slot slot)
{
    size_t i = 0;

    while (i < count && (list[i].id != slot.id || list[i].epoch != slot.epoch))
        i++;
    return i;
}

static void take(struct coverage *c, struct model *m)
{
    struct coverage_slot slot = coverage_take(c);
    struct coverage_report *r = &m->reports[slot.epoch % EPOCHS];

    assert_true(slot.id < m->n && slot.epoch < EPOCHS);
    assert_int_equal(find(m->out, m->out_count, slot), m->out_count); /* nobody else has it */
    assert_int_equal(m->settled[slot.epoch][slot.id], 0);
    if (m->pool_count > 0) { /* what came back goes first */
        size_t i = find(m->pool, m->pool_count, slot);

        assert_true(i < m->pool_count);
        (void)pull(m->pool, &m->pool_count, i);
        r->repeated++;
    } else {
        assert_int_equal(slot.epoch, m->fresh / m->n);
        m->fresh++;
    }
    r->served++;
    m->out[m->out_count++] = slot;
}

static void settle(struct coverage *c, struct model *m, size_t i, bool reported)
{
    struct coverage_slot slot = pull(m->out, &m->out_count, i);

    m->settled[slot.epoch][slot.id]++;
    *(reported ? &m->reports[slot.epoch].reported : &m->reports[slot.epoch].released) += 1;
    coverage_settle(c, slot, reported);
}

static void give_back(struct coverage *c, struct model *m, size_t i)
{
    struct coverage_slot slot = pull(m->out, &m->out_count, i);

    m->reports[slot.epoch].returned++;
    m->pool[m->pool_count++] = slot;
    coverage_return(c, slot);
}

/* The report of an epoch, wherever it stands; NULL before it begins. */
static const struct coverage_report *report_of(const struct coverage *c, uint64_t epoch)
{
    for (size_t i = 0; i < c->open_count; i++)
        if (coverage_open(c, i)->epoch == epoch)
            return coverage_open(c, i);
    for (size_t back = 0; coverage_closed(c, back) != NULL; back++)
        if (coverage_closed(c, back)->epoch == epoch)
            return coverage_closed(c, back);
    return NULL;
}

static void assert_same(const struct coverage *c, const struct model *m)
{
    for (uint64_t e = 0; e < EPOCHS && e * m->n < m->fresh; e++) {
        const struct coverage_report *got = report_of(c, e), *want = &m->reports[e];
        bool done = want->reported + want->released == m->n;

        assert_non_null(got);
        assert_int_equal(got->served, want->served);
        assert_int_equal(got->reported, want->reported);
        assert_int_equal(got->released, want->released);
        assert_int_equal(got->returned, want->returned);
        assert_int_equal(got->repeated, want->repeated);
        assert_int_equal(got->skipped, 0);
        assert_true(got->closed == done); /* exactly when the last one is settled */
        if (!done)
            continue;
        assert_int_equal(got->missing, 0);
        assert_int_equal(got->served, m->n + got->repeated);
        assert_int_equal(got->returned, got->repeated);
    }
}

/* Patience in percent: how often a random trainer holds on to what it has. */
static void live(uint64_t n, uint64_t seed, uint32_t patience, uint64_t epochs)
{
    static struct model m;
    struct coverage c;

    memset(&m, 0, sizeof m);
    m.n = n;
    m.seed = seed;
    assert_int_equal(coverage_init(&c, n, stream(seed)), 0);
    assert_int_equal(coverage_reserve(&c, (size_t)n * EPOCHS), 0);
    while (m.fresh < epochs * n || m.out_count > 0 || m.pool_count > 0) {
        bool may_take = m.fresh < epochs * n || m.pool_count > 0;

        if (may_take && (m.out_count == 0 || pick(&m, 100) < patience)) {
            assert_true(coverage_ready(&c));
            take(&c, &m);
        } else if (pick(&m, 4) == 0) {
            give_back(&c, &m, pick(&m, m.out_count));
        } else {
            settle(&c, &m, pick(&m, m.out_count), pick(&m, 3) > 0);
        }
        if (n <= 20 || pick(&m, 20) == 0)
            assert_same(&c, &m);
    }
    assert_same(&c, &m);
    for (uint64_t e = 0; e < epochs; e++)
        for (uint64_t id = 0; id < n; id++)
            assert_int_equal(m.settled[e][id], 1);
    assert_int_equal(c.closed_count, epochs);
    coverage_deinit(&c);
}

static void every_instance_is_settled_once_per_epoch_at_all_sizes_to_300(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= N_MAX; n++)
        live(n, n, 30 + (uint32_t)(n % 3) * 25, 3);
}

static void epochs_overlap_and_each_closes_with_its_last_instance(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++)
        for (uint64_t seed = 0; seed < 20; seed++)
            live(n, seed, 90, EPOCHS);
}

static void what_comes_back_goes_out_first_and_in_turn(void **state)
{
    struct coverage c;
    struct coverage_slot slots[5];

    (void)state;
    assert_int_equal(coverage_init(&c, 100, stream(1)), 0);
    assert_int_equal(coverage_reserve(&c, 5), 0);
    for (int i = 0; i < 5; i++)
        slots[i] = coverage_take(&c);
    for (int i = 0; i < 5; i++)
        coverage_return(&c, slots[i]);
    for (int i = 0; i < 5; i++) {
        struct coverage_slot again = coverage_take(&c);

        assert_int_equal(again.id, slots[i].id);
        assert_int_equal(again.epoch, slots[i].epoch);
    }
    coverage_deinit(&c);
}

static void order_is_that_of_the_epochs_permutation(void **state)
{
    struct coverage c;

    (void)state;
    assert_int_equal(coverage_init(&c, 50, stream(4)), 0);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        struct permutation p;

        permutation_init(&p, 50, stream(4), epoch);
        for (uint64_t i = 0; i < 50; i++) {
            struct coverage_slot slot = coverage_take(&c);

            assert_int_equal(slot.id, permutation_at(&p, i));
            assert_int_equal(slot.epoch, epoch);
            coverage_settle(&c, slot, true);
        }
    }
    coverage_deinit(&c);
}

static void progress_counts_epochs_and_their_fraction(void **state)
{
    struct coverage c;

    (void)state;
    assert_int_equal(coverage_init(&c, 4, stream(1)), 0);
    for (int i = 0; i < 20; i++) {
        assert_true(coverage_progress(&c) == i / 4.0);
        coverage_settle(&c, coverage_take(&c), true);
    }
    assert_true(coverage_progress(&c) == 5.0);
    coverage_deinit(&c);
}

static void an_old_epoch_waits_while_younger_ones_close(void **state)
{
    struct coverage c;
    struct coverage_slot held;

    (void)state;
    assert_int_equal(coverage_init(&c, 3, stream(1)), 0);
    held = coverage_take(&c);
    for (int i = 1; i < 9; i++)
        coverage_settle(&c, coverage_take(&c), true);
    assert_false(report_of(&c, 0)->closed);
    assert_true(report_of(&c, 1)->closed);
    assert_true(report_of(&c, 2)->closed);
    coverage_settle(&c, held, false);
    assert_true(report_of(&c, 0)->closed);
    assert_int_equal(report_of(&c, 0)->released, 1);
    assert_int_equal(c.closed_count, 3);
    assert_int_equal(coverage_closed(&c, 0)->epoch, 0); /* the latest to close */
    coverage_deinit(&c);
}

static void the_last_reports_are_kept_and_older_ones_are_gone(void **state)
{
    struct coverage c;
    const uint64_t epochs = 3 * COVERAGE_REPORTS_MAX + 5;

    (void)state;
    assert_int_equal(coverage_init(&c, 2, stream(1)), 0);
    assert_null(coverage_closed(&c, 0));
    for (uint64_t i = 0; i < 2 * epochs; i++)
        coverage_settle(&c, coverage_take(&c), true);
    assert_int_equal(c.closed_count, epochs);
    for (size_t back = 0; back < COVERAGE_REPORTS_MAX; back++) {
        assert_non_null(coverage_closed(&c, back));
        assert_int_equal(coverage_closed(&c, back)->epoch, epochs - 1 - back);
        assert_int_equal(coverage_closed(&c, back)->reported, 2);
        assert_true(coverage_closed(&c, back)->closed);
    }
    assert_null(coverage_closed(&c, COVERAGE_REPORTS_MAX));
    assert_null(coverage_closed(&c, SIZE_MAX));
    coverage_deinit(&c);
}

static void too_many_waiting_epochs_stop_the_handing_out(void **state)
{
    static struct coverage_slot held[COVERAGE_OPEN_MAX];
    struct coverage c;
    size_t taken = 0;

    (void)state;
    assert_int_equal(coverage_init(&c, 1, stream(1)), 0);
    assert_int_equal(coverage_reserve(&c, COVERAGE_OPEN_MAX), 0);
    while (taken < COVERAGE_OPEN_MAX && coverage_ready(&c))
        held[taken++] = coverage_take(&c);
    assert_true(taken >= COVERAGE_OPEN_MAX - 1);
    assert_false(coverage_ready(&c));
    coverage_settle(&c, held[taken / 2], true);
    assert_true(coverage_ready(&c));
    assert_int_equal(coverage_take(&c).epoch, taken);
    assert_false(coverage_ready(&c));
    coverage_deinit(&c);
}

/* Take or return `count` instances; slots[0..] in the order of taking. */
static void take_some(struct coverage *c, struct coverage_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        slots[i] = coverage_take(c);
}

static void return_some(struct coverage *c, const struct coverage_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        coverage_return(c, slots[i]);
}

static void assert_taken_in_order(struct coverage *c, const struct coverage_slot *slots,
                                  size_t count)
{
    assert_int_equal(c->pool_count, count);
    for (size_t i = 0; i < count; i++) {
        struct coverage_slot again = coverage_take(c);

        assert_int_equal(again.id, slots[i].id);
        assert_int_equal(again.epoch, slots[i].epoch);
    }
}

static void all_that_may_be_on_lease_can_come_back(void **state)
{
    static struct coverage_slot held[5000];
    struct coverage c;

    (void)state;
    assert_int_equal(coverage_init(&c, 1000, stream(1)), 0);
    assert_int_equal(coverage_reserve(&c, 5000), 0);
    assert_int_equal(coverage_reserve(&c, 1), 0); /* never shrinks */
    take_some(&c, held, 5000);
    return_some(&c, held, 5000);
    assert_taken_in_order(&c, held, 5000);
    coverage_deinit(&c);
}

/* The ring's content lies over its end when it is made larger, from every place of its head. */
static void more_room_keeps_what_came_back_and_its_order(void **state)
{
    (void)state;
    for (size_t head = 0; head < 64; head++)
        for (size_t count = 0; count <= 64; count += 16) {
            struct coverage_slot slots[64];
            struct coverage c;

            assert_int_equal(coverage_init(&c, 1000, stream(1)), 0);
            assert_int_equal(c.pool_capacity, 64);
            take_some(&c, slots, head);
            return_some(&c, slots, head);
            take_some(&c, slots, head); /* moves the head */
            take_some(&c, slots, count);
            return_some(&c, slots, count);
            assert_int_equal(coverage_reserve(&c, 1000), 0);
            assert_taken_in_order(&c, slots, count);
            coverage_deinit(&c);
        }
}

/* Two coverages live the same life, one of them in pieces of many. */
static void assert_alike(const struct coverage *a, const struct coverage *b)
{
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->pool_count, b->pool_count);
    assert_int_equal(a->open_count, b->open_count);
    assert_int_equal(a->closed_count, b->closed_count);
    assert_memory_equal(a->open, b->open, a->open_count * sizeof *a->open);
    assert_memory_equal(a->reports, b->reports, sizeof a->reports);
}

static void take_both(struct coverage *many, struct coverage *one, uint32_t count, uint32_t *ids,
                      uint32_t *epochs)
{
    coverage_take_many(many, count, ids, epochs);
    for (uint32_t i = 0; i < count; i++) {
        struct coverage_slot slot = coverage_take(one);

        assert_int_equal(ids[i], slot.id);
        assert_int_equal(epochs[i], slot.epoch);
    }
}

static void end_both(struct coverage *many, struct coverage *one, uint32_t count,
                     const uint32_t *ids, const uint32_t *epochs, uint64_t how)
{
    if (how > 1)
        coverage_settle_many(many, epochs, count, how > 2);
    for (uint32_t i = 0; i < count; i++) {
        struct coverage_slot slot = {.id = ids[i], .epoch = epochs[i]};

        if (how > 1) {
            coverage_settle(one, slot, how > 2);
        } else {
            coverage_return(many, slot);
            coverage_return(one, slot);
        }
    }
}

/* Three batches are out at once, and one in four comes back. */
static void many_at_once_are_as_many_one_by_one(void **state)
{
    enum { ROOM = 64, OUT = 3 };
    uint32_t ids[OUT][ROOM], epochs[OUT][ROOM], counts[OUT] = {0};

    (void)state;
    for (uint64_t n = 1; n <= 130; n += n < 10 ? 1 : 24) {
        struct coverage many, one;

        assert_int_equal(coverage_init(&many, n, stream(n)), 0);
        assert_int_equal(coverage_init(&one, n, stream(n)), 0);
        assert_int_equal(coverage_reserve(&many, (size_t)ROOM * OUT), 0);
        assert_int_equal(coverage_reserve(&one, (size_t)ROOM * OUT), 0);
        memset(counts, 0, sizeof counts);
        for (uint64_t step = 0; step < 2000; step++) {
            uint32_t *count = &counts[step % OUT];
            uint64_t chance = rng_mix(n << 32 | step);

            end_both(&many, &one, *count, ids[step % OUT], epochs[step % OUT], chance % 8);
            *count = (uint32_t)((chance >> 8) % ((n < ROOM ? n : ROOM) + 1));
            take_both(&many, &one, *count, ids[step % OUT], epochs[step % OUT]);
            assert_alike(&many, &one);
        }
        coverage_deinit(&many);
        coverage_deinit(&one);
    }
}

TEST_MAIN(TEST(every_instance_is_settled_once_per_epoch_at_all_sizes_to_300),
          TEST(epochs_overlap_and_each_closes_with_its_last_instance),
          TEST(what_comes_back_goes_out_first_and_in_turn),
          TEST(order_is_that_of_the_epochs_permutation),
          TEST(progress_counts_epochs_and_their_fraction),
          TEST(an_old_epoch_waits_while_younger_ones_close),
          TEST(the_last_reports_are_kept_and_older_ones_are_gone),
          TEST(too_many_waiting_epochs_stop_the_handing_out),
          TEST(all_that_may_be_on_lease_can_come_back),
          TEST(more_room_keeps_what_came_back_and_its_order),
          TEST(many_at_once_are_as_many_one_by_one))
