/* control.c - verbs; see control.h. */
#include "control.h"

#include "../proto/error.h"
#include "http_job.h"
#include "json_text.h"

#include <inttypes.h>
#include <stdlib.h>

struct control {
    struct server *server;
    struct http *http;
};

static json_t *answer_reset(struct http_request *r)
{
    const struct control *c = r->ctx;
    struct engine *e = server_engine(c->server);
    struct job *j = http_find_job(r, e);
    char name[MESSAGE_NAME_BYTES_MAX + 1];
    uint64_t ended;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    memcpy(name, j->settings.name, sizeof name);
    ended = j->session_count;
    if (engine_reset_job(e, j, &r->why) != 0)
        return http_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE);
    j = engine_find_job(e, name);
    log_warning("job", "begun anew by an operator name=%s life=%" PRIu64 " sessions_ended=%" PRIu64,
                name, j->saved.life, ended);
    return json_pack("{s:o, s:I, s:I}", "job", json_text(name), "life", (json_int_t)j->saved.life,
                     "sessions_ended", (json_int_t)ended);
}

static json_t *pardon(struct http_request *r, bool pardoned)
{
    const struct control *c = r->ctx;
    struct job *j = http_find_job(r, server_engine(c->server));
    uint32_t id;

    if (j == NULL)
        return http_refuse(r, MHD_HTTP_NOT_FOUND);
    if (!http_find_instance(r, j, &id))
        return http_refuse(r, MHD_HTTP_BAD_REQUEST);
    if (!http_has_quarantine(r, j))
        return http_refuse(r, MHD_HTTP_CONFLICT);
    job_pardon(j, id, pardoned);
    log_info("job", "%s by an operator name=%s id=%" PRIu32,
             pardoned ? "pardoned" : "pardon taken back", j->settings.name, id);
    return json_pack("{s:o, s:I, s:b}", "job", json_text(j->settings.name), "id", (json_int_t)id,
                     "pardoned", (int)pardoned);
}

static json_t *answer_pardon(struct http_request *r)
{
    return pardon(r, true);
}

static json_t *answer_unpardon(struct http_request *r)
{
    return pardon(r, false);
}

static const struct http_route routes[] = {
    {"/v1/jobs/*/reset", "/v1/jobs/J/reset", answer_reset},
    {"/v1/jobs/*/instances/*/pardon", "/v1/jobs/J/instances/ID/pardon", answer_pardon},
    {"/v1/jobs/*/instances/*/unpardon", "/v1/jobs/J/instances/ID/unpardon", answer_unpardon},
};

static const struct http_table table = {
    .name = "control",
    .method = MHD_HTTP_METHOD_POST,
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};

int control_new(uv_loop_t *loop, const struct config *config, struct server *server,
                struct control **out, struct reason *why)
{
    struct control *c;
    int rc;

    *out = NULL;
    if (config->control_socket[0] == '\0') {
        log_warning("control", "no socket: the status socket's path is too long for one beside it");
        return 0;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return -OHEM_NOMEM;
    c->server = server;
    rc = http_new(loop, &table, config->control_socket, config->control_mode, c, &c->http, why);
    if (rc != 0) {
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void control_close(struct control *c)
{
    if (c != NULL)
        http_close(c->http);
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    http_free(c->http);
    free(c);
}
