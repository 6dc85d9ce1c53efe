/* ohemctl_http.c - one request over a Unix socket of the daemon's; see ohemctl.h. */
#include "ohemctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     10000L
#define BODY_BYTES_MAX (64u << 20) /* 64 jobs with all their sessions are below it */

struct body {
    char *data;
    size_t size;
};

static size_t body_cb(char *data, size_t size, size_t count, void *ctx)
{
    struct body *b = ctx;
    size_t more = size * count;
    char *grown;

    if (more > BODY_BYTES_MAX - b->size)
        return 0;
    grown = realloc(b->data, b->size + more + 1);
    if (grown == NULL)
        return 0;
    memcpy(grown + b->size, data, more);
    b->data = grown;
    b->size += more;
    return more;
}

/* "Connection refused" in the middle of a sentence. */
static void say_unreachable(CURL *curl, CURLcode code, const char *socket, struct reason *why)
{
    char cause[CURL_ERROR_SIZE];
    long number = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
    (void)snprintf(cause, sizeof cause, "%s",
                   code == CURLE_COULDNT_CONNECT && number != 0 ? strerror((int)number)
                                                                : curl_easy_strerror(code));
    cause[0] = (char)tolower((unsigned char)cause[0]);
    reason_set(why, "no daemon answers at %s: %s", socket, cause);
}

static enum ctl_exit read_body(const struct body *b, long http_code, const char *socket,
                               json_t **out, struct reason *why)
{
    json_error_t error;
    json_t *value = json_loadb(b->data != NULL ? b->data : "", b->size, 0, &error);
    char *text;

    if (value != NULL && http_code == 200) {
        *out = value;
        return CTL_OK;
    }
    if (value == NULL) {
        reason_set(why, "what answers at %s is no ohemd: HTTP %ld, a body that is no JSON", socket,
                   http_code);
        return CTL_FAILED;
    }
    text = text_escape(json_text_at(value, "error"));
    reason_set(why, "%s", text);
    free(text);
    json_decref(value);
    return http_code == 400 ? CTL_USAGE : CTL_FAILED;
}

static CURLcode perform(CURL *curl, const char *socket, const char *path, bool posts,
                        struct body *b)
{
    char url[1024];

    (void)snprintf(url, sizeof url, "http://localhost%s", path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a job may be called ".." */
    (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_cb);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, b);
    if (posts)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    return curl_easy_perform(curl);
}

static enum ctl_exit request(const char *socket, const char *path, bool posts, json_t **out,
                             struct reason *why)
{
    struct body b = {0};
    CURL *curl = curl_easy_init();
    enum ctl_exit result = CTL_FAILED;
    long http_code = 0;
    CURLcode code;

    if (curl == NULL) {
        reason_set(why, "out of memory");
        return CTL_FAILED;
    }
    code = perform(curl, socket, path, posts, &b);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_code);
    if (code == CURLE_OK)
        result = read_body(&b, http_code, socket, out, why);
    else
        say_unreachable(curl, code, socket, why);
    curl_easy_cleanup(curl);
    free(b.data);
    return result;
}

enum ctl_exit ctl_get(const char *socket, const char *path, json_t **out, struct reason *why)
{
    return request(socket, path, false, out, why);
}

enum ctl_exit ctl_post(const char *socket, const char *path, json_t **out, struct reason *why)
{
    return request(socket, path, true, out, why);
}

char *ctl_path_escape(const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    char *copy = escaped != NULL ? strdup(escaped) : NULL;

    curl_free(escaped);
    return copy;
}
