/* job_round.c - a report goes into its round, and the round is answered; see round.h.
 *
 * What a report does to the scores is done when it comes. Only its answer waits; should the daemon
 * be restarted meanwhile, what stands in the lease is said: that it came too late.
 */
#include "../../proto/error.h"
#include "job_inner.h"

int job_begin_round(struct job *j, struct session *s, struct lease *l,
                    const struct message_loss *loss, struct job_entry *out)
{
    bool over = rounds_is_over(&j->rounds, s, s->rank, loss->round);

    *out = (struct job_entry){.waits = !over, .flags = job_flags_of(j, loss, l->ids)};
    job_choose_none(j, loss, l->ids, &l->answer.selection);
    l->answer.share = (struct message_share){0};
    return over ? 0 : rounds_reserve(&j->rounds, loss->round, l->count);
}

/* Of what is kept with the lease it is late, until its round is answered. */
void job_end_round(struct job *j, struct session *s, struct lease *l,
                   const struct message_loss *loss, const struct job_entry *entry)
{
    struct lease_answer *a = &l->answer;

    if (entry->waits) {
        rounds_add(&j->rounds, s, s->rank,
                   &(struct round_report){.number = loss->round,
                                          .now_ms = s->heard_ms,
                                          .token = l->token,
                                          .count = l->count,
                                          .ids = l->ids,
                                          .losses = j->losses,
                                          .flags = entry->flags,
                                          .answer = a});
    } else {
        j->metrics.rounds_missed++;
        rounds_note(&j->rounds, s, s->rank, loss->round);
    }
    a->flags |= SELECTION_FLAG_LATE;
}

/* ---- answering ---------------------------------------------------------------------------------
 */

static void note_classes(struct job *j, const struct round *r)
{
    for (uint32_t rank = 0; rank < j->rounds.policy.ranks; rank++) {
        const struct round_shard *shard = r->shards[rank];

        if (shard != NULL)
            job_note_classes(j, shard->ids, shard->losses, shard->count,
                             shard->answer.selection.indices, shard->answer.selection.count);
    }
}

/* What the policy would have kept of all shards, if it only looks on. */
static struct job_shadow look_on(struct job *j, struct round *r, const struct selection_input *in)
{
    const struct selection_policy *policy = &j->settings.selection;
    struct job_shadow sum = {0};

    if (policy->mode != SELECTION_SHADOW)
        return sum;
    rounds_choose(&j->rounds, r, policy, in);
    for (uint32_t rank = 0; rank < j->rounds.policy.ranks; rank++) {
        struct job_shadow one;

        if (r->shards[rank] == NULL)
            continue;
        one = job_shadow_of(&r->shards[rank]->answer.selection);
        sum.reports += one.reports;
        sum.instances += one.instances;
        sum.selected += one.selected;
        sum.loss += one.loss;
        sum.selected_loss += one.selected_loss;
    }
    note_classes(j, r);
    return sum;
}

/* Who holds the batch still and asks again is told the same. */
static void keep_answer(struct job *j, struct round_shard *shard)
{
    struct lease *l = session_find(shard->session, shard->token);
    struct selection memory;

    if (l == NULL || l->state != LEASE_SETTLED)
        return;
    memory = l->answer.selection;
    shard->answer.seq = l->answer.seq;
    l->answer = shard->answer;
    l->answer.selection.indices = memory.indices;
    l->answer.selection.weights = memory.weights;
    memcpy(memory.indices, shard->answer.selection.indices,
           shard->answer.selection.count * sizeof *memory.indices);
    memcpy(memory.weights, shard->answer.selection.weights,
           shard->answer.selection.count * sizeof *memory.weights);
    lease_answered(&j->leases, l);
    j->saved.dirty = true;
}

static void count_round(struct job *j, const struct round *r)
{
    j->metrics.rounds_answered++;
    j->metrics.rounds_incomplete += !r->complete;
}

struct round *job_next_round(struct job *j, uint64_t now_ms)
{
    struct round *r = rounds_next(&j->rounds, now_ms);
    struct selection_input in = {.recent = &j->recent, .rng = j->select_rng};
    struct job_shadow seen;

    if (r == NULL)
        return NULL;
    if (j->settings.selection.rule == SELECTION_CDF)
        recent_sort(&j->recent);
    seen = look_on(j, r, &in);
    rounds_choose(&j->rounds, r, selection_answered(&j->settings.selection), &in);
    if (seen.reports == 0)
        note_classes(j, r);
    for (uint32_t rank = 0; rank < j->rounds.policy.ranks; rank++)
        if (r->shards[rank] != NULL) {
            keep_answer(j, r->shards[rank]);
            job_note_selected(j, &seen, &r->shards[rank]->answer.selection);
            seen = (struct job_shadow){0};
        }
    count_round(j, r);
    return r;
}
