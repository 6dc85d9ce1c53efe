/* test_round.c - rounds: the hardest of all shards, each rank's share, and who is waited for. */
#include "../../daemon/engine/round.h"
#include "../lib/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RANKS_MAX 5u
#define K_MAX     40u
#define CASES     4000u

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
    dice += UINT64_C(0x9e3779b97f4a7c15);
    return rng_mix(dice) % sides;
}

/* Sessions are told from each other and no more. */
static struct session *who(uint64_t number)
{
    static char people[64];

    return (struct session *)(void *)&people[number];
}

static struct token token_of(uint64_t step)
{
    return (struct token){.step = step, .tag = 7};
}

/* With a session for each rank. */
static void begin(struct rounds *t, uint32_t ranks)
{
    struct round_policy policy = ROUND_POLICY_DEFAULT;

    policy.ranks = ranks;
    assert_int_equal(rounds_init(t, &policy), 0);
    for (uint32_t rank = 0; rank < ranks; rank++)
        rounds_join(t, who(rank), rank);
}

static void add(struct rounds *t, uint32_t rank, uint64_t number, uint64_t now_ms,
                const float *losses, const uint8_t *flags, uint32_t count)
{
    static uint32_t ids[K_MAX], indices[K_MAX];
    static float weights[K_MAX];
    struct selection_input in = {.losses = losses, .flags = flags, .count = count};
    struct lease_answer answer = {.lsn = number,
                                  .selection = {.indices = indices, .weights = weights}};

    selection_choose_all(&in, &answer.selection);
    answer.selection.count = 0;

    assert_false(rounds_is_over(t, who(rank), rank, number));
    assert_int_equal(rounds_reserve(t, number, count), 0);
    rounds_add(t, who(rank), rank,
               &(struct round_report){number, now_ms, token_of(number * 64 + rank), count, ids,
                                      losses, flags, &answer});
}

static void add_one(struct rounds *t, uint32_t rank, uint64_t number, uint64_t now_ms)
{
    const float loss = 1;

    add(t, rank, number, now_ms, &loss, NULL, 1);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* The shards of a case, and the reference: all losses that may be selected, the hardest first. */
struct example {
    uint32_t ranks, k[RANKS_MAX];
    float losses[RANKS_MAX][K_MAX];
    uint8_t flags[RANKS_MAX][K_MAX];
    bool here[RANKS_MAX];
};

struct place {
    float loss;
    uint32_t rank, index;
};

static int by_hardness(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->loss > y->loss || x->loss < y->loss)
        return x->loss > y->loss ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static float random_loss(void)
{
    static const float strange[] = {NAN, INFINITY, -INFINITY, -1.5f, 1, 1, 0};

    return roll(8) == 0 ? strange[roll(7)] : (float)roll(12) / 4;
}

static struct example make_example(void)
{
    struct example e = {.ranks = 1 + (uint32_t)roll(RANKS_MAX)};

    for (uint32_t rank = 0; rank < e.ranks; rank++) {
        e.k[rank] = 1 + (uint32_t)roll(K_MAX);
        e.here[rank] = rank == 0 || roll(6) > 0;
        for (uint32_t i = 0; i < e.k[rank]; i++) {
            e.losses[rank][i] = random_loss();
            e.flags[rank][i] = roll(7) == 0 ? LOSS_FLAG_IGNORED : 0;
        }
    }
    return e;
}

static size_t sort_all(const struct example *e, struct place *out, size_t *out_total,
                       uint32_t *out_present)
{
    size_t count = 0;

    *out_total = *out_present = 0;
    for (uint32_t rank = 0; rank < e->ranks; rank++)
        for (uint32_t i = 0; e->here[rank] && i < e->k[rank]; i++) {
            *out_present += i == 0;
            *out_total += 1;
            if (isfinite(e->losses[rank][i]) && e->flags[rank][i] == 0)
                out[count++] = (struct place){e->losses[rank][i], rank, i};
        }
    qsort(out, count, sizeof *out, by_hardness);
    return count;
}

static size_t wanted(const struct selection_policy *p, size_t total, uint32_t present, size_t free_)
{
    size_t m =
        p->keep_count > 0 ? p->keep_count * present : (size_t)(p->keep_ratio * (double)total);

    m = m > p->min_keep * present ? m : p->min_keep * present;
    return m < free_ ? m : free_;
}

static bool is_selected(const struct selection *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->indices[i] == index)
            return true;
    return false;
}

static void check(const struct example *e, const struct rounds *t, const struct round *r,
                  const struct selection_policy *p)
{
    static struct place all[RANKS_MAX * K_MAX];
    size_t total, seen = 0;
    uint32_t present;
    size_t count = sort_all(e, all, &total, &present), m = wanted(p, total, present, count);
    double mean = 0, by_ranks = 0;

    assert_int_equal(r->selected, m);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(is_selected(&r->shards[all[i].rank]->answer.selection, all[i].index),
                         i < m);
    for (size_t i = 0; i < m; i++)
        mean += (double)all[i].loss / (double)m;
    for (uint32_t rank = 0; rank < e->ranks; rank++) {
        const struct lease_answer *a;

        if (!e->here[rank])
            continue;
        a = &r->shards[rank]->answer;
        seen += a->selection.count;
        assert_int_equal(a->share.count, m);
        assert_int_equal(a->share.present, present);
        assert_int_equal(a->selection.all.count + a->selection.nonfinite_count +
                             a->selection.ignored_count,
                         e->k[rank]);
        assert_int_equal(a->selection.kept.count, a->selection.count);
        by_ranks += (double)a->share.scale * (double)a->selection.kept.mean / t->policy.ranks;
    }
    assert_int_equal(seen, m);
    assert_true(fabs(mean - by_ranks) <= 1e-6 * (1 + fabs(mean)));
}

static void the_hardest_of_all_shards_are_chosen_and_the_scales_make_their_mean(void **state)
{
    (void)state;
    for (dice = 0; dice < CASES;) {
        uint64_t seed = dice;
        struct example e = make_example();
        struct rounds t;
        struct selection_policy policy = {.rule = SELECTION_TOP,
                                          .keep_count = (uint32_t)roll(3) * (uint32_t)roll(9),
                                          .keep_ratio = (double)(1 + roll(16)) / 16,
                                          .min_keep = 1 + (uint32_t)roll(3)};
        struct selection_input in = {0};
        struct round *r;

        begin(&t, e.ranks);
        for (uint32_t rank = e.ranks; rank-- > 0;)
            if (e.here[rank])
                add(&t, rank, 9, 5, e.losses[rank], e.flags[rank], e.k[rank]);
        r = rounds_next(&t, UINT64_MAX);
        assert_non_null(r);
        rounds_choose(&t, r, &policy, &in);
        check(&e, &t, r, &policy);
        rounds_done(&t, r);
        rounds_deinit(&t);
        dice = seed + 1;
    }
}

static void balanced_each_shard_gives_what_the_rule_says_of_it(void **state)
{
    const float easy[] = {1, 2, 3, 4}, hard[] = {10, 20, 30, 40, 50, 60};
    struct selection_policy policy = {.rule = SELECTION_TOP, .keep_ratio = 0.5, .min_keep = 1};
    struct selection_input in = {0};
    struct rounds t;
    struct round *r;

    (void)state;
    begin(&t, 2);
    for (int balanced = 0; balanced < 2; balanced++) {
        t.policy.balanced = balanced == 1;
        add(&t, 0, (uint64_t)balanced, 0, easy, NULL, 4);
        add(&t, 1, (uint64_t)balanced, 0, hard, NULL, 6);
        r = rounds_next(&t, 0);
        assert_true(r != NULL && r->complete);
        rounds_choose(&t, r, &policy, &in);
        assert_int_equal(r->selected, 5);
        assert_int_equal(r->shards[0]->answer.selection.count, balanced ? 2 : 0);
        assert_int_equal(r->shards[1]->answer.selection.count, balanced ? 3 : 5);
        assert_true(r->shards[0]->answer.share.scale == (balanced ? 0.8f : 0.0f));
        assert_true(r->shards[1]->answer.share.scale == (balanced ? 1.2f : 2.0f));
        rounds_done(&t, r);
    }
    rounds_deinit(&t);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void a_round_waits_for_every_rank_and_no_longer_than_it_may(void **state)
{
    struct rounds t;
    struct round *r;

    (void)state;
    begin(&t, 3);
    add_one(&t, 0, 0, 100);
    add_one(&t, 2, 0, 400);
    assert_int_equal(rounds_next_due(&t), 1100);
    assert_null(rounds_next(&t, 1099));
    r = rounds_next(&t, 1100);
    assert_true(r != NULL && !r->complete && r->present == 2);
    rounds_done(&t, r);
    assert_int_equal(rounds_next_due(&t), UINT64_MAX);
    assert_true(rounds_is_over(&t, who(1), 1, 0)); /* too late */
    rounds_note(&t, who(1), 1, 0);
    add_one(&t, 0, 1, 2000); /* but it was heard: it is waited for */
    add_one(&t, 2, 1, 2000);
    assert_null(rounds_next(&t, 2000));
    add_one(&t, 1, 1, 2100);
    r = rounds_next(&t, 2100);
    assert_true(r != NULL && r->complete && r->present == 3);
    rounds_done(&t, r);
    rounds_deinit(&t);
}

static void a_rank_that_was_missed_costs_nothing_more_until_it_is_heard(void **state)
{
    struct rounds t;

    (void)state;
    begin(&t, 2);
    add_one(&t, 0, 0, 0);
    rounds_done(&t, rounds_next(&t, 1000));
    for (uint64_t number = 1; number < 4; number++) {
        add_one(&t, 0, number, 2000);
        rounds_done(&t, rounds_next(&t, 2000));
    }
    rounds_join(&t, who(7), 1); /* another trainer takes its place */
    add_one(&t, 0, 4, 3000);
    assert_null(rounds_next(&t, 3999));
    assert_true(rounds_is_over(&t, who(1), 1, 4)); /* the one before has no say any more */
    rounds_leave(&t, who(7), 1);
    rounds_done(&t, rounds_next(&t, 3000));
    rounds_deinit(&t);
}

static void a_rank_that_is_ahead_is_not_waited_for(void **state)
{
    struct rounds t;
    struct round *r;

    (void)state;
    begin(&t, 2);
    add_one(&t, 1, 4, 0);
    assert_null(rounds_next(&t, 0));
    add_one(&t, 0, 5, 0); /* it has left out 4 */
    r = rounds_next(&t, 0);
    assert_true(r != NULL && r->number == 4 && r->complete && r->present == 1);
    rounds_done(&t, r);
    assert_null(rounds_next(&t, 0));
    assert_true(rounds_is_over(&t, who(1), 1, 4));
    assert_false(rounds_is_over(&t, who(1), 1, 5));
    rounds_deinit(&t);
}

static void who_leaves_takes_its_shard_along(void **state)
{
    struct rounds t;
    struct round *r;

    (void)state;
    begin(&t, 2);
    add_one(&t, 0, 0, 0);
    rounds_leave(&t, who(0), 0);
    assert_int_equal(t.open_count, 0); /* nobody is left in it */
    add_one(&t, 1, 0, 0);
    r = rounds_next(&t, 0);
    assert_true(r != NULL && r->complete && r->present == 1 && r->shards[0] == NULL);
    rounds_done(&t, r);
    assert_int_equal(t.total, 0);
    rounds_deinit(&t);
}

static void no_more_is_kept_open_than_the_limits_say(void **state)
{
    struct rounds t;
    struct round *r;

    (void)state;
    begin(&t, 2);
    for (uint64_t number = 0; number < ROUND_OPEN_MAX; number++)
        add_one(&t, 0, number, 0);
    assert_null(rounds_next(&t, 0));
    add_one(&t, 0, ROUND_OPEN_MAX, 0);
    r = rounds_next(&t, 0);
    assert_true(r != NULL && r->number == 0 && !r->complete);
    rounds_done(&t, r);
    for (uint64_t number = 1; (r = rounds_next(&t, 0)) != NULL; number++) { /* rank 1 was missed */
        assert_true(r->number == number && r->complete);
        rounds_done(&t, r);
    }
    rounds_join(&t, who(2), 1);
    add_one(&t, 0, 100, 0);
    assert_null(rounds_next(&t, 0));
    t.total += ROUND_INSTANCES_MAX;
    r = rounds_next(&t, 0);
    assert_true(r != NULL && !r->complete);
    t.total -= ROUND_INSTANCES_MAX;
    rounds_done(&t, r);
    rounds_deinit(&t);
}

static void without_rounds_there_is_nothing_to_do(void **state)
{
    struct rounds t;

    (void)state;
    begin(&t, 0);
    assert_false(rounds_are_on(&t));
    rounds_join(&t, who(0), 40000);
    rounds_leave(&t, who(0), 40000);
    assert_null(rounds_next(&t, UINT64_MAX));
    assert_int_equal(rounds_next_due(&t), UINT64_MAX);
    rounds_deinit(&t);
}

TEST_MAIN(TEST(the_hardest_of_all_shards_are_chosen_and_the_scales_make_their_mean),
          TEST(balanced_each_shard_gives_what_the_rule_says_of_it),
          TEST(a_round_waits_for_every_rank_and_no_longer_than_it_may),
          TEST(a_rank_that_was_missed_costs_nothing_more_until_it_is_heard),
          TEST(a_rank_that_is_ahead_is_not_waited_for), TEST(who_leaves_takes_its_shard_along),
          TEST(no_more_is_kept_open_than_the_limits_say),
          TEST(without_rounds_there_is_nothing_to_do))
