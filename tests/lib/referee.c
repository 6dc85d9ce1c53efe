/* referee.c - the rounds, judged; see referee.h. */
#include "referee.h"

#include "ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void referee_init(struct referee *f, const struct job_settings *settings)
{
    assert(settings->round.ranks <= REFEREE_RANKS_MAX);
    *f = (struct referee){.settings = *settings};
    for (uint32_t i = 0; i < settings->round.ranks; i++)
        f->ranks[i].awaited = true;
}

static void drop_pending(struct referee *f, size_t i)
{
    free(f->pending[i].losses);
    free(f->pending[i].flags);
    memmove(&f->pending[i], &f->pending[i + 1], (--f->pending_count - i) * sizeof *f->pending);
}

static void drop_events(struct referee *f)
{
    for (size_t i = 0; i < f->event_count; i++)
        free(f->events[i].indices);
    f->event_count = 0;
}

void referee_deinit(struct referee *f)
{
    while (f->pending_count > 0)
        drop_pending(f, f->pending_count - 1);
    drop_events(f);
}

void referee_died(struct referee *f)
{
    struct job_settings settings = f->settings;
    uint64_t rounds = f->rounds, incomplete = f->incomplete, missed = f->missed;

    referee_deinit(f);
    referee_init(f, &settings);
    f->rounds = rounds;
    f->incomplete = incomplete;
    f->missed = missed;
}

uint32_t referee_rank_of(const struct referee *f, uint32_t owner)
{
    return referee_is_on(f) ? owner % f->settings.round.ranks : owner % 8;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static struct referee_event *note(struct referee *f, uint32_t owner)
{
    struct referee_event *e = &f->events[f->event_count++];

    assert(f->event_count < REFEREE_MAX && owner < REFEREE_OWNERS_MAX);
    *e = (struct referee_event){.owner = owner};
    return e;
}

void referee_welcomed(struct referee *f, uint32_t owner, uint64_t session)
{
    struct referee_event *e;

    if (!referee_is_on(f))
        return;
    e = note(f, owner);
    e->kind = REFEREE_WELCOMED;
    e->session = session;
}

void referee_ended(struct referee *f, uint32_t owner)
{
    if (referee_is_on(f))
        note(f, owner)->kind = REFEREE_ENDED;
}

/* Answers to repeats, and to what came too late, are not a round's. */
void referee_told(struct referee *f, uint32_t owner, const struct message_selection *m)
{
    struct referee_event *e;

    if (!referee_is_on(f) || (m->flags & SELECTION_FLAG_REPEATED) != 0 || m->share.present == 0)
        return;
    e = note(f, owner);
    e->kind = REFEREE_TOLD;
    e->told = *m;
    e->indices = malloc((m->indices.count + 1) * sizeof *e->indices);
    assert(e->indices != NULL);
    if (m->indices.count > 0)
        memcpy(e->indices, m->indices.data, m->indices.count * sizeof *e->indices);
}

/* ---- who waits for whom ---------------------------------------------------------------------- */

static const struct referee_report *find(const struct referee *f, uint32_t owner,
                                         struct token token)
{
    for (size_t i = 0; i < f->pending_count; i++)
        if (f->pending[i].owner == owner && token_equal(f->pending[i].token, token))
            return &f->pending[i];
    return NULL;
}

bool referee_holds(const struct referee *f, uint32_t owner, struct token token)
{
    return find(f, owner, token) != NULL;
}

/* The report of a rank in an open round; of any rank, when that is UINT32_MAX; or NULL. */
static const struct referee_report *in_round(const struct referee *f, uint64_t round, uint32_t rank)
{
    for (size_t i = 0; i < f->pending_count; i++)
        if (f->pending[i].round == round &&
            (rank == UINT32_MAX || referee_rank_of(f, f->pending[i].owner) == rank))
            return &f->pending[i];
    return NULL;
}

static bool has_passed(const struct referee_rank *r, uint64_t round)
{
    return r->taken && r->reported && r->last >= round;
}

static bool is_over(const struct referee *f, uint32_t owner, uint64_t round)
{
    uint32_t rank = referee_rank_of(f, owner);

    if (!f->ranks[rank].taken || f->ranks[rank].owner != owner)
        return true;
    if (in_round(f, round, UINT32_MAX) != NULL)
        return in_round(f, round, rank) != NULL;
    for (uint32_t i = 0; i < f->settings.round.ranks; i++)
        if (i != rank && has_passed(&f->ranks[i], round))
            return true;
    return false;
}

static bool waits_for(const struct referee *f, uint64_t round, uint32_t rank)
{
    return in_round(f, round, rank) == NULL && f->ranks[rank].awaited &&
           !has_passed(&f->ranks[rank], round);
}

static bool is_complete(const struct referee *f, uint64_t round)
{
    for (uint32_t i = 0; i < f->settings.round.ranks; i++)
        if (waits_for(f, round, i))
            return false;
    return true;
}

void referee_repeated(struct referee *f, uint32_t owner, uint64_t round)
{
    struct referee_rank *rank = &f->ranks[referee_rank_of(f, owner)];

    if (!rank->taken || rank->owner != owner)
        return;
    rank->last = rank->reported && rank->last > round ? rank->last : round;
    rank->reported = rank->awaited = true;
}

void referee_taken(struct referee *f, uint32_t owner, const struct message_loss *loss,
                   const float *losses, bool waits, bool late, uint64_t lsn, uint64_t now_ms)
{
    const struct referee_report *first = in_round(f, loss->round, UINT32_MAX);
    struct referee_report *p;
    uint32_t k = (uint32_t)loss->losses.count;

    CHECK(waits != is_over(f, owner, loss->round),
          "the report of %u for round %" PRIu64 " is said to be %s", owner, loss->round,
          waits ? "in time" : "too late");
    f->missed += !waits;
    if (waits) {
        p = &f->pending[f->pending_count];
        assert(f->pending_count + 1 < REFEREE_MAX);
        *p = (struct referee_report){.owner = owner,
                                     .count = k,
                                     .round = loss->round,
                                     .due_ms = first != NULL ? first->due_ms
                                                             : now_ms + f->settings.round.ms,
                                     .seq = loss->seq,
                                     .lsn = lsn,
                                     .token = loss->token,
                                     .late = late,
                                     .losses = malloc(k * sizeof(float)),
                                     .flags = calloc(k, 1)};
        assert(p->losses != NULL && p->flags != NULL);
        memcpy(p->losses, losses, k * sizeof *losses);
        if (loss->flags.count > 0)
            memcpy(p->flags, loss->flags.data, k);
        f->pending_count++;
    }
    referee_repeated(f, owner, loss->round);
}

/* ---- what they are told ---------------------------------------------------------------------- */

static bool may_be_selected(const struct referee_report *p, uint32_t i)
{
    return isfinite(p->losses[i]) && (p->flags[i] & LOSS_FLAG_IGNORED) == 0;
}

/* How many of the round are harder than this one, or as hard and before it. */
static uint64_t count_harder(const struct referee *f, uint64_t round, uint32_t rank, float loss,
                             uint32_t place)
{
    uint64_t count = 0;

    for (size_t i = 0; i < f->pending_count; i++) {
        const struct referee_report *p = &f->pending[i];
        uint32_t theirs = referee_rank_of(f, p->owner);

        for (uint32_t k = 0; p->round == round && k < p->count; k++) {
            bool before = theirs < rank || (theirs == rank && k < place);

            count +=
                may_be_selected(p, k) && (p->losses[k] > loss || (before && p->losses[k] >= loss));
        }
    }
    return count;
}

/* A round begins to be answered: may it be, and how many are to be selected? */
static void begin_round(struct referee *f, const struct referee_report *p, uint64_t now_ms)
{
    uint64_t free_count = 0;

    f->round = p->round;
    f->left = f->total = 0;
    CHECK(is_complete(f, p->round) || p->due_ms <= now_ms,
          "round %" PRIu64 " is answered at %" PRIu64 ", and would wait until %" PRIu64, p->round,
          now_ms, p->due_ms);
    f->rounds++;
    f->incomplete += !is_complete(f, p->round);
    for (uint32_t i = 0; i < f->settings.round.ranks; i++)
        if (waits_for(f, p->round, i))
            f->ranks[i].awaited = false;
    for (size_t i = 0; i < f->pending_count; i++) {
        const struct referee_report *each = &f->pending[i];

        if (each->round != p->round)
            continue;
        f->left++;
        f->total += each->count;
        for (uint32_t k = 0; k < each->count; k++)
            free_count += may_be_selected(each, k);
    }
    f->present = (uint32_t)f->left;
    f->selected = (uint64_t)(f->settings.selection.keep_ratio * (double)f->total);
    f->selected = f->selected > f->present ? f->selected : f->present; /* min_keep 1, of each */
    f->selected = f->selected < free_count ? f->selected : free_count;
}

static void check_selected(const struct referee *f, const struct referee_report *p,
                           const struct referee_event *e)
{
    uint32_t rank = referee_rank_of(f, p->owner), next = 0;

    CHECK(e->told.share.count == f->selected, "%u are selected of round %" PRIu64 ", not %" PRIu64,
          e->told.share.count, p->round, f->selected);
    for (uint32_t i = 0; i < p->count; i++) {
        bool told = next < e->told.indices.count && e->indices[next] == i;
        bool wanted =
            may_be_selected(p, i) && count_harder(f, p->round, rank, p->losses[i], i) < f->selected;

        CHECK(told == wanted, "round %" PRIu64 ": loss %u of rank %u is selected: %d", p->round, i,
              rank, (int)told);
        next += told;
    }
}

static void check_told(const struct referee *f, const struct referee_report *p,
                       const struct referee_event *e)
{
    const struct message_share *s = &e->told.share;
    double scale = e->told.kept.count > 0
                       ? (double)f->settings.round.ranks * e->told.kept.count / s->count
                       : 0;

    CHECK(e->told.seq == p->seq && e->told.lsn == p->lsn, "another report is answered");
    CHECK(((e->told.flags & SELECTION_FLAG_LATE) != 0) == p->late, "its flags are %u",
          e->told.flags);
    CHECK(s->present == f->present, "%u ranks are in round %" PRIu64 ", not %u", s->present,
          p->round, f->present);
    CHECK(fabs((double)s->scale - scale) < 1e-6, "the scale is %g, not %g", (double)s->scale,
          scale);
    if (!f->settings.quarantine.on && !f->settings.round.balanced)
        check_selected(f, p, e);
}

static void hear_told(struct referee *f, const struct referee_event *e, uint64_t now_ms)
{
    const struct referee_report *p = find(f, e->owner, e->told.token);

    CHECK(p != NULL, "%u is answered for step %" PRIu64 ", which waits for nothing", e->owner,
          e->told.token.step);
    if (f->left == 0)
        begin_round(f, p, now_ms);
    CHECK(p->round == f->round, "round %" PRIu64 " is answered in the midst of another", p->round);
    check_told(f, p, e);
    f->left--;
}

/* All of its reports were looked at. */
static void end_round(struct referee *f)
{
    for (size_t i = f->pending_count; i-- > 0;)
        if (f->pending[i].round == f->round)
            drop_pending(f, i);
}

static void hear_welcomed(struct referee *f, const struct referee_event *e)
{
    if (f->sessions[e->owner] == e->session)
        return;
    f->sessions[e->owner] = e->session;
    f->ranks[referee_rank_of(f, e->owner)] =
        (struct referee_rank){.taken = true, .awaited = true, .owner = e->owner};
}

static void hear_ended(struct referee *f, const struct referee_event *e)
{
    struct referee_rank *rank = &f->ranks[referee_rank_of(f, e->owner)];

    f->sessions[e->owner] = 0;
    for (size_t i = f->pending_count; i-- > 0;)
        if (f->pending[i].owner == e->owner)
            drop_pending(f, i);
    if (rank->taken && rank->owner == e->owner)
        *rank = (struct referee_rank){0};
}

void referee_settle(struct referee *f, uint64_t now_ms)
{
    for (size_t i = 0; i < f->event_count; i++) {
        const struct referee_event *e = &f->events[i];

        CHECK(f->left == 0 || e->kind == REFEREE_TOLD, "a round is answered in part");
        if (e->kind == REFEREE_WELCOMED)
            hear_welcomed(f, e);
        else if (e->kind == REFEREE_ENDED)
            hear_ended(f, e);
        else
            hear_told(f, e, now_ms);
        if (e->kind == REFEREE_TOLD && f->left == 0)
            end_round(f);
    }
    CHECK(f->left == 0, "%zu ranks of round %" PRIu64 " are not answered", f->left, f->round);
    drop_events(f);
}

void referee_check(const struct referee *f, uint64_t now_ms)
{
    for (size_t i = 0; i < f->pending_count; i++) {
        const struct referee_report *p = &f->pending[i];

        CHECK(p->due_ms > now_ms, "round %" PRIu64 " was to be answered at %" PRIu64, p->round,
              p->due_ms);
        CHECK(!is_complete(f, p->round), "round %" PRIu64 " waits for nobody", p->round);
    }
}
