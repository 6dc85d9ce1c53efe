/* witness.c - what must be said between trainers and an engine; see witness.h. */
#include "witness.h"

#include "../../proto/error.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- what the engine says ------------------------------------------------------------------- */

static struct seat *seat_of_key(struct witness *w, const struct session_key *key, uint64_t *number)
{
    for (*number = w->seat_count; *number > 0; --*number)
        if (w->seats[*number].alive && session_key_equal(&w->seats[*number].key, key))
            return &w->seats[*number];
    return NULL;
}

/* The session that may speak under this key from this peer; it is heard. */
static struct seat *heard(struct witness *w, const struct session_key *key, uint64_t peer,
                          uint64_t *number)
{
    struct seat *s = seat_of_key(w, key, number);

    if (s == NULL || s->peer != peer)
        return NULL;
    s->heard_ms = w->shell->now_ms;
    s->unreachable = false;
    return s;
}

/* The one answer to what was just said; it is handed to the trainer if the link lets it through.
 * @return without its vectors */
static struct message answer(struct witness *w, struct player *p)
{
    struct parcel *parcel = shell_take(w->shell);
    struct message m;

    CHECK(parcel != NULL, "no answer");
    CHECK(parcel->peer == p->trainer.peer, "the answer went to another");
    CHECK(TAILQ_EMPTY(&w->shell->parcels), "more than one answer");
    m = parcel->m;
    if (parcel->lost)
        parcel_free(parcel);
    else
        trainer_hear(&p->trainer, parcel);
    return m;
}

static void expect_error(const struct message *m, int code, uint32_t about)
{
    CHECK(m->type == MESSAGE_ERROR, "answered by message type %d, not by error %d", m->type, code);
    CHECK(m->error.code == (uint32_t)code && m->error.about == about,
          "error %u (%s) about %u, not %d about %u", m->error.code, m->error.text, m->error.about,
          code, about);
}

/* ---- what a trainer says -------------------------------------------------------------------- */

void witness_hello(struct witness *w, struct player *p)
{
    struct trainer *t = &p->trainer;
    uint64_t number;
    struct seat *s = seat_of_key(w, &t->key, &number);
    struct token held[MESSAGE_CREDIT_MAX];
    struct message m;

    for (uint32_t i = 0; i < t->held_count; i++)
        held[i] = t->held[i].parcel->m.batch.token;
    if (s != NULL) {
        ledger_resume(&w->ledgers[s->job], number, held, t->held_count);
    } else {
        trainer_drop_all(t); /* who went on with them would claim them: that is the simulation's */
        CHECK(w->seat_count + 1 < WITNESS_SEATS_MAX, "too many sessions for this test");
        number = ++w->seat_count;
        s = &w->seats[number];
        *s = (struct seat){.key = t->key, .credit = t->credit, .job = p->job, .alive = true};
    }
    s->peer = t->peer;
    s->heard_ms = w->shell->now_ms;
    s->unreachable = false;
    trainer_hello(t);
    m = answer(w, p);
    CHECK(m.type == MESSAGE_WELCOME && m.welcome.session == number, "no welcome to %" PRIu64,
          number);
    p->joined = true;
}

static void forget_session(struct player *p)
{
    p->joined = false;
    trainer_drop_all(&p->trainer);
}

void witness_loss(struct witness *w, struct player *p, const struct message *loss)
{
    struct ledger_verdict v = {.code = OHEM_NO_SESSION};
    uint64_t number;
    struct seat *s = heard(w, &loss->loss.key, p->trainer.peer, &number);
    struct message m;

    if (s != NULL) {
        v = ledger_report(&w->ledgers[s->job], number, &loss->loss);
        ledger_ping(&w->ledgers[s->job], number, w->shell->now_ms); /* it lives */
    }
    shell_say(w->shell, p->trainer.peer, loss);
    m = answer(w, p);
    w->reports_late += v.flags == SELECTION_FLAG_LATE;
    if (v.code != 0) {
        expect_error(&m, v.code, MESSAGE_LOSS);
        CHECK(token_equal(m.error.token, loss->loss.token), "the error names another token");
        if (v.code == OHEM_NO_SESSION && session_key_equal(&loss->loss.key, &p->trainer.key))
            forget_session(p);
        return;
    }
    CHECK(m.type == MESSAGE_SELECTION, "a report is answered by type %d: %s", m.type,
          m.type == MESSAGE_ERROR ? m.error.text : "");
    CHECK(token_equal(m.selection.token, loss->loss.token) && m.selection.seq == v.seq &&
              m.selection.lsn == v.lsn && m.selection.flags == v.flags,
          "the answer is number %" PRIu64 " with flags %u, not %" PRIu64 " with %u",
          m.selection.lsn, m.selection.flags, v.lsn, v.flags);
}

void witness_report(struct witness *w, struct player *p, struct trainer_batch *b)
{
    struct message m = trainer_loss_message(&p->trainer, b);

    witness_loss(w, p, &m);
}

void witness_release(struct witness *w, struct player *p, struct trainer_batch *b)
{
    struct token token = b->parcel->m.batch.token;
    uint64_t number;
    struct seat *s = heard(w, &p->trainer.key, p->trainer.peer, &number);
    int code = s != NULL ? ledger_release(&w->ledgers[s->job], number, token) : OHEM_NO_SESSION;
    struct message m;

    if (s != NULL)
        ledger_ping(&w->ledgers[s->job], number, w->shell->now_ms); /* it lives */
    trainer_release(&p->trainer, b);
    if (code == 0) {
        CHECK(TAILQ_EMPTY(&w->shell->parcels), "CREDIT is answered");
        return;
    }
    m = answer(w, p);
    expect_error(&m, code, MESSAGE_CREDIT);
    if (code == OHEM_NO_SESSION)
        forget_session(p);
}

void witness_ping(struct witness *w, struct player *p)
{
    uint64_t number;
    struct seat *s = heard(w, &p->trainer.key, p->trainer.peer, &number);
    struct message m;

    if (s != NULL)
        ledger_ping(&w->ledgers[s->job], number, w->shell->now_ms);
    trainer_ping(&p->trainer);
    m = answer(w, p);
    if (s != NULL) {
        CHECK(m.type == MESSAGE_PONG, "a PING is answered by type %d", m.type);
        return;
    }
    expect_error(&m, OHEM_NO_SESSION, MESSAGE_PING);
    forget_session(p);
}

void witness_bye(struct witness *w, struct player *p)
{
    uint64_t number;
    struct seat *s = heard(w, &p->trainer.key, p->trainer.peer, &number);
    struct message m;

    if (s != NULL) {
        ledger_end(&w->ledgers[s->job], number);
        s->alive = false;
    }
    trainer_bye(&p->trainer);
    m = answer(w, p);
    if (s != NULL)
        CHECK(m.type == MESSAGE_BYE, "a BYE is answered by type %d", m.type);
    else
        expect_error(&m, OHEM_NO_SESSION, MESSAGE_BYE);
    forget_session(p);
}

/* ---- the engine's own doing ----------------------------------------------------------------- */

static struct seat *seat_of_peer(struct witness *w, uint64_t peer, uint64_t *number)
{
    for (*number = w->seat_count; *number > 0; --*number)
        if (w->seats[*number].alive && w->seats[*number].peer == peer)
            return &w->seats[*number];
    return NULL;
}

static void handed_out(struct witness *w, struct parcel *parcel)
{
    uint64_t number;
    struct seat *s = seat_of_peer(w, parcel->peer, &number);
    struct ledger *l;
    struct player *p = w->players;

    CHECK(parcel->m.type == MESSAGE_BATCH && s != NULL, "a batch for nobody");
    l = &w->ledgers[s->job];
    CHECK(l->job == engine_find_job(&w->shell->engine, parcel->job), "a batch of another job");
    CHECK(!s->unreachable, "a batch for an unreachable session");
    w->batches_resent += parcel->m.batch.token.step < l->lease_count;
    s->failed |= w->shell->links[s->peer] == SHELL_LINK_DOWN;
    ledger_handed_out(l, parcel, number, w->shell->now_ms);
    if (w->shell->links[s->peer] == SHELL_LINK_DOWN)
        l->leases[parcel->m.batch.token.step].resend = true; /* and the engine is told */
    CHECK(ledger_held(l, number) <= s->credit, "session %" PRIu64 " holds more than its credit",
          number);
    while (p < w->players + w->player_count && p->trainer.peer != parcel->peer)
        p++;
    if (!parcel->lost && p < w->players + w->player_count && !p->dead && p->joined)
        trainer_hear(&p->trainer, parcel);
    else
        parcel_free(parcel);
}

void witness_work(struct witness *w, size_t batches)
{
    struct parcel *parcel;
    size_t drawn = shell_work(w->shell, batches);

    while ((parcel = shell_take(w->shell)) != NULL)
        handed_out(w, parcel);
    for (uint64_t i = 1; i <= w->seat_count; i++) {
        struct seat *s = &w->seats[i];
        const struct ledger *l = &w->ledgers[s->job];

        s->unreachable |= s->failed;
        s->failed = false;
        CHECK(!s->alive || s->unreachable || drawn == batches ||
                  (ledger_held(l, i) == s->credit && ledger_resends(l, i) == 0),
              "session %" PRIu64 " goes hungry", i);
    }
}

/* A session may only be forgotten when it was silent for long; it must be when nothing of it can
 * be reported either. */
static void look_who_is_forgotten(struct witness *w)
{
    for (uint64_t i = 1; i <= w->seat_count; i++) {
        struct seat *s = &w->seats[i];
        struct ledger *l = &w->ledgers[s->job];
        const struct session *known = map_get(&w->shell->engine.by_key, session_key_hash(&s->key));
        bool silent = s->heard_ms + l->lease_ms + l->late_ms <= w->shell->now_ms;

        if (!s->alive)
            continue;
        if (known != NULL && known->number == i) {
            CHECK(!silent || ledger_held_in(l, i, LEDGER_OPEN) > 0 ||
                      ledger_held_in(l, i, LEDGER_RETURNED) > 0,
                  "session %" PRIu64 " is never forgotten", i);
            continue;
        }
        CHECK(silent, "session %" PRIu64 " is forgotten too soon", i);
        ledger_end(l, i);
        s->alive = false;
        w->sessions_forgotten++;
    }
}

void witness_pass_time(struct witness *w, uint64_t ms, size_t hops)
{
    shell_advance(w->shell, ms, hops);
    CHECK(TAILQ_EMPTY(&w->shell->parcels), "time makes the engine talk");
    for (size_t i = 0; i < w->job_count; i++)
        ledger_tick(&w->ledgers[i], w->shell->now_ms);
    look_who_is_forgotten(w);
}
