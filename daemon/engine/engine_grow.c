/* engine_grow.c - what changes while the engine runs: data sets that grow, settings; see engine.h.
 */
#include "engine_inner.h"

static bool is_up_to_date(const struct job *j, const struct job_dataset *dataset)
{
    uint64_t n = j->growth.n > 0 ? j->growth.n : j->coverage.n;

    return j->settings.dataset.keys == dataset->keys && n == dataset->instance_count;
}

size_t engine_grow(struct engine *e, const struct job_dataset *dataset,
                   void (*say_cb)(void *ctx, const char *reason), void *ctx)
{
    struct reason why = {""};
    size_t grown = 0;
    struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        if (j->settings.dataset.number != dataset->number || is_up_to_date(j, dataset))
            continue;
        if (job_grow(j, dataset, &why) == 0)
            grown++;
        else
            say_cb(ctx, why.text);
    }
    return grown;
}

static bool session_holds(const struct session *s, uint64_t serial)
{
    for (uint32_t i = 0; i < s->credit; i++)
        if (s->slots[i].state != LEASE_FREE && s->slots[i].serial <= serial)
            return true;
    return false;
}

bool engine_holds_mapped(const struct engine *e, uint32_t dataset, uint64_t serial)
{
    const struct session *s;
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        if (j->settings.dataset.number != dataset)
            continue;
        TAILQ_FOREACH (s, &j->sessions, of_job)
            if (s->way == WAY_MAP && session_holds(s, serial))
                return true;
    }
    return false;
}

const struct session *engine_find_too_small(const struct engine *e, uint32_t dataset,
                                            uint64_t record_bytes_max)
{
    const struct session *s;
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        if (j->settings.dataset.number != dataset)
            continue;
        TAILQ_FOREACH (s, &j->sessions, of_job)
            if (job_batch_bytes_of(record_bytes_max, s->batch_size,
                                   (enum message_records)s->layout) > e->settings.payload_bytes_max)
                return s;
    }
    return NULL;
}

void engine_set_limits(struct engine *e, uint64_t payload_bytes_max, uint64_t prefetch_bytes_max)
{
    e->settings.payload_bytes_max = payload_bytes_max;
    e->settings.prefetch_bytes_max = prefetch_bytes_max;
}
