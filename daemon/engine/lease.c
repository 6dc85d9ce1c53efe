/* lease.c - the life of a batch that was handed out; see the picture in lease.h.
 *
 * A state changes here and nowhere else; each change moves the lease between the two queues, the
 * table and the counts.
 */
#include "lease.h"

#include "../../proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int lease_table_init(struct lease_table *t, uint64_t lease_ms, uint64_t late_ms)
{
    *t = (struct lease_table){.lease_ms = lease_ms, .late_ms = late_ms};
    TAILQ_INIT(&t->open);
    TAILQ_INIT(&t->returned);
    TAILQ_INIT(&t->unsaved);
    return map_init(&t->by_step, 0);
}

void lease_table_deinit(struct lease_table *t)
{
    map_deinit(&t->by_step);
}

int lease_table_reserve(struct lease_table *t, size_t leases_max)
{
    return map_reserve(&t->by_step, leases_max);
}

int lease_init(struct lease *l, struct session *session, uint32_t batch_size)
{
    struct selection *answer = &l->answer.selection;

    *l = (struct lease){.session = session};
    l->ids = malloc(batch_size * sizeof *l->ids);
    l->epochs = malloc(batch_size * sizeof *l->epochs);
    l->probabilities = malloc(batch_size * sizeof *l->probabilities);
    l->weights = malloc(batch_size * sizeof *l->weights);
    answer->indices = malloc(batch_size * sizeof *answer->indices);
    answer->weights = malloc(batch_size * sizeof *answer->weights);
    if (l->ids == NULL || l->epochs == NULL || l->probabilities == NULL || l->weights == NULL ||
        answer->indices == NULL || answer->weights == NULL) {
        lease_deinit(l);
        return -OHEM_NOMEM;
    }
    return 0;
}

void lease_deinit(struct lease *l)
{
    free(l->ids);
    free(l->epochs);
    free(l->probabilities);
    free(l->weights);
    free(l->answer.selection.indices);
    free(l->answer.selection.weights);
    *l = (struct lease){0};
}

/* Out of the queue or count of its present state. */
static void leave_state(struct lease_table *t, struct lease *l)
{
    switch (l->state) {
    case LEASE_OPEN:
        TAILQ_REMOVE(&t->open, l, queue);
        t->open_count--;
        break;
    case LEASE_RETURNED:
        TAILQ_REMOVE(&t->returned, l, queue);
        t->returned_count--;
        break;
    case LEASE_SETTLED:
        t->settled_count--;
        break;
    case LEASE_FREE:
    case LEASE_CLOSED:
        break;
    }
}

static void set_dirty(struct lease_table *t, struct lease *l, bool dirty)
{
    if (dirty && !l->dirty)
        TAILQ_INSERT_TAIL(&t->unsaved, l, unsaved);
    if (!dirty && l->dirty)
        TAILQ_REMOVE(&t->unsaved, l, unsaved);
    l->dirty = dirty;
}

/* What changes is to be saved; what was saved and is no more takes its row with it. */
static void note_change(struct lease_table *t, struct lease *l, enum lease_state state)
{
    if (state != l->state)
        set_dirty(t, l, state != LEASE_FREE || l->saved);
}

void lease_saved(struct lease_table *t, struct lease *l)
{
    set_dirty(t, l, false);
    l->saved = l->state != LEASE_FREE;
}

/* The table knows a step's latest lease: in strict order an expired batch is handed out again. */
static void remember_step(struct lease_table *t, struct lease *l)
{
    map_remove(&t->by_step, l->token.step);
    map_put(&t->by_step, l->token.step, l);
}

static void forget_step(struct lease_table *t, const struct lease *l)
{
    if (map_get(&t->by_step, l->token.step) == l)
        map_remove(&t->by_step, l->token.step);
}

static void enter_state(struct lease_table *t, struct lease *l, enum lease_state state)
{
    leave_state(t, l);
    note_change(t, l, state);
    l->state = state;
    switch (state) {
    case LEASE_OPEN:
        TAILQ_INSERT_TAIL(&t->open, l, queue);
        t->open_count++;
        break;
    case LEASE_RETURNED:
        TAILQ_INSERT_TAIL(&t->returned, l, queue);
        t->returned_count++;
        break;
    case LEASE_SETTLED:
        t->settled_count++;
        break;
    case LEASE_FREE:
        forget_step(t, l);
        break;
    case LEASE_CLOSED:
        break;
    }
}

void lease_grant(struct lease_table *t, struct lease *l, struct token token, uint64_t now_ms)
{
    assert(l->state == LEASE_FREE);
    l->token = token;
    l->end_ms = now_ms + t->lease_ms;
    l->unsent = false;
    remember_step(t, l);
    enter_state(t, l, LEASE_OPEN);
}

void lease_restore(struct lease_table *t, struct lease *l, enum lease_state state)
{
    assert(l->state == LEASE_FREE);
    if (state == LEASE_OPEN || lease_find(t, l->token.step) == NULL) /* they come in no order */
        remember_step(t, l);
    enter_state(t, l, state);
    lease_saved(t, l);
}

void lease_resume(struct lease_table *t, uint64_t now_ms)
{
    struct lease *l;

    TAILQ_FOREACH (l, &t->open, queue)
        l->end_ms = now_ms + t->lease_ms;
    TAILQ_FOREACH (l, &t->returned, queue)
        l->end_ms = now_ms + t->late_ms;
}

struct lease *lease_find(const struct lease_table *t, uint64_t step)
{
    return map_get(&t->by_step, step);
}

void lease_settle(struct lease_table *t, struct lease *l)
{
    assert(l->state == LEASE_OPEN || l->state == LEASE_RETURNED);
    enter_state(t, l, LEASE_SETTLED);
}

void lease_answer_copy(struct lease_answer *to, const struct lease_answer *from)
{
    struct selection memory = to->selection;

    *to = *from;
    to->selection.indices = memory.indices;
    to->selection.weights = memory.weights;
    memcpy(memory.indices, from->selection.indices, from->selection.count * sizeof *memory.indices);
    memcpy(memory.weights, from->selection.weights, from->selection.count * sizeof *memory.weights);
}

void lease_answer(struct lease_table *t, struct lease *l, const struct lease_answer *answer)
{
    assert(l->state == LEASE_SETTLED);
    lease_answer_copy(&l->answer, answer);
    set_dirty(t, l, true);
}

void lease_extend(struct lease_table *t, struct lease *l, uint64_t now_ms)
{
    assert(l->state == LEASE_OPEN);
    l->end_ms = now_ms + t->lease_ms;
    enter_state(t, l, LEASE_OPEN); /* to the end of the queue: no lease ends later */
}

struct lease *lease_expire(struct lease_table *t, uint64_t now_ms)
{
    struct lease *l = TAILQ_FIRST(&t->open);

    if (l == NULL || l->end_ms > now_ms)
        return NULL;
    l->end_ms += t->late_ms;
    enter_state(t, l, LEASE_RETURNED);
    return l;
}

struct lease *lease_close_late(struct lease_table *t, uint64_t now_ms)
{
    struct lease *l = TAILQ_FIRST(&t->returned);

    if (l == NULL || l->end_ms > now_ms)
        return NULL;
    enter_state(t, l, LEASE_CLOSED);
    return l;
}

void lease_release(struct lease_table *t, struct lease *l)
{
    if (l->state != LEASE_FREE)
        enter_state(t, l, LEASE_FREE);
}

uint64_t lease_next_due(const struct lease_table *t)
{
    const struct lease *open = TAILQ_FIRST(&t->open), *returned = TAILQ_FIRST(&t->returned);
    uint64_t due = UINT64_MAX;

    if (open != NULL)
        due = open->end_ms;
    if (returned != NULL && returned->end_ms < due)
        due = returned->end_ms;
    return due;
}
