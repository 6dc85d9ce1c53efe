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
    bool json;
    char socket_default[4096], control_default[4096];
};

struct command {
    const char *name;
    const char *argument; /* the name of what it needs, or NULL */
    enum ctl_exit (*run)(const struct ctl *c, struct reason *why);
    bool takes_job, takes_count;
};

static const char help[] =
    "usage: ohemctl [--socket PATH] [--job J] [--json] COMMAND\n"
    "\n"
    "  status       the daemon, its data sets and jobs\n"
    "  jobs         each job: settings, progress, epochs, sessions\n"
    "  hist         how hard the instances of a job are, as a histogram\n"
    "  top [-n N]   the N hardest instances (1..1000, 10)\n"
    "  show ID      one instance\n"
    "  why ID       each draw and each report of an instance, of a job with audit = yes\n"
    "  reset JOB    begin a job anew: no scores, the first step, the first epoch; its trainers go "
    "on\n"
    "\n"
    "  --socket PATH  the daemon's status socket; default: $OHEM_STATUS, else status.sock in the\n"
    "                 first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ohemd, /run/ohemd that is set\n"
    "  --control PATH the daemon's control socket, for reset; default: $OHEM_CONTROL, else\n"
    "                 control.sock in the same folders\n"
    "  --job J        the job, when there are several\n"
    "  --json         print what the daemon says, as JSON\n"
    "  --help, --version\n";

/* ---- fetch and print ----------------------------------------------------------------------------
 */

static enum ctl_exit get_job(const struct ctl *c, const char *job, const char *rest, json_t **out,
                             struct reason *why)
{
    char *name = ctl_path_escape(job);
    char path[PATH_BYTES_MAX];
    int size = name == NULL ? -1 : snprintf(path, sizeof path, "/v1/jobs/%s%s", name, rest);

    free(name);
    if (size < 0 || (size_t)size >= sizeof path) {
        reason_set(why, "the job's name or the number is too long");
        return CTL_USAGE;
    }
    return ctl_get(c->socket, path, out, why);
}

/* Say which jobs there are to choose from. */
static void list_jobs(const json_t *jobs, struct reason *why)
{
    char names[REASON_BYTES_MAX - 80] = "";
    size_t used = 0;
    const json_t *j;
    size_t i;

    json_array_foreach(jobs, i, j)
    {
        char *name = text_escape(json_text_at(j, "name"));
        int wrote = snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", name);

        free(name);
        if (wrote < 0 || (size_t)wrote >= sizeof names - used)
            break;
        used += (size_t)wrote;
    }
    reason_set(why, "there are %zu jobs, choose one with --job: %s", json_array_size(jobs), names);
}

/* Something of the job that was named, or of the only one. */
static enum ctl_exit get_of_job(const struct ctl *c, const char *rest, json_t **out,
                                struct reason *why)
{
    enum ctl_exit result;
    json_t *jobs;

    if (c->job != NULL)
        return get_job(c, c->job, rest, out, why);
    result = ctl_get(c->socket, "/v1/jobs", &jobs, why);
    if (result != CTL_OK)
        return result;
    if (json_array_size(jobs) == 1) {
        result = get_job(c, json_text_at(json_array_get(jobs, 0), "name"), rest, out, why);
    } else {
        list_jobs(jobs, why);
        result = CTL_USAGE;
    }
    json_decref(jobs);
    return result;
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

static enum ctl_exit run_reset(const struct ctl *c, struct reason *why)
{
    char *name = ctl_path_escape(c->argument);
    char path[PATH_BYTES_MAX];
    int size = name == NULL ? -1 : snprintf(path, sizeof path, "/v1/jobs/%s/reset", name);
    enum ctl_exit result = CTL_USAGE;
    json_t *done;

    free(name);
    if (size < 0 || (size_t)size >= sizeof path)
        reason_set(why, "the job's name is too long");
    else
        result = ctl_post(c->control, path, &done, why);
    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(done);
    else
        view_reset(done);
    json_decref(done);
    return CTL_OK;
}

/* ---- why: in parts ------------------------------------------------------------------------------
 */

/* Take what a part tells into the story. @return whether there was memory */
static bool join_part(json_t *story, const json_t *part)
{
    json_t *damaged = json_object_get(story, "damaged_rows");
    json_int_t more = json_integer_value(json_object_get(part, "damaged_rows"));

    return json_integer_set(damaged, json_integer_value(damaged) + more) == 0 &&
           json_object_set(story, "next", json_object_get(part, "next")) == 0 &&
           json_array_extend(json_object_get(story, "events"), json_object_get(part, "events")) ==
               0;
}

static enum ctl_exit get_part(const struct ctl *c, const char *id, json_int_t from, json_t **out,
                              struct reason *why)
{
    char rest[PATH_BYTES_MAX];
    int size =
        snprintf(rest, sizeof rest, "/instances/%s/why?from=%" JSON_INTEGER_FORMAT, id, from);

    if (size < 0 || (size_t)size >= sizeof rest) {
        reason_set(why, "the number is too long");
        return CTL_USAGE;
    }
    return get_of_job(c, rest, out, why);
}

/* Add the part that the story says is next. */
static enum ctl_exit get_next(const struct ctl *c, const char *id, json_t *story,
                              struct reason *why)
{
    json_t *part;
    enum ctl_exit result =
        get_part(c, id, json_integer_value(json_object_get(story, "next")), &part, why);

    if (result != CTL_OK)
        return result;
    if (!join_part(story, part)) {
        reason_set(why, "out of memory");
        result = CTL_FAILED;
    }
    json_decref(part);
    return result;
}

/* From the first part to the one that has no `next`. */
static enum ctl_exit get_story(const struct ctl *c, const char *id, json_t **out,
                               struct reason *why)
{
    json_t *story;
    enum ctl_exit result = get_part(c, id, 0, &story, why);

    if (result != CTL_OK)
        return result;
    while (result == CTL_OK && json_is_integer(json_object_get(story, "next")))
        result = get_next(c, id, story, why);
    if (result == CTL_OK)
        *out = story;
    else
        json_decref(story);
    return result;
}

static enum ctl_exit run_why(const struct ctl *c, struct reason *why)
{
    char *id = ctl_path_escape(c->argument);
    json_t *story = NULL;
    enum ctl_exit result;

    if (id == NULL) {
        reason_set(why, "out of memory");
        return CTL_FAILED;
    }
    result = get_story(c, id, &story, why);
    free(id);
    if (result != CTL_OK)
        return result;
    if (c->json)
        print_json(story);
    else
        view_why(story);
    json_decref(story);
    return CTL_OK;
}

static const struct command commands[] = {
    {"status", NULL, run_status, false, false}, {"jobs", NULL, run_jobs, true, false},
    {"hist", NULL, run_hist, true, false},      {"top", NULL, run_top, true, true},
    {"show", "ID", run_show, true, false},      {"reset", "JOB", run_reset, false, false},
    {"why", "ID", run_why, true, false},
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
    static const struct option options[] = {{"control", required_argument, NULL, 'c'},
                                            {"socket", required_argument, NULL, 's'},
                                            {"job", required_argument, NULL, 'j'},
                                            {"json", no_argument, NULL, 'J'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
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
