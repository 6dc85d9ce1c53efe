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

    out->waits = !over;
    out->flags = job_choose_none(j, loss, l->ids, &l->answer.selection);
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
    const struct round_shard *shard;

    ROUND_FOREACH (shard, r)
        job_note_classes(j, shard->ids, shard->losses, shard->count,
                         shard->answer.selection.indices, shard->answer.selection.count);
}

/* What the policy would keep of all shards. */
static void look_on(struct job *j, struct round *r, const struct selection_input *in)
{
    const struct round_shard *shard;

    rounds_choose(&j->rounds, r, &j->settings.selection, in);
    ROUND_FOREACH (shard, r) {
        struct job_shadow seen = job_shadow_of(&shard->answer.selection);

        job_note_shadow(j, &seen);
    }
    note_classes(j, r);
}

static void choose(struct job *j, struct round *r)
{
    const struct selection_policy *policy = &j->settings.selection;
    struct selection_input in = {.recent = &j->recent, .rng = j->select_rng};

    if (policy->rule == SELECTION_CDF)
        recent_sort(&j->recent);
    if (policy->mode == SELECTION_SHADOW)
        look_on(j, r, &in);
    rounds_choose(&j->rounds, r, selection_answered(policy), &in);
    if (policy->mode != SELECTION_SHADOW)
        note_classes(j, r);
}

/* Who holds the batch still and asks again is told the same. */
static void keep_answer(struct job *j, struct round_shard *shard)
{
    struct lease *l = session_find(shard->session, shard->token);

    if (l == NULL || l->state != LEASE_SETTLED)
        return;
    shard->answer.seq = l->answer.seq;
    lease_answer(&j->leases, l, &shard->answer);
    j->saved.dirty = true;
}

struct round *job_next_round(struct job *j, uint64_t now_ms)
{
    struct round *r = rounds_next(&j->rounds, now_ms);
    struct round_shard *shard;

    if (r == NULL)
        return NULL;
    choose(j, r);
    ROUND_FOREACH (shard, r) {
        keep_answer(j, shard);
        job_note_selected(j, &shard->answer.selection);
    }
    j->metrics.rounds_answered++;
    j->metrics.rounds_incomplete += !r->complete;
    return r;
}
