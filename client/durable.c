/* durable.c - waiting until reports are on the daemon's disk; see ohem.h.
 *
 * A daemon that writes nothing to disk has no more to say than its answers: there reports are as
 * safe as they get once they are answered.
 */
#include "client.h"

#include "../proto/error.h"

#include <inttypes.h>

#define SETTLE_MS 1000 /* for ohem_close(), as long as what was sent has to leave */

int ohem_durable(const struct ohem_client *client)
{
    return client->welcome.durable != 0;
}

/* The first report up to that one that could still be lost. (Without a disk durable_seq is 0, and
 * what is answered is not kept.) */
static const struct kept_report *first_unsafe(const struct ohem_client *c, uint64_t seq)
{
    return kept_first_unsafe(&c->kept, c->durable_seq, seq);
}

size_t ohem_unacked(const struct ohem_client *client, size_t *out_bytes)
{
    if (out_bytes != NULL)
        *out_bytes = client->kept.bytes;
    return client->kept.count;
}

static int pump(struct ohem_client *c, int64_t deadline)
{
    int rc = client_pump(c, deadline);

    if (rc == 0)
        client_say_lost(c);
    return rc;
}

/* What the last commit left is worth waiting for: with the first report gone there is room. */
int client_await_room(struct ohem_client *c, uint32_t batch_size, size_t items_bytes,
                      int64_t deadline)
{
    int rc = 0;

    if (deadline < 0)
        deadline = client_deadline_in(c->reconnect_ms);
    while (rc == 0 && !kept_has_room(&c->kept, batch_size, items_bytes)) {
        client_ask_durable(c, TAILQ_FIRST(&c->kept.list)->seq);
        rc = pump(c, deadline);
    }
    if (rc == -OHEM_TIMEDOUT)
        reason_set(&c->why, "%zu reports of %zu bytes are not durable yet (unacked_bytes_max)",
                   c->kept.count, c->kept.bytes);
    return rc;
}

/* The last that may become durable: the daemon never counts what it refused. */
static uint64_t last_kept_seq(const struct ohem_client *c)
{
    return TAILQ_LAST(&c->kept.list, kept_list)->seq;
}

static int await_durable(struct ohem_client *c, int64_t deadline)
{
    uint64_t seq = c->report_seq, forgotten = c->forgotten_count;
    int rc = 0;

    client_flush(c);
    while (rc == 0 && first_unsafe(c, seq) != NULL) {
        client_ask_durable(c, last_kept_seq(c));
        rc = pump(c, deadline);
    }
    if (rc != 0 || c->forgotten_count == forgotten)
        return rc;
    reason_set(&c->why, "the daemon has forgotten %" PRIu64 " reports that were not durable",
               c->forgotten_count - forgotten);
    return -OHEM_TOKEN;
}

int ohem_flush(struct ohem_client *client, int timeout_ms)
{
    int64_t deadline = client_deadline_in(timeout_ms);
    int rc = client_check(client);

    if (rc == 0)
        rc = client_listen(client);
    return rc == 0 ? await_durable(client, deadline) : rc;
}

void client_settle(struct ohem_client *c)
{
    if (client_check(c) == 0 && c->welcome.durable && c->dead == 0 && client_listen(c) == 0)
        (void)await_durable(c, client_deadline_in(SETTLE_MS));
}
