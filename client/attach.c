/* attach.c - the share socket's other end; see attach.h.
 *
 * Nothing that the daemon says is trusted to be right: sizes are checked against the descriptors
 * before anything is mapped, so that no read goes beyond the memory (SIGBUS). A data set's file may
 * grow while it is mapped, and records then lie behind what was its end: it is mapped once more,
 * with address space to spare, and the batches before stay where they are.
 */
#include "attach.h"

#include "../proto/error.h"
#include "../proto/prefetch.h"
#include "../proto/share.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CACHE_BYTES  (512u << 10) /* of a batch, that are brought into the cache at most */
#define COLD_BATCHES 64u          /* read ahead for so many more, once the disk was waited for */

#define MAPPINGS_MAX 32 /* each but the first is half as large again as the one before, or more */

struct mapping {
    const unsigned char *memory;
    uint64_t bytes; /* of address space: the file may still be shorter */
};

struct attachment {
    unsigned refs;
    int connection; /* -1: left */
    int file;       /* map: the data set's; else -1 */
    struct share_answer told;
    uint64_t bytes; /* that may be read */
    const unsigned char *memory;
    struct mapping earlier[MAPPINGS_MAX]; /* batches may lie in them */
    uint64_t memory_bytes;                /* address space of `memory` */
    unsigned earlier_count;
    const unsigned char *life; /* map: the life page */
    bool guarded;              /* it said that the daemon lives when it was mapped */
    uint64_t major_faults;     /* of this thread, when last looked at */
    unsigned cold;
};

/* ---- the conversation --------------------------------------------------------------------------
 */

static int connect_to(const char *path, struct reason *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    _Static_assert(sizeof address.sun_path > MESSAGE_SHARE_BYTES_MAX, "the path fits");
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    reason_set(why, "share socket '%s': %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -OHEM_SYSTEM;
}

/* The answer and its descriptors; it comes in one piece, being so short. @return bytes, or -1 */
static ssize_t receive(int fd, struct share_answer *answer, int *fds, size_t *out_count)
{
    union {
        char bytes[CMSG_SPACE(SHARE_DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec io = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

    *out_count = 0;
    for (struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            *out_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(c), *out_count * sizeof(int));
        }
    return got;
}

static int await(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;

    do
        rc = poll(&p, 1, timeout_ms);
    while (rc < 0 && errno == EINTR);
    return rc > 0 ? 0 : -OHEM_TIMEDOUT;
}

/* Show the cookie, take the answer. @return how many descriptors came, or an error */
static int ask(int fd, const struct session_key *cookie, int timeout_ms,
               struct share_answer *answer, int *fds, struct reason *why)
{
    size_t count = 0;
    int rc = 0;

    if (send(fd, cookie, sizeof *cookie, MSG_NOSIGNAL) != (ssize_t)sizeof *cookie)
        rc = -OHEM_SYSTEM;
    if (rc == 0)
        rc = await(fd, timeout_ms);
    if (rc == 0 && receive(fd, answer, fds, &count) != (ssize_t)sizeof *answer)
        rc = -OHEM_MALFORMED;
    if (rc == 0 && answer->code != 0)
        rc = -(int)(answer->code & INT32_MAX);
    if (rc == 0)
        return (int)count;
    while (count > 0)
        (void)close(fds[--count]);
    reason_set(why, "the share socket: %s", error_text(rc));
    return rc;
}

/* ---- mapping -----------------------------------------------------------------------------------
 */

static const unsigned char *map(int fd, uint64_t bytes)
{
    struct stat st;
    void *memory;

    if (bytes == 0 || bytes > SIZE_MAX || fstat(fd, &st) != 0 || (uint64_t)st.st_size < bytes)
        return NULL;
    memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

static int check_ring(const struct share_answer *t)
{
    bool fits = t->slot_count > 0 && t->slot_bytes <= t->bytes / t->slot_count;

    return fits ? 0 : -OHEM_MALFORMED;
}

static int check_file(const struct share_answer *t)
{
    for (int i = 0; i < 2; i++)
        if (t->watch[i] % sizeof(uint64_t) != 0 || t->bytes < sizeof(uint64_t) ||
            t->watch[i] > t->bytes - sizeof(uint64_t))
            return -OHEM_MALFORMED;
    return 0;
}

static int map_all(struct attachment *a, const int *fds, int count, struct reason *why)
{
    bool is_file = a->told.way == WAY_MAP;
    int rc = is_file ? check_file(&a->told) : check_ring(&a->told);

    if (rc != 0 || count != (is_file ? 2 : 1)) {
        reason_set(why, "the share socket answered with %d descriptors and sizes that do not fit",
                   count);
        return -OHEM_MALFORMED;
    }
    a->memory = map(fds[0], a->told.bytes);
    a->bytes = a->memory_bytes = a->told.bytes;
    if (is_file)
        a->life = map(fds[1], SHARE_LIFE_BYTES);
    if (is_file)
        a->file = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    if (a->memory != NULL && (!is_file || (a->life != NULL && a->file >= 0)))
        return 0;
    reason_set(why, "cannot map %" PRIu64 " bytes: %s", a->told.bytes, strerror(errno));
    return -OHEM_SYSTEM;
}

static bool is_alive(const struct attachment *a)
{
    const void *word = a->life;

    return (*(const volatile uint32_t *)word & SHARE_LIFE_MASK) != 0;
}

int attach_open(const struct message_welcome *welcome, int timeout_ms, struct attachment **out,
                struct reason *why)
{
    struct attachment *a = calloc(1, sizeof *a);
    int fds[SHARE_DESCRIPTORS_MAX] = {-1, -1}, count;
    int rc;

    if (a == NULL) {
        reason_set(why, "%s", error_text(OHEM_NOMEM));
        return -OHEM_NOMEM;
    }
    a->refs = 1;
    a->file = -1;
    rc = a->connection = connect_to(welcome->share, why);
    count = rc < 0 ? rc : ask(rc, &welcome->cookie, timeout_ms, &a->told, fds, why);
    rc = count < 0 ? count : 0;
    if (rc == 0 && a->told.way != welcome->way)
        rc = -OHEM_MALFORMED;
    if (rc == 0)
        rc = map_all(a, fds, count, why);
    if (rc == 0 && a->life != NULL)
        a->guarded = is_alive(a);
    while (count > 0)
        (void)close(fds[--count]); /* mapped, or of no use */
    if (rc != 0) {
        attach_leave(a);
        attach_unref(a);
        return rc;
    }
    *out = a;
    return 0;
}

static void hang_up(struct attachment *a)
{
    if (a->connection >= 0)
        (void)close(a->connection);
    a->connection = -1;
}

/* While batches lie in the file the daemon has to keep its pages: the connection says so. */
void attach_leave(struct attachment *a)
{
    if (a != NULL && (a->told.way != WAY_MAP || a->memory == NULL))
        hang_up(a);
}

struct attachment *attach_ref(struct attachment *a)
{
    a->refs++;
    return a;
}

void attach_unref(struct attachment *a)
{
    if (a == NULL || --a->refs > 0)
        return;
    hang_up(a);
    if (a->file >= 0)
        (void)close(a->file);
    if (a->memory != NULL)
        (void)munmap((void *)(uintptr_t)a->memory, a->memory_bytes);
    for (unsigned i = 0; i < a->earlier_count; i++)
        (void)munmap((void *)(uintptr_t)a->earlier[i].memory, a->earlier[i].bytes);
    if (a->life != NULL)
        (void)munmap((void *)(uintptr_t)a->life, SHARE_LIFE_BYTES);
    free(a);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

enum message_way attach_way(const struct attachment *a)
{
    return (enum message_way)a->told.way;
}

/* More of the address space, beside what is mapped: batches lie there. */
static void map_more(struct attachment *a, uint64_t size)
{
    uint64_t bytes = size + size / 2;
    void *memory;

    if (bytes > SIZE_MAX || a->earlier_count == MAPPINGS_MAX)
        return;
    memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, a->file, 0);
    if (memory == MAP_FAILED)
        return;
    a->earlier[a->earlier_count++] = (struct mapping){a->memory, a->memory_bytes};
    a->memory = memory;
    a->memory_bytes = bytes;
}

/* The file may have grown since it was mapped. */
static void look_again(struct attachment *a)
{
    struct stat st;
    uint64_t size;

    if (fstat(a->file, &st) != 0)
        return;
    size = (uint64_t)st.st_size;
    if (size > a->memory_bytes)
        map_more(a, size);
    if (size > a->bytes)
        a->bytes = size < a->memory_bytes ? size : a->memory_bytes;
}

static bool is_inside(const struct attachment *a, uint64_t offset, uint64_t size)
{
    return offset <= a->bytes && size <= a->bytes - offset;
}

static int check_in_file(struct attachment *a, const struct message_batch *b, struct reason *why)
{
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t offset = vector_u64(b->offsets, i), size = vector_u32(b->sizes, i);

        if (!is_inside(a, offset, size))
            look_again(a);
        if (!is_inside(a, offset, size)) {
            reason_set(why,
                       "record %" PRIu32 " lies at %" PRIu64 " with %" PRIu64
                       " bytes; the mapped file has %" PRIu64,
                       i, offset, size, a->bytes);
            return -OHEM_MALFORMED;
        }
    }
    return 0;
}

int attach_base(struct attachment *a, const struct message_batch *b, const unsigned char **out_base,
                struct reason *why)
{
    int rc;

    if (b->way == WAY_MAP) {
        rc = check_in_file(a, b, why);
        if (rc == 0)
            *out_base = a->memory;
        return rc;
    }
    if (b->slot >= a->told.slot_count || b->bytes > a->told.slot_bytes) {
        reason_set(why,
                   "%" PRIu64 " bytes in slot %" PRIu32 "; the ring has %" PRIu32
                   " slots of %" PRIu64,
                   b->bytes, b->slot, a->told.slot_count, a->told.slot_bytes);
        return -OHEM_MALFORMED;
    }
    *out_base = a->memory + b->slot * a->told.slot_bytes;
    return 0;
}

static uint64_t watched(const struct attachment *a, int i)
{
    const void *at = a->memory + a->told.watch[i];

    return *(const volatile uint64_t *)at;
}

/* The records were read before; the fence keeps it so. */
bool attach_is_good(const struct attachment *a)
{
    if (a->told.way != WAY_MAP)
        return true;
    atomic_thread_fence(memory_order_acquire);
    if (is_alive(a))
        return true;
    return watched(a, 0) <= a->told.watch_max && watched(a, 1) <= a->told.watch_max;
}

bool attach_is_left(const struct attachment *a)
{
    return a->told.way == WAY_MAP && a->guarded && !is_alive(a);
}

bool attach_is_guarded(const struct attachment *a)
{
    return a->told.way != WAY_MAP || a->guarded;
}

void attach_prefetch(const struct attachment *a, const void *const *records, const uint32_t *sizes,
                     uint32_t count)
{
    uint32_t share = CACHE_BYTES / count;

    if (a->told.way != WAY_MAP)
        return; /* a slot is read from end to end: the processor sees to that */
    share = share < PREFETCH_RECORD_BYTES ? share : PREFETCH_RECORD_BYTES;
    for (uint32_t i = 0; i < count; i++)
        prefetch_record(records[i], sizes[i], share > 0 ? share : 1);
}

/* Did this thread wait for the disk since we looked last? */
static bool has_waited(struct attachment *a)
{
    struct rusage usage;
    uint64_t before = a->major_faults;

    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        return false;
    a->major_faults = (uint64_t)usage.ru_majflt;
    return a->major_faults != before;
}

void attach_read_ahead(struct attachment *a, const void *const *records, const uint32_t *sizes,
                       uint32_t count)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    if (a->told.way != WAY_MAP)
        return;
    if (has_waited(a))
        a->cold = COLD_BATCHES;
    else if (a->cold > 0)
        a->cold--;
    for (uint32_t i = 0; i < count && a->cold > 0; i++) {
        uintptr_t from = (uintptr_t)records[i] / page * page;

        if (sizes[i] > 0)
            (void)madvise((void *)from, (uintptr_t)records[i] + sizes[i] - from, MADV_WILLNEED);
    }
}
