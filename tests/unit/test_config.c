/* test_config.c - the configuration: what is read, what is refused with which line, what is
 * printed.
 *
 * Most cases write a file, read it and compare the struct, or the one line of the reason.
 */
#include "../lib/test.h"

#include "../../daemon/config_table.h"
#include "../../proto/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES_MAX 65536

static struct config config;
static struct reason why;

static void write_file(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Read a text as the file "a.conf", without the check across sections. */
static int read_text(const char *text)
{
    config_deinit(&config);
    why.text[0] = '\0';
    write_file("a.conf", text, strlen(text));
    assert_int_equal(config_init(&config, &why), 0);
    return config_read(&config, "a.conf", &why);
}

static int read_and_check(const char *text)
{
    int rc = read_text(text);

    return rc != 0 ? rc : config_check(&config, &why);
}

static void assert_read(const char *text)
{
    if (read_and_check(text) != 0)
        fail_msg("refused: %s\n%s", why.text, text);
}

static void assert_refused(const char *text, const char *reason)
{
    assert_int_equal(read_and_check(text), -OHEM_CONFIG);
    assert_string_equal(why.text, reason);
}

/* All of a stream that `print` filled, in memory of the heap. */
static char *printed(void (*print)(const struct config *c, FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    print(&config, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static char *file_text(const char *path)
{
    char *text = calloc(1, TEXT_BYTES_MAX);
    FILE *file = fopen(path, "r");

    assert_non_null(text);
    assert_non_null(file);
    assert_in_range(fread(text, 1, TEXT_BYTES_MAX - 1, file), 1, TEXT_BYTES_MAX - 2);
    assert_int_equal(fclose(file), 0);
    return text;
}

#define DATASET "[dataset d]\npath = /d\n"

/* ---- reading ---- */

static void every_setting_reaches_its_field(void **state)
{
    const struct job_settings *s;

    (void)state;
    assert_read("[daemon]\nlisten = tcp://*:5555\nstatus_socket = /s/status\nsocket_mode = 0600\n"
                "insecure_tcp = yes\nlog_level = debug\nsessions_max = 7\ngather_threads = 3\n"
                "payload_bytes_max = 1000\ndrain_ms = 5\nstate = /t\nstate_bytes_max = 1048576\n"
                "commit_ms = 9\n"
                "[dataset a]\npath = /a\ndatabase = train set\nimmutable = on\n"
                "[dataset b]\npath = /b\n"
                "[job j]\ndataset = b\nseed = 18446744073709551615\nlambda = 0.25\nrho = 1\n"
                "infobatch_ratio = 0.25\ninfobatch_full = 0.5\n"
                "weight = uniform\nalpha = 2.5\nbeta = 1\nnormalise = max\nunique = off\n"
                "redraws = 0\nwarmup_epochs = 1\nanneal_in = 2\nanneal_out = 0.5\nepochs = 3.5\n"
                "select = threshold\nkeep = 0.75\nkeep_count = 9\nmin_keep = 4\nbatch_size = 9000\n"
                "keep_from = 1\nkeep_steps = 77\nthreshold = -2.5\nmax_keep = 5\n"
                "neg_ratio = 2.5\nneg_min = 9\ncdf_power = 1.5\ncdf_floor = 0.125\n"
                "select_by_report = no\nround_ms = 77\nround_balanced = yes\n"
                "select_mode = shadow\n"
                "order = strict\nstaleness = 64\ncredit = 64\nlease_ms = 100\nlate_ms = 0\n"
                "audit_bytes_max = 1048577\n");
    assert_string_equal(config.listen, "tcp://*:5555");
    assert_string_equal(config.status_socket, "/s/status");
    assert_int_equal(config.socket_mode, 0600);
    assert_true(config.insecure_tcp);
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(config.sessions_max, 7);
    assert_int_equal(config.gather_threads, 3);
    assert_int_equal(config.payload_bytes_max, 1000);
    assert_int_equal(config.drain_ms, 5);
    assert_string_equal(config.state, "/t");
    assert_int_equal(config.state_bytes_max, 1048576);
    assert_int_equal(config.commit_ms, 9);
    assert_int_equal(config.dataset_count, 2);
    assert_string_equal(config.datasets[0].name, "a");
    assert_string_equal(config.datasets[0].path, "/a");
    assert_string_equal(config.datasets[0].database, "train set");
    assert_true(config.datasets[0].immutable);
    assert_false(config.datasets[1].immutable);
    assert_int_equal(config.job_count, 1);
    assert_string_equal(config.jobs[0].dataset, "b");
    s = &config.jobs[0].settings;
    assert_string_equal(s->name, "j");
    assert_int_equal(s->dataset.number, 1);
    assert_true(s->seed == UINT64_MAX);
    assert_true(s->lambda == 0.25 && s->sampler.rho == 1 && s->sampler.alpha == 2.5);
    assert_int_equal(s->sampler.weight, SAMPLER_UNIFORM);
    assert_true(s->sampler.beta == 1);
    assert_int_equal(s->sampler.normalise, SAMPLER_MAX);
    assert_false(s->sampler.unique);
    assert_int_equal(s->sampler.redraws, 0);
    assert_true(s->sampler.warmup_epochs == 1 && s->sampler.anneal_in == 2);
    assert_true(s->sampler.anneal_out == 0.5 && s->sampler.epochs == 3.5);
    assert_true(s->sampler.infobatch_ratio == 0.25 && s->sampler.infobatch_full == 0.5);
    assert_int_equal(s->selection.rule, SELECTION_THRESHOLD);
    assert_true(s->selection.keep_ratio == 0.75);
    assert_true(s->selection.keep_from == 1 && s->selection.threshold == -2.5);
    assert_int_equal(s->selection.mode, SELECTION_SHADOW);
    assert_int_equal(s->selection.keep_steps, 77);
    assert_true(s->selection.neg_ratio == 2.5 && s->selection.cdf_power == 1.5);
    assert_true(s->selection.cdf_floor == 0.125 && !s->selection.by_report);
    assert_int_equal(s->selection.neg_min, 9);
    assert_true(s->round.ranks == 0 && s->round.ms == 77 && s->round.balanced);
    assert_int_equal(s->selection.max_keep, 5);
    assert_int_equal(s->selection.keep_count, 9);
    assert_int_equal(s->selection.min_keep, 4);
    assert_int_equal(config.jobs[0].order, CONFIG_ORDER_STRICT);
    assert_int_equal(s->staleness, 64);
    assert_int_equal(s->audit_bytes_max, 1048577);
    assert_int_equal(s->batch_size, 9000);
    assert_int_equal(s->credit, 64);
    assert_int_equal(s->lease_ms, 100);
    assert_int_equal(s->late_ms, 0);
    config_deinit(&config);
}

static void a_data_set_alone_gets_a_job_with_the_policies_defaults(void **state)
{
    const struct sampler_policy sampler = SAMPLER_POLICY_DEFAULT;
    const struct selection_policy selection = SELECTION_POLICY_DEFAULT;

    (void)state;
    assert_read(DATASET);
    assert_int_equal(config.job_count, 1);
    assert_string_equal(config.jobs[0].settings.name, "default");
    assert_string_equal(config.jobs[0].dataset, "d");
    assert_memory_equal(&config.jobs[0].settings.sampler, &sampler, sizeof sampler);
    assert_memory_equal(&config.jobs[0].settings.selection, &selection, sizeof selection);
    config_deinit(&config);
}

static void alpha_follows_the_weight_unless_it_is_set(void **state)
{
    (void)state;
    assert_read(DATASET "[job a]\nweight = rank\n[job b]\nweight = hard\n"
                        "[job c]\nalpha = 1\nweight = rank\n[job d]\nweight = rank\n");
    assert_true(config.jobs[0].settings.sampler.alpha == 0.7);
    assert_true(config.jobs[1].settings.sampler.alpha == 1);
    assert_true(config.jobs[2].settings.sampler.alpha == 1);
    assert_true(config.jobs[3].settings.sampler.alpha == 0.7);
    config_deinit(&config);
}

static void comments_blanks_and_a_missing_last_newline_do_not_matter(void **state)
{
    (void)state;
    assert_read("\xEF\xBB\xBF# first\r\n; second\n\n  [ dataset   d ] ; third\r\n"
                "\tpath = /a;b#c ; fourth\r\n\n   immutable:yes");
    assert_string_equal(config.datasets[0].name, "d");
    assert_string_equal(config.datasets[0].path, "/a;b#c");
    assert_true(config.datasets[0].immutable);
    config_deinit(&config);
}

static void a_name_of_64_bytes_is_kept_whole(void **state)
{
    const char *name = "n234567890123456789012345678901234567890123456789012345678901_.-";
    char text[512];

    (void)state;
    assert_int_equal(strlen(name), 64);
    (void)snprintf(text, sizeof text, "[dataset %s]\npath = /d\n[job %s]\ndataset = %s\n", name,
                   name, name);
    assert_read(text);
    assert_string_equal(config.datasets[0].name, name);
    assert_string_equal(config.jobs[0].settings.name, name);
    config_deinit(&config);
}

/* ---- paths ---- */

static void a_relative_path_in_a_file_starts_at_the_files_folder(void **state)
{
    char here[CONFIG_PATH_MAX - 64], expected[CONFIG_PATH_MAX];
    const char *text = "[daemon]\nlisten = ipc://t.sock\nstatus_socket = s.sock\n"
                       "[dataset d]\npath = sub/data\n";

    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(system("mkdir etc"), 0);
    write_file("etc/x.conf", text, strlen(text));
    assert_int_equal(config_init(&config, &why), 0);
    assert_int_equal(config_read(&config, "etc/x.conf", &why), 0);
    (void)snprintf(expected, sizeof expected, "%s/etc/sub/data", here);
    assert_string_equal(config.datasets[0].path, expected);
    (void)snprintf(expected, sizeof expected, "ipc://%s/etc/t.sock", here);
    assert_string_equal(config.listen, expected);
    (void)snprintf(expected, sizeof expected, "%s/etc/s.sock", here);
    assert_string_equal(config.status_socket, expected);
    config_deinit(&config);
}

static void on_the_command_line_it_starts_at_the_working_directory(void **state)
{
    char here[CONFIG_PATH_MAX - 64], expected[CONFIG_PATH_MAX];

    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(config_init(&config, &why), 0);
    assert_int_equal(config_add_dataset(&config, "data", &why), 0);
    assert_int_equal(config_set(&config, "listen", "ipc://t.sock", &why), 0);
    assert_int_equal(config_check(&config, &why), 0);
    (void)snprintf(expected, sizeof expected, "%s/data", here);
    assert_string_equal(config.datasets[0].path, expected);
    assert_string_equal(config.datasets[0].name, "default");
    assert_string_equal(config.jobs[0].settings.name, "default");
    (void)snprintf(expected, sizeof expected, "ipc://%s/t.sock", here);
    assert_string_equal(config.listen, expected);
    config_deinit(&config);
}

static void the_sockets_lie_in_the_runtime_directory(void **state)
{
    (void)state;
    assert_int_equal(setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1), 0);
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "/run/user/7", 1), 0);
    assert_int_equal(config_init(&config, &why), 0);
    assert_string_equal(config.listen, "ipc:///run/one/ohemd.sock");
    assert_string_equal(config.status_socket, "/run/one/status.sock");
    assert_int_equal(unsetenv("RUNTIME_DIRECTORY"), 0);
    assert_int_equal(config_init(&config, &why), 0);
    assert_string_equal(config.listen, "ipc:///run/user/7/ohemd/ohemd.sock");
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    assert_int_equal(config_init(&config, &why), 0);
    assert_string_equal(config.status_socket, "/run/ohemd/status.sock");
}

static void the_state_lies_in_the_state_directory_unless_a_file_says_otherwise(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("STATE_DIRECTORY"), 0);
    assert_int_equal(config_init(&config, &why), 0);
    assert_string_equal(config.state, "");
    assert_int_equal(setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1), 0);
    assert_int_equal(config_init(&config, &why), 0);
    assert_string_equal(config.state, "/var/lib/one");
    assert_read("[daemon]\nstate =\n" DATASET);
    assert_string_equal(config.state, "");
    config_deinit(&config);
    assert_read("[daemon]\nstate = /elsewhere\n" DATASET);
    assert_string_equal(config.state, "/elsewhere");
    config_deinit(&config);
}

/* ---- refusing ---- */

static void a_wrong_value_is_named_with_its_line_and_what_is_allowed(void **state)
{
    static const struct {
        const char *setting, *must;
    } cases[] = {
        {"lambda = 2", "must be above 0 and at most 1"},
        {"lambda = 0", "must be above 0 and at most 1"},
        {"lambda = nan", "must be above 0 and at most 1"},
        {"lambda = inf", "must be above 0 and at most 1"},
        {"lambda = 0x1p-1", "must be above 0 and at most 1"},
        {"lambda = 0.5 # half", "must be above 0 and at most 1"},
        {"lambda =", "must be above 0 and at most 1"},
        {"rho = 1.0000001", "must be above 0 and at most 1"},
        {"sampling = infobach", "must be one of mix, infobatch"},
        {"infobatch_ratio = 0", "must be above 0 and at most 0.95"},
        {"infobatch_ratio = 1", "must be above 0 and at most 0.95"},
        {"infobatch_full = 1.5", "must be a number from 0 to 1"},
        {"keep = -0.5", "must be above 0 and at most 1"},
        {"keep_from = 1.5", "must be a number from 0 to 1"},
        {"threshold = 1e31", "must be a number from -1e+30 to 1e+30"},
        {"threshold = nan", "must be a number from -1e+30 to 1e+30"},
        {"max_keep = 1048577", "must be a whole number from 0 to 1048576"},
        {"alpha = 8.5", "must be a number from 0 to 8"},
        {"alpha = 1e999", "must be a number from 0 to 8"},
        {"beta = 1.5", "must be a number from 0 to 1"},
        {"epochs = -1", "must be a number from 0 to 1000000000"},
        {"seed = -1", "must be a whole number from 0 to 18446744073709551615"},
        {"seed = 18446744073709551616", "must be a whole number from 0 to 18446744073709551615"},
        {"batch_size = 0", "must be a whole number from 1 to 65536"},
        {"batch_size = 65537", "must be a whole number from 1 to 65536"},
        {"batch_size = 1e3", "must be a whole number from 1 to 65536"},
        {"batch_size = 4294967297", "must be a whole number from 1 to 65536"},
        {"credit = 65", "must be a whole number from 1 to 64"},
        {"round = 65", "must be a whole number from 0 to 64"},
        {"round_ms = 0", "must be a whole number from 1 to 86400000"},
        {"redraws = 65", "must be a whole number from 0 to 64"},
        {"min_keep = 0", "must be a whole number from 1 to 1048576"},
        {"lease_ms = 99", "must be a whole number from 100 to 86400000"},
        {"late_ms = 86400001", "must be a whole number from 0 to 86400000"},
        {"weight = harder", "must be one of hard, rank, uniform"},
        {"select = bottom", "must be one of all, top, threshold, negpos, cdf"},
        {"unique = maybe", "must be yes or no"},
        {"unique = Yes", "must be yes or no"},
        {"dataset = a/b", "must be 1 to 64 of A-Z a-z 0-9 _ . -"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], expected[256], shown[128];

        (void)snprintf(shown, sizeof shown, "%s%s", cases[i].setting,
                       cases[i].setting[strlen(cases[i].setting) - 1] == '=' ? " " : "");
        (void)snprintf(text, sizeof text, DATASET "[job a]\n%s\n", cases[i].setting);
        (void)snprintf(expected, sizeof expected, "a.conf:4: [job a] %s: %s", shown, cases[i].must);
        assert_refused(text, expected);
    }
    assert_refused("[daemon]\nsocket_mode = 0888\n",
                   "a.conf:2: [daemon] socket_mode = 0888: must be an octal number from 0000 to "
                   "0777");
    assert_refused("[daemon]\nlisten = udp://x:1\n", "a.conf:2: [daemon] listen = udp://x:1: must "
                                                     "be ipc://PATH or tcp://HOST:PORT");
    assert_refused("[daemon]\nlisten = tcp://x:65536\n",
                   "a.conf:2: [daemon] listen = tcp://x:65536: must be ipc://PATH or "
                   "tcp://HOST:PORT");
    assert_refused("[dataset d]\npath =\n", "a.conf:2: [dataset d] path = : must not be empty");
    config_deinit(&config);
}

static void a_mistyped_key_or_section_gets_a_suggestion(void **state)
{
    (void)state;
    assert_refused("[job a]\nlamda = 1\n",
                   "a.conf:2: [job a] unknown key 'lamda'; did you mean 'lambda'?");
    assert_refused("[job a]\nbatchsize = 1\n",
                   "a.conf:2: [job a] unknown key 'batchsize'; did you mean 'batch_size'?");
    assert_refused("[daemon]\nlambda = 1\n",
                   "a.conf:2: [daemon] unknown key 'lambda'; it belongs to [job NAME]");
    assert_refused("[job a]\nfrobnicate = 1\n",
                   "a.conf:2: [job a] unknown key 'frobnicate'; --help-config lists all");
    assert_refused("\n[jobs a]\n", "a.conf:2: unknown section [jobs a]; did you mean [job NAME]?");
    assert_refused("[deamon]\n", "a.conf:1: unknown section [deamon]; did you mean [daemon]?");
    assert_refused("[server]\n", "a.conf:1: unknown section [server]: must be [daemon], "
                                 "[dataset NAME] or [job NAME]");
    assert_refused(DATASET "[job a]\ndataset = dd\n[dataset train]\npath = /t\n"
                           "[job b]\ndataset = trian\n",
                   "[job a] dataset = dd: there is no [dataset dd]");
    assert_refused(DATASET "[dataset train]\npath = /t\n[job b]\ndataset = trian\n",
                   "[job b] dataset = trian: there is no such data set; did you mean 'train'?");
    config_deinit(&config);
}

static void what_is_given_twice_is_refused(void **state)
{
    (void)state;
    assert_refused("[job a]\nrho = 1\nseed = 1\nrho = 1\n", "a.conf:4: [job a] rho is given twice");
    assert_refused("[job a]\n[job b]\n[job a]\n", "a.conf:3: [job a] is given twice");
    assert_refused("[dataset a]\n[dataset a]\n", "a.conf:2: [dataset a] is given twice");
    assert_refused("[daemon]\n[job a]\n[daemon]\n", "a.conf:3: [daemon] is given twice");
    assert_read(DATASET "[job a]\nrho = 1\n[job b]\nrho = 1\n");
    config_deinit(&config);
}

static void a_line_that_is_nothing_is_refused_by_its_number(void **state)
{
    (void)state;
    assert_refused("[daemon]\nlisten\nsessions_max = 0\n",
                   "a.conf:2: must be '[section]', 'key = value' or a comment (; or #)");
    assert_refused("[daemon]\nsessions_max = 0\nlisten\n",
                   "a.conf:2: [daemon] sessions_max = 0: must be a whole number from 1 to 4096");
    assert_refused("rho = 1\n", "a.conf:1: 'rho' stands before the first [section]");
    assert_refused("[job a\n", "a.conf:1: a section must end with ']': [job a?");
    assert_refused("[job a] b\n", "a.conf:1: nothing may follow a section's ']': b?");
    assert_refused("[job]\n", "a.conf:1: [job ]: a name must be 1 to 64 of A-Z a-z 0-9 _ . -");
    assert_refused("[job a b]\n",
                   "a.conf:1: [job a b]: a name must be 1 to 64 of A-Z a-z 0-9 _ . -");
    assert_refused("[daemon x]\n", "a.conf:1: [daemon] takes no name");
    assert_refused("[job \x1b[31m]\n",
                   "a.conf:1: [job ?[31m]: a name must be 1 to 64 of A-Z a-z 0-9 _ . -");
    config_deinit(&config);
}

static void a_long_line_is_refused_and_not_cut(void **state)
{
    char text[600] = "[dataset d]\npath = /", *line = strchr(text, '\n') + 1;
    size_t used = strlen(line);

    (void)state;
    memset(line + used, 'x', 198 - used);
    assert_read(text);
    assert_int_equal(strlen(config.datasets[0].path), 198 - strlen("path = "));
    line[198] = 'x';
    assert_refused(text, "a.conf:2: the line is longer than 198 bytes");
    config_deinit(&config);
}

static void a_zero_byte_is_refused(void **state)
{
    static const char text[] = "[job a]\nseed = 1\0"
                               "2\n";

    (void)state;
    write_file("z.conf", text, sizeof text - 1);
    assert_int_equal(config_init(&config, &why), 0);
    assert_int_equal(config_read(&config, "z.conf", &why), -OHEM_CONFIG);
    assert_string_equal(why.text, "z.conf:2: the line holds a zero byte");
    config_deinit(&config);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    assert_int_equal(config_init(&config, &why), 0);
    assert_int_equal(config_read(&config, "no.conf", &why), -OHEM_CONFIG);
    assert_string_equal(why.text, "no.conf: No such file or directory");
    assert_int_equal(config_read(&config, ".", &why), -OHEM_CONFIG);
    assert_string_equal(why.text, ".: Is a directory");
    config_deinit(&config);
}

static void tcp_needs_the_operators_word(void **state)
{
    (void)state;
    assert_refused("[daemon]\nlisten = tcp://127.0.0.1:5555\n" DATASET,
                   "[daemon] listen = tcp://127.0.0.1:5555: who reaches it can read the data and "
                   "change the scores; to allow that, set insecure_tcp = yes in [daemon]");
    assert_read("[daemon]\nlisten = tcp://127.0.0.1:5555\ninsecure_tcp = yes\n" DATASET);
    config_deinit(&config);
}

static void a_socket_path_over_107_bytes_is_refused_with_both_numbers(void **state)
{
    char path[CONFIG_SOCKET_PATH_MAX + 2], text[512], expected[512];

    (void)state;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[CONFIG_SOCKET_PATH_MAX] = '\0';
    (void)snprintf(text, sizeof text, "[daemon]\nlisten = ipc://%s\nstatus_socket = %s\n" DATASET,
                   path, path);
    assert_read(text);
    path[CONFIG_SOCKET_PATH_MAX] = 'p';
    path[CONFIG_SOCKET_PATH_MAX + 1] = '\0';
    (void)snprintf(text, sizeof text, "[daemon]\nlisten = ipc://%s\n" DATASET, path);
    (void)snprintf(expected, sizeof expected,
                   "[daemon] listen: the socket's path is 108 bytes long, must be at most 107: %s",
                   path);
    assert_refused(text, expected);
    (void)snprintf(text, sizeof text, "[daemon]\nstatus_socket = %s\n" DATASET, path);
    assert_int_equal(read_and_check(text), -OHEM_CONFIG);
    assert_non_null(strstr(why.text, "status_socket: the socket's path is 108 bytes long"));
    config_deinit(&config);
}

static void the_control_socket_lies_beside_the_status_socket(void **state)
{
    (void)state;
    assert_read("[daemon]\nstatus_socket = /r/status.sock\n" DATASET);
    assert_string_equal(config.control_socket, "/r/control.sock");
    config_deinit(&config);
    assert_read("[daemon]\nstatus_socket = /r/s.sock\n" DATASET);
    assert_string_equal(config.control_socket, "/r/s.sock.control");
    config_deinit(&config);
    assert_read("[daemon]\ncontrol_socket = /r/c\ncontrol_mode = 0660\n" DATASET);
    assert_string_equal(config.control_socket, "/r/c");
    assert_int_equal(config.control_mode, 0660);
    config_deinit(&config);
}

static void scores_are_taken_over_from_a_job_of_the_same_data_set(void **state)
{
    (void)state;
    assert_read(DATASET "[job a]\n[job b]\nwarm_start = a\nwarm_factor = 0.25\n");
    assert_string_equal(config.jobs[1].settings.warm_start, "a");
    assert_true(config.jobs[1].settings.warm_factor == 0.25);
    config_deinit(&config);
    assert_refused(DATASET "[job a]\n[job b]\nwarm_start = c\n",
                   "[job b] warm_start = c: there is no such [job]");
    assert_refused(DATASET "[job a]\nwarm_start = a\n",
                   "[job a] warm_start = a: that is the job itself");
    assert_refused(DATASET "[dataset e]\npath = /e\n[job a]\ndataset = e\n"
                           "[job b]\ndataset = d\nwarm_start = a\n",
                   "[job b] warm_start = a: that job trains on another data set");
}

static void sections_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    assert_refused("", "no data set: give --dataset DIR, or a [dataset NAME] with its path");
    assert_refused("[dataset d]\n", "[dataset d] path is missing");
    assert_refused(DATASET "[dataset e]\npath = /e\n",
                   "there are 2 data sets and no [job NAME] that says which to train on");
    assert_refused(DATASET "[dataset e]\npath = /e\n[job a]\n",
                   "[job a] dataset is missing: there are 2 data sets");
    assert_refused(DATASET "[job a]\nanneal_out = 2\n",
                   "[job a] anneal_out = 2: needs epochs above 0, to know the end");
    assert_refused(DATASET "[job a]\nanneal_out = 2\nwarmup_epochs = 1\nanneal_in = 1\n"
                           "epochs = 3.5\n",
                   "[job a] warmup_epochs + anneal_in + anneal_out = 4: must be at most "
                   "epochs = 3.5");
    assert_read(DATASET "[job a]\nsampling = infobatch\nrho = 0.25\norder = strict\n");
    assert_int_equal(config.jobs[0].settings.sampler.sampling, SAMPLER_INFOBATCH);
    config_deinit(&config);
    assert_refused(DATASET "[job a]\nsampling = infobatch\nbias = auto\n",
                   "[job a] bias: must be on (its default) with sampling = infobatch, which has "
                   "no draws by hardness to switch");
    assert_refused(DATASET "[job a]\nsampling = infobatch\nbeta = 0.5\n",
                   "[job a] beta = 0.5: must be 0 with sampling = infobatch, whose weights are "
                   "1/(1-r) for those that could have been skipped");
    assert_refused(DATASET "[job a]\nmin_keep = 3\nmax_keep = 2\n",
                   "[job a] min_keep = 3: must be at most max_keep = 2 (or that 0: no limit)");
    assert_refused(
        DATASET "[job a]\nkeep_from = 0.5\n",
        "[job a] keep_from = 0.5: needs keep_steps or keep_epochs above 0, over which it "
        "goes to keep");
    assert_refused(DATASET "[job a]\nkeep_epochs = 2\n",
                   "[job a] keep_epochs = 2: needs keep_from above 0, to begin with");
    assert_refused(DATASET "[job a]\nkeep_from = 0.5\nkeep_steps = 5\nkeep_epochs = 2\n",
                   "[job a] keep_epochs = 2: keep_steps = 5 says it already");
    assert_refused(DATASET "[job a]\nkeep_steps = 5\n",
                   "[job a] keep_steps = 5: needs keep_from above 0, to begin with");
    assert_read(DATASET "[job a]\nanneal_out = 2\nwarmup_epochs = 1\nanneal_in = 1\nepochs = 4\n"
                        "min_keep = 3\nmax_keep = 3\nkeep_from = 0.5\nkeep_steps = 1\n");
    assert_read(DATASET "[job a]\nkeep_from = 0.5\nkeep_epochs = 1.5\n");
    assert_true(config.jobs[0].settings.selection.keep_epochs == 1.5);
    config_deinit(&config);
}

static void strict_order_takes_no_setting_that_a_clock_decides(void **state)
{
    (void)state;
    assert_read(DATASET "[job a]\nstaleness = 3\nmax_age = 5\n");
    assert_int_equal(config.jobs[0].settings.staleness, 0);
    config_deinit(&config);
    assert_read(DATASET "[job a]\norder = strict\n");
    assert_int_equal(config.jobs[0].settings.staleness, 64);
    config_deinit(&config);
    assert_read(DATASET "[job a]\norder = strict\nstaleness = 4\n");
    assert_int_equal(config.jobs[0].settings.staleness, 4);
    config_deinit(&config);
    assert_refused(DATASET "[job a]\norder = strict\nmax_age = 5\n",
                   "[job a] max_age = 5: must be 0 with order = strict, where staleness bounds "
                   "the age");
    assert_refused(DATASET "[job a]\norder = strict\nselect = cdf\n",
                   "[job a] select = cdf: depends on the order in which reports come, which order "
                   "= strict must not");
    assert_refused(DATASET "[job a]\norder = strict\nround = 2\n",
                   "[job a] round = 2: round_ms decides who is answered together, and a clock must "
                   "not with order = strict");
    assert_refused(DATASET "[job a]\nround = 64\nbatch_size = 16385\n",
                   "[job a] round * batch_size = 1048640: must be at most 1048576 instances "
                   "(MESSAGE_ITEMS_MAX), which are chosen from together");
    assert_refused(DATASET "[job a]\norder = strict\nstaleness = 3\n",
                   "[job a] credit = 4: must be at most staleness = 3 with order = strict");
    assert_refused(DATASET "[job a]\norder = strict\nstaleness = 4096\nbatch_size = 4097\n",
                   "[job a] staleness * batch_size = 16781312: must be at most 16777216 "
                   "instances with order = strict");
}

static void an_audit_needs_a_state_with_room_for_it(void **state)
{
    (void)state;
    assert_refused("[daemon]\nstate =\n" DATASET "[job a]\naudit = yes\n",
                   "[job a] audit = yes: needs a state directory ([daemon] state, --state, or "
                   "$STATE_DIRECTORY)");
    assert_refused("[daemon]\nstate = /s\nstate_bytes_max = 4194304\n" DATASET
                   "[job a]\naudit = yes\naudit_bytes_max = 1048577\n",
                   "[job a] audit_bytes_max = 1048577: all of them together must be at most a "
                   "quarter of state_bytes_max = 4194304");
    assert_refused("[daemon]\nstate = /s\nstate_bytes_max = 8388607\n" DATASET
                   "[job a]\naudit = yes\naudit_bytes_max = 1048576\n"
                   "[job b]\naudit = yes\naudit_bytes_max = 1048576\n",
                   "[job b] audit_bytes_max = 1048576: all of them together must be at most a "
                   "quarter of state_bytes_max = 8388607");
    assert_read("[daemon]\nstate = /s\nstate_bytes_max = 8388608\n" DATASET
                "[job a]\naudit = yes\naudit_bytes_max = 1048576\n[job other]\n"
                "[job b]\naudit = yes\naudit_bytes_max = 1048576\n");
    assert_true(config.jobs[0].settings.audit && !config.jobs[1].settings.audit);
    config_deinit(&config);
}

static void there_may_be_64_jobs_and_no_more(void **state)
{
    char text[2048] = DATASET;
    size_t used = strlen(text);

    (void)state;
    for (int i = 0; i < CONFIG_JOBS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "[job j%d]\n", i);
    assert_read(text);
    assert_int_equal(config.job_count, CONFIG_JOBS_MAX);
    (void)snprintf(text + used, sizeof text - used, "[job more]\n");
    assert_refused(text, "a.conf:67: [job more] is one too many: at most 64");
    config_deinit(&config);
}

static void a_wrong_value_on_the_command_line_is_refused(void **state)
{
    (void)state;
    assert_int_equal(config_init(&config, &why), 0);
    assert_int_equal(config_set(&config, "log_level", "loud", &why), -OHEM_CONFIG);
    assert_string_equal(why.text, "[daemon] log_level = loud: must be one of error, warning, "
                                  "info, debug");
    assert_int_equal(config_add_dataset(&config, "a\nb", &why), -OHEM_CONFIG);
    assert_non_null(strstr(why.text, "must hold no control characters"));
    config_deinit(&config);
    assert_int_equal(config_add_dataset(&config, "a ;b", &why), -OHEM_CONFIG);
    assert_non_null(strstr(why.text, "a comment begins there"));
    config_deinit(&config);
}

/* ---- printing ---- */

static void what_is_printed_reads_back_to_the_same(void **state)
{
    char *first, *second;

    (void)state;
    assert_read("[daemon]\nsocket_mode = 7\ndrain_ms = 0\nlog_level = error\n"
                "[dataset a]\npath = data/a b\n[dataset b]\npath = /b\ndatabase = x\n"
                "[job j]\ndataset = a\nlambda = 0.1\nrho = 0.3333333333333333\nweight = rank\n"
                "epochs = 123456.789\nseed = 18446744073709551615\n[job k]\ndataset = b\n");
    first = printed(config_print);
    assert_non_null(strstr(first, "\nlambda = 0.1\n"));
    assert_non_null(strstr(first, "\nalpha = 0.7\n"));
    assert_non_null(strstr(first, "\nsocket_mode = 0007\n"));
    assert_read(first);
    assert_true(config.jobs[0].settings.sampler.rho == 0.3333333333333333);
    assert_true(config.jobs[0].settings.sampler.epochs == 123456.789);
    second = printed(config_print);
    assert_string_equal(first, second);
    free(first);
    free(second);
    config_deinit(&config);
}

static void print_table(const struct config *c, FILE *out)
{
    (void)c;
    config_print_table(out);
}

static void the_table_is_sorted_and_its_help_names_each_setting(void **state)
{
    char *table = printed(print_table);

    (void)state;
    assert_true(config_setting_count < CONFIG_SETTINGS_MAX); /* the reader has a place for each */
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        char line[64];

        (void)snprintf(line, sizeof line, "\n%s ", s->key);
        assert_non_null(strstr(table, line));
        assert_non_null(strstr(table, s->meaning));
        if (i > 0 && s[-1].section == s->section)
            assert_true(strcmp(s[-1].key, s->key) < 0);
        else if (i > 0)
            assert_true(s[-1].section < s->section);
    }
    assert_non_null(strstr(table, "\nlambda              0.5                      above 0 to 1 "));
    free(table);
}

/* ---- the sample ---- */

/* With every ';' at the start of a line taken away. */
static char *sample_uncommented(void)
{
    char path[4096], *text;

    (void)snprintf(path, sizeof path, "%s/deploy/ohemd.conf", test_source());
    text = file_text(path);
    for (char *p = text; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (*p == ';')
            *p = ' ';
    }
    return text;
}

static void the_sample_names_every_setting_with_its_default(void **state)
{
    char *sample = sample_uncommented(), *of_sample, *of_defaults;

    (void)state;
    for (size_t i = 0; i < config_setting_count; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "\n %s =", config_settings[i].key);
        if (strstr(sample, line) == NULL)
            fail_msg("deploy/ohemd.conf does not show '%s'", config_settings[i].key);
    }
    assert_int_equal(setenv("RUNTIME_DIRECTORY", "/run/ohemd", 1), 0);
    assert_read(sample);
    of_sample = printed(config_print);
    assert_read("[dataset default]\npath = /var/lib/ohemd/data\n");
    of_defaults = printed(config_print);
    assert_string_equal(of_sample, of_defaults);
    free(sample);
    free(of_sample);
    free(of_defaults);
    config_deinit(&config);
}

static void the_sample_as_installed_asks_for_a_data_set(void **state)
{
    char path[4096], *text;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/deploy/ohemd.conf", test_source());
    text = file_text(path);
    assert_refused(text, "no data set: give --dataset DIR, or a [dataset NAME] with its path");
    free(text);
    config_deinit(&config);
}

TEST_MAIN(TEST(every_setting_reaches_its_field),
          TEST(a_data_set_alone_gets_a_job_with_the_policies_defaults),
          TEST(the_state_lies_in_the_state_directory_unless_a_file_says_otherwise),
          TEST(alpha_follows_the_weight_unless_it_is_set),
          TEST(comments_blanks_and_a_missing_last_newline_do_not_matter),
          TEST(a_name_of_64_bytes_is_kept_whole),
          TEST(a_relative_path_in_a_file_starts_at_the_files_folder),
          TEST(on_the_command_line_it_starts_at_the_working_directory),
          TEST(the_sockets_lie_in_the_runtime_directory),
          TEST(a_wrong_value_is_named_with_its_line_and_what_is_allowed),
          TEST(a_mistyped_key_or_section_gets_a_suggestion), TEST(what_is_given_twice_is_refused),
          TEST(a_line_that_is_nothing_is_refused_by_its_number),
          TEST(a_long_line_is_refused_and_not_cut), TEST(a_zero_byte_is_refused),
          TEST(a_file_that_cannot_be_read_is_named), TEST(tcp_needs_the_operators_word),
          TEST(a_socket_path_over_107_bytes_is_refused_with_both_numbers),
          TEST(the_control_socket_lies_beside_the_status_socket),
          TEST(scores_are_taken_over_from_a_job_of_the_same_data_set),
          TEST(sections_that_do_not_fit_together_are_refused),
          TEST(strict_order_takes_no_setting_that_a_clock_decides),
          TEST(an_audit_needs_a_state_with_room_for_it), TEST(there_may_be_64_jobs_and_no_more),
          TEST(a_wrong_value_on_the_command_line_is_refused),
          TEST(what_is_printed_reads_back_to_the_same),
          TEST(the_table_is_sorted_and_its_help_names_each_setting),
          TEST(the_sample_names_every_setting_with_its_default),
          TEST(the_sample_as_installed_asks_for_a_data_set))
