/* test_engine.c - who may speak, who is served, and how an engine drains.
 *
 * Sessions are in test_session.c, reports and leases in test_job.c, whole days of all of it in
 * property/test_engine_day.c.
 */
#include "../../proto/error.h"
#include "../lib/room.h"

#include <string.h>

/* ---- who may speak -------------------------------------------------------------------------- */

static void nothing_is_heard_before_hello(void **state)
{
    struct room *r = room_new();

    (void)state;
    assert_no_session_for(r, &r->trainers[0], &r->trainers[0].key);
    assert_int_equal(r->shell->engine.metrics.messages_received, 5);
    assert_int_equal(r->shell->engine.metrics.messages_refused, 5);
    room_free(r);
}

static void anothers_key_does_not_work_from_this_connection(void **state)
{
    struct room *r = room_at_work();

    (void)state;
    room_hello(r, &r->trainers[1]);
    assert_no_session_for(r, &r->trainers[1], &r->trainers[0].key);
    assert_no_session_for(r, &r->trainers[2], &r->trainers[0].key); /* nor before HELLO */
    room_report(r, &r->trainers[0], 0);
    assert_int_equal(r->trainers[0].selections, 1);
    room_free(r);
}

static void hello_from_a_new_connection_moves_the_session_there(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    uint64_t old = t->peer, session = t->welcome.session;

    (void)state;
    t->peer = shell_new_peer(r->shell);
    room_hello(r, t);
    assert_int_equal(t->welcomes, 2);
    assert_int_equal(t->welcome.session, session);
    assert_int_equal(r->job->metrics.sessions_resumed, 1);
    room_report(r, t, 0);
    assert_int_equal(t->selections, 1);
    r->trainers[1].peer = old;
    assert_no_session_for(r, &r->trainers[1], &t->key);
    room_free(r);
}

static void what_only_the_daemon_says_is_refused(void **state)
{
    static const enum message_type types[] = {MESSAGE_WELCOME, MESSAGE_BATCH, MESSAGE_SELECTION,
                                              MESSAGE_PONG, MESSAGE_ERROR};
    struct room *r = room_at_work();

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct message m = {.type = types[i]};

        shell_say(r->shell, r->trainers[0].peer, &m);
        assert_refused(r, &r->trainers[0], OHEM_MALFORMED, types[i]);
    }
    room_free(r);
}

static void what_cannot_be_read_is_counted_and_answered(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    engine_malformed(&r->shell->engine, t->peer, MESSAGE_LOSS, -OHEM_TOO_LARGE, "far too large");
    assert_refused(r, t, OHEM_TOO_LARGE, MESSAGE_LOSS);
    assert_text_has(t, "far too large");
    assert_int_equal(r->shell->engine.metrics.messages_received, 1);
    assert_int_equal(r->shell->engine.metrics.messages_malformed, 1);
    room_free(r);
}

/* ---- batches -------------------------------------------------------------------------------- */

static void nobody_gets_more_than_its_credit_and_all_are_served_in_turn(void **state)
{
    struct room *r = room_new();

    (void)state;
    for (uint32_t i = 0; i < TRAINERS; i++) {
        r->trainers[i].credit = 3;
        room_hello(r, &r->trainers[i]);
    }
    for (uint32_t round = 1; round <= 3; round++) {
        assert_int_equal(shell_work(r->shell, TRAINERS), TRAINERS);
        room_hear(r);
        for (uint32_t i = 0; i < TRAINERS; i++)
            assert_int_equal(r->trainers[i].held_count, round);
    }
    assert_int_equal(room_work(r), 0);
    room_free(r);
}

static void a_batch_has_its_jobs_instances_each_with_p_and_w(void **state)
{
    struct room *r = room_at_work();

    (void)state;
    for (uint32_t b = 0; b < CREDIT; b++) {
        const struct message_batch *m = &r->trainers[0].held[b].parcel->m.batch;

        assert_int_equal(m->token.step, b);
        assert_int_equal(m->count, K);
        assert_int_equal(m->coverage_count, K); /* nothing is scored yet */
        assert_int_equal(m->epoch, 0);
        for (size_t i = 0; i < K; i++) {
            assert_true(vector_u64(m->ids, i) < N);
            assert_true(vector_f32(m->probabilities, i) > 0);
            assert_true(vector_f32(m->weights, i) == 1.0f);
        }
    }
    room_free(r);
}

static void a_released_slot_is_filled_again(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_report(r, t, 0);
    assert_int_equal(room_work(r), 0); /* reported is not given back */
    room_release(r, t, 0);
    assert_int_equal(room_work(r), 1);
    assert_int_equal(t->held_count, CREDIT);
    assert_int_equal(t->errors, 0);
    room_free(r);
}

static void a_batch_can_be_given_back_only_once_and_only_by_its_holder(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0], *thief = &r->trainers[1];
    struct token token = t->held[0].parcel->m.batch.token;
    struct message mine = room_message(MESSAGE_CREDIT, t->key, token);
    struct message theft = room_message(MESSAGE_CREDIT, thief->key, token);

    (void)state;
    room_hello(r, thief);
    shell_say(r->shell, thief->peer, &theft);
    assert_refused(r, thief, OHEM_FOREIGN, MESSAGE_CREDIT);
    room_release(r, t, 0);
    assert_int_equal(t->errors, 0);
    shell_say(r->shell, t->peer, &mine);
    assert_refused(r, t, OHEM_TOKEN, MESSAGE_CREDIT);
    assert_true(token_equal(t->error.token, token));
    assert_int_equal(room_work(r), 1 + CREDIT); /* one for the slot, and the thief's own */
    room_free(r);
}

static void a_release_without_a_report_counts_as_seen(void **state)
{
    struct room *r = room_at_work();

    (void)state;
    room_release(r, &r->trainers[0], 0);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->released, K);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->reported, 0);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->returned, 0);
    assert_int_equal(r->job->metrics.leases_released, 1);
    assert_int_equal(r->job->hardness.partition.count, 0);
    room_free(r);
}

static void nothing_is_drawn_for_the_unreachable_until_they_are_heard(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, t);
    shell_set_link(r->shell, t->peer, SHELL_LINK_DOWN);
    assert_int_equal(shell_work(r->shell, 1), 1);
    room_hear(r);
    assert_int_equal(room_work(r), 0);
    shell_set_link(r->shell, t->peer, SHELL_LINK_UP);
    assert_int_equal(room_work(r), 0);
    trainer_ping(t);
    room_hear(r);
    assert_int_equal(t->pongs, 1);
    assert_int_equal(room_work(r), CREDIT); /* the one that was lost among them */
    assert_int_equal(r->job->metrics.batches_resent, 1);
    assert_int_equal(r->job->metrics.batches_drawn, CREDIT);
    room_free(r);
}

static void an_answer_that_cannot_be_sent_is_counted(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    shell_set_link(r->shell, t->peer, SHELL_LINK_DOWN);
    room_report(r, t, 0);
    assert_int_equal(r->shell->engine.metrics.messages_unsent, 1);
    assert_int_equal(r->job->metrics.reports_applied, 1);
    room_free(r);
}

/* ---- draining ------------------------------------------------------------------------------- */

static void a_drain_tells_all_and_hands_out_nothing_more(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, &r->trainers[1]);
    engine_drain(&r->shell->engine);
    room_hear(r);
    assert_int_equal(t->byes, 1);
    assert_int_equal(r->trainers[1].byes, 1);
    assert_int_equal(room_work(r), 0);
    trainer_hello(&r->trainers[2]);
    assert_refused(r, &r->trainers[2], OHEM_DRAINING, MESSAGE_HELLO);
    room_free(r);
}

static void a_draining_engine_takes_reports_until_it_is_idle(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    engine_drain(&r->shell->engine);
    room_hear(r);
    room_report(r, t, 0);
    room_release(r, t, 0);
    assert_int_equal(t->selections, 1);
    assert_false(engine_idle(&r->shell->engine));
    assert_int_equal(room_work(r), 0);
    room_hello(r, t); /* also after a reconnect */
    room_report(r, t, 0);
    assert_int_equal(t->selections, 2);
    assert_true(engine_idle(&r->shell->engine));
    assert_int_equal(t->errors, 0);
    room_free(r);
}

TEST_MAIN(TEST(nothing_is_heard_before_hello),
          TEST(anothers_key_does_not_work_from_this_connection),
          TEST(hello_from_a_new_connection_moves_the_session_there),
          TEST(what_only_the_daemon_says_is_refused),
          TEST(what_cannot_be_read_is_counted_and_answered),
          TEST(nobody_gets_more_than_its_credit_and_all_are_served_in_turn),
          TEST(a_batch_has_its_jobs_instances_each_with_p_and_w),
          TEST(a_released_slot_is_filled_again),
          TEST(a_batch_can_be_given_back_only_once_and_only_by_its_holder),
          TEST(a_release_without_a_report_counts_as_seen),
          TEST(nothing_is_drawn_for_the_unreachable_until_they_are_heard),
          TEST(an_answer_that_cannot_be_sent_is_counted),
          TEST(a_drain_tells_all_and_hands_out_nothing_more),
          TEST(a_draining_engine_takes_reports_until_it_is_idle))
