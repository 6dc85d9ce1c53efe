/* job_report.c - a report comes: whose batch is it, was it applied before, what is answered.
 *
 * A batch is known by its lease. When that is gone (the batch was given back, its session ended, or
 * an earlier life of the daemon handed it out) the report's own ids show that they and the token
 * belong together, and the step's fate says whether a report was applied (steps.h).
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <inttypes.h>
#include <string.h>

/* ---- refusals ----------------------------------------------------------------------------------
 */

int job_explain_token(const struct job *j, struct token token, struct reason *why)
{
    const struct lease *other = lease_find(&j->leases, token.step);

    if (other != NULL && token_equal(other->token, token)) {
        reason_set(why, "the batch of step %" PRIu64 " was handed to another session (%" PRIu64 ")",
                   token.step, other->session->number);
        return -OHEM_FOREIGN;
    }
    reason_set(why,
               "this session holds no batch under the token %" PRIu64 ":%016" PRIx64
               " (released, or never handed out)",
               token.step, token.tag);
    return -OHEM_TOKEN;
}

static int refuse_token(struct job *j, struct token token, struct reason *why)
{
    int rc = job_explain_token(j, token, why);

    if (rc == -OHEM_FOREIGN)
        j->metrics.reports_refused_foreign++;
    else
        j->metrics.reports_refused_token++;
    return rc;
}

static int refuse_ids(struct job *j, uint64_t step, struct reason *why)
{
    j->metrics.reports_refused_token++;
    reason_set(why, "the report's ids are not those of the batch of step %" PRIu64, step);
    return -OHEM_TOKEN;
}

static int refuse_count(struct job *j, uint64_t step, size_t losses, size_t count,
                        struct reason *why)
{
    j->metrics.reports_refused_count++;
    reason_set(why, "%zu losses for the batch of step %" PRIu64 ", which has %zu instances", losses,
               step, count);
    return -OHEM_COUNT;
}

static int refuse_expired(struct job *j, uint64_t step, struct reason *why)
{
    j->metrics.reports_refused_expired++;
    reason_set(why,
               "the batch of step %" PRIu64 " was closed %" PRIu64
               " ms after its lease ended (late_ms)",
               step, j->settings.late_ms);
    return -OHEM_EXPIRED;
}

static int refuse_conflict(struct job *j, uint64_t step, struct reason *why)
{
    j->metrics.reports_refused_conflict++;
    reason_set(why, "the batch of step %" PRIu64 " was reported before with other losses", step);
    return -OHEM_CONFLICT;
}

/* ---- what a report says ------------------------------------------------------------------------
 */

/* The losses in aligned memory, and their digest. */
static uint64_t take_losses(struct job *j, const struct message_loss *loss)
{
    memcpy(j->losses, loss->losses.data, loss->losses.count * sizeof *j->losses);
    return job_report_digest(j, loss, j->losses);
}

/* From the digest on only what can be learned counts. */
static void subtract_irreducible(struct job *j, const uint32_t *ids, uint32_t count)
{
    const struct job_settings *s = &j->settings;

    for (uint32_t i = 0; s->irreducible != NULL && i < count; i++)
        if (ids[i] < s->irreducible_count)
            j->losses[i] -= s->irreducible[ids[i]];
}

static bool ids_are(struct vector ids, const struct lease *l)
{
    if (ids.count != l->count)
        return false;
    for (uint32_t i = 0; i < l->count; i++)
        if (vector_u64(ids, i) != l->ids[i])
            return false;
    return true;
}

/* ---- taking it ---------------------------------------------------------------------------------
 */

/* Of a batch that is forgotten it is not known. */
static void note_age(struct job *j, const struct lease *l)
{
    if (l != &j->forgotten)
        job_note_age(&j->reported_ages, j->lsn - l->lsn);
}

/* Free order: it is applied now. */
static int take_free(struct job *j, const struct session *s, struct lease *l, uint64_t digest,
                     bool undecided, struct reason *why)
{
    bool late = l->state != LEASE_OPEN;
    struct job_batch batch = {.step = l->token.step,
                              .ids = l->ids,
                              .epochs = l->epochs,
                              .count = l->count,
                              .coverage_count = late ? 0 : l->coverage_count,
                              .session = s->number,
                              .late = late,
                              .selected = l->answer.selection.indices,
                              .selected_count = l->answer.selection.count,
                              .undecided = undecided};

    if (job_reserve_report(j, l->count) != 0) {
        reason_set(why, "no memory for the report of step %" PRIu64, l->token.step);
        return -OHEM_NOMEM;
    }
    steps_set(&j->steps, l->token.step, digest);
    note_age(j, l);
    l->answer.flags = late ? SELECTION_FLAG_LATE : 0;
    l->answer.lsn = job_apply(j, &batch, j->losses);
    recent_add(&j->recent, j->losses, l->count);
    j->metrics.reports_late += late;
    return 0;
}

/* Strict order: it waits for its turn, unless another's report of the step came first.
 * @return -OHEM_RETRY: its step is not drawn (again) yet */
static int take_strict(struct job *j, struct session *s, struct lease *l, uint64_t seq,
                       uint64_t digest, struct reason *why)
{
    struct strict_batch *b = strict_at(&j->strict, l->token.step);

    if (b == NULL && l->token.step >= j->strict.drawn)
        return -OHEM_RETRY;
    if (b != NULL &&
        (b->count != l->count || memcmp(b->ids, l->ids, l->count * sizeof *l->ids) != 0))
        return refuse_ids(j, l->token.step, why);
    l->answer.flags = 0;
    l->answer.lsn = l->token.step + 1;
    if (b != NULL && b->state != STRICT_DONE) {
        note_age(j, l);
        job_finish_batch(j, b, s, seq, digest, j->losses, &l->answer.selection);
        return 0;
    }
    l->answer.flags = SELECTION_FLAG_SUPERSEDED;
    j->metrics.reports_superseded++;
    return 0;
}

/* Free order, and the ranks are answered together: the scores take it now. */
static int take_in_round(struct job *j, struct session *s, struct lease *l,
                         const struct message_loss *loss, uint64_t digest, struct job_outcome *out,
                         struct reason *why)
{
    struct job_entry entry;
    int rc = job_begin_round(j, s, l, loss, &entry);

    if (rc != 0) {
        reason_set(why, "no memory for the report of step %" PRIu64 " in its round", l->token.step);
        return rc;
    }
    rc = take_free(j, s, l, digest, entry.waits, why);
    if (rc != 0)
        return rc;
    l->answer.digest = digest;
    l->answer.seq = loss->seq;
    job_end_round(j, s, l, loss, &entry);
    out->lease = entry.waits ? NULL : l;
    return 0;
}

/* In shadow the policy's selection is what it would have been. */
static void note_classes(struct job *j, const struct lease *l, const struct job_shadow *seen)
{
    const struct selection *s = &l->answer.selection;
    bool looked = seen->reports > 0;

    job_note_classes(j, l->ids, j->losses, l->count, looked ? j->looked : s->indices,
                     looked ? j->looked_count : s->count);
}

static int take_alone(struct job *j, struct session *s, struct lease *l,
                      const struct message_loss *loss, uint64_t digest, struct reason *why)
{
    struct lease_answer *a = &l->answer;
    struct job_shadow seen = job_look_on(j, loss, l->ids, &a->selection);
    int rc;

    job_choose(j, loss, l->ids, &a->selection);
    rc = strict_is_on(&j->strict) ? take_strict(j, s, l, loss->seq, digest, why)
                                  : take_free(j, s, l, digest, false, why);
    if (rc != 0)
        return rc;
    a->digest = digest;
    a->seq = loss->seq;
    job_note_shadow(j, &seen);
    job_note_selected(j, &a->selection);
    note_classes(j, l, &seen);
    return 0;
}

/* @param out  its lease is set */
static int take(struct job *j, struct session *s, struct lease *l, const struct message_loss *loss,
                uint64_t digest, struct job_outcome *out, struct reason *why)
{
    int rc;

    subtract_irreducible(j, l->ids, l->count);
    out->lease = l;
    rc = rounds_are_on(&j->rounds) ? take_in_round(j, s, l, loss, digest, out, why)
                                   : take_alone(j, s, l, loss, digest, why);
    s->reports += rc == 0;
    out->flags = l->answer.flags;
    return rc;
}

/* Who says again what was answered is heard, and has been in that round. */
static void note_repeat(struct job *j, const struct session *s, const struct message_loss *loss)
{
    j->metrics.reports_repeated++;
    if (rounds_are_on(&j->rounds))
        rounds_note(&j->rounds, s, s->rank, loss->round);
}

/* ---- a batch that is known ---------------------------------------------------------------------
 */

static int report_known(struct job *j, struct session *s, struct lease *l,
                        const struct message_loss *loss, struct job_outcome *out,
                        struct reason *why)
{
    uint64_t digest;
    int rc;

    if (loss->losses.count != l->count)
        return refuse_count(j, l->token.step, loss->losses.count, l->count, why);
    if (loss->ids.count > 0 && !ids_are(loss->ids, l))
        return refuse_ids(j, l->token.step, why);
    if (l->state == LEASE_CLOSED)
        return refuse_expired(j, l->token.step, why);
    digest = take_losses(j, loss);
    if (l->state == LEASE_SETTLED && digest != l->answer.digest)
        return refuse_conflict(j, l->token.step, why);
    *out = (struct job_outcome){.lease = l};
    if (l->state == LEASE_SETTLED && rounds_hold(&j->rounds, s, l->token)) {
        out->lease = NULL;
        return 0;
    }
    if (l->state == LEASE_SETTLED) {
        note_repeat(j, s, loss);
        l->answer.seq = loss->seq; /* a step that was handed out again may have the same token */
        out->flags = l->answer.flags | SELECTION_FLAG_REPEATED;
        return 0;
    }
    rc = job_check_select(j, &loss->select, why);
    if (rc == 0)
        rc = take(j, s, l, loss, digest, out, why);
    if (rc != 0)
        return rc;
    job_no_longer_unsent(l);
    lease_settle(&j->leases, l);
    return 0;
}

/* ---- one that only its report still knows ------------------------------------------------------
 */

/* It was applied before, and what was answered is not kept. Who still holds the batch gets its
 * selection again: that follows from the losses. */
static int repeat(struct job *j, struct session *s, const struct message_loss *loss,
                  struct job_outcome *out)
{
    struct lease *l = &j->forgotten;
    struct lease_answer *a = &l->answer;
    const struct session_claim *claim = job_find_claim(s, loss->token);
    uint32_t flags = claim != NULL && claim->lsn > 0 ? claim->flags : SELECTION_FLAG_FORGOTTEN;

    a->seq = loss->seq;
    a->lsn = claim != NULL ? claim->lsn : 0;
    a->share = (struct message_share){0};
    if (claim != NULL && rounds_are_on(&j->rounds)) {
        job_choose_none(j, loss, loss->ids.count > 0 ? l->ids : NULL, &a->selection);
        flags |= SELECTION_FLAG_LATE;
    } else if (claim != NULL) {
        if (loss->ids.count > 0)
            subtract_irreducible(j, l->ids, l->count);
        job_choose(j, loss, loss->ids.count > 0 ? l->ids : NULL, &a->selection);
    } else {
        a->selection =
            (struct selection){.indices = a->selection.indices, .weights = a->selection.weights};
    }
    note_repeat(j, s, loss);
    *out = (struct job_outcome){l, SELECTION_FLAG_REPEATED | flags};
    return 0;
}

/* Was just this report taken already? In strict order it may still wait for its turn. */
static bool was_taken(struct job *j, struct session *s, const struct message_loss *loss,
                      uint64_t digest)
{
    struct strict_batch *b =
        strict_is_on(&j->strict) ? strict_at(&j->strict, loss->token.step) : NULL;

    if (b == NULL)
        return !steps_is_closed(&j->steps, loss->token.step) &&
               steps_fate(&j->steps, loss->token.step) == digest;
    if (b->state != STRICT_DONE || !b->reported || b->digest != digest)
        return false;
    if (b->reporter == NULL) { /* its session ended, and came back under its key */
        b->reporter = s;
        b->seq = loss->seq;
    }
    return true;
}

/* The report's ids, if they and the token belong together. */
static int take_ids(struct job *j, const struct message_loss *loss, struct reason *why)
{
    struct lease *l = &j->forgotten;

    if (loss->ids.count != loss->losses.count)
        return refuse_count(j, loss->token.step, loss->losses.count, loss->ids.count, why);
    for (uint32_t i = 0; i < loss->ids.count; i++) {
        uint64_t id = vector_u64(loss->ids, i);

        if (id >= j->hardness.n)
            return refuse_ids(j, loss->token.step, why);
        l->ids[i] = (uint32_t)id;
    }
    l->count = (uint32_t)loss->ids.count;
    l->token = loss->token;
    if (!job_token_fits(j, &loss->key, loss->token, l->ids, l->count))
        return refuse_token(j, loss->token, why);
    return 0;
}

/* Another report of the step was applied, or none ever will. In strict order that may have been
 * another session's, and take() says so; but not when the claim knows that it was ours. */
static int check_fate(struct job *j, const struct session_claim *claim,
                      const struct message_loss *loss, struct reason *why)
{
    uint64_t fate = steps_fate(&j->steps, loss->token.step);

    if (claim != NULL && claim->lsn > 0 && (claim->flags & SELECTION_FLAG_SUPERSEDED) == 0)
        return refuse_conflict(j, loss->token.step, why);
    if (fate == STEPS_OPEN || strict_is_on(&j->strict))
        return 0;
    return fate == STEPS_RELEASED ? refuse_token(j, loss->token, why)
                                  : refuse_conflict(j, loss->token.step, why);
}

static int report_forgotten(struct job *j, struct session *s, const struct message_loss *loss,
                            struct job_outcome *out, struct reason *why)
{
    struct lease *l = &j->forgotten;
    struct session_claim *claim;
    uint64_t digest = take_losses(j, loss);

    int rc = loss->ids.count > 0 ? take_ids(j, loss, why) : 0;

    if (rc != 0)
        return rc;
    l->token = loss->token;
    if (rounds_hold(&j->rounds, s, loss->token)) {
        *out = (struct job_outcome){0};
        return 0;
    }
    if (was_taken(j, s, loss, digest))
        return repeat(j, s, loss, out);
    if (loss->ids.count == 0)
        return refuse_token(j, loss->token, why);
    if (steps_is_closed(&j->steps, loss->token.step))
        return refuse_expired(j, loss->token.step, why);
    l->state = LEASE_RETURNED;
    claim = job_find_claim(s, loss->token);
    rc = check_fate(j, claim, loss, why);
    if (rc == 0)
        rc = take(j, s, l, loss, digest, out, why);
    if (rc != 0)
        return rc;
    if (claim != NULL) {
        claim->lsn = l->answer.lsn;
        claim->flags = l->answer.flags;
    }
    j->metrics.reports_recovered++;
    return 0;
}

/* ---- one whose turn has not come again ---------------------------------------------------------
 */

/* Its step is not drawn again since a restart. The report is nothing to this life yet, but the
 * trainer is not to wait: the steps before may be for it to do, since whoever did them is gone. The
 * selection follows from the losses alone; the client keeps the report and sends it again. */
static int answer_early(struct job *j, struct session *s, const struct message_loss *loss,
                        struct job_outcome *out, struct reason *why)
{
    struct lease *l = &j->forgotten;

    if (session_add_early(s, loss->seq) != 0) {
        reason_set(why, "no memory for the report of step %" PRIu64, loss->token.step);
        return -OHEM_NOMEM;
    }
    l->token = loss->token;
    l->answer.seq = loss->seq;
    l->answer.lsn = loss->token.step + 1;
    job_choose(j, loss, NULL, &l->answer.selection);
    j->metrics.reports_early++;
    *out = (struct job_outcome){l, SELECTION_FLAG_EARLY};
    return 0;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

int job_report(struct job *j, struct session *s, const struct message_loss *loss,
               struct job_outcome *out, struct reason *why)
{
    struct lease *l = session_find(s, loss->token);
    int rc;

    job_draw_ahead(j);
    rc = l != NULL ? report_known(j, s, l, loss, out, why) : report_forgotten(j, s, loss, out, why);
    if (rc == -OHEM_RETRY)
        return answer_early(j, s, loss, out, why);
    session_remove_early(s, loss->seq);
    if (rc == 0)
        job_note_seq(j, s, loss->seq);
    job_apply_ready(j);
    return rc;
}
