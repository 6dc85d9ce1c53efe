/* rig.c - a server that answers credit with batches, and its clients; see rig.h.
 *
 * The server is a process of its own, as the daemon is. It is forked while no ZeroMQ context lives
 * here, and killed by its pid.
 */
#include "rig_inner.h"

#include "../../proto/prefetch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define PAGE_BYTES 4096u
#define AHEAD      8u /* records that are fetched ahead of the one that is copied */

static const struct rig_ops *const ways[] = {
    [RIG_INDEX] = &rig_index_ops, [RIG_SLOT] = &rig_slot_ops, [RIG_INLINE] = &rig_inline_ops};

/* ---- sockets and processes ---- */

static void set(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
        die("rig: option %d: %s", option, zmq_strerror(zmq_errno()));
}

static void *make_socket(int type)
{
    void *socket = zmq_socket(zmq_ctx_new(), type);

    if (socket == NULL)
        die("rig: socket: %s", zmq_strerror(zmq_errno()));
    set(socket, ZMQ_LINGER, 0);
    set(socket, ZMQ_SNDHWM, 0);
    set(socket, ZMQ_RCVHWM, 0);
    set(socket, ZMQ_SNDBUF, RIG_LINK_BYTES);
    set(socket, ZMQ_RCVBUF, RIG_LINK_BYTES);
    return socket;
}

void *rig_connect(void)
{
    void *socket = make_socket(ZMQ_DEALER);

    set(socket, ZMQ_RCVTIMEO, RIG_ANSWER_MS);
    if (zmq_connect(socket, RIG_ENDPOINT) != 0)
        die("rig: connect: %s", zmq_strerror(zmq_errno()));
    return socket;
}

void *rig_bind(void)
{
    void *socket = make_socket(ZMQ_ROUTER);

    (void)unlink(RIG_FILE);
    if (zmq_bind(socket, RIG_ENDPOINT) != 0)
        die("rig: bind: %s", zmq_strerror(zmq_errno()));
    return socket;
}

void rig_send(void *socket, const void *data, size_t size, bool more)
{
    if (zmq_send(socket, data, size, more ? ZMQ_SNDMORE : 0) < 0)
        die("rig: send: %s", zmq_strerror(zmq_errno()));
}

void rig_receive(void *socket, void *out, size_t size)
{
    int got = zmq_recv(socket, out, size, 0);

    if (got != (int)size)
        die("rig: a frame of %d bytes, not %zu: %s", got, size, zmq_strerror(zmq_errno()));
}

pid_t rig_fork(void (*serve)(void *ctx), void *ctx)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(ctx);
        _exit(0);
    }
    return pid;
}

void rig_kill(pid_t pid)
{
    if (kill(pid, SIGKILL) != 0 || waitpid(pid, NULL, 0) != pid)
        die("rig: cannot end its process: %s", strerror(errno));
}

unsigned char *rig_share(size_t bytes)
{
    int fd = memfd_create("rig", MFD_CLOEXEC);
    void *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED)
        die("rig: %zu bytes of shared memory: %s", bytes, strerror(errno));
    (void)close(fd); /* the mapping stays, and is inherited */
    return memory;
}

/* ---- server ---- */

static void serve(void *ctx)
{
    struct rig_server *s = ctx;
    const struct rig_ops *ops = ways[s->plan->way];
    struct rig_peer peer;
    uint32_t slot;

    workload_touch(s->plan->workload);
    s->socket = rig_bind();
    for (;;) {
        int size = zmq_recv(s->socket, peer.id, sizeof peer.id, 0);

        if (size < 0)
            die("rig: receive: %s", zmq_strerror(zmq_errno()));
        peer.size = (size_t)size;
        rig_receive(s->socket, &slot, sizeof slot);
        workload_draw(s->plan->workload, &s->random, s->ids);
        ops->answer(s, &peer, slot);
    }
}

/* Inlined by force, as prefetch.h says. */
__attribute__((always_inline)) static inline void fetch(const struct workload *w, uint32_t id)
{
    prefetch_record(workload_record(w, id), w->sizes[id], PREFETCH_RECORD_BYTES);
}

size_t rig_copy(const struct workload *w, const uint32_t *ids, uint32_t from, uint32_t to,
                unsigned char *out)
{
    size_t at = 0;

    for (uint32_t i = from; i < to && i < from + AHEAD; i++)
        fetch(w, ids[i]);
    for (uint32_t i = from; i < to; i++) {
        if (i + AHEAD < to)
            fetch(w, ids[i + AHEAD]);
        memcpy(out + at, workload_record(w, ids[i]), w->sizes[ids[i]]);
        at += w->sizes[ids[i]];
    }
    return at;
}

size_t rig_block_bytes(const struct workload *w)
{
    return ((size_t)w->size_max * WORKLOAD_BATCH + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* ---- client ---- */

static struct run_client *open_client(const void *plan, int index)
{
    const struct rig_server *s = plan;
    struct run_client *c = calloc(1, sizeof *c);

    if (c == NULL)
        die("out of memory for a client");
    c->plan = s->plan;
    c->memory = s->memory;
    c->slot_bytes = s->slot_bytes;
    if (c->plan->way == RIG_INDEX)
        workload_touch(c->plan->workload);
    c->socket = rig_connect();
    for (uint32_t i = 0; i < c->plan->credit; i++) {
        uint32_t slot = (uint32_t)index * c->plan->credit + i;

        rig_send(c->socket, &slot, sizeof slot, false);
    }
    return c;
}

static void step(struct run_client *c, struct run_result *out)
{
    uint32_t slot = 0;
    double bytes = ways[c->plan->way]->take(c, &slot);

    rig_send(c->socket, &slot, sizeof slot, false);
    run_count(out, WORKLOAD_BATCH, bytes);
}

void rig_run(const struct rig_plan *plan, struct run_result *out)
{
    static const struct run_kind kind = {.open = open_client, .step = step};
    struct rig_server server = {.plan = plan, .random = 1};
    struct run run = {.kind = &kind,
                      .plan = &server,
                      .workload = plan->workload,
                      .clients = plan->clients,
                      .seconds = plan->seconds};

    server.slot_count = plan->credit * (uint32_t)plan->clients;
    server.slot_bytes = rig_block_bytes(plan->workload);
    if (ways[plan->way]->prepare != NULL)
        ways[plan->way]->prepare(&server);
    run.server = rig_fork(serve, &server);
    run_clients(&run, out);
    rig_kill(run.server);
    if (server.memory != NULL)
        (void)munmap(server.memory, server.slot_bytes * server.slot_count);
}
