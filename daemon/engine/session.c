/* session.c - one connected trainer and its slots; see session.h. */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

uint64_t session_key_hash(const struct session_key *key)
{
    uint64_t halves[2];

    memcpy(halves, key->bytes, sizeof halves);
    return halves[0] ^ halves[1];
}
