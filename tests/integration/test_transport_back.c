/* test_transport_back.c - what is shared with a trainer can only be read, and the daemon has it
 * back as soon as the trainer is gone, however it went.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N          400
#define K          32
#define CREDIT     4
#define AT_ONCE_MS 5000 /* long before a lease ends or a heartbeat is missed */

static const struct tinyset set = {.count = N, .size_min = 1, .size_max = 3000};

static void begin(struct daemon *d)
{
    tinyset_make(&set, DAEMON_DATASET);
    daemon_start(d);
}

static void await_rings(const struct daemon *d, unsigned count, const char *what)
{
    int64_t deadline = daemon_now_ms() + AT_ONCE_MS;

    while (ways_mappings(d->pid, WAYS_RING) != count)
        daemon_look_again_soon(deadline, what);
}

static void a_closed_client_gives_its_ring_back(void **state)
{
    struct daemon d = {0};
    unsigned before;

    (void)state;
    begin(&d);
    before = ways_mappings(d.pid, WAYS_RING);
    for (int n = 0; n < 20; n++) {
        struct ohem_client *client =
            ways_connect(&d, (struct way){OHEM_PACKED, OHEM_SHM}, K, CREDIT);

        ohem_release(daemon_next(client));
        assert_true(ways_mappings(d.pid, WAYS_RING) > before);
        ohem_close(client);
        await_rings(&d, before, "the ring of a closed client is given back");
    }
    daemon_stop(&d);
}

/* In a process of its own, which asserts nothing: take what there is, say so, and wait. */
static void hold_for_ever(const struct daemon *d, struct way way, int say)
{
    struct ohem_options options = ways_options(d, way);
    struct ohem_client *client = NULL;
    struct ohem_batch *b;

    options.batch_size = K;
    options.credit = CREDIT;
    if (ohem_connect(&options, &client) != 0)
        _exit(1);
    for (int i = 0; i < CREDIT; i++)
        if (ohem_next(client, DAEMON_DEADLINE_MS, &b) != 0)
            _exit(1);
    (void)!write(say, "", 1);
    for (;;)
        (void)pause();
}

static pid_t start_holder(const struct daemon *d, struct way way)
{
    int ends[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        hold_for_ever(d, way, ends[1]);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    (void)close(ends[0]);
    return child;
}

static void a_killed_client_gives_its_ring_back_at_once(void **state)
{
    struct daemon d = {0};
    unsigned before;

    (void)state;
    begin(&d);
    before = ways_mappings(d.pid, WAYS_RING);
    for (int n = 0; n < 5; n++) {
        pid_t child = start_holder(&d, (struct way){OHEM_PACKED, OHEM_SHM});

        assert_true(ways_mappings(d.pid, WAYS_RING) > before);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        await_rings(&d, before, "the ring of a killed client is given back");
    }
    daemon_stop(&d);
}

/* What is shared can be read, and nothing else. */
static void shared_memory_cannot_be_written_by_a_trainer(void **state)
{
    struct ohem_client *ring, *file;
    struct daemon d = {0};

    (void)state;
    begin(&d);
    ring = ways_connect(&d, (struct way){OHEM_PACKED, OHEM_SHM}, K, CREDIT);
    file = ways_connect(&d, (struct way){OHEM_SCATTERED, OHEM_MAP}, K, CREDIT);
    assert_true(ways_mappings(0, WAYS_RING) >= 1 && ways_mappings(0, WAYS_FILE) >= 1);
    assert_int_equal(ways_mappings(0, " rw-s "), 0);
    ohem_close(ring);
    ohem_close(file);
    daemon_stop(&d);
}

TEST_MAIN(TEST(a_closed_client_gives_its_ring_back),
          TEST(a_killed_client_gives_its_ring_back_at_once),
          TEST(shared_memory_cannot_be_written_by_a_trainer))
