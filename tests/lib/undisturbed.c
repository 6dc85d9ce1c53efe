/* undisturbed.c - a life without events; see undisturbed.h. */
#include "undisturbed.h"

#include <assert.h>
#include <stdlib.h>

void undisturbed_init(struct undisturbed *u, const struct job_settings *settings,
                      uint32_t broken_share)
{
    struct engine_settings engine = shell_settings();
    struct job_settings s = *settings;

    s.durable = false;
    *u = (struct undisturbed){.shell = shell_new(&engine)};
    u->k = job_batch_size(shell_add_job(u->shell, &s), 0);
    trainer_init(&u->trainer, u->shell, s.name, 1);
    u->trainer.batch_size = 0;
    u->trainer.credit = 1;
    u->trainer.broken_share = broken_share;
    trainer_hello(&u->trainer);
    trainer_hear_all(&u->trainer, 1);
    assert(u->trainer.welcomes == 1);
}

void undisturbed_deinit(struct undisturbed *u)
{
    if (u->shell == NULL)
        return;
    trainer_deinit(&u->trainer);
    shell_free(u->shell);
    free(u->ids);
}

static void note(struct undisturbed *u, const struct message_batch *b)
{
    assert(b->token.step == u->step_count && b->count == u->k);
    if (u->step_count == u->capacity) {
        u->capacity = 2 * u->capacity + 64;
        u->ids = realloc(u->ids, u->capacity * u->k * sizeof *u->ids);
        assert(u->ids != NULL);
    }
    for (uint32_t i = 0; i < u->k; i++)
        u->ids[u->step_count * u->k + i] = (uint32_t)vector_u64(b->ids, i);
    u->step_count++;
}

static void train(struct undisturbed *u)
{
    (void)shell_work(u->shell, 1);
    trainer_hear_all(&u->trainer, 1);
    assert(u->trainer.held_count == 1);
    note(u, &u->trainer.held[0].parcel->m.batch);
    trainer_report(&u->trainer, &u->trainer.held[0]);
    trainer_hear_all(&u->trainer, 1);
    assert(u->trainer.errors == 0);
    trainer_release(&u->trainer, &u->trainer.held[0]);
}

const uint32_t *undisturbed_ids(struct undisturbed *u, uint64_t step)
{
    while (u->step_count <= step)
        train(u);
    return &u->ids[step * u->k];
}
