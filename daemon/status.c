/* status.c - what the status socket is asked; the bodies are made in status_json.c. */
#include "status.h"

#include "../proto/error.h"
#include "http_job.h"
#include "prometheus.h"
#include "status_json.h"
#include "status_why.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_HARDEST_DEFAULT 10u

struct status {
    const struct config *config;
    struct server *server;
    const struct reload *reload;
    uint64_t started_ms;
    struct http *http;
    struct http *metrics; /* at a port; NULL: at none */
    struct why_list whys;
};

static const struct status *status_of(const struct http_request *r)
{
    return r->ctx;
}

static const struct job *find_job(struct http_request *r)
{
    return http_find_job(r, server_engine(status_of(r)->server));
}

static const struct dataset *dataset_of(const struct http_request *r, const struct job *j)
{
    return server_dataset(status_of(r)->server, j->settings.dataset.number);
}

static json_t *job_body(const struct http_request *r, const struct job *j)
{
    const struct status *s = status_of(r);
    uint32_t number = j->settings.dataset.number;

    assert(number < s->config->dataset_count);
    return status_json_job(j, s->config->datasets[number].name, server_now_ms(s->server));
}

static json_t *answer_health(struct http_request *r)
{
    const struct status *s = status_of(r);
    json_t *datasets = json_array();
    struct keeper_status kept;

    server_get_keeper_status(s->server, &kept);
    for (uint32_t i = 0; i < s->config->dataset_count; i++) {
        size_t old = generations_kept(server_generations(s->server), i);
        json_t *set =
            status_json_dataset(&s->config->datasets[i], server_dataset(s->server, i), old);

        if (json_array_append_new(datasets, set) != 0) {
            json_decref(datasets);
            return NULL;
        }
    }
    return status_json_health(server_engine(s->server), datasets, server_timing(s->server),
                              server_share_counts(s->server), &kept, reload_status(s->reload),
                              s->started_ms, server_now_ms(s->server));
}

static json_t *answer_jobs(struct http_request *r)
{
    const struct engine *e = server_engine(status_of(r)->server);
    json_t *list = json_array();
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (json_array_append_new(list, job_body(r, j)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *answer_job(struct http_request *r)
{
    const struct job *j = find_job(r);

    return j != NULL ? job_body(r, j) : http_refuse(r, MHD_HTTP_NOT_FOUND);
}

static json_t *answer_hardness(struct http_request *r)
{
    const struct job *j = find_job(r);

    return j != NULL ? status_json_hardness(j) : http_refuse(r, MHD_HTTP_NOT_FOUND);
}

static json_t *answer_hardest(struct http_request *r)
{
    const char *text = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "n");
    struct http_slice number = {text, text != NULL ? strlen(text) : 0};
    const struct job *j = find_job(r);
    uint64_t n = STATUS_HARDEST_DEFAULT;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    if (text != NULL && (!http_parse_number(number, HARDNESS_HARDEST_MAX, &n) || n == 0)) {
        reason_set(&r->why, "n is '%.*s'; a whole number from 1 to %d is allowed",
                   HTTP_SLICE_ARGS(number), HARDNESS_HARDEST_MAX);
        return http_refuse(r, MHD_HTTP_BAD_REQUEST);
    }
    return status_json_hardest(j, dataset_of(r, j), (size_t)n);
}

static json_t *answer_instance(struct http_request *r)
{
    const struct job *j = find_job(r);
    uint32_t id;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    if (!http_find_instance(r, j, &id))
        return http_refuse(r, MHD_HTTP_BAD_REQUEST);
    return status_json_instance(j, dataset_of(r, j), id);
}

static bool find_from(struct http_request *r, uint64_t max, uint64_t *out)
{
    const char *text = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "from");
    struct http_slice number = {text, text != NULL ? strlen(text) : 0};

    *out = 0;
    if (text == NULL || http_parse_number(number, max, out))
        return true;
    reason_set(&r->why, "from is '%.*s'; the `next` of an answer is allowed",
               HTTP_SLICE_ARGS(number));
    return false;
}

static json_t *answer_why(struct http_request *r)
{
    struct status *s = r->ctx;
    const struct job *j = find_job(r);
    uint64_t from;
    uint32_t id;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    if (!http_find_instance(r, j, &id) || !find_from(r, INT64_MAX, &from))
        return http_refuse(r, MHD_HTTP_BAD_REQUEST);
    if (!j->audit.on) {
        reason_set(&r->why,
                   "job '%s' keeps no draws and reports: set audit = yes in [job %s], and a state "
                   "directory",
                   j->settings.name, j->settings.name);
        return http_refuse(r, MHD_HTTP_CONFLICT);
    }
    return why_answer(&s->whys, r, s->server, j, id, from);
}

static json_t *answer_quarantine(struct http_request *r)
{
    const struct job *j = find_job(r);
    uint64_t from;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    if (!find_from(r, j->settings.dataset.instance_count - 1, &from))
        return http_refuse(r, MHD_HTTP_BAD_REQUEST);
    if (!http_has_quarantine(r, j))
        return http_refuse(r, MHD_HTTP_CONFLICT);
    return status_json_suspects(j, dataset_of(r, j), (uint32_t)from);
}

static json_t *answer_metrics(struct http_request *r)
{
    const struct status *s = status_of(r);
    struct keeper_status kept;
    struct prometheus_source source = {.engine = server_engine(s->server),
                                       .timing = server_timing(s->server),
                                       .kept = &kept,
                                       .uptime_ms = server_now_ms(s->server) - s->started_ms};

    server_get_keeper_status(s->server, &kept);
    r->text = prometheus_render(&source, &r->text_size);
    return NULL;
}

static const struct http_route routes[] = {
    {"/metrics", "/metrics", answer_metrics},
    {"/v1/health", "/v1/health", answer_health},
    {"/v1/jobs", "/v1/jobs", answer_jobs},
    {"/v1/jobs/*", "/v1/jobs/J", answer_job},
    {"/v1/jobs/*/hardness", "/v1/jobs/J/hardness", answer_hardness},
    {"/v1/jobs/*/hardest", "/v1/jobs/J/hardest?n=10", answer_hardest},
    {"/v1/jobs/*/quarantine", "/v1/jobs/J/quarantine?from=0", answer_quarantine},
    {"/v1/jobs/*/instances/*", "/v1/jobs/J/instances/ID", answer_instance},
    {"/v1/jobs/*/instances/*/why", "/v1/jobs/J/instances/ID/why?from=0", answer_why},
};

static const struct http_table table = {
    .name = "status",
    .method = MHD_HTTP_METHOD_GET,
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};

/* At a port there is no more than that: anybody on the machine can ask. */
static const struct http_table metrics_table = {
    .name = "metrics",
    .method = MHD_HTTP_METHOD_GET,
    .routes = routes,
    .route_count = 1,
};

int status_new(uv_loop_t *loop, const struct config *config, struct server *server,
               const struct reload *reload, struct status **out, struct reason *why)
{
    struct status *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL)
        return -OHEM_NOMEM;
    s->config = config;
    s->server = server;
    s->reload = reload;
    s->started_ms = server_now_ms(server);
    TAILQ_INIT(&s->whys);
    rc = http_new(loop, &table, config->status_socket, config->socket_mode, s, &s->http, why);
    if (rc != 0) {
        free(s);
        return rc;
    }
    *out = s;
    if (config->metrics_port != 0)
        rc = http_new_at_port(loop, &metrics_table, (uint16_t)config->metrics_port, s, &s->metrics,
                              why);
    if (rc != 0)
        http_close(s->http);
    return rc;
}

void status_close(struct status *s)
{
    http_close(s->http);
    if (s->metrics != NULL)
        http_close(s->metrics);
}

void status_free(struct status *s)
{
    if (s == NULL)
        return;
    http_free(s->http);
    http_free(s->metrics);
    why_free_all(&s->whys);
    free(s);
}
