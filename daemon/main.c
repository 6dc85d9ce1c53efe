/* main.c - ohemd: puts the parts together and runs the loop.
 *
 * Start is all or nothing: the configuration is checked, the data sets and the state are opened,
 * then the sockets are bound, what the state holds is restored, and only then is anybody told that
 * we are ready. The end is one path too: drain, save, close what runs on the loop, run it until it
 * is empty, free. Errors become one line and an exit code.
 */
#include "../proto/error.h"
#include "../proto/fields.h"
#include "config.h"
#include "control.h"
#include "dataset.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "reload.h"
#include "server.h"
#include "status.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define EXIT_FAILED     1 /* the machine or a data set */
#define EXIT_CONFIG     2 /* wrong options or configuration */
#define STATUS_EVERY_MS 5000
#define RUNTIME_MODE    0750
#define PERMISSIONS_ALL 0777

#define SIGNAL_COUNT 3 /* SIGTERM and SIGINT end the daemon, SIGHUP reloads */

struct daemon {
    struct config config;
    struct dataset *datasets[CONFIG_DATASETS_MAX];
    uv_loop_t loop;
    struct server *server;
    struct status *status;
    struct control *control;
    struct reload *reload;
    int argc;
    char **argv;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t rates, watchdog;
    bool ending; /* a signal came */
    int end_rc;  /* of the last commit */
    struct reason end_why;
    uint64_t rates_ms, batches, reports; /* when the rates were last looked at, and then */
};

/* ---- data sets ---- */

static void progress_cb(void *ctx, uint64_t done, uint64_t total)
{
    const struct config_dataset *dataset = ctx;

    log_info("dataset", "scanning name=%s done=%" PRIu64 " total=%" PRIu64 " percent=%.0f",
             dataset->name, done, total, total == 0 ? 100.0 : 100.0 * (double)done / (double)total);
}

/* They were read without knowing how long a record is. */
static int check_fields(const struct config_dataset *settings, uint64_t record_bytes,
                        struct reason *why)
{
    struct fields fields;
    struct reason bad = {""};

    if (fields_parse(settings->fields, record_bytes, &fields, &bad) == 0)
        return 0;
    reason_set(why, "data set '%s': fields: %.300s", settings->name, bad.text);
    return -OHEM_CONFIG;
}

static void warn_if_unmapped(const struct config_dataset *settings, const struct dataset *d)
{
    struct dataset_file file;
    struct reason why = {""};

    if (settings->share == CONFIG_SHARE_MAP && dataset_file(d, &file, &why) != 0)
        log_warning("dataset", "trainers cannot map the file, they get copies name=%s why=\"%s\"",
                    settings->name, why.text);
}

static int open_dataset(struct config_dataset *settings, struct dataset **out, struct reason *why)
{
    uint64_t began_ns = uv_hrtime();
    int rc = dataset_open(settings->path, settings->database, settings->immutable, out, why,
                          progress_cb, settings);

    if (rc != 0)
        return rc;
    rc = check_fields(settings, dataset_record_bytes(*out), why);
    if (rc != 0)
        return rc;
    dataset_set_readahead(*out, settings->readahead);
    warn_if_unmapped(settings, *out);
    log_info("dataset",
             "opened name=%s path=\"%s\" instances=%" PRIu64 " bytes=%" PRIu64
             " record_bytes=%" PRIu64 " seconds=%.3f",
             settings->name, settings->path, dataset_count(*out), dataset_bytes(*out),
             dataset_record_bytes(*out), (double)(uv_hrtime() - began_ns) / 1e9);
    return 0;
}

static int open_datasets(struct daemon *d, struct reason *why)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < d->config.dataset_count; i++)
        rc = open_dataset(&d->config.datasets[i], &d->datasets[i], why);
    return rc;
}

static void close_datasets(struct daemon *d)
{
    for (size_t i = 0; i < d->config.dataset_count; i++)
        dataset_close(d->datasets[i]);
}

static void log_job(const struct config_job *job)
{
    const struct job_settings *s = &job->settings;

    log_info("job",
             "ready name=%s dataset=%s seed=%" PRIu64 " order=%s batch_size=%" PRIu32
             " sampling=%s rho=%g alpha=%g beta=%g lambda=%g lease_ms=%" PRIu64,
             s->name, job->dataset, s->seed, s->staleness > 0 ? "strict" : "free", s->batch_size,
             s->sampler.sampling == SAMPLER_INFOBATCH ? "infobatch" : "mix", s->sampler.rho,
             s->sampler.alpha, s->sampler.beta, s->lambda, s->lease_ms);
}

/* No error: trainers may ask for smaller batches. */
static void warn_of_batch_bytes(const struct daemon *d, const struct job_settings *s)
{
    uint64_t bytes = s->batch_size * dataset_record_bytes_max(d->datasets[s->dataset.number]);

    if (bytes > d->config.payload_bytes_max)
        log_warning("job",
                    "who asks for no smaller batch is refused: batch_size may take more than"
                    " payload_bytes_max name=%s batch_size=%" PRIu32 " bytes=%" PRIu64
                    " payload_bytes_max=%" PRIu64,
                    s->name, s->batch_size, bytes, d->config.payload_bytes_max);
}

static void log_jobs(const struct daemon *d)
{
    for (size_t i = 0; i < d->config.job_count; i++) {
        log_job(&d->config.jobs[i]);
        warn_of_batch_bytes(d, &d->config.jobs[i].settings);
    }
}

/* config_check() saw to it that the operator wants it; each start says what that means. */
static void warn_of_tcp(const struct config *c)
{
    if (strncmp(c->listen, "tcp://", 6) == 0)
        log_warning("main",
                    "insecure_tcp: who reaches the endpoint can read the data and change the scores"
                    " endpoint=%s",
                    c->listen);
}

/* ---- the end ---- */

static void close_all(struct daemon *d)
{
    reload_close(d->reload);
    status_close(d->status);
    control_close(d->control);
    server_close(d->server);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        uv_close((uv_handle_t *)&d->signals[i], NULL);
    uv_close((uv_handle_t *)&d->rates, NULL);
    uv_close((uv_handle_t *)&d->watchdog, NULL);
}

/* server_drain's done_cb */
static void drained_cb(void *ctx)
{
    struct daemon *d = ctx;

    d->end_rc = server_finish(d->server, &d->end_why);
    close_all(d);
}

static void hangup_cb(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;

    (void)number;
    if (d->ending)
        log_warning("main", "not reloaded: draining");
    else
        reload_begin(d->reload);
}

/* The first signal asks, the second one insists. */
static void signal_cb(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;

    if (d->ending)
        _exit(128 + number);
    d->ending = true;
    log_info("main", "draining signal=%d drain_ms=%" PRIu64, number, d->config.drain_ms);
    notify_stopping("draining");
    server_drain(d->server, drained_cb, d);
}

/* ---- while it runs ---- */

static uint64_t count_reports(struct server *s)
{
    uint64_t sum = 0;
    const struct job *j;

    TAILQ_FOREACH (j, &server_engine(s)->jobs, of_engine)
        sum += j->metrics.reports_applied;
    return sum;
}

static void rates_cb(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t now_ms = uv_now(&d->loop), batches = server_timing(d->server)->batches;
    uint64_t reports = count_reports(d->server);
    double seconds = (double)(now_ms - d->rates_ms) / 1000;

    if (now_ms > d->rates_ms && !d->ending)
        notify_status(
            "%zu sessions, %.0f batches/s, %.0f reports/s", server_engine(d->server)->session_count,
            (double)(batches - d->batches) / seconds, (double)(reports - d->reports) / seconds);
    d->rates_ms = now_ms;
    d->batches = batches;
    d->reports = reports;
}

static void watchdog_cb(uv_timer_t *timer)
{
    (void)timer;
    notify_watchdog();
}

/* Our own handles. libuv's init and start of these cannot fail but for a signal. */
static int start_handles(struct daemon *d, struct reason *why)
{
    static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};
    uint64_t watchdog_ms = notify_watchdog_ms();
    int rc = 0;

    (void)uv_timer_init(&d->loop, &d->rates);
    (void)uv_timer_init(&d->loop, &d->watchdog);
    d->rates.data = d;
    d->rates_ms = uv_now(&d->loop);
    (void)uv_timer_start(&d->rates, rates_cb, STATUS_EVERY_MS, STATUS_EVERY_MS);
    if (watchdog_ms > 0)
        (void)uv_timer_start(&d->watchdog, watchdog_cb, 0, watchdog_ms);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        (void)uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        if (rc == 0)
            rc = uv_signal_start(&d->signals[i], numbers[i] == SIGHUP ? hangup_cb : signal_cb,
                                 numbers[i]);
    }
    if (rc == 0)
        return 0;
    reason_set(why, "cannot catch signals: %s", uv_strerror(rc));
    return -OHEM_SYSTEM;
}

/* ---- start ---- */

/* The folder of a socket, when only that level is missing (systemd makes it for a service). */
static int make_folder_of(const char *socket, struct reason *why)
{
    char copy[CONFIG_PATH_MAX];
    const char *folder;

    memcpy(copy, socket, strlen(socket) + 1);
    folder = dirname(copy);
    if (mkdir(folder, RUNTIME_MODE) == 0 || errno == EEXIST)
        return 0;
    reason_set(why, "cannot make the folder %s for a socket: %s", folder, strerror(errno));
    return -OHEM_SYSTEM;
}

static int make_folders(const struct config *c, struct reason *why)
{
    int rc = make_folder_of(c->status_socket, why);

    if (rc == 0 && strncmp(c->listen, "ipc:///", 7) == 0)
        rc = make_folder_of(c->listen + 6, why);
    if (rc == 0 && c->control_socket[0] != '\0')
        rc = make_folder_of(c->control_socket, why);
    if (rc == 0 && c->share_socket[0] != '\0')
        rc = make_folder_of(c->share_socket, why);
    return rc;
}

/* A session takes up to two descriptors: as many as we may have, not as few as a shell is given. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warning("main", "the limit of descriptors stays: %s", strerror(errno));
}

/* From the configuration to an empty machine that could take sockets. */
static int prepare(struct daemon *d, struct reason *why)
{
    int rc = make_folders(&d->config, why);

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN); /* for now: all is being read already */
    raise_descriptor_limit();
    if (rc == 0)
        rc = open_datasets(d, why);
    /* between bind() and chmod() a socket must not be more open than after it */
    (void)umask(PERMISSIONS_ALL & ~(mode_t)d->config.socket_mode);
    return rc;
}

static int make_reload(struct daemon *d, struct reason *why)
{
    int rc = reload_new(&d->loop, d->argc, d->argv, &d->config, d->datasets, d->server, &d->reload);

    if (rc != 0)
        reason_set(why, "%s", error_text(rc));
    return rc;
}

/* Serve on the loop until a signal ends it. */
static int serve(struct daemon *d, struct reason *why)
{
    int rc = server_new(&d->loop, &d->config, d->datasets, &d->server, why);

    if (rc != 0)
        return rc;
    rc = make_reload(d, why);
    if (rc == 0)
        rc = status_new(&d->loop, &d->config, d->server, d->reload, &d->status, why);
    if (rc != 0)
        goto err_after_server;
    rc = control_new(&d->loop, &d->config, d->server, &d->control, why);
    if (rc != 0)
        goto err_after_status;
    rc = start_handles(d, why);
    if (rc == 0)
        rc = server_start(d->server, why);
    if (rc == 0) {
        log_jobs(d);
        warn_of_tcp(&d->config);
        log_info("main", "ready version=%s listen=%s status=\"%s\" boot=%016" PRIx64, OHEMD_VERSION,
                 d->config.listen, d->config.status_socket,
                 server_engine(d->server)->settings.boot);
        notify_ready("serving");
    } else {
        close_all(d);
    }
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    control_free(d->control);
    reload_free(d->reload);
    status_free(d->status);
    server_free(d->server);
    if (rc == 0 && d->end_rc != 0) {
        reason_set(why, "ended, and what came last is not saved: %.400s", d->end_why.text);
        rc = d->end_rc;
    }
    return rc;

err_after_status:
    status_close(d->status);
err_after_server:
    server_close(d->server);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    status_free(d->status);
    reload_free(d->reload);
    server_free(d->server);
    return rc;
}

static int run(struct daemon *d, struct reason *why)
{
    int rc;

    log_set_level(d->config.log_level);
    rc = prepare(d, why);
    if (rc != 0)
        goto end;
    rc = uv_loop_init(&d->loop);
    if (rc != 0) {
        reason_set(why, "cannot make a loop: %s", uv_strerror(rc));
        rc = -OHEM_SYSTEM;
        goto end;
    }
    rc = serve(d, why);
    (void)uv_loop_close(&d->loop);
end:
    close_datasets(d);
    return rc;
}

/* One line, also when a name in it holds a newline. On a terminal without the time: somebody waits
 * for it there. */
static int complain(int rc, struct reason *why)
{
    if (why->text[0] == '\0')
        reason_set(why, "%s", error_text(rc));
    for (char *p = why->text; *p != '\0'; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    if (log_is_journal())
        log_error("main", "%s", why->text);
    else
        (void)fprintf(stderr, "ohemd: %s\n", why->text);
    return rc == -OHEM_INVALID || rc == -OHEM_CONFIG ? EXIT_CONFIG : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    enum options_action action = OPTIONS_ANSWERED;
    struct reason why = {""};
    int rc = options_read(argc, argv, &action, &d.config, &why);

    if (rc != 0)
        return complain(rc, &why);
    d.argc = argc;
    d.argv = argv;
    if (action == OPTIONS_RUN)
        rc = run(&d, &why);
    else if (action == OPTIONS_CHECK)
        (void)puts("the configuration is valid");
    else if (action == OPTIONS_PRINT)
        config_print(&d.config, stdout);
    if (action == OPTIONS_RUN && rc == 0)
        log_info("main", "ended");
    config_deinit(&d.config);
    return rc == 0 ? EXIT_SUCCESS : complain(rc, &why);
}
