/* slow.c - the test's end of a slow disk; see slow.h. */
#include "slow.h"

#include "daemon.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER_MODE 0755
#define FILE_MODE   0600

static struct slow_control *make_control(void)
{
    int fd = open(SLOW_CONTROL_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    void *control;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof(struct slow_control)), 0);
    control = mmap(NULL, sizeof(struct slow_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(control != MAP_FAILED);
    (void)close(fd);
    return control;
}

/* A session of its own, so that it can still unmount when all else of a test is killed. */
static void become_slowfs(pid_t parent, const char *below, const char *at)
{
    char program[DAEMON_PATH_MAX];

    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    (void)snprintf(program, sizeof program, "%s/slowfs", test_build());
    (void)execl(program, "slowfs", below, at, (char *)NULL);
    perror(program);
    _exit(1);
}

void slow_mount(struct slow *s, const char *below, const char *at)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    pid_t parent = getpid();
    int status;

    if (access("/dev/fuse", R_OK | W_OK) != 0)
        test_skip("no /dev/fuse to use: no slow disk");
    assert_int_equal(mkdir(at, FOLDER_MODE), 0);
    *s = (struct slow){.control = make_control(), .at = at};
    (void)fflush(NULL);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        become_slowfs(parent, below, at);
    while (s->control->mounted == 0) {
        if (waitpid(s->pid, &status, WNOHANG) != 0) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == SLOW_EXIT_NO_FUSE)
                test_skip("no right to mount over FUSE: no slow disk");
            fail_msg("slowfs ended with wait status %#x", (unsigned)status);
        }
        daemon_look_again_soon(deadline, "slowfs has mounted");
    }
}

void slow_down(struct slow *s, const char *file, uint32_t delay_ms)
{
    int fd;

    s->control->delay_ms = delay_ms;
    fd = open(file, O_RDONLY | O_CLOEXEC); /* which drops its pages */
    assert_true(fd >= 0);
    (void)close(fd);
}

void slow_speed_up(struct slow *s)
{
    s->control->delay_ms = 0;
}

void slow_await_waiting(struct slow *s, uint32_t count)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;

    while (s->control->waiting < count)
        daemon_look_again_soon(deadline, "a read of the slow disk waits");
}

void slow_unmount(struct slow *s)
{
    int64_t deadline = daemon_now_ms() + DAEMON_DEADLINE_MS;
    int status = 0;

    slow_speed_up(s);
    assert_int_equal(kill(s->pid, SIGTERM), 0); /* it unmounts before it ends */
    while (waitpid(s->pid, &status, WNOHANG) == 0)
        daemon_look_again_soon(deadline, "slowfs ends");
    if (!WIFEXITED(status))
        fail_msg("slowfs ended with wait status %#x", (unsigned)status);
    (void)munmap(s->control, sizeof *s->control);
    (void)unlink(SLOW_CONTROL_FILE);
    assert_int_equal(rmdir(s->at), 0);
}
