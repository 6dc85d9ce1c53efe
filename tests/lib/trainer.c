/* trainer.c - the fake trainers; see trainer.h. */
#include "trainer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOSS_SALT UINT64_C(0x1055)

float trainer_loss(uint64_t id, uint64_t step, uint32_t broken_share)
{
    uint64_t x = rng_mix(rng_mix(id + LOSS_SALT) ^ step);
    double hard = 0.1 + (double)(rng_mix(id) % 1000) / 100; /* some instances are harder */

    if (rng_mix(x) % 1000 < broken_share) {
        static const float strange[] = {NAN, INFINITY, -INFINITY, -1.5f, 0.0f, -0.0f, 1e-30f};

        return strange[x % (sizeof strange / sizeof strange[0])];
    }
    return (float)(hard * (0.5 + rng_unit(x)));
}

void trainer_init(struct trainer *t, struct shell *shell, const char *job, uint64_t key)
{
    uint64_t halves[2] = {rng_mix(key + 1), rng_mix(~key)};

    *t = (struct trainer){.shell = shell, .peer = shell_new_peer(shell)};
    assert(strlen(job) < sizeof t->job);
    memcpy(t->job, job, strlen(job) + 1);
    memcpy(t->key.bytes, halves, sizeof halves);
}

void trainer_deinit(struct trainer *t)
{
    trainer_drop_all(t);
}

/* ---- what it holds -------------------------------------------------------------------------- */

static struct trainer_batch *find(struct trainer *t, struct token token)
{
    for (uint32_t i = 0; i < t->held_count; i++)
        if (token_equal(t->held[i].parcel->m.batch.token, token))
            return &t->held[i];
    return NULL;
}

void trainer_drop(struct trainer *t, struct trainer_batch *b)
{
    assert(b >= t->held && b < t->held + t->held_count);
    parcel_free(b->parcel);
    free(b->losses);
    memmove(b, b + 1, (size_t)(t->held + --t->held_count - b) * sizeof *b);
}

void trainer_drop_all(struct trainer *t)
{
    while (t->held_count > 0)
        trainer_drop(t, &t->held[t->held_count - 1]);
}

static void keep(struct trainer *t, struct parcel *p)
{
    const struct message_batch *m = &p->m.batch;
    struct trainer_batch b = {.parcel = p, .losses = malloc((m->count + 1) * sizeof *b.losses)};

    assert(b.losses != NULL && find(t, m->token) == NULL);
    assert(t->held_count < t->welcome.credit); /* never more than was agreed */
    for (uint32_t i = 0; i < m->count; i++)
        b.losses[i] = trainer_loss(vector_u64(m->ids, i), m->token.step, t->broken_share);
    t->held[t->held_count++] = b;
    t->batches++;
}

/* ---- what it hears -------------------------------------------------------------------------- */

static void hear_selection(struct trainer *t, const struct message_selection *s)
{
    struct trainer_batch *b = find(t, s->token);

    t->selection = *s;
    t->selection.indices.data = t->selection.weights.data = NULL;
    t->selections++;
    if (b == NULL)
        return; /* released before the answer to a repeated report came */
    assert(s->indices.count <= b->parcel->m.batch.count);
    b->answered = true;
}

void trainer_hear(struct trainer *t, struct parcel *p)
{
    assert(p->peer == t->peer);
    switch (p->m.type) {
    case MESSAGE_WELCOME:
        if (p->m.welcome.session != t->welcome.session)
            trainer_drop_all(t); /* the old session's batches are nobody's */
        t->welcome = p->m.welcome;
        t->welcomes++;
        break;
    case MESSAGE_BATCH:
        keep(t, p);
        return;
    case MESSAGE_SELECTION:
        hear_selection(t, &p->m.selection);
        break;
    case MESSAGE_ERROR:
        t->error = p->m.error;
        t->errors++;
        break;
    case MESSAGE_PONG:
        t->pongs++;
        break;
    default: /* nothing else is ever said to a trainer */
        assert(p->m.type == MESSAGE_BYE);
        t->byes++;
    }
    parcel_free(p);
}

void trainer_hear_all(struct trainer *trainers, size_t count)
{
    struct parcel *p;

    while ((p = shell_take(trainers->shell)) != NULL) {
        size_t i = 0;

        while (i < count && (p->lost || trainers[i].peer != p->peer))
            i++;
        if (i < count)
            trainer_hear(&trainers[i], p);
        else
            parcel_free(p);
    }
}

/* ---- what it says --------------------------------------------------------------------------- */

void trainer_hello(struct trainer *t)
{
    struct message m = {.type = MESSAGE_HELLO};
    struct token held[MESSAGE_CREDIT_MAX];

    for (uint32_t i = 0; i < t->held_count; i++)
        held[i] = t->held[i].parcel->m.batch.token;
    m.hello = (struct message_hello){
        .major = PROTO_MAJOR,
        .minor = PROTO_MINOR,
        .key = t->key,
        .rank = t->rank,
        .batch_size = t->batch_size,
        .credit = t->credit,
        .agent = "test",
        .held = {.data = held, .count = t->held_count},
    };
    memcpy(m.hello.job, t->job, sizeof m.hello.job);
    shell_say(t->shell, t->peer, &m);
}

struct message trainer_loss_message(struct trainer *t, struct trainer_batch *b)
{
    struct message m = {.type = MESSAGE_LOSS};

    if (b->seq == 0) {
        b->seq = ++t->seq;
        b->round = t->round++;
    }
    m.loss.key = t->key;
    m.loss.token = b->parcel->m.batch.token;
    m.loss.seq = b->seq;
    m.loss.round = b->round;
    m.loss.losses = (struct vector){.data = b->losses, .count = b->parcel->m.batch.count};
    return m;
}

void trainer_report(struct trainer *t, struct trainer_batch *b)
{
    struct message m = trainer_loss_message(t, b);

    shell_say(t->shell, t->peer, &m);
}

void trainer_release(struct trainer *t, struct trainer_batch *b)
{
    struct message m = {.type = MESSAGE_CREDIT};

    m.credit.key = t->key;
    m.credit.token = b->parcel->m.batch.token;
    trainer_drop(t, b);
    shell_say(t->shell, t->peer, &m);
}

void trainer_ping(struct trainer *t)
{
    struct message m = {.type = MESSAGE_PING};

    m.ping.key = t->key;
    m.ping.nonce = t->pongs;
    shell_say(t->shell, t->peer, &m);
}

void trainer_bye(struct trainer *t)
{
    struct message m = {.type = MESSAGE_BYE};

    m.bye.key = t->key;
    shell_say(t->shell, t->peer, &m);
}

void trainer_lie(struct message *m, enum trainer_lie lie, const struct trainer *other,
                 float *losses)
{
    struct message_loss *l = &m->loss;

    assert(l->losses.count > 0);
    memcpy(losses, l->losses.data, l->losses.count * sizeof *losses);
    losses[l->losses.count] = 1;
    l->losses.data = losses;
    if (lie == TRAINER_LIE_SHORT)
        l->losses.count--;
    else if (lie == TRAINER_LIE_LONG)
        l->losses.count++;
    else if (lie == TRAINER_LIE_TAG)
        l->token.tag ^= UINT64_C(1) << (l->token.step % 64);
    else if (lie == TRAINER_LIE_STEP)
        l->token.step += 1 + l->token.tag % 3;
    else if (lie == TRAINER_LIE_LOSSES)
        *(unsigned char *)&losses[l->losses.count - 1] ^= 1; /* the last bit */
    if (lie == TRAINER_LIE_FOREIGN || lie == TRAINER_LIE_KEY)
        l->token = other->held[0].parcel->m.batch.token;
    if (lie == TRAINER_LIE_KEY)
        l->key = other->key;
}
