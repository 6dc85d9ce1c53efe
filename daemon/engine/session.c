/* session.c - one connected trainer and its slots; see session.h. */
#include "session.h"

#include "../../proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define EARLY_CAPACITY_FIRST 64

struct session *session_new(const struct message_hello *hello, struct job *job, uint64_t peer,
                            uint64_t number, uint64_t now_ms)
{
    struct session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->key = hello->key;
    s->number = number;
    s->peer = peer;
    s->job = job;
    s->rank = hello->rank;
    s->layout = hello->layout;
    s->ways = hello->ways | 1u << WAY_INLINE;
    s->batch_size = hello->batch_size;
    s->heard_ms = s->active_ms = now_ms;
    memcpy(s->agent, hello->agent, sizeof s->agent);
    for (char *quote = s->agent; (quote = strchr(quote, '"')) != NULL;)
        *quote = '\''; /* it stands in quotes in the log */
    s->slots = calloc(hello->credit, sizeof *s->slots);
    if (s->slots == NULL)
        goto err;
    for (; s->credit < hello->credit; s->credit++)
        if (lease_init(&s->slots[s->credit], s, s->batch_size) != 0)
            goto err;
    s->free_count = s->credit;
    return s;

err:
    session_free(s);
    return NULL;
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->credit; i++)
        lease_deinit(&s->slots[i]);
    free(s->slots);
    free(s->early);
    free(s);
}

struct lease *session_free_slot(struct session *s)
{
    uint32_t i = 0;

    while (s->slots[i].state != LEASE_FREE)
        i++;
    assert(i < s->credit);
    return &s->slots[i];
}

struct lease *session_find(struct session *s, struct token token)
{
    for (uint32_t i = 0; i < s->credit; i++)
        if (s->slots[i].state != LEASE_FREE && token_equal(s->slots[i].token, token))
            return &s->slots[i];
    return NULL;
}

/* Where it is, or belongs. */
static uint32_t place_of_early(const struct session *s, uint64_t seq)
{
    uint32_t low = 0, high = s->early_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (s->early[middle] < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int reserve_early(struct session *s)
{
    uint32_t capacity = s->early_capacity > 0 ? 2 * s->early_capacity : EARLY_CAPACITY_FIRST;
    uint64_t *bigger;

    if (s->early_count < s->early_capacity)
        return 0;
    bigger = realloc(s->early, capacity * sizeof *bigger);
    if (bigger == NULL)
        return -OHEM_NOMEM;
    s->early = bigger;
    s->early_capacity = capacity;
    return 0;
}

int session_add_early(struct session *s, uint64_t seq)
{
    uint32_t at = place_of_early(s, seq);

    if (at < s->early_count && s->early[at] == seq)
        return 0;
    if (s->early_count == MESSAGE_KEPT_MAX || reserve_early(s) != 0)
        return -OHEM_NOMEM;
    memmove(&s->early[at + 1], &s->early[at], (s->early_count - at) * sizeof *s->early);
    s->early[at] = seq;
    s->early_count++;
    return 0;
}

void session_remove_early(struct session *s, uint64_t seq)
{
    uint32_t at = place_of_early(s, seq);

    if (at == s->early_count || s->early[at] != seq)
        return;
    s->early_count--;
    memmove(&s->early[at], &s->early[at + 1], (s->early_count - at) * sizeof *s->early);
}

uint64_t session_key_hash(const struct session_key *key)
{
    uint64_t halves[2];

    memcpy(halves, key->bytes, sizeof halves);
    return halves[0] ^ halves[1];
}
