/* status.c - the status socket: a table of paths, and libmicrohttpd on the loop.
 *
 * libmicrohttpd has no thread here: its epoll descriptor is one handle of the loop, its time-outs
 * are a timer, and all it does it does inside MHD_run(). So an answer is made between two turns of
 * the engine and needs no lock. What is answered is in status_json.c, the socket file in
 * unix_socket.c.
 */
#include "status.h"

#include "../proto/error.h"
#include "status_json.h"
#include "unix_socket.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_CONNECTIONS_MAX 32u
#define STATUS_CONNECTION_BYTES_MAX \
    (32u << 10)                           /* request line and headers; answers are beside it */
#define STATUS_CONNECTION_SECONDS_MAX 10u /* without a byte */
#define STATUS_HARDEST_DEFAULT        10u
#define STATUS_ARGUMENTS_MAX          2u
#define STATUS_JSON_FLAGS             (JSON_COMPACT | JSON_REAL_PRECISION(9)) /* 9: a float's worth */

struct status {
    const struct config *config;
    struct server *server;
    uint64_t started_ms;
    struct unix_socket socket;
    struct MHD_Daemon *http;
    uv_poll_t poll;
    uv_timer_t timer;
};

/* ---- a request ----------------------------------------------------------------------------------
 */

/* A part of the path between two slashes. */
struct slice {
    const char *text;
    size_t size;
};

struct request {
    struct status *status;
    struct MHD_Connection *connection;
    struct slice arguments[STATUS_ARGUMENTS_MAX]; /* what stood for the *s of the path */
    const struct job *job;                        /* the first of them, if it names one */
    unsigned code;                                /* of HTTP */
    struct reason why;                            /* when the code is no 200 */
};

/* For messages: a part of the path, at most so much of it. */
#define SLICE_ARGS(s) (int)((s).size < 80 ? (s).size : 80), (s).text

static json_t *refuse(struct request *r, unsigned code)
{
    r->code = code;
    return json_pack("{s:o}", "error", status_json_text(r->why.text));
}

/* A whole number in decimal digits. */
static bool parse_number(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (s.size == 0 || s.size > 19) /* 10^19 - 1 fits */
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (s.text[i] < '0' || s.text[i] > '9')
            return false;
        value = 10 * value + (uint64_t)(s.text[i] - '0');
    }
    *out = value;
    return value <= max;
}

/* ---- the answers --------------------------------------------------------------------------------
 */

static const struct dataset *dataset_of(const struct request *r)
{
    return server_dataset(r->status->server, r->job->settings.dataset.number);
}

static json_t *job_body(const struct request *r, const struct job *j)
{
    uint32_t number = j->settings.dataset.number;

    assert(number < r->status->config->dataset_count);
    return status_json_job(j, r->status->config->datasets[number].name,
                           server_now_ms(r->status->server));
}

static json_t *answer_health(struct request *r)
{
    const struct status *s = r->status;
    json_t *datasets = json_array();
    struct keeper_status kept;

    server_get_keeper_status(s->server, &kept);
    for (uint32_t i = 0; i < s->config->dataset_count; i++) {
        const struct dataset *d = server_dataset(s->server, i);

        if (json_array_append_new(datasets, status_json_dataset(&s->config->datasets[i], d)) != 0) {
            json_decref(datasets);
            return NULL;
        }
    }
    return status_json_health(server_engine(s->server), datasets, server_timing(s->server),
                              server_share_counts(s->server), &kept,
                              server_now_ms(s->server) - s->started_ms);
}

static json_t *answer_jobs(struct request *r)
{
    const struct engine *e = server_engine(r->status->server);
    json_t *list = json_array();
    const struct job *j;

    TAILQ_FOREACH (j, &e->jobs, of_engine)
        if (json_array_append_new(list, job_body(r, j)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *answer_job(struct request *r)
{
    return job_body(r, r->job);
}

static json_t *answer_hardness(struct request *r)
{
    return status_json_hardness(r->job);
}

static json_t *answer_hardest(struct request *r)
{
    const char *text = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "n");
    struct slice number = {text, text != NULL ? strlen(text) : 0};
    uint64_t n = STATUS_HARDEST_DEFAULT;

    if (text != NULL && (!parse_number(number, HARDNESS_HARDEST_MAX, &n) || n == 0)) {
        reason_set(&r->why, "n is '%.*s'; a whole number from 1 to %d is allowed",
                   SLICE_ARGS(number), HARDNESS_HARDEST_MAX);
        return refuse(r, MHD_HTTP_BAD_REQUEST);
    }
    return status_json_hardest(r->job, dataset_of(r), (size_t)n);
}

static json_t *answer_instance(struct request *r)
{
    unsigned long long last = r->job->settings.dataset.instance_count - 1;
    uint64_t id;

    if (!parse_number(r->arguments[1], last, &id)) {
        reason_set(&r->why, "the instance is '%.*s'; job '%s' has the whole numbers from 0 to %llu",
                   SLICE_ARGS(r->arguments[1]), r->job->settings.name, last);
        return refuse(r, MHD_HTTP_BAD_REQUEST);
    }
    return status_json_instance(r->job, dataset_of(r), (uint32_t)id);
}

/* ---- the table of paths -------------------------------------------------------------------------
 */

struct route {
    const char *pattern; /* a * stands for one part; the first is a job's name */
    json_t *(*answer)(struct request *r);
};

static const struct route routes[] = {
    {"/v1/health", answer_health},
    {"/v1/jobs", answer_jobs},
    {"/v1/jobs/*", answer_job},
    {"/v1/jobs/*/hardness", answer_hardness},
    {"/v1/jobs/*/hardest", answer_hardest},
    {"/v1/jobs/*/instances/*", answer_instance},
};

#define ROUTES_TEXT \
    "/v1/health, /v1/jobs, /v1/jobs/J, /v1/jobs/J/hardness, /v1/jobs/J/hardest?n=10, " \
    "/v1/jobs/J/instances/ID"

static struct slice next_part(const char **path)
{
    struct slice part;

    assert(**path == '/');
    part.text = *path + 1;
    part.size = strcspn(part.text, "/");
    *path = part.text + part.size;
    return part;
}

static bool route_matches(const char *pattern, const char *path, struct request *r)
{
    size_t arguments = 0;

    while (*pattern == '/' && *path == '/') {
        struct slice expected = next_part(&pattern);
        struct slice part = next_part(&path);

        if (expected.size == 1 && expected.text[0] == '*' && part.size > 0)
            r->arguments[arguments++] = part;
        else if (part.size != expected.size || memcmp(part.text, expected.text, part.size) != 0)
            return false;
    }
    return *pattern == '\0' && *path == '\0';
}

static const struct job *find_job(const struct request *r)
{
    struct slice asked = r->arguments[0];
    char name[MESSAGE_NAME_BYTES_MAX + 1];

    if (asked.size > MESSAGE_NAME_BYTES_MAX)
        return NULL;
    memcpy(name, asked.text, asked.size);
    name[asked.size] = '\0';
    return engine_find_job(server_engine(r->status->server), name);
}

/* Name what was asked for and what there is, as far as a line holds it. */
static json_t *refuse_job(struct request *r)
{
    const struct engine *e = server_engine(r->status->server);
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
    reason_set(&r->why, "no job '%.*s'; there is %s", SLICE_ARGS(r->arguments[0]), names);
    return refuse(r, MHD_HTTP_NOT_FOUND);
}

static json_t *answer(struct request *r, const char *method, const char *path)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        reason_set(&r->why, "method '%.20s' is not allowed; GET and HEAD are", method);
        return refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED);
    }
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        r->arguments[0].text = NULL;
        if (!route_matches(routes[i].pattern, path, r))
            continue;
        if (r->arguments[0].text != NULL && (r->job = find_job(r)) == NULL)
            return refuse_job(r);
        return routes[i].answer(r);
    }
    reason_set(&r->why, "no path '%.80s'; there are %s", path, ROUTES_TEXT);
    return refuse(r, MHD_HTTP_NOT_FOUND);
}

/* ---- HTTP ---------------------------------------------------------------------------------------
 */

/* The body as bytes that free() takes, with a newline at its end. */
static char *render(json_t *body, size_t *out_size)
{
    size_t size = json_dumpb(body, NULL, 0, STATUS_JSON_FLAGS);
    char *text = size > 0 ? malloc(size + 1) : NULL;

    if (text == NULL)
        return NULL;
    (void)json_dumpb(body, text, size, STATUS_JSON_FLAGS);
    text[size] = '\n';
    *out_size = size + 1;
    return text;
}

static struct MHD_Response *make_response(json_t *body)
{
    struct MHD_Response *response;
    size_t size;
    char *text = render(body, &size);

    if (text == NULL)
        return NULL;
    response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return NULL;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return response;
}

/* Called when the headers are there. The answer is given at once and the connection closed after
 * it, so a body that a client sends is never read. */
static enum MHD_Result request_cb(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_ctx)
{
    struct request r = {.status = ctx, .connection = connection, .code = MHD_HTTP_OK};
    json_t *body = answer(&r, method, url);
    struct MHD_Response *response = body != NULL ? make_response(body) : NULL;
    enum MHD_Result rc;

    (void)version, (void)upload, (void)upload_size, (void)request_ctx;
    json_decref(body);
    if (response == NULL) {
        log_error("status", "answer not made: out of memory");
        return MHD_NO; /* closes the connection */
    }
    if (r.code == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    rc = MHD_queue_response(connection, r.code, response);
    MHD_destroy_response(response);
    return rc;
}

static void http_log_cb(void *ctx, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* What a client does wrong is not worth an operator's attention. */
static void http_log_cb(void *ctx, const char *format, va_list arguments)
{
    char text[REASON_BYTES_MAX];

    (void)ctx;
    (void)vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    log_debug("status", "http: %s", text);
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

static void timer_cb(uv_timer_t *timer);

/* Let libmicrohttpd work, and ask when it wants to again. */
static void run(struct status *s)
{
    unsigned MHD_LONG_LONG wait_ms;

    (void)MHD_run(s->http);
    if (MHD_get_timeout(s->http, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&s->timer, timer_cb, wait_ms, 0);
    else
        (void)uv_timer_stop(&s->timer);
}

static void timer_cb(uv_timer_t *timer)
{
    run(timer->data);
}

static void poll_cb(uv_poll_t *poll, int error, int events)
{
    (void)error, (void)events;
    run(poll->data);
}

/* Takes the descriptor, also when it fails (then MHD has closed it). */
static struct MHD_Daemon *start_http(struct status *s)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, request_cb, s, MHD_OPTION_EXTERNAL_LOGGER,
        http_log_cb, NULL, MHD_OPTION_LISTEN_SOCKET, s->socket.fd, MHD_OPTION_CONNECTION_LIMIT,
        STATUS_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, STATUS_CONNECTION_SECONDS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)STATUS_CONNECTION_BYTES_MAX, MHD_OPTION_END);
}

static int join_loop(struct status *s, uv_loop_t *loop)
{
    int fd = MHD_get_daemon_info(s->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int rc = uv_poll_init(loop, &s->poll, fd);

    if (rc != 0)
        return rc;
    (void)uv_timer_init(loop, &s->timer);
    s->poll.data = s;
    s->timer.data = s;
    return uv_poll_start(&s->poll, UV_READABLE, poll_cb);
}

int status_new(uv_loop_t *loop, const struct config *config, struct server *server,
               struct status **out, struct reason *why)
{
    struct status *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL)
        return -OHEM_NOMEM;
    s->config = config;
    s->server = server;
    s->started_ms = server_now_ms(server);
    rc = unix_socket_open(config->status_socket, config->socket_mode, &s->socket, why);
    if (rc != 0)
        goto err_after_alloc;
    rc = -OHEM_SYSTEM;
    s->http = start_http(s);
    if (s->http == NULL) {
        reason_set(why, "status socket '%s': HTTP cannot be served", config->status_socket);
        goto err_after_socket;
    }
    if (join_loop(s, loop) != 0) {
        reason_set(why, "status socket '%s': cannot be watched", config->status_socket);
        goto err_after_http;
    }
    log_info("status", "listening path=%s", config->status_socket);
    *out = s;
    return 0;

err_after_http:
    MHD_stop_daemon(s->http);
err_after_socket:
    unix_socket_unlink(&s->socket);
err_after_alloc:
    free(s);
    return rc;
}

void status_close(struct status *s)
{
    unix_socket_unlink(&s->socket);
    uv_close((uv_handle_t *)&s->timer, NULL);
    uv_close((uv_handle_t *)&s->poll, NULL);
    MHD_stop_daemon(s->http);
}

void status_free(struct status *s)
{
    free(s);
}

const char *status_library_version(void)
{
    return MHD_get_version();
}
