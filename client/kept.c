/* kept.c - a list of reports in memory that is used again; see kept.h. */
#include "kept.h"

#include "../proto/error.h"

#include <stdlib.h>
#include <string.h>

#define TOKENS_MIN 64

static size_t size_of(uint32_t room)
{
    return sizeof(struct kept_report) + room * (sizeof(uint64_t) + sizeof(float) + sizeof(uint8_t));
}

void kept_init(struct kept *k, size_t bytes_max)
{
    *k = (struct kept){.bytes_max = bytes_max};
    TAILQ_INIT(&k->list);
    TAILQ_INIT(&k->spare);
    SLIST_INIT(&k->spare_items);
}

static void free_all(struct kept_list *list)
{
    struct kept_report *r;

    while ((r = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, r, entry);
        if (r->items != NULL)
            kept_items_unref(r->items);
        free(r);
    }
}

void kept_deinit(struct kept *k)
{
    struct kept_items *items;

    while ((items = SLIST_FIRST(&k->spare_items)) != NULL) {
        SLIST_REMOVE_HEAD(&k->spare_items, entry);
        free(items);
    }
    free_all(&k->list);
    free_all(&k->spare);
    free(k->tokens);
    k->tokens = NULL;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* HELLO has to name them all, and must not fail for want of memory. */
static bool ensure_tokens(struct kept *k, size_t count)
{
    size_t capacity = k->token_capacity > 0 ? k->token_capacity : TOKENS_MIN;
    struct token *more;

    while (capacity < count)
        capacity *= 2;
    if (capacity == k->token_capacity)
        return true;
    more = realloc(k->tokens, capacity * sizeof *more);
    if (more == NULL)
        return false;
    k->tokens = more;
    k->token_capacity = capacity;
    return true;
}

static struct kept_report *make(struct kept *k, uint32_t room)
{
    struct kept_report *r = malloc(size_of(room));

    if (r == NULL || !ensure_tokens(k, k->made + 1)) {
        free(r);
        return NULL;
    }
    r->room = room;
    r->items = NULL;
    k->made++;
    return r;
}

static void discard(struct kept *k, struct kept_report *r)
{
    k->made--;
    free(r);
}

/* Spare memory of another K is of no use any more. */
static struct kept_report *take_memory(struct kept *k, uint32_t room)
{
    struct kept_report *r;

    while ((r = TAILQ_FIRST(&k->spare)) != NULL) {
        TAILQ_REMOVE(&k->spare, r, entry);
        if (r->room == room)
            return r;
        discard(k, r);
    }
    return make(k, room);
}

void kept_reserve(struct kept *k, size_t count, uint32_t batch_size)
{
    while (k->made < count && (k->made + 1) * size_of(batch_size) <= k->bytes_max) {
        struct kept_report *r = make(k, batch_size);

        if (r == NULL)
            return;
        TAILQ_INSERT_TAIL(&k->spare, r, entry);
    }
}

/* ---- the list ----------------------------------------------------------------------------------
 */

bool kept_has_room(const struct kept *k, uint32_t batch_size, size_t items_bytes)
{
    if (k->count == 0)
        return true;
    return k->count < MESSAGE_KEPT_MAX &&
           k->bytes + size_of(batch_size) + items_bytes <= k->bytes_max;
}

/* By seq: nearly always it is the last; a report made again after an error has its old number. */
static void insert(struct kept *k, struct kept_report *r)
{
    struct kept_report *before = TAILQ_LAST(&k->list, kept_list);

    while (before != NULL && before->seq > r->seq)
        before = TAILQ_PREV(before, kept_list, entry);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&k->list, before, r, entry);
    else
        TAILQ_INSERT_HEAD(&k->list, r, entry);
    k->count++;
    k->bytes += size_of(r->room);
}

struct kept_report *kept_add(struct kept *k, struct token token, uint64_t seq, uint32_t room)
{
    struct kept_report *r = take_memory(k, room);

    if (r == NULL)
        return NULL;
    *r = (struct kept_report){.token = token, .seq = seq, .room = room};
    r->losses = (void *)(r->ids + room);
    r->flags = (void *)(r->losses + room);
    insert(k, r);
    return r;
}

struct kept_report *kept_find(const struct kept *k, uint64_t seq)
{
    struct kept_report *r = TAILQ_LAST(&k->list, kept_list);

    while (r != NULL && r->seq > seq)
        r = TAILQ_PREV(r, kept_list, entry);
    return r != NULL && r->seq == seq ? r : NULL;
}

struct kept_report *kept_find_token(const struct kept *k, struct token token)
{
    struct kept_report *r;

    TAILQ_FOREACH_REVERSE (r, &k->list, kept_list, entry)
        if (token_equal(r->token, token))
            return r;
    return NULL;
}

/* ---- items -------------------------------------------------------------------------------------
 */

size_t kept_items_bytes(const struct message_loss *report)
{
    const struct message_items *i = &report->items;

    if (i->counts.count == 0)
        return 0;
    return sizeof(float) * (report->losses.count + i->boxes.count) +
           sizeof(uint32_t) * (i->counts.count + i->classes.count) + report->flags.count;
}

/* Room for so many bytes. */
static struct kept_items *take_items_memory(struct kept *k, size_t bytes)
{
    struct kept_items *items = SLIST_FIRST(&k->spare_items);

    if (items != NULL)
        SLIST_REMOVE_HEAD(&k->spare_items, entry);
    if (items != NULL && items->capacity >= bytes)
        return items;
    free(items);
    items = malloc(sizeof *items + bytes);
    if (items != NULL)
        items->capacity = bytes;
    if (items != NULL)
        atomic_init(&items->refs, 1);
    return items;
}

void kept_items_ref(struct kept_items *items)
{
    atomic_fetch_add(&items->refs, 1);
}

void kept_items_unref(struct kept_items *items)
{
    if (atomic_fetch_sub(&items->refs, 1) == 1)
        free(items);
}

/* @return the copy, behind which *at points then */
static struct vector copy(unsigned char **at, struct vector from, size_t element_size)
{
    struct vector to = {*at, from.count};

    if (from.count > 0)
        memcpy(*at, from.data, from.count * element_size);
    *at += from.count * element_size;
    return to;
}

int kept_take_items(struct kept *k, struct kept_report *r, const struct message_loss *report)
{
    struct kept_items *items = take_items_memory(k, kept_items_bytes(report));
    unsigned char *at;

    if (items == NULL)
        return -OHEM_NOMEM;
    at = items->memory;
    items->items = report->items;
    items->losses = copy(&at, report->losses, sizeof(float));
    items->items.boxes = copy(&at, report->items.boxes, sizeof(float));
    items->items.counts = copy(&at, report->items.counts, sizeof(uint32_t));
    items->items.classes = copy(&at, report->items.classes, sizeof(uint32_t));
    items->flags = copy(&at, report->flags, sizeof(uint8_t));
    kept_drop_items(k, r);
    r->items = items;
    k->bytes += items->capacity;
    return 0;
}

void kept_drop_items(struct kept *k, struct kept_report *r)
{
    if (r->items == NULL)
        return;
    k->bytes -= r->items->capacity;
    if (atomic_load(&r->items->refs) == 1)
        SLIST_INSERT_HEAD(&k->spare_items, r->items, entry);
    else /* it is sent still */
        kept_items_unref(r->items);
    r->items = NULL;
}

/* ---- leaving -----------------------------------------------------------------------------------
 */

void kept_drop(struct kept *k, struct kept_report *r)
{
    kept_drop_items(k, r);
    kept_put_off(k, r, false);
    TAILQ_REMOVE(&k->list, r, entry);
    k->count--;
    k->bytes -= size_of(r->room);
    TAILQ_INSERT_HEAD(&k->spare, r, entry);
}

void kept_clear(struct kept *k)
{
    while (!TAILQ_EMPTY(&k->list))
        kept_drop(k, TAILQ_FIRST(&k->list));
}

void kept_put_off(struct kept *k, struct kept_report *r, bool put_off)
{
    if (r->put_off == put_off)
        return;
    r->put_off = put_off;
    if (put_off)
        k->put_off_count++;
    else
        k->put_off_count--;
}

/* They are among the last. */
struct kept_report *kept_first_put_off(const struct kept *k)
{
    struct kept_report *r = TAILQ_LAST(&k->list, kept_list), *first = NULL;

    for (size_t left = k->put_off_count; left > 0; r = TAILQ_PREV(r, kept_list, entry))
        if (r->put_off) {
            first = r;
            left--;
        }
    return first;
}

void kept_take_durable(struct kept *k, uint64_t seq)
{
    struct kept_report *r, *next;

    for (r = TAILQ_FIRST(&k->list); r != NULL && r->seq <= seq; r = next) {
        next = TAILQ_NEXT(r, entry);
        if ((r->answered || r->released) && !r->early)
            kept_drop(k, r);
    }
}

struct kept_report *kept_first_unsafe(const struct kept *k, uint64_t durable_seq, uint64_t seq)
{
    struct kept_report *r = TAILQ_FIRST(&k->list);

    while (r != NULL && r->seq <= durable_seq && !r->early)
        r = TAILQ_NEXT(r, entry);
    return r != NULL && r->seq <= seq ? r : NULL;
}

struct vector kept_tokens(struct kept *k)
{
    const struct kept_report *r;
    size_t count = 0;

    TAILQ_FOREACH (r, &k->list, entry)
        if (r->released)
            k->tokens[count++] = r->token;
    return (struct vector){k->tokens, count};
}
