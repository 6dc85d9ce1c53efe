/* round.c - who is in a round, and for whom it waits; see round.h. */
#include "round.h"

#include "../../proto/error.h"

#include <stdlib.h>
#include <string.h>

int rounds_init(struct rounds *t, const struct round_policy *policy)
{
    *t = (struct rounds){.policy = *policy};
    TAILQ_INIT(&t->open);
    TAILQ_INIT(&t->spare);
    SLIST_INIT(&t->spare_shards);
    if (policy->ranks == 0)
        return 0;
    t->memory = calloc(ROUND_OPEN_MAX + 1, sizeof *t->memory);
    for (uint32_t i = 0; t->memory != NULL && i <= ROUND_OPEN_MAX; i++)
        TAILQ_INSERT_TAIL(&t->spare, &t->memory[i], queue);
    for (uint32_t i = 0; i < policy->ranks; i++)
        t->ranks[i].awaited = true;
    return t->memory != NULL ? 0 : -OHEM_NOMEM;
}

/* ---- shards ------------------------------------------------------------------------------------
 */

static void free_shard(struct round_shard *shard)
{
    if (shard == NULL)
        return;
    free(shard->ids);
    free(shard->losses);
    free(shard->flags);
    free(shard->answer.selection.indices);
    free(shard->answer.selection.weights);
    free(shard);
}

static struct round_shard *new_shard(uint32_t capacity)
{
    struct round_shard *shard = calloc(1, sizeof *shard);

    if (shard == NULL)
        return NULL;
    shard->capacity = capacity;
    shard->ids = malloc(capacity * sizeof *shard->ids);
    shard->losses = malloc(capacity * sizeof *shard->losses);
    shard->flags = malloc(capacity * sizeof *shard->flags);
    shard->answer.selection.indices = malloc(capacity * sizeof(uint32_t));
    shard->answer.selection.weights = malloc(capacity * sizeof(float));
    if (shard->ids != NULL && shard->losses != NULL && shard->flags != NULL &&
        shard->answer.selection.indices != NULL && shard->answer.selection.weights != NULL)
        return shard;
    free_shard(shard);
    return NULL;
}

static void drop_shard(struct rounds *t, struct round *r, struct round_shard *shard)
{
    SLIST_INSERT_HEAD(&t->spare_shards, shard, spare);
    r->total -= shard->count;
    r->shards[shard->rank] = NULL;
    r->present--;
}

/* The spare one that will be used next is large enough. */
static int reserve_shard(struct rounds *t, uint32_t count)
{
    struct round_shard *shard = SLIST_FIRST(&t->spare_shards);

    if (shard != NULL && shard->capacity >= count)
        return 0;
    if (shard != NULL) {
        SLIST_REMOVE_HEAD(&t->spare_shards, spare);
        free_shard(shard);
    }
    shard = new_shard(count);
    if (shard == NULL)
        return -OHEM_NOMEM;
    SLIST_INSERT_HEAD(&t->spare_shards, shard, spare);
    return 0;
}

/* ---- memory for all of them --------------------------------------------------------------------
 */

static void free_scratch(struct round_scratch *s)
{
    free(s->losses);
    free(s->weights);
    free(s->flags);
    free(s->indices);
    *s = (struct round_scratch){0};
}

static int reserve_scratch(struct rounds *t, size_t count)
{
    struct round_scratch more = {.capacity = count};

    if (count <= t->scratch.capacity)
        return 0;
    more.losses = malloc(count * sizeof *more.losses);
    more.weights = malloc(count * sizeof *more.weights);
    more.flags = malloc(count * sizeof *more.flags);
    more.indices = malloc(count * sizeof *more.indices);
    if (more.losses == NULL || more.weights == NULL || more.flags == NULL || more.indices == NULL) {
        free_scratch(&more);
        return -OHEM_NOMEM;
    }
    free_scratch(&t->scratch);
    t->scratch = more;
    return 0;
}

static struct round *find(const struct rounds *t, uint64_t number)
{
    struct round *r;

    TAILQ_FOREACH (r, &t->open, queue)
        if (r->number == number)
            return r;
    return NULL;
}

/* The scratch has room for every open round, and goes on having it. */
int rounds_reserve(struct rounds *t, uint64_t number, uint32_t count)
{
    const struct round *r = find(t, number);
    size_t total = count + (r != NULL ? (size_t)r->total : 0);
    int rc;

    TAILQ_FOREACH (r, &t->open, queue)
        total = r->total > total ? (size_t)r->total : total;
    rc = reserve_scratch(t, total);
    return rc == 0 ? reserve_shard(t, count) : rc;
}

static struct round *open_round(struct rounds *t, uint64_t number, uint64_t due_ms)
{
    struct round *r = TAILQ_FIRST(&t->spare);

    TAILQ_REMOVE(&t->spare, r, queue);
    *r = (struct round){.number = number, .due_ms = due_ms};
    TAILQ_INSERT_TAIL(&t->open, r, queue);
    t->open_count++;
    return r;
}

static void close_round(struct rounds *t, struct round *r)
{
    TAILQ_REMOVE(&t->open, r, queue);
    t->open_count--;
    t->total -= r->total;
}

void rounds_done(struct rounds *t, struct round *r)
{
    struct round_shard *shard;

    ROUND_FOREACH (shard, r)
        drop_shard(t, r, shard);
    TAILQ_INSERT_HEAD(&t->spare, r, queue);
}

void rounds_deinit(struct rounds *t)
{
    struct round *r;
    struct round_shard *shard;

    while ((r = TAILQ_FIRST(&t->open)) != NULL) {
        close_round(t, r);
        rounds_done(t, r);
    }
    while ((shard = SLIST_FIRST(&t->spare_shards)) != NULL) {
        SLIST_REMOVE_HEAD(&t->spare_shards, spare);
        free_shard(shard);
    }
    free_scratch(&t->scratch);
    free(t->memory);
    *t = (struct rounds){0};
}

/* ---- who takes part ----------------------------------------------------------------------------
 */

void rounds_join(struct rounds *t, struct session *s, uint32_t rank)
{
    if (rank < t->policy.ranks)
        t->ranks[rank] = (struct round_rank){.session = s, .awaited = true};
}

void rounds_leave(struct rounds *t, const struct session *s, uint32_t rank)
{
    struct round *r, *next;

    if (rank >= t->policy.ranks)
        return;
    for (r = TAILQ_FIRST(&t->open); r != NULL; r = next) {
        struct round_shard *shard = r->shards[rank];

        next = TAILQ_NEXT(r, queue);
        if (shard == NULL || shard->session != s)
            continue;
        t->total -= shard->count;
        drop_shard(t, r, shard);
        if (r->present > 0)
            continue;
        close_round(t, r);
        rounds_done(t, r);
    }
    if (t->ranks[rank].session == s)
        t->ranks[rank] = (struct round_rank){0};
}

/* Has a rank been in this round, or beyond it? */
static bool has_passed(const struct round_rank *rank, uint64_t number)
{
    return rank->session != NULL && rank->reported && rank->last >= number;
}

bool rounds_is_over(const struct rounds *t, const struct session *s, uint32_t rank, uint64_t number)
{
    const struct round *r = find(t, number);

    if (t->ranks[rank].session != s)
        return true;
    if (r != NULL)
        return r->shards[rank] != NULL;
    for (uint32_t i = 0; i < t->policy.ranks; i++)
        if (i != rank && has_passed(&t->ranks[i], number))
            return true;
    return false;
}

void rounds_note(struct rounds *t, const struct session *s, uint32_t rank, uint64_t number)
{
    struct round_rank *mine = &t->ranks[rank];

    if (mine->session != s)
        return;
    mine->last = !mine->reported || number > mine->last ? number : mine->last;
    mine->reported = mine->awaited = true;
}

static void fill_shard(struct round_shard *shard, const struct round_report *in)
{
    shard->token = in->token;
    shard->count = in->count;
    memcpy(shard->ids, in->ids, in->count * sizeof *in->ids);
    memcpy(shard->losses, in->losses, in->count * sizeof *in->losses);
    memset(shard->flags, 0, in->count);
    if (in->flags != NULL)
        memcpy(shard->flags, in->flags, in->count);
    lease_answer_copy(&shard->answer, in->answer);
}

void rounds_add(struct rounds *t, struct session *s, uint32_t rank,
                const struct round_report *report)
{
    struct round *r = find(t, report->number);
    struct round_shard *shard = SLIST_FIRST(&t->spare_shards);

    if (r == NULL)
        r = open_round(t, report->number, report->now_ms + t->policy.ms);
    SLIST_REMOVE_HEAD(&t->spare_shards, spare);
    fill_shard(shard, report);
    shard->session = s;
    shard->rank = rank;
    r->shards[rank] = shard;
    r->present++;
    r->total += shard->count;
    t->total += shard->count;
    rounds_note(t, s, rank, report->number);
}

bool rounds_hold(const struct rounds *t, const struct session *s, struct token token)
{
    const struct round_shard *shard;
    const struct round *r;

    TAILQ_FOREACH (r, &t->open, queue)
        ROUND_FOREACH (shard, r)
            if (shard->session == s && token_equal(shard->token, token))
                return true;
    return false;
}

/* ---- when it is answered -----------------------------------------------------------------------
 */

static bool waits_for(const struct rounds *t, const struct round *r, uint32_t rank)
{
    return r->shards[rank] == NULL && t->ranks[rank].awaited &&
           !has_passed(&t->ranks[rank], r->number);
}

static bool is_complete(const struct rounds *t, const struct round *r)
{
    for (uint32_t rank = 0; rank < t->policy.ranks; rank++)
        if (waits_for(t, r, rank))
            return false;
    return true;
}

static bool is_too_much(const struct rounds *t)
{
    return t->open_count > ROUND_OPEN_MAX || t->total > ROUND_INSTANCES_MAX;
}

struct round *rounds_next(struct rounds *t, uint64_t now_ms)
{
    struct round *r;

    TAILQ_FOREACH (r, &t->open, queue) {
        r->complete = is_complete(t, r);
        if (r->complete || r->due_ms <= now_ms || is_too_much(t))
            break;
    }
    if (r == NULL)
        return NULL;
    for (uint32_t rank = 0; rank < t->policy.ranks; rank++)
        if (waits_for(t, r, rank))
            t->ranks[rank].awaited = false;
    close_round(t, r);
    return r;
}

uint64_t rounds_next_due(const struct rounds *t)
{
    const struct round *r;
    uint64_t due = UINT64_MAX;

    TAILQ_FOREACH (r, &t->open, queue)
        due = r->due_ms < due ? r->due_ms : due;
    return due;
}
