/* http.c - libmicrohttpd on the loop, and the table of routes; see http.h. */
#include "http.h"

#include "../proto/error.h"
#include "json_text.h"
#include "log.h"
#include "unix_socket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_CONNECTIONS_MAX 32u
#define HTTP_CONNECTION_BYTES_MAX \
    (32u << 10)                         /* request line and headers; answers are beside it \
                                         */
#define HTTP_CONNECTION_SECONDS_MAX 10u /* without a byte */
#define HTTP_JSON                   "application/json"
#define HTTP_TEXT                   "text/plain; version=0.0.4; charset=utf-8" /* as Prometheus calls its format */
#define HTTP_JSON_FLAGS             (JSON_COMPACT | JSON_REAL_PRECISION(9)) /* 9: a float's worth */

struct http_later {
    struct http *http;
    struct MHD_Connection *connection;
    bool ready;
    unsigned code;
    char *body;
    size_t size;
    TAILQ_ENTRY(http_later) of_http;
};

TAILQ_HEAD(http_later_list, http_later);

struct http {
    const struct http_table *table;
    void *ctx;
    struct unix_socket socket;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    struct http_later_list later; /* those whose connections are not over */
};

/* ---- for the answers ----------------------------------------------------------------------------
 */

json_t *http_refuse(struct http_request *r, unsigned code)
{
    r->code = code;
    return json_pack("{s:o}", "error", json_text(r->why.text));
}

bool http_parse_number(struct http_slice s, uint64_t max, uint64_t *out)
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

/* ---- the table of routes ------------------------------------------------------------------------
 */

static struct http_slice next_part(const char **path)
{
    struct http_slice part;

    assert(**path == '/');
    part.text = *path + 1;
    part.size = strcspn(part.text, "/");
    *path = part.text + part.size;
    return part;
}

static bool route_matches(const char *pattern, const char *path, struct http_request *r)
{
    size_t arguments = 0;

    while (*pattern == '/' && *path == '/') {
        struct http_slice expected = next_part(&pattern);
        struct http_slice part = next_part(&path);

        if (expected.size == 1 && expected.text[0] == '*' && part.size > 0)
            r->arguments[arguments++] = part;
        else if (part.size != expected.size || memcmp(part.text, expected.text, part.size) != 0)
            return false;
    }
    return *pattern == '\0' && *path == '\0';
}

static bool is_get(const struct http *h)
{
    return strcmp(h->table->method, MHD_HTTP_METHOD_GET) == 0;
}

static json_t *refuse_method(const struct http *h, struct http_request *r, const char *method)
{
    reason_set(&r->why, "method '%.20s' is not allowed; %s", method,
               is_get(h) ? "GET and HEAD are" : "POST is");
    return http_refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED);
}

static json_t *refuse_path(const struct http *h, struct http_request *r, const char *path)
{
    char shown[REASON_BYTES_MAX - 160] = "";
    size_t used = 0;

    for (size_t i = 0; i < h->table->route_count; i++) {
        int wrote = snprintf(shown + used, sizeof shown - used, "%s%s", used > 0 ? ", " : "",
                             h->table->routes[i].shown);

        if (wrote < 0 || (size_t)wrote >= sizeof shown - used)
            break;
        used += (size_t)wrote;
    }
    reason_set(&r->why, "no path '%.80s'; there are %s", path, shown);
    return http_refuse(r, MHD_HTTP_NOT_FOUND);
}

static json_t *answer(const struct http *h, struct http_request *r, const char *method,
                      const char *path)
{
    if (strcmp(method, h->table->method) != 0 &&
        !(is_get(h) && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0))
        return refuse_method(h, r, method);
    for (size_t i = 0; i < h->table->route_count; i++)
        if (route_matches(h->table->routes[i].pattern, path, r))
            return h->table->routes[i].answer(r);
    return refuse_path(h, r, path);
}

/* ---- HTTP ---------------------------------------------------------------------------------------
 */

char *http_render(json_t *body, size_t *out_size)
{
    size_t size = json_dumpb(body, NULL, 0, HTTP_JSON_FLAGS);
    char *text = size > 0 ? malloc(size + 1) : NULL;

    if (text == NULL)
        return NULL;
    (void)json_dumpb(body, text, size, HTTP_JSON_FLAGS);
    text[size] = '\n';
    *out_size = size + 1;
    return text;
}

/* Takes the text; NULL is allowed. */
static struct MHD_Response *make_response(char *text, size_t size, const char *type)
{
    struct MHD_Response *response;

    if (text == NULL)
        return NULL;
    response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return NULL;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return response;
}

/* Takes the text. */
static enum MHD_Result send_answer(const struct http *h, struct MHD_Connection *connection,
                                   unsigned code, char *text, size_t size, const char *type)
{
    struct MHD_Response *response = make_response(text, size, type);
    enum MHD_Result rc;

    if (response == NULL) {
        log_error(h->table->name, "answer not made: out of memory");
        return MHD_NO; /* closes the connection */
    }
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
                                      is_get(h) ? "GET, HEAD" : "POST");
    rc = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return rc;
}

/* It goes on with a connection that waited. What its client sent beside the headers is read now,
 * and thrown away: only then may it be answered. */
static enum MHD_Result send_later(struct http_later *l, size_t *upload_size)
{
    char *body = l->body;

    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (!l->ready)
        return MHD_NO;
    l->body = NULL;
    return send_answer(l->http, l->connection, l->code, body, l->size, HTTP_JSON);
}

/* Called when the headers are there, and again when an answer that was put off has come. Mostly the
 * answer is given at once and the connection closed after it, so a body that a client sends is
 * never read. */
static enum MHD_Result request_cb(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_ctx)
{
    struct http *h = ctx;
    struct http_request r = {
        .ctx = h->ctx, .connection = connection, .code = MHD_HTTP_OK, .http = h};
    size_t size = 0;
    json_t *body;
    char *text;

    (void)version, (void)upload;
    if (*request_ctx != NULL)
        return send_later(*request_ctx, upload_size);
    body = answer(h, &r, method, url);
    if (r.later != NULL) {
        *request_ctx = r.later;
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    if (r.text != NULL)
        return send_answer(h, connection, r.code, r.text, r.text_size, HTTP_TEXT);
    text = body != NULL ? http_render(body, &size) : NULL;
    json_decref(body);
    return send_answer(h, connection, r.code, text, size, HTTP_JSON);
}

/* A connection is over, answered or not. */
static void completed_cb(void *ctx, struct MHD_Connection *connection, void **request_ctx,
                         enum MHD_RequestTerminationCode how)
{
    struct http_later *l = *request_ctx;

    (void)ctx, (void)connection, (void)how;
    if (l == NULL)
        return;
    TAILQ_REMOVE(&l->http->later, l, of_http);
    free(l->body);
    free(l);
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
    log_debug("http", "%s", text);
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

static void timer_cb(uv_timer_t *timer);

/* Let libmicrohttpd work, and ask when it wants to again. */
static void run(struct http *h)
{
    unsigned MHD_LONG_LONG wait_ms;

    (void)MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&h->timer, timer_cb, wait_ms, 0);
    else
        (void)uv_timer_stop(&h->timer);
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

/* ---- answers that were put off ------------------------------------------------------------------
 */

struct http_later *http_put_off(struct http_request *r)
{
    struct http_later *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->http = r->http;
    l->connection = r->connection;
    TAILQ_INSERT_TAIL(&r->http->later, l, of_http);
    r->later = l;
    return l;
}

void http_answer(struct http_later *l, unsigned code, char *body, size_t size)
{
    struct http *h = l->http;

    l->ready = true;
    l->code = code;
    l->body = body;
    l->size = size;
    MHD_resume_connection(l->connection);
    run(h);
}

/* libmicrohttpd ends no connection that waits. */
static void give_up(struct http *h)
{
    struct http_later *l;

    TAILQ_FOREACH (l, &h->later, of_http)
        if (!l->ready)
            MHD_resume_connection(l->connection);
}

/* Takes the descriptor, also when it fails (then MHD has closed it). */
static struct MHD_Daemon *start_http(struct http *h)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
                            NULL, request_cb, h, MHD_OPTION_EXTERNAL_LOGGER, http_log_cb, NULL,
                            MHD_OPTION_LISTEN_SOCKET, h->socket.fd, MHD_OPTION_CONNECTION_LIMIT,
                            HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                            HTTP_CONNECTION_SECONDS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HTTP_CONNECTION_BYTES_MAX, MHD_OPTION_NOTIFY_COMPLETED,
                            completed_cb, NULL, MHD_OPTION_END);
}

static int join_loop(struct http *h, uv_loop_t *loop)
{
    int fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int rc = uv_poll_init(loop, &h->poll, fd);

    if (rc != 0)
        return rc;
    (void)uv_timer_init(loop, &h->timer);
    h->poll.data = h;
    h->timer.data = h;
    return uv_poll_start(&h->poll, UV_READABLE, poll_cb);
}

/* @param where  for messages: the socket's name */
static int serve_socket(struct http *h, uv_loop_t *loop, const char *where, struct reason *why)
{
    h->daemon = start_http(h);
    if (h->daemon == NULL) {
        reason_set(why, "%s socket '%s': HTTP cannot be served", h->table->name, where);
        return -OHEM_SYSTEM;
    }
    if (join_loop(h, loop) != 0) {
        reason_set(why, "%s socket '%s': cannot be watched", h->table->name, where);
        MHD_stop_daemon(h->daemon);
        return -OHEM_SYSTEM;
    }
    log_info(h->table->name, "listening path=%s", where);
    return 0;
}

static struct http *make(const struct http_table *table, void *ctx)
{
    struct http *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    h->table = table;
    h->ctx = ctx;
    TAILQ_INIT(&h->later);
    return h;
}

int http_new(uv_loop_t *loop, const struct http_table *table, const char *path, uint32_t mode,
             void *ctx, struct http **out, struct reason *why)
{
    struct http *h = make(table, ctx);
    int rc;

    if (h == NULL)
        return -OHEM_NOMEM;
    rc = unix_socket_open(path, mode, &h->socket, why);
    if (rc != 0) {
        free(h);
        return rc;
    }
    rc = serve_socket(h, loop, path, why);
    if (rc != 0) {
        unix_socket_unlink(&h->socket);
        free(h);
        return rc;
    }
    *out = h;
    return 0;
}

/* @return a listening socket, or -1 with errno */
static int listen_at_port(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, HTTP_CONNECTIONS_MAX) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

int http_new_at_port(uv_loop_t *loop, const struct http_table *table, uint16_t port, void *ctx,
                     struct http **out, struct reason *why)
{
    char where[32];
    struct http *h = make(table, ctx);
    int rc;

    if (h == NULL)
        return -OHEM_NOMEM;
    (void)snprintf(where, sizeof where, "127.0.0.1:%u", port);
    h->socket = (struct unix_socket){.fd = listen_at_port(port)};
    if (h->socket.fd < 0) {
        reason_set(why, "%s socket '%s': %s", table->name, where, strerror(errno));
        free(h);
        return -OHEM_SYSTEM;
    }
    rc = serve_socket(h, loop, where, why);
    if (rc != 0)
        free(h);
    else
        *out = h;
    return rc;
}

void http_close(struct http *h)
{
    if (h->socket.path != NULL) /* a port leaves nothing */
        unix_socket_unlink(&h->socket);
    uv_close((uv_handle_t *)&h->timer, NULL);
    uv_close((uv_handle_t *)&h->poll, NULL);
    give_up(h);
    MHD_stop_daemon(h->daemon);
}

void http_free(struct http *h)
{
    free(h);
}

const char *http_library_version(void)
{
    return MHD_get_version();
}
