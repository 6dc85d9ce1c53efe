/* test.h - the frame of a test program: one process per case, named like a sentence.
 *
 * A test program lists its cases and runs the one that it is told to (tests/lib/run.py does, each
 * in a fresh directory that is the working directory, with a deadline). Without arguments it runs
 * all in one process, for a debugger. A name that begins with big_ runs in plain builds only.
 *
 *     static void expired_lease_returns_its_instances(void **state) { ... }
 *     TEST_MAIN(TEST(expired_lease_returns_its_instances), TEST(...))
 */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(function) cmocka_unit_test(function)

#define TEST_MAIN(...) \
    int main(int argc, char **argv) \
    { \
        static const struct CMUnitTest cases[] = {__VA_ARGS__}; \
\
        return test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); \
    }

/** Run as the arguments say: `--list`, a case's name, or nothing for all. @return the exit code. */
int test_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count);

/** End this case as skipped, with the reason. Does not return. */
void test_skip(const char *reason) __attribute__((noreturn));

/** The root of the source tree, and the folder of the build under test (ohemd, ohemctl, ...). */
const char *test_source(void);
const char *test_build(void);

#endif
