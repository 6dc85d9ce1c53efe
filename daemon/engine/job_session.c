/* job_session.c - sessions of a job: who joins, is heard, leaves and is forgotten; see job.h.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <inttypes.h>

/* In strict order K is the job's, and each batch that may be out has its place in the window. */
static int check_order(const struct job *j, const struct message_hello *hello, struct reason *why)
{
    const struct strict *strict = &j->strict;

    if (!strict_is_on(strict))
        return 0;
    if (hello->batch_size != strict->batch_size) {
        reason_set(why, "batch size %u: job '%s' is in strict order, all its batches have %u",
                   hello->batch_size, j->settings.name, strict->batch_size);
        return -OHEM_INVALID;
    }
    if (j->slot_count + hello->credit > strict->staleness) {
        reason_set(why,
                   "job '%s' is in strict order: its sessions may hold %u batches together "
                   "(staleness); %zu are promised to others, %u more were asked for",
                   j->settings.name, strict->staleness, j->slot_count, hello->credit);
        return -OHEM_LIMIT;
    }
    return 0;
}

static int check_wishes(const struct job *j, const struct message_hello *hello, struct reason *why)
{
    uint64_t n = j->settings.dataset.instance_count;
    uint64_t out = (uint64_t)hello->batch_size * hello->credit;

    if (hello->batch_size > MESSAGE_BATCH_SIZE_MAX) {
        reason_set(why, "batch size %u is over the limit of %u", hello->batch_size,
                   MESSAGE_BATCH_SIZE_MAX);
        return -OHEM_TOO_LARGE;
    }
    if (hello->batch_size > n) {
        reason_set(why, "batch size %u is more than the %" PRIu64 " instances of job '%s'",
                   hello->batch_size, n, j->settings.name);
        return -OHEM_INVALID;
    }
    if (hello->credit > MESSAGE_CREDIT_MAX) {
        reason_set(why, "credit %u is over the limit of %u batches", hello->credit,
                   MESSAGE_CREDIT_MAX);
        return -OHEM_TOO_LARGE;
    }
    if (j->instances_out_max + out > JOB_INSTANCES_OUT_MAX) {
        reason_set(why,
                   "job '%s' may have %u instances on lease at once; %" PRIu64
                   " are promised to others, %" PRIu64 " more were asked for",
                   j->settings.name, JOB_INSTANCES_OUT_MAX, j->instances_out_max, out);
        return -OHEM_LIMIT;
    }
    return check_order(j, hello, why);
}

int job_check_round(const struct job *j, uint32_t rank, uint32_t batch_size, struct reason *why)
{
    uint32_t ranks = j->settings.round.ranks;

    if (!rounds_are_on(&j->rounds))
        return 0;
    if (rank >= ranks) {
        reason_set(why, "rank %u: job '%s' has rounds of %u ranks, 0..%u (round)", rank,
                   j->settings.name, ranks, ranks - 1);
        return -OHEM_INVALID;
    }
    if ((uint64_t)ranks * batch_size > MESSAGE_ITEMS_MAX) {
        reason_set(why,
                   "batch size %u: job '%s' has rounds of %u ranks, and a round at most %u "
                   "instances (MESSAGE_ITEMS_MAX)",
                   batch_size, j->settings.name, ranks, MESSAGE_ITEMS_MAX);
        return -OHEM_TOO_LARGE;
    }
    return 0;
}

/* Each session that leaves has rows to be removed. */
static int reserve_gone(struct job *j)
{
    size_t count = j->saved.sessions.count + j->session_count + 1;

    return j->settings.durable ? rows_gone_reserve(&j->saved.sessions, count) : 0;
}

int job_join(struct job *j, const struct message_hello *hello, uint64_t peer, uint64_t number,
             uint64_t now_ms, struct session **out, struct reason *why)
{
    struct message_hello wishes = *hello;
    struct session *s;
    uint64_t instances_out_max;
    int rc;

    wishes.batch_size = job_batch_size(j, hello->batch_size);
    if (wishes.credit == 0)
        wishes.credit = j->settings.credit;
    rc = check_wishes(j, &wishes, why);
    if (rc != 0)
        return rc;
    instances_out_max = j->instances_out_max + (uint64_t)wishes.batch_size * wishes.credit;
    /* instances in the pool wait for a trainer beside those that all sessions may hold */
    if (coverage_reserve(&j->coverage, instances_out_max + j->coverage.pool_count) != 0 ||
        lease_table_reserve(&j->leases, j->slot_count + wishes.credit) != 0 ||
        reserve_gone(j) != 0 || (s = session_new(&wishes, j, peer, number, now_ms)) == NULL) {
        reason_set(why, "no memory for %u batches of %u", wishes.credit, wishes.batch_size);
        return -OHEM_NOMEM;
    }
    j->instances_out_max = instances_out_max;
    j->slot_count += wishes.credit;
    j->session_count++;
    s->dirty = j->saved.dirty = true;
    if (number > j->saved.session_last)
        j->saved.session_last = number;
    j->metrics.sessions_opened++;
    TAILQ_INSERT_TAIL(&j->sessions, s, of_job);
    rounds_join(&j->rounds, s, s->rank);
    *out = s;
    return 0;
}

void job_leave(struct job *j, struct session *s)
{
    for (uint32_t i = 0; i < s->credit; i++) {
        struct lease *l = &s->slots[i];

        if (l->state == LEASE_OPEN) {
            job_return_batch(j, l);
            j->metrics.leases_abandoned++;
        }
        lease_release(&j->leases, l);
        if (l->dirty)
            lease_saved(&j->leases, l); /* its row goes with the session's */
    }
    strict_forget_session(&j->strict, s);
    rounds_leave(&j->rounds, s, s->rank);
    if (s->saved)
        rows_gone_add(&j->saved.sessions, s->number);
    j->saved.dirty = true;
    j->instances_out_max -= (uint64_t)s->batch_size * s->credit;
    j->slot_count -= s->credit;
    j->session_count--;
    j->metrics.sessions_closed++;
    TAILQ_REMOVE(&j->sessions, s, of_job);
    session_free(s);
}

void job_touch(struct job *j, struct session *s, uint64_t now_ms)
{
    s->active_ms = now_ms;
    TAILQ_REMOVE(&j->sessions, s, of_job);
    TAILQ_INSERT_TAIL(&j->sessions, s, of_job);
}

void job_heard(struct job *j, struct session *s, uint64_t now_ms)
{
    s->heard_ms = now_ms;
    job_touch(j, s, now_ms);
}

struct session *job_forgotten(const struct job *j, uint64_t now_ms)
{
    struct session *s = TAILQ_FIRST(&j->sessions);

    return s != NULL && s->active_ms + job_forgotten_after_ms(j) <= now_ms ? s : NULL;
}

/* ---- what it holds from an earlier life --------------------------------------------------------
 */

struct session_claim *job_find_claim(struct session *s, struct token token)
{
    for (uint32_t i = 0; i < s->claim_count; i++)
        if (token_equal(s->claims[i].token, token))
            return &s->claims[i];
    return NULL;
}

void job_claim(struct session *s, struct token token)
{
    if (session_find(s, token) == NULL && job_find_claim(s, token) == NULL &&
        s->claim_count < MESSAGE_CREDIT_MAX)
        s->claims[s->claim_count++] = (struct session_claim){.token = token};
}
