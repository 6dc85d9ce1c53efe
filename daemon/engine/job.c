/* job.c - one training run: draw, apply, release, expire; see job.h.
 *
 * The parts do not know each other: here a lease's end becomes coverage that returns, and a report
 * becomes settled coverage and new scores, in that order and once.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int init_memory(struct job *j)
{
    const struct job_settings *s = &j->settings;
    uint32_t n = (uint32_t)s->dataset.instance_count;

    if (s->staleness > 0)
        return hardness_init_ordered(&j->hardness, n, (float)s->lambda);
    return hardness_init(&j->hardness, n, (float)s->lambda);
}

/* What fails leaves the parts behind it zero: job_free() takes all of them. */
static int init_parts(struct job *j)
{
    const struct job_settings *s = &j->settings;
    uint64_t n = s->dataset.instance_count;
    int rc = init_memory(j);

    if (rc == 0)
        rc = coverage_init(&j->coverage, n, rng_make(s->seed, s->name, RNG_PERMUTATION));
    if (rc == 0)
        rc = sampler_init(&j->sampler, &s->sampler, rng_make(s->seed, s->name, RNG_DRAW),
                          MESSAGE_BATCH_SIZE_MAX);
    if (rc == 0)
        rc = lease_table_init(&j->leases, s->lease_ms, s->late_ms);
    if (rc == 0)
        rc = steps_init(&j->steps);
    if (rc == 0 && s->durable)
        rc = journal_init(&j->journal, n);
    if (rc == 0)
        rc = audit_init(&j->audit, s->durable && s->audit ? s->audit_bytes_max : 0);
    if (rc == 0)
        rc = strict_init(&j->strict, s->staleness, job_batch_size(j, 0));
    if (rc == 0)
        rc = lease_init(&j->forgotten, NULL, MESSAGE_BATCH_SIZE_MAX);
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
    if (j != NULL) {
        j->settings = *settings;
        j->losses = malloc(MESSAGE_BATCH_SIZE_MAX * sizeof *j->losses);
        j->saved.step_limit = settings->durable ? 0 : UINT64_MAX;
        j->saved.dirty = j->saved.clears = j->saved.text_dirty = true;
        TAILQ_INIT(&j->sessions);
    }
    if (j != NULL && j->losses != NULL && init_parts(j) == 0) {
        *out = j;
        return 0;
    }
    job_free(j);
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
    rows_gone_deinit(&j->saved.sessions);
    free(j->saved.text_before);
    lease_deinit(&j->forgotten);
    strict_deinit(&j->strict);
    audit_deinit(&j->audit);
    journal_deinit(&j->journal);
    steps_deinit(&j->steps);
    lease_table_deinit(&j->leases);
    sampler_deinit(&j->sampler);
    coverage_deinit(&j->coverage);
    hardness_deinit(&j->hardness);
    free(j->losses);
    free(j);
}

void job_warm_start(struct job *j, const struct job *from)
{
    hardness_adopt(&j->hardness, &from->hardness, (float)j->settings.warm_factor);
    j->saved.warming = j->settings.durable;
    if (j->settings.durable)
        journal_need_all(&j->journal);
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

uint64_t job_batch_bytes_of(uint64_t record_bytes_max, uint32_t batch_size,
                            enum message_records layout)
{
    uint64_t record = record_bytes_max;

    if (layout == RECORDS_ALIGNED64)
        record = (record + MESSAGE_ALIGNMENT - 1) / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT;
    return record * batch_size;
}

uint64_t job_batch_bytes_max(const struct job *j, uint32_t batch_size, enum message_records layout)
{
    return job_batch_bytes_of(j->settings.dataset.record_bytes_max, batch_size, layout);
}

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
    *out = s;
    return 0;
}

static struct coverage_slot slot_at(const struct lease *l, uint32_t i)
{
    return (struct coverage_slot){.id = l->ids[i], .epoch = l->epochs[i]};
}

/* What a lease handed out is handed out again: in strict order the batch as a whole. */
static void return_batch(struct job *j, const struct lease *l)
{
    struct strict_batch *b = strict_out(&j->strict, l->token.step);

    j->saved.dirty = true;
    if (!strict_is_on(&j->strict))
        for (uint32_t i = 0; i < l->coverage_count; i++)
            coverage_return(&j->coverage, slot_at(l, i));
    if (b != NULL)
        strict_set(&j->strict, b, STRICT_READY);
}

void job_leave(struct job *j, struct session *s)
{
    for (uint32_t i = 0; i < s->credit; i++) {
        struct lease *l = &s->slots[i];

        if (l->state == LEASE_OPEN) {
            return_batch(j, l);
            j->metrics.leases_abandoned++;
        }
        lease_release(&j->leases, l);
        if (l->dirty)
            lease_saved(&j->leases, l); /* its row goes with the session's */
    }
    strict_forget_session(&j->strict, s);
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

/* Batches that it holds from an earlier life count, too. */
static bool may_be_sent_more(const struct session *s)
{
    return s->free_count > s->claim_count;
}

void job_prepare(struct job *j, uint64_t now_ms)
{
    j->steps.now_ms = now_ms;
    job_draw_ahead(j);
    if (strict_next(&j->strict) != NULL)
        job_apply_ready(j); /* when its turn came there was no memory, or a growth held it up */
}

bool job_ready(const struct job *j, const struct session *s)
{
    if (!may_be_sent_more(s) || j->saved.warming || j->journal.size > JOURNAL_UNSAVED_MAX ||
        j->audit.size > AUDIT_UNSAVED_MAX)
        return false;
    if (strict_is_on(&j->strict))
        return strict_ready(&j->strict, s) != NULL;
    return j->step < j->saved.step_limit && coverage_ready(&j->coverage);
}

bool job_may_resend(const struct session *s)
{
    return s->unsent_count > 0 && s->claim_count <= s->free_count;
}

static void count_draw(struct job *j, const struct sampler_batch *b)
{
    j->metrics.batches_drawn++;
    j->metrics.instances_coverage += b->coverage_count;
    j->metrics.instances_hard += b->count - b->coverage_count;
    j->metrics.draws_redrawn += b->redraw_count;
    j->metrics.draws_fallen += b->fallback_count;
}

uint64_t job_sample(struct job *j, uint64_t step, uint64_t now_ms, struct sampler_batch *out)
{
    steps_draw(&j->steps, step, now_ms);
    sampler_draw(&j->sampler, &j->hardness, &j->coverage, step, out);
    count_draw(j, out);
    j->step = step + 1;
    j->saved.dirty = true;
    return out->coverage_count > 0 ? out->epochs[0] : j->coverage.epoch;
}

/* @return the share of hard slots that was planned for */
static double draw_free(struct job *j, struct lease *l, uint32_t batch_size, uint64_t now_ms)
{
    struct sampler_batch batch = {
        .ids = l->ids,
        .epochs = l->epochs,
        .probabilities = l->probabilities,
        .weights = l->weights,
        .count = batch_size,
    };

    l->token.step = j->step;
    l->epoch = job_sample(j, j->step, now_ms, &batch);
    l->count = batch.count;
    l->coverage_count = batch.coverage_count;
    l->lsn = j->lsn;
    return batch.bias_share;
}

static void keep_draw(struct job *j, const struct lease *l, double bias_share)
{
    struct audit_draw draw = {.step = l->token.step,
                              .session = l->session->number,
                              .epoch = l->epoch,
                              .lsn = l->lsn,
                              .bias_share = bias_share,
                              .count = l->count,
                              .coverage_count = l->coverage_count,
                              .ids = l->ids,
                              .probabilities = l->probabilities,
                              .weights = l->weights};

    audit_draw(&j->audit, &draw, &j->settings.sampler);
}

struct lease *job_draw(struct job *j, struct session *s, uint64_t now_ms)
{
    struct lease *l = session_free_slot(s);
    double bias_share;
    uint64_t tag;

    if (audit_reserve(&j->audit, s->batch_size) != 0)
        return NULL;
    bias_share =
        strict_is_on(&j->strict) ? job_take_ready(j, s, l) : draw_free(j, l, s->batch_size, now_ms);
    keep_draw(j, l, bias_share);
    tag =
        job_token_tag(j, j->settings.dataset.generation, &s->key, l->token.step, l->ids, l->count);
    l->serial = j->settings.dataset.serial;
    lease_grant(&j->leases, l, (struct token){l->token.step, tag}, now_ms);
    s->free_count--;
    s->batches++;
    s->dirty = j->saved.dirty = true;
    touch(j, s, now_ms);
    return l;
}

void job_note_age(struct job_ages *ages, uint64_t age)
{
    ages->count++;
    ages->sum += age;
    ages->max = age > ages->max ? age : ages->max;
}

/* OPEN -> FREE, as if it had never been handed out. */
static void undo_draw(struct job *j, struct session *s, struct lease *l)
{
    return_batch(j, l);
    steps_set(&j->steps, l->token.step, STEPS_RELEASED);
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
    job_note_age(&j->sent_ages, age);
    return true;
}

static uint64_t forgotten_after_ms(const struct job *j)
{
    return j->settings.lease_ms + j->settings.late_ms;
}

/* ---- applying ----------------------------------------------------------------------------------
 */

static void apply_losses(struct job *j, const struct job_batch *b, const float *losses)
{
    hardness_fetch_ahead(&j->hardness, b->ids, b->count, 0);
    for (uint32_t i = 0; i < b->count; i++) {
        hardness_fetch_ahead(&j->hardness, b->ids, b->count, i + 1);
        if (!isfinite(losses[i])) {
            j->metrics.losses_nonfinite++;
            continue;
        }
        j->metrics.losses_negative += losses[i] < 0;
        j->metrics.losses_applied++;
        hardness_report(&j->hardness, b->ids[i], losses[i], b->step);
    }
}

int job_reserve_report(struct job *j, uint32_t count)
{
    int rc = j->settings.durable ? journal_reserve(&j->journal, count) : 0;

    return rc == 0 ? audit_reserve(&j->audit, count) : rc;
}

/* What survives of a report; room was made. */
static void keep_report(struct job *j, const struct job_batch *b, const float *losses)
{
    struct audit_report report = {.step = b->step,
                                  .session = b->session,
                                  .lsn = j->lsn,
                                  .late = b->late,
                                  .count = b->count,
                                  .ids = b->ids,
                                  .losses = losses};

    if (j->settings.durable)
        journal_append(&j->journal, j->lsn, b->step, b->count, b->ids, losses);
    audit_report(&j->audit, &report, &j->settings.selection);
}

uint64_t job_apply(struct job *j, const struct job_batch *b, const float *losses)
{
    if (losses != NULL || strict_is_on(&j->strict)) /* strict order: the LSN is the step + 1 */
        j->lsn++;
    coverage_settle_many(&j->coverage, b->epochs, b->coverage_count, losses != NULL);
    j->saved.dirty = true;
    if (losses == NULL)
        return j->lsn;
    apply_losses(j, b, losses);
    keep_report(j, b, losses);
    j->metrics.reports_applied++;
    return j->lsn;
}

void job_note_seq(struct job *j, struct session *s, uint64_t seq)
{
    if (seq > s->reported_seq)
        s->reported_seq = seq;
    if (strict_is_on(&j->strict) || s->applied_seq == s->reported_seq)
        return; /* job_apply_ready() says what is applied */
    s->applied_seq = s->reported_seq;
    s->dirty = j->saved.dirty = true;
}

/* ---- the end of a lease ------------------------------------------------------------------------
 */

void job_no_longer_unsent(struct lease *l)
{
    l->session->unsent_count -= l->unsent;
    l->unsent = false;
}

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

static int release_claim(struct job *j, struct session *s, struct token token, struct reason *why)
{
    struct session_claim *claim = job_find_claim(s, token);

    if (claim == NULL) {
        j->metrics.releases_refused++;
        return job_explain_token(j, token, why);
    }
    *claim = s->claims[--s->claim_count];
    return 0;
}

/* A batch that nobody will report is settled all the same: its trainer lives and wants it so. */
static void settle_unreported(struct job *j, struct session *s, const struct lease *l)
{
    struct strict_batch *b = strict_out(&j->strict, l->token.step);

    j->metrics.leases_released++;
    j->saved.dirty = true;
    if (!strict_is_on(&j->strict)) {
        coverage_settle_many(&j->coverage, l->epochs, l->coverage_count, false);
        steps_set(&j->steps, l->token.step, STEPS_RELEASED);
    }
    if (b == NULL)
        return;
    job_finish_batch(j, b, s, 0, 0, NULL);
    job_apply_ready(j);
}

int job_release(struct job *j, struct session *s, struct token token, struct reason *why)
{
    struct lease *l = session_find(s, token);

    if (l == NULL)
        return release_claim(j, s, token, why);
    if (l->state == LEASE_OPEN)
        settle_unreported(j, s, l);
    job_no_longer_unsent(l);
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

/* Strict order: the step whose turn it is is not over, however long ago it was drawn. */
static void keep_waiting_open(struct job *j, uint64_t now_ms)
{
    uint64_t step = j->strict.applied;

    if (step < j->strict.drawn && !steps_is_closed(&j->steps, step))
        steps_draw(&j->steps, step, now_ms);
}

void job_expire(struct job *j, uint64_t now_ms)
{
    struct lease *l;

    while ((l = lease_expire(&j->leases, now_ms)) != NULL) {
        return_batch(j, l);
        j->metrics.leases_expired++;
        if (!l->unsent)
            continue;
        job_no_longer_unsent(l); /* the session never had it */
        lease_release(&j->leases, l);
        l->session->free_count++;
    }
    while (lease_close_late(&j->leases, now_ms) != NULL)
        ;
    keep_waiting_open(j, now_ms);
    steps_expire(&j->steps, now_ms, forgotten_after_ms(j));
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
    uint64_t over = steps_next_due(&j->steps, forgotten_after_ms(j));

    due = over < due ? over : due;
    return forgotten < due ? forgotten : due;
}
