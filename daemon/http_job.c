/* http_job.c - the job and the instance that a path names; see http_job.h. */
#include "http_job.h"

#include <inttypes.h>
#include <string.h>

/* Name what was asked for and what there is, as far as a line holds it. */
static void explain(struct http_request *r, const struct engine *e)
{
    char names[REASON_BYTES_MAX - 160] = "";
    size_t used = 0;
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine) {
        int wrote = snprintf(names + used, sizeof names - used, "%s'%s'", used > 0 ? ", " : "",
                             j->settings.name);

        if (wrote < 0 || (size_t)wrote >= sizeof names - used)
            break;
        used += (size_t)wrote;
    }
    reason_set(&r->why, "no job '%.*s'; there is %s", HTTP_SLICE_ARGS(r->arguments[0]), names);
}

struct job *http_find_job(struct http_request *r, const struct engine *e)
{
    struct http_slice asked = r->arguments[0];
    char name[MESSAGE_NAME_BYTES_MAX + 1] = "";
    struct job *j = NULL;

    if (asked.size <= MESSAGE_NAME_BYTES_MAX) {
        memcpy(name, asked.text, asked.size);
        j = engine_find_job(e, name);
    }
    if (j == NULL)
        explain(r, e);
    return j;
}

bool http_find_instance(struct http_request *r, const struct job *j, uint32_t *out)
{
    uint64_t last = j->settings.dataset.instance_count - 1, id;

    if (http_parse_number(r->arguments[1], last, &id)) {
        *out = (uint32_t)id;
        return true;
    }
    reason_set(&r->why, "the instance is '%.*s'; job '%s' has the whole numbers from 0 to %" PRIu64,
               HTTP_SLICE_ARGS(r->arguments[1]), j->settings.name, last);
    return false;
}

bool http_has_quarantine(struct http_request *r, const struct job *j)
{
    if (!j->quarantine.policy.on)
        reason_set(&r->why, "job '%s' has no quarantine: set quarantine = yes in [job %s]",
                   j->settings.name, j->settings.name);
    return j->quarantine.policy.on;
}
