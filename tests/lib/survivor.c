/* survivor.c - keeps, and says again; see survivor.h. */
#include "survivor.h"

#include "../../proto/error.h"
#include "world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_MS 50 /* trainers do not speak with each other: their steps follow the clock */

void survivor_init(struct survivor *s, uint32_t number, size_t job)
{
    uint64_t halves[2] = {rng_mix(number + 1), rng_mix(UINT64_C(0xabcd) + number)};

    *s = (struct survivor){.number = number, .job = job};
    memcpy(s->key.bytes, halves, sizeof halves);
    TAILQ_INIT(&s->box);
}

static void free_batch(struct survivor_batch *b)
{
    free(b->ids);
    free(b->losses);
}

void survivor_deinit(struct survivor *s)
{
    survivor_lose_mail(s, 0);
    for (uint32_t i = 0; i < s->batch_count; i++)
        free_batch(&s->batches[i]);
    s->batch_count = 0;
}

/* ---- the box -------------------------------------------------------------------------------- */

static void free_mail(struct survivor_mail *mail)
{
    if (mail->m.type == MESSAGE_BATCH)
        free((void *)(uintptr_t)mail->m.batch.ids.data);
    free(mail);
}

void survivor_post(struct survivor *s, const struct message *m)
{
    struct survivor_mail *mail = calloc(1, sizeof *mail);

    assert(mail != NULL);
    mail->m = *m;
    TAILQ_INSERT_TAIL(&s->box, mail, queue);
    s->box_count++;
}

void survivor_lose_mail(struct survivor *s, size_t left)
{
    for (; s->box_count > left; s->box_count--) {
        struct survivor_mail *mail = TAILQ_LAST(&s->box, survivor_box);

        TAILQ_REMOVE(&s->box, mail, queue);
        free_mail(mail);
    }
}

/* ---- what it has ---------------------------------------------------------------------------- */

static struct survivor_batch *find(struct survivor *s, struct token token)
{
    for (uint32_t i = 0; i < s->batch_count; i++)
        if (token_equal(s->batches[i].token, token))
            return &s->batches[i];
    return NULL;
}

uint32_t survivor_count_held(const struct survivor *s)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->batch_count; i++)
        count += s->batches[i].held;
    return count;
}

uint32_t survivor_count_kept(const struct survivor *s)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->batch_count; i++)
        count += s->batches[i].kept;
    return count;
}

/* What is neither held nor kept any more is gone. The order stays. */
static void sweep(struct survivor *s)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->batch_count; i++)
        if (s->batches[i].held || s->batches[i].kept)
            s->batches[count++] = s->batches[i];
        else
            free_batch(&s->batches[i]);
    s->batch_count = count;
}

/* The kept report with the least number above this one, or NULL. */
static struct survivor_batch *next_kept(struct survivor *s, uint64_t seq)
{
    struct survivor_batch *least = NULL;

    for (uint32_t i = 0; i < s->batch_count; i++) {
        struct survivor_batch *b = &s->batches[i];

        if (b->kept && b->seq > seq && (least == NULL || b->seq < least->seq))
            least = b;
    }
    return least;
}

/* ---- speaking ------------------------------------------------------------------------------- */

static size_t list_tokens(const struct survivor *s, bool held, struct token *out)
{
    size_t count = 0;

    for (uint32_t i = 0; i < s->batch_count; i++)
        if (held ? s->batches[i].held : !s->batches[i].held && s->batches[i].kept)
            out[count++] = s->batches[i].token;
    for (uint32_t i = 0; held && i < s->credit_count; i++)
        out[count++] = s->credits[i];
    return count;
}

void survivor_hello(struct world *w, struct survivor *s)
{
    struct token held[SURVIVOR_BATCHES_MAX + MESSAGE_CREDIT_MAX], kept[SURVIVOR_BATCHES_MAX];
    struct message m = {.type = MESSAGE_HELLO};

    m.hello = (struct message_hello){.major = PROTO_MAJOR,
                                     .minor = PROTO_MINOR,
                                     .key = s->key,
                                     .rank = referee_rank_of(&w->referees[s->job], s->number),
                                     .batch_size = s->batch_size,
                                     .credit = s->credit,
                                     .memory = s->welcome.memory};
    (void)snprintf(m.hello.job, sizeof m.hello.job, "%s", world_job_name(w, s));
    m.hello.held = (struct vector){held, list_tokens(s, true, held)};
    m.hello.kept = (struct vector){kept, list_tokens(s, false, kept)};
    assert(m.hello.held.count <= MESSAGE_CREDIT_MAX);
    s->welcomed = false;
    world_say(w, s, &m);
}

/* Every third step it flags some instances, and wants another rule than the job's. */
static void add_wishes(struct message_loss *loss, bool in_round)
{
    static uint8_t flags[MESSAGE_BATCH_SIZE_MAX];

    if (loss->token.step % 3 != 0)
        return;
    for (size_t i = 0; i < loss->losses.count; i++)
        flags[i] =
            (uint8_t)((i % 5 == 0 ? LOSS_FLAG_POSITIVE : 0) | (i % 7 == 3 ? LOSS_FLAG_IGNORED : 0));
    loss->flags = (struct vector){flags, loss->losses.count};
    if (!in_round)
        loss->select = (struct message_select){.rule = RULE_NEGPOS, .count = 2, .value = 1.5};
}

struct message survivor_loss(struct survivor *s, struct survivor_batch *b)
{
    struct message m = {.type = MESSAGE_LOSS};

    m.loss = (struct message_loss){
        .key = s->key, .token = b->token, .seq = b->seq, .losses = {b->losses, b->count}};
    if (b->boot != s->welcome.boot || b->session != s->welcome.session)
        m.loss.ids = (struct vector){b->ids, b->count};
    m.loss.round = b->round;
    add_wishes(&m.loss, s->welcome.round > 0);
    return m;
}

void survivor_report(struct world *w, struct survivor *s, struct survivor_batch *b)
{
    struct message m;

    if (b->seq == 0) {
        b->seq = ++s->seq;
        b->round = w->now_ms / ROUND_MS > s->round ? w->now_ms / ROUND_MS : s->round;
        s->round = b->round + 1;
        b->kept = true;
        world_note_report(w, s, b->token, b->seq);
    }
    if (!s->welcomed)
        return; /* it is said after WELCOME */
    m = survivor_loss(s, b);
    world_say(w, s, &m);
}

static void say_credit(struct world *w, struct survivor *s, struct token token)
{
    struct message m = {.type = MESSAGE_CREDIT};

    m.credit.key = s->key;
    m.credit.token = token;
    world_say(w, s, &m);
}

void survivor_release(struct world *w, struct survivor *s, struct survivor_batch *b)
{
    struct token token = b->token;
    bool kept = b->kept;

    b->held = false;
    sweep(s);
    if (s->welcomed)
        say_credit(w, s, token);
    else if (!kept) /* else its CREDIT follows the report that is said again */
        s->credits[s->credit_count++] = token;
}

void survivor_ping(struct world *w, struct survivor *s)
{
    struct message m = {.type = MESSAGE_PING};

    m.ping.key = s->key;
    m.ping.nonce = 1;
    world_say(w, s, &m);
}

void survivor_sync(struct world *w, struct survivor *s)
{
    struct message m = {.type = MESSAGE_SYNC};

    s->sync_seq = s->seq;
    m.sync.key = s->key;
    m.sync.seq = s->sync_seq;
    if (s->welcomed && s->sync_seq > s->durable_seq)
        world_say(w, s, &m);
}

void survivor_bye(struct world *w, struct survivor *s)
{
    struct message m = {.type = MESSAGE_BYE};

    m.bye.key = s->key;
    world_say(w, s, &m);
    s->gone = true;
}

/* ---- hearing -------------------------------------------------------------------------------- */

static void say_again(struct world *w, struct survivor *s)
{
    uint64_t seq = 0;
    struct survivor_batch *b;

    while ((b = next_kept(s, seq)) != NULL) {
        bool held = b->held;
        struct token token = b->token;

        seq = b->seq;
        survivor_report(w, s, b);
        if (!held)
            say_credit(w, s, token);
    }
    for (uint32_t i = 0; i < s->credit_count; i++)
        say_credit(w, s, s->credits[i]);
    s->credit_count = 0;
    if (s->sync_seq > s->durable_seq)
        survivor_sync(w, s);
}

static void hear_welcome(struct world *w, struct survivor *s, const struct message_welcome *m)
{
    CHECK(s->welcome.session == 0 || m->memory == s->welcome.memory, "the memory was lost");
    CHECK(m->durable == 1, "the memory is called mortal");
    if (m->session != s->welcome.session)
        s->durable_said = 0;
    s->welcome = *m;
    s->welcomed = true;
    s->batch_size = m->batch_size;
    s->credit = m->credit;
    say_again(w, s);
}

static void fill(struct survivor *s, struct survivor_batch *b, const struct message_batch *m)
{
    *b = (struct survivor_batch){.token = m->token,
                                 .boot = s->welcome.boot,
                                 .session = s->welcome.session,
                                 .count = m->count,
                                 .held = true};
    b->ids = malloc(m->count * sizeof *b->ids);
    b->losses = malloc(m->count * sizeof *b->losses);
    assert(b->ids != NULL && b->losses != NULL);
    memcpy(b->ids, m->ids.data, m->count * sizeof *b->ids);
    for (uint32_t i = 0; i < m->count; i++)
        b->losses[i] = trainer_loss(b->ids[i], m->token.step, s->broken_share);
}

/* As libohem counts: a batch beyond the credit is a fault of the daemon's. */
static void hear_batch(struct survivor *s, const struct message_batch *m)
{
    struct survivor_batch *b = find(s, m->token);

    if (b != NULL && b->held)
        return;
    CHECK(survivor_count_held(s) < s->credit,
          "a batch (step %" PRIu64 ") comes to %u beyond the credit of %u", m->token.step,
          s->number, s->credit);
    if (b != NULL)
        return; /* it is released, its report is kept: CREDIT is on its way */
    CHECK(s->batch_count < SURVIVOR_BATCHES_MAX, "too many reports are kept");
    fill(s, &s->batches[s->batch_count++], m);
}

static void take_durable(struct survivor *s, uint64_t seq)
{
    CHECK(seq == 0 || seq >= s->durable_said, "durable was %" PRIu64 " to %u, and now is %" PRIu64,
          s->durable_said, s->number, seq);
    s->durable_said = seq > 0 ? seq : s->durable_said; /* 0: also who has no session is told */
    s->durable_seq = seq > s->durable_seq ? seq : s->durable_seq;
    for (uint32_t i = 0; i < s->batch_count; i++)
        if (s->batches[i].answered && s->batches[i].seq <= s->durable_seq)
            s->batches[i].kept = false;
    sweep(s);
}

static void hear_selection(struct survivor *s, const struct message_selection *m)
{
    struct survivor_batch *b = find(s, m->token);

    if (b != NULL && b->seq == m->seq) /* an earlier life's answer counts for nothing then */
        b->answered = (m->flags & SELECTION_FLAG_EARLY) == 0;
    take_durable(s, m->durable_seq);
}

static void hear_error(struct world *w, struct survivor *s, const struct message_error *m)
{
    struct survivor_batch *b = find(s, m->token);

    if (m->code == OHEM_NO_SESSION) {
        if (s->welcomed)
            survivor_hello(w, s);
    } else if (m->about == MESSAGE_HELLO) {
        s->gone = m->code != OHEM_DRAINING; /* then it asks the next daemon */
    } else if (m->about == MESSAGE_LOSS && b != NULL && b->seq != 0) {
        b->answered = true;
        b->kept = false;
        sweep(s);
    }
}

static void hear(struct world *w, struct survivor *s, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_WELCOME:
        hear_welcome(w, s, &m->welcome);
        break;
    case MESSAGE_BATCH:
        hear_batch(s, &m->batch);
        break;
    case MESSAGE_SELECTION:
        hear_selection(s, &m->selection);
        break;
    case MESSAGE_ERROR:
        hear_error(w, s, &m->error);
        break;
    case MESSAGE_PONG:
        if (s->welcomed && m->pong.boot != s->welcome.boot)
            survivor_hello(w, s);
        else
            take_durable(s, m->pong.durable_seq);
        break;
    case MESSAGE_DURABLE:
        take_durable(s, m->durable.seq);
        break;
    default:
        break;
    }
}

void survivor_hear(struct world *w, struct survivor *s)
{
    struct survivor_mail *mail = TAILQ_FIRST(&s->box);

    if (mail == NULL)
        return;
    TAILQ_REMOVE(&s->box, mail, queue);
    s->box_count--;
    hear(w, s, &mail->m);
    free_mail(mail);
}
