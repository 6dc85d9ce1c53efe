/* test_way.c - how a session takes its batches: offers, readiness, how much it may hold, how old a
 * batch may be when it is sent.
 */
#include "../../proto/error.h"
#include "../lib/room.h"

/* ---- offers --------------------------------------------------------------------------------- */

static void say_ready(struct room *r, struct trainer *t, enum message_way way)
{
    struct message m = room_message(MESSAGE_READY, t->key, (struct token){0});

    m.ready.way = way;
    shell_say(r->shell, t->peer, &m);
    room_hear(r);
}

static void nothing_is_sent_before_the_offered_memory_is_mapped(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    r->shell->offer = WAY_SHM;
    room_hello(r, t);
    assert_int_equal(t->welcome.way, WAY_SHM);
    assert_int_equal(room_work(r), 0);
    say_ready(r, t, WAY_SHM);
    assert_int_equal(room_work(r), CREDIT);
    assert_int_equal(t->errors, 0);
    room_free(r);
}

static void who_cannot_map_it_gets_batches_inline(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    r->shell->offer = WAY_MAP;
    room_hello(r, t);
    say_ready(r, t, WAY_INLINE);
    assert_int_equal(room_work(r), CREDIT);
    room_hello(r, t); /* what was settled stays */
    assert_int_equal(t->welcome.way, WAY_INLINE);
    room_free(r);
}

static void a_way_that_was_not_offered_is_refused_and_the_session_goes_on_waiting(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    r->shell->offer = WAY_SHM;
    room_hello(r, t);
    say_ready(r, t, WAY_MAP);
    assert_int_equal(t->errors, 1);
    assert_int_equal(t->error.code, OHEM_INVALID);
    assert_int_equal(t->error.about, MESSAGE_READY);
    assert_text_has(t, "way 2 was not offered");
    assert_int_equal(room_work(r), 0);
    say_ready(r, t, WAY_SHM);
    assert_int_equal(room_work(r), CREDIT);
    room_free(r);
}

static void the_offer_is_repeated_until_the_session_is_ready(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    r->shell->offer = WAY_MAP;
    room_hello(r, t);
    room_hello(r, t);
    assert_int_equal(t->welcome.way, WAY_MAP);
    assert_int_equal(room_work(r), 0);
    say_ready(r, t, WAY_MAP);
    r->shell->offer = WAY_SHM; /* nobody is asked any more */
    room_hello(r, t);
    assert_int_equal(t->welcome.way, WAY_MAP);
    assert_int_equal(room_work(r), CREDIT);
    room_free(r);
}

static void the_shell_is_told_of_each_session_that_ends(void **state)
{
    struct room *r = room_at_work();

    (void)state;
    room_hello(r, &r->trainers[1]);
    trainer_bye(&r->trainers[0]);
    assert_int_equal(r->shell->ended, 1);
    shell_advance(r->shell, LEASE_MS + LATE_MS + 1, ENOUGH);
    assert_int_equal(r->shell->ended, 2);
    room_free(r);
}

/* ---- how much ------------------------------------------------------------------------------- */

static struct room *room_of_bytes(uint64_t prefetch_bytes_max, uint32_t credit)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);

    settings.prefetch_bytes_max = prefetch_bytes_max;
    job.dataset.record_bytes_max = 100;
    job.batch_size = K;
    job.credit = credit;
    return room_with(&settings, &job);
}

static void credit_is_no_more_than_the_bytes_allow_and_no_less_than_one(void **state)
{
    static const struct {
        uint64_t bytes;
        uint32_t granted;
    } cases[] = {{0, 8}, {8 * K * 100, 8}, {8 * K * 100 - 1, 7}, {K * 100, 1}, {1, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct room *r = room_of_bytes(cases[i].bytes, 8);

        room_hello(r, &r->trainers[0]);
        assert_int_equal(r->trainers[0].welcome.credit, cases[i].granted);
        assert_int_equal(room_work(r), cases[i].granted);
        room_free(r);
    }
}

/* The gaps between aligned records count, or a block could be larger than a message may be. */
static void a_batch_that_alignment_makes_too_large_is_refused(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);
    struct message m = {.type = MESSAGE_HELLO, .hello = {.batch_size = K, .job = "train"}};
    struct room *r;

    (void)state;
    settings.payload_bytes_max = K * 100;
    job.dataset.record_bytes_max = 100;
    r = room_with(&settings, &job);
    m.hello.key = r->trainers[0].key;
    m.hello.layout = RECORDS_ALIGNED64;
    shell_say(r->shell, r->trainers[0].peer, &m);
    assert_refused(r, &r->trainers[0], OHEM_TOO_LARGE, MESSAGE_HELLO);
    assert_text_has(&r->trainers[0], "512 bytes");
    m.hello.layout = RECORDS_PACKED;
    shell_say(r->shell, r->trainers[0].peer, &m);
    room_hear(r);
    assert_int_equal(r->trainers[0].welcomes, 1);
    room_free(r);
}

static void who_asked_for_more_credit_than_it_got_may_say_so_again(void **state)
{
    struct room *r = room_of_bytes(2 * K * 100, 1);
    struct trainer *t = &r->trainers[0];

    (void)state;
    t->credit = 9;
    room_hello(r, t);
    assert_int_equal(t->welcome.credit, 2);
    room_hello(r, t); /* its WELCOME was lost */
    assert_int_equal(t->errors, 0);
    t->credit = 2;
    room_hello(r, t);
    assert_int_equal(t->errors, 0);
    t->credit = 3;
    trainer_hello(t);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_HELLO);
    room_free(r);
}

/* ---- how old -------------------------------------------------------------------------------- */

static struct room *room_of_age(uint64_t max_age)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);

    job.batch_size = 1;
    job.credit = 3;
    job.max_age = max_age;
    job.sampler.rho = 1;
    return room_with(&settings, &job);
}

/* The trainer's i-th batch is about to be sent. */
static bool may_send(struct room *r, const struct trainer *t, uint32_t i)
{
    return engine_may_send(&r->shell->engine, t->peer, &t->key, t->held[i].parcel->m.batch.token);
}

static void a_batch_that_reports_have_overtaken_is_drawn_anew(void **state)
{
    struct room *r = room_of_age(1);
    struct trainer *slow = &r->trainers[0], *fast = &r->trainers[1];
    uint64_t id;

    (void)state;
    room_hello(r, slow);
    room_hello(r, fast);
    assert_int_equal(room_work(r), 6);
    id = vector_u64(slow->held[0].parcel->m.batch.ids, 0);
    room_report(r, fast, 0);
    assert_true(may_send(r, slow, 0)); /* one report is what is allowed */
    room_report(r, fast, 1);
    assert_false(may_send(r, slow, 0));
    assert_int_equal(r->job->metrics.batches_redrawn, 1);
    trainer_drop(slow, &slow->held[0]); /* it never got there */
    assert_int_equal(room_work(r), 1);
    /* the same instance, since coverage comes first of all; under a step of its own, and fresh */
    assert_int_equal(vector_u64(slow->held[2].parcel->m.batch.ids, 0), id);
    assert_int_equal(slow->held[2].parcel->m.batch.lsn, 2);
    assert_true(may_send(r, slow, 2));
    room_report(r, slow, 2);
    assert_int_equal(slow->errors, 0);
    room_free(r);
}

static void after_a_few_redraws_in_a_row_a_batch_is_sent_however_old(void **state)
{
    struct room *r = room_of_age(1);
    struct trainer *slow = &r->trainers[0], *fast = &r->trainers[1];
    uint32_t redrawn = 0;

    (void)state;
    slow->credit = 1;
    room_hello(r, slow);
    room_hello(r, fast);
    for (;;) {
        (void)room_work(r);
        for (int i = 0; i < 2; i++) {
            room_report(r, fast, 0);
            room_release(r, fast, 0);
            (void)room_work(r);
        }
        if (may_send(r, slow, 0))
            break;
        trainer_drop(slow, &slow->held[0]);
        redrawn++;
    }
    assert_int_equal(redrawn, JOB_REDRAWN_MAX);
    room_report(r, slow, 0);
    assert_int_equal(slow->errors, 0);
    room_free(r);
}

static void without_max_age_every_batch_is_sent_and_its_age_is_counted(void **state)
{
    struct room *r = room_of_age(0);
    struct trainer *slow = &r->trainers[0], *fast = &r->trainers[1];

    (void)state;
    room_hello(r, slow);
    room_hello(r, fast);
    (void)room_work(r);
    for (uint32_t i = 0; i < 3; i++)
        room_report(r, fast, i);
    assert_true(may_send(r, slow, 0));
    assert_int_equal(r->job->sent_ages.max, 3);
    assert_int_equal(r->job->reported_ages.sum, 0 + 1 + 2);
    room_report(r, slow, 0);
    assert_int_equal(r->job->reported_ages.max, 3);
    assert_int_equal(r->job->reported_ages.count, 4);
    room_free(r);
}

static void a_batch_whose_session_has_ended_is_not_sent(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct token token = t->held[0].parcel->m.batch.token;

    (void)state;
    trainer_bye(t);
    assert_false(engine_may_send(&r->shell->engine, t->peer, &t->key, token));
    room_free(r);
}

TEST_MAIN(TEST(nothing_is_sent_before_the_offered_memory_is_mapped),
          TEST(who_cannot_map_it_gets_batches_inline),
          TEST(a_way_that_was_not_offered_is_refused_and_the_session_goes_on_waiting),
          TEST(the_offer_is_repeated_until_the_session_is_ready),
          TEST(the_shell_is_told_of_each_session_that_ends),
          TEST(credit_is_no_more_than_the_bytes_allow_and_no_less_than_one),
          TEST(a_batch_that_alignment_makes_too_large_is_refused),
          TEST(who_asked_for_more_credit_than_it_got_may_say_so_again),
          TEST(a_batch_that_reports_have_overtaken_is_drawn_anew),
          TEST(after_a_few_redraws_in_a_row_a_batch_is_sent_however_old),
          TEST(without_max_age_every_batch_is_sent_and_its_age_is_counted),
          TEST(a_batch_whose_session_has_ended_is_not_sent))
