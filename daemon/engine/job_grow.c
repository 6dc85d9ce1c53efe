/* job_grow.c - a data set that grows under its job.
 *
 * The keys that were there stay the first ones, so every id means what it meant: scores, leases and
 * the epoch's order go on, and the new ids join the epoch. A token is a hash over the generation
 * that the job's row had on disk when its batch was handed out: a life that forgot how the set grew
 * knows that one. The last few generations are remembered, in the row, too. In strict order a step
 * must be drawn alike in every life, so new ids join at a step that is written down before it is
 * drawn.
 */
#include "../../proto/error.h"
#include "job_inner.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* ---- generations -------------------------------------------------------------------------------
 */

bool job_token_fits(const struct job *j, const struct session_key *key, struct token token,
                    const uint32_t *ids, uint32_t count)
{
    uint64_t generation = j->settings.dataset.generation;

    for (uint32_t i = 0;; i++) {
        if (job_token_tag(j, generation, key, token.step, ids, count) == token.tag)
            return true;
        if (i == JOB_GENERATIONS_MAX || j->generations[i] == 0)
            return false;
        generation = j->generations[i];
    }
}

static void note_generation(struct job *j, uint64_t earlier)
{
    memmove(j->generations + 1, j->generations, sizeof j->generations - sizeof *j->generations);
    j->generations[0] = earlier;
}

static bool prefix_is(const struct job_dataset *d, uint64_t n, uint64_t generation)
{
    uint64_t now;

    if (n == d->instance_count)
        return generation == d->generation;
    return d->prefix != NULL && d->prefix(d->keys, n, &now) && now == generation;
}

int job_check_generation(const struct job *j, uint64_t n, uint64_t generation, struct reason *why)
{
    const struct job_dataset *d = &j->settings.dataset;

    if (n >= 1 && n <= d->instance_count && prefix_is(d, n, generation))
        return 0;
    reason_set(why,
               "job '%s' was begun with other keys: its data set had %" PRIu64
               " instances (generation %016" PRIx64 ") and has %" PRIu64
               " now, which do not begin with those; set the data set back, or start over with "
               "--fresh",
               j->settings.name, n, generation, d->instance_count);
    return -OHEM_STATE;
}

/* ---- growing -----------------------------------------------------------------------------------
 */

static const char *why_not(const struct job *j, int rc)
{
    if (rc == -OHEM_NOMEM)
        return "no memory";
    return j->growth.n > 0 ? "its last growth waits for its step; reload when it is drawn"
                           : "its data set grew too often in this epoch; reload in the next";
}

static int fail(const struct job *j, int rc, uint64_t n, struct reason *why)
{
    reason_set(why, "job '%s' stays at %" PRIu64 " of %" PRIu64 " instances: %s", j->settings.name,
               j->coverage.n, n, why_not(j, rc));
    return rc;
}

/* The ids that it has are the first ones of the new data set, which takes the place of the old. */
static void keep_ids(struct job *j, const struct job_dataset *dataset)
{
    struct job_dataset *own = &j->settings.dataset;
    uint64_t n = own->instance_count, generation = own->generation;

    *own = *dataset;
    own->instance_count = n;
    own->generation = generation;
}

/* The coverage first: an id that it does not know is never handed out, whatever else has room. */
static int take_room(struct job *j, uint64_t n)
{
    int rc =
        n < UINT32_MAX && j->growth.n == 0 ? coverage_reserve_growth(&j->coverage) : -OHEM_LIMIT;

    if (rc == 0 && j->settings.durable)
        rc = journal_grow(&j->journal, n);
    if (rc == 0 && n > j->hardness.n)
        rc = hardness_grow(&j->hardness, (uint32_t)n);
    if (rc == 0 && n > j->quarantine.n)
        rc = quarantine_grow(&j->quarantine, (uint32_t)n);
    return rc;
}

static void join(struct job *j, uint64_t n, uint64_t generation)
{
    int rc = coverage_grow(&j->coverage, n);

    assert(rc == 0); /* take_room() saw to it */
    (void)rc;
    if (generation != j->settings.dataset.generation)
        note_generation(j, j->settings.dataset.generation);
    j->settings.dataset.instance_count = n;
    j->settings.dataset.generation = generation;
    if (!j->settings.durable)
        j->saved.generation = generation;
    j->growth = (struct job_growth){0};
    j->saved.dirty = true;
}

/* Behind all steps that this life or an earlier one may have drawn without the new ids. */
static void put_off(struct job *j, const struct job_dataset *dataset)
{
    uint64_t drawn = j->strict.drawn, earlier = j->saved.step_earlier;

    j->growth = (struct job_growth){.n = dataset->instance_count,
                                    .generation = dataset->generation,
                                    .step = drawn > earlier ? drawn : earlier,
                                    .saved = !j->settings.durable};
    j->saved.dirty = true;
}

int job_grow(struct job *j, const struct job_dataset *dataset, struct reason *why)
{
    uint64_t has = j->growth.n > 0 ? j->growth.n : j->coverage.n;
    int rc;

    keep_ids(j, dataset);
    if (dataset->instance_count == has) /* other records under the same keys */
        return 0;
    rc = take_room(j, dataset->instance_count);
    if (rc != 0)
        return fail(j, rc, dataset->instance_count, why);
    if (strict_is_on(&j->strict))
        put_off(j, dataset);
    else
        join(j, dataset->instance_count, dataset->generation);
    return 0;
}

bool job_growth_holds(const struct job *j)
{
    if (j->step >= j->saved.step_limit)
        return true;
    return j->growth.n > 0 && j->strict.drawn >= j->growth.step && !j->growth.saved;
}

void job_growth_join(struct job *j)
{
    if (j->growth.n > 0 && j->strict.drawn >= j->growth.step)
        join(j, j->growth.n, j->growth.generation);
}

struct job_dataset job_dataset_to_come(const struct job *j)
{
    struct job_dataset d = j->settings.dataset;

    if (j->growth.n > 0) {
        d.instance_count = j->growth.n;
        d.generation = j->growth.generation;
    }
    return d;
}

/* What joined is back with its row; what waits for its step needs room again. The rest, if there is
 * any, joins as with a reload; if it cannot, a later one may bring it. */
int job_resume_growth(struct job *j, struct reason *why)
{
    struct job_dataset now = j->settings.dataset;
    struct job_dataset *own = &j->settings.dataset;
    int rc = 0;

    own->instance_count = j->coverage.n;
    if (own->instance_count < now.instance_count &&
        !now.prefix(now.keys, own->instance_count, &own->generation))
        rc = -OHEM_STATE;
    if (rc == 0 && j->growth.n > 0)
        rc = coverage_reserve_growth(&j->coverage);
    else if (rc == 0 && own->instance_count < now.instance_count)
        rc = job_grow(j, &now, why);
    return rc == 0 || rc == -OHEM_LIMIT ? 0 : fail(j, rc, now.instance_count, why);
}

/* ---- policies ----------------------------------------------------------------------------------
 */

void job_set_policies(struct job *j, const struct job_settings *s)
{
    j->settings.sampler = s->sampler;
    quarantine_set_policy(&j->quarantine, &s->quarantine);
    j->settings.quarantine = j->quarantine.policy;
    j->shadow = (struct job_shadow){0};
    if (j->by_class != NULL)
        memset(j->by_class, 0, JOB_CLASSES_MAX * sizeof *j->by_class);
    j->settings.batch_size = s->batch_size;
    job_set_selection(j, &s->selection);
    j->settings.credit = s->credit;
    j->settings.max_age = s->max_age;
    j->settings.round.ms = j->rounds.policy.ms = s->round.ms;
    j->settings.round.balanced = j->rounds.policy.balanced = s->round.balanced;
    j->settings.text = s->text;
    j->saved.dirty = j->saved.text_dirty = true;
    sampler_set_policy(&j->sampler, &s->sampler);
}
