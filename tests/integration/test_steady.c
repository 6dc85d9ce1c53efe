/* test_steady.c - once it runs, our code allocates nothing per batch: neither daemon nor client.
 *
 * Both are in this process, the daemon's server on a thread of its own, and the allocator of
 * tests/lib/alloc.c counts what they take. What libzmq takes for its messages is not counted: it is
 * a shared library. The daemon's spare parcels are as many as were ever under way at once, so a
 * crowded machine may see one more now and then, up to the loader's bound: a stretch of batches has
 * to come that takes nothing, and it comes soon.
 */
#include "../../client/ohem.h"
#include "../../daemon/server.h"
#include "../lib/alloc.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"

#include <pthread.h>
#include <string.h>

#define K       32u
#define WARM_UP 400
#define STEPS   1000
#define LATE    8 /* stretches that may take something, at most */
#define TIMEOUT 30000
#define FIXED \
    { \
        .count = 2000, .size_min = 100, .size_max = 100 \
    }
#define VARIED \
    { \
        .count = 2000, .size_min = 0, .size_max = 400 \
    }
#define IN_PARTS \
    { \
        .count = 200, .size_min = 60000, .size_max = 61000 \
    } /* 2 MB a batch */

struct side {
    struct config config;
    struct dataset *dataset;
    uv_loop_t loop;
    uv_async_t stop;
    struct server *server;
    pthread_t thread;
};

static void stop_cb(uv_async_t *async)
{
    struct side *d = async->data;

    server_close(d->server);
    uv_close((uv_handle_t *)async, NULL);
}

/* The server from its beginning to its end, on one thread: the one that guards the data set's file.
 */
static void *serve(void *arg)
{
    struct side *d = arg;
    struct reason why = {""};

    if (server_new(&d->loop, &d->config, &d->dataset, &d->server, &why) != 0)
        fail_msg("%s", why.text);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    server_free(d->server);
    return NULL;
}

static void start(struct side *d, const struct tinyset *set)
{
    struct reason why = {""};

    tinyset_make(set, "data");
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(config_init(&d->config, &why), 0);
    assert_int_equal(config_set(&d->config, "listen", "ipc://here.sock", &why), 0);
    assert_int_equal(config_add_dataset(&d->config, "data", &why), 0);
    assert_int_equal(config_check(&d->config, &why), 0);
    assert_int_equal(
        dataset_open(d->config.datasets[0].path, "", false, &d->dataset, &why, NULL, NULL), 0);
    assert_int_equal(uv_loop_init(&d->loop), 0);
    assert_int_equal(uv_async_init(&d->loop, &d->stop, stop_cb), 0);
    d->stop.data = d;
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void stop(struct side *d)
{
    (void)uv_async_send(&d->stop);
    (void)pthread_join(d->thread, NULL);
    assert_int_equal(uv_loop_close(&d->loop), 0);
    dataset_close(d->dataset);
    config_deinit(&d->config);
}

static void step(struct ohem_client *client)
{
    const struct ohem_selection *selection;
    struct ohem_batch *b;
    float losses[K];

    if (ohem_next(client, TIMEOUT, &b) != 0)
        fail_msg("next: %s", ohem_client_error(client));
    for (uint32_t i = 0; i < K; i++)
        losses[i] = (float)(ohem_batch_ids(b)[i] % 97) + (float)(ohem_batch_step(b) % 5);
    assert_int_equal(ohem_report(b, losses, K, TIMEOUT, &selection), 0);
    ohem_release(b);
}

/* @return the allocations while so many batches go by */
static size_t taken_in(struct ohem_client *client, size_t steps)
{
    size_t before = alloc_count();

    for (size_t i = 0; i < steps; i++)
        step(client);
    return alloc_count() - before;
}

static void take(const struct tinyset *set, enum ohem_layout layout, enum ohem_transport transport)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;
    static struct side d;
    size_t late = 0, steps = set->size_min > 1000 ? STEPS / 10 : STEPS;

    start(&d, set);
    options.endpoint = d.config.listen;
    options.batch_size = K;
    options.layout = layout;
    options.transport = transport;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("%s", ohem_connect_error());
    (void)taken_in(client, WARM_UP);
    while (taken_in(client, steps) > 0)
        if (++late == LATE)
            fail_msg("each of %u stretches of %zu batches took memory", LATE, steps);
    ohem_close(client);
    stop(&d);
}

static void the_counter_sees_what_ours_allocate(void **state)
{
    const struct tinyset set = FIXED;
    size_t before = alloc_count();
    static struct side d;

    (void)state;
    start(&d, &set);
    stop(&d);
    assert_true(alloc_count() - before > 20);
}

static void by_map_nothing_is_allocated(void **state)
{
    const struct tinyset set = VARIED;

    (void)state;
    take(&set, OHEM_SCATTERED, OHEM_MAP);
}

static void by_shm_nothing_is_allocated(void **state)
{
    const struct tinyset set = VARIED;

    (void)state;
    take(&set, OHEM_PACKED, OHEM_SHM);
}

static void inline_nothing_is_allocated(void **state)
{
    const struct tinyset set = FIXED;

    (void)state;
    take(&set, OHEM_PACKED, OHEM_INLINE);
}

static void inline_in_parts_nothing_is_allocated(void **state)
{
    const struct tinyset set = IN_PARTS;

    (void)state;
    take(&set, OHEM_ALIGNED64, OHEM_INLINE);
}

static void inline_in_scattered_parts_nothing_is_allocated(void **state)
{
    const struct tinyset set = IN_PARTS;

    (void)state;
    take(&set, OHEM_SCATTERED, OHEM_INLINE);
}

TEST_MAIN(TEST(the_counter_sees_what_ours_allocate), TEST(by_map_nothing_is_allocated),
          TEST(by_shm_nothing_is_allocated), TEST(inline_nothing_is_allocated),
          TEST(inline_in_parts_nothing_is_allocated),
          TEST(inline_in_scattered_parts_nothing_is_allocated))
