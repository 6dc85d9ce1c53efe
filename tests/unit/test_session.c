/* test_session.c - HELLO and its wishes, coming back after a lost connection, and BYE. */
#include "../../proto/error.h"
#include "../lib/room.h"

#include <stdio.h>
#include <string.h>

/* ---- HELLO ---------------------------------------------------------------------------------- */

static void hello_is_welcomed_with_the_facts_of_its_job(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, t);
    assert_int_equal(t->welcomes, 1);
    assert_int_equal(t->welcome.major, PROTO_MAJOR);
    assert_int_equal(t->welcome.minor, PROTO_MINOR);
    assert_int_equal(t->welcome.boot, shell_settings().boot);
    assert_int_equal(t->welcome.session, 1);
    assert_string_equal(t->welcome.job, "train");
    assert_int_equal(t->welcome.instance_count, N);
    assert_int_equal(t->welcome.record_bytes, 100);
    assert_int_equal(t->welcome.lease_ms, LEASE_MS);
    assert_int_equal(r->job->metrics.sessions_opened, 1);
    room_free(r);
}

static void no_wishes_mean_the_jobs_own(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, t);
    assert_int_equal(t->welcome.batch_size, K);
    assert_int_equal(t->welcome.credit, CREDIT);
    room_free(r);
}

static void the_jobs_own_batch_size_is_never_more_than_its_instances(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", 3);
    struct room *r;

    (void)state;
    job.batch_size = 256;
    settings.payload_bytes_max = 3 * job.dataset.record_bytes_max; /* as much as it can take */
    r = room_with(&settings, &job);
    room_hello(r, &r->trainers[0]);
    assert_int_equal(r->trainers[0].errors, 0);
    assert_int_equal(r->trainers[0].welcome.batch_size, 3);
    room_free(r);
}

static void wishes_are_granted_as_asked(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    t->batch_size = N;
    t->credit = MESSAGE_CREDIT_MAX;
    room_hello(r, t);
    assert_int_equal(t->welcome.batch_size, N);
    assert_int_equal(t->welcome.credit, MESSAGE_CREDIT_MAX);
    room_free(r);
}

static void an_unknown_job_is_refused_by_its_name(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    (void)snprintf(t->job, sizeof t->job, "trian");
    trainer_hello(t);
    assert_refused(r, t, OHEM_NO_JOB, MESSAGE_HELLO);
    assert_text_has(t, "trian");
    assert_int_equal(r->shell->engine.session_count, 0);
    room_free(r);
}

static void wishes_over_a_limit_are_refused_with_value_and_limit(void **state)
{
    static const struct {
        uint32_t batch_size, credit;
        int code;
        const char *value, *limit;
    } cases[] = {
        {N + 1, 1, OHEM_INVALID, "21", "20"},
        {MESSAGE_BATCH_SIZE_MAX + 1, 1, OHEM_TOO_LARGE, "65537", "65536"},
        {UINT32_MAX, 1, OHEM_TOO_LARGE, "", ""},
        {1, MESSAGE_CREDIT_MAX + 1, OHEM_TOO_LARGE, "65", "64"},
        {1, UINT32_MAX, OHEM_TOO_LARGE, "4294967295", "64"},
    };
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t->batch_size = cases[i].batch_size;
        t->credit = cases[i].credit;
        trainer_hello(t);
        assert_refused(r, t, cases[i].code, MESSAGE_HELLO);
        assert_text_has(t, cases[i].value);
        assert_text_has(t, cases[i].limit);
    }
    assert_int_equal(r->shell->engine.session_count, 0);
    room_free(r);
}

static void a_batch_over_payload_bytes_max_is_refused(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);
    struct room *r;

    (void)state;
    settings.payload_bytes_max = 10 * job.dataset.record_bytes_max;
    r = room_with(&settings, &job);
    r->trainers[0].batch_size = 11;
    trainer_hello(&r->trainers[0]);
    assert_refused(r, &r->trainers[0], OHEM_TOO_LARGE, MESSAGE_HELLO);
    assert_text_has(&r->trainers[0], "payload_bytes_max");
    r->trainers[0].batch_size = 10;
    room_hello(r, &r->trainers[0]);
    assert_int_equal(r->trainers[0].welcomes, 1);
    room_free(r);
}

static void a_session_over_sessions_max_is_refused_until_one_leaves(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);
    struct room *r;

    (void)state;
    settings.sessions_max = 2;
    r = room_with(&settings, &job);
    room_hello(r, &r->trainers[0]);
    room_hello(r, &r->trainers[1]);
    trainer_hello(&r->trainers[2]);
    assert_refused(r, &r->trainers[2], OHEM_LIMIT, MESSAGE_HELLO);
    assert_text_has(&r->trainers[2], "sessions_max");
    room_hello(r, &r->trainers[1]); /* resuming takes no new one */
    assert_int_equal(r->trainers[1].welcomes, 2);
    trainer_bye(&r->trainers[0]);
    room_hello(r, &r->trainers[2]);
    assert_int_equal(r->trainers[2].welcomes, 1);
    room_free(r);
}

static void instances_over_what_a_job_may_lease_are_refused(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    r->job->instances_out_max = JOB_INSTANCES_OUT_MAX - K * CREDIT + 1; /* as if others held them */
    trainer_hello(t);
    assert_refused(r, t, OHEM_LIMIT, MESSAGE_HELLO);
    r->job->instances_out_max = 0;
    room_hello(r, t);
    assert_int_equal(t->welcomes, 1);
    assert_int_equal(r->job->instances_out_max, K * CREDIT);
    trainer_bye(t);
    assert_int_equal(r->job->instances_out_max, 0);
    room_free(r);
}

static void a_session_cannot_change_what_it_asked_for(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    t->batch_size = K + 1;
    trainer_hello(t);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_HELLO);
    t->batch_size = K;
    t->credit = CREDIT + 1;
    trainer_hello(t);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_HELLO);
    t->credit = 0;
    room_report(r, t, 0); /* the session is as it was */
    assert_int_equal(t->selections, 1);
    room_free(r);
}

static void a_key_that_shares_anothers_place_is_refused(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[1];

    (void)state;
    memcpy(t->key.bytes, r->trainers[0].key.bytes + 8, 8); /* the halves change places */
    memcpy(t->key.bytes + 8, r->trainers[0].key.bytes, 8);
    assert_true(session_key_hash(&t->key) == session_key_hash(&r->trainers[0].key));
    trainer_hello(t);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_HELLO);
    trainer_ping(t);
    assert_refused(r, t, OHEM_NO_SESSION, MESSAGE_PING);
    room_report(r, &r->trainers[0], 0);
    assert_int_equal(r->trainers[0].selections, 1);
    room_free(r);
}

/* ---- coming back and leaving ---------------------------------------------------------------- */

static void who_comes_back_is_sent_again_what_it_lost(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct token token = t->held[1].parcel->m.batch.token;
    uint64_t ids[K];

    (void)state;
    memcpy(ids, t->held[1].parcel->m.batch.ids.data, sizeof ids);
    trainer_drop(t, &t->held[1]);
    t->peer = shell_new_peer(r->shell);
    room_hello(r, t);
    assert_int_equal(room_work(r), 1);
    assert_int_equal(t->held_count, CREDIT);
    assert_true(token_equal(t->held[1].parcel->m.batch.token, token));
    assert_memory_equal(t->held[1].parcel->m.batch.ids.data, ids, sizeof ids);
    assert_int_equal(r->job->metrics.batches_resent, 1);
    assert_int_equal(r->job->metrics.batches_drawn, CREDIT);
    room_report(r, t, 1);
    assert_int_equal(t->selections, 1);
    room_free(r);
}

static void who_comes_back_has_back_the_slots_of_what_it_released(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_report(r, t, 0);
    trainer_drop(t, &t->held[0]); /* its CREDIT was lost with the connection */
    t->peer = shell_new_peer(r->shell);
    room_hello(r, t);
    assert_int_equal(room_work(r), 1);
    assert_int_equal(t->held_count, CREDIT);
    assert_int_equal(t->held[1].parcel->m.batch.token.step, CREDIT); /* a new one */
    assert_int_equal(r->job->metrics.batches_resent, 0);
    assert_int_equal(r->job->leases.settled_count, 0);
    room_free(r);
}

static void who_says_hello_again_where_nothing_was_lost_is_sent_nothing_again(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    trainer_drop(t, &t->held[1]); /* as if it were still under way when the HELLO was sent */
    room_hello(r, t);
    assert_int_equal(room_work(r), 0);
    assert_int_equal(r->job->metrics.batches_resent, 0);
    room_free(r);
}

static void who_comes_back_with_all_is_sent_nothing_again(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_report(r, t, 0);
    room_hello(r, t);
    assert_int_equal(room_work(r), 0);
    room_report(r, t, 0); /* and gets the answer that may have been lost */
    assert_int_equal(t->selection.flags, SELECTION_FLAG_REPEATED);
    room_report(r, t, 1);
    assert_int_equal(t->selection.flags, 0);
    room_free(r);
}

static void bye_is_answered_and_returns_the_open_batches(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_report(r, t, 0);
    trainer_bye(t);
    {
        struct parcel *p = shell_take(r->shell);

        assert_int_equal(p->m.type, MESSAGE_BYE);
        assert_int_equal(p->peer, t->peer);
        assert_true(session_key_equal(&p->m.bye.key, &t->key));
        parcel_free(p);
    }
    assert_int_equal(coverage_open(&r->job->coverage, 0)->returned, K);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->reported, K);
    assert_int_equal(r->job->metrics.leases_abandoned, 1);
    assert_int_equal(r->shell->engine.session_count, 0);
    assert_true(engine_idle(&r->shell->engine));
    assert_no_session_for(r, t, &t->key);
    room_free(r);
}

TEST_MAIN(TEST(hello_is_welcomed_with_the_facts_of_its_job), TEST(no_wishes_mean_the_jobs_own),
          TEST(the_jobs_own_batch_size_is_never_more_than_its_instances),
          TEST(wishes_are_granted_as_asked), TEST(an_unknown_job_is_refused_by_its_name),
          TEST(wishes_over_a_limit_are_refused_with_value_and_limit),
          TEST(a_batch_over_payload_bytes_max_is_refused),
          TEST(a_session_over_sessions_max_is_refused_until_one_leaves),
          TEST(instances_over_what_a_job_may_lease_are_refused),
          TEST(a_session_cannot_change_what_it_asked_for),
          TEST(a_key_that_shares_anothers_place_is_refused),
          TEST(who_comes_back_is_sent_again_what_it_lost),
          TEST(who_comes_back_has_back_the_slots_of_what_it_released),
          TEST(who_says_hello_again_where_nothing_was_lost_is_sent_nothing_again),
          TEST(who_comes_back_with_all_is_sent_nothing_again),
          TEST(bye_is_answered_and_returns_the_open_batches))
