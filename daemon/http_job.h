/* http_job.h - the job that a path names. */
#ifndef OHEMD_HTTP_JOB_H
#define OHEMD_HTTP_JOB_H

#include "engine/engine.h"
#include "http.h"

/** The job that the first argument of the path names; or NULL, and r->why names those there are. */
struct job *http_find_job(struct http_request *r, const struct engine *e);

#endif
