/* slowfs.c - a read-only file system whose reads take their time; a program of its own, see slow.h.
 *
 *     slowfs BELOW AT        with the control file in the working directory
 *
 * A passthrough over FUSE, of files that lie in one folder. The kernel reads single pages (no
 * read-ahead but what is asked for), so that every cold page of a mapping is a read of ours.
 */
#define FUSE_USE_VERSION 31

#include "slow.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES  4096
#define NAP_NS      1000000 /* a delay is cut short when the test says so */
#define FUSE_FAILED 3       /* fuse_main(): it could not be set up; above: mounted, started */
#define FUSE_LATER  5

static char below[PATH_BYTES];
static struct slow_control *control;

static const char *path_below(const char *path, char *out)
{
    (void)snprintf(out, PATH_BYTES, "%.2000s%.2000s", below, path);
    return out;
}

static int get_attributes(const char *path, struct stat *out, struct fuse_file_info *file)
{
    char real[PATH_BYTES];

    (void)file;
    return stat(path_below(path, real), out) == 0 ? 0 : -errno;
}

/* Without keep_cache: to open a file is to drop what the kernel holds of it. */
static int open_file(const char *path, struct fuse_file_info *file)
{
    char real[PATH_BYTES];
    int fd;

    if ((file->flags & O_ACCMODE) != O_RDONLY)
        return -EROFS;
    fd = open(path_below(path, real), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    file->fh = (uint64_t)fd;
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void take_time(void)
{
    int64_t end = now_ms() + (int64_t)control->delay_ms;

    atomic_fetch_add(&control->reads, 1);
    if (control->delay_ms == 0)
        return;
    atomic_fetch_add(&control->waiting, 1);
    while (control->delay_ms > 0 && now_ms() < end)
        (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    atomic_fetch_sub(&control->waiting, 1);
}

static int read_file(const char *path, char *out, size_t size, off_t offset,
                     struct fuse_file_info *file)
{
    ssize_t got;

    (void)path;
    take_time();
    got = pread((int)file->fh, out, size, offset);
    return got >= 0 ? (int)got : -errno;
}

static int release_file(const char *path, struct fuse_file_info *file)
{
    (void)path;
    (void)close((int)file->fh);
    return 0;
}

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->max_readahead = 0;
    config->kernel_cache = 0;
    control->mounted = 1;
    return NULL;
}

static const struct fuse_operations operations = {
    .getattr = get_attributes,
    .open = open_file,
    .read = read_file,
    .release = release_file,
    .init = begin,
};

static int open_control(void)
{
    int fd = open(SLOW_CONTROL_FILE, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -1;
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return control == MAP_FAILED ? -1 : 0;
}

int main(int argc, char **argv)
{
    char *arguments[] = {argv[0], "-f", "-o", "ro", NULL, NULL};
    int rc;

    if (argc != 3 || realpath(argv[1], below) == NULL || open_control() != 0) {
        perror("slowfs BELOW AT");
        return 1;
    }
    arguments[4] = argv[2];
    rc = fuse_main(5, arguments, &operations, NULL);
    return rc >= FUSE_FAILED && rc < FUSE_LATER ? SLOW_EXIT_NO_FUSE : rc != 0;
}
