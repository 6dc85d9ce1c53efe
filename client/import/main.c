/* main.c - ohem-import: from the command line to one closing line and an exit code. */
#include "import.h"
#include "progress.h"

#include <archive.h>
#include <inttypes.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define EXIT_USAGE        2
#define CLASSES_SHOWN_MAX 20

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    stop = number;
}

/* The first asks for a clean end; the second ends us as it always would. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

static void print_classes(const struct import_result *r)
{
    unsigned shown = 0;

    (void)printf("; class:count");
    for (unsigned c = 0; c <= READER_LABEL_MAX; c++) {
        if (r->class_counts[c] == 0)
            continue;
        if (shown++ == CLASSES_SHOWN_MAX) {
            (void)printf(" ...");
            return;
        }
        (void)printf(" %u:%" PRIu64, c, r->class_counts[c]);
    }
}

static void print_result(const struct options *o, const struct import_result *r, uint64_t ms)
{
    (void)printf("%" PRIu64 " instances, %" PRIu64 " bytes in %.1f s: %s", r->instances, r->bytes,
                 (double)ms / 1000, o->target);
    if (o->filter.noise > 0)
        (void)printf("; %" PRIu64 " labels flipped", r->flipped);
    if (r->labelled)
        print_classes(r);
    (void)putchar('\n');
}

/* Names come from hostile sources: no control character of theirs reaches the terminal. */
static void print_failure(const struct reason *why, int rc)
{
    const char *text = why->text[0] != '\0' ? why->text : error_text(rc);

    (void)fputs("ohem-import: ", stderr);
    for (; *text != '\0'; text++)
        (void)fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, stderr);
    (void)fputc('\n', stderr);
}

static int run(const struct options *o)
{
    struct import_result *result = calloc(1, sizeof *result);
    struct reason why = {""};
    uint64_t began_ms = progress_now_ms();
    int rc = -OHEM_NOMEM;

    if (result != NULL)
        rc = import_run(o, &stop, result, &why);
    if (result != NULL && result->removed_leftover)
        (void)fprintf(stderr, "ohem-import: removed what a dead import into '%s' had left\n",
                      o->target);
    if (rc == 0)
        print_result(o, result, progress_now_ms() - began_ms);
    else
        print_failure(&why, rc);
    free(result);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options;
    enum options_result result;
    struct reason why = {""};

    if (options_parse(argc, argv, &options, &result, &why) != 0) {
        print_failure(&why, -OHEM_INVALID);
        return EXIT_USAGE;
    }
    if (result == OPTIONS_HELP) {
        options_print_help();
        return EXIT_SUCCESS;
    }
    if (result == OPTIONS_VERSION) {
        (void)printf("ohem-import %s (%s, %s, zlib %s)\n", OHEMD_VERSION,
                     mdb_version(NULL, NULL, NULL), archive_version_string(), zlibVersion());
        return EXIT_SUCCESS;
    }
    catch_signals();
    return run(&options);
}
