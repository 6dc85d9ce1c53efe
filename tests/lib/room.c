/* room.c - the room; see room.h. */
#include "room.h"

#include "../../proto/error.h"

#include <stdlib.h>
#include <string.h>

struct room *room_with(const struct engine_settings *settings,
                       const struct job_settings *job_settings)
{
    struct room *r = calloc(1, sizeof *r);

    assert_non_null(r);
    r->shell = shell_new(settings);
    r->job = shell_add_job(r->shell, job_settings);
    for (uint64_t i = 0; i < TRAINERS; i++)
        trainer_init(&r->trainers[i], r->shell, job_settings->name, i);
    return r;
}

struct room *room_new(void)
{
    struct engine_settings settings = shell_settings();
    struct job_settings job = shell_job("train", N);

    job.batch_size = K;
    job.credit = CREDIT;
    job.lease_ms = LEASE_MS;
    job.late_ms = LATE_MS;
    return room_with(&settings, &job);
}

void room_free(struct room *r)
{
    for (uint64_t i = 0; i < TRAINERS; i++)
        trainer_deinit(&r->trainers[i]);
    shell_free(r->shell);
    free(r);
}

void room_hear(struct room *r)
{
    trainer_hear_all(r->trainers, TRAINERS);
}

void room_hello(struct room *r, struct trainer *t)
{
    trainer_hello(t);
    room_hear(r);
}

size_t room_work(struct room *r)
{
    size_t drawn = shell_work(r->shell, ENOUGH);

    room_hear(r);
    return drawn;
}

void room_report(struct room *r, struct trainer *t, uint32_t i)
{
    trainer_report(t, &t->held[i]);
    room_hear(r);
}

void room_release(struct room *r, struct trainer *t, uint32_t i)
{
    trainer_release(t, &t->held[i]);
    room_hear(r);
}

struct room *room_at_work(void)
{
    struct room *r = room_new();

    room_hello(r, &r->trainers[0]);
    assert_int_equal(room_work(r), CREDIT);
    assert_int_equal(r->trainers[0].held_count, CREDIT);
    return r;
}

void assert_refused(struct room *r, struct trainer *t, int code, enum message_type about)
{
    uint64_t before = t->errors;

    room_hear(r);
    assert_int_equal(t->errors, before + 1);
    assert_int_equal(t->error.code, code);
    assert_int_equal(t->error.about, about);
    assert_true(strlen(t->error.text) > 0);
}

void assert_text_has(const struct trainer *t, const char *part)
{
    if (strstr(t->error.text, part) == NULL)
        fail_msg("'%s' does not say '%s'", t->error.text, part);
}

struct message room_message(enum message_type type, struct session_key key, struct token token)
{
    static const float one = 1;
    struct message m = {.type = type};

    if (type == MESSAGE_LOSS) {
        m.loss.key = key;
        m.loss.token = token;
        m.loss.losses = (struct vector){.data = &one, .count = 1};
    } else if (type == MESSAGE_CREDIT) {
        m.credit.key = key;
        m.credit.token = token;
    } else if (type == MESSAGE_PING) {
        m.ping.key = key;
    } else if (type == MESSAGE_READY) {
        m.ready.key = key;
    } else {
        m.bye.key = key;
    }
    return m;
}

static const enum message_type session_types[] = {MESSAGE_LOSS, MESSAGE_CREDIT, MESSAGE_PING,
                                                  MESSAGE_BYE, MESSAGE_READY};

void assert_no_session_for(struct room *r, struct trainer *t, const struct session_key *key)
{
    const struct token token = {.step = 3, .tag = 4};

    for (size_t i = 0; i < sizeof session_types / sizeof session_types[0]; i++) {
        struct message m = room_message(session_types[i], *key, token);

        shell_say(r->shell, t->peer, &m);
        assert_refused(r, t, OHEM_NO_SESSION, session_types[i]);
        if (session_types[i] == MESSAGE_LOSS || session_types[i] == MESSAGE_CREDIT)
            assert_true(token_equal(t->error.token, token));
    }
}
