/* test_job_strict.c - strict order: reports that come before their turn, or long after their draw.
 */
#include "../../proto/error.h"
#include "../lib/room.h"

#include <string.h>

#define STALENESS 4u

static struct room *strict_room(void)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);

    job.batch_size = K;
    job.credit = CREDIT;
    job.lease_ms = LEASE_MS;
    job.late_ms = LATE_MS;
    job.staleness = STALENESS;
    return room_with(&settings, &job);
}

static uint64_t step_of(const struct trainer *t, uint32_t i)
{
    return t->held[i].parcel->m.batch.token.step;
}

/* What it holds of the lowest step. */
static uint32_t first_of(const struct trainer *t)
{
    uint32_t first = 0;

    assert_true(t->held_count > 0);
    for (uint32_t i = 1; i < t->held_count; i++)
        if (step_of(t, i) < step_of(t, first))
            first = i;
    return first;
}

/* All that it gets until it holds this step and none before. */
static void train_up_to(struct room *r, struct trainer *t, uint64_t step)
{
    (void)room_work(r);
    while (step_of(t, first_of(t)) < step) { /* each turn it is another */
        uint32_t i = first_of(t);

        room_report(r, t, i);
        room_release(r, t, i);
        (void)room_work(r);
    }
    assert_int_equal(step_of(t, first_of(t)), step);
}

/* As libohem says it when the daemon that handed the batch out is gone. */
static void report_with_ids(struct room *r, struct trainer *t, struct trainer_batch *b)
{
    struct message m = trainer_loss_message(t, b);

    m.loss.ids = b->parcel->m.batch.ids;
    shell_say(r->shell, t->peer, &m);
    room_hear(r);
}

/* The trainer's daemon dies without having saved anything. @return the room of the next one, to
 * which the trainer has said HELLO */
static struct room *restart(struct room *old, struct trainer *t)
{
    struct room *r = strict_room();

    t->shell = r->shell;
    t->peer = r->trainers[0].peer;
    r->trainers[0] = *t;
    old->trainers[0] = (struct trainer){.shell = old->shell};
    room_free(old);
    room_hello(r, &r->trainers[0]);
    return r;
}

static struct trainer_batch take_out(struct trainer *t, uint32_t i)
{
    struct trainer_batch b = t->held[i];

    t->held[i] = t->held[--t->held_count];
    return b;
}

static void put_back(struct trainer *t, struct trainer_batch b)
{
    t->held[t->held_count++] = b;
}

static void a_report_before_its_turn_is_answered_and_applied_when_it_comes_again(void **state)
{
    struct room *r = strict_room();
    struct trainer *t = &r->trainers[0];
    struct trainer_batch early;
    uint64_t lsn;

    (void)state;
    room_hello(r, t);
    train_up_to(r, t, 2 * STALENESS);
    r = restart(r, t);
    t = &r->trainers[0];
    assert_int_equal(t->held_count, CREDIT);

    report_with_ids(r, t, &t->held[0]);
    assert_int_equal(t->selection.flags, SELECTION_FLAG_EARLY);
    assert_int_equal(t->selection.kept.count, K / 2);
    assert_int_equal(r->job->metrics.reports_applied, 0);
    assert_int_equal(r->job->metrics.reports_early, 1);
    assert_int_equal(room_work(r), 0); /* it holds all that it may */

    early = take_out(t, 0);
    {
        struct message m = room_message(MESSAGE_CREDIT, t->key, early.parcel->m.batch.token);

        shell_say(r->shell, t->peer, &m);
    }
    assert_int_equal(room_work(r), 1); /* what is missing is its to do */
    assert_int_equal(step_of(t, 1), 0);
    train_up_to(r, t, 2 * STALENESS - 1);

    lsn = r->job->lsn;
    put_back(t, early);
    report_with_ids(r, t, &t->held[t->held_count - 1]);
    assert_int_equal(t->selection.flags, 0);
    assert_int_equal(r->job->lsn, lsn);
    room_report(r, t, first_of(t));
    assert_int_equal(r->job->lsn, lsn + 2);
    room_free(r);
}

static void nothing_is_durable_from_a_report_before_its_turn_on(void **state)
{
    struct room *r = strict_room();
    struct trainer *t = &r->trainers[0];
    struct session *s;

    (void)state;
    room_hello(r, t);
    train_up_to(r, t, 2 * STALENESS);
    t->seq = 0; /* this life's numbers begin anew */
    r = restart(r, t);
    t = &r->trainers[0];
    report_with_ids(r, t, &t->held[0]);
    s = TAILQ_FIRST(&r->job->sessions);
    {
        struct message m = room_message(MESSAGE_CREDIT, t->key, t->held[0].parcel->m.batch.token);

        trainer_drop(t, &t->held[0]);
        shell_say(r->shell, t->peer, &m);
        room_hear(r);
    }
    assert_int_equal(room_work(r), 1);
    assert_int_equal(step_of(t, 1), 0);
    room_report(r, t, 1);
    assert_int_equal(r->job->lsn, 1);
    assert_int_equal(s->reported_seq, 2);
    assert_int_equal(s->applied_seq, 0);
    room_free(r);
}

/* The session ends and begins again under its key, and the trainer still holds this one batch. */
static void come_back_with(struct room *r, struct trainer *t, uint32_t i)
{
    struct trainer_batch b = take_out(t, i);

    trainer_drop_all(t);
    trainer_bye(t); /* its lease goes with the session */
    room_hear(r);
    put_back(t, b);
    t->welcome.session++; /* what it will be: trainer_hear() keeps what it holds */
    room_hello(r, t);
    assert_int_equal(t->held_count, 1);
}

static void other_losses_of_what_was_held_before_are_a_conflict_waiting_or_applied(void **state)
{
    struct room *r = strict_room();
    struct trainer *t = &r->trainers[0];
    float first;

    (void)state;
    room_hello(r, t);
    train_up_to(r, t, STALENESS);
    come_back_with(r, t, first_of(t) == 0 ? 1 : 0); /* not the one whose turn it is */
    report_with_ids(r, t, &t->held[0]);
    assert_int_equal(t->selection.flags, 0);
    for (int applied = 0; applied < 2; applied++) {
        first = t->held[0].losses[0];
        t->held[0].losses[0] = first + 1;
        report_with_ids(r, t, &t->held[0]);
        assert_int_equal(t->error.code, OHEM_CONFLICT);
        assert_int_equal(t->errors, applied + 1);
        t->held[0].losses[0] = first;
        report_with_ids(r, t, &t->held[0]);
        assert_int_equal(t->selection.flags, SELECTION_FLAG_REPEATED);
        (void)room_work(r);
        room_report(r, t, 1); /* the step whose turn it is, again */
        assert_true(r->job->lsn > step_of(t, 0));
    }
    assert_int_equal(t->errors, 2);
    room_free(r);
}

static void the_step_whose_turn_it_is_is_not_closed_however_long_it_waits(void **state)
{
    struct room *r = strict_room();
    struct trainer *t = &r->trainers[0];

    (void)state;
    room_hello(r, t);
    train_up_to(r, t, STEPS_BLOCK - 2); /* steps behind it are in the next block already */
    for (uint64_t ms = 0; ms <= LEASE_MS + LATE_MS; ms += LEASE_MS) {
        trainer_ping(t);
        shell_advance(r->shell, LEASE_MS, ENOUGH);
    }
    room_hear(r);
    (void)room_work(r);
    while (step_of(t, t->held_count - 1) != STEPS_BLOCK - 2)
        trainer_drop(t, &t->held[t->held_count - 1]);
    come_back_with(r, t, t->held_count - 1);
    report_with_ids(r, t, &t->held[0]);
    assert_int_equal(t->errors, 0);
    assert_int_equal(t->selection.lsn, STEPS_BLOCK - 1);
    assert_int_equal(r->job->lsn, STEPS_BLOCK - 1);
    room_free(r);
}

TEST_MAIN(TEST(a_report_before_its_turn_is_answered_and_applied_when_it_comes_again),
          TEST(nothing_is_durable_from_a_report_before_its_turn_on),
          TEST(other_losses_of_what_was_held_before_are_a_conflict_waiting_or_applied),
          TEST(the_step_whose_turn_it_is_is_not_closed_however_long_it_waits))
