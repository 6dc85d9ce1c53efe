/* test_job_round.c - reports in rounds: what reaches the scores, and what each rank is told. */
#include "../../proto/error.h"
#include "../lib/disk.h"
#include "../lib/room.h"

#include <string.h>

static const float easy[K] = {1, 2, 3, 4}, hard[K] = {10, 20, 30, 40};

static struct job_settings settings_of(uint32_t ranks)
{
    struct job_settings job = shell_job("train", N);

    job.batch_size = K;
    job.credit = CREDIT;
    job.lease_ms = LEASE_MS;
    job.late_ms = LATE_MS;
    job.round = (struct round_policy){.ranks = ranks, .ms = 100};
    return job;
}

/* Two ranks have joined; the third trainer has rank 1, too, and says nothing yet. */
static struct room *room_of_two(const struct job_settings *job, bool durable)
{
    struct engine_settings settings = shell_settings();
    struct room *r;

    settings.durable = durable;
    r = room_with(&settings, job);
    r->trainers[1].rank = r->trainers[2].rank = 1;
    room_hello(r, &r->trainers[0]);
    room_hello(r, &r->trainers[1]);
    return r;
}

/* And are at work. */
static struct room *room_in_rounds(void)
{
    struct job_settings job = settings_of(2);
    struct room *r = room_of_two(&job, false);

    (void)room_work(r);
    return r;
}

static void report(struct room *r, uint32_t trainer, uint32_t batch, const float *losses)
{
    memcpy(r->trainers[trainer].held[batch].losses, losses, K * sizeof *losses);
    room_report(r, &r->trainers[trainer], batch);
}

static void assert_told(const struct trainer *t, uint64_t times, uint32_t flags, uint32_t own,
                        uint32_t count, uint32_t present, float scale)
{
    const struct message_selection *s = &t->selection;

    assert_int_equal(t->selections, times);
    assert_int_equal(s->flags, flags);
    assert_int_equal(s->kept.count, own);
    assert_int_equal(s->share.count, count);
    assert_int_equal(s->share.present, present);
    assert_true(s->share.scale == scale);
}

static void both_ranks_are_answered_together_and_the_scores_wait_for_nobody(void **state)
{
    struct room *r = room_in_rounds();

    (void)state;
    assert_int_equal(r->trainers[0].welcome.round, 2);
    report(r, 0, 0, easy);
    assert_int_equal(r->job->lsn, 1);
    assert_int_equal(r->job->metrics.losses_applied, K);
    assert_int_equal(r->trainers[0].selections, 0);
    report(r, 1, 0, hard);
    assert_told(&r->trainers[0], 1, 0, 0, 4, 2, 0);
    assert_told(&r->trainers[1], 1, 0, 4, 4, 2, 2);
    assert_int_equal(r->trainers[0].selection.all.count, K);
    assert_int_equal(r->trainers[0].selection.lsn, 1);
    assert_int_equal(r->job->metrics.rounds_answered, 1);
    assert_int_equal(r->job->metrics.rounds_incomplete, 0);
    assert_int_equal(r->job->metrics.instances_selected, 4);
    room_free(r);
}

static void a_repeat_waits_for_the_round_and_then_gets_the_same_answer(void **state)
{
    struct room *r = room_in_rounds();
    struct trainer *t = &r->trainers[0];

    (void)state;
    report(r, 0, 0, hard);
    room_report(r, t, 0);
    assert_int_equal(t->selections, 0);
    t->held[0].losses[1] = 77;
    room_report(r, t, 0);
    assert_int_equal(t->error.code, OHEM_CONFLICT);
    t->held[0].losses[1] = hard[1];
    report(r, 1, 0, easy);
    assert_told(t, 1, 0, 4, 4, 2, 2);
    room_report(r, t, 0);
    assert_told(t, 2, SELECTION_FLAG_REPEATED, 4, 4, 2, 2);
    assert_int_equal(r->job->metrics.reports_applied, 2);
    room_free(r);
}

static void a_rank_that_says_nothing_delays_the_other_once(void **state)
{
    struct room *r = room_in_rounds();

    (void)state;
    report(r, 0, 0, hard);
    shell_advance(r->shell, 99, ENOUGH);
    room_hear(r);
    assert_int_equal(r->trainers[0].selections, 0);
    assert_int_equal(engine_next_due(&r->shell->engine), r->shell->now_ms + 1);
    shell_advance(r->shell, 1, ENOUGH);
    room_hear(r);
    assert_told(&r->trainers[0], 1, 0, 2, 2, 1, 2); /* half of its own four, times R M_r / M */
    assert_int_equal(r->job->metrics.rounds_incomplete, 1);
    report(r, 0, 1, hard); /* at once */
    assert_told(&r->trainers[0], 2, 0, 2, 2, 1, 2);
    assert_int_equal(r->job->metrics.rounds_incomplete, 1);
    report(r, 1, 0, hard); /* for round 0 */
    assert_told(&r->trainers[1], 1, SELECTION_FLAG_LATE, 0, 0, 0, 0);
    assert_int_equal(r->trainers[1].selection.all.count, K);
    assert_int_equal(r->job->metrics.losses_applied, 3 * K);
    assert_int_equal(r->job->metrics.rounds_missed, 1);
    room_free(r);
}

static void a_session_that_ends_is_not_waited_for(void **state)
{
    struct room *r = room_in_rounds();

    (void)state;
    report(r, 0, 0, hard);
    trainer_bye(&r->trainers[1]);
    room_hear(r);
    assert_told(&r->trainers[0], 1, 0, 2, 2, 1, 2);
    report(r, 0, 1, hard);
    assert_int_equal(r->trainers[0].selections, 2);
    room_free(r);
}

static void the_newest_session_has_the_rank(void **state)
{
    struct room *r = room_in_rounds();

    (void)state;
    room_hello(r, &r->trainers[2]);
    (void)room_work(r);
    report(r, 1, 0, hard);
    assert_told(&r->trainers[1], 1, SELECTION_FLAG_LATE, 0, 0, 0, 0);
    report(r, 0, 0, easy);
    assert_int_equal(r->trainers[0].selections, 0);
    report(r, 2, 0, hard);
    assert_told(&r->trainers[0], 1, 0, 0, 4, 2, 0);
    assert_told(&r->trainers[2], 1, 0, 4, 4, 2, 2);
    room_free(r);
}

static void a_batch_that_is_given_back_is_in_its_round_all_the_same(void **state)
{
    struct room *r = room_in_rounds();

    (void)state;
    report(r, 0, 0, hard);
    room_release(r, &r->trainers[0], 0);
    (void)room_work(r); /* its slot has another batch */
    report(r, 1, 0, easy);
    assert_told(&r->trainers[1], 1, 0, 0, 4, 2, 0);
    assert_told(&r->trainers[0], 1, 0, 4, 4, 2, 2);
    room_free(r);
}

static void a_repeat_of_what_was_given_back_waits_with_its_round(void **state)
{
    struct room *r = room_in_rounds();
    struct trainer *t = &r->trainers[0];
    struct message m;
    float losses[K];

    (void)state;
    report(r, 0, 0, hard);
    m = trainer_loss_message(t, &t->held[0]);
    memcpy(losses, m.loss.losses.data, sizeof losses);
    m.loss.losses.data = losses;
    room_release(r, t, 0);
    shell_say(r->shell, t->peer, &m);
    room_hear(r);
    assert_int_equal(t->selections, 0);
    report(r, 1, 0, easy);
    assert_told(t, 1, 0, 4, 4, 2, 2);
    room_free(r);
}

/* ---- over a restart -------------------------------------------------------------------------- */

static void save(struct room *r, struct disk *disk)
{
    struct rows rows = {0};

    assert_int_equal(engine_capture(&r->shell->engine, &rows), 0);
    disk_write(disk, &rows);
    engine_committed(&r->shell->engine);
    rows_deinit(&rows);
}

/* What the lease of the first rank was answered, as another life finds it. */
static struct message_share share_after(const struct disk *disk, uint32_t *out_flags)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = settings_of(2);
    struct message_share share;
    struct reason why;
    struct room *r;
    const struct lease *l;

    settings.durable = true;
    r = room_with(&settings, &job);
    assert_int_equal(disk_restore(disk, &r->shell->engine, &why), 0);
    assert_int_equal(engine_restore_end(&r->shell->engine, 0, &why), 0);
    l = lease_find(&r->job->leases, 0);
    assert_true(l != NULL && l->state == LEASE_SETTLED);
    share = l->answer.share;
    *out_flags = l->answer.flags;
    room_free(r);
    return share;
}

static void the_disk_says_late_until_the_round_is_answered(void **state)
{
    struct job_settings job = settings_of(2);
    struct room *r = room_of_two(&job, true);
    struct disk disk = {0};
    struct message_share share;
    uint32_t flags;

    (void)state;
    save(r, &disk);
    (void)room_work(r);
    report(r, 0, 0, hard);
    save(r, &disk);
    share = share_after(&disk, &flags);
    assert_true(share.present == 0 && share.scale == 0);
    assert_int_equal(flags, SELECTION_FLAG_LATE);
    report(r, 1, 0, easy);
    save(r, &disk);
    share = share_after(&disk, &flags);
    assert_true(share.present == 2 && share.count == 4 && share.scale == 2);
    assert_int_equal(flags, 0);
    room_free(r);
    disk_deinit(&disk);
}

/* The first trainer comes back with this batch. */
static void say_hello_holding(struct room *r, const struct token *held)
{
    const struct trainer *t = &r->trainers[0];
    struct message m = {.type = MESSAGE_HELLO};

    m.hello = (struct message_hello){
        .major = PROTO_MAJOR,
        .minor = PROTO_MINOR,
        .key = t->key,
        .memory = job_memory(r->job, r->shell->engine.settings.memory),
        .held = {held, 1},
    };
    memcpy(m.hello.job, t->job, sizeof m.hello.job);
    shell_say(r->shell, t->peer, &m);
    room_hear(r);
    assert_int_equal(t->welcomes, 1);
}

/* A job of before, whose trainers had other ranks, or were answered each by itself. */
static void a_job_may_have_rounds_from_a_restart_on(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = settings_of(0);
    struct disk disk = {0};
    struct room *before, *r;
    struct reason why;

    (void)state;
    settings.durable = true;
    before = room_with(&settings, &job);
    before->trainers[1].rank = 40000;
    room_hello(before, &before->trainers[0]);
    room_hello(before, &before->trainers[1]);
    save(before, &disk);
    (void)room_work(before);
    report(before, 0, 0, hard);
    assert_told(&before->trainers[0], 1, 0, 2, 2, 1, 1);
    save(before, &disk);

    job = settings_of(2);
    r = room_with(&settings, &job);
    assert_int_equal(disk_restore(&disk, &r->shell->engine, &why), 0);
    assert_int_equal(engine_restore_end(&r->shell->engine, 0, &why), 0);
    trainer_hello(&r->trainers[1]); /* by its key */
    assert_refused(r, &r->trainers[1], OHEM_INVALID, MESSAGE_HELLO);
    r->trainers[1].rank = 40000;
    trainer_hello(&r->trainers[1]);
    assert_refused(r, &r->trainers[1], OHEM_INVALID, MESSAGE_HELLO);
    assert_text_has(&r->trainers[1], "rank 40000: job 'train' has rounds of 2 ranks");
    say_hello_holding(r, &before->trainers[0].held[0].parcel->m.batch.token);
    {
        struct message m = trainer_loss_message(&before->trainers[0], &before->trainers[0].held[0]);

        shell_say(r->shell, r->trainers[0].peer, &m);
        room_hear(r);
    }
    assert_told(&r->trainers[0], 1, SELECTION_FLAG_REPEATED, 2, 2, 1, 1);
    room_free(r);
    room_free(before);
    disk_deinit(&disk);
}

static void what_a_round_cannot_have_is_refused(void **state)
{
    struct room *r = room_in_rounds();
    struct trainer *t = &r->trainers[0];
    struct message m = trainer_loss_message(t, &t->held[0]);
    const uint32_t counts[K] = {1, 1, 1, 1};

    (void)state;
    m.loss.select.rule = RULE_ALL;
    shell_say(r->shell, t->peer, &m);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_LOSS);
    assert_text_has(t, "round = 2");
    m = trainer_loss_message(t, &t->held[0]);
    m.loss.items.counts = (struct vector){counts, K};
    shell_say(r->shell, t->peer, &m);
    assert_refused(r, t, OHEM_INVALID, MESSAGE_LOSS);
    assert_text_has(t, "ragged");
    assert_int_equal(r->job->lsn, 0);
    r->trainers[2].rank = 2;
    trainer_hello(&r->trainers[2]);
    assert_refused(r, &r->trainers[2], OHEM_INVALID, MESSAGE_HELLO);
    assert_text_has(&r->trainers[2], "rank 2: job 'train' has rounds of 2 ranks, 0..1 (round)");
    room_free(r);
}

static void a_batch_of_which_a_round_would_be_too_large_is_refused(void **state)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = settings_of(64);
    struct room *r;

    (void)state;
    job.dataset.instance_count = 1u << 20;
    r = room_with(&settings, &job);
    r->trainers[0].batch_size = 16385;
    trainer_hello(&r->trainers[0]);
    assert_refused(r, &r->trainers[0], OHEM_TOO_LARGE, MESSAGE_HELLO);
    assert_text_has(&r->trainers[0], "batch size 16385: job 'train' has rounds of 64 ranks");
    r->trainers[0].batch_size = 16384;
    room_hello(r, &r->trainers[0]);
    assert_int_equal(r->trainers[0].welcomes, 1);
    room_free(r);
}

static void in_shadow_all_are_selected_and_the_status_tells(void **state)
{
    struct job_settings job = settings_of(2);
    struct room *r;

    (void)state;
    job.selection.mode = SELECTION_SHADOW;
    r = room_of_two(&job, false);
    (void)room_work(r);
    report(r, 0, 0, easy);
    report(r, 1, 0, hard);
    assert_told(&r->trainers[0], 1, 0, 4, 8, 2, 1);
    assert_int_equal(r->job->shadow.reports, 2);
    assert_int_equal(r->job->shadow.instances, 8);
    assert_int_equal(r->job->shadow.selected, 4);
    assert_true(r->job->shadow.selected_loss == 100 && r->job->shadow.loss == 110);
    room_free(r);
}

static void the_share_of_a_schedule_is_that_of_the_latest_step(void **state)
{
    struct job_settings job = settings_of(2);
    struct room *r;

    (void)state;
    job.selection.keep_from = 1;
    job.selection.keep_steps = 1; /* all at step 0, half of them from step 1 on */
    r = room_of_two(&job, false);
    (void)room_work(r);
    assert_int_equal(r->trainers[0].held[0].parcel->m.batch.token.step, 0);
    report(r, 0, 0, easy);
    report(r, 1, 0, hard);
    assert_told(&r->trainers[1], 1, 0, 4, 4, 2, 2);
    room_free(r);
}

TEST_MAIN(TEST(both_ranks_are_answered_together_and_the_scores_wait_for_nobody),
          TEST(a_repeat_waits_for_the_round_and_then_gets_the_same_answer),
          TEST(a_rank_that_says_nothing_delays_the_other_once),
          TEST(a_session_that_ends_is_not_waited_for), TEST(the_newest_session_has_the_rank),
          TEST(a_batch_that_is_given_back_is_in_its_round_all_the_same),
          TEST(a_repeat_of_what_was_given_back_waits_with_its_round),
          TEST(the_disk_says_late_until_the_round_is_answered),
          TEST(a_job_may_have_rounds_from_a_restart_on), TEST(what_a_round_cannot_have_is_refused),
          TEST(a_batch_of_which_a_round_would_be_too_large_is_refused),
          TEST(the_share_of_a_schedule_is_that_of_the_latest_step),
          TEST(in_shadow_all_are_selected_and_the_status_tells))
