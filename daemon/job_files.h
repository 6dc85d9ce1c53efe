/* job_files.h - what a job has beside its settings, read at the start and lent to the engine: its
 * irreducible losses, the classes of its instances, and its settings as text. */
#ifndef OHEMD_JOB_FILES_H
#define OHEMD_JOB_FILES_H

#include "config.h"
#include "dataset.h"

struct job_files {
    float *irreducible; /* or NULL */
    uint8_t *classes;   /* or NULL */
    char *text;         /* as it is kept with the state; NULL: there was no memory */
};

/**
 * Read what the configuration names, and have the settings point to it.
 * @param settings  the job's, with its data set described
 * @return 0, or -OHEM_CONFIG, -OHEM_NOMEM with the reason; job_files_free() in any case
 */
int job_files_read(const struct config_job *job, const struct dataset *d,
                   struct job_settings *settings, struct job_files *out, struct reason *why);

/** The settings have changed. @return their text, for free(), or NULL */
char *job_files_print(const struct config_job *job);

void job_files_free(struct job_files *f);

#endif
