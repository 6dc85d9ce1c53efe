/* job_files.c - see job_files.h. */
#include "job_files.h"

#include "../proto/error.h"
#include "classes.h"
#include "irreducible.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

char *job_files_print(const struct config_job *job)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    config_print_job(job, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static int read_irreducible(const struct config_job *job, struct job_settings *settings,
                            struct job_files *out, struct reason *why)
{
    int rc;

    if (job->irreducible[0] == '\0')
        return 0;
    rc = irreducible_read(job->irreducible, settings->dataset.instance_count, &out->irreducible,
                          &settings->irreducible_count, why);
    settings->irreducible = out->irreducible;
    if (rc == 0 && settings->irreducible_count < settings->dataset.instance_count)
        log_warning("job", "instances from %" PRIu64 " on have no irreducible loss name=%s",
                    settings->irreducible_count, job->settings.name);
    return rc;
}

static int read_classes(const struct config_job *job, const struct dataset *d,
                        struct job_settings *settings, struct job_files *out, struct reason *why)
{
    const char *fields = settings->dataset.fields;
    int rc;

    if (job->classes[0] == '\0')
        return 0;
    rc = classes_read(d, fields != NULL ? fields : "", job->classes, &out->classes, why);
    settings->classes = out->classes;
    settings->classes_count = dataset_count(d);
    return rc;
}

int job_files_read(const struct config_job *job, const struct dataset *d,
                   struct job_settings *settings, struct job_files *out, struct reason *why)
{
    struct reason inner;
    int rc;

    *out = (struct job_files){.text = job_files_print(job)};
    settings->text = out->text;
    rc = read_irreducible(job, settings, out, &inner);
    if (rc == 0)
        rc = read_classes(job, d, settings, out, &inner);
    if (rc != 0)
        reason_set(why, "[job %s] %s", job->settings.name, inner.text);
    return rc;
}

void job_files_free(struct job_files *f)
{
    free(f->irreducible);
    free(f->classes);
    free(f->text);
    *f = (struct job_files){0};
}
