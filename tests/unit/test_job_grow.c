/* test_job_grow.c - a job whose data set grows: its N, its epoch, the tokens of what is out. */
#include "../../daemon/engine/job_inner.h"
#include "../../proto/error.h"
#include "../lib/test.h"

#include <stdio.h>
#include <string.h>

#define N 100
#define K 10

/* A data set whose key i hashes to i: the generation of the first n keys. */
static bool prefix(const void *keys, uint64_t n, uint64_t *out_generation)
{
    const uint64_t *count = keys;

    *out_generation = 1000 + n;
    return n <= *count;
}

static struct job_dataset dataset_of(const uint64_t *n)
{
    return (struct job_dataset){.instance_count = *n,
                                .record_bytes = 4,
                                .record_bytes_max = 4,
                                .generation = 1000 + *n,
                                .prefix = prefix,
                                .keys = n};
}

static struct job *make_job(const uint64_t *n, bool durable)
{
    struct job_settings settings = {.name = "job",
                                    .lambda = 0.5,
                                    .sampler = SAMPLER_POLICY_DEFAULT,
                                    .selection = SELECTION_POLICY_DEFAULT,
                                    .batch_size = K,
                                    .credit = 4,
                                    .lease_ms = 1000,
                                    .late_ms = 1000,
                                    .durable = durable};
    struct reason why = {""};
    struct job *j = NULL;

    settings.dataset = dataset_of(n);
    assert_int_equal(job_new(&settings, &j, &why), 0);
    return j;
}

static void take_epoch(struct job *j, uint64_t n)
{
    static bool seen[4096];

    memset(seen, 0, sizeof seen);
    assert_int_equal(coverage_left(&j->coverage), n);
    for (uint64_t i = 0; i < n; i++) {
        struct coverage_slot slot = coverage_take(&j->coverage);

        assert_true(slot.id < n && slot.epoch == 0 && !seen[slot.id]);
        seen[slot.id] = true;
        coverage_settle(&j->coverage, slot, true);
    }
    assert_int_equal(coverage_closed(&j->coverage, 0)->instances, n);
    assert_int_equal(coverage_closed(&j->coverage, 0)->missing, 0);
}

static void new_ids_are_part_of_the_epoch_and_scores_stay(void **state)
{
    uint64_t n = N, more = 250;
    struct job_dataset grown = dataset_of(&more);
    struct job *j = make_job(&n, true);
    struct reason why = {""};

    (void)state;
    for (uint32_t id = 0; id < N; id++)
        hardness_report(&j->hardness, id, (float)id, 1);
    assert_int_equal(job_grow(j, &grown, &why), 0);
    assert_int_equal(j->settings.dataset.instance_count, 250);
    for (uint32_t id = 0; id < 250; id++) {
        struct hardness_story story = hardness_story(&j->hardness, id);

        assert_int_equal(story.scored, id < N);
        assert_true(story.score == (id < N ? (float)id : 0));
    }
    assert_int_equal(job_batch_size(j, 0), K);
    take_epoch(j, 250);
    job_free(j);
}

static void tokens_of_the_last_generations_are_known(void **state)
{
    struct session_key key = {{7}}, other = {{8}};
    uint64_t n = N;
    const uint32_t ids[] = {3, 1, 4};
    struct token tokens[JOB_GENERATIONS_MAX + 2];
    struct job *j = make_job(&n, false);
    struct reason why = {""};
    struct job_dataset grown;

    (void)state;
    for (uint64_t i = 0; i < JOB_GENERATIONS_MAX + 2; i++) {
        uint64_t generation = j->settings.dataset.generation;

        tokens[i] = (struct token){i, job_token_tag(j, generation, &key, i, ids, 3)};
        n++;
        grown = dataset_of(&n);
        j->coverage.joined_count = 0; /* as if each were in an epoch of its own */
        if (i <= JOB_GENERATIONS_MAX)
            assert_int_equal(job_grow(j, &grown, &why), 0);
    }
    assert_false(job_token_fits(j, &key, tokens[0], ids, 3)); /* 17 generations ago */
    for (uint64_t i = 1; i < JOB_GENERATIONS_MAX + 2; i++) {
        assert_true(job_token_fits(j, &key, tokens[i], ids, 3));
        assert_false(job_token_fits(j, &other, tokens[i], ids, 3));
        assert_false(job_token_fits(j, &key, tokens[i], ids, 2));
        tokens[i].step++;
        assert_false(job_token_fits(j, &key, tokens[i], ids, 3));
    }
    job_free(j);
}

static void a_job_that_cannot_grow_keeps_its_n_and_says_so(void **state)
{
    uint64_t n = N;
    struct job *j = make_job(&n, false);
    struct reason why = {""};
    struct job_dataset grown;
    uint64_t served;

    (void)state;
    for (int i = 0; i < COVERAGE_JOINED_MAX; i++) {
        n++;
        grown = dataset_of(&n);
        assert_int_equal(job_grow(j, &grown, &why), 0);
    }
    served = n;
    n += 10;
    grown = dataset_of(&n);
    grown.serial = 17;
    assert_int_equal(job_grow(j, &grown, &why), -OHEM_LIMIT);
    assert_string_equal(why.text, "job 'job' stays at 116 of 126 instances: its data set grew too "
                                  "often in this epoch; reload in the next");
    assert_int_equal(j->settings.dataset.instance_count, served);
    assert_int_equal(j->settings.dataset.generation, 1000 + served);
    assert_int_equal(j->settings.dataset.serial, 17);
    take_epoch(j, served);
    assert_int_equal(job_grow(j, &grown, &why), 0); /* in the next one */
    assert_int_equal(j->settings.dataset.instance_count, n);
    job_free(j);
}

static void in_strict_order_one_growth_waits_and_is_part_of_what_is_to_come(void **state)
{
    uint64_t n = N, more = 250, most = 260;
    struct job_dataset grown = dataset_of(&more), later = dataset_of(&most);
    struct job_settings settings = {.name = "job",
                                    .dataset = dataset_of(&n),
                                    .lambda = 0.5,
                                    .sampler = SAMPLER_POLICY_DEFAULT,
                                    .selection = SELECTION_POLICY_DEFAULT,
                                    .batch_size = K,
                                    .credit = 2,
                                    .lease_ms = 1000,
                                    .staleness = 4,
                                    .durable = true};
    struct reason why = {""};
    struct job *j = NULL;

    (void)state;
    assert_int_equal(job_new(&settings, &j, &why), 0);
    assert_int_equal(job_grow(j, &grown, &why), 0);
    assert_int_equal(j->coverage.n, N);
    assert_int_equal(j->settings.dataset.instance_count, N);
    assert_int_equal(j->settings.dataset.generation, 1000 + N);
    assert_int_equal(job_dataset_to_come(j).instance_count, 250);
    assert_int_equal(job_dataset_to_come(j).generation, 1250);
    assert_int_equal(job_grow(j, &grown, &why), 0); /* the same again */
    assert_int_equal(job_grow(j, &later, &why), -OHEM_LIMIT);
    assert_string_equal(why.text, "job 'job' stays at 100 of 260 instances: its last growth waits "
                                  "for its step; reload when it is drawn");
    job_prepare(j, 1);
    assert_int_equal(j->strict.drawn, 0); /* not before it is on disk */
    job_committed(j);
    job_prepare(j, 2);
    assert_int_equal(j->strict.drawn, 0);
    j->growth.captured = true;
    j->saved.step_captured = 100;
    job_committed(j);
    job_prepare(j, 3);
    assert_int_equal(j->strict.drawn, 4);
    assert_int_equal(j->coverage.n, 250);
    assert_int_equal(j->settings.dataset.generation, 1250);
    assert_int_equal(job_dataset_to_come(j).instance_count, 250);
    job_free(j);
}

static void a_state_of_other_keys_is_refused(void **state)
{
    uint64_t n = N;
    struct job *j = make_job(&n, false);
    struct reason why = {""};

    (void)state;
    assert_int_equal(job_check_generation(j, N, 1000 + N, &why), 0);
    assert_int_equal(job_check_generation(j, 40, 1040, &why), 0);
    assert_int_equal(job_check_generation(j, N, 7, &why), -OHEM_STATE);
    assert_int_equal(job_check_generation(j, 40, 1041, &why), -OHEM_STATE);
    assert_int_equal(job_check_generation(j, N + 1, 1001 + N, &why), -OHEM_STATE);
    assert_int_equal(job_check_generation(j, 0, 1000, &why), -OHEM_STATE);
    assert_non_null(strstr(why.text, "job 'job' was begun with other keys"));
    j->settings.dataset.prefix = NULL; /* nobody can tell */
    assert_int_equal(job_check_generation(j, N, 1000 + N, &why), 0);
    assert_int_equal(job_check_generation(j, 40, 1040, &why), -OHEM_STATE);
    job_free(j);
}

TEST_MAIN(TEST(new_ids_are_part_of_the_epoch_and_scores_stay),
          TEST(tokens_of_the_last_generations_are_known),
          TEST(a_job_that_cannot_grow_keeps_its_n_and_says_so),
          TEST(in_strict_order_one_growth_waits_and_is_part_of_what_is_to_come),
          TEST(a_state_of_other_keys_is_refused))
