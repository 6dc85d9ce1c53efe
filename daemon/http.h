/* http.h - a Unix socket that speaks HTTP and JSON: a table of routes, answered on the loop.
 *
 * libmicrohttpd has no thread here: its epoll descriptor is one handle of the loop, its time-outs
 * are a timer, and all it does it does inside MHD_run(). So an answer is made between two turns of
 * the engine and needs no lock. Errors are {"error": "..."} with 400, 404, 405 and so on; what is
 * not a path of the table is answered with all that are.
 */
#ifndef OHEMD_HTTP_H
#define OHEMD_HTTP_H

#include "../proto/reason.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_ARGUMENTS_MAX 2

/* A part of the path between two slashes. */
struct http_slice {
    const char *text;
    size_t size;
};

/* For messages: a part of the path, at most so much of it. */
#define HTTP_SLICE_ARGS(s) (int)((s).size < 80 ? (s).size : 80), (s).text

/* An answer that is not there yet: its connection waits. */
struct http_later;

struct http_request {
    void *ctx; /* as http_new() got it */
    struct MHD_Connection *connection;
    struct http_slice arguments[HTTP_ARGUMENTS_MAX]; /* what stood for the *s of the pattern */
    unsigned code;                                   /* of HTTP; 200 unless the answer sets it */
    struct reason why;                               /* when the code is no 200 */
    char *text; /* a body that is no JSON, which is taken; then answer() returns NULL */
    size_t text_size;
    struct http *http; /* this and what follows: http.c's */
    struct http_later *later;
};

struct http_route {
    const char *pattern; /* a * stands for one part */
    const char *shown;   /* the same for readers: "/v1/jobs/J" */
    /** @return the body, a new reference, or NULL without memory */
    json_t *(*answer)(struct http_request *r);
};

/* What is served at a socket, and how it is called in messages and the log. */
struct http_table {
    const char *name;   /* "status" */
    const char *method; /* GET (then HEAD, too) or POST, of all routes */
    const struct http_route *routes;
    size_t route_count;
};

struct http;

/**
 * Bind the socket and serve.
 * @param table, path  lent until http_free()
 * @param mode         of the socket's file
 * @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM with the reason
 */
int http_new(uv_loop_t *loop, const struct http_table *table, const char *path, uint32_t mode,
             void *ctx, struct http **out, struct reason *why);

/** The same on a port of the loopback interface, for who cannot use a Unix socket. */
int http_new_at_port(uv_loop_t *loop, const struct http_table *table, uint16_t port, void *ctx,
                     struct http **out, struct reason *why);

/** In an answer(), which returns NULL then: it comes by http_answer(). Others are served meanwhile.
 *  @return NULL without memory */
struct http_later *http_put_off(struct http_request *r);

/** Here it is: once, on the loop's thread, and not after http_close().
 *  @param body  of http_render(), which is taken; NULL: there was no memory */
void http_answer(struct http_later *l, unsigned code, char *body, size_t size);

/** A body as bytes that free() takes, with a newline at its end; or NULL. From any thread. */
char *http_render(json_t *body, size_t *out_size);

/** Stop; answers that were put off do not come. Run the loop until it is empty, then http_free().
 */
void http_close(struct http *h);
void http_free(struct http *h);

/** The body of an error: r->why was set. */
json_t *http_refuse(struct http_request *r, unsigned code);

/** A whole number in decimal digits, at most max. */
bool http_parse_number(struct http_slice s, uint64_t max, uint64_t *out);

/** libmicrohttpd's version, as it says itself. */
const char *http_library_version(void);

#endif
