/* oracle.c - judges what a job answers, over all lives of its daemon; see oracle.h. */
#include "oracle.h"

#include "../../proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum where { FRESH, OUT, SETTLED, BACK };

static void *grown(void *memory, size_t count, size_t size)
{
    void *more = realloc(memory, (count > 0 ? count : 1) * size);

    assert(more != NULL);
    return more;
}

static void copy_array(void **to, const void *from, size_t count, size_t size)
{
    *to = grown(*to, count, size);
    if (count > 0)
        memcpy(*to, from, count * size);
}

/* ---- timelines ------------------------------------------------------------------------------ */

static void copy_time(struct oracle_time *to, const struct oracle_time *from, uint64_t n)
{
    struct oracle_time old = *to;

    *to = *from;
    to->marks = old.marks;
    to->applied = old.applied;
    to->taken = old.taken;
    to->where = old.where;
    to->below = old.below;
    to->epochs = old.epochs;
    copy_array((void **)&to->marks, from->marks, from->batch_count, sizeof *from->marks);
    copy_array((void **)&to->applied, from->applied, from->applied_count, sizeof *from->applied);
    copy_array((void **)&to->taken, from->taken, from->step_count, sizeof *from->taken);
    copy_array((void **)&to->where, from->where, from->epoch_count, n);
    copy_array((void **)&to->below, from->below, from->epoch_count, n);
    copy_array((void **)&to->epochs, from->epochs, from->epoch_count, sizeof *from->epochs);
}

static void free_time(struct oracle_time *t)
{
    free(t->marks);
    free(t->applied);
    free(t->taken);
    free(t->where);
    free(t->below);
    free(t->epochs);
}

void oracle_init(struct oracle *o, const struct job_settings *settings)
{
    *o = (struct oracle){.settings = *settings,
                         .n = settings->dataset.instance_count,
                         .strict = settings->staleness > 0};
    model_init(&o->memory, (uint32_t)o->n, (float)settings->lambda);
}

void oracle_deinit(struct oracle *o)
{
    for (size_t i = 0; i < o->batch_count; i++) {
        free(o->batches[i].ids);
        free(o->batches[i].epochs);
        free(o->batches[i].losses);
    }
    free(o->batches);
    free(o->touched);
    free_time(&o->now);
    free_time(&o->captured);
    free_time(&o->disk);
    model_deinit(&o->memory);
}

/* ---- epochs --------------------------------------------------------------------------------- */

static bool thins_out(const struct oracle *o)
{
    return o->settings.sampler.sampling == SAMPLER_INFOBATCH;
}

/* By the edges of the buckets, not by how the engine finds one. */
static unsigned bucket_of(double score)
{
    static double edges[PARTITION_BUCKETS];
    unsigned low = 0, high = PARTITION_BUCKETS; /* it is in low .. high - 1 */

    for (unsigned b = 1; b < PARTITION_BUCKETS && !(edges[1] > 0); b++)
        edges[PARTITION_BUCKETS - b] = partition_bucket_floor(PARTITION_BUCKETS - b);
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;

        if (score >= edges[middle])
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The bucket of the mean score, each as large as the middle of its own bucket; 0 without any. */
static unsigned mean_bucket(const struct model *m)
{
    double sum = 0, count = 0;

    for (uint32_t id = 0; id < m->n; id++)
        if (m->visits[id] > 0) {
            sum += partition_bucket_middle(bucket_of((double)m->score[id]));
            count++;
        }
    return count > 0 ? bucket_of(sum / count) : 0;
}

/* Its score is what it is now: for which epochs, from one on, may it be skipped? */
static void note_below(struct oracle *o, size_t epoch, uint32_t id)
{
    struct oracle_time *t = &o->now;
    unsigned bucket = bucket_of((double)o->memory.score[id]);

    for (; o->memory.visits[id] > 0 && epoch < t->epoch_count; epoch++)
        if (bucket < t->epochs[epoch].cut)
            t->below[epoch * o->n + id] = 1;
}

static void begin_epoch(struct oracle *o, size_t epoch)
{
    struct oracle_time *t = &o->now;

    t->where = grown(t->where, epoch + 1, o->n);
    memset(t->where + epoch * o->n, FRESH, o->n);
    t->below = grown(t->below, epoch + 1, o->n);
    memset(t->below + epoch * o->n, 0, o->n);
    t->epochs = grown(t->epochs, epoch + 1, sizeof *t->epochs);
    t->epochs[epoch] = (struct oracle_epoch){0};
    t->epoch_count = epoch + 1;
    if (!thins_out(o) || o->strict) /* that draws ahead of what is told here */
        return;
    t->epochs[epoch].cut = mean_bucket(&o->memory);
    for (uint32_t id = 0; id < o->n; id++)
        note_below(o, epoch, id);
}

static unsigned char *place(struct oracle *o, uint32_t epoch, uint32_t id)
{
    struct oracle_time *t = &o->now;

    CHECK(id < o->n, "there is no instance %u", id);
    CHECK(epoch <= t->epoch_count + 1, "epoch %u begins before %zu did", epoch, t->epoch_count);
    while (t->epoch_count <= epoch)
        begin_epoch(o, t->epoch_count);
    return &t->where[(size_t)epoch * o->n + id];
}

static void hand_out(struct oracle *o, uint32_t epoch, uint32_t id)
{
    unsigned char *at = place(o, epoch, id);
    struct oracle_epoch *e = &o->now.epochs[epoch];

    CHECK(*at == FRESH || *at == BACK, "instance %u is handed out again in epoch %u, being %s", id,
          epoch, *at == OUT ? "out" : "settled");
    o->now.back_count -= *at == BACK;
    e->repeated += *at == BACK;
    e->served++;
    *at = OUT;
}

static void settle(struct oracle *o, const struct oracle_batch *b, bool reported)
{
    for (uint32_t i = 0; i < b->coverage_count; i++) {
        unsigned char *at;
        struct oracle_epoch *e;

        if (o->strict)
            hand_out(o, b->epochs[i], b->ids[i]);
        at = place(o, b->epochs[i], b->ids[i]);
        e = &o->now.epochs[b->epochs[i]];
        CHECK(*at == OUT, "instance %u of epoch %u is settled, being not out", b->ids[i],
              b->epochs[i]);
        *at = SETTLED;
        e->reported += reported;
        e->released += !reported;
    }
}

static void give_back(struct oracle *o, const struct oracle_batch *b)
{
    for (uint32_t i = 0; !o->strict && i < b->coverage_count; i++) {
        unsigned char *at = place(o, b->epochs[i], b->ids[i]);

        CHECK(*at == OUT, "instance %u of epoch %u comes back, being not out", b->ids[i],
              b->epochs[i]);
        *at = BACK;
        o->now.back_count++;
        o->now.epochs[b->epochs[i]].returned++;
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

static size_t index_of(const struct oracle *o, const struct oracle_batch *b)
{
    return (size_t)(b - o->batches);
}

/* What a timeline knows of it: it may be older than the batch. */
static struct oracle_mark *mark_in(const struct oracle_time *t, size_t i)
{
    static struct oracle_mark none;

    none = (struct oracle_mark){0};
    return i < t->batch_count ? &t->marks[i] : &none;
}

/* To be written to: the timeline reaches as far as the batch. */
static struct oracle_mark *mark(struct oracle *o, const struct oracle_batch *b)
{
    struct oracle_time *t = &o->now;
    size_t i = index_of(o, b);

    if (i >= t->batch_count) {
        t->marks = grown(t->marks, i + 1, sizeof *t->marks);
        memset(t->marks + t->batch_count, 0, (i + 1 - t->batch_count) * sizeof *t->marks);
        t->batch_count = i + 1;
    }
    return &t->marks[i];
}

static void set_lease(struct oracle *o, const struct oracle_batch *b, enum oracle_lease lease)
{
    struct oracle_mark *m = mark(o, b);

    o->now.open_count -= m->lease == ORACLE_OPEN;
    m->lease = lease;
    o->now.open_count += m->lease == ORACLE_OPEN;
}

struct oracle_batch *oracle_find(const struct oracle *o, struct token token)
{
    for (size_t i = o->batch_count; i-- > 0;)
        if (token_equal(o->batches[i].token, token))
            return &o->batches[i];
    return NULL;
}

const struct oracle_mark *oracle_mark_of(const struct oracle *o, const struct oracle_batch *b)
{
    return mark_in(&o->now, index_of(o, b));
}

static uint32_t *taken(struct oracle *o, uint64_t step)
{
    struct oracle_time *t = &o->now;

    CHECK(step < 1000000, "step %" PRIu64 " is beyond all that was drawn", step);
    for (; t->step_count <= step; t->step_count++) {
        t->taken = grown(t->taken, t->step_count + 1, sizeof *t->taken);
        t->taken[t->step_count] = ORACLE_NONE;
    }
    return &t->taken[step];
}

static uint64_t hash_fate(const struct oracle *o, uint64_t hash, uint32_t by)
{
    const struct oracle_batch *b = &o->batches[by & ~ORACLE_RELEASE];

    if ((by & ORACLE_RELEASE) != 0)
        return rng_mix(hash + 1);
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t bits;

        memcpy(&bits, &b->losses[i], sizeof bits);
        hash = rng_mix(hash + 2 + bits);
    }
    return hash;
}

/* What a step's draw follows from, beside data set, seed and settings: a report that is gone with
 * its trainer and its daemon may become another, or none. */
static uint64_t history_of(struct oracle *o, uint64_t step)
{
    uint64_t hash = 0;

    for (uint64_t i = 0; o->strict && i + o->settings.staleness <= step; i++) {
        CHECK(*taken(o, i) != ORACLE_NONE,
              "step %" PRIu64 " is drawn, and step %" PRIu64 " is not settled", step, i);
        hash = hash_fate(o, hash, *taken(o, i));
    }
    return hash;
}

static struct oracle_batch *add_batch(struct oracle *o, uint32_t owner, const struct lease *l,
                                      uint64_t history, uint64_t now_ms)
{
    struct oracle_batch *b;

    if (o->batch_count == o->batch_capacity) {
        o->batch_capacity = 2 * o->batch_capacity + 64;
        o->batches = grown(o->batches, o->batch_capacity, sizeof *o->batches);
    }
    b = &o->batches[o->batch_count++];
    *b = (struct oracle_batch){.token = l->token,
                               .owner = owner,
                               .count = l->count,
                               .coverage_count = l->coverage_count,
                               .first_ms = now_ms,
                               .history = history};
    copy_array((void **)&b->ids, l->ids, l->count, sizeof *l->ids);
    copy_array((void **)&b->epochs, l->epochs, l->coverage_count, sizeof *l->epochs);
    b->losses = grown(NULL, l->count, sizeof *b->losses);
    return b;
}

static bool is_same_batch(const struct oracle_batch *b, const struct lease *l)
{
    return b->count == l->count && b->coverage_count == l->coverage_count &&
           memcmp(b->ids, l->ids, b->count * sizeof *b->ids) == 0 &&
           memcmp(b->epochs, l->epochs, b->coverage_count * sizeof *b->epochs) == 0;
}

/* No step is ever given to two different batches. */
static void check_step(const struct oracle *o, const struct lease *l, uint64_t history)
{
    for (size_t i = 0; i < o->batch_count; i++) {
        const struct oracle_batch *b = &o->batches[i];

        if (b->token.step != l->token.step)
            continue;
        CHECK(o->strict, "step %" PRIu64 " is given to a second batch", b->token.step);
        CHECK(is_same_batch(b, l) || b->history != history,
              "step %" PRIu64 " has other ids than before", b->token.step);
    }
}

/* In strict order an expired batch may go to the same session again. */
static bool may_go_again(const struct oracle *o, const struct oracle_mark *m)
{
    return m->lease == ORACLE_OPEN || (o->strict && m->lease != ORACLE_SETTLED);
}

bool oracle_handed_out(struct oracle *o, uint32_t owner, const struct lease *l, uint64_t now_ms)
{
    struct oracle_batch *b = oracle_find(o, l->token);
    struct oracle_mark *m;
    bool first = b == NULL;

    CHECK(l->count > 0 && l->coverage_count <= l->count, "an impossible batch");
    if (first) {
        uint64_t history = history_of(o, l->token.step);

        check_step(o, l, history);
        b = add_batch(o, owner, l, history, now_ms);
        for (uint32_t i = 0; !o->strict && i < b->coverage_count; i++)
            hand_out(o, b->epochs[i], b->ids[i]);
    } else {
        CHECK(b->owner == owner, "a batch of %u goes to %u", b->owner, owner);
        CHECK(is_same_batch(b, l), "a batch is sent again with other contents");
        CHECK(may_go_again(o, mark(o, b)), "a batch is sent again in lease state %d",
              (int)mark(o, b)->lease);
        o->again++;
    }
    m = mark(o, b);
    if (m->lease != ORACLE_OPEN)
        m->end_ms = now_ms + o->settings.lease_ms;
    set_lease(o, b, ORACLE_OPEN);
    return first;
}

/* ---- reports -------------------------------------------------------------------------------- */

static void touch(struct oracle *o, uint32_t id)
{
    if (o->touched_count == o->touched_capacity) {
        o->touched_capacity = 2 * o->touched_capacity + 256;
        o->touched = grown(o->touched, o->touched_capacity, sizeof *o->touched);
    }
    o->touched[o->touched_count++] = id;
}

float oracle_loss(const struct oracle *o, const struct oracle_batch *b, uint32_t place)
{
    const struct job_settings *s = &o->settings;
    uint32_t id = b->ids[place];

    return id < s->irreducible_count ? b->losses[place] - s->irreducible[id] : b->losses[place];
}

static void remember(struct oracle *o, const struct oracle_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        model_report(&o->memory, b->ids[i], oracle_loss(o, b, i), b->token.step);
        touch(o, b->ids[i]);
    }
    if (!thins_out(o) || o->strict)
        return;
    for (uint32_t i = 0; i < b->count; i++)
        note_below(o, 0, b->ids[i]);
}

static void apply(struct oracle *o, const struct oracle_batch *b, bool settles)
{
    struct oracle_time *t = &o->now;

    t->applied = grown(t->applied, t->applied_count + 1, sizeof *t->applied);
    t->applied[t->applied_count++] = (uint32_t)index_of(o, b);
    if (settles)
        settle(o, b, true);
    remember(o, b);
}

/* Strict order: what is taken is applied when its turn comes. */
static void apply_in_turn(struct oracle *o)
{
    uint32_t by;

    while (!o->now.held && (by = *taken(o, o->now.next_step)) != ORACLE_NONE) {
        o->now.held = (by & ORACLE_RELEASE) != 0;
        if (o->now.held)
            settle(o, &o->batches[by & ~ORACLE_RELEASE], false);
        else
            apply(o, &o->batches[by], true);
        o->now.next_step++;
    }
}

static bool is_genuine(const struct oracle_batch *b, uint32_t owner,
                       const struct message_loss *loss)
{
    if (b == NULL || b->owner != owner || loss->losses.count != b->count ||
        (loss->ids.count != 0 && loss->ids.count != b->count))
        return false;
    for (size_t i = 0; i < loss->ids.count; i++)
        if (vector_u64(loss->ids, i) != b->ids[i])
            return false;
    return true;
}

static bool has_same_losses(const struct oracle_batch *b, const struct message_loss *loss)
{
    return memcmp(b->losses, loss->losses.data, b->count * sizeof *b->losses) == 0;
}

/* Was it handed out so long ago that nothing need be taken for it any more? */
static bool is_old(const struct oracle *o, const struct oracle_batch *b, uint64_t now_ms)
{
    return now_ms - b->first_ms >= o->settings.lease_ms + o->settings.late_ms;
}

static bool other_was_taken(struct oracle *o, const struct oracle_batch *b)
{
    return o->strict && *taken(o, b->token.step) != ORACLE_NONE &&
           *taken(o, b->token.step) != index_of(o, b);
}

static void take(struct oracle *o, struct oracle_batch *b, const struct message_loss *loss,
                 const struct oracle_answer *a)
{
    struct oracle_mark *m = mark(o, b);
    bool was_open = m->lease == ORACLE_OPEN;

    CHECK(m->fate == ORACLE_NOT_REPORTED, "a report of step %" PRIu64 " is applied twice (fate %d)",
          b->token.step, (int)m->fate);
    CHECK(!other_was_taken(o, b), "step %" PRIu64 " is taken twice", b->token.step);
    CHECK(o->strict || ((a->flags & SELECTION_FLAG_LATE) != 0) != was_open,
          "a report of step %" PRIu64 " is flagged %u in lease state %d", b->token.step, a->flags,
          (int)m->lease);
    CHECK(o->strict || m->lease != ORACLE_CLOSED, "a report is applied after late_ms");
    memcpy(b->losses, loss->losses.data, b->count * sizeof *b->losses);
    m->fate = ORACLE_TAKEN;
    m->lsn = a->lsn;
    m->late = (a->flags & SELECTION_FLAG_LATE) != 0;
    if (m->lease == ORACLE_OPEN || m->lease == ORACLE_RETURNED)
        set_lease(o, b, ORACLE_SETTLED);
    o->reports++;
    o->late += !was_open;
    if (o->strict) {
        *taken(o, b->token.step) = (uint32_t)index_of(o, b);
        apply_in_turn(o);
        return;
    }
    apply(o, b, was_open);
    CHECK(a->lsn == o->now.applied_count, "report %zu is said to be number %" PRIu64,
          o->now.applied_count, a->lsn);
}

/* The same losses always select the same, if nobody is in quarantine. */
static void check_answer(struct oracle *o, struct oracle_batch *b, const struct oracle_answer *a)
{
    if ((a->flags & (SELECTION_FLAG_FORGOTTEN | SELECTION_FLAG_SUPERSEDED)) != 0)
        return;
    CHECK(b->selected == 0 || b->selected == a->selected || o->settings.quarantine.on,
          "the same losses of step %" PRIu64 " get another selection", b->token.step);
    CHECK(o->strict || a->lsn == mark(o, b)->lsn,
          "the report of step %" PRIu64 " was number %" PRIu64 " and now is %" PRIu64,
          b->token.step, mark(o, b)->lsn, a->lsn);
    CHECK(o->settings.round.ranks > 0 || /* that may have been over */
              mark(o, b)->late == ((a->flags & SELECTION_FLAG_LATE) != 0),
          "the report of step %" PRIu64 " was late, or was not, and now is flagged %u",
          b->token.step, a->flags);
    b->selected = a->selected;
}

/* When the batch is forgotten, what remains of its step does not say whose losses they were. */
static void judge_superseded(struct oracle *o, struct oracle_batch *b,
                             const struct message_loss *loss)
{
    const struct oracle_mark *m = mark(o, b);

    if (m->fate == ORACLE_TAKEN && m->lease != ORACLE_SETTLED && !has_same_losses(b, loss))
        return;
    CHECK(other_was_taken(o, b), "step %" PRIu64 " was not reported by another", b->token.step);
    if (mark(o, b)->lease == ORACLE_OPEN || mark(o, b)->lease == ORACLE_RETURNED)
        set_lease(o, b, ORACLE_SETTLED);
    mark(o, b)->fate = ORACLE_SUPERSEDED;
    b->refused = true; /* the step counts by another's report, now or when that is made again */
    o->superseded++;
}

static void judge_repeat(struct oracle *o, struct oracle_batch *b, const struct message_loss *loss,
                         const struct oracle_answer *a)
{
    const struct oracle_mark *m = mark(o, b);

    if (m->fate != ORACLE_TAKEN && other_was_taken(o, b)) { /* the same losses from another */
        judge_superseded(o, b, loss);
        return;
    }
    CHECK(m->fate == ORACLE_TAKEN,
          "a report of step %" PRIu64 " that is not applied is called repeated", b->token.step);
    CHECK(has_same_losses(b, loss), "other losses are called repeated");
    CHECK((a->flags & SELECTION_FLAG_FORGOTTEN) == 0 || m->lease != ORACLE_SETTLED,
          "the answer of a batch that is held was forgotten");
    o->repeats++;
    o->forgotten += (a->flags & SELECTION_FLAG_FORGOTTEN) != 0;
    check_answer(o, b, a);
}

/* Strict order: after a restart its batch is to be drawn again first. */
static void judge_early(struct oracle *o, struct oracle_batch *b, const struct oracle_answer *a)
{
    bool is_drawn = false;

    for (size_t i = 0; i < o->batch_count; i++)
        is_drawn |= o->batches[i].token.step == b->token.step &&
                    mark_in(&o->now, i)->lease != ORACLE_UNKNOWN;
    CHECK(o->strict && !is_drawn, "step %" PRIu64 " is drawn, its report must wait", b->token.step);
    CHECK(b->selected == 0 || b->selected == a->selected || o->settings.quarantine.on,
          "the same losses of step %" PRIu64 " get another selection", b->token.step);
    b->selected = a->selected;
}

/* A true report was refused: may it be? */
static void judge_refusal(struct oracle *o, struct oracle_batch *b, const struct message_loss *loss,
                          int code, uint64_t now_ms)
{
    const struct oracle_mark *m = mark(o, b);
    bool leased = m->lease == ORACLE_OPEN || m->lease == ORACLE_RETURNED;

    if (m->fate == ORACLE_TAKEN && !has_same_losses(b, loss)) {
        CHECK(code == OHEM_CONFLICT || code == OHEM_EXPIRED || m->lease != ORACLE_SETTLED,
              "other losses were answered error %d", code);
        return;
    }
    b->refused = true;
    if (other_was_taken(o, b)) /* or released: it comes too late, or is another's */
        return;
    if (m->lease == ORACLE_CLOSED) {
        CHECK(code == OHEM_EXPIRED, "a report after late_ms was answered error %d", code);
        return;
    }
    CHECK(!leased, "error %d for a report of step %" PRIu64 " on lease (%d, fate %d)", code,
          b->token.step, (int)m->lease, (int)m->fate);
    CHECK(m->fate == ORACLE_RELEASED || m->lease == ORACLE_FREED || is_old(o, b, now_ms) ||
              loss->ids.count == 0,
          "error %d for the report of step %" PRIu64 ", with its ids (lease %d, fate %d)", code,
          b->token.step, (int)m->lease, (int)m->fate);
    CHECK(m->fate != ORACLE_TAKEN || is_old(o, b, now_ms),
          "error %d for a repeated report of step %" PRIu64, code, b->token.step);
}

bool oracle_reported(struct oracle *o, uint32_t owner, const struct message_loss *loss,
                     const struct oracle_answer *a, uint64_t now_ms)
{
    struct oracle_batch *b = oracle_find(o, loss->token);

    if (!is_genuine(b, owner, loss)) {
        CHECK(a->code != 0, "a lie about step %" PRIu64 " was believed", loss->token.step);
        return false;
    }
    if (a->code != 0) {
        judge_refusal(o, b, loss, a->code, now_ms);
        return false;
    }
    if ((a->flags & SELECTION_FLAG_EARLY) != 0) {
        judge_early(o, b, a);
        return false;
    }
    if ((a->flags & SELECTION_FLAG_SUPERSEDED) != 0) {
        judge_superseded(o, b, loss);
        return false;
    }
    if ((a->flags & SELECTION_FLAG_REPEATED) != 0) {
        judge_repeat(o, b, loss, a);
        return false;
    }
    take(o, b, loss, a);
    check_answer(o, b, a);
    return true;
}

/* ---- leases --------------------------------------------------------------------------------- */

void oracle_credited(struct oracle *o, uint32_t owner, struct token token, int code)
{
    struct oracle_batch *b = oracle_find(o, token);
    enum oracle_lease lease;

    if (b == NULL || b->owner != owner) {
        CHECK(code != 0, "somebody's batch of step %" PRIu64 " was released", token.step);
        return;
    }
    lease = mark(o, b)->lease;
    CHECK(code == 0 || lease == ORACLE_UNKNOWN || lease == ORACLE_FREED,
          "error %d for CREDIT of step %" PRIu64 " in lease state %d", code, token.step,
          (int)lease);
    if (code != 0 || lease == ORACLE_UNKNOWN) /* an earlier life's: only its slot is free */
        return;
    set_lease(o, b, ORACLE_FREED);
    if (lease != ORACLE_OPEN || (o->strict && *taken(o, token.step) != ORACLE_NONE))
        return;
    mark(o, b)->fate = ORACLE_RELEASED;
    if (!o->strict) {
        settle(o, b, false);
        return;
    }
    *taken(o, token.step) = ORACLE_RELEASE | (uint32_t)index_of(o, b);
    apply_in_turn(o);
}

void oracle_tick(struct oracle *o, uint64_t now_ms)
{
    for (size_t i = 0; i < o->now.batch_count; i++) {
        struct oracle_mark *m = &o->now.marks[i];

        if (m->lease == ORACLE_OPEN && m->end_ms <= now_ms) {
            give_back(o, &o->batches[i]);
            m->end_ms += o->settings.late_ms;
            set_lease(o, &o->batches[i], ORACLE_RETURNED);
        }
        if (m->lease == ORACLE_RETURNED && m->end_ms <= now_ms)
            m->lease = ORACLE_CLOSED;
    }
}

void oracle_heard(struct oracle *o, uint32_t owner, uint64_t now_ms)
{
    for (size_t i = 0; i < o->now.batch_count; i++)
        if (o->batches[i].owner == owner && o->now.marks[i].lease == ORACLE_OPEN)
            o->now.marks[i].end_ms = now_ms + o->settings.lease_ms;
}

static bool is_listed(struct vector tokens, struct token token)
{
    for (size_t i = 0; i < tokens.count; i++)
        if (token_equal(vector_token(tokens, i), token))
            return true;
    return false;
}

void oracle_resumed(struct oracle *o, uint32_t owner, const struct message_hello *hello)
{
    for (size_t i = 0; i < o->now.batch_count; i++) {
        enum oracle_lease lease = o->now.marks[i].lease;

        if (o->batches[i].owner == owner && lease > ORACLE_OPEN && lease < ORACLE_FREED &&
            !is_listed(hello->held, o->batches[i].token) &&
            !is_listed(hello->kept, o->batches[i].token))
            o->now.marks[i].lease = ORACLE_FREED;
    }
}

void oracle_ended(struct oracle *o, uint32_t owner)
{
    for (size_t i = 0; i < o->now.batch_count; i++) {
        if (o->batches[i].owner != owner || o->now.marks[i].lease == ORACLE_UNKNOWN)
            continue;
        if (o->now.marks[i].lease == ORACLE_OPEN)
            give_back(o, &o->batches[i]);
        set_lease(o, &o->batches[i], ORACLE_FREED);
    }
}

/* ---- commits and deaths --------------------------------------------------------------------- */

/* Strict order: a report that waits for its turn is not kept by the daemon. */
static bool is_applied(const struct oracle *o, const struct oracle_time *t, size_t i)
{
    const struct oracle_mark *m = mark_in(t, i);

    return m->fate == ORACLE_SUPERSEDED ||
           (m->fate == ORACLE_TAKEN && (!o->strict || o->batches[i].token.step < t->next_step));
}

void oracle_durable(const struct oracle *o, uint32_t owner, uint64_t seq)
{
    for (size_t i = 0; i < o->batch_count; i++) {
        const struct oracle_batch *b = &o->batches[i];

        CHECK(b->owner != owner || b->seq == 0 || b->seq > seq || b->refused ||
                  is_applied(o, &o->disk, i),
              "reports up to %" PRIu64 " are called durable, %" PRIu64 " (step %" PRIu64 ") is not",
              seq, b->seq, b->token.step);
    }
}

size_t oracle_lost(const struct oracle *o, uint32_t owner, bool saved)
{
    size_t count = 0;

    for (size_t i = 0; i < o->batch_count; i++)
        count += o->batches[i].owner == owner && o->batches[i].seq != 0 && !o->batches[i].refused &&
                 !is_applied(o, saved ? &o->disk : &o->now, i);
    return count;
}

void oracle_capture(struct oracle *o)
{
    copy_time(&o->captured, &o->now, o->n);
}

void oracle_written(struct oracle *o)
{
    copy_time(&o->disk, &o->captured, o->n);
}

void oracle_committed(struct oracle *o)
{
    if (!o->captured.held)
        return;
    o->now.held = false;
    apply_in_turn(o);
}

/* Strict order: what waited for its turn was not on disk, nor were its leases' ends. */
static void forget_waiting(struct oracle *o)
{
    struct oracle_time *t = &o->now;

    for (uint64_t step = t->next_step; step < t->step_count; step++)
        t->taken[step] = ORACLE_NONE;
    for (size_t i = 0; i < t->batch_count; i++)
        if (o->batches[i].token.step >= t->next_step && t->marks[i].fate != ORACLE_NOT_REPORTED) {
            t->marks[i].fate = ORACLE_NOT_REPORTED;
            if (t->marks[i].lease == ORACLE_SETTLED)
                t->marks[i].lease = ORACLE_UNKNOWN;
        }
}

void oracle_died(struct oracle *o)
{
    copy_time(&o->now, &o->disk, o->n);
    o->now.held = false;
    if (o->strict)
        forget_waiting(o);
    model_deinit(&o->memory);
    model_init(&o->memory, (uint32_t)o->n, (float)o->settings.lambda);
    for (size_t i = 0; i < o->now.applied_count; i++)
        remember(o, &o->batches[o->now.applied[i]]);
    o->touched_count = 0;
}

void oracle_restored(struct oracle *o, uint64_t now_ms)
{
    for (size_t i = 0; i < o->now.batch_count; i++) {
        struct oracle_mark *m = &o->now.marks[i];

        if (m->lease == ORACLE_OPEN)
            m->end_ms = now_ms + o->settings.lease_ms;
        if (m->lease == ORACLE_RETURNED)
            m->end_ms = now_ms + o->settings.late_ms;
    }
}

/* ---- comparing ------------------------------------------------------------------------------ */

/* Strict order: what is drawn is served, and the oracle hears of it when it goes out. */
static bool counts_agree(const struct oracle *o, const struct coverage_report *r)
{
    const struct oracle_epoch *e = &o->now.epochs[r->epoch];

    return r->reported == e->reported && r->released == e->released &&
           r->missing == o->n - e->reported - e->released - r->skipped &&
           (o->strict ||
            (r->served == e->served && r->returned == e->returned && r->repeated == e->repeated));
}

static void check_counts(const struct oracle *o, const struct coverage_report *r)
{
    const struct oracle_epoch *e = &o->now.epochs[r->epoch];

    CHECK(counts_agree(o, r),
          "epoch %" PRIu64 ": missing %" PRIu64 " reported %" PRIu64 "/%" PRIu64
          " released %" PRIu64 "/%" PRIu64 " served %" PRIu64 "/%" PRIu64 " returned %" PRIu64
          "/%" PRIu64 " repeated %" PRIu64 "/%" PRIu64,
          r->epoch, r->missing, r->reported, e->reported, r->released, e->released, r->served,
          e->served, r->returned, e->returned, r->repeated, e->repeated);
}

/* An instance that an epoch never handed out: it was easy, and it was its chance. */
static bool may_be_skipped(const struct oracle *o, const struct job *job, uint64_t epoch,
                           uint32_t id)
{
    return thins_out(o) && o->memory.visits[id] > 0 &&
           (o->strict || o->now.below[epoch * o->n + id] != 0) &&
           coverage_chance(&job->coverage, epoch, id) < o->settings.sampler.infobatch_ratio;
}

static void check_closed(struct oracle *o, const struct job *job, const struct coverage_report *r)
{
    uint64_t skipped = 0;

    CHECK(r->epoch < o->now.epoch_count, "epoch %" PRIu64 " closes before it began", r->epoch);
    for (uint32_t id = 0; id < o->n; id++) {
        bool fresh = o->now.where[r->epoch * o->n + id] == FRESH;

        CHECK(fresh || o->now.where[r->epoch * o->n + id] == SETTLED,
              "epoch %" PRIu64 " closes without instance %u", r->epoch, id);
        CHECK(!fresh || may_be_skipped(o, job, r->epoch, id), "epoch %" PRIu64 " skips instance %u",
              r->epoch, id);
        skipped += fresh;
    }
    CHECK(r->skipped == skipped, "epoch %" PRIu64 " says %" PRIu64 " skipped of %" PRIu64, r->epoch,
          r->skipped, skipped);
    CHECK(o->strict || r->cut == o->now.epochs[r->epoch].cut,
          "the cut of epoch %" PRIu64 " is bucket %u, not %u", r->epoch, r->cut,
          o->now.epochs[r->epoch].cut);
    o->skipped += skipped;
    CHECK(r->closed && r->missing == 0 && r->instances == o->n &&
              r->reported + r->released + r->skipped == o->n,
          "the report of epoch %" PRIu64 " does not add up", r->epoch);
    check_counts(o, r);
}

static void check_epochs(struct oracle *o, const struct job *job)
{
    const struct coverage *c = &job->coverage;

    CHECK(c->closed_count >= o->now.closed_count, "%" PRIu64 " epochs were closed, now %" PRIu64,
          o->now.closed_count, c->closed_count);
    while (o->now.closed_count < c->closed_count) {
        const struct coverage_report *r =
            coverage_closed(c, (size_t)(c->closed_count - ++o->now.closed_count));

        CHECK(r != NULL || c->closed_count - o->now.closed_count >= COVERAGE_REPORTS_MAX,
              "the report of a closed epoch is gone");
        if (r != NULL)
            check_closed(o, job, r);
    }
    for (size_t i = 0; i < c->open_count; i++)
        if (coverage_open(c, i)->epoch < o->now.epoch_count)
            check_counts(o, coverage_open(c, i));
}

static void check_memory(struct oracle *o, const struct job *job, bool all)
{
    if (all)
        CHECK(model_differences(&o->memory, &job->hardness) == 0, "the memory differs");
    for (size_t i = 0; i < o->touched_count; i++)
        if (!model_agrees(&o->memory, &job->hardness, o->touched[i]))
            CHECK(model_differences(&o->memory, &job->hardness) == 0, "the memory differs");
    o->touched_count = 0;
}

static void check_sessions(const struct job *job)
{
    const struct session *s;

    TAILQ_FOREACH (s, &job->sessions, of_job) {
        uint32_t used = 0;

        for (uint32_t i = 0; i < s->credit; i++)
            used += s->slots[i].state != LEASE_FREE;
        CHECK(used + s->free_count == s->credit, "a session has %u of %u slots and %u free", used,
              s->credit, s->free_count);
    }
}

void oracle_check(struct oracle *o, struct job *job, bool all)
{
    CHECK(!o->strict || job->strict.applied == o->now.next_step,
          "the steps before %" PRIu64 " are applied, not those before %" PRIu64,
          job->strict.applied, o->now.next_step);
    check_memory(o, job, all);
    check_epochs(o, job);
    check_sessions(job);
    /* strict order: whose report waited for its turn when the daemon died may be on lease again */
    CHECK(o->strict || job->leases.open_count == o->now.open_count, "%zu leases are open, not %zu",
          job->leases.open_count, o->now.open_count);
    CHECK(o->strict || job->coverage.pool_count == o->now.back_count,
          "%zu instances wait in the pool, not %zu", job->coverage.pool_count, o->now.back_count);
    CHECK(job->lsn >= o->now.applied_count, "LSN %" PRIu64 " after %zu reports", job->lsn,
          o->now.applied_count);
    if (!all)
        return;
    CHECK(coverage_sound(&job->coverage), "the coverage is not sound");
    CHECK(hardness_sound(job->hardness.entries, job->hardness.n), "the scores are not sound");
}
