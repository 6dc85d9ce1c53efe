/* recovery.c - a job's earlier life, and its next; see recovery.h. */
#include "recovery.h"

#include "test.h"
#include "trainer.h"

#include <string.h>

#define TRAINERS 6u

/* ---- the life before ---------------------------------------------------------------------------
 */

static struct job_settings settings_of(uint32_t staleness)
{
    struct job_settings s = shell_job("job", RECOVERY_N);

    s.durable = true;
    s.batch_size = RECOVERY_K;
    s.staleness = staleness;
    s.text = "as it was begun";
    return s;
}

static void save(struct shell *s, struct disk *to)
{
    struct rows rows = {0};

    assert_int_equal(engine_capture(&s->engine, &rows), 0);
    disk_write(to, &rows);
    rows_deinit(&rows);
    engine_committed(&s->engine);
}

static void draw(struct trainer *trainers)
{
    (void)shell_work(trainers->shell, TRAINERS * RECOVERY_CREDIT);
    trainer_hear_all(trainers, TRAINERS);
}

static void report_and_release(struct trainer *t, uint32_t left)
{
    while (t->held_count > left) {
        trainer_report(t, &t->held[0]);
        trainer_release(t, &t->held[0]);
    }
}

static void pass(struct trainer *trainers, struct disk *to)
{
    trainer_hear_all(trainers, TRAINERS);
    shell_advance(trainers->shell, 300, SIZE_MAX);
    save(trainers->shell, to);
}

/* Two work; one reports a batch and falls silent, as the others always were. In the end one leaves
 * with its batches, the first holds a batch that it has reported and one that it has not. */
static void work(struct trainer *trainers, struct disk *to)
{
    for (uint32_t round = 0; round < 7; round++) {
        draw(trainers);
        report_and_release(&trainers[0], 0);
        report_and_release(&trainers[2], 0);
        if (round == 2)
            trainer_report(&trainers[1], &trainers[1].held[0]);
        pass(trainers, to);
    }
    draw(trainers);
    report_and_release(&trainers[0], 2);
    trainer_report(&trainers[0], &trainers[0].held[0]);
    trainer_bye(&trainers[2]);
    pass(trainers, to);
}

static void live(uint32_t staleness, struct disk *to)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = settings_of(staleness);
    struct trainer trainers[TRAINERS];
    struct shell *s;

    settings.durable = true;
    s = shell_new(&settings);
    (void)shell_add_job(s, &job);
    assert_int_equal(engine_restore_end(&s->engine, s->now_ms, NULL), 0); /* there was nothing */
    for (uint64_t i = 0; i < TRAINERS; i++) {
        trainer_init(&trainers[i], s, "job", i);
        trainers[i].batch_size = RECOVERY_K;
        trainers[i].credit = RECOVERY_CREDIT;
        trainer_hello(&trainers[i]);
    }
    trainer_hear_all(trainers, TRAINERS);
    save(s, to);
    work(trainers, to);
    for (size_t i = 0; i < TRAINERS; i++)
        trainer_deinit(&trainers[i]);
    shell_free(s);
}

static void assert_on_disk(const struct disk *d, const enum rows_table *tables, size_t count)
{
    for (size_t i = 0, at = 0; i < count; i++, at = 0) {
        while (at < d->count && d->rows[at].key.table != tables[i])
            at++;
        if (at == d->count)
            fail_msg("no row of table %d", (int)tables[i]);
    }
}

/* ---- a new one ---------------------------------------------------------------------------------
 */

static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    (void)ctx;
    (void)peer;
    (void)m;
    return 0;
}

int recovery_begin(struct recovery *r)
{
    struct engine_settings settings = shell_settings();
    int rc;

    settings.durable = true;
    settings.sessions_max = 1; /* fewer than come back */
    r->why.text[0] = '\0';
    rc = engine_init(&r->engine, &settings, &(struct engine_out){.send = send_cb});
    if (rc != 0)
        return rc;
    rc = engine_add_job(&r->engine, &r->settings, &r->why);
    r->job = engine_find_job(&r->engine, "job");
    return rc;
}

int recovery_restore(struct recovery *r)
{
    int rc = disk_restore(&r->disk, &r->engine, &r->why);

    return rc == 0 ? engine_restore_end(&r->engine, RECOVERY_NOW_MS, &r->why) : rc;
}

int recovery_start(struct recovery *r)
{
    int rc = recovery_begin(r);

    if (rc == 0)
        rc = recovery_restore(r);
    if (rc != 0)
        engine_deinit(&r->engine);
    return rc;
}

void recovery_open(struct recovery *r, uint32_t staleness)
{
    static const enum rows_table all[] = {ROWS_JOB,   ROWS_SESSION, ROWS_LEASE, ROWS_STEPS,
                                          ROWS_CHUNK, ROWS_JOURNAL, ROWS_TEXT};
    const enum rows_table other = staleness > 0 ? ROWS_BATCH : ROWS_POOL;

    *r = (struct recovery){.settings = settings_of(staleness)};
    live(staleness, &r->disk);
    assert_on_disk(&r->disk, all, sizeof all / sizeof all[0]);
    assert_on_disk(&r->disk, &other, 1);
}

void recovery_close(struct recovery *r)
{
    engine_deinit(&r->engine);
    rows_deinit(&r->rows);
    disk_deinit(&r->disk);
}

void recovery_hand_out(struct recovery *r)
{
    struct session *s;

    assert_int_equal(engine_capture(&r->engine, &r->rows), 0);
    engine_committed(&r->engine);
    TAILQ_FOREACH (s, &r->job->sessions, of_job)
        for (job_prepare(r->job, RECOVERY_NOW_MS); job_ready(r->job, s);)
            assert_non_null(job_draw(r->job, s, RECOVERY_NOW_MS));
}
