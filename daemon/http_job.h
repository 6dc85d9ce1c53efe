/* http_job.h - the job and the instance that a path names. */
#ifndef OHEMD_HTTP_JOB_H
#define OHEMD_HTTP_JOB_H

#include "engine/engine.h"
#include "http.h"

/** The job that the first argument of the path names; or NULL, and r->why names those there are. */
struct job *http_find_job(struct http_request *r, const struct engine *e);

/** The instance that the second argument names; or false, and r->why says which there are. */
bool http_find_instance(struct http_request *r, const struct job *j, uint32_t *out);

/** Has the job a quarantine? If not, r->why says how it gets one. */
bool http_has_quarantine(struct http_request *r, const struct job *j);

#endif
