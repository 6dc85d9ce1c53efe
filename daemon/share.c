/* share.c - what is offered to whom; see share.h. The connections are in share_socket.c. */
#include "share_inner.h"

#include "../proto/error.h"
#include "router.h"

#include <assert.h>
#include <errno.h>
#include <sodium/randombytes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct session_key no_cookie;

/* ---- offers ------------------------------------------------------------------------------------
 */

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

/* For a batch of K of the largest records, or what the operator allows. */
static size_t slot_bytes_for(const struct share *sh, const struct session *s)
{
    uint64_t bytes = job_batch_bytes_max(s->job, s->batch_size, (enum message_records)s->layout);

    if (bytes > sh->config->slot_bytes_max)
        bytes = sh->config->slot_bytes_max;
    return round_up(bytes > 0 ? bytes : 1, (size_t)sysconf(_SC_PAGESIZE));
}

static bool can_map(const struct share *sh, uint32_t number)
{
    struct dataset_file file;
    struct reason ignored;

    return dataset_file(sh->datasets[number], &file, &ignored) == 0;
}

/* The best way that the client, the layout and the operator allow. */
static enum message_way choose_way(const struct share *sh, const struct session *s)
{
    uint32_t number = s->job->settings.dataset.number;
    enum config_share allowed = sh->config->datasets[number].share;
    uint64_t ring_bytes = s->credit * slot_bytes_for(sh, s);

    if (sh->file.fd < 0 || allowed == CONFIG_SHARE_NONE)
        return WAY_INLINE;
    if ((s->ways & 1u << WAY_MAP) != 0 && s->layout == RECORDS_SCATTERED &&
        allowed == CONFIG_SHARE_MAP && can_map(sh, number))
        return WAY_MAP;
    if ((s->ways & 1u << WAY_SHM) != 0 &&
        sh->counts.ring_bytes + ring_bytes <= sh->config->shm_bytes_max)
        return WAY_SHM;
    return WAY_INLINE;
}

/* NULL: nothing to offer, or no memory for it. */
static struct grant *make_grant(struct share *sh, const struct session *s, uint32_t uid)
{
    enum message_way way = uid == ROUTER_NO_UID ? WAY_INLINE : choose_way(sh, s);
    struct grant *g;

    if (way == WAY_INLINE || map_reserve(&sh->by_session, sh->by_session.count + 1) != 0)
        return NULL;
    g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->session = s->number;
    g->way = way;
    g->dataset = s->job->settings.dataset.number;
    g->uid = uid;
    g->slot_count = s->credit;
    g->slot_bytes = slot_bytes_for(sh, s);
    randombytes_buf(&g->cookie, sizeof g->cookie);
    TAILQ_INSERT_TAIL(&sh->grants, g, entry);
    map_put(&sh->by_session, g->session, g);
    return g;
}

static bool is_open(const struct grant *g)
{
    return g->connection != NULL;
}

void share_offer(struct share *sh, const struct session *s, uint32_t uid,
                 struct message_welcome *out)
{
    struct grant *g = map_get(&sh->by_session, s->number);

    if (g == NULL)
        g = make_grant(sh, s, uid);
    out->way = WAY_INLINE;
    if (g == NULL)
        return;
    if (is_open(g)) { /* fetched already; its READY is on the way, or got lost */
        out->way = g->way;
    } else if (!session_key_equal(&g->cookie, &no_cookie)) {
        out->way = g->way;
        out->cookie = g->cookie;
        (void)snprintf(out->share, sizeof out->share, "%.*s", (int)MESSAGE_SHARE_BYTES_MAX,
                       sh->config->share_socket);
    }
}

enum message_way share_way(const struct share *sh, const struct session *s,
                           struct share_ring **out_ring)
{
    const struct grant *g = s->way == WAY_INLINE ? NULL : map_get(&sh->by_session, s->number);

    if (g == NULL || !is_open(g))
        return WAY_INLINE;
    *out_ring = g->ring;
    return g->way;
}

void share_empty_grant(struct share *sh, struct grant *g)
{
    if (g->ring != NULL)
        sh->counts.ring_bytes -= g->slot_count * g->slot_bytes;
    share_ring_unref(g->ring);
    g->ring = NULL;
    g->connection = NULL;
}

struct grant *share_find_grant(const struct share *sh, const unsigned char *cookie)
{
    struct session_key shown;
    struct grant *g;

    memcpy(shown.bytes, cookie, sizeof shown.bytes);
    if (session_key_equal(&shown, &no_cookie))
        return NULL;
    TAILQ_FOREACH (g, &sh->grants, entry)
        if (session_key_equal(&g->cookie, &shown))
            return g;
    return NULL;
}

static void linger(struct share *sh, struct grant *g, uint64_t serial)
{
    struct connection *c = g->connection;

    TAILQ_REMOVE(&sh->named, c, entry);
    TAILQ_INSERT_TAIL(&sh->lingering, c, entry);
    sh->lingering_count++;
    c->lingers = true;
    c->grant = NULL;
    c->dataset = g->dataset;
    c->serial = serial;
}

bool share_lingers(const struct share *sh, uint32_t dataset, uint64_t serial)
{
    const struct connection *c;

    TAILQ_FOREACH (c, &sh->lingering, entry)
        if (c->dataset == dataset && c->serial >= serial)
            return true;
    return false;
}

void share_forget(struct share *sh, uint64_t session, uint64_t serial)
{
    struct grant *g = map_get(&sh->by_session, session);

    if (g == NULL)
        return;
    if (g->connection != NULL && g->way == WAY_MAP)
        linger(sh, g, serial);
    else if (g->connection != NULL)
        share_end_connection(g->connection);
    map_remove(&sh->by_session, session);
    TAILQ_REMOVE(&sh->grants, g, entry);
    free(g);
}

/* ---- making and ending -------------------------------------------------------------------------
 */

static int listen_for_clients(struct share *sh, struct reason *why)
{
    int rc = unix_socket_open(sh->config->share_socket, sh->config->socket_mode, &sh->file, why);

    if (rc == 0)
        rc = life_new(true, &sh->guarded);
    if (rc == 0)
        rc = life_new(false, &sh->unguarded);
    if (rc == 0 && uv_poll_init(sh->loop, &sh->listening, sh->file.fd) == 0)
        return 0;
    if (sh->guarded != NULL || sh->file.fd >= 0)
        reason_set(why, "cannot share memory at '%s': %s", sh->config->share_socket,
                   strerror(errno));
    return rc != 0 ? rc : -OHEM_SYSTEM;
}

int share_new(uv_loop_t *loop, const struct config *config, struct dataset *const *datasets,
              struct share **out, struct reason *why)
{
    struct share *sh = calloc(1, sizeof *sh);
    int rc = 0;

    if (sh == NULL || map_init(&sh->by_session, 0) != 0) {
        reason_set(why, "%s", error_text(OHEM_NOMEM));
        free(sh);
        return -OHEM_NOMEM;
    }
    sh->loop = loop;
    sh->config = config;
    sh->datasets = datasets;
    sh->file.fd = -1;
    TAILQ_INIT(&sh->grants);
    TAILQ_INIT(&sh->pending);
    TAILQ_INIT(&sh->named);
    TAILQ_INIT(&sh->lingering);
    if (config->share_socket[0] != '\0' && strncmp(config->listen, "ipc://", 6) == 0)
        rc = listen_for_clients(sh, why);
    if (rc != 0) {
        share_free(sh);
        return rc;
    }
    (void)uv_timer_init(loop, &sh->silent);
    sh->listening.data = sh->silent.data = sh;
    if (sh->file.fd >= 0)
        share_socket_start(sh);
    *out = sh;
    return 0;
}

const struct share_counts *share_counts(const struct share *sh)
{
    return &sh->counts;
}

void share_close(struct share *sh)
{
    struct grant *g;
    struct connection *c;

    if (sh == NULL)
        return;
    while ((g = TAILQ_FIRST(&sh->grants)) != NULL)
        share_forget(sh, g->session, 0);
    while ((c = TAILQ_FIRST(&sh->lingering)) != NULL)
        share_end_connection(c);
    while ((c = TAILQ_FIRST(&sh->pending)) != NULL)
        share_end_connection(c);
    uv_close((uv_handle_t *)&sh->silent, NULL);
    if (sh->file.fd >= 0)
        uv_close((uv_handle_t *)&sh->listening, NULL);
}

void share_free(struct share *sh)
{
    if (sh == NULL)
        return;
    assert(TAILQ_EMPTY(&sh->grants) && TAILQ_EMPTY(&sh->pending) && TAILQ_EMPTY(&sh->named) &&
           TAILQ_EMPTY(&sh->lingering));
    if (sh->file.fd >= 0) {
        unix_socket_unlink(&sh->file);
        (void)close(sh->file.fd);
    }
    life_free(sh->guarded);
    life_free(sh->unguarded);
    map_deinit(&sh->by_session);
    free(sh);
}
