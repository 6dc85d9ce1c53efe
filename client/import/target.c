/* target.c - the data set's folder; see target.h. */
#include "target.h"

#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORK_SUFFIX    ".importing"
#define FILE_BYTES_MAX 16 /* of a name below, with its slash */
#define BEGIN_TRIES    8  /* each is lost only to another import into the same target */

static const char *const own_files[] = {"data.mdb", "lock.mdb", TARGET_NOISE_FILE};

void target_file(const struct target *t, const char *name, char *out)
{
    size_t size = strlen(t->work);

    memcpy(out, t->work, size);
    out[size] = '/';
    memcpy(out + size + 1, name, strlen(name) + 1);
}

static int set_paths(struct target *t, const char *path, struct reason *why)
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0 || size + strlen(WORK_SUFFIX) + FILE_BYTES_MAX >= TARGET_PATH_MAX) {
        reason_set(why, "target: a path of %zu bytes; 1 to %zu are allowed", size,
                   TARGET_PATH_MAX - strlen(WORK_SUFFIX) - FILE_BYTES_MAX - 1);
        return -OHEM_INVALID;
    }
    memcpy(t->path, path, size);
    t->path[size] = '\0';
    memcpy(t->work, path, size);
    memcpy(t->work + size, WORK_SUFFIX, sizeof WORK_SUFFIX);
    return 0;
}

static int fail_exists(const struct target *t, struct reason *why)
{
    reason_set(why, "target '%s' exists", t->path);
    return -OHEM_EXISTS;
}

static int check_absent(const struct target *t, struct reason *why)
{
    struct stat info;

    if (lstat(t->path, &info) == 0)
        return fail_exists(t, why);
    return errno == ENOENT ? 0 : reader_fail_errno(t->path, why);
}

/* Only what an import makes; rmdir() then refuses a folder that holds anything else. */
static int remove_work(const struct target *t)
{
    char path[TARGET_PATH_MAX];

    for (size_t i = 0; i < sizeof own_files / sizeof own_files[0]; i++) {
        target_file(t, own_files[i], path);
        if (unlink(path) != 0 && errno != ENOENT)
            return -1;
    }
    return rmdir(t->work);
}

/* Is the folder we hold still the one of that name? */
static bool is_current(const struct target *t, int fd)
{
    struct stat held, named;

    return fstat(fd, &held) == 0 && stat(t->work, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static int lock_work(const struct target *t, int *out_fd, struct reason *why)
{
    int fd = open(t->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return reader_fail_errno(t->work, why);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            reason_set(why, "target '%s': another import into it is running", t->path);
        else
            (void)reader_fail_errno(t->work, why);
        (void)close(fd);
        return -OHEM_EXISTS;
    }
    *out_fd = fd;
    return 0;
}

static int fail_leftover(const struct target *t, struct reason *why)
{
    reason_set(why, "'%s', left by a dead import, cannot be removed: %s", t->work, strerror(errno));
    return -OHEM_SYSTEM;
}

/* One try to hold a fresh work folder. @return 1: held, 0: somebody was faster, or an error. */
static int try_begin(struct target *t, struct reason *why)
{
    bool fresh = mkdir(t->work, 0777) == 0;
    int fd = -1, rc;

    if (!fresh && errno != EEXIST)
        return reader_fail_errno(t->work, why);
    rc = lock_work(t, &fd, why);
    if (rc != 0)
        return rc == -OHEM_SYSTEM && errno == ENOENT ? 0 : rc;
    if (fresh && is_current(t, fd)) {
        t->lock_fd = fd;
        return 1;
    }
    if (!fresh && is_current(t, fd)) {
        rc = remove_work(t) == 0 ? 0 : fail_leftover(t, why);
        t->removed_leftover = rc == 0;
    }
    (void)close(fd);
    return rc;
}

int target_begin(struct target *t, const char *path, struct reason *why)
{
    int rc;

    *t = (struct target){.lock_fd = -1};
    rc = set_paths(t, path, why);
    if (rc != 0)
        return rc;
    for (int i = 0; i < BEGIN_TRIES && rc == 0; i++) {
        rc = check_absent(t, why);
        if (rc == 0)
            rc = try_begin(t, why);
    }
    if (rc == 0) {
        reason_set(why, "target '%s': other imports into it are running", t->path);
        return -OHEM_EXISTS;
    }
    return rc == 1 ? 0 : rc;
}

/* The folder's entry reaches the disk with the folder that holds it. */
static int sync_parent(const struct target *t, struct reason *why)
{
    char parent[TARGET_PATH_MAX];
    char *slash;
    int fd, rc = 0;

    memcpy(parent, t->path, strlen(t->path) + 1);
    slash = strrchr(parent, '/');
    if (slash == NULL)
        memcpy(parent, ".", 2);
    else
        slash[slash == parent] = '\0';
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = reader_fail_errno(parent, why);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* Some file systems cannot rename without replacing; there an empty folder could be replaced. */
static int rename_work(const struct target *t)
{
    if (renameat2(AT_FDCWD, t->work, AT_FDCWD, t->path, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? rename(t->work, t->path) : -1;
}

int target_commit(struct target *t, struct reason *why)
{
    if (fsync(t->lock_fd) != 0)
        return reader_fail_errno(t->work, why);
    if (rename_work(t) != 0)
        return errno == EEXIST || errno == ENOTEMPTY ? fail_exists(t, why)
                                                     : reader_fail_errno(t->path, why);
    (void)close(t->lock_fd);
    t->lock_fd = -1;
    return sync_parent(t, why);
}

void target_end(struct target *t)
{
    if (t->lock_fd < 0)
        return;
    (void)remove_work(t);
    (void)close(t->lock_fd);
    t->lock_fd = -1;
}
