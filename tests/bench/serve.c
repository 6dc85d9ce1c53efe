/* serve.c - the daemon and its status; see serve.h. */
#include "serve.h"

#include "measure.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#define CONFIG         "ohemd.conf"
#define LOG            "ohemd.log"
#define STATUS         "status.sock"
#define ANSWER_MAX     (1u << 16) /* bytes of /v1/health */
#define ANSWER_SECONDS 10L
#define FILE_MODE      0644

static pid_t daemon_pid; /* 0: it does not run */

/* ---- the daemon ---- */

static void write_config(const struct workload list[WORKLOADS], bool durable)
{
    FILE *file = fopen(CONFIG, "w");

    if (file == NULL)
        die("cannot write '" CONFIG "': %s", strerror(errno));
    (void)fprintf(file, "[daemon]\nlisten = " SERVE_ENDPOINT "\nstatus_socket = " STATUS "\n%s",
                  durable ? "state = state\n" : "");
    for (int i = 0; i < WORKLOADS; i++) {
        const char *name = list[i].name;

        (void)fprintf(file, "[dataset %s]\npath = %s\nshare = map\n", name, name);
        (void)fprintf(file, "[job %s-biased]\ndataset = %s\nrho = 0.5\n", name, name);
        (void)fprintf(file, "[job %s-uniform]\ndataset = %s\nrho = 1\n", name, name);
        (void)fprintf(file, "[job %s-strict]\ndataset = %s\nrho = 0.5\norder = strict\n", name,
                      name);
    }
    if (fclose(file) != 0)
        die("cannot write '" CONFIG "': %s", strerror(errno));
}

static void become_daemon(const char *program, bool durable)
{
    int log = open(LOG, O_WRONLY | O_CREAT | O_TRUNC, FILE_MODE);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)unsetenv("NOTIFY_SOCKET"); /* whoever started the bench is not told that it is ready */
    if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    (void)execl(program, program, "--config", CONFIG, durable ? "--fresh" : NULL, (char *)NULL);
    _exit(127);
}

pid_t serve_start(const char *program, const struct workload list[WORKLOADS], bool durable)
{
    if (access(program, X_OK) != 0)
        die("cannot run '%s': %s", program, strerror(errno));
    write_config(list, durable);
    daemon_pid = fork();
    if (daemon_pid < 0)
        die("fork: %s", strerror(errno));
    if (daemon_pid == 0)
        become_daemon(program, durable);
    return daemon_pid;
}

void serve_stop(void)
{
    int status;

    if (kill(daemon_pid, SIGTERM) != 0 || waitpid(daemon_pid, &status, 0) != daemon_pid)
        die("cannot stop ohemd: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("ohemd ended with %s %d", WIFEXITED(status) ? "exit code" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* ---- what it says ---- */

struct answer {
    char text[ANSWER_MAX];
    size_t size;
};

static size_t answer_cb(char *data, size_t one, size_t size, void *ctx)
{
    struct answer *a = ctx;

    if (size > sizeof a->text - a->size)
        return 0;
    memcpy(a->text + a->size, data, size);
    a->size += size;
    return one * size;
}

static void ask(const char *path, struct answer *out)
{
    CURL *curl = curl_easy_init();
    char url[128];
    CURLcode rc;

    out->size = 0;
    (void)snprintf(url, sizeof url, "http://localhost%s", path);
    if (curl == NULL)
        die("libcurl does not start");
    (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, STATUS);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_SECONDS);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_cb);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    rc = curl_easy_perform(curl);
    if (rc != CURLE_OK)
        die("status %s: %s", path, curl_easy_strerror(rc));
    curl_easy_cleanup(curl);
}

static double number_of(const json_t *timing, const char *name)
{
    const json_t *value = json_object_get(timing, name);

    if (!json_is_integer(value))
        die("/v1/health has no timing '%s'", name);
    return (double)json_integer_value(value);
}

void serve_read_timing(struct serve_timing *out)
{
    static struct answer answer;
    const json_t *timing;
    json_t *health;

    ask("/v1/health", &answer);
    health = json_loadb(answer.text, answer.size, 0, NULL);
    timing = json_object_get(health, "timing");
    *out = (struct serve_timing){
        .draw_ns = number_of(timing, "draw_ns"),
        .gather_ns = number_of(timing, "gather_ns"),
        .send_ns = number_of(timing, "send_ns"),
        .receive_ns = number_of(timing, "receive_ns"),
        .turns = number_of(timing, "turns"),
        .turn_ns_p50 = number_of(timing, "turn_ns_p50"),
        .turn_ns_p99 = number_of(timing, "turn_ns_p99"),
        .turn_ns_p999 = number_of(timing, "turn_ns_p999"),
        .turn_ns_max = number_of(timing, "turn_ns_max"),
        .batches = number_of(timing, "batches"),
    };
    json_decref(health);
}
