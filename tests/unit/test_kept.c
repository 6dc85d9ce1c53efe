/* test_kept.c - the list of reports that may have to be sent again. */
#include "../../client/kept.h"
#include "../lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K         4
#define BYTES_MAX (1u << 20)
#define SEQ_MAX   40
#define ROUNDS    20000

static struct token token_of(uint64_t seq)
{
    return (struct token){.step = 1000 - seq, .tag = ~seq};
}

static struct kept_report *add(struct kept *k, uint64_t seq)
{
    struct kept_report *r = kept_add(k, token_of(seq), seq, K);

    assert_non_null(r);
    r->count = K;
    memset(r->ids, (int)seq, K * sizeof *r->ids);
    memset(r->losses, (int)seq, K * sizeof *r->losses);
    return r;
}

static void assert_seqs(const struct kept *k, const char *wanted)
{
    const struct kept_report *r;
    char text[256] = "";

    TAILQ_FOREACH (r, &k->list, entry) {
        size_t used = strlen(text);

        (void)snprintf(text + used, sizeof text - used, " %d", (int)r->seq);
    }
    assert_string_equal(text, wanted);
}

static void they_stand_in_the_order_of_seq_and_are_found(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    add(&k, 1);
    add(&k, 3);
    add(&k, 7);
    add(&k, 2); /* made again after an error */
    assert_seqs(&k, " 1 2 3 7");
    assert_int_equal(kept_find(&k, 3)->seq, 3);
    assert_null(kept_find(&k, 4));
    assert_null(kept_find(&k, 8));
    assert_int_equal(kept_find_token(&k, token_of(2))->seq, 2);
    assert_null(kept_find_token(&k, token_of(4)));
    kept_drop(&k, kept_find(&k, 3));
    assert_seqs(&k, " 1 2 7");
    kept_deinit(&k);
}

static void durable_ones_go_unless_their_answer_is_awaited(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    add(&k, 1)->answered = true;
    add(&k, 2);
    add(&k, 3)->released = true;
    add(&k, 4)->answered = true;
    kept_take_durable(&k, 3);
    assert_seqs(&k, " 2 4");
    assert_int_equal(kept_first_unsafe(&k, 3, 4)->seq, 4);
    assert_null(kept_first_unsafe(&k, 3, 3));
    kept_take_durable(&k, UINT64_MAX);
    assert_seqs(&k, " 2");
    assert_null(kept_first_unsafe(&k, UINT64_MAX, UINT64_MAX));
    kept_deinit(&k);
}

static void one_that_was_not_taken_yet_is_not_durable_whatever_is_said(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    add(&k, 1)->answered = true;
    add(&k, 2)->early = true;
    kept_find(&k, 2)->released = true;
    add(&k, 3)->answered = true;
    kept_take_durable(&k, 3);
    assert_seqs(&k, " 2");
    assert_int_equal(kept_first_unsafe(&k, 3, 3)->seq, 2);
    kept_find(&k, 2)->early = false;
    assert_null(kept_first_unsafe(&k, 3, 3));
    kept_take_durable(&k, 3);
    assert_seqs(&k, "");
    kept_deinit(&k);
}

static void only_released_ones_are_named(void **state)
{
    struct kept k;
    struct vector tokens;

    (void)state;
    kept_init(&k, BYTES_MAX);
    assert_int_equal(kept_tokens(&k).count, 0);
    for (uint64_t seq = 1; seq <= 200; seq++)
        add(&k, seq)->released = seq % 2 == 0;
    tokens = kept_tokens(&k);
    assert_int_equal(tokens.count, 100);
    assert_true(token_equal(vector_token(tokens, 99), token_of(200)));
    kept_deinit(&k);
}

static void what_is_put_off_is_found_and_forgotten_with_the_report(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    for (uint64_t seq = 1; seq <= 5; seq++)
        add(&k, seq);
    assert_null(kept_first_put_off(&k));
    kept_put_off(&k, kept_find(&k, 4), true);
    kept_put_off(&k, kept_find(&k, 2), true);
    kept_put_off(&k, kept_find(&k, 2), true);
    assert_int_equal(k.put_off_count, 2);
    assert_int_equal(kept_first_put_off(&k)->seq, 2);
    kept_drop(&k, kept_find(&k, 2));
    assert_int_equal(kept_first_put_off(&k)->seq, 4);
    kept_clear(&k);
    assert_null(kept_first_put_off(&k));
    assert_int_equal(k.put_off_count, 0);
    kept_deinit(&k);
}

static void bytes_and_count_are_bounded_but_one_always_fits(void **state)
{
    struct kept k;
    size_t one;

    (void)state;
    kept_init(&k, 1);
    assert_true(kept_has_room(&k, K, 0));
    add(&k, 1);
    one = k.bytes;
    assert_true(one >= K * 13 && one <= K * 13 + 160);
    assert_false(kept_has_room(&k, K, 0));
    k.bytes_max = 3 * one - 1;
    assert_true(kept_has_room(&k, K, 0));
    add(&k, 2);
    assert_false(kept_has_room(&k, K, 0));
    kept_clear(&k);
    assert_int_equal(k.bytes, 0);
    k.bytes_max = SIZE_MAX / 2;
    for (uint64_t seq = 1; seq <= MESSAGE_KEPT_MAX; seq++) {
        assert_true(kept_has_room(&k, K, 0));
        add(&k, seq);
    }
    assert_false(kept_has_room(&k, K, 0));
    kept_deinit(&k);
}

static void memory_is_used_again_and_of_another_size_made_anew(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    kept_reserve(&k, 8, K);
    assert_int_equal(k.made, 8);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        add(&k, seq)->answered = true;
        if (seq >= 8)
            kept_take_durable(&k, seq - 7);
    }
    assert_int_equal(k.made, 8);
    assert_int_equal(k.count, 7);
    assert_int_equal(kept_add(&k, token_of(101), 101, 2 * K)->room, 2 * K);
    assert_int_equal(k.made, 8);
    kept_reserve(&k, 1u << 20, K);
    assert_true(k.made > 8 && k.made * k.bytes / k.count <= BYTES_MAX * 2);
    kept_deinit(&k);
}

/* Against a table by seq. */
static void at_random_it_agrees_with_a_table(void **state)
{
    enum { ABSENT, WAITING, ANSWERED };
    int table[SEQ_MAX + 1] = {0};
    uint64_t random = 20251125;
    struct kept k;

    (void)state;
    kept_init(&k, BYTES_MAX);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t seq, count = 0;

        random = random * 6364136223846793005u + 1442695040888963407u;
        seq = 1 + (random >> 33) % SEQ_MAX;
        switch ((random >> 60) % 4) {
        case 0:
            if (table[seq] == ABSENT)
                add(&k, seq);
            table[seq] = table[seq] == ABSENT ? WAITING : table[seq];
            break;
        case 1:
            if (table[seq] != ABSENT)
                kept_find(&k, seq)->answered = true;
            table[seq] = table[seq] == ABSENT ? ABSENT : ANSWERED;
            break;
        case 2:
            if (table[seq] != ABSENT)
                kept_drop(&k, kept_find_token(&k, token_of(seq)));
            table[seq] = ABSENT;
            break;
        default:
            kept_take_durable(&k, seq / 4);
            for (uint64_t i = 1; i <= seq / 4; i++)
                table[i] = table[i] == ANSWERED ? ABSENT : table[i];
        }
        for (uint64_t i = 1; i <= SEQ_MAX; i++) {
            const struct kept_report *r = kept_find(&k, i);

            assert_int_equal(r != NULL, table[i] != ABSENT);
            if (r != NULL) {
                assert_int_equal(r->answered, table[i] == ANSWERED);
                assert_int_equal(r->ids[K - 1] & 0xff, i);
            }
            count += r != NULL;
        }
        assert_int_equal(k.count, count);
    }
    kept_deinit(&k);
}

TEST_MAIN(TEST(they_stand_in_the_order_of_seq_and_are_found),
          TEST(durable_ones_go_unless_their_answer_is_awaited),
          TEST(one_that_was_not_taken_yet_is_not_durable_whatever_is_said),
          TEST(only_released_ones_are_named),
          TEST(what_is_put_off_is_found_and_forgotten_with_the_report),
          TEST(bytes_and_count_are_bounded_but_one_always_fits),
          TEST(memory_is_used_again_and_of_another_size_made_anew),
          TEST(at_random_it_agrees_with_a_table))
