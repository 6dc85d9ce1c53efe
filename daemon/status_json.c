/* status_json.c - what the status socket answers, as JSON; see status_json.h.
 *
 * json_pack() fails as a whole when a part is NULL and then gives back what it was handed ("o"
 * steals), so parts are nested without a check of their own.
 */
#include "status_json.h"

#include "engine/gain.h"
#include "json_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static const char *const weight_names[] = {
    [SAMPLER_HARD] = "hard", [SAMPLER_RANK] = "rank", [SAMPLER_UNIFORM] = "uniform"};

static json_t *count(uint64_t x)
{
    return json_integer(x <= INT64_MAX ? (json_int_t)x : INT64_MAX);
}

/* ---- the daemon ---------------------------------------------------------------------------------
 */

json_t *status_json_dataset(const struct config_dataset *c, const struct dataset *d, size_t old)
{
    char fingerprint[19];

    (void)snprintf(fingerprint, sizeof fingerprint, "0x%016" PRIx64, dataset_fingerprint(d));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "name", json_text(c->name), "path",
                     json_text(c->path), "instances", count(dataset_count(d)), "bytes",
                     count(dataset_bytes(d)), "record_bytes", count(dataset_record_bytes(d)),
                     "record_bytes_max", count(dataset_record_bytes_max(d)), "fingerprint",
                     fingerprint, "old_generations", count(old));
}

static json_t *json_timing(const struct server_timing *t)
{
    const struct turns *turns = &t->turns;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "draw_ns",
        count(t->draw_ns), "gather_ns", count(t->gather_ns), "send_ns", count(t->send_ns),
        "receive_ns", count(t->receive_ns), "turns", count(turns->count), "turn_ns_p50",
        count(turns_quantile_ns(turns, 0.5)), "turn_ns_p99", count(turns_quantile_ns(turns, 0.99)),
        "turn_ns_p999", count(turns_quantile_ns(turns, 0.999)), "turn_ns_max", count(turns->max_ns),
        "batches", count(t->batches), "payload_bytes", count(t->payload_bytes), "batches_inline",
        count(t->batches_by_way[WAY_INLINE]), "batches_shm", count(t->batches_by_way[WAY_SHM]),
        "batches_map", count(t->batches_by_way[WAY_MAP]));
}

static json_t *json_share(const struct share_counts *c)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "fetched", count(c->fetched), "refused",
                     count(c->refused), "dropped", count(c->dropped), "ring_bytes",
                     count(c->ring_bytes));
}

static json_t *seconds(uint64_t ns)
{
    return real((double)ns / 1e9);
}

/* Without a state there is nothing to tell but that. */
static json_t *json_state(const struct keeper_status *k)
{
    const struct state_status *s = k->state;

    if (s == NULL)
        return json_pack("{s:n, s:b}", "path", "durable", 0);
    return json_pack("{s:o, s:b, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "path",
                     json_text(k->path), "durable", 1, "commits", count(s->commits), "failures",
                     count(s->failures), "failing", (int)s->failing, "last_error",
                     s->failures > 0 ? json_text(s->last_error.text) : json_null(),
                     "commit_bytes_last", count(s->commit_bytes_last), "commit_seconds_last",
                     seconds(s->commit_ns_last), "commit_seconds_longest",
                     seconds(s->commit_ns_longest), "capture_seconds_last",
                     seconds(k->capture_ns_last), "capture_seconds_longest",
                     seconds(k->capture_ns_longest), "bytes", count(s->bytes));
}

static json_t *json_daemon_counters(const struct metrics_daemon *m)
{
    json_t *counters = json_object();
    struct metrics_value v;

    for (size_t i = 0; (v = metrics_daemon_at(m, i)).name != NULL; i++)
        if (json_object_set_new(counters, v.name, count(v.value)) != 0)
            goto err_after_counters;
    return counters;

err_after_counters:
    json_decref(counters);
    return NULL;
}

static json_t *json_lines(const struct reload_lines *lines)
{
    json_t *list = json_array();

    for (size_t i = 0; i < lines->count && i < RELOAD_LINES_MAX; i++)
        if (json_array_append_new(list, json_text(lines->lines[i].text)) != 0)
            goto err_after_list;
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

static json_t *json_reload(const struct reload_status *r, uint64_t now_ms)
{
    bool any = r->count > 0 || r->busy;

    return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "count", count(r->count),
                     "busy", (int)r->busy, "age_ms",
                     r->count > 0 ? count(now_ms - r->ended_ms) : json_null(), "configuration",
                     any ? json_string(r->config_taken ? "taken" : "refused") : json_null(),
                     "changed", count(r->changed), "moved", count(r->moved), "waiting_count",
                     count(r->waiting.count), "waiting", json_lines(&r->waiting), "refused_count",
                     count(r->refused.count), "refused", json_lines(&r->refused));
}

json_t *status_json_health(const struct engine *e, json_t *datasets,
                           const struct server_timing *timing, const struct share_counts *share,
                           const struct keeper_status *kept, const struct reload_status *reload,
                           uint64_t started_ms, uint64_t now_ms)
{
    const struct job *j;
    uint64_t jobs = 0;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        jobs++;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "status",
                     e->draining ? "draining" : "serving", "version", OHEMD_VERSION, "uptime_ms",
                     count(now_ms - started_ms), "jobs", count(jobs), "sessions",
                     count(e->session_count), "datasets", datasets, "counters",
                     json_daemon_counters(&e->metrics), "timing", json_timing(timing), "share",
                     json_share(share), "state", json_state(kept), "reload",
                     json_reload(reload, now_ms));
}

/* ---- a job --------------------------------------------------------------------------------------
 */

static json_t *json_policy(const struct sampler_policy *p)
{
    static const char *const normalise[] = {
        [SAMPLER_MEAN] = "mean", [SAMPLER_MAX] = "max", [SAMPLER_NONE] = "none"};

    static const char *const modes[] = {[SAMPLER_ON] = "on",
                                        [SAMPLER_AUTO] = "auto",
                                        [SAMPLER_SHADOW] = "shadow",
                                        [SAMPLER_OFF] = "off"};

    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, "
                     "s:o}",
                     "sampling", p->sampling == SAMPLER_INFOBATCH ? "infobatch" : "mix",
                     "infobatch_ratio", real(p->infobatch_ratio), "infobatch_full",
                     real(p->infobatch_full), "bias", modes[p->mode], "gain_min", real(p->gain_min),
                     "rho", real(p->rho), "weight", weight_names[p->weight], "alpha",
                     real(p->alpha), "beta", real(p->beta), "normalise", normalise[p->normalise],
                     "unique", (int)p->unique, "redraws", count(p->redraws), "warmup_epochs",
                     real(p->warmup_epochs), "anneal_in_epochs", real(p->anneal_in),
                     "anneal_out_epochs", real(p->anneal_out), "epochs", real(p->epochs));
}

static json_t *json_selection(const struct selection_policy *p)
{
    static const char *const rules[] = {[SELECTION_ALL] = "all",
                                        [SELECTION_TOP] = "top",
                                        [SELECTION_THRESHOLD] = "threshold",
                                        [SELECTION_NEGPOS] = "negpos",
                                        [SELECTION_CDF] = "cdf"};
    static const char *const modes[] = {
        [SELECTION_ON] = "on", [SELECTION_SHADOW] = "shadow", [SELECTION_OFF] = "off"};

    return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "mode", modes[p->mode], "rule", rules[p->rule], "by_report", (int)p->by_report,
                     "neg_ratio", real(p->neg_ratio), "neg_min", count(p->neg_min), "cdf_power",
                     real(p->cdf_power), "cdf_floor", real(p->cdf_floor), "keep_count",
                     count(p->keep_count), "keep_ratio", real(p->keep_ratio), "keep_from_ratio",
                     real(p->keep_from), "keep_epochs", real(p->keep_epochs), "keep_steps",
                     count(p->keep_steps), "threshold", real(p->threshold), "max_keep",
                     count(p->max_keep), "min_keep", count(p->min_keep));
}

static json_t *json_round(const struct round_policy *p)
{
    return json_pack("{s:o, s:o, s:b}", "ranks", count(p->ranks), "timeout_ms", count(p->ms),
                     "balanced", (int)p->balanced);
}

static json_t *json_settings(const struct job_settings *s)
{
    char seed[21];

    (void)snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seed",
                     seed, "irreducible_count", count(s->irreducible_count), "order",
                     s->staleness > 0 ? "strict" : "free", "staleness_batches", count(s->staleness),
                     "max_age", count(s->max_age), "lambda", real(s->lambda), "batch_size",
                     count(s->batch_size), "credit", count(s->credit), "lease_ms",
                     count(s->lease_ms), "late_ms", count(s->late_ms), "policy",
                     json_policy(&s->sampler), "selection", json_selection(&s->selection), "round",
                     json_round(&s->round));
}

static json_t *json_job_counters(const struct metrics_job *m)
{
    json_t *counters = json_object();
    struct metrics_value v;

    for (size_t i = 0; (v = metrics_job_at(m, i)).name != NULL; i++)
        if (json_object_set_new(counters, v.name, count(v.value)) != 0)
            goto err_after_counters;
    return counters;

err_after_counters:
    json_decref(counters);
    return NULL;
}

static json_t *json_stats(const struct loss_stats *s)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "count", count(s->count), "mean",
                     real((double)s->mean), "min", real((double)s->min), "max",
                     real((double)s->max));
}

/* The cut is the score below which infobatch skipped, or null: it skips nothing there. */
static json_t *json_epoch(const struct coverage_report *r)
{
    bool skips = r->frozen && r->ratio > 0 && r->cut > 0;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cut",
        skips ? real(partition_bucket_floor(r->cut)) : json_null(), "epoch", count(r->epoch),
        "instance_count", count(r->instances), "served", count(r->served), "reported",
        count(r->reported), "released", count(r->released), "returned", count(r->returned),
        "repeated", count(r->repeated), "skipped", count(r->skipped), "missing", count(r->missing));
}

/* Oldest first; only the latest when there are many. */
static json_t *json_open_epochs(const struct coverage *c)
{
    size_t first = c->open_count > STATUS_EPOCHS_MAX ? c->open_count - STATUS_EPOCHS_MAX : 0;
    json_t *list = json_array();

    for (size_t i = first; i < c->open_count; i++)
        if (json_array_append_new(list, json_epoch(coverage_open(c, i))) != 0)
            goto err_after_list;
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

static json_t *json_closed_epochs(const struct coverage *c)
{
    json_t *list = json_array();

    for (size_t back = STATUS_EPOCHS_MAX; back-- > 0;) {
        const struct coverage_report *r = coverage_closed(c, back);

        if (r != NULL && json_array_append_new(list, json_epoch(r)) != 0)
            goto err_after_list;
    }
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

static json_t *json_epochs(const struct coverage *c)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "open_count", count(c->open_count), "open",
                     json_open_epochs(c), "closed_count", count(c->closed_count), "closed",
                     json_closed_epochs(c));
}

static json_t *json_session(const struct session *s, uint64_t now_ms)
{
    uint64_t idle_ms = now_ms > s->heard_ms ? now_ms - s->heard_ms : 0;

    static const char *const ways[] = {
        [WAY_INLINE] = "inline", [WAY_SHM] = "shm", [WAY_MAP] = "map"};
    static const char *const layouts[] = {[RECORDS_SCATTERED] = "scattered",
                                          [RECORDS_PACKED] = "packed",
                                          [RECORDS_ALIGNED64] = "aligned64"};

    return json_pack(
        "{s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "number", count(s->number),
        "rank", count(s->rank), "agent", json_text(s->agent), "transport", ways[s->way], "layout",
        layouts[s->layout], "batch_size", count(s->batch_size), "credit", count(s->credit), "held",
        count(s->credit - s->free_count), "batches", count(s->batches), "reports",
        count(s->reports), "idle_ms", count(idle_ms), "unreachable", (int)s->unreachable);
}

static json_t *json_sessions(const struct job *j, uint64_t now_ms)
{
    json_t *list = json_array();
    const struct session *s;

    TAILQ_FOREACH (s, &j->sessions, of_job) {
        if (json_array_size(list) == STATUS_SESSIONS_MAX)
            break;
        if (json_array_append_new(list, json_session(s, now_ms)) != 0)
            goto err_after_list;
    }
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

static json_t *json_leases(const struct lease_table *t)
{
    return json_pack("{s:o, s:o, s:o}", "open", count(t->open_count), "returned",
                     count(t->returned_count), "settled", count(t->settled_count));
}

/* How many reports overtook a batch between its draw and then. */
static json_t *json_ages(const struct job_ages *a)
{
    double mean = a->count > 0 ? (double)a->sum / (double)a->count : 0;

    return json_pack("{s:o, s:o, s:o}", "count", count(a->count), "mean_reports", real(mean),
                     "max_reports", count(a->max));
}

/* Where the run stands: what changes with each batch. */
static json_t *json_progress(const struct job *j)
{
    double progress = coverage_progress(&j->coverage);

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "step", count(j->step), "lsn",
                     count(j->lsn), "epoch", count(j->coverage.epoch), "epoch_position",
                     count(j->coverage.position), "progress", real(progress), "scored_count",
                     count(hardness_scored(&j->hardness)), "bias_share",
                     real(sampler_is_biased(&j->sampler)
                              ? sampler_bias_share(&j->settings.sampler, progress)
                              : 0),
                     "pool_count", count(j->coverage.pool_count));
}

/* What the bias does, or in shadow would do. The gain is what it would have, by the present scores,
 * and with bias = auto the moving average that decides. */
static json_t *json_bias(const struct job *j)
{
    struct sampler_outlook o = sampler_look(&j->sampler, &j->hardness, &j->coverage);

    return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o}", "in_force",
                     (int)sampler_is_biased(&j->sampler), "planned_share", real(o.bias_share),
                     "score_ratio", real(o.score_ratio), "overlap_ratio", real(o.overlap),
                     "gain_now", real(gain_measure(&j->hardness)), "gain_mean",
                     j->sampler.policy.mode == SAMPLER_AUTO ? real(j->sampler.gain) : json_null());
}

/* Shares are null while there is nothing to have a share of. */
static json_t *json_shadow(const struct job *j)
{
    const struct job_shadow *s = &j->shadow;

    if (j->settings.selection.mode != SELECTION_SHADOW)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "report_count", count(s->reports),
                     "instance_count", count(s->instances), "selected_count", count(s->selected),
                     "selected_ratio", real((double)s->selected / (double)s->instances),
                     "selected_loss_ratio", real(s->selected_loss / s->loss));
}

static json_t *json_class(unsigned number, const struct job_class *c)
{
    return json_pack("{s:i, s:o, s:o, s:o}", "class", (int)number, "reported_count",
                     count(c->reported), "selected_count", count(c->selected), "selected_ratio",
                     real((double)c->selected / (double)c->reported));
}

/* Those of which something was reported; a job without classes has null here. */
static json_t *json_classes(const struct job *j)
{
    json_t *list = j->by_class != NULL ? json_array() : json_null();

    for (unsigned i = 0; j->by_class != NULL && i < JOB_CLASSES_MAX; i++)
        if (j->by_class[i].reported > 0)
            (void)json_array_append_new(list, json_class(i, &j->by_class[i]));
    return list;
}

/* The cut is null while there is none; a job without a quarantine has null here. */
static json_t *json_quarantine(const struct job *j)
{
    const struct quarantine *q = &j->quarantine;
    const struct quarantine_policy *p = &q->policy;
    double scored = hardness_scored(&j->hardness);

    if (!p->on)
        return json_null();
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "suspect_count", count(q->suspects),
        "suspect_ratio", real(scored > 0 ? q->suspects / scored : 0), "pardoned_count",
        count(q->pardons), "cut_score", q->cut > 0 ? real(q->cut) : json_null(), "explained_ratio",
        p->share > 0 ? json_null() : real(q->explained), "share_ratio",
        p->share > 0 ? real(p->share) : json_null(), "cap_ratio", real(p->cap), "cv_max",
        p->cv > 0 ? real(p->cv) : json_null(), "visits_min", count(p->visits));
}

json_t *status_json_job(const struct job *j, const char *dataset, uint64_t now_ms)
{
    json_t *report =
        json_pack("{s:o, s:o}", "all", json_stats(&j->last_all), "kept", json_stats(&j->last_kept));
    json_t *rest = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "settings",
        json_settings(&j->settings), "age_sent", json_ages(&j->sent_ages), "age_reported",
        json_ages(&j->reported_ages), "leases", json_leases(&j->leases), "counters",
        json_job_counters(&j->metrics), "audit_bytes",
        j->audit.on ? count(j->audit.end - j->audit.begin) : json_null(), "last_report", report,
        "selection_shadow", json_shadow(j), "selection_classes", json_classes(j), "quarantine",
        json_quarantine(j), "bias", json_bias(j), "epochs", json_epochs(&j->coverage),
        "session_count", count(j->session_count), "sessions", json_sessions(j, now_ms));
    json_t *progress = json_progress(j);
    json_t *job =
        json_pack("{s:o, s:o, s:o}", "name", json_text(j->settings.name), "dataset",
                  json_text(dataset), "instance_count", count(j->settings.dataset.instance_count));

    if (json_object_update(job, progress) != 0 || json_object_update(job, rest) != 0) {
        json_decref(job);
        job = NULL;
    }
    json_decref(progress);
    json_decref(rest);
    return job;
}

/* ---- its memory ---------------------------------------------------------------------------------
 */

static json_t *json_quantiles(const struct hardness *h)
{
    static const struct {
        const char *name;
        double q;
    } asked[] = {{"0.01", 0.01}, {"0.1", 0.1}, {"0.25", 0.25}, {"0.5", 0.5},
                 {"0.75", 0.75}, {"0.9", 0.9}, {"0.99", 0.99}};
    json_t *quantiles = json_object();

    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        if (json_object_set_new(quantiles, asked[i].name, real(hardness_quantile(h, asked[i].q))))
            goto err_after_quantiles;
    return quantiles;

err_after_quantiles:
    json_decref(quantiles);
    return NULL;
}

/* The outermost buckets also hold what lies beyond them: from 0, and without an end (null). */
static json_t *json_bucket(unsigned b, uint32_t members)
{
    json_t *ceiling = b + 1 < PARTITION_BUCKETS ? real(partition_bucket_floor(b + 1)) : json_null();

    return json_pack("{s:o, s:o, s:o}", "floor", real(b > 0 ? partition_bucket_floor(b) : 0),
                     "ceiling", ceiling, "count", count(members));
}

static json_t *json_buckets(const struct hardness *h)
{
    json_t *list = json_array();

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        uint32_t members = hardness_members(h, b);

        if (members > 0 && json_array_append_new(list, json_bucket(b, members)) != 0)
            goto err_after_list;
    }
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

json_t *status_json_hardness(const struct job *j)
{
    const struct hardness *h = &j->hardness;

    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "scored_count", count(hardness_scored(h)),
                     "unscored_count", count(j->coverage.n - hardness_scored(h)), "mean",
                     real(hardness_mean(h)), "quantiles", json_quantiles(h), "buckets",
                     json_buckets(h));
}

/* Put the key into an object: "key" if it can be read, else "key_hex". @return 0, or -1: no memory.
 */
static int set_key(json_t *object, const struct dataset_record *key)
{
    json_t *value = NULL;
    char *hex;

    if (json_text_is_printable(key->data, key->size))
        value = json_stringn(key->data, key->size); /* NULL when it is not UTF-8 */
    if (value != NULL)
        return json_object_set_new(object, "key", value);
    hex = malloc(2 * key->size + 1);
    if (hex == NULL)
        return -1;
    for (size_t i = 0; i < key->size; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)key->data)[i]);
    value = json_stringn(hex, 2 * key->size);
    free(hex);
    return json_object_set_new(object, "key_hex", value);
}

static const char *standing_of(const struct quarantine *q, uint32_t id)
{
    if (quarantine_is_pardoned(q, id))
        return "pardoned";
    return quarantine_is_suspect(q, id) ? "suspect" : "none";
}

json_t *status_json_instance(const struct job *j, const struct dataset *d, uint32_t id)
{
    struct hardness_story story = hardness_story(&j->hardness, id);
    json_t *object =
        json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "id", count(id), "scored",
                  (int)story.scored, "score", real((double)story.score), "last_loss",
                  real((double)story.last_loss), "variance", real((double)story.variance), "visits",
                  count(story.visits), "last_step", count(story.last_step), "record_bytes",
                  count(dataset_record(d, id).size), "quarantine", standing_of(&j->quarantine, id));
    struct dataset_record key;

    /* A key that cannot be read any more is left out: the rest is still true. */
    if (object != NULL && dataset_key(d, id, &key) == 0 && set_key(object, &key) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *status_json_hardest(const struct job *j, const struct dataset *d, size_t n)
{
    uint32_t ids[HARDNESS_HARDEST_MAX];
    size_t found = hardness_hardest(&j->hardness, n, ids);
    json_t *list = json_array();

    for (size_t i = 0; i < found; i++)
        if (json_array_append_new(list, status_json_instance(j, d, ids[i])) != 0)
            goto err_after_list;
    return list;

err_after_list:
    json_decref(list);
    return NULL;
}

json_t *status_json_suspects(const struct job *j, const struct dataset *d, uint32_t from)
{
    json_t *list = json_array();
    uint32_t id = quarantine_next(&j->quarantine, from);

    while (id != UINT32_MAX && json_array_size(list) < STATUS_SUSPECTS_MAX) {
        if (json_array_append_new(list, status_json_instance(j, d, id)) != 0)
            goto err_after_list;
        id = quarantine_next(&j->quarantine, id + 1);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "job", json_text(j->settings.name), "quarantine",
                     json_quarantine(j), "instances", list, "next",
                     id != UINT32_MAX ? count(id) : json_null());

err_after_list:
    json_decref(list);
    return NULL;
}

/* ---- why ----------------------------------------------------------------------------------------
 */

json_t *status_json_name(const struct job *j, const struct dataset *d, uint32_t id)
{
    json_t *object = json_pack("{s:s, s:o}", "job", j->settings.name, "id", count(id));
    struct dataset_record key;

    if (object != NULL && dataset_key(d, id, &key) == 0 && set_key(object, &key) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *json_draw(const struct audit_event *e)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:{s:s, s:o, s:o}, s:o, s:o}",
                     "event", "draw", "step", count(e->step), "session", count(e->session), "epoch",
                     count(e->epoch), "lsn", count(e->lsn), "place", count(e->place), "count",
                     count(e->count), "coverage_count", count(e->coverage_count), "slot",
                     e->coverage ? "coverage" : "hard", "policy", "weight", weight_names[e->weight],
                     "alpha", real(e->alpha), "bias_share", real(e->bias_share), "p",
                     real((double)e->p), "w", real((double)e->w));
}

static json_t *json_report(const struct audit_event *e)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "event", "report",
                     "step", count(e->step), "session", count(e->session), "lsn", count(e->lsn),
                     "place", count(e->place), "count", count(e->count), "late", (int)e->late,
                     "loss", real((double)e->loss), "rank",
                     e->rank > 0 ? count(e->rank) : json_null(), "selected",
                     e->undecided ? json_null() : json_boolean(e->selected), "selected_count",
                     count(e->selected_count));
}

json_t *status_json_event(const struct audit_event *e)
{
    return e->kind == AUDIT_DRAW ? json_draw(e) : json_report(e);
}
