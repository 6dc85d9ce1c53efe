/* share_socket.c - the connections of the share socket: a cookie in, descriptors out; see share.h.
 */
#include "share_inner.h"

#include "../proto/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REST_MS 1000 /* without taking connections, when there is no descriptor for one */

static const struct session_key no_cookie;

static void closed_cb(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    (void)close(c->fd);
    free(c);
}

void share_end_connection(struct connection *c)
{
    struct share *sh = c->share;

    if (c->grant != NULL) {
        TAILQ_REMOVE(&sh->named, c, entry);
        share_empty_grant(sh, c->grant);
    } else if (c->lingers) {
        TAILQ_REMOVE(&sh->lingering, c, entry);
        sh->lingering_count--;
    } else {
        TAILQ_REMOVE(&sh->pending, c, entry);
        sh->pending_count--;
    }
    uv_close((uv_handle_t *)&c->poll, closed_cb);
}

/* ---- handing out -------------------------------------------------------------------------------
 */

static int check_user(int fd, uint32_t uid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return -OHEM_SYSTEM;
    return peer.uid == uid ? 0 : -OHEM_INVALID;
}

static int prepare_ring(struct share *sh, struct grant *g, struct share_answer *answer, int *fds)
{
    uint64_t bytes = g->slot_count * g->slot_bytes;
    int rc;

    if (sh->counts.ring_bytes + bytes > sh->config->shm_bytes_max)
        return -OHEM_LIMIT;
    rc = share_ring_new(sh->loop, g->slot_count, g->slot_bytes, &g->ring);
    if (rc != 0)
        return rc;
    sh->counts.ring_bytes += bytes;
    answer->bytes = bytes;
    answer->slot_bytes = g->slot_bytes;
    answer->slot_count = g->slot_count;
    fds[0] = share_ring_descriptor(g->ring);
    return 0;
}

static int prepare_file(struct share *sh, const struct grant *g, struct share_answer *answer,
                        int *fds)
{
    struct dataset_file file;
    struct reason ignored;
    int rc = sh->lingering_count < SHARE_LINGERING_MAX
                 ? dataset_file(sh->datasets[g->dataset], &file, &ignored)
                 : -OHEM_LIMIT;

    if (rc != 0)
        return rc;
    answer->bytes = file.bytes;
    answer->watch[0] = file.watch[0];
    answer->watch[1] = file.watch[1];
    answer->watch_max = file.watch_max;
    fds[0] = file.fd;
    fds[1] = life_descriptor(file.guarded ? sh->guarded : sh->unguarded);
    return 0;
}

/* @return how many descriptors, or an error */
static int prepare(struct share *sh, struct grant *g, struct share_answer *answer, int *fds)
{
    int rc;

    answer->way = g->way;
    if (g->way == WAY_SHM) {
        rc = prepare_ring(sh, g, answer, fds);
        return rc == 0 ? 1 : rc;
    }
    rc = prepare_file(sh, g, answer, fds);
    return rc == 0 ? 2 : rc;
}

/* The socket's buffer is empty: it takes all of it, or the peer is gone. */
static bool send_answer(int fd, const struct share_answer *answer, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(SHARE_DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec io = {.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof *answer};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    struct cmsghdr *c;

    if (count > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *answer;
}

static void name_connection(struct connection *c, struct grant *g)
{
    struct share *sh = c->share;

    TAILQ_REMOVE(&sh->pending, c, entry);
    sh->pending_count--;
    TAILQ_INSERT_TAIL(&sh->named, c, entry);
    c->grant = g;
    g->connection = c;
    g->cookie = no_cookie;
}

/* A cookie was shown. */
static void answer(struct connection *c)
{
    struct share *sh = c->share;
    struct share_answer a = {.code = 0};
    struct grant *g = share_find_grant(sh, c->cookie);
    int fds[SHARE_DESCRIPTORS_MAX];
    int count = g == NULL ? -OHEM_NO_SESSION : check_user(c->fd, g->uid);
    bool sent;

    if (count == 0) {
        name_connection(c, g);
        count = prepare(sh, g, &a, fds);
    }
    if (count < 0) {
        a = (struct share_answer){.code = (uint32_t)-count};
        log_info("share", "nothing handed out error=%s", error_name(count));
        sh->counts.refused++;
    } else {
        sh->counts.fetched++;
    }
    sent = send_answer(c->fd, &a, fds, count > 0 ? (size_t)count : 0);
    if (g != NULL && g->ring != NULL)
        share_ring_close_descriptor(g->ring);
    if (!sent || count < 0)
        share_end_connection(c);
}

/* More of the cookie, its end, or the peer's. Behind the cookie nothing should come: whatever does
 * ends the connection. */
static void readable_cb(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    bool named;
    ssize_t got;

    (void)status; /* what is wrong with it, recv() tells */
    (void)events;
    named = c->grant != NULL || c->lingers;
    got = recv(c->fd, c->cookie + c->got, named ? 1 : SHARE_COOKIE_BYTES - c->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || named) {
        share_end_connection(c);
        return;
    }
    c->got += (size_t)got;
    if (c->got == SHARE_COOKIE_BYTES)
        answer(c);
}

static void listening_cb(uv_poll_t *poll, int status, int events);

static void silent_cb(uv_timer_t *timer)
{
    struct share *sh = timer->data;
    struct connection *c;

    while ((c = TAILQ_FIRST(&sh->pending)) != NULL &&
           c->since_ms + SHARE_SILENT_MS <= uv_now(sh->loop)) {
        sh->counts.dropped++;
        share_end_connection(c);
    }
    if (c != NULL)
        (void)uv_timer_start(timer, silent_cb, c->since_ms + SHARE_SILENT_MS - uv_now(sh->loop), 0);
    (void)uv_poll_start(&sh->listening, UV_READABLE, listening_cb); /* it may have been resting */
}

static void take_connection(struct share *sh, int fd)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c == NULL || uv_poll_init(sh->loop, &c->poll, fd) != 0) {
        (void)close(fd);
        free(c);
        return;
    }
    c->poll.data = c;
    c->share = sh;
    c->fd = fd;
    c->since_ms = uv_now(sh->loop);
    if (sh->pending_count == SHARE_PENDING_MAX) {
        sh->counts.dropped++;
        share_end_connection(TAILQ_FIRST(&sh->pending));
    }
    TAILQ_INSERT_TAIL(&sh->pending, c, entry);
    sh->pending_count++;
    (void)uv_poll_start(&c->poll, UV_READABLE, readable_cb);
    if (!uv_is_active((uv_handle_t *)&sh->silent))
        (void)uv_timer_start(&sh->silent, silent_cb, SHARE_SILENT_MS, 0);
}

/* No descriptor is left: who waits at the socket would wake the loop again and again. Rest. */
static void rest(struct share *sh)
{
    log_warning("share", "no connection can be taken for a while, trainers go inline error=\"%s\"",
                strerror(errno));
    (void)uv_poll_stop(&sh->listening);
    (void)uv_timer_start(&sh->silent, silent_cb, REST_MS, 0);
}

/* One a turn: a flood of them must not keep the loop from the trainers. */
static void listening_cb(uv_poll_t *poll, int status, int events)
{
    struct share *sh = poll->data;
    int fd;

    (void)status;
    (void)events;
    fd = accept4(sh->file.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        take_connection(sh, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        rest(sh);
}

void share_socket_start(struct share *sh)
{
    (void)uv_poll_start(&sh->listening, UV_READABLE, listening_cb);
}
