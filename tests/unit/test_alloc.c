/* test_alloc.c - memory runs out at every place where it can, one after the other.
 *
 * A failed attempt says -OHEM_NOMEM, keeps no block, and leaves what there was as it was. What a
 * job is restored and saved with is in test_alloc_restore.c.
 */
#include "../../client/kept.h"
#include "../../daemon/engine/engine.h"
#include "../../proto/codec.h"
#include "../../proto/error.h"
#include "../lib/alloc.h"
#include "../lib/alloc_each.h"
#include "../lib/test.h"

#include <stdlib.h>
#include <string.h>

static void the_failing_allocator_fails_where_it_is_told(void **state)
{
    size_t live = alloc_live();
    void *volatile blocks[3]; /* volatile: or a compiler leaves the allocations out */

    (void)state;
    alloc_fail_at(2);
    blocks[0] = malloc(1);
    assert_false(alloc_has_failed());
    blocks[1] = calloc(1, 1);
    assert_true(alloc_has_failed());
    blocks[2] = malloc(1);
    assert_true(blocks[0] != NULL && blocks[1] == NULL && blocks[2] != NULL);
    assert_int_equal(alloc_live(), live + 2);
    for (int i = 0; i < 3; i++)
        free(blocks[i]);
    assert_int_equal(alloc_live(), live);
}

/* ---- the parts ---------------------------------------------------------------------------------
 */

static int try_partition(void *object)
{
    return partition_init(object, 1000);
}

static void undo_partition(void *object)
{
    partition_deinit(object);
}

static void partition_init_survives(void **state)
{
    struct partition p;

    (void)state;
    assert_true(alloc_fail_each(try_partition, NULL, undo_partition, &p) >= 2);
}

static int try_hardness(void *object)
{
    return hardness_init(object, 1000, 0.5f);
}

static void undo_hardness(void *object)
{
    hardness_deinit(object);
}

static void hardness_init_survives(void **state)
{
    struct hardness h;

    (void)state;
    assert_true(alloc_fail_each(try_hardness, NULL, undo_hardness, &h) >= 3);
}

/* So large that the system is asked for huge pages: not where there is nothing. */
static int try_large_hardness(void *object)
{
    return hardness_init(object, 1u << 21, 0.5f);
}

static void large_hardness_init_survives(void **state)
{
    struct hardness h;

    (void)state;
    assert_true(alloc_fail_each(try_large_hardness, NULL, undo_hardness, &h) >= 3);
}

static int try_ordered_hardness(void *object)
{
    return hardness_init_ordered(object, 1000, 0.5f);
}

static void ordered_hardness_init_survives(void **state)
{
    struct hardness h;

    (void)state;
    assert_true(alloc_fail_each(try_ordered_hardness, NULL, undo_hardness, &h) >= 9);
}

static int try_growth(void *object)
{
    return hardness_grow(object, 100000);
}

static void check_scores(void *object)
{
    struct hardness *h = object;

    assert_int_equal(h->partition.count, 500);
    for (uint32_t id = 0; id < 1000; id++)
        assert_true(hardness_story(h, id).score == (id < 500 ? (float)id : 0));
}

static void check_not_grown(void *object)
{
    struct hardness *h = object;

    assert_int_equal(h->n, 1000);
    check_scores(h);
}

/* What was grown is as many blocks as it was before. */
static void hardness_grow_survives(void **state)
{
    struct hardness h;

    (void)state;
    assert_int_equal(try_ordered_hardness(&h), 0);
    for (uint32_t id = 0; id < 500; id++)
        hardness_report(&h, id, (float)id, 0);
    assert_true(alloc_fail_each(try_growth, check_not_grown, check_scores, &h) >= 9);
    assert_int_equal(h.n, 100000);
    hardness_deinit(&h);
}

static int try_coverage(void *object)
{
    return coverage_init(object, 1000, rng_make(1, "job", RNG_PERMUTATION));
}

static void undo_coverage(void *object)
{
    coverage_deinit(object);
}

static void coverage_init_survives(void **state)
{
    struct coverage c;

    (void)state;
    assert_true(alloc_fail_each(try_coverage, NULL, undo_coverage, &c) >= 1);
}

static int try_coverage_growth(void *object)
{
    return coverage_grow(object, 1500);
}

static void check_coverage_as_it_was(void *object)
{
    const struct coverage *c = object;

    assert_int_equal(c->n, 1000);
    assert_int_equal(c->joined_count, 0);
    assert_int_equal(coverage_open(c, 0)->instances, 1000);
    assert_int_equal(coverage_left(c), 1000);
}

/* As one that was loaded and has no orders yet. */
static void forget_orders(void *object)
{
    struct coverage *c = object;

    free(c->joined_orders);
    c->joined_orders = NULL;
}

static int try_resume(void *object)
{
    return coverage_resume(object);
}

static void coverage_grow_and_resume_survive(void **state)
{
    struct coverage c;

    (void)state;
    assert_int_equal(try_coverage(&c), 0);
    assert_true(alloc_fail_each(try_coverage_growth, check_coverage_as_it_was, forget_orders, &c) >=
                1);
    assert_int_equal(c.joined_count, 1);
    assert_true(alloc_fail_each(try_resume, NULL, forget_orders, &c) >= 1);
    coverage_deinit(&c);
}

#define HELD 10

/* A coverage to which some instances came back. */
struct returned {
    struct coverage coverage;
    struct coverage_slot slots[HELD];
};

static int try_reserve_coverage(void *object)
{
    struct returned *r = object;

    return coverage_reserve(&r->coverage, 100000);
}

/* What came back goes out in the same order, and comes back again. */
static void check_returned(void *object)
{
    struct returned *r = object;

    assert_int_equal(r->coverage.pool_count, HELD);
    for (int i = 0; i < HELD; i++) {
        struct coverage_slot slot = coverage_take(&r->coverage);

        assert_int_equal(slot.id, r->slots[i].id);
        assert_int_equal(slot.epoch, r->slots[i].epoch);
    }
    for (int i = 0; i < HELD; i++)
        coverage_return(&r->coverage, r->slots[i]);
}

static void coverage_reserve_survives(void **state)
{
    struct returned r;

    (void)state;
    assert_int_equal(try_coverage(&r.coverage), 0);
    assert_int_equal(coverage_reserve(&r.coverage, HELD), 0);
    for (int i = 0; i < HELD; i++)
        r.slots[i] = coverage_take(&r.coverage);
    for (int i = 0; i < HELD; i++)
        coverage_return(&r.coverage, r.slots[i]);
    assert_true(alloc_fail_each(try_reserve_coverage, check_returned, check_returned, &r) >= 1);
    coverage_deinit(&r.coverage);
}

static int try_sampler(void *object)
{
    static const struct sampler_policy policy = SAMPLER_POLICY_DEFAULT;

    return sampler_init(object, &policy, rng_make(1, "job", RNG_DRAW), 256);
}

static void undo_sampler(void *object)
{
    sampler_deinit(object);
}

static void sampler_init_survives(void **state)
{
    struct sampler s;

    (void)state;
    assert_true(alloc_fail_each(try_sampler, NULL, undo_sampler, &s) >= 1);
}

static int try_map(void *object)
{
    return map_init(object, 100);
}

static void undo_map(void *object)
{
    map_deinit(object);
}

static void map_init_survives(void **state)
{
    struct map m;

    (void)state;
    assert_true(alloc_fail_each(try_map, NULL, undo_map, &m) >= 1);
}

static int try_reserve_map(void *object)
{
    return map_reserve(object, 100000);
}

static void check_map(void *object)
{
    struct map *m = object;

    assert_int_equal(m->count, 100);
    for (uint64_t key = 0; key < 100; key++)
        assert_ptr_equal(map_get(m, key), m);
    assert_null(map_get(m, 100));
}

static void map_reserve_survives(void **state)
{
    struct map m;

    (void)state;
    assert_int_equal(map_init(&m, 100), 0);
    for (uint64_t key = 0; key < 100; key++)
        map_put(&m, key, &m);
    assert_true(alloc_fail_each(try_reserve_map, check_map, check_map, &m) >= 1);
    map_deinit(&m);
}

static int try_lease_table(void *object)
{
    return lease_table_init(object, 1000, 1000);
}

static void undo_lease_table(void *object)
{
    lease_table_deinit(object);
}

static void lease_table_init_survives(void **state)
{
    struct lease_table t;

    (void)state;
    assert_true(alloc_fail_each(try_lease_table, NULL, undo_lease_table, &t) >= 1);
}

/* A table and a lease that stands in it. */
struct granted {
    struct lease_table table;
    struct lease lease;
};

static int try_reserve_table(void *object)
{
    struct granted *g = object;

    return lease_table_reserve(&g->table, 100000);
}

static void check_granted(void *object)
{
    struct granted *g = object;

    assert_ptr_equal(lease_find(&g->table, 7), &g->lease);
    assert_int_equal(g->table.open_count, 1);
    assert_int_equal(lease_next_due(&g->table), 1005);
}

static void lease_table_reserve_survives(void **state)
{
    struct granted g;

    (void)state;
    assert_int_equal(lease_table_init(&g.table, 1000, 1000), 0);
    assert_int_equal(lease_table_reserve(&g.table, 1), 0);
    assert_int_equal(lease_init(&g.lease, NULL, 4), 0);
    lease_grant(&g.table, &g.lease, (struct token){.step = 7}, 5);
    assert_true(alloc_fail_each(try_reserve_table, check_granted, check_granted, &g) >= 1);
    lease_release(&g.table, &g.lease);
    lease_deinit(&g.lease);
    lease_table_deinit(&g.table);
}

static int try_lease(void *object)
{
    return lease_init(object, NULL, 64);
}

static void undo_lease(void *object)
{
    lease_deinit(object);
}

static void lease_init_survives(void **state)
{
    struct lease l;

    (void)state;
    assert_true(alloc_fail_each(try_lease, NULL, undo_lease, &l) >= 1);
}

/* ---- jobs and the engine -----------------------------------------------------------------------
 */

static const struct job_settings job_settings = {
    .name = "job",
    .dataset = {.instance_count = 1000, .record_bytes = 8, .record_bytes_max = 8},
    .lambda = 0.5,
    .sampler = SAMPLER_POLICY_DEFAULT,
    .selection = SELECTION_POLICY_DEFAULT,
    .batch_size = 16,
    .credit = 2,
    .lease_ms = 1000,
    .late_ms = 1000,
};

static const struct message_hello hello = {
    .major = PROTO_MAJOR, .minor = PROTO_MINOR, .key = {{1}}, .job = "job", .credit = 3};

/* What fits the signature of an attempt: the object, and what was made of it. */
struct made {
    struct job *job;
    struct session *session;
    struct codec *codec;
    struct reason why;
};

static int try_job(void *object)
{
    struct made *m = object;

    m->job = NULL;
    m->why.text[0] = '\0';
    return job_new(&job_settings, &m->job, &m->why);
}

/* A failure sets no output, and says why. */
static void check_no_job(void *object)
{
    struct made *m = object;

    assert_null(m->job);
    assert_non_null(strstr(m->why.text, "memory"));
}

static void undo_job(void *object)
{
    struct made *m = object;

    job_free(m->job);
}

static void job_new_survives(void **state)
{
    struct made m = {0};

    (void)state;
    assert_true(alloc_fail_each(try_job, check_no_job, undo_job, &m) >= 5);
}

static int try_join(void *object)
{
    struct made *m = object;

    m->session = NULL;
    m->why.text[0] = '\0';
    return job_join(m->job, &hello, 9, 1, 0, &m->session, &m->why);
}

static void check_no_session(void *object)
{
    struct made *m = object;

    assert_null(m->session);
    assert_non_null(strstr(m->why.text, "memory"));
    assert_int_equal(m->job->session_count, 0);
    assert_int_equal(m->job->instances_out_max, 0);
    assert_int_equal(m->job->metrics.sessions_opened, 0);
    assert_true(TAILQ_EMPTY(&m->job->sessions));
}

/* The session that came through can hold as many batches as it was promised. */
static void use_and_leave(void *object)
{
    struct made *m = object;

    assert_int_equal(m->job->session_count, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(job_ready(m->job, m->session));
        (void)job_draw(m->job, m->session, 0);
    }
    assert_false(job_ready(m->job, m->session));
    job_leave(m->job, m->session);
}

static void job_join_survives(void **state)
{
    struct made m = {0};

    (void)state;
    assert_int_equal(job_new(&job_settings, &m.job, NULL), 0);
    /* a table, a session, its slots, and the arrays of each */
    assert_true(alloc_fail_each(try_join, check_no_session, use_and_leave, &m) >= 5);
    job_free(m.job);
}

static int no_send(void *ctx, uint64_t peer, const struct message *m)
{
    (void)ctx;
    (void)peer;
    (void)m;
    return 0;
}

static int try_engine(void *object)
{
    const struct engine_settings settings = {
        .boot = 1, .sessions_max = 16, .payload_bytes_max = 1 << 20};
    const struct engine_out out = {.send = no_send};

    return engine_init(object, &settings, &out);
}

static void undo_engine(void *object)
{
    engine_deinit(object);
}

static void engine_init_survives(void **state)
{
    struct engine e;

    (void)state;
    assert_true(alloc_fail_each(try_engine, NULL, undo_engine, &e) >= 1);
}

static int try_add_job(void *object)
{
    return engine_add_job(object, &job_settings, NULL);
}

static void check_not_added(void *object)
{
    assert_null(engine_find_job(object, "job"));
    assert_true(engine_idle(object));
}

static void check_added(void *object)
{
    struct engine *e = object;
    struct job *job = engine_find_job(e, "job");

    assert_non_null(job);
    TAILQ_REMOVE(&e->jobs, job, of_engine);
    job_free(job);
}

static void engine_add_job_survives(void **state)
{
    struct engine e;

    (void)state;
    assert_int_equal(try_engine(&e), 0);
    assert_true(alloc_fail_each(try_add_job, check_not_added, check_added, &e) >= 5);
    engine_deinit(&e);
}

static int try_codec(void *object)
{
    struct made *m = object;

    m->codec = codec_new();
    return m->codec != NULL ? 0 : -OHEM_NOMEM;
}

static void undo_codec(void *object)
{
    struct made *m = object;

    codec_free(m->codec);
}

static void codec_new_survives(void **state)
{
    struct made m = {0};

    (void)state;
    assert_true(alloc_fail_each(try_codec, NULL, undo_codec, &m) >= 1);
}

static int try_kept(void *object)
{
    return kept_add(object, (struct token){0}, 1, 4) != NULL ? 0 : -OHEM_NOMEM;
}

static void look_at_kept(void *object)
{
    const struct kept *k = object;

    assert_true(k->count == 0 && k->bytes == 0 && k->made == 0);
}

static void undo_kept(void *object)
{
    kept_deinit(object);
}

static void kept_add_survives(void **state)
{
    struct kept k;

    (void)state;
    kept_init(&k, 1000);
    assert_true(alloc_fail_each(try_kept, look_at_kept, undo_kept, &k) >= 2);
}

static void freeing_nothing_is_allowed(void **state)
{
    (void)state;
    job_free(NULL);
    session_free(NULL);
    codec_free(NULL);
}

TEST_MAIN(TEST(the_failing_allocator_fails_where_it_is_told), TEST(partition_init_survives),
          TEST(hardness_init_survives), TEST(large_hardness_init_survives),
          TEST(ordered_hardness_init_survives), TEST(hardness_grow_survives),
          TEST(coverage_init_survives), TEST(coverage_grow_and_resume_survive),
          TEST(coverage_reserve_survives), TEST(sampler_init_survives), TEST(map_init_survives),
          TEST(map_reserve_survives), TEST(lease_table_init_survives),
          TEST(lease_table_reserve_survives), TEST(lease_init_survives), TEST(job_new_survives),
          TEST(job_join_survives), TEST(engine_init_survives), TEST(engine_add_job_survives),
          TEST(codec_new_survives), TEST(kept_add_survives), TEST(freeing_nothing_is_allowed))
