/* test_reset.c - libohem when its job is begun anew: the trainer's calls stay the same. */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 64
#define K 8

static const struct tinyset set = {.count = N, .size_min = 8, .size_max = 8};
static const struct tinyset grown = {.count = 2 * N, .size_min = 8, .size_max = 8};
static const float losses[K] = {3, 1, 4, 1, 5, 9, 2, 6};

static void reset(void)
{
    char command[DAEMON_PATH_MAX];

    (void)snprintf(command, sizeof command, "%s/ohemctl --control control.sock reset default",
                   test_build());
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a path of ours
}

/* What it holds of the life before is refused, what it had only read ahead it never sees. */
static void a_trainer_goes_on_when_its_job_begins_anew(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client = daemon_begin(&d, &set, K, 4);
    struct ohem_batch *held, *b;
    const struct ohem_selection *none;

    (void)state;
    for (int i = 0; i < 5; i++) {
        b = daemon_next(client);
        (void)daemon_report(b, losses);
        ohem_release(b);
    }
    held = daemon_next(client);
    reset();
    for (int i = 0; i < 20; i++) {
        b = daemon_next(client);
        if (ohem_report(b, losses, K, DAEMON_DEADLINE_MS, &none) == 0)
            assert_int_equal(ohem_selection_count(none), K / 2);
        ohem_release(b);
    }
    assert_int_equal(ohem_report(held, losses, K, DAEMON_DEADLINE_MS, &none), -OHEM_TOKEN);
    ohem_release(held);
    b = daemon_next(client);
    (void)daemon_report(b, losses);
    ohem_release(b);
    assert_true(daemon_counter(&d, "reports_applied") >= 15);
    assert_true(daemon_counter(&d, "reports_applied") <= 21);
    daemon_end(&d, client);
}

static double served_count(const struct daemon *d)
{
    char *body = daemon_get(d, "/v1/jobs/default");
    double count = daemon_number_in(body, "instance_count");

    free(body);
    return count;
}

/* WELCOME then tells of another memory and of more instances, both at once. */
static void a_trainer_goes_on_when_that_job_has_grown_before(void **state)
{
    struct daemon d = {.job = "rho = 1\n"};
    struct ohem_client *client = daemon_begin(&d, &set, K, 4);
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;

    (void)state;
    ohem_release(daemon_next(client));
    tinyset_grow(&grown, DAEMON_DATASET, N);
    assert_int_equal(kill(d.pid, SIGHUP), 0);
    while (served_count(&d) < 2 * N)
        daemon_look_again_soon(deadline, "the job has grown");
    reset();
    while (ohem_instance_count(client) < 2 * N) {
        assert_true(daemon_now_ms() < deadline);
        ohem_release(daemon_next(client));
    }
    daemon_end(&d, client);
}

TEST_MAIN(TEST(a_trainer_goes_on_when_its_job_begins_anew),
          TEST(a_trainer_goes_on_when_that_job_has_grown_before))
