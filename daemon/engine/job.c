/* job.c - one training run: draw, report, release, expire; see job.h.
 *
 * The parts do not know each other: here a lease's end becomes coverage that returns, and a report
 * becomes settled coverage, new scores and a selection, in that order and once.
 */
#include "job.h"

#include "../../proto/error.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <sodium/crypto_shorthash.h>
#include <stdlib.h>
#include <string.h>

static int init_parts(struct job *j)
{
    const struct job_settings *s = &j->settings;
    uint64_t n = s->dataset.instance_count;
    int rc;

    rc = hardness_init(&j->hardness, (uint32_t)n, (float)s->lambda);
    if (rc != 0)
        return rc;
    rc = coverage_init(&j->coverage, n, rng_make(s->seed, s->name, RNG_PERMUTATION));
    if (rc != 0)
        goto err_after_hardness;
    rc = sampler_init(&j->sampler, &s->sampler, rng_make(s->seed, s->name, RNG_DRAW),
                      MESSAGE_BATCH_SIZE_MAX);
    if (rc != 0)
        goto err_after_coverage;
    rc = lease_table_init(&j->leases, s->lease_ms, s->late_ms);
    if (rc != 0)
        goto err_after_sampler;
    return 0;

err_after_sampler:
    sampler_deinit(&j->sampler);
err_after_coverage:
    coverage_deinit(&j->coverage);
err_after_hardness:
    hardness_deinit(&j->hardness);
    return rc;
}

int job_new(const struct job_settings *settings, struct job **out, struct reason *why)
{
    uint64_t n = settings->dataset.instance_count;
    struct job *j;

    if (n < 1 || n >= UINT32_MAX) {
        reason_set(why, "job '%s': the data set has %" PRIu64 " instances; 1 to %u are allowed",
                   settings->name, n, UINT32_MAX - 1);
        return -OHEM_INVALID;
    }
    j = calloc(1, sizeof *j);
    if (j == NULL)
        goto err;
    j->settings = *settings;
    j->losses = malloc(MESSAGE_BATCH_SIZE_MAX * sizeof *j->losses);
    TAILQ_INIT(&j->sessions);
    if (j->losses == NULL || init_parts(j) != 0)
        goto err_after_alloc;
    *out = j;
    return 0;

err_after_alloc:
    free(j->losses);
    free(j);
err:
    reason_set(why, "job '%s': no memory for %" PRIu64 " instances", settings->name, n);
    return -OHEM_NOMEM;
}

void job_free(struct job *j)
{
    struct session *s;

    if (j == NULL)
        return;
    while ((s = TAILQ_FIRST(&j->sessions)) != NULL)
        job_leave(j, s);
    lease_table_deinit(&j->leases);
    sampler_deinit(&j->sampler);
    coverage_deinit(&j->coverage);
    hardness_deinit(&j->hardness);
    free(j->losses);
    free(j);
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

uint32_t job_batch_size(const struct job *j, uint32_t asked)
{
    uint64_t n = j->settings.dataset.instance_count;

    if (asked > 0)
        return asked;
    return j->settings.batch_size < n ? j->settings.batch_size : (uint32_t)n;
}

uint64_t job_batch_bytes_max(const struct job *j, uint32_t batch_size, enum message_records layout)
{
    uint64_t record = j->settings.dataset.record_bytes_max;

    if (layout == RECORDS_ALIGNED64)
        record = (record + MESSAGE_ALIGNMENT - 1) / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT;
    return record * batch_size;
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
    return 0;
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
        (s = session_new(&wishes, j, peer, number, now_ms)) == NULL) {
        reason_set(why, "no memory for %u batches of %u", wishes.credit, wishes.batch_size);
        return -OHEM_NOMEM;
    }
    j->instances_out_max = instances_out_max;
    j->slot_count += wishes.credit;
    j->session_count++;
    j->metrics.sessions_opened++;
    TAILQ_INSERT_TAIL(&j->sessions, s, of_job);
    *out = s;
    return 0;
}

static struct coverage_slot slot_at(const struct lease *l, uint32_t i)
{
    return (struct coverage_slot){.id = l->ids[i], .epoch = l->epochs[i]};
}

static void return_coverage(struct job *j, const struct lease *l)
{
    for (uint32_t i = 0; i < l->coverage_count; i++)
        coverage_return(&j->coverage, slot_at(l, i));
}

static void settle_coverage(struct job *j, const struct lease *l, bool reported)
{
    coverage_settle_many(&j->coverage, l->epochs, l->coverage_count, reported);
}

void job_leave(struct job *j, struct session *s)
{
    for (uint32_t i = 0; i < s->credit; i++) {
        struct lease *l = &s->slots[i];

        if (l->state == LEASE_OPEN) {
            return_coverage(j, l);
            j->metrics.leases_abandoned++;
        }
        lease_release(&j->leases, l);
    }
    j->instances_out_max -= (uint64_t)s->batch_size * s->credit;
    j->slot_count -= s->credit;
    j->session_count--;
    j->metrics.sessions_closed++;
    TAILQ_REMOVE(&j->sessions, s, of_job);
    session_free(s);
}

/* To the end of the list: nobody was active later. */
static void touch(struct job *j, struct session *s, uint64_t now_ms)
{
    s->active_ms = now_ms;
    TAILQ_REMOVE(&j->sessions, s, of_job);
    TAILQ_INSERT_TAIL(&j->sessions, s, of_job);
}

void job_heard(struct job *j, struct session *s, uint64_t now_ms)
{
    s->heard_ms = now_ms;
    touch(j, s, now_ms);
}

/* ---- drawing -----------------------------------------------------------------------------------
 */

/* A keyed hash over all that makes a batch this one (DESIGN 7). */
static uint64_t token_tag(const struct job *j, const struct session *s, const struct lease *l,
                          uint64_t step)
{
    const unsigned char *secret = (const unsigned char *)j->settings.secret;
    struct {
        uint64_t generation, step, ids, name;
        struct session_key key;
    } given = {.generation = j->settings.dataset.generation, .step = step, .key = s->key};
    uint64_t tag;

    crypto_shorthash((unsigned char *)&given.ids, (const unsigned char *)l->ids,
                     l->count * sizeof *l->ids, secret);
    crypto_shorthash((unsigned char *)&given.name, (const unsigned char *)j->settings.name,
                     strlen(j->settings.name), secret);
    crypto_shorthash((unsigned char *)&tag, (const unsigned char *)&given, sizeof given, secret);
    return tag;
}

bool job_ready(const struct job *j, const struct session *s)
{
    return s->free_count > 0 && coverage_ready(&j->coverage);
}

static void count_draw(struct job *j, struct session *s, const struct sampler_batch *b)
{
    s->free_count--;
    s->batches++;
    j->metrics.batches_drawn++;
    j->metrics.instances_coverage += b->coverage_count;
    j->metrics.instances_hard += b->count - b->coverage_count;
    j->metrics.draws_redrawn += b->redraw_count;
    j->metrics.draws_fallen += b->fallback_count;
}

struct lease *job_draw(struct job *j, struct session *s, uint64_t now_ms)
{
    struct lease *l = session_free_slot(s);
    struct sampler_batch batch = {
        .ids = l->ids,
        .epochs = l->epochs,
        .probabilities = l->probabilities,
        .weights = l->weights,
        .count = s->batch_size,
    };
    uint64_t step = j->step++;

    sampler_draw(&j->sampler, &j->hardness, &j->coverage, step, &batch);
    l->count = batch.count;
    l->coverage_count = batch.coverage_count;
    l->lsn = j->lsn;
    l->epoch = batch.coverage_count > 0 ? l->epochs[0] : j->coverage.epoch;
    lease_grant(&j->leases, l, (struct token){step, token_tag(j, s, l, step)}, now_ms);
    count_draw(j, s, &batch);
    touch(j, s, now_ms);
    return l;
}

static void note_age(struct job_ages *ages, uint64_t age)
{
    ages->count++;
    ages->sum += age;
    ages->max = age > ages->max ? age : ages->max;
}

/* OPEN -> FREE, as if it had never been handed out. */
static void undo_draw(struct job *j, struct session *s, struct lease *l)
{
    return_coverage(j, l);
    lease_release(&j->leases, l);
    s->free_count++;
    j->metrics.batches_redrawn++;
}

bool job_send(struct job *j, struct session *s, struct lease *l)
{
    uint64_t age = j->lsn - l->lsn;

    if (j->settings.max_age > 0 && age > j->settings.max_age && l->state == LEASE_OPEN &&
        s->redrawn_count < JOB_REDRAWN_MAX) {
        s->redrawn_count++;
        undo_draw(j, s, l);
        return false;
    }
    s->redrawn_count = 0;
    note_age(&j->sent_ages, age);
    return true;
}

/* ---- reports -----------------------------------------------------------------------------------
 */

/* No slot of this session holds the token: whose is it? */
static int explain_token(const struct job *j, struct token token, struct reason *why)
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

static int refuse_report(struct job *j, struct token token, struct reason *why)
{
    int rc = explain_token(j, token, why);

    if (rc == -OHEM_FOREIGN)
        j->metrics.reports_refused_foreign++;
    else
        j->metrics.reports_refused_token++;
    return rc;
}

static int find_reported(struct job *j, struct session *s, const struct message_loss *loss,
                         struct lease **out, struct reason *why)
{
    struct lease *l = session_find(s, loss->token);

    if (l == NULL)
        return refuse_report(j, loss->token, why);
    if (loss->losses.count != l->count) {
        j->metrics.reports_refused_count++;
        reason_set(why, "%zu losses for the batch of step %" PRIu64 ", which has %u instances",
                   loss->losses.count, l->token.step, l->count);
        return -OHEM_COUNT;
    }
    if (l->state == LEASE_CLOSED) {
        j->metrics.reports_refused_expired++;
        reason_set(why,
                   "the batch of step %" PRIu64 " was closed %" PRIu64
                   " ms after its lease ended (late_ms)",
                   l->token.step, j->settings.late_ms);
        return -OHEM_EXPIRED;
    }
    *out = l;
    return 0;
}

/* The losses in aligned memory, and their keyed digest. */
static uint64_t take_losses(struct job *j, struct vector losses)
{
    const unsigned char *secret = (const unsigned char *)j->settings.secret;
    uint64_t digest;

    memcpy(j->losses, losses.data, losses.count * sizeof *j->losses);
    crypto_shorthash((unsigned char *)&digest, (const unsigned char *)j->losses,
                     losses.count * sizeof *j->losses, secret);
    return digest;
}

static void apply_losses(struct job *j, const struct lease *l)
{
    hardness_fetch_ahead(&j->hardness, l->ids, l->count, 0);
    for (uint32_t i = 0; i < l->count; i++) {
        hardness_fetch_ahead(&j->hardness, l->ids, l->count, i + 1);
        if (!isfinite(j->losses[i])) {
            j->metrics.losses_nonfinite++;
            continue;
        }
        j->metrics.losses_negative += j->losses[i] < 0;
        j->metrics.losses_applied++;
        hardness_report(&j->hardness, l->ids[i], j->losses[i], l->token.step);
    }
}

static void settle_report(struct job *j, struct lease *l, uint64_t seq, uint64_t digest)
{
    struct lease_answer *a = &l->answer;

    a->late = l->state == LEASE_RETURNED;
    a->digest = digest;
    a->seq = seq;
    note_age(&j->reported_ages, j->lsn - l->lsn);
    a->lsn = ++j->lsn;
    if (!a->late)
        settle_coverage(j, l, true);
    apply_losses(j, l);
    selection_choose(&j->settings.selection, j->losses, l->count, &a->selection);
    lease_settle(&j->leases, l);
    l->session->reports++;
    j->last_all = a->selection.all;
    j->last_kept = a->selection.kept;
    j->metrics.reports_applied++;
    j->metrics.reports_late += a->late;
    j->metrics.instances_selected += a->selection.count;
}

int job_report(struct job *j, struct session *s, const struct message_loss *loss,
               struct lease **out_lease, bool *out_repeated, struct reason *why)
{
    struct lease *l = NULL;
    uint64_t digest;
    int rc = find_reported(j, s, loss, &l, why);

    if (rc != 0)
        return rc;
    digest = take_losses(j, loss->losses);
    if (l->state == LEASE_SETTLED && digest != l->answer.digest) {
        j->metrics.reports_refused_conflict++;
        reason_set(why, "the batch of step %" PRIu64 " was reported before with other losses",
                   l->token.step);
        return -OHEM_CONFLICT;
    }
    *out_repeated = l->state == LEASE_SETTLED;
    if (*out_repeated)
        j->metrics.reports_repeated++;
    else
        settle_report(j, l, loss->seq, digest);
    *out_lease = l;
    return 0;
}

/* ---- the end of a lease ------------------------------------------------------------------------
 */

int job_release(struct job *j, struct session *s, struct token token, struct reason *why)
{
    struct lease *l = session_find(s, token);

    if (l == NULL) {
        j->metrics.releases_refused++;
        return explain_token(j, token, why);
    }
    if (l->state == LEASE_OPEN) {
        settle_coverage(j, l, false);
        j->metrics.leases_released++;
    }
    s->unsent_count -= l->unsent;
    l->unsent = false;
    lease_release(&j->leases, l);
    s->free_count++;
    return 0;
}

void job_keepalive(struct job *j, struct session *s, uint64_t now_ms)
{
    for (uint32_t i = 0; i < s->credit; i++)
        if (s->slots[i].state == LEASE_OPEN)
            lease_extend(&j->leases, &s->slots[i], now_ms);
}

void job_expire(struct job *j, uint64_t now_ms)
{
    struct lease *l;

    while ((l = lease_expire(&j->leases, now_ms)) != NULL) {
        return_coverage(j, l);
        j->metrics.leases_expired++;
    }
    while (lease_close_late(&j->leases, now_ms) != NULL)
        ;
}

static uint64_t forgotten_after_ms(const struct job *j)
{
    return j->settings.lease_ms + j->settings.late_ms;
}

struct session *job_forgotten(const struct job *j, uint64_t now_ms)
{
    struct session *s = TAILQ_FIRST(&j->sessions);

    return s != NULL && s->active_ms + forgotten_after_ms(j) <= now_ms ? s : NULL;
}

uint64_t job_next_due(const struct job *j)
{
    const struct session *s = TAILQ_FIRST(&j->sessions);
    uint64_t due = lease_next_due(&j->leases);
    uint64_t forgotten = s != NULL ? s->active_ms + forgotten_after_ms(j) : UINT64_MAX;

    return forgotten < due ? forgotten : due;
}
