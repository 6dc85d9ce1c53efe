/* options.c - the command line; see options.h. */
#include "options.h"

#include "../proto/codec.h"
#include "../proto/error.h"
#include "dataset.h"
#include "router.h"
#include "http.h"

#include <getopt.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* What the command line holds, before any of it is believed. */
struct options {
    enum options_action action;
    const char *config_file, *dataset;
    const char *listen, *status, *state, *log_level; /* over the file's; NULL: not given */
    bool fresh;
};

static const struct {
    const char *name;
    int letter;           /* for getopt; not offered as a short option */
    const char *argument; /* NULL: takes none */
    const char *text;
} rows[] = {
    {"dataset", 'd', "PATH", "serve this LMDB data set, with one job 'default'"},
    {"config", 'c', "FILE", "read the configuration from a file"},
    {"listen", 'l', "ENDPOINT", "over the file's: ipc://PATH or tcp://HOST:PORT"},
    {"status", 's', "PATH", "over the file's: the status socket"},
    {"state", 'S', "DIR", "over the file's: the folder for what survives a restart"},
    {"fresh", 'f', NULL, "jobs start over: what the state holds is replaced"},
    {"log-level", 'v', "LEVEL", "over the file's: error, warning, info or debug"},
    {"check-config", 'C', NULL, "check the configuration and exit"},
    {"print-config", 'P', NULL, "print all settings in force and exit"},
    {"help", 'h', NULL, "print this and exit"},
    {"help-config", 'H', NULL, "print every setting with its default and range, and exit"},
    {"version", 'V', NULL, "print the versions of ohemd and its libraries, and exit"},
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static void print_help(void)
{
    (void)puts("ohemd - streams batches of LMDB data sets to trainers, hard examples more often\n"
               "\n"
               "usage: ohemd --dataset PATH [OPTION]...\n"
               "       ohemd --config FILE [OPTION]...\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *argument = rows[i].argument != NULL ? rows[i].argument : "";

        (void)printf("  --%s %-*s %s\n", rows[i].name, (int)(18 - strlen(rows[i].name)), argument,
                     rows[i].text);
    }
    (void)puts(
        "\nIts sockets are made in $RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/ohemd, else\n"
        "/run/ohemd; its state lies in $STATE_DIRECTORY, if that is set. Exit codes: 0 after\n"
        "SIGTERM or SIGINT, 1 it failed, 2 wrong options or configuration. SIGHUP reloads.");
}

static void print_version(void)
{
    (void)printf("ohemd %s\n", OHEMD_VERSION);
    (void)printf("libzmq %s\n", router_library_version());
    (void)printf("lmdb %s\n", dataset_library_version());
    (void)printf("libuv %s\n", uv_version_string());
    (void)printf("msgpack-c %s\n", codec_library_version());
    (void)printf("libsodium %s\n", sodium_version_string());
    (void)printf("libmicrohttpd %s\n", http_library_version());
    (void)printf("jansson %s\n", jansson_version_str());
}

/* ---- reading ---- */

static void fill_getopt(struct option out[ROW_COUNT + 1])
{
    memset(out, 0, (ROW_COUNT + 1) * sizeof *out);
    for (size_t i = 0; i < ROW_COUNT; i++)
        out[i] = (struct option){
            .name = rows[i].name,
            .has_arg = rows[i].argument != NULL ? required_argument : no_argument,
            .val = rows[i].letter,
        };
}

static int set_once(const char **place, const char *name, struct reason *why)
{
    if (*place != NULL) {
        reason_set(why, "option --%s is given twice", name);
        return -OHEM_INVALID;
    }
    *place = optarg;
    return 0;
}

/* One option. What only prints is done at once. */
static int take(struct options *o, int letter, struct reason *why)
{
    switch (letter) {
    case 'd':
        return set_once(&o->dataset, "dataset", why);
    case 'c':
        return set_once(&o->config_file, "config", why);
    case 'l':
        return set_once(&o->listen, "listen", why);
    case 's':
        return set_once(&o->status, "status", why);
    case 'S':
        return set_once(&o->state, "state", why);
    case 'f':
        o->fresh = true;
        return 0;
    case 'v':
        return set_once(&o->log_level, "log-level", why);
    case 'C':
        o->action = OPTIONS_CHECK;
        return 0;
    case 'P':
        o->action = OPTIONS_PRINT;
        return 0;
    case 'h':
        print_help();
        break;
    case 'H':
        config_print_table(stdout);
        break;
    case 'V':
    default:
        print_version();
        break;
    }
    o->action = OPTIONS_ANSWERED;
    return 0;
}

static void fail_option(const char *argument, bool value_missing, struct reason *why)
{
    reason_set(why,
               value_missing ? "option %.200s needs a value"
                             : "option %.200s is not known, or not clear, or takes no value; "
                               "--help lists all",
               argument);
}

static int read_arguments(int argc, char **argv, struct options *o, struct reason *why)
{
    struct option table[ROW_COUNT + 1];
    int at = 1, letter, rc = 0; /* at: of the argument being read */

    fill_getopt(table);
    optind = 0; /* from the beginning, also the second time */
    opterr = 0; /* its messages are ours to word */
    while (rc == 0 && o->action != OPTIONS_ANSWERED &&
           (letter = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
        if (letter == '?' || letter == ':') {
            fail_option(argv[at], letter == ':', why);
            return -OHEM_INVALID;
        }
        rc = take(o, letter, why);
        at = optind;
    }
    if (rc == 0 && o->action != OPTIONS_ANSWERED && optind < argc) {
        reason_set(why, "'%s' is not an option; a data set is given by --dataset PATH",
                   argv[optind]);
        return -OHEM_INVALID;
    }
    return rc;
}

/* A setting of the file that the command line says otherwise. */
static int set_over(struct config *c, const char *key, const char *value, struct reason *why)
{
    return value == NULL ? 0 : config_set(c, key, value, why);
}

/* What is wrong across sections has no line; the file that could right it is named. */
static int check_config(const struct options *o, struct config *c, struct reason *why)
{
    struct reason wrong = {""};
    int rc = config_check(c, &wrong);

    if (rc != 0)
        reason_set(why, "%.200s%s%s", o->config_file != NULL ? o->config_file : "",
                   o->config_file != NULL ? ": " : "", wrong.text);
    return rc;
}

static int make_config(const struct options *o, struct config *c, struct reason *why)
{
    int rc = config_init(c, why);

    if (rc == 0 && o->config_file != NULL)
        rc = config_read(c, o->config_file, why);
    if (rc == 0 && o->dataset != NULL)
        rc = config_add_dataset(c, o->dataset, why);
    if (rc == 0)
        rc = set_over(c, "listen", o->listen, why);
    if (rc == 0)
        rc = set_over(c, "status_socket", o->status, why);
    if (rc == 0)
        rc = set_over(c, "state", o->state, why);
    if (rc == 0)
        rc = set_over(c, "log_level", o->log_level, why);
    if (rc == 0)
        rc = check_config(o, c, why);
    if (rc != 0)
        config_deinit(c);
    else
        c->fresh = o->fresh;
    return rc;
}

int options_read(int argc, char **argv, enum options_action *out_action, struct config *config,
                 struct reason *why)
{
    struct options o = {.action = OPTIONS_RUN};
    int rc = read_arguments(argc, argv, &o, why);

    if (rc == 0 && o.action != OPTIONS_ANSWERED)
        rc = make_config(&o, config, why);
    if (rc == 0)
        *out_action = o.action;
    return rc;
}
