/* peer.c - ask the Python process; see peer.h. */
#include "peer.h"

#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON         "/usr/bin/python3" /* Debian's, which has Debian's packages */
#define LINE_BYTES_MAX 256

static pid_t pid; /* 0: not running */
static FILE *to, *from;

static void become_python(const char *script, const int there[2], const int back[2])
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(there[0], STDIN_FILENO);
    (void)dup2(back[1], STDOUT_FILENO);
    (void)execl(PYTHON, PYTHON, script, (char *)NULL);
    (void)dprintf(STDOUT_FILENO, "missing " PYTHON "\n");
    _exit(127);
}

bool peer_start(const char *script)
{
    char line[LINE_BYTES_MAX];
    int there[2], back[2];

    if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0)
        die("pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0)
        become_python(script, there, back);
    (void)close(there[0]);
    (void)close(back[1]);
    to = fdopen(there[1], "w");
    from = fdopen(back[0], "r");
    if (to == NULL || from == NULL || fgets(line, sizeof line, from) == NULL)
        die("'%s' does not start", script);
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "ready ", 6) == 0) {
        rows_note("DataLoader: %s", line + 6);
        return true;
    }
    rows_note("DataLoader: left out, %s", line);
    peer_stop();
    return false;
}

void peer_stop(void)
{
    if (pid == 0)
        return;
    (void)fclose(to);
    (void)fclose(from);
    (void)waitpid(pid, NULL, 0);
    pid = 0;
}

void peer_run(const struct workload *w, const char *fetch, int workers, double seconds,
              struct peer_result *out)
{
    char line[LINE_BYTES_MAX];

    (void)fprintf(to, "%s %u %u %s %d %g\n", w->name, w->count,
                  workload_is_varied(w) ? 0 : w->size_min, fetch, workers, seconds);
    (void)fflush(to);
    if (fgets(line, sizeof line, from) == NULL ||
        sscanf(line, "%lf %lf %lf %lf %lf", &out->instances_per_s, &out->bytes_per_s,
               &out->cpu_share, &out->rss_mb, &out->first_ms) != 5)
        die("DataLoader: no answer for %s, %s, %d workers", w->name, fetch, workers);
}
