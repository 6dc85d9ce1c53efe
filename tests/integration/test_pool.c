/* test_pool.c - the gathering threads: every piece is run once, in its lane's order, and a lane
 * that is stuck leaves a thread to the others.
 */
#include "../../daemon/pool.h"
#include "../lib/test.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#define ITEMS 2000

struct job {
    struct pool_item item; /* first: an item is its job */
    sem_t *waits_for;      /* NULL: it is done at once */
    unsigned runs, begun_as;
    bool done;
};

static atomic_uint begun[POOL_LANES_MAX];

static void run(struct pool_item *item)
{
    struct job *j = (struct job *)item;

    j->runs++;
    j->begun_as = atomic_fetch_add(&begun[item->lane], 1);
    if (j->waits_for != NULL)
        while (sem_wait(j->waits_for) != 0)
            ;
}

struct desk {
    uv_loop_t loop;
    struct pool *pool;
    unsigned done, stop_at; /* ends the loop's turn when so many are done */
};

static void done_cb(void *ctx, struct pool_item *item)
{
    struct desk *d = ctx;

    ((struct job *)item)->done = true;
    if (++d->done == d->stop_at)
        uv_stop(&d->loop);
}

static void open_desk(struct desk *d, uint32_t threads, uint32_t lanes)
{
    *d = (struct desk){.done = 0};
    assert_int_equal(uv_loop_init(&d->loop), 0);
    assert_int_equal(pool_new(&d->loop, threads, lanes, done_cb, d, &d->pool), 0);
}

static void close_desk(struct desk *d)
{
    pool_close(d->pool);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    pool_free(d->pool);
    assert_int_equal(uv_loop_close(&d->loop), 0);
}

static void push(struct desk *d, struct job *j, uint32_t lane, sem_t *waits_for)
{
    *j = (struct job){.item = {.run = run, .lane = lane}, .waits_for = waits_for};
    pool_push(d->pool, &j->item);
}

static void await(struct desk *d, unsigned done)
{
    d->stop_at = done;
    while (d->done < done)
        (void)uv_run(&d->loop, UV_RUN_DEFAULT);
}

static void every_item_is_run_once_and_begun_in_its_lanes_order(void **state)
{
    static struct job jobs[ITEMS];
    struct desk d;

    (void)state;
    open_desk(&d, 4, 3);
    for (unsigned i = 0; i < ITEMS; i++)
        push(&d, &jobs[i], i % 3, NULL);
    await(&d, ITEMS);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(jobs[i].runs, 1);
        assert_true(jobs[i].done);
    }
    close_desk(&d);
}

static void one_thread_keeps_the_order_of_each_lane(void **state)
{
    static struct job jobs[ITEMS];
    struct desk d;

    (void)state;
    open_desk(&d, 1, 2);
    for (unsigned i = 0; i < ITEMS; i++)
        push(&d, &jobs[i], i % 2, NULL);
    await(&d, ITEMS);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_int_equal(jobs[i].begun_as, i / 2);
    close_desk(&d);
}

static void a_lane_that_is_stuck_leaves_a_thread_to_the_others(void **state)
{
    struct job stuck[8], others[ITEMS];
    struct desk d;
    sem_t gate;

    (void)state;
    assert_int_equal(sem_init(&gate, 0, 0), 0);
    open_desk(&d, 2, 2);
    for (unsigned i = 0; i < 8; i++)
        push(&d, &stuck[i], 0, &gate);
    for (unsigned i = 0; i < ITEMS; i++)
        push(&d, &others[i], 1, NULL);
    await(&d, ITEMS); /* all of the other lane, while the first stands still */
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true(others[i].done);
    for (unsigned i = 0; i < 8; i++)
        (void)sem_post(&gate);
    await(&d, ITEMS + 8);
    close_desk(&d);
    (void)sem_destroy(&gate);
}

static void all_slow_lanes_together_leave_a_thread_to_the_others(void **state)
{
    struct job stuck[6], others[ITEMS];
    struct desk d;
    sem_t gate;

    (void)state;
    assert_int_equal(sem_init(&gate, 0, 0), 0);
    open_desk(&d, 3, 4);
    for (unsigned i = 0; i < 6; i++) {
        stuck[i] =
            (struct job){.item = {.run = run, .lane = i % 3, .slow = true}, .waits_for = &gate};
        pool_push(d.pool, &stuck[i].item);
    }
    for (unsigned i = 0; i < ITEMS; i++)
        push(&d, &others[i], 3, NULL);
    await(&d, ITEMS);
    for (unsigned i = 0; i < 6; i++)
        (void)sem_post(&gate);
    await(&d, ITEMS + 6);
    close_desk(&d);
    (void)sem_destroy(&gate);
}

static void a_lone_lane_has_all_threads(void **state)
{
    struct job jobs[2];
    struct desk d;
    sem_t gate;

    (void)state;
    assert_int_equal(sem_init(&gate, 0, 0), 0);
    open_desk(&d, 2, 1);
    push(&d, &jobs[0], 0, &gate);
    push(&d, &jobs[1], 0, NULL);
    await(&d, 1); /* the second overtakes the first */
    assert_true(jobs[1].done && !jobs[0].done);
    (void)sem_post(&gate);
    await(&d, 2);
    close_desk(&d);
    (void)sem_destroy(&gate);
}

static void what_was_not_begun_at_the_end_is_never_run(void **state)
{
    static struct job jobs[ITEMS];
    struct desk d;
    sem_t gate;

    (void)state;
    assert_int_equal(sem_init(&gate, 0, 1), 0);
    open_desk(&d, 1, 1);
    for (unsigned i = 0; i < ITEMS; i++)
        push(&d, &jobs[i], 0, i > 0 ? NULL : &gate);
    close_desk(&d);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true(jobs[i].runs <= 1 && !jobs[i].done);
    (void)sem_destroy(&gate);
}

TEST_MAIN(TEST(every_item_is_run_once_and_begun_in_its_lanes_order),
          TEST(one_thread_keeps_the_order_of_each_lane),
          TEST(a_lane_that_is_stuck_leaves_a_thread_to_the_others),
          TEST(all_slow_lanes_together_leave_a_thread_to_the_others),
          TEST(a_lone_lane_has_all_threads), TEST(what_was_not_begun_at_the_end_is_never_run))
