/* test_job.c - what becomes of a batch: reports honest and not, releases, and the end of a lease.
 */
#include "../../proto/error.h"
#include "../lib/room.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reports -------------------------------------------------------------------------------- */

static void a_report_is_answered_with_the_hardest_and_remembered(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct trainer_batch *b = &t->held[1];
    const float losses[K] = {1, 4, 2, 3};

    (void)state;
    memcpy(b->losses, losses, sizeof losses);
    t->seq = 6;
    trainer_report(t, b);
    {
        struct parcel *p = shell_take(r->shell);
        const struct message_selection *s = &p->m.selection;

        assert_int_equal(p->m.type, MESSAGE_SELECTION);
        assert_true(token_equal(s->token, b->parcel->m.batch.token));
        assert_int_equal(s->seq, 7);
        assert_int_equal(s->lsn, 1);
        assert_int_equal(s->flags, 0);
        assert_int_equal(s->indices.count, 2);
        assert_int_equal(vector_u32(s->indices, 0), 1);
        assert_int_equal(vector_u32(s->indices, 1), 3);
        assert_int_equal(s->weights.count, 0); /* all are 1 */
        assert_int_equal(s->all.count, K);
        assert_true(s->all.mean == 2.5f && s->all.min == 1.0f && s->all.max == 4.0f);
        assert_true(s->kept.mean == 3.5f && s->kept.min == 3.0f && s->kept.max == 4.0f);
        assert_null(shell_take(r->shell));
        for (uint32_t i = 0; i < K; i++) {
            struct hardness_story story =
                hardness_story(&r->job->hardness, (uint32_t)vector_u64(b->parcel->m.batch.ids, i));

            assert_true(story.scored && story.score == losses[i] && story.visits == 1);
            assert_int_equal(story.last_step, b->parcel->m.batch.token.step);
        }
        parcel_free(p);
    }
    room_free(r);
}

static void a_broken_loss_is_counted_and_touches_nothing(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    const float losses[K] = {NAN, -2, INFINITY, 1};

    (void)state;
    memcpy(t->held[0].losses, losses, sizeof losses);
    room_report(r, t, 0);
    assert_int_equal(t->selection.nonfinite_count, 2);
    assert_int_equal(t->selection.all.count, 2);
    assert_int_equal(t->selection.indices.count, 2);
    assert_int_equal(r->job->hardness.partition.count, 2);
    assert_int_equal(r->job->metrics.losses_nonfinite, 2);
    assert_int_equal(r->job->metrics.losses_negative, 1);
    assert_int_equal(r->job->metrics.losses_applied, 2);
    room_free(r);
}

static void a_repeated_report_gets_the_same_answer_and_changes_nothing(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct parcel *first, *again;

    (void)state;
    trainer_report(t, &t->held[0]);
    first = shell_take(r->shell);
    room_report(r, t, 1); /* another one in between */
    trainer_report(t, &t->held[0]);
    again = shell_take(r->shell);
    assert_int_equal(again->m.selection.flags, SELECTION_FLAG_REPEATED);
    again->m.selection.flags = first->m.selection.flags;
    assert_int_equal(again->m.selection.indices.count, first->m.selection.indices.count);
    assert_memory_equal(again->m.selection.indices.data, first->m.selection.indices.data,
                        first->m.selection.indices.count * sizeof(uint32_t));
    assert_memory_equal(again->m.selection.weights.data, first->m.selection.weights.data,
                        first->m.selection.weights.count * sizeof(float));
    again->m.selection.indices = first->m.selection.indices;
    again->m.selection.weights = first->m.selection.weights;
    assert_memory_equal(&again->m.selection, &first->m.selection, sizeof first->m.selection);
    assert_int_equal(r->job->lsn, 2);
    assert_int_equal(r->job->metrics.reports_repeated, 1);
    parcel_free(first);
    parcel_free(again);
    room_free(r);
}

/* Send a lie about batch 0 of the first trainer, and see it refused with nothing changed. */
static void assert_lie_is_refused(struct room *r, struct trainer *t, enum trainer_lie lie, int code)
{
    struct message m = trainer_loss_message(t, &t->held[0]);
    uint64_t lsn = r->job->lsn, applied = r->job->metrics.losses_applied;
    uint32_t scored = r->job->hardness.partition.count;
    float losses[K + 1];

    trainer_lie(&m, lie, &r->trainers[2], losses);
    shell_say(r->shell, t->peer, &m);
    assert_refused(r, t, code, MESSAGE_LOSS);
    assert_true(token_equal(t->error.token, m.loss.token));
    assert_int_equal(r->job->lsn, lsn);
    assert_int_equal(r->job->metrics.losses_applied, applied);
    assert_int_equal(r->job->hardness.partition.count, scored);
}

static void lies_are_refused_by_name_and_change_nothing(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, &r->trainers[2]);
    (void)room_work(r);
    assert_lie_is_refused(r, t, TRAINER_LIE_SHORT, OHEM_COUNT);
    assert_lie_is_refused(r, t, TRAINER_LIE_LONG, OHEM_COUNT);
    assert_lie_is_refused(r, t, TRAINER_LIE_TAG, OHEM_TOKEN);
    assert_lie_is_refused(r, t, TRAINER_LIE_STEP, OHEM_TOKEN);
    assert_lie_is_refused(r, t, TRAINER_LIE_FOREIGN, OHEM_FOREIGN);
    assert_lie_is_refused(r, t, TRAINER_LIE_KEY, OHEM_NO_SESSION);
    room_report(r, t, 0);
    assert_int_equal(t->selections, 1);
    assert_int_equal(t->selection.lsn, 1);
    assert_lie_is_refused(r, t, TRAINER_LIE_LOSSES, OHEM_CONFLICT);
    assert_lie_is_refused(r, t, TRAINER_LIE_SHORT, OHEM_COUNT);
    assert_int_equal(r->job->metrics.reports_refused_count, 3);
    assert_int_equal(r->job->metrics.reports_refused_token, 2);
    assert_int_equal(r->job->metrics.reports_refused_foreign, 1);
    assert_int_equal(r->job->metrics.reports_refused_conflict, 1);
    room_free(r);
}

static void a_report_of_no_losses_is_refused(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct message m = trainer_loss_message(t, &t->held[0]);

    (void)state;
    m.loss.losses = (struct vector){.data = NULL, .count = 0};
    shell_say(r->shell, t->peer, &m);
    assert_refused(r, t, OHEM_COUNT, MESSAGE_LOSS);
    room_free(r);
}

static void a_report_after_the_release_is_refused(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct message m = room_message(MESSAGE_LOSS, t->key, t->held[0].parcel->m.batch.token);

    (void)state;
    room_report(r, t, 0);
    room_release(r, t, 0);
    shell_say(r->shell, t->peer, &m);
    assert_refused(r, t, OHEM_TOKEN, MESSAGE_LOSS);
    room_free(r);
}

static void a_report_may_lie_anywhere_in_memory(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];
    struct message m = trainer_loss_message(t, &t->held[0]);
    char unaligned[K * sizeof(float) + 1];

    (void)state;
    memcpy(unaligned + 1, t->held[0].losses, K * sizeof(float));
    m.loss.losses.data = unaligned + 1;
    shell_say(r->shell, t->peer, &m);
    room_hear(r);
    assert_int_equal(t->selections, 1);
    room_free(r);
}

static void two_jobs_share_no_memory(void **state)
{
    struct room *r = room_at_work();
    struct job_settings other = shell_job("other", N);
    struct job *job = shell_add_job(r->shell, &other);
    struct trainer *t = &r->trainers[1];
    struct reason why = {.text = ""};

    (void)state;
    (void)snprintf(t->job, sizeof t->job, "other");
    room_hello(r, t);
    (void)room_work(r);
    assert_int_equal(t->held[0].parcel->m.batch.token.step, 0);
    room_report(r, t, 0);
    assert_int_equal(t->selection.lsn, 1);
    assert_int_equal(job->hardness.partition.count, K);
    assert_int_equal(r->job->hardness.partition.count, 0);
    assert_int_equal(engine_add_job(&r->shell->engine, &other, &why), -OHEM_EXISTS);
    assert_non_null(strstr(why.text, "other"));
    assert_null(engine_find_job(&r->shell->engine, "neither"));
    room_free(r);
}

static void a_job_needs_instances(void **state)
{
    struct room *r = room_new();
    struct job_settings empty = shell_job("empty", 0), huge = shell_job("huge", 1);
    struct reason why = {.text = ""};

    (void)state;
    huge.dataset.instance_count = UINT64_C(1) << 32;
    assert_int_equal(engine_add_job(&r->shell->engine, &empty, &why), -OHEM_INVALID);
    assert_non_null(strstr(why.text, "empty"));
    assert_int_equal(engine_add_job(&r->shell->engine, &huge, &why), -OHEM_INVALID);
    assert_non_null(strstr(why.text, "4294967296"));
    room_free(r);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void the_engine_is_due_when_a_lease_ends(void **state)
{
    struct room *r = room_new();

    (void)state;
    assert_true(engine_next_due(&r->shell->engine) == UINT64_MAX);
    room_hello(r, &r->trainers[0]);
    (void)room_work(r);
    assert_int_equal(engine_next_due(&r->shell->engine), r->shell->now_ms + LEASE_MS);
    room_free(r);
}

static void an_expired_lease_returns_its_instances_to_be_handed_out_first(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[1];
    const struct parcel *lost = r->trainers[0].held[0].parcel;

    (void)state;
    shell_advance(r->shell, LEASE_MS - 1, ENOUGH);
    assert_int_equal(r->job->metrics.leases_expired, 0);
    shell_advance(r->shell, 1, ENOUGH);
    assert_int_equal(r->job->metrics.leases_expired, CREDIT);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->returned, CREDIT * K);
    room_hello(r, t);
    (void)room_work(r);
    assert_memory_equal(t->held[0].parcel->m.batch.ids.data, lost->m.batch.ids.data,
                        K * sizeof(uint64_t));
    assert_int_equal(coverage_open(&r->job->coverage, 0)->repeated, CREDIT * K);
    room_free(r);
}

static void a_keepalive_gives_full_leases_from_now(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    shell_advance(r->shell, LEASE_MS - 1, ENOUGH);
    trainer_ping(t);
    room_hear(r);
    assert_int_equal(t->pongs, 1);
    assert_int_equal(engine_next_due(&r->shell->engine), r->shell->now_ms + LEASE_MS);
    shell_advance(r->shell, LEASE_MS - 1, ENOUGH);
    assert_int_equal(r->job->metrics.leases_expired, 0);
    room_free(r);
}

static void a_late_report_counts_once_and_is_flagged(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    shell_advance(r->shell, LEASE_MS + LATE_MS - 1, ENOUGH);
    room_report(r, t, 0);
    assert_int_equal(t->selection.flags, SELECTION_FLAG_LATE);
    assert_int_equal(r->job->metrics.reports_late, 1);
    assert_int_equal(r->job->hardness.partition.count, K);
    assert_int_equal(coverage_open(&r->job->coverage, 0)->reported, 0);
    room_report(r, t, 0);
    assert_int_equal(t->selection.flags, SELECTION_FLAG_LATE | SELECTION_FLAG_REPEATED);
    assert_int_equal(r->job->lsn, 1);
    room_free(r);
}

static void a_report_after_late_ms_is_refused_and_the_slot_comes_back(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    shell_advance(r->shell, LEASE_MS, ENOUGH);
    trainer_ping(t); /* it lives, and its leases ended all the same */
    shell_advance(r->shell, LATE_MS, ENOUGH);
    trainer_report(t, &t->held[0]);
    assert_refused(r, t, OHEM_EXPIRED, MESSAGE_LOSS);
    assert_int_equal(r->job->metrics.reports_refused_expired, 1);
    assert_int_equal(room_work(r), 0);
    room_release(r, t, 0);
    assert_int_equal(room_work(r), 1);
    room_free(r);
}

static void the_silent_are_forgotten_when_nothing_of_theirs_can_be_reported(void **state)
{
    struct room *r = room_at_work();
    struct trainer *t = &r->trainers[0];

    (void)state;
    shell_advance(r->shell, LEASE_MS + LATE_MS - 1, ENOUGH);
    assert_int_equal(r->shell->engine.session_count, 1);
    shell_advance(r->shell, 1, ENOUGH);
    assert_int_equal(r->shell->engine.session_count, 0);
    assert_int_equal(r->job->metrics.sessions_closed, 1);
    assert_true(engine_next_due(&r->shell->engine) == UINT64_MAX);
    trainer_ping(t);
    assert_refused(r, t, OHEM_NO_SESSION, MESSAGE_PING);
    room_hello(r, t);
    assert_int_equal(t->welcome.session, 2);
    room_free(r);
}

static void a_session_is_not_forgotten_while_a_batch_can_be_reported(void **state)
{
    struct room *r = room_new();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, t);
    shell_advance(r->shell, LEASE_MS / 2, ENOUGH);
    (void)room_work(r); /* its batch comes when it has been silent for a while */
    shell_advance(r->shell, LEASE_MS + LATE_MS - 1, ENOUGH);
    room_report(r, t, 0);
    assert_int_equal(t->errors, 0);
    assert_int_equal(t->selection.flags, SELECTION_FLAG_LATE);
    room_free(r);
}

TEST_MAIN(TEST(a_report_is_answered_with_the_hardest_and_remembered),
          TEST(a_broken_loss_is_counted_and_touches_nothing),
          TEST(a_repeated_report_gets_the_same_answer_and_changes_nothing),
          TEST(lies_are_refused_by_name_and_change_nothing), TEST(a_report_of_no_losses_is_refused),
          TEST(a_report_after_the_release_is_refused), TEST(a_report_may_lie_anywhere_in_memory),
          TEST(two_jobs_share_no_memory), TEST(a_job_needs_instances),
          TEST(the_engine_is_due_when_a_lease_ends),
          TEST(an_expired_lease_returns_its_instances_to_be_handed_out_first),
          TEST(a_keepalive_gives_full_leases_from_now),
          TEST(a_late_report_counts_once_and_is_flagged),
          TEST(a_report_after_late_ms_is_refused_and_the_slot_comes_back),
          TEST(the_silent_are_forgotten_when_nothing_of_theirs_can_be_reported),
          TEST(a_session_is_not_forgotten_while_a_batch_can_be_reported))
