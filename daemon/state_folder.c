/* state_folder.c - the folder that the state lies in: made, looked at, and locked.
 *
 * The lock is flock(2)'s: it goes with the process, however that ends. The pid in the lock file is
 * for the message only.
 */
#include "state_disk.h"

#include "../proto/error.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE   "ohemd.lock"
#define FOLDER_MODE 0700
#define LOCK_MODE   0600

int state_folder_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return errno;
    if (fsync(fd) != 0)
        rc = errno;
    (void)close(fd);
    return rc;
}

/* The name of a new folder lies in the one above. */
static int sync_parent(const char *dir)
{
    char copy[PATH_MAX];

    if (snprintf(copy, sizeof copy, "%s", dir) >= (int)sizeof copy)
        return ENAMETOOLONG;
    return state_folder_sync(dirname(copy));
}

static int make_folder(const char *dir, struct reason *why)
{
    struct stat st;
    int rc = mkdir(dir, FOLDER_MODE) == 0 ? sync_parent(dir) : errno;

    if (rc == 0 || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0;
    if (rc == EEXIST)
        reason_set(why, "state '%s': not a directory", dir);
    else if (rc == ENOENT)
        reason_set(why, "state '%s': cannot be made, the directory above is not there", dir);
    else
        reason_set(why, "state '%s': cannot be made: %s", dir, strerror(rc));
    return -OHEM_STATE;
}

/* Somebody has it: who? */
static void tell_holder(const char *dir, int fd, struct reason *why)
{
    char pid[24] = "";
    ssize_t size = pread(fd, pid, sizeof pid - 1, 0);

    pid[size > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    reason_set(why, "state '%s': another ohemd uses it%s%s%s; each needs one of its own", dir,
               pid[0] != '\0' ? " (pid " : "", pid, pid[0] != '\0' ? ")" : "");
}

static void write_pid(int fd)
{
    char pid[24];
    int size = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)size, 0) != size)
        return; /* it is for a message only */
}

int state_folder_lock(const char *dir, int *out_fd, struct reason *why)
{
    char path[PATH_MAX];
    int fd, rc = make_folder(dir, why);

    if (rc != 0)
        return rc;
    if (snprintf(path, sizeof path, "%s/" LOCK_FILE, dir) >= (int)sizeof path) {
        reason_set(why, "state '%.100s...': the path is too long", dir);
        return -OHEM_STATE;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (fd < 0) {
        reason_set(why, "state '%s': cannot write in it: " LOCK_FILE ": %s", dir, strerror(errno));
        return -OHEM_STATE;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        write_pid(fd);
        *out_fd = fd;
        return 0;
    }
    if (errno == EWOULDBLOCK)
        tell_holder(dir, fd, why);
    else
        reason_set(why, "state '%s': cannot lock " LOCK_FILE ": %s", dir, strerror(errno));
    (void)close(fd);
    return -OHEM_STATE;
}
