/* powercut.c - a disk that loses what was not synced, and that fails; preloaded into a test's child
 * (LD_PRELOAD) and built as a library of its own.
 *
 * It follows writes to LMDB's data files (data.mdb, data.new), page by page, and knows of each page
 * what lies on the disk. fsync(), fdatasync(), and a write through an O_DSYNC descriptor, bring
 * pages there. Operations (writes and syncs) are counted from 1:
 *
 *   POWERCUT_AT=n       at the nth the power goes: each page that is not on disk is there or is
 * not, at random, and the process ends with POWERCUT_EXIT POWERCUT_FAIL=n-m   these fail with EIO
 * or ENOSPC. A sync that fails loses its pages as Linux does: they can be read, and no later sync
 * writes them POWERCUT_SEED=s     of what is at random
 *
 * One thread at a time.
 */
#include "powercut.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE      4096
#define PAGES_MAX 8192
#define FDS_MAX   64

/* A page that is not on disk as it is in memory. */
struct page {
    off_t at;
    bool lost;   /* no sync writes it any more */
    bool beyond; /* on disk the file ends before it */
    char disk[PAGE];
};

static struct page *pages;
static size_t page_count;
static bool followed[FDS_MAX], synced[FDS_MAX]; /* by descriptor; synced: O_DSYNC */
static uint64_t operations, cut_at, fail_from, fail_to, seed;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

/* ---- arguments ---------------------------------------------------------------------------------
 */

static void *find(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        abort();
    return symbol;
}

static uint64_t number(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *range = getenv("POWERCUT_FAIL");

    *(void **)&real_pwrite = find("pwrite");
    *(void **)&real_write = find("write");
    *(void **)&real_open = find("open");
    *(void **)&real_close = find("close");
    *(void **)&real_fsync = find("fsync");
    *(void **)&real_fdatasync = find("fdatasync");
    cut_at = number("POWERCUT_AT");
    seed = number("POWERCUT_SEED") * 2 + 1;
    if (range != NULL)
        (void)sscanf(range, "%lu-%lu", &fail_from, &fail_to);
    pages = calloc(PAGES_MAX, sizeof *pages);
    if (pages == NULL)
        abort();
}

static bool toss(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 63;
}

/* ---- pages -------------------------------------------------------------------------------------
 */

static bool is_followed(int fd)
{
    return fd >= 0 && fd < FDS_MAX && followed[fd];
}

static struct page *find_page(off_t at)
{
    for (size_t i = 0; i < page_count; i++)
        if (pages[i].at == at)
            return &pages[i];
    return NULL;
}

/* Before a write: what lies on disk there. */
static void remember(int fd, off_t from, size_t size)
{
    char path[32];
    int reader;

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    reader = real_open(path, O_RDONLY);
    for (off_t at = from / PAGE * PAGE; at < from + (off_t)size; at += PAGE) {
        struct page *p = find_page(at);

        if (p == NULL) {
            if (page_count == PAGES_MAX || reader < 0)
                abort();
            p = &pages[page_count++];
            memset(p, 0, sizeof *p);
            p->at = at;
            p->beyond = pread(reader, p->disk, PAGE, at) <= 0;
        }
        p->lost = false;
    }
    (void)real_close(reader);
}

/* A sync did its work, for a range or, with size 0, for all. */
static void settle(off_t from, size_t size)
{
    size_t kept = 0;

    for (size_t i = 0; i < page_count; i++) {
        bool in = size == 0 || (pages[i].at + PAGE > from && pages[i].at < from + (off_t)size);

        if (!in || pages[i].lost)
            pages[kept++] = pages[i];
    }
    page_count = kept;
}

static void lose(void)
{
    for (size_t i = 0; i < page_count; i++)
        pages[i].lost = true;
}

static void cut(int fd)
{
    off_t end = 0;
    char path[32];
    struct stat st;
    int writer;

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    writer = real_open(path, O_WRONLY);
    if (writer < 0 || fstat(writer, &st) != 0)
        abort();
    end = st.st_size;
    for (size_t i = page_count; i-- > 0;)
        if (toss() || pages[i].lost) {
            if (real_pwrite(writer, pages[i].disk, PAGE, pages[i].at) != PAGE)
                abort();
            if (pages[i].beyond && pages[i].at + PAGE == end)
                end = pages[i].at;
        }
    if (ftruncate(writer, end) != 0)
        abort();
    _exit(POWERCUT_EXIT);
}

/* ---- operations --------------------------------------------------------------------------------
 */

/* @return whether this one fails, with errno set */
static bool count(void)
{
    operations++;
    if (operations < fail_from || operations > fail_to)
        return false;
    errno = toss() ? EIO : ENOSPC;
    return true;
}

/* What of a write that fails reaches the file. */
static size_t torn(size_t size)
{
    return toss() ? size / 2 / 512 * 512 : 0;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    ssize_t done;

    if (!is_followed(fd))
        return real_pwrite(fd, data, size, at);
    remember(fd, at, size);
    if (count()) {
        int saved = errno;

        (void)real_pwrite(fd, data, synced[fd] && toss() ? size : torn(size), at);
        if (synced[fd])
            lose();
        errno = saved;
        return -1;
    }
    done = real_pwrite(fd, data, size, at);
    if (operations == cut_at)
        cut(fd);
    if (synced[fd] && done == (ssize_t)size)
        settle(at, size);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    off_t at;
    ssize_t done;

    if (!is_followed(fd))
        return real_write(fd, data, size);
    at = lseek(fd, 0, SEEK_CUR);
    done = pwrite(fd, data, size, at);
    if (done > 0)
        (void)lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int part_count)
{
    ssize_t sum = 0;

    for (int i = 0; i < part_count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);

        if (done < 0)
            return sum > 0 ? sum : done;
        sum += done;
        if (done < (ssize_t)parts[i].iov_len)
            break;
    }
    return sum;
}

static int sync_with(int (*real)(int), int fd)
{
    if (!is_followed(fd))
        return real(fd);
    if (count()) {
        lose();
        return -1;
    }
    if (operations == cut_at)
        cut(fd);
    settle(0, 0);
    return 0; /* the disk is this library's: the real one need not be waited for */
}

int fsync(int fd)
{
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_with(real_fdatasync, fd);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode;
    int fd;

    va_start(rest, flags);
    mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FDS_MAX) {
        followed[fd] = ends_with(path, "/data.mdb") || ends_with(path, "/data.new");
        synced[fd] = (flags & O_DSYNC) != 0;
    }
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        followed[fd] = false;
    return real_close(fd);
}
