/* chaos_state.c - what is in a state directory, as text: the engine restores it, and is read.
 *
 *     chaos_state CONFIG
 *
 * No daemon may use it meanwhile. For the job of the configuration:
 *
 *     job lsn step closed_count
 *     epoch number instances reported released returned repeated skipped missing closed
 *     score id visits score last_loss variance last_step         the floats by their bits
 *
 * Instances without a report are left out.
 */
#include "../../daemon/config.h"
#include "../../daemon/engine/engine.h"
#include "../../daemon/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int rc, const struct reason *why)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "chaos_state: %d: %s\n", rc, why->text);
    exit(EXIT_FAILURE);
}

static uint32_t bits(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

/* ---- restoring ---------------------------------------------------------------------------------
 */

static void add_job(struct engine *e, const struct config *c, const struct state *state)
{
    struct job_settings settings = c->jobs[0].settings;
    struct dataset *d;
    struct reason why = {""};

    must(dataset_open(c->datasets[0].path, c->datasets[0].database, c->datasets[0].immutable, &d,
                      &why, NULL, NULL),
         &why);
    settings.dataset = (struct job_dataset){.instance_count = dataset_count(d),
                                            .record_bytes = dataset_record_bytes(d),
                                            .record_bytes_max = dataset_record_bytes_max(d),
                                            .generation = dataset_fingerprint(d)};
    memcpy(settings.secret, state_identity(state)->secret, sizeof settings.secret);
    must(engine_add_job(e, &settings, &why), &why);
    dataset_close(d);
}

/* state_row_cb */
static int row_cb(void *ctx, const struct rows_key *key, const void *value, size_t size,
                  struct reason *why)
{
    return engine_restore_row(ctx, key, value, size, why);
}

static void restore(struct engine *e, const struct config *c)
{
    static const struct engine_out nobody;
    struct engine_settings settings = {.boot = 1,
                                       .durable = true,
                                       .sessions_max = c->sessions_max,
                                       .payload_bytes_max = c->payload_bytes_max,
                                       .prefetch_bytes_max = c->prefetch_bytes_max};
    struct state *state;
    struct reason why = {""};

    must(state_open(c->state, c->state_bytes_max, &state, &why), &why);
    settings.memory = state_identity(state)->memory;
    must(engine_init(e, &settings, &nobody), &why);
    add_job(e, c, state);
    must(state_load(state, row_cb, e, &why), &why);
    must(engine_restore_end(e, 0, &why), &why);
    state_close(state);
}

/* ---- printing ----------------------------------------------------------------------------------
 */

static void print_epoch(const struct coverage_report *r)
{
    (void)printf("epoch %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                 " %" PRIu64 " %" PRIu64 " %d\n",
                 r->epoch, r->instances, r->reported, r->released, r->returned, r->repeated,
                 r->skipped, r->missing, r->closed);
}

static void print_epochs(const struct coverage *c)
{
    for (size_t back = COVERAGE_REPORTS_MAX; back-- > 0;)
        if (coverage_closed(c, back) != NULL)
            print_epoch(coverage_closed(c, back));
    for (size_t i = 0; i < c->open_count; i++)
        print_epoch(coverage_open(c, i));
}

static void print_scores(const struct hardness *h)
{
    for (uint32_t id = 0; id < h->n; id++) {
        struct hardness_story s = hardness_story(h, id);

        if (s.scored)
            (void)printf(
                "score %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
                id, s.visits, bits(s.score), bits(s.last_loss), bits(s.variance), s.last_step);
    }
}

int main(int argc, char **argv)
{
    static struct engine engine;
    struct config config;
    const struct job *j;
    struct reason why = {""};

    if (argc != 2) {
        (void)fprintf(stderr, "usage: chaos_state CONFIG\n");
        return EXIT_FAILURE;
    }
    must(config_init(&config, &why), &why);
    must(config_read(&config, argv[1], &why), &why);
    must(config_check(&config, &why), &why);
    restore(&engine, &config);
    j = TAILQ_FIRST(&engine.jobs);
    (void)printf("job %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", j->lsn, j->step,
                 j->coverage.closed_count);
    print_epochs(&j->coverage);
    print_scores(&j->hardness);
    engine_deinit(&engine);
    config_deinit(&config);
    return EXIT_SUCCESS;
}
