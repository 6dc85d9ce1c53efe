/* test_memory.c - what the kernel says of an array after a hint. */
#include "../../daemon/engine/memory.h"
#include "../lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MB    ((size_t)1 << 20)
#define LARGE (8 * MB)

/* The address space's own list has the flag "hg" at a mapping that wants huge pages. */
static bool wants_huge_pages(const void *address)
{
    unsigned long long first, end, at = (unsigned long long)(uintptr_t)address;
    FILE *file = fopen("/proc/self/smaps", "r");
    bool inside = false, wants = false;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%llx-%llx ", &first, &end) == 2)
            inside = at >= first && at < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            wants = strstr(line, " hg") != NULL;
    }
    assert_int_equal(fclose(file), 0);
    return wants;
}

/* Fresh pages, those beside them not ours: so that their mapping has a beginning and an end. */
static unsigned char *take_pages(size_t size)
{
    unsigned char *pages = mmap(NULL, size + 2 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + MB, size, PROT_READ | PROT_WRITE), 0);
    return pages + MB;
}

static void give_back(unsigned char *pages, size_t size)
{
    assert_int_equal(munmap(pages - MB, size + 2 * MB), 0);
}

static void a_large_array_is_on_huge_pages(void **state)
{
    unsigned char *pages = take_pages(LARGE);

    (void)state;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) != 0)
        test_skip("this kernel has no huge pages to ask for");
    assert_false(wants_huge_pages(pages + MB));
    memory_take_large(pages, LARGE);
    assert_true(wants_huge_pages(pages));
    assert_true(wants_huge_pages(pages + LARGE - 1));
    give_back(pages, LARGE);
}

/* Linux before 5.14 cannot be asked. */
static void a_large_array_is_there_at_once(void **state)
{
    unsigned char *pages = take_pages(LARGE), there[LARGE / 4096];

    (void)state;
    if (madvise(pages + LARGE - 4096, 4096, 23 /* MADV_POPULATE_WRITE */) != 0)
        test_skip("this kernel cannot be asked for pages that nobody has touched");
    memory_take_large(pages, LARGE);
    assert_int_equal(mincore(pages, LARGE, there), 0);
    for (size_t i = 0; i < sizeof there; i++)
        assert_int_equal(there[i] & 1, 1);
    give_back(pages, LARGE);
}

/* An allocator's array begins behind its header, and ends anywhere: the whole pages count. */
static void what_shares_its_pages_with_others_is_left_out(void **state)
{
    unsigned char *pages = take_pages(LARGE);

    (void)state;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) != 0)
        test_skip("this kernel has no huge pages to ask for");
    memory_take_large(pages + 16, LARGE - 32);
    assert_false(wants_huge_pages(pages));
    assert_true(wants_huge_pages(pages + MB));
    assert_false(wants_huge_pages(pages + LARGE - 1));
    give_back(pages, LARGE);
}

static void a_small_array_stays_as_it_is(void **state)
{
    unsigned char *pages = take_pages(LARGE);

    (void)state;
    memory_take_large(pages, MB);
    memory_take_large(pages, 0);
    assert_false(wants_huge_pages(pages));
    give_back(pages, LARGE);
}

static void no_byte_changes(void **state)
{
    unsigned char *pages = take_pages(LARGE);

    (void)state;
    memset(pages, 0x5a, LARGE);
    memory_take_large(pages + 16, LARGE - 32);
    for (size_t i = 0; i < LARGE; i++)
        assert_int_equal(pages[i], 0x5a);
    give_back(pages, LARGE);
}

/* The kernel refuses what is not there; that is nobody's concern. */
static void a_hint_cannot_fail(void **state)
{
    unsigned char *pages = take_pages(LARGE);

    (void)state;
    give_back(pages, LARGE);
    memory_take_large(pages, LARGE);
}

TEST_MAIN(TEST(a_large_array_is_on_huge_pages), TEST(a_large_array_is_there_at_once),
          TEST(what_shares_its_pages_with_others_is_left_out), TEST(a_small_array_stays_as_it_is),
          TEST(no_byte_changes), TEST(a_hint_cannot_fail))
