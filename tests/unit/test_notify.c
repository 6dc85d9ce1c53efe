/* test_notify.c - what systemd hears on its socket. */
#include "../lib/test.h"

#include "../../daemon/notify.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* systemd's end, named in the environment. */
static int listen_as_systemd(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_non_null(getcwd(address.sun_path, sizeof address.sun_path - sizeof "/notify"));
    (void)strcat(address.sun_path, "/notify");
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    return fd;
}

static void assert_heard(int fd, const char *expected)
{
    char text[512];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t size;

    assert_int_equal(poll(&ready, 1, 5000), 1);
    size = recv(fd, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    assert_string_equal(text, expected);
}

static void systemd_hears_each_state(void **state)
{
    int fd = listen_as_systemd();

    (void)state;
    notify_ready("serving");
    assert_heard(fd, "READY=1\nSTATUS=serving");
    notify_status("%d sessions, %.0f batches/s", 3, 41.7);
    assert_heard(fd, "STATUS=3 sessions, 42 batches/s");
    notify_watchdog();
    assert_heard(fd, "WATCHDOG=1");
    notify_stopping("draining");
    assert_heard(fd, "STOPPING=1\nSTATUS=draining");
    assert_int_equal(close(fd), 0);
}

static void the_watchdog_is_fed_at_half_its_time(void **state)
{
    char pid[32];

    (void)state;
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    assert_int_equal(notify_watchdog_ms(), 15000);
    assert_int_equal(setenv("WATCHDOG_USEC", "1000", 1), 0);
    assert_int_equal(notify_watchdog_ms(), 1);
}

static void without_systemd_nothing_happens(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    assert_int_equal(notify_watchdog_ms(), 0);
    notify_ready("serving");
    notify_status("%s", "x");
    notify_watchdog();
    notify_stopping("draining");
}

TEST_MAIN(TEST(systemd_hears_each_state), TEST(the_watchdog_is_fed_at_half_its_time),
          TEST(without_systemd_nothing_happens))
