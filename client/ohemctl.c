/* ohemctl.c - look at a running ohemd from a shell, and tell it what to do: options, the job in
 * question, one command.
 *
 * Exit codes: 0 done, 1 the daemon does not answer or has no such thing, 2 a wrong command line.
 */
#include "ohemctl.h"

#include <curl/curl.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES_MAX 512
#define JSON_FLAGS     (JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))

struct ctl {
    const char *socket, *control, *job, *count, *argument; /* NULL: not given */
    bool json, export;
    char socket_default[4096], control_default[4096];
};

struct command {
    const char *name;
    const char *argument; /* the name of what it needs, or NULL */
    enum ctl_exit (*run)(const struct ctl *c, struct reason *why);
    bool takes_job, takes_count, takes_export;
};

static const char help[] =
    "usage: ohemctl [--socket PATH] [--job J] [--json] COMMAND\n"
    "\n"
    "  status       the daemon, its data sets and jobs\n"
    "  jobs         each job: settings, progress, epochs, sessions\n"
    "  hist         how hard the instances of a job are, as a histogram\n"
    "  top [-n N]   the N hardest instances (1..1000, 10)\n"
    "  show ID      one instance\n"
    "  quarantine [--export]\n"
    "               the instances in quarantine; --export: as CSV\n"
    "  pardon ID    out of the quarantine, for good; unpardon ID takes that back\n"
    "  why ID       each draw and each report of an instance, of a job with audit = yes\n"
    "  reset JOB    begin a job anew: no scores, the first step, the first epoch; its trainers go "
    "on\n"
    "\n"
    "  --socket PATH  the daemon's status socket; default: $OHEM_STATUS, else status.sock in the\n"
    "                 first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ohemd, /run/ohemd that is set\n"
    "  --control PATH the daemon's control socket, for reset and pardon; default: $OHEM_CONTROL,\n"
    "                 else control.sock in the same folders\n"
    "  --job J        the job, when there are several\n"
    "  --json         print what the daemon says, as JSON\n"
    "  --help, --version\n";

/* ---- fetch and print ----------------------------------------------------------------------------
 */

/* Say which jobs there are to choose from. */
static void list_jobs(const json_t *jobs, struct reason *why)
{
    char names[REASON_BYTES_MAX - 80] = "";
    size_t used = 0;
    const json_t *j;
    size_t i;

    json_array_foreach (jobs, i, j) {
        char *name = text_escape(json_text_at(j, "name"));
        int wrote = snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", name);

        free(name);
        if (wrote < 0 || (size_t)wrote >= sizeof names - used)
            break;
        used += (size_t)wrote;
    }
    reason_set(why, "there are %zu jobs, choose one with --job: %s", json_array_size(jobs), names);
}

/* The job that was named, or the only one, fit for a path. @param out  malloc'd */
static enum ctl_exit name_job(const struct ctl *c, char **out, struct reason *why)
{
    enum ctl_exit result = CTL_OK;
    json_t *jobs = NULL;

    *out = NULL;
    if (c->job == NULL)
        result = ctl_get(c->socket, "/v1/jobs", &jobs, why);
    if (result != CTL_OK)
        return result;
    if (c->job != NULL) {
        *out = ctl_path_escape(c->job);
    } else if (json_array_size(jobs) == 1) {
        *out = ctl_path_escape(json_text_at(json_array_get(jobs, 0), "name"));
    } else {
        list_jobs(jobs, why);
        result = CTL_USAGE;
    }
    json_decref(jobs);
    if (result == CTL_OK && *out == NULL) {
        reason_set(why, "out of memory");
        result = CTL_FAILED;
    }
    return result;
}

/* Something of it. */
static enum ctl_exit get_of_job(const struct ctl *c, const char *rest, json_t **out,
                                struct reason *why)
{
    char path[PATH_BYTES_MAX], *job;
    enum ctl_exit result = name_job(c, &job, why);
    int size;

    if (result != CTL_OK)
        return result;
    size = snprintf(path, sizeof path, "/v1/jobs/%s%s", job, rest);
    free(job);
    if (size < 0 || (size_t)size >= sizeof path) {
        reason_set(why, "the job's name or the number is too long");
        return CTL_USAGE;
    }
    return ctl_get(c->socket, path, out, why);
}

static void print_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_FLAGS);
    (void)putchar('\n');
}

/* One fetch, one view. */
static enum ctl_exit show(const struct ctl *c, const char *rest, void (*view)(const json_t *value),
                          struct reason *why)
{
    json_t *value;
    enum ctl_exit result = get_of_job(c, rest, &value, why);

    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(value);
    else
        view(value);
    json_decref(value);
    return CTL_OK;
}

/* ---- the commands -------------------------------------------------------------------------------
 */

static enum ctl_exit run_status(const struct ctl *c, struct reason *why)
{
    json_t *health, *jobs;
    enum ctl_exit result = ctl_get(c->socket, "/v1/health", &health, why);

    if (result != CTL_OK)
        return result;
    if (c->json) {
        print_json(health);
        goto out_after_health;
    }
    result = ctl_get(c->socket, "/v1/jobs", &jobs, why);
    if (result != CTL_OK)
        goto out_after_health;
    view_status(c->socket, health, jobs);
    json_decref(jobs);

out_after_health:
    json_decref(health);
    return result;
}

static void view_job(const json_t *job)
{
    json_t *list = json_pack("[O]", job);

    view_jobs(list);
    json_decref(list);
}

static enum ctl_exit run_jobs(const struct ctl *c, struct reason *why)
{
    json_t *jobs;
    enum ctl_exit result;

    if (c->job != NULL)
        return show(c, "", view_job, why);
    result = ctl_get(c->socket, "/v1/jobs", &jobs, why);
    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(jobs);
    else
        view_jobs(jobs);
    json_decref(jobs);
    return CTL_OK;
}

static enum ctl_exit run_hist(const struct ctl *c, struct reason *why)
{
    return show(c, "/hardness", view_hist, why);
}

/* A number goes to the daemon as it was typed, made fit for a path: the daemon knows the limits. */
static enum ctl_exit show_number(const struct ctl *c, const char *prefix, const char *number,
                                 void (*view)(const json_t *value), struct reason *why)
{
    char *escaped = ctl_path_escape(number);
    char rest[PATH_BYTES_MAX];
    int size = escaped == NULL ? -1 : snprintf(rest, sizeof rest, "%s%s", prefix, escaped);

    free(escaped);
    if (size < 0 || (size_t)size >= sizeof rest) {
        reason_set(why, "the number is too long");
        return CTL_USAGE;
    }
    return show(c, rest, view, why);
}

static enum ctl_exit run_top(const struct ctl *c, struct reason *why)
{
    return show_number(c, "/hardest?n=", c->count != NULL ? c->count : "10", view_top, why);
}

static enum ctl_exit run_show(const struct ctl *c, struct reason *why)
{
    return show_number(c, "/instances/", c->argument, view_show, why);
}

/* POST a path, and show what was done. */
static enum ctl_exit act(const struct ctl *c, const char *path, void (*view)(const json_t *done),
                         struct reason *why)
{
    json_t *done;
    enum ctl_exit result = ctl_post(c->control, path, &done, why);

    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(done);
    else
        view(done);
    json_decref(done);
    return CTL_OK;
}

static enum ctl_exit run_reset(const struct ctl *c, struct reason *why)
{
    char *name = ctl_path_escape(c->argument);
    char path[PATH_BYTES_MAX];
    int size = name == NULL ? -1 : snprintf(path, sizeof path, "/v1/jobs/%s/reset", name);

    free(name);
    if (size < 0 || (size_t)size >= sizeof path) {
        reason_set(why, "the job's name is too long");
        return CTL_USAGE;
    }
    return act(c, path, view_reset, why);
}

/* The job's name, if it is not given, is the daemon's only one. */
static enum ctl_exit pardon(const struct ctl *c, const char *verb, struct reason *why)
{
    char *job = NULL, *id = ctl_path_escape(c->argument);
    enum ctl_exit result = name_job(c, &job, why);
    char path[PATH_BYTES_MAX];
    int size = -1;

    if (result == CTL_OK && id != NULL)
        size = snprintf(path, sizeof path, "/v1/jobs/%s/instances/%s/%s", job, id, verb);
    free(job);
    free(id);
    if (result != CTL_OK)
        return result;
    if (size < 0 || (size_t)size >= sizeof path) {
        reason_set(why, "the job's name or the number is too long");
        return CTL_USAGE;
    }
    return act(c, path, view_pardon, why);
}

static enum ctl_exit run_pardon(const struct ctl *c, struct reason *why)
{
    return pardon(c, "pardon", why);
}

static enum ctl_exit run_unpardon(const struct ctl *c, struct reason *why)
{
    return pardon(c, "unpardon", why);
}

/* ---- what comes in parts -----------------------------------------------------------------------
 */

/* Where it is had, and the list that each part has a piece of. */
struct parts {
    const char *path; /* behind the job's */
    const char *list;
};

/* Take what a part tells into the whole. @return whether there was memory */
static bool join_part(json_t *whole, const json_t *part, const char *list)
{
    json_t *damaged = json_object_get(whole, "damaged_rows"); /* of the audit only */
    json_int_t more = json_integer_value(json_object_get(part, "damaged_rows"));

    if (damaged != NULL && json_integer_set(damaged, json_integer_value(damaged) + more) != 0)
        return false;
    return json_object_set(whole, "next", json_object_get(part, "next")) == 0 &&
           json_array_extend(json_object_get(whole, list), json_object_get(part, list)) == 0;
}

static enum ctl_exit get_part(const struct ctl *c, struct parts p, json_int_t from, json_t **out,
                              struct reason *why)
{
    char rest[PATH_BYTES_MAX];
    int size = snprintf(rest, sizeof rest, "%s?from=%" JSON_INTEGER_FORMAT, p.path, from);

    if (size < 0 || (size_t)size >= sizeof rest) {
        reason_set(why, "the number is too long");
        return CTL_USAGE;
    }
    return get_of_job(c, rest, out, why);
}

/* Add the part that the whole says is next. */
static enum ctl_exit get_next(const struct ctl *c, struct parts p, json_t *whole,
                              struct reason *why)
{
    json_t *part;
    enum ctl_exit result =
        get_part(c, p, json_integer_value(json_object_get(whole, "next")), &part, why);

    if (result != CTL_OK)
        return result;
    if (!join_part(whole, part, p.list)) {
        reason_set(why, "out of memory");
        result = CTL_FAILED;
    }
    json_decref(part);
    return result;
}

/* From the first part to the one that has no `next`. */
static enum ctl_exit get_whole(const struct ctl *c, struct parts p, json_t **out,
                               struct reason *why)
{
    json_t *whole;
    enum ctl_exit result = get_part(c, p, 0, &whole, why);

    if (result != CTL_OK)
        return result;
    while (result == CTL_OK && json_is_integer(json_object_get(whole, "next")))
        result = get_next(c, p, whole, why);
    if (result == CTL_OK)
        *out = whole;
    else
        json_decref(whole);
    return result;
}

static enum ctl_exit show_whole(const struct ctl *c, struct parts p,
                                void (*view)(const json_t *whole), struct reason *why)
{
    json_t *whole = NULL;
    enum ctl_exit result = get_whole(c, p, &whole, why);

    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(whole);
    else
        view(whole);
    json_decref(whole);
    return CTL_OK;
}

static enum ctl_exit run_why(const struct ctl *c, struct reason *why)
{
    char *id = ctl_path_escape(c->argument);
    char path[PATH_BYTES_MAX];
    int size = id == NULL ? -1 : snprintf(path, sizeof path, "/instances/%s/why", id);

    free(id);
    if (size < 0 || (size_t)size >= sizeof path) {
        reason_set(why, "the number is too long");
        return CTL_USAGE;
    }
    return show_whole(c, (struct parts){path, "events"}, view_why, why);
}

static enum ctl_exit run_quarantine(const struct ctl *c, struct reason *why)
{
    return show_whole(c, (struct parts){"/quarantine", "instances"},
                      c->export ? view_quarantine_csv : view_quarantine, why);
}

static const struct command commands[] = {
    {"status", NULL, run_status, .takes_job = false},
    {"jobs", NULL, run_jobs, .takes_job = true},
    {"hist", NULL, run_hist, .takes_job = true},
    {"top", NULL, run_top, .takes_job = true, .takes_count = true},
    {"show", "ID", run_show, .takes_job = true},
    {"why", "ID", run_why, .takes_job = true},
    {"quarantine", NULL, run_quarantine, .takes_job = true, .takes_export = true},
    {"pardon", "ID", run_pardon, .takes_job = true},
    {"unpardon", "ID", run_unpardon, .takes_job = true},
    {"reset", "JOB", run_reset, .takes_job = false},
};

/* ---- the command line ---------------------------------------------------------------------------
 */

/* The path that was given, or the environment's, or the usual one. */
static const char *find_socket(const char *given, const char *variable, const char *name,
                               char *usual, size_t size)
{
    const char *runtime = getenv("RUNTIME_DIRECTORY");
    const char *user = getenv("XDG_RUNTIME_DIR");

    if (given == NULL)
        given = getenv(variable);
    if (given != NULL)
        return given;
    if (runtime != NULL && runtime[0] != '\0')
        (void)snprintf(usual, size, "%.*s/%s", (int)strcspn(runtime, ":"), runtime,
                       name); /* systemd's may be a list */
    else if (user != NULL && user[0] != '\0')
        (void)snprintf(usual, size, "%s/ohemd/%s", user, name);
    else
        (void)snprintf(usual, size, "/run/ohemd/%s", name);
    return usual;
}

static void find_sockets(struct ctl *c)
{
    c->socket = find_socket(c->socket, "OHEM_STATUS", "status.sock", c->socket_default,
                            sizeof c->socket_default);
    c->control = find_socket(c->control, "OHEM_CONTROL", "control.sock", c->control_default,
                             sizeof c->control_default);
}

/* Read the options. @return -1 to go on, or the exit code. */
static int parse_options(struct ctl *c, int argc, char **argv)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
        {"job", required_argument, NULL, 'j'},     {"json", no_argument, NULL, 'J'},
        {"export", no_argument, NULL, 'e'},        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "n:h", options, NULL)) != -1) {
        switch (option) {
        case 's':
            c->socket = optarg;
            break;
        case 'c':
            c->control = optarg;
            break;
        case 'j':
            c->job = optarg;
            break;
        case 'J':
            c->json = true;
            break;
        case 'e':
            c->export = true;
            break;
        case 'n':
            c->count = optarg;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return CTL_OK;
        case 'V':
            (void)printf("ohemctl %s (%s, jansson %s)\n", OHEMD_VERSION, curl_version(),
                         jansson_version_str());
            return CTL_OK;
        default: /* getopt has said what is wrong */
            return CTL_USAGE;
        }
    }
    return -1;
}

static enum ctl_exit refuse(struct reason *why, const char *what, const char *name)
{
    reason_set(why, "%s '%s'; see ohemctl --help", what, name);
    return CTL_USAGE;
}

static enum ctl_exit run(struct ctl *c, int count, char **words, struct reason *why)
{
    const struct command *command = NULL;

    if (count == 0) {
        reason_set(why, "no command; see ohemctl --help");
        return CTL_USAGE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(words[0], commands[i].name) == 0)
            command = &commands[i];
    if (command == NULL)
        return refuse(why, "no command", words[0]);
    if (command->argument != NULL && count < 2) {
        reason_set(why, "'%s' needs an %s", command->name, command->argument);
        return CTL_USAGE;
    }
    if (count > (command->argument != NULL ? 2 : 1))
        return refuse(why, "too many words, from", words[command->argument != NULL ? 2 : 1]);
    if (c->job != NULL && !command->takes_job)
        return refuse(why, "--job does not go with", command->name);
    if (c->count != NULL && !command->takes_count)
        return refuse(why, "-n does not go with", command->name);
    if (c->export && !command->takes_export)
        return refuse(why, "--export does not go with", command->name);
    c->argument = command->argument != NULL ? words[1] : NULL;
    find_sockets(c);
    return command->run(c, why);
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    struct reason why = {""};
    int result;

    (void)setlocale(LC_CTYPE, "");
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    result = parse_options(&c, argc, argv);
    if (result < 0)
        result = (int)run(&c, argc - optind, argv + optind, &why);
    if (why.text[0] != '\0')
        (void)fprintf(stderr, "ohemctl: %s\n", why.text);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fprintf(stderr, "ohemctl: the output cannot be written\n");
        result = CTL_FAILED;
    }
    curl_global_cleanup();
    return result;
}
