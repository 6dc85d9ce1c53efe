/* world.c - lives of a daemon; see world.h. */
#include "world.h"

#include "../../proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY       UINT64_C(0x3e3027)
#define CLOCK_MAX_MS 5000000u
#define SAVES_MAX    200u /* then the engine never has enough */

uint64_t world_roll(struct world *w, uint64_t sides)
{
    w->dice += UINT64_C(0x9e3779b97f4a7c15);
    return rng_mix(w->dice) % sides;
}

bool world_chance(struct world *w, uint64_t per_mille)
{
    return world_roll(w, 1000) < per_mille;
}

void world_trace(struct world *w, const char *format, ...)
{
    size_t room = WORLD_TRACE_BYTES - w->trace_size;
    va_list args;
    int size;

    if (room < 300)
        return;
    size = snprintf(w->trace + w->trace_size, room, "%8" PRIu64 "  ", w->now_ms);
    w->trace_size += (size_t)size;
    va_start(args, format);
    size = vsnprintf(w->trace + w->trace_size, 250, format, args);
    va_end(args);
    w->trace_size += (size_t)(size < 250 ? size : 249);
    w->trace[w->trace_size++] = '\n';
    w->trace[w->trace_size] = '\0';
}

const char *world_job_name(const struct world *w, const struct survivor *s)
{
    return w->jobs[s->job].name;
}

struct oracle *world_oracle(struct world *w, const struct survivor *s)
{
    return &w->oracles[s->job];
}

static uint64_t clock_of(const struct world *w)
{
    return w->now_ms + w->clock_ms;
}

static struct survivor *find_by_key(struct world *w, const struct session_key *key)
{
    for (size_t i = 0; i < w->survivor_count; i++)
        if (session_key_equal(&w->survivors[i].key, key))
            return &w->survivors[i];
    return NULL;
}

/* Who hears what is sent to this peer, or NULL. */
static struct survivor *find_by_peer(struct world *w, uint64_t peer)
{
    for (size_t i = 0; i < w->survivor_count; i++)
        if (w->survivors[i].peer == peer)
            return &w->survivors[i];
    return NULL;
}

static bool hears(const struct survivor *s)
{
    return s != NULL && !s->dead && !s->cut;
}

/* ---- what the engine sends ------------------------------------------------------------------- */

static uint64_t stir(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Reports of every fourth step are ragged now and then, and then no selection is as the other. */
static bool may_be_ragged(struct token token)
{
    return token.step % 4 == 1;
}

static struct oracle_answer selection_answer(const struct message_selection *m, bool in_round)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    if (in_round || may_be_ragged(m->token)) /* what a round selects is the referee's to judge */
        return (struct oracle_answer){.flags = m->flags, .seq = m->seq, .lsn = m->lsn};
    hash = stir(hash, &m->nonfinite_count, sizeof m->nonfinite_count);
    hash = stir(hash, &m->all, sizeof m->all);
    hash = stir(hash, &m->kept, sizeof m->kept);
    hash = stir(hash, m->indices.data, m->indices.count * sizeof(uint32_t));
    hash = stir(hash, m->weights.data, m->weights.count * sizeof(float));
    return (struct oracle_answer){
        .flags = m->flags, .seq = m->seq, .lsn = m->lsn, .selected = hash | 1};
}

/* The instances' losses are those that the items were made from, and all items are accounted for.
 */
static void check_items(const struct world *w, const struct message_selection *m)
{
    const struct vector *losses = &w->said->loss.losses;

    CHECK(m->scores.count == losses->count &&
              memcmp(m->scores.data, losses->data, losses->count * sizeof(float)) == 0,
          "step %" PRIu64 " was reported by items, and its scores are others", m->token.step);
    CHECK(m->all.count + m->nonfinite_count + m->ignored_count == w->said_items,
          "%zu items were reported", w->said_items);
    CHECK(m->kept.count > 0 || m->all.count == 0,
          "a selection follows from its items, whatever is forgotten");
}

/* The answer to what is being said, for the judge. */
static void note_answer(struct world *w, const struct message *m)
{
    bool in_round = w->jobs[w->speaker->job].round.ranks > 0;

    if (m->type == MESSAGE_SELECTION && in_round && !token_equal(m->selection.token, w->asked))
        return; /* a round of before is answered, too */
    if (m->type == MESSAGE_SELECTION && w->said_items > 0)
        check_items(w, &m->selection);
    if (m->type == MESSAGE_SELECTION)
        w->share = m->selection.share;
    if (m->type == MESSAGE_SELECTION)
        w->answer = selection_answer(&m->selection, in_round);
    else if (m->type == MESSAGE_ERROR)
        w->answer = (struct oracle_answer){.code = (int)m->error.code};
    else if (m->type != MESSAGE_WELCOME && m->type != MESSAGE_PONG && m->type != MESSAGE_BYE)
        return;
    CHECK(w->answered == 0, "two answers to one message");
    w->answered = m->type;
}

static void check_durable(struct world *w, const struct survivor *s, const struct message *m)
{
    const struct oracle *o = world_oracle(w, s);

    if (m->type == MESSAGE_SELECTION)
        oracle_durable(o, s->number, m->selection.durable_seq);
    else if (m->type == MESSAGE_PONG)
        oracle_durable(o, s->number, m->pong.durable_seq);
    else if (m->type == MESSAGE_DURABLE)
        oracle_durable(o, s->number, m->durable.seq);
}

/* By the token: the connection may be of the past. */
static void tell_referee(struct world *w, const struct message_selection *m)
{
    for (size_t i = 0; i < w->job_count; i++) {
        const struct oracle_batch *b = oracle_find(&w->oracles[i], m->token);

        if (b != NULL)
            referee_told(&w->referees[i], b->owner, m);
    }
}

static int send_cb(void *ctx, uint64_t peer, const struct message *m)
{
    struct world *w = ctx;
    struct survivor *s = find_by_peer(w, peer);
    struct message copy = *m;

    if (m->type == MESSAGE_SELECTION)
        tell_referee(w, &m->selection);
    if (s == NULL)
        return -OHEM_UNREACHABLE;
    if (w->speaker == s)
        note_answer(w, m);
    check_durable(w, s, m);
    if (m->type == MESSAGE_WELCOME) {
        scribe_welcomed(&w->scribes[s->job], s->number, m->welcome.session);
        referee_welcomed(&w->referees[s->job], s->number, m->welcome.session);
    }
    if (!hears(s))
        return s->dead ? -OHEM_UNREACHABLE : 0;
    if (m->type == MESSAGE_ERROR)
        world_trace(w, "    to %u: error %u about %u, step %" PRIu64 ": %s", s->number,
                    m->error.code, m->error.about, m->error.token.step, m->error.text);
    if (w->speaker == s && w->lies)
        return 0;
    if (m->type == MESSAGE_SELECTION) /* what it selects was looked at */
        copy.selection.indices = copy.selection.weights = (struct vector){0};
    survivor_post(s, &copy);
    return 0;
}

static void post_batch(struct survivor *s, const struct engine_delivery *d)
{
    const struct lease *l = d->lease;
    struct message m = {.type = MESSAGE_BATCH};
    uint64_t *ids = malloc(l->count * sizeof *ids);

    assert(ids != NULL);
    for (uint32_t i = 0; i < l->count; i++)
        ids[i] = l->ids[i];
    m.batch.token = l->token;
    m.batch.count = l->count;
    m.batch.coverage_count = l->coverage_count;
    m.batch.ids = (struct vector){ids, l->count};
    survivor_post(s, &m);
}

static void compare(struct world *w, const struct survivor *s, const struct lease *l)
{
    const uint32_t *ids;

    if (!w->compares || w->jobs[s->job].staleness == 0)
        return;
    ids = undisturbed_ids(&w->undisturbed[s->job], l->token.step);
    CHECK(memcmp(ids, l->ids, l->count * sizeof *ids) == 0,
          "step %" PRIu64 " has other ids than in the undisturbed run", l->token.step);
}

static void deliver_cb(void *ctx, const struct engine_delivery *d)
{
    struct world *w = ctx;
    struct survivor *s = find_by_key(w, &d->session->key);

    assert(s != NULL);
    CHECK(d->slot < d->session->credit && d->session->credit <= MESSAGE_CREDIT_MAX, "slot %u of %u",
          d->slot, d->session->credit);
    world_trace(w, "    to %u: batch, step %" PRIu64 ", %u of %u coverage", s->number,
                d->lease->token.step, d->lease->coverage_count, d->lease->count);
    if (oracle_handed_out(world_oracle(w, s), s->number, d->lease, w->now_ms))
        s->active_ms = w->now_ms;
    compare(w, s, d->lease);
    scribe_handed_out(&w->scribes[s->job], s->number, d);
    if (hears(s) && d->session->peer == s->peer) {
        post_batch(s, d);
    } else if (s->number % 2 == 0) { /* of half of them it is noticed */
        assert(w->failure_count < sizeof w->failures / sizeof w->failures[0]);
        w->failures[w->failure_count++] = (struct world_failure){d->session->peer, d->lease->token};
    }
}

static void ended_cb(void *ctx, const struct session *session)
{
    struct world *w = ctx;
    struct survivor *s = find_by_key(w, &session->key);
    const struct job_settings *j;

    assert(s != NULL);
    j = &w->jobs[s->job];
    CHECK(w->says_bye || w->drains || w->now_ms - s->active_ms >= j->lease_ms + j->late_ms,
          "the session of %u ends after %" PRIu64 " ms", s->number, w->now_ms - s->active_ms);
    world_trace(w, "    the session of %u ends", s->number);
    w->forgotten += !w->says_bye && !w->drains;
    referee_ended(&w->referees[s->job], s->number);
    oracle_ended(world_oracle(w, s), s->number);
}

/* ---- what survivors say ---------------------------------------------------------------------- */

struct survivor *world_add_survivor(struct world *w, size_t job)
{
    struct survivor *s = &w->survivors[w->survivor_count];

    assert(w->survivor_count < WORLD_SURVIVORS_MAX);
    survivor_init(s, (uint32_t)w->survivor_count++, job);
    world_connect(w, s);
    return s;
}

void world_connect(struct world *w, struct survivor *s)
{
    s->peer = ++w->peer_count;
    s->cut = false;
}

void world_note_report(struct world *w, const struct survivor *s, struct token token, uint64_t seq)
{
    struct oracle_batch *b = oracle_find(world_oracle(w, s), token);

    assert(b != NULL && b->owner == s->number);
    b->seq = seq;
}

static void judge_hello(struct world *w, struct survivor *s, const struct message_hello *hello)
{
    CHECK(w->answered == MESSAGE_WELCOME || w->answered == MESSAGE_ERROR, "HELLO has no answer");
    if (w->answered != MESSAGE_WELCOME)
        return;
    if (s->known_peer != s->peer) /* of a new session nothing is on lease */
        oracle_resumed(world_oracle(w, s), s->number, hello);
    s->known_peer = s->peer;
}

/* Its answer is held back, or was not: it is taken when it comes. */
static void judge_in_round(struct world *w, struct survivor *s, const struct message_loss *loss)
{
    struct oracle *o = world_oracle(w, s);
    struct referee *f = &w->referees[s->job];
    const struct oracle_batch *b = oracle_find(o, loss->token);
    bool late = b == NULL || oracle_mark_of(o, b)->lease != ORACLE_OPEN;
    bool waits = w->answered == 0 || w->share.present > 0;
    struct oracle_answer taken = {
        .flags = late ? SELECTION_FLAG_LATE : 0, .seq = loss->seq, .lsn = o->now.applied_count + 1};
    float losses[MESSAGE_BATCH_SIZE_MAX];

    if (referee_holds(f, s->number, loss->token)) {
        assert(b != NULL);
        CHECK(w->answered != MESSAGE_ERROR || w->answer.code == OHEM_CONFLICT ||
                  loss->losses.count != b->count || loss->ids.count > 0,
              "error %d for a report that waits", w->answer.code);
        return;
    }
    if (w->answered == MESSAGE_ERROR || (w->answer.flags & SELECTION_FLAG_REPEATED) != 0) {
        (void)oracle_reported(o, s->number, loss, &w->answer, w->now_ms);
        if (w->answered == MESSAGE_SELECTION)
            referee_repeated(f, s->number, loss->round);
        return;
    }
    CHECK(w->answered == 0 || w->answer.lsn == taken.lsn, "a report is number %" PRIu64,
          w->answer.lsn);
    if (!oracle_reported(o, s->number, loss, &taken, w->now_ms))
        return;
    assert(b != NULL);
    for (uint32_t i = 0; i < b->count; i++)
        losses[i] = oracle_loss(o, b, i);
    referee_taken(f, s->number, loss, losses, waits, late, taken.lsn, w->now_ms);
}

static void judge_loss(struct world *w, struct survivor *s, const struct message_loss *loss)
{
    struct oracle *o = world_oracle(w, s);

    if (referee_is_on(&w->referees[s->job])) {
        judge_in_round(w, s, loss);
        oracle_heard(o, s->number, w->now_ms);
        return;
    }

    CHECK(w->answered == MESSAGE_SELECTION || w->answered == MESSAGE_ERROR, "LOSS has no answer");
    CHECK(w->answer.code != 0 || w->answer.seq == loss->seq, "another number came back");
    (void)oracle_reported(o, s->number, loss, &w->answer, w->now_ms);
    oracle_heard(o, s->number, w->now_ms);
}

/* A trainer that was refused gives its batch back, and a daemon that died since may know it as
 * open: then the step counts as released, and what follows is another run. */
static void judge_credit(struct world *w, struct survivor *s, struct token token)
{
    struct oracle *o = world_oracle(w, s);
    const struct oracle_batch *b = oracle_find(o, token);

    oracle_credited(o, s->number, token, w->answer.code);
    oracle_heard(o, s->number, w->now_ms);
    if (b != NULL && oracle_mark_of(o, b)->fate == ORACLE_RELEASED)
        w->compares = false;
}

static void judge(struct world *w, struct survivor *s, const struct message *m)
{
    struct oracle *o = world_oracle(w, s);

    switch (m->type) {
    case MESSAGE_HELLO:
        judge_hello(w, s, &m->hello);
        break;
    case MESSAGE_LOSS:
        judge_loss(w, s, &m->loss);
        break;
    case MESSAGE_CREDIT:
        judge_credit(w, s, m->credit.token);
        break;
    case MESSAGE_PING:
        CHECK(w->answered == MESSAGE_PONG, "PING has no answer");
        oracle_heard(o, s->number, w->now_ms);
        break;
    default:
        break;
    }
}

static const char *name_of(enum message_type type)
{
    switch (type) {
#define NAME(name, number) \
    case MESSAGE_##name: \
        return #name;
        MESSAGE_TYPES(NAME)
#undef NAME
    }
    return "?";
}

static void settle_rounds(struct world *w)
{
    for (size_t i = 0; i < w->job_count; i++)
        referee_settle(&w->referees[i], w->now_ms);
}

static void trace_say(struct world *w, const struct survivor *s, const struct message *m)
{
    struct token token = m->type == MESSAGE_LOSS     ? m->loss.token
                         : m->type == MESSAGE_CREDIT ? m->credit.token
                                                     : (struct token){0};

    world_trace(w, "%u says %s, step %" PRIu64 "%s%s", s->number, name_of(m->type), token.step,
                m->type == MESSAGE_LOSS && m->loss.ids.count > 0 ? ", with ids" : "",
                s->cut ? ", and it is lost" : "");
}

static bool all_finite(struct vector losses)
{
    for (size_t i = 0; i < losses.count; i++)
        if (!isfinite(vector_f32(losses, i)))
            return false;
    return true;
}

/* The same report as a ragged one: one to three items an instance, none harder than the first. */
static struct message make_ragged(const struct message *m)
{
    static float items[3 * MESSAGE_BATCH_SIZE_MAX];
    static uint32_t counts[MESSAGE_BATCH_SIZE_MAX];
    struct message ragged = *m;
    size_t n = 0, k = m->loss.losses.count;

    for (size_t i = 0; i < k; i++) {
        counts[i] = 1 + (uint32_t)((i + m->loss.token.step) % 3);
        for (uint32_t item = 0; item < counts[i]; item++)
            items[n++] = item == 0 ? vector_f32(m->loss.losses, i)
                                   : vector_f32(m->loss.losses, i) - (float)item;
    }
    ragged.loss.losses = (struct vector){items, n};
    ragged.loss.items.counts = (struct vector){counts, k};
    ragged.loss.flags = (struct vector){0};
    ragged.loss.select = (struct message_select){0};
    return ragged;
}

/* Said by items or not: to the judge it is the same report. A third step's has flags, and the
 * rule is part of what a plain repeat has to be the same in. */
static void tell_engine(struct world *w, const struct survivor *s, const struct message *m)
{
    bool by_items = m->type == MESSAGE_LOSS && !referee_is_on(&w->referees[s->job]) &&
                    may_be_ragged(m->loss.token) && m->loss.flags.count == 0 &&
                    all_finite(m->loss.losses) && (m->loss.seq + w->now_ms) % 2 == 0;
    struct message ragged;

    if (!by_items) {
        engine_message(&w->engine, s->peer, m, clock_of(w));
        return;
    }
    ragged = make_ragged(m);
    w->said = m;
    w->said_items = ragged.loss.losses.count;
    w->ragged++;
    engine_message(&w->engine, s->peer, &ragged, clock_of(w));
    w->said_items = 0;
}

void world_say(struct world *w, struct survivor *s, const struct message *m)
{
    trace_say(w, s, m);
    if (s->cut)
        return;
    assert(w->speaker == NULL);
    w->speaker = s;
    w->answered = (enum message_type)0;
    w->answer = (struct oracle_answer){0};
    w->share = (struct message_share){0};
    w->asked = m->type == MESSAGE_LOSS ? m->loss.token : (struct token){0};
    w->says_bye = m->type == MESSAGE_BYE;
    tell_engine(w, s, m);
    w->speaker = NULL;
    w->says_bye = false;
    if (w->answer.code != OHEM_NO_SESSION) {
        s->active_ms = w->now_ms;
        judge(w, s, m);
    }
    settle_rounds(w);
}

/* ---- drawing and time ------------------------------------------------------------------------ */

size_t world_work(struct world *w, size_t batches)
{
    size_t drawn = engine_work(&w->engine, batches, clock_of(w));

    for (size_t i = 0; i < w->failure_count; i++)
        engine_undelivered(&w->engine, w->failures[i].peer, w->failures[i].token, true);
    w->failure_count = 0;
    return drawn;
}

static void tick(struct world *w)
{
    for (size_t i = 0; i < w->job_count; i++)
        oracle_tick(&w->oracles[i], w->now_ms);
    engine_tick(&w->engine, clock_of(w));
    settle_rounds(w);
    CHECK(engine_next_due(&w->engine) > clock_of(w), "a tick leaves something due");
}

void world_pass(struct world *w, uint64_t ms, bool punctual)
{
    uint64_t end = w->now_ms + ms, due;

    while (punctual && (due = engine_next_due(&w->engine)) <= end + w->clock_ms) {
        w->now_ms = due - w->clock_ms;
        tick(w);
    }
    w->now_ms = end;
    tick(w);
}

/* ---- commits --------------------------------------------------------------------------------- */

void world_capture(struct world *w)
{
    assert(w->stage == WORLD_IDLE);
    rows_clear(&w->rows);
    CHECK(engine_capture(&w->engine, &w->rows) == 0, "there is memory for a capture");
    for (size_t i = 0; i < w->job_count; i++)
        oracle_capture(&w->oracles[i]), scribe_capture(&w->scribes[i]);
    for (size_t i = 0; i < w->job_count; i++)
        warden_capture(&w->wardens[i], engine_find_job(&w->engine, w->jobs[i].name));
    w->stage = WORLD_CAPTURED;
    world_trace(w, "captured, %zu rows", w->rows.count);
}

void world_write(struct world *w)
{
    assert(w->stage == WORLD_CAPTURED);
    disk_write(&w->disk, &w->rows);
    for (size_t i = 0; i < w->job_count; i++)
        oracle_written(&w->oracles[i]), scribe_written(&w->scribes[i]);
    for (size_t i = 0; i < w->job_count; i++)
        warden_written(&w->wardens[i]);
    w->stage = WORLD_WRITTEN;
    world_trace(w, "written");
}

void world_commit(struct world *w)
{
    assert(w->stage == WORLD_WRITTEN);
    w->stage = WORLD_IDLE;
    world_trace(w, "committed");
    engine_committed(&w->engine);
    for (size_t i = 0; i < w->job_count; i++)
        oracle_committed(&w->oracles[i]);
}

void world_save_all(struct world *w)
{
    size_t i = 0;

    for (; i < SAVES_MAX && (w->stage != WORLD_IDLE || engine_unsaved(&w->engine)); i++) {
        if (w->stage == WORLD_IDLE)
            world_capture(w);
        if (w->stage == WORLD_CAPTURED)
            world_write(w);
        world_commit(w);
    }
    CHECK(i < SAVES_MAX, "something is always left to be saved");
}

/* ---- lives ----------------------------------------------------------------------------------- */

/* The sessions that came back hold their ranks, the newest each. */
static void restore_ranks(struct world *w, size_t job)
{
    const struct job *j = engine_find_job(&w->engine, w->jobs[job].name);
    const struct session *s;

    TAILQ_FOREACH (s, &j->sessions, of_job)
        referee_welcomed(&w->referees[job], find_by_key(w, &s->key)->number, s->number);
    referee_settle(&w->referees[job], w->now_ms);
}

static void begin_life(struct world *w)
{
    struct engine_settings settings = shell_settings();
    struct engine_out out = {.ctx = w, .send = send_cb, .ended = ended_cb, .deliver = deliver_cb};
    struct reason why = {.text = ""};

    settings.boot = w->boot = ++w->lives;
    settings.memory = MEMORY;
    settings.durable = true;
    w->clock_ms = world_roll(w, CLOCK_MAX_MS); /* it may be behind what it was */
    w->stage = WORLD_IDLE;
    CHECK(engine_init(&w->engine, &settings, &out) == 0, "there is memory for an engine");
    for (size_t i = 0; i < w->job_count; i++)
        CHECK(engine_add_job(&w->engine, &w->jobs[i], &why) == 0, "%s", why.text);
    CHECK(disk_restore(&w->disk, &w->engine, &why) == 0, "restoring: %s", why.text);
    CHECK(engine_restore_end(&w->engine, clock_of(w), &why) == 0, "restoring: %s", why.text);
    for (size_t i = 0; i < w->job_count; i++)
        oracle_restored(&w->oracles[i], w->now_ms);
    for (size_t i = 0; i < w->job_count; i++)
        scribe_restored(&w->scribes[i], engine_find_job(&w->engine, w->jobs[i].name));
    for (size_t i = 0; i < w->job_count; i++)
        warden_restored(&w->wardens[i], engine_find_job(&w->engine, w->jobs[i].name));
    for (size_t i = 0; i < w->job_count; i++)
        restore_ranks(w, i);
    for (size_t i = 0; i < w->survivor_count; i++)
        w->survivors[i].active_ms = w->now_ms;
    world_trace(w, "life %" PRIu64 " begins, %zu rows", w->lives, w->disk.count);
    world_check(w, true);
    world_check_audit(w, 1);
}

/* What was on its way is lost, but perhaps the beginning of it. */
static void break_connections(struct world *w)
{
    for (size_t i = 0; i < w->survivor_count; i++) {
        struct survivor *s = &w->survivors[i];

        survivor_lose_mail(s, world_roll(w, s->box_count + 1));
        s->peer = ++w->peer_count;
    }
}

static void end_life(struct world *w, enum world_stage at)
{
    w->deaths[at]++;
    world_trace(w, "the daemon dies (%d)", (int)at);
    w->failure_count = 0;
    engine_deinit(&w->engine);
    for (size_t i = 0; i < w->job_count; i++)
        oracle_died(&w->oracles[i]), scribe_died(&w->scribes[i]), referee_died(&w->referees[i]);
    break_connections(w);
}

/* What the start changes (the steps that it reserves) is written before anything else; it may die
 * there, too. */
static void start(struct world *w)
{
    for (;;) {
        begin_life(w);
        world_capture(w);
        if (world_chance(w, 100)) {
            end_life(w, WORLD_STAGES);
            continue;
        }
        world_write(w);
        if (!world_chance(w, 100))
            break;
        end_life(w, WORLD_STAGES);
    }
    world_commit(w);
    world_check(w, true);
}

void world_drain(struct world *w)
{
    world_trace(w, "the daemon is going down");
    w->drains = true; /* whoever cannot be told is ended */
    engine_drain(&w->engine);
    w->drains = false;
    settle_rounds(w);
}

void world_die(struct world *w)
{
    end_life(w, w->stage);
    start(w);
}

void world_init(struct world *w)
{
    w->now_ms = 1000;
    w->trace = malloc(WORLD_TRACE_BYTES);
    w->survivors = calloc(WORLD_SURVIVORS_MAX, sizeof *w->survivors);
    assert(w->trace != NULL && w->survivors != NULL);
    for (size_t i = 0; i < w->job_count; i++)
        oracle_init(&w->oracles[i], &w->jobs[i]), referee_init(&w->referees[i], &w->jobs[i]);
    start(w);
}

void world_deinit(struct world *w)
{
    engine_deinit(&w->engine);
    for (size_t i = 0; i < w->survivor_count; i++)
        survivor_deinit(&w->survivors[i]);
    for (size_t i = 0; i < w->job_count; i++) {
        oracle_deinit(&w->oracles[i]);
        referee_deinit(&w->referees[i]);
        scribe_deinit(&w->scribes[i]), warden_deinit(&w->wardens[i]);
        undisturbed_deinit(&w->undisturbed[i]);
    }
    disk_deinit(&w->disk);
    rows_deinit(&w->rows);
    free(w->survivors);
    free(w->trace);
}

void world_check(struct world *w, bool all)
{
    for (size_t i = 0; i < w->job_count; i++)
        oracle_check(&w->oracles[i], engine_find_job(&w->engine, w->jobs[i].name), all);
    for (size_t i = 0; i < w->job_count; i++)
        referee_check(&w->referees[i], w->now_ms);
}

/* Its choice is no roll of the dice: to look changes nothing. */
void world_check_audit(struct world *w, uint32_t instances)
{
    for (size_t i = 0; i < w->job_count; i++) {
        const struct job *j = engine_find_job(&w->engine, w->jobs[i].name);
        uint32_t n = (uint32_t)w->jobs[i].dataset.instance_count;

        if (!w->jobs[i].audit)
            continue;
        for (uint32_t k = 0; k < (n < instances ? n : instances); k++)
            scribe_check(&w->scribes[i], &w->disk, j->saved.number, &w->oracles[i],
                         n <= instances ? k : (uint32_t)(rng_mix(w->dice + k) % n));
    }
}
