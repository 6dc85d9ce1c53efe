/* job_token.c - keyed hashes: what proves a batch, and what is left of a report (DESIGN 7). */
#include "job_inner.h"

#include <sodium/crypto_shorthash.h>
#include <string.h>

static uint64_t hash(const struct job *j, const void *bytes, size_t size)
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, bytes, size,
                     (const unsigned char *)j->settings.secret);
    return hash;
}

uint64_t job_token_tag(const struct job *j, uint64_t generation, const struct session_key *key,
                       uint64_t step, const uint32_t *ids, uint32_t count)
{
    const struct {
        uint64_t generation, life, step, ids, name;
        struct session_key key;
    } given = {.generation = generation,
               .life = j->saved.life,
               .step = step,
               .ids = hash(j, ids, count * sizeof *ids),
               .name = hash(j, j->settings.name, strlen(j->settings.name)),
               .key = *key};

    return hash(j, &given, sizeof given);
}

uint64_t job_memory(const struct job *j, uint64_t memory)
{
    const uint64_t given[] = {memory, j->saved.life};

    return j->saved.life == 0 ? memory : hash(j, given, sizeof given);
}

/* What is said beside the losses; a report that says nothing there has the digest of old. */
static uint64_t with_wishes(const struct job *j, const struct message_loss *loss, uint64_t digest)
{
    const struct {
        uint64_t digest, flags;
        struct message_select select; /* without padding */
    } said = {.digest = digest,
              .flags = loss->flags.count > 0 ? hash(j, loss->flags.data, loss->flags.count) : 0,
              .select = loss->select};

    if (loss->flags.count == 0 && loss->select.rule == RULE_JOB)
        return digest;
    return hash(j, &said, sizeof said);
}

uint64_t job_report_digest(const struct job *j, const struct message_loss *loss,
                           const float *losses)
{
    const struct {
        uint64_t losses, step, tag;
        struct session_key key;
    } said = {.losses = hash(j, losses, loss->losses.count * sizeof *losses),
              .step = loss->token.step,
              .tag = loss->token.tag,
              .key = loss->key};

    return steps_digest(with_wishes(j, loss, hash(j, &said, sizeof said)));
}
