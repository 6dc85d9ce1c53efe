/* config.c - the configuration as a whole: its defaults, what must fit together, printing.
 *
 * The settings one by one are in config_table.c and config_value.c, the file's syntax is in
 * config_read.c.
 */
#include "config_table.h"

#include "../proto/error.h"
#include "../proto/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sections ---- */

static int check_new(const char *section, const char *name, bool taken, size_t count,
                     size_t count_max, struct reason *why)
{
    if (!config_is_name(name))
        reason_set(why, "[%s %s]: a name must be 1 to %u of A-Z a-z 0-9 _ . -", section, name,
                   MESSAGE_NAME_BYTES_MAX);
    else if (taken)
        reason_set(why, "[%s %s] is given twice", section, name);
    else if (count == count_max)
        reason_set(why, "[%s %s] is one too many: at most %zu", section, name, count_max);
    else
        return 0;
    return -OHEM_CONFIG;
}

struct config_dataset *config_find_dataset(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->dataset_count; i++)
        if (strcmp(c->datasets[i].name, name) == 0)
            return &c->datasets[i];
    return NULL;
}

struct config_job *config_find_job(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->job_count; i++)
        if (strcmp(c->jobs[i].settings.name, name) == 0)
            return &c->jobs[i];
    return NULL;
}

int config_new_dataset(struct config *c, const char *name, struct config_dataset **out,
                       struct reason *why)
{
    struct config_dataset *grown;
    int rc = check_new("dataset", name, config_find_dataset(c, name) != NULL, c->dataset_count,
                       CONFIG_DATASETS_MAX, why);

    if (rc != 0)
        return rc;
    grown = realloc(c->datasets, (c->dataset_count + 1) * sizeof *grown);
    if (grown == NULL) {
        reason_set(why, "%s", error_text(OHEM_NOMEM));
        return -OHEM_NOMEM;
    }
    c->datasets = grown;
    *out = &grown[c->dataset_count++];
    **out = config_dataset_defaults;
    memcpy((*out)->name, name, strlen(name) + 1);
    return 0;
}

int config_new_job(struct config *c, const char *name, struct config_job **out, struct reason *why)
{
    struct config_job *grown;
    int rc = check_new("job", name, config_find_job(c, name) != NULL, c->job_count, CONFIG_JOBS_MAX,
                       why);

    if (rc != 0)
        return rc;
    grown = realloc(c->jobs, (c->job_count + 1) * sizeof *grown);
    if (grown == NULL) {
        reason_set(why, "%s", error_text(OHEM_NOMEM));
        return -OHEM_NOMEM;
    }
    c->jobs = grown;
    *out = &grown[c->job_count++];
    **out = config_job_defaults;
    memcpy((*out)->settings.name, name, strlen(name) + 1);
    return 0;
}

/* ---- defaults and the command line ---- */

/* Systemd's, which may be a list, or that of the user's login, or the system's. */
static int runtime_directory(char out[CONFIG_PATH_MAX], struct reason *why)
{
    const char *given = getenv("RUNTIME_DIRECTORY");
    const char *login = getenv("XDG_RUNTIME_DIR");
    int size;

    if (given != NULL && given[0] != '\0')
        size = snprintf(out, CONFIG_PATH_MAX, "%.*s", (int)strcspn(given, ":"), given);
    else if (login != NULL && login[0] != '\0')
        size = snprintf(out, CONFIG_PATH_MAX, "%s/ohemd", login);
    else
        size = snprintf(out, CONFIG_PATH_MAX, "/run/ohemd");
    if (size < CONFIG_PATH_MAX)
        return 0;
    reason_set(why, "the runtime directory's path is %d bytes long, must be at most %d", size,
               CONFIG_PATH_MAX - 1);
    return -OHEM_CONFIG;
}

/* Systemd's, the first when it is a list; without it there is none. */
static int set_state_directory(struct config *c, struct reason *why)
{
    const char *given = getenv("STATE_DIRECTORY");
    char path[CONFIG_PATH_MAX];
    int size;

    if (given == NULL || given[0] == '\0')
        return 0;
    size = snprintf(path, sizeof path, "%.*s", (int)strcspn(given, ":"), given);
    if (size < CONFIG_PATH_MAX)
        return config_set(c, "state", path, why);
    reason_set(why, "the state directory's path is %d bytes long, must be at most %d", size,
               CONFIG_PATH_MAX - 1);
    return -OHEM_CONFIG;
}

int config_init(struct config *c, struct reason *why)
{
    char runtime[CONFIG_PATH_MAX], path[CONFIG_PATH_MAX + sizeof "ipc:///status.sock"];
    int rc = runtime_directory(runtime, why);

    *c = config_defaults;
    if (rc != 0)
        return rc;
    (void)snprintf(path, sizeof path, "ipc://%s/ohemd.sock", runtime);
    rc = config_set(c, "listen", path, why);
    if (rc != 0)
        return rc;
    (void)snprintf(path, sizeof path, "%s/status.sock", runtime);
    rc = config_set(c, "status_socket", path, why);
    return rc == 0 ? set_state_directory(c, why) : rc;
}

void config_deinit(struct config *c)
{
    free(c->datasets);
    free(c->jobs);
    *c = config_defaults;
}

/* A value as somebody typed it in the working directory. */
static int set_here(const struct config_setting *s, const char *value, void *base,
                    struct reason *must)
{
    char folder[CONFIG_PATH_MAX];
    int rc = config_value_parse(s, value, base, must);

    if (rc != 0)
        return rc;
    if (getcwd(folder, sizeof folder) == NULL) {
        reason_set(must, "the working directory: %s", strerror(errno));
        return -OHEM_CONFIG;
    }
    return config_path_resolve(s->type, folder, (char *)base + s->offset, must);
}

int config_add_dataset(struct config *c, const char *path, struct reason *why)
{
    struct config_dataset *dataset = NULL;
    struct config_job *job = NULL;
    struct reason must = {""};
    int rc = config_new_dataset(c, "default", &dataset, why);

    if (rc == 0)
        rc = config_new_job(c, "default", &job, why);
    if (rc != 0)
        return rc;
    memcpy(job->dataset, "default", sizeof "default");
    rc = set_here(config_find(CONFIG_DATASET, "path"), path, dataset, &must);
    if (rc != 0)
        reason_set(why, "data set '%.200s': %.200s", path, must.text);
    return rc;
}

int config_set(struct config *c, const char *key, const char *value, struct reason *why)
{
    const struct config_setting *s = config_find(CONFIG_DAEMON, key);
    struct reason must = {""};
    int rc;

    if (s == NULL) {
        reason_set(why, "[daemon] unknown key '%.100s'", key);
        return -OHEM_CONFIG;
    }
    rc = set_here(s, value, c, &must);
    if (rc != 0)
        reason_set(why, "[daemon] %s = %.200s: %.200s", key, value, must.text);
    return rc;
}

/* ---- what must fit together ---- */

static int check_socket_path(const char *key, const char *path, struct reason *why)
{
    size_t size = strlen(path);

    if (size <= CONFIG_SOCKET_PATH_MAX)
        return 0;
    reason_set(why, "[daemon] %s: the socket's path is %zu bytes long, must be at most %d: %s", key,
               size, CONFIG_SOCKET_PATH_MAX, path);
    return -OHEM_CONFIG;
}

/* Beside the trainers' socket. Where no name fits, or trainers come over TCP, nothing is shared. */
static void place_share_socket(struct config *c)
{
    size_t size = strlen(c->listen) - strlen("ipc://") + strlen(".share");

    if (c->share_socket[0] == '\0' && strncmp(c->listen, "ipc:///", 7) == 0 &&
        size <= CONFIG_SOCKET_PATH_MAX)
        (void)snprintf(c->share_socket, CONFIG_SOCKET_PATH_MAX + 1, "%s.share", c->listen + 6);
}

/* Beside status.sock; a status socket of another name has one of its own, where that fits. */
static void place_control_socket(struct config *c)
{
    static const char usual[] = "status.sock", ending[] = ".control";
    const size_t room = CONFIG_SOCKET_PATH_MAX - strlen(ending);
    const char *status = c->status_socket;
    size_t folder = strlen(status);

    if (c->control_socket[0] != '\0')
        return;
    while (folder > 0 && status[folder - 1] != '/')
        folder--;
    if (strcmp(status + folder, usual) == 0)
        (void)snprintf(c->control_socket, sizeof c->control_socket, "%.*scontrol.sock", (int)folder,
                       status);
    else if (strlen(status) <= room)
        (void)snprintf(c->control_socket, sizeof c->control_socket, "%.*s%s", (int)room, status,
                       ending);
}

static int check_sockets(struct config *c, struct reason *why)
{
    int rc = check_socket_path("status_socket", c->status_socket, why);

    place_share_socket(c);
    place_control_socket(c);
    if (rc == 0)
        rc = check_socket_path("control_socket", c->control_socket, why);
    if (rc == 0)
        rc = check_socket_path("share_socket", c->share_socket, why);
    if (rc != 0)
        return rc;
    if (strncmp(c->listen, "ipc://", 6) == 0)
        return check_socket_path("listen", c->listen + 6, why);
    if (c->insecure_tcp)
        return 0;
    reason_set(why,
               "[daemon] listen = %.200s: who reaches it can read the data and change the scores; "
               "to allow that, set insecure_tcp = yes in [daemon]",
               c->listen);
    return -OHEM_CONFIG;
}

static int check_datasets(const struct config *c, struct reason *why)
{
    struct fields fields;
    struct reason bad = {""};

    if (c->dataset_count == 0) {
        reason_set(why, "no data set: give --dataset DIR, or a [dataset NAME] with its path");
        return -OHEM_CONFIG;
    }
    for (size_t i = 0; i < c->dataset_count; i++) {
        if (c->datasets[i].path[0] == '\0') {
            reason_set(why, "[dataset %s] path is missing", c->datasets[i].name);
            return -OHEM_CONFIG;
        }
        if (fields_parse(c->datasets[i].fields, 0, &fields, &bad) != 0) {
            reason_set(why, "[dataset %s] fields: %.300s", c->datasets[i].name, bad.text);
            return -OHEM_CONFIG;
        }
    }
    return 0;
}

static int add_default_job(struct config *c, struct reason *why)
{
    struct config_job *job = NULL;

    if (c->job_count > 0)
        return 0;
    if (c->dataset_count == 1)
        return config_new_job(c, "default", &job, why);
    reason_set(why, "there are %zu data sets and no [job NAME] that says which to train on",
               c->dataset_count);
    return -OHEM_CONFIG;
}

static const char *nearest_dataset(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->dataset_count; i++)
        if (config_is_near(name, c->datasets[i].name))
            return c->datasets[i].name;
    return NULL;
}

static int give_dataset(const struct config *c, struct config_job *job, struct reason *why)
{
    const struct config_dataset *dataset = config_find_dataset(c, job->dataset);
    const char *name = job->settings.name, *nearest;

    if (dataset == NULL && job->dataset[0] == '\0' && c->dataset_count == 1)
        dataset = &c->datasets[0];
    if (dataset != NULL) {
        memcpy(job->dataset, dataset->name, sizeof job->dataset);
        job->settings.dataset.number = (uint32_t)(dataset - c->datasets);
        return 0;
    }
    nearest = nearest_dataset(c, job->dataset);
    if (job->dataset[0] == '\0')
        reason_set(why, "[job %s] dataset is missing: there are %zu data sets", name,
                   c->dataset_count);
    else if (nearest != NULL)
        reason_set(why, "[job %s] dataset = %s: there is no such data set; did you mean '%s'?",
                   name, job->dataset, nearest);
    else
        reason_set(why, "[job %s] dataset = %s: there is no [dataset %s]", name, job->dataset,
                   job->dataset);
    return -OHEM_CONFIG;
}

static int check_annealing(const struct job_settings *s, struct reason *why)
{
    const struct sampler_policy *p = &s->sampler;
    double sum = p->warmup_epochs + p->anneal_in + p->anneal_out;

    if (p->anneal_out > 0 && p->epochs == 0) {
        reason_set(why, "[job %s] anneal_out = %g: needs epochs above 0, to know the end", s->name,
                   p->anneal_out);
        return -OHEM_CONFIG;
    }
    if (p->epochs > 0 && sum > p->epochs) {
        reason_set(why,
                   "[job %s] warmup_epochs + anneal_in + anneal_out = %g: must be at most "
                   "epochs = %g",
                   s->name, sum, p->epochs);
        return -OHEM_CONFIG;
    }
    return 0;
}

/* It draws nothing by hardness, and its weights are given. */
static int check_infobatch(const struct job_settings *s, struct reason *why)
{
    const struct sampler_policy *p = &s->sampler;

    if (p->sampling != SAMPLER_INFOBATCH)
        return 0;
    if (p->mode != SAMPLER_ON) {
        reason_set(
            why,
            "[job %s] bias: must be on (its default) with sampling = infobatch, which has no "
            "draws by hardness to switch",
            s->name);
        return -OHEM_CONFIG;
    }
    if (p->beta > 0) {
        reason_set(why,
                   "[job %s] beta = %g: must be 0 with sampling = infobatch, whose weights are "
                   "1/(1-r) for those that could have been skipped",
                   s->name, p->beta);
        return -OHEM_CONFIG;
    }
    return 0;
}

static int check_keeping(const struct job_settings *s, struct reason *why)
{
    const struct selection_policy *p = &s->selection;

    if (p->max_keep > 0 && p->min_keep > p->max_keep) {
        reason_set(why,
                   "[job %s] min_keep = %" PRIu32 ": must be at most max_keep = %" PRIu32 " (or "
                   "that 0: no limit)",
                   s->name, p->min_keep, p->max_keep);
        return -OHEM_CONFIG;
    }
    if (p->keep_steps > 0 && p->keep_epochs > 0) {
        reason_set(why, "[job %s] keep_epochs = %g: keep_steps = %" PRIu64 " says it already",
                   s->name, p->keep_epochs, p->keep_steps);
        return -OHEM_CONFIG;
    }
    if (p->keep_from > 0 && p->keep_steps == 0 && !(p->keep_epochs > 0)) {
        reason_set(
            why,
            "[job %s] keep_from = %g: needs keep_steps or keep_epochs above 0, over which it "
            "goes to keep",
            s->name, p->keep_from);
        return -OHEM_CONFIG;
    }
    if (p->keep_epochs > 0 && !(p->keep_from > 0)) {
        reason_set(why, "[job %s] keep_epochs = %g: needs keep_from above 0, to begin with",
                   s->name, p->keep_epochs);
        return -OHEM_CONFIG;
    }
    if (p->keep_steps > 0 && !(p->keep_from > 0)) {
        reason_set(why, "[job %s] keep_steps = %" PRIu64 ": needs keep_from above 0, to begin with",
                   s->name, p->keep_steps);
        return -OHEM_CONFIG;
    }
    return 0;
}

/* The one whose scores are taken over has to be of the same data set: an id is the same there. */
static int check_warm_start(const struct config *c, const struct config_job *job,
                            struct reason *why)
{
    const char *from = job->settings.warm_start;
    const struct config_job *other = from[0] != '\0' ? config_find_job(c, from) : NULL;

    if (from[0] == '\0' || (other != NULL && other != job &&
                            other->settings.dataset.number == job->settings.dataset.number))
        return 0;
    reason_set(why, "[job %s] warm_start = %s: %s", job->settings.name, from,
               other == NULL  ? "there is no such [job]"
               : other == job ? "that is the job itself"
                              : "that job trains on another data set");
    return -OHEM_CONFIG;
}

/* Nothing that a clock decides may reach the stream of a strict job. */
static int check_order(struct config_job *job, struct reason *why)
{
    struct job_settings *s = &job->settings;
    uint64_t instances = (uint64_t)job->staleness * s->batch_size;

    if (job->order == CONFIG_ORDER_FREE)
        return 0;
    s->staleness = job->staleness;
    if (s->max_age > 0) {
        reason_set(why,
                   "[job %s] max_age = %" PRIu64
                   ": must be 0 with order = strict, where staleness bounds the age",
                   s->name, s->max_age);
        return -OHEM_CONFIG;
    }
    if (s->credit > job->staleness) {
        reason_set(why,
                   "[job %s] credit = %" PRIu32 ": must be at most staleness = %" PRIu32
                   " with order = strict",
                   s->name, s->credit, job->staleness);
        return -OHEM_CONFIG;
    }
    if (s->quarantine.on) {
        reason_set(
            why,
            "[job %s] quarantine = yes: whom a selection leaves out depends on when a report "
            "comes, which order = strict must not",
            s->name);
        return -OHEM_CONFIG;
    }
    if (s->round.ranks > 0) {
        reason_set(why,
                   "[job %s] round = %" PRIu32
                   ": round_ms decides who is answered together, and a clock must not with order = "
                   "strict",
                   s->name, s->round.ranks);
        return -OHEM_CONFIG;
    }
    if (s->selection.rule == SELECTION_CDF) {
        reason_set(
            why,
            "[job %s] select = cdf: depends on the order in which reports come, which order = "
            "strict must not",
            s->name);
        return -OHEM_CONFIG;
    }
    if (instances > JOB_INSTANCES_OUT_MAX) {
        reason_set(why,
                   "[job %s] staleness * batch_size = %" PRIu64
                   ": must be at most %u instances with order = strict",
                   s->name, instances, JOB_INSTANCES_OUT_MAX);
        return -OHEM_CONFIG;
    }
    return 0;
}

static int check_round(const struct config_job *job, struct reason *why)
{
    const struct job_settings *s = &job->settings;

    if ((uint64_t)s->round.ranks * s->batch_size <= MESSAGE_ITEMS_MAX)
        return 0;
    reason_set(why,
               "[job %s] round * batch_size = %" PRIu64 ": must be at most %u instances "
               "(MESSAGE_ITEMS_MAX), which are chosen from together",
               s->name, (uint64_t)s->round.ranks * s->batch_size, MESSAGE_ITEMS_MAX);
    return -OHEM_CONFIG;
}

/* Together they have to leave room in the state for what must not be lost: LMDB's pages may take
 * twice the bytes of small rows, and as much again stays free while the oldest are removed. */
#define AUDIT_STATE_SHARE 4

static int check_audit(const struct config *c, struct reason *why)
{
    uint64_t room = c->state_bytes_max / AUDIT_STATE_SHARE;

    for (size_t i = 0; i < c->job_count; i++) {
        const struct job_settings *s = &c->jobs[i].settings;

        if (!s->audit)
            continue;
        if (c->state[0] == '\0') {
            reason_set(why,
                       "[job %s] audit = yes: needs a state directory ([daemon] state, --state, "
                       "or $STATE_DIRECTORY)",
                       s->name);
            return -OHEM_CONFIG;
        }
        if (s->audit_bytes_max > room) {
            reason_set(why,
                       "[job %s] audit_bytes_max = %" PRIu64
                       ": all of them together must be at most a quarter of state_bytes_max = "
                       "%" PRIu64,
                       s->name, s->audit_bytes_max, c->state_bytes_max);
            return -OHEM_CONFIG;
        }
        room -= s->audit_bytes_max;
    }
    return 0;
}

int config_check(struct config *c, struct reason *why)
{
    int rc = check_sockets(c, why);

    if (rc == 0)
        rc = check_datasets(c, why);
    if (rc == 0)
        rc = add_default_job(c, why);
    for (size_t i = 0; rc == 0 && i < c->job_count; i++) {
        rc = give_dataset(c, &c->jobs[i], why);
        if (rc == 0)
            rc = check_annealing(&c->jobs[i].settings, why);
        if (rc == 0)
            rc = check_infobatch(&c->jobs[i].settings, why);
        if (rc == 0)
            rc = check_keeping(&c->jobs[i].settings, why);
        if (rc == 0)
            rc = check_order(&c->jobs[i], why);
        if (rc == 0)
            rc = check_round(&c->jobs[i], why);
    }
    for (size_t i = 0; rc == 0 && i < c->job_count; i++)
        rc = check_warm_start(c, &c->jobs[i], why);
    return rc == 0 ? check_audit(c, why) : rc;
}

/* ---- printing ---- */

static void print_section(enum config_section section, const char *name, const void *base,
                          FILE *out)
{
    (void)fprintf(out, "[%s%s%s]\n", config_section_name(section), name[0] == '\0' ? "" : " ",
                  name);
    for (size_t i = 0; i < config_setting_count; i++) {
        if (config_settings[i].section != section)
            continue;
        (void)fprintf(out, "%s = ", config_settings[i].key);
        (void)config_value_print(&config_settings[i], base, out);
        (void)fputc('\n', out);
    }
}

void config_print_job(const struct config_job *job, FILE *out)
{
    print_section(CONFIG_JOB, job->settings.name, job, out);
}

void config_print(const struct config *c, FILE *out)
{
    print_section(CONFIG_DAEMON, "", c, out);
    for (size_t i = 0; i < c->dataset_count; i++) {
        (void)fputc('\n', out);
        print_section(CONFIG_DATASET, c->datasets[i].name, &c->datasets[i], out);
    }
    for (size_t i = 0; i < c->job_count; i++) {
        (void)fputc('\n', out);
        config_print_job(&c->jobs[i], out);
    }
}

static int print_default(const struct config_setting *s, FILE *out)
{
    const void *const bases[] = {&config_defaults, &config_dataset_defaults, &config_job_defaults};

    if (s->default_shown != NULL)
        return fprintf(out, "%s", s->default_shown);
    return config_value_print(s, bases[s->section], out);
}

/* Columns of the table, in bytes. */
#define COLUMN_KEY     20
#define COLUMN_DEFAULT 25
#define COLUMN_RANGE   34

void config_print_table(FILE *out)
{
    static const char *const titles[] = {"[daemon]", "[dataset NAME]", "[job NAME]"};

    (void)fprintf(out, "%-*s%-*s%-*s%s\n", COLUMN_KEY, "setting", COLUMN_DEFAULT, "default",
                  COLUMN_RANGE, "range", "meaning");
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        int size;

        if (i == 0 || s->section != s[-1].section)
            (void)fprintf(out, "\n%s\n", titles[s->section]);
        (void)fprintf(out, "%-*s", COLUMN_KEY, s->key);
        size = print_default(s, out);
        (void)fprintf(out, "%*s", size < COLUMN_DEFAULT ? COLUMN_DEFAULT - size : 1, "");
        size = config_range_print(s, out);
        if (s->unit != NULL)
            size += fprintf(out, " %s", s->unit);
        (void)fprintf(out, "%*s%s\n", size < COLUMN_RANGE ? COLUMN_RANGE - size : 1, "",
                      s->meaning);
    }
    (void)fputs("\nRUNTIME is $RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/ohemd, else /run/ohemd.\n",
                out);
}
