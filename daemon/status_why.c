/* status_why.c - parts of an audit as answers; see status_why.h. */
#include "status_why.h"

#include "json_text.h"
#include "status_json.h"

#include <stdlib.h>

struct why {
    struct why_list *list;
    struct http_later *later;
    struct state_reading reading;
    uint32_t id;
    json_t *body, *events; /* the body holds the events */
    uint64_t damaged;      /* rows that could not be read to their end */
    bool failed;           /* there was no memory for an event */
    unsigned code;
    char *text; /* the answer; NULL: there was no memory */
    size_t size;
    TAILQ_ENTRY(why) of_list;
};

/* It is in no list any more. */
static void why_free(struct why *y)
{
    json_decref(y->body);
    free(y->text);
    free(y);
}

void why_free_all(struct why_list *list)
{
    struct why *y;

    while ((y = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, y, of_list);
        why_free(y);
    }
}

/* ---- on the state's thread ---------------------------------------------------------------------
 */

/* audit_event_cb */
static void event_cb(void *ctx, const struct audit_event *event)
{
    struct why *y = ctx;

    y->failed |= json_array_append_new(y->events, status_json_event(event)) != 0;
}

static bool row_cb(void *ctx, uint64_t number, const void *value, size_t size)
{
    struct why *y = ctx;

    (void)number;
    y->damaged += audit_search(value, size, y->id, event_cb, y) != 0;
    return !y->failed && json_array_size(y->events) < WHY_EVENTS_MAX;
}

static void fill_error(struct why *y)
{
    y->code = MHD_HTTP_SERVICE_UNAVAILABLE;
    json_decref(y->body);
    y->body = json_pack("{s:o}", "error", json_text(y->reading.why.text));
}

static void fill_rest(struct why *y)
{
    json_t *next = y->reading.more ? json_integer((json_int_t)y->reading.next) : json_null();

    y->failed |= json_object_set_new(y->body, "next", next) != 0;
    y->failed |=
        json_object_set_new(y->body, "damaged_rows", json_integer((json_int_t)y->damaged)) != 0;
}

static void end_cb(struct state_reading *r)
{
    struct why *y = r->ctx;

    if (r->rc != 0)
        fill_error(y);
    else
        fill_rest(y);
    y->text = !y->failed && y->body != NULL ? http_render(y->body, &y->size) : NULL;
}

/* ---- on the loop's -----------------------------------------------------------------------------
 */

static void done_cb(struct state_reading *r)
{
    struct why *y = r->ctx;

    http_answer(y->later, y->code, y->text, y->size);
    y->text = NULL;
    TAILQ_REMOVE(y->list, y, of_list);
    why_free(y);
}

static struct why *why_new(struct server *server, const struct job *j, uint32_t id)
{
    struct why *y = calloc(1, sizeof *y);

    if (y == NULL)
        return NULL;
    y->id = id;
    y->code = MHD_HTTP_OK;
    y->events = json_array();
    y->body = status_json_name(j, server_dataset(server, j->settings.dataset.number), id);
    if (json_object_set_new(y->body, "events", y->events) == 0)
        return y;
    why_free(y);
    return NULL;
}

json_t *why_answer(struct why_list *list, struct http_request *r, struct server *server,
                   const struct job *j, uint32_t id, uint64_t from)
{
    struct why *y = why_new(server, j, id);

    if (y == NULL)
        return NULL;
    y->reading = (struct state_reading){.from = {ROWS_AUDIT, j->saved.number, from},
                                        .bytes_max = WHY_BYTES_MAX,
                                        .row_cb = row_cb,
                                        .end_cb = end_cb,
                                        .done_cb = done_cb,
                                        .ctx = y};
    if (!server_can_read(server)) {
        why_free(y);
        reason_set(&r->why, "the daemon is ending");
        return http_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE);
    }
    y->later = http_put_off(r);
    if (y->later == NULL) {
        why_free(y);
        return NULL;
    }
    y->list = list;
    TAILQ_INSERT_TAIL(list, y, of_list);
    server_read(server, &y->reading);
    return NULL;
}
