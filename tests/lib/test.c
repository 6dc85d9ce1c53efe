/* test.c - the frame of a test program; see test.h. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_SKIPPED 77 /* what run.py takes for "skipped"; the last line printed is the reason */

int test_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count)
{
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            puts(cases[i].name);
        return 0;
    }
    if (argc < 2)
        return _cmocka_run_group_tests("all", cases, count, NULL, NULL) != 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return _cmocka_run_group_tests(cases[i].name, &cases[i], 1, NULL, NULL) != 0;
    (void)fprintf(stderr, "no case '%s'\n", argv[1]);
    return 2;
}

void test_skip(const char *reason)
{
    (void)printf("%s\n", reason);
    (void)fflush(stdout);
    _Exit(EXIT_SKIPPED);
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL ? value : otherwise;
}

const char *test_source(void)
{
    return from_environment("OHEM_SOURCE", ".");
}

const char *test_build(void)
{
    return from_environment("OHEM_BUILD", "build/gcc");
}
