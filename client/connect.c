/* connect.c - opening and closing a session, and what is known of it; see ohem.h. */
#include "client.h"

#include "../proto/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS   10000
#define RECONNECT_TIMEOUT_MS 60000
#define UNACKED_BYTES_MAX    (64u << 20)
#define ENDPOINT_BYTES_MAX   512
/* of struct ohem_options before it had layout, transport and fields */
#define OPTIONS_BYTES_MIN offsetof(struct ohem_options, layout)

static _Thread_local struct reason connect_why;

const char *ohem_version(void)
{
    return OHEMD_VERSION;
}

const char *ohem_strerror(int error)
{
    return error_text(error);
}

const char *ohem_error_name(int error)
{
    return error_name(error);
}

const char *ohem_connect_error(void)
{
    return connect_why.text;
}

const char *ohem_client_error(const struct ohem_client *client)
{
    return client->why.text;
}

/* ---- connecting --------------------------------------------------------------------------------
 */

/* Where to connect: as told, or where the environment says that a daemon of this user would be. */
static int find_endpoint(const char *told, char *out, size_t size, struct reason *why)
{
    const char *runtime = getenv("RUNTIME_DIRECTORY"), *xdg = getenv("XDG_RUNTIME_DIR");
    int length;

    if (told == NULL || told[0] == '\0')
        told = getenv("OHEM_ENDPOINT");
    if (told != NULL && told[0] != '\0')
        length = snprintf(out, size, "%s", told);
    else if (runtime != NULL && runtime[0] != '\0') /* systemd may write a list a:b */
        length = snprintf(out, size, "ipc://%.*s/ohemd.sock", (int)strcspn(runtime, ":"), runtime);
    else if (xdg != NULL && xdg[0] != '\0')
        length = snprintf(out, size, "ipc://%s/ohemd/ohemd.sock", xdg);
    else
        length = snprintf(out, size, "ipc:///run/ohemd/ohemd.sock");
    if (length >= 0 && (size_t)length < size)
        return 0;
    reason_set(why, "endpoint '%.40s...' has %d bytes: at most %zu", out, length, size - 1);
    return -OHEM_INVALID;
}

/* A program that was built with an older header has fewer options: the others have defaults. */
static int take_options(const struct ohem_options *given, struct ohem_options *out,
                        struct reason *why)
{
    static const struct ohem_options defaults = OHEM_OPTIONS_INIT;

    *out = defaults;
    if (given == NULL)
        return 0;
    if (given->struct_bytes < OPTIONS_BYTES_MIN || given->struct_bytes > sizeof *given) {
        reason_set(why, "options of %zu bytes: start from OHEM_OPTIONS_INIT", given->struct_bytes);
        return -OHEM_INVALID;
    }
    memcpy(out, given, given->struct_bytes);
    out->struct_bytes = sizeof *out;
    return 0;
}

static int check_transport_options(const struct ohem_options *o, struct reason *why)
{
    if ((unsigned)o->layout > OHEM_ALIGNED64) {
        reason_set(why, "layout %u: at most %u", (unsigned)o->layout, (unsigned)OHEM_ALIGNED64);
        return -OHEM_INVALID;
    }
    if ((unsigned)o->transport > OHEM_MAP) {
        reason_set(why, "transport %u: at most %u", (unsigned)o->transport, (unsigned)OHEM_MAP);
        return -OHEM_INVALID;
    }
    if (o->transport == OHEM_MAP && o->layout != OHEM_SCATTERED) {
        reason_set(why, "transport map: records stay where they lie, so layout must be "
                        "OHEM_SCATTERED");
        return -OHEM_TRANSPORT;
    }
    return 0;
}

static int check_options(const struct ohem_options *o, struct reason *why)
{
    if (o->job != NULL && (o->job[0] == '\0' || strlen(o->job) > MESSAGE_NAME_BYTES_MAX)) {
        reason_set(why, "job '%.80s': a name has 1 to %u bytes", o->job, MESSAGE_NAME_BYTES_MAX);
        return -OHEM_INVALID;
    }
    if (o->batch_size > MESSAGE_BATCH_SIZE_MAX) {
        reason_set(why, "batch_size %u: at most %u", o->batch_size, MESSAGE_BATCH_SIZE_MAX);
        return -OHEM_INVALID;
    }
    if (o->credit > MESSAGE_CREDIT_MAX) {
        reason_set(why, "credit %u: at most %u", o->credit, MESSAGE_CREDIT_MAX);
        return -OHEM_INVALID;
    }
    if (o->rank > MESSAGE_RANK_MAX) {
        reason_set(why, "rank %u: at most %u", o->rank, MESSAGE_RANK_MAX);
        return -OHEM_INVALID;
    }
    return check_transport_options(o, why);
}

static bool is_ipc(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", 6) == 0;
}

/* What can be taken: all that the layout allows, or what was asked for. */
static uint32_t ways_for(const struct ohem_options *o, const char *endpoint)
{
    uint32_t ways = 1u << WAY_INLINE;

    if (!is_ipc(endpoint) || o->transport == OHEM_INLINE)
        return ways;
    if (o->transport != OHEM_MAP)
        ways |= 1u << WAY_SHM;
    if (o->transport != OHEM_SHM && o->layout == OHEM_SCATTERED)
        ways |= 1u << WAY_MAP;
    return ways;
}

/* That the other side is elsewhere is known before anything is asked. */
static int check_endpoint(const struct ohem_options *o, const char *endpoint, struct reason *why)
{
    if (is_ipc(endpoint) || o->transport == OHEM_AUTO || o->transport == OHEM_INLINE)
        return 0;
    reason_set(why, "transport %s: only over an ipc:// endpoint, not '%s'",
               ohem_transport_name(o->transport), endpoint);
    return -OHEM_TRANSPORT;
}

static int fill_hello(struct message_hello *hello, const struct ohem_options *o,
                      const char *endpoint, struct reason *why)
{
    const char *agent = o->agent != NULL ? o->agent : program_invocation_short_name;

    *hello = (struct message_hello){
        .major = PROTO_MAJOR,
        .minor = PROTO_MINOR,
        .rank = o->rank,
        .batch_size = o->batch_size,
        .credit = o->credit,
        .layout = (uint32_t)o->layout,
        .ways = ways_for(o, endpoint),
    };
    (void)snprintf(hello->job, sizeof hello->job, "%s", o->job != NULL ? o->job : "default");
    (void)snprintf(hello->agent, sizeof hello->agent, "%s", agent);
    for (char *p = hello->agent; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?'; /* the wire takes printable text; a name for logs may be changed */
    if (getrandom(&hello->key, sizeof hello->key, 0) != (ssize_t)sizeof hello->key) {
        reason_set(why, "no random numbers: %s", strerror(errno));
        return -OHEM_SYSTEM;
    }
    return 0;
}

/* Say HELLO and wait for WELCOME. */
static int greet(struct ohem_client *c, const char *endpoint, int timeout_ms, struct reason *why)
{
    int64_t deadline = client_deadline_in(timeout_ms != 0 ? timeout_ms : CONNECT_TIMEOUT_MS);
    int rc = 0;

    c->heard_ms = client_now_ms();
    c->reconnect_ms = -1; /* until then only the timeout counts */
    client_send_hello(c);
    while (rc == 0 && !c->welcomed)
        rc = client_pump(c, deadline);
    if (rc == 0)
        rc = c->dead;
    if (rc == -OHEM_TIMEDOUT || rc == -OHEM_UNREACHABLE) {
        reason_set(why, "no daemon answered at '%s' within %d ms", endpoint,
                   timeout_ms != 0 ? timeout_ms : CONNECT_TIMEOUT_MS);
        return -OHEM_UNREACHABLE;
    }
    if (rc != 0)
        reason_set(why, "%s", c->why.text);
    return rc;
}

/* @param discard  what was sent need not leave: nobody was there */
static void destroy(struct ohem_client *c, bool discard)
{
    struct ohem_batch *b;

    while ((b = TAILQ_FIRST(&c->batches)) != NULL) {
        TAILQ_REMOVE(&c->batches, b, entry);
        b->client = NULL; /* the trainer releases it */
        if (b->state == BATCH_READY || b->state == BATCH_COMING)
            batch_free(b);
    }
    while ((b = TAILQ_FIRST(&c->spare)) != NULL) {
        TAILQ_REMOVE(&c->spare, b, entry);
        batch_free(b);
    }
    attach_leave(c->attachment);
    attach_unref(c->attachment);
    link_close(&c->link, discard);
    kept_deinit(&c->kept);
    free(c);
}

static void leave(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_BYE};

    client_flush(c);
    m.bye.key = c->hello.key;
    if (c->welcomed)
        link_send(&c->link, &m);
}

/* What a record consists of: as the trainer says, else as the daemon does. */
static int find_fields(struct ohem_client *c, const char *told, struct reason *why)
{
    const char *text = told != NULL ? told : c->welcome.fields;
    struct reason bad = {""};

    if (fields_parse(text, c->welcome.record_bytes, &c->fields, &bad) == 0)
        return 0;
    reason_set(why, "fields: %.400s", bad.text);
    return -OHEM_INVALID;
}

static struct ohem_client *new_client(void)
{
    struct ohem_client *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->pid = getpid();
    TAILQ_INIT(&c->batches);
    TAILQ_INIT(&c->spare);
    kept_init(&c->kept, UNACKED_BYTES_MAX);
    return c;
}

static int open_session(struct ohem_client *c, const struct ohem_options *o, const char *endpoint,
                        struct reason *why)
{
    int rc = fill_hello(&c->hello, o, endpoint, why);

    c->wanted = o->transport;
    if (o->unacked_bytes_max > 0)
        c->kept.bytes_max = o->unacked_bytes_max;
    if (rc == 0)
        rc = link_open(&c->link, endpoint, why);
    if (rc == 0)
        rc = greet(c, endpoint, o->connect_timeout_ms, why);
    if (rc == 0)
        rc = find_fields(c, o->fields, why);
    c->reconnect_ms = o->reconnect_timeout_ms != 0 ? o->reconnect_timeout_ms : RECONNECT_TIMEOUT_MS;
    return rc;
}

int ohem_connect(const struct ohem_options *options, struct ohem_client **out_client)
{
    char endpoint[ENDPOINT_BYTES_MAX];
    struct ohem_options o;
    struct ohem_client *c;
    int rc;

    reason_set(&connect_why, "%s", "");
    rc = take_options(options, &o, &connect_why);
    if (rc == 0)
        rc = check_options(&o, &connect_why);
    if (rc == 0)
        rc = find_endpoint(o.endpoint, endpoint, sizeof endpoint, &connect_why);
    if (rc == 0)
        rc = check_endpoint(&o, endpoint, &connect_why);
    if (rc != 0)
        return rc;
    c = new_client();
    if (c == NULL) {
        reason_set(&connect_why, "out of memory");
        return -OHEM_NOMEM;
    }
    rc = open_session(c, &o, endpoint, &connect_why);
    if (rc != 0) {
        leave(c);
        destroy(c, !c->welcomed);
        return rc;
    }
    *out_client = c;
    return 0;
}

void ohem_close(struct ohem_client *client)
{
    if (client == NULL || client->pid != getpid())
        return; /* in a forked child the socket is the parent's: leave it alone */
    client_settle(client);
    leave(client);
    destroy(client, false);
}

/* ---- what is known of it ------------------------------------------------------------------------
 */

uint64_t ohem_instance_count(const struct ohem_client *client)
{
    return client->welcome.instance_count;
}

uint64_t ohem_record_bytes(const struct ohem_client *client)
{
    return client->welcome.record_bytes;
}

uint32_t ohem_batch_size(const struct ohem_client *client)
{
    return client->welcome.batch_size;
}

uint32_t ohem_credit(const struct ohem_client *client)
{
    return client->welcome.credit;
}

uint32_t ohem_round(const struct ohem_client *client)
{
    return client->welcome.round;
}

uint64_t ohem_session(const struct ohem_client *client)
{
    return client->welcome.session;
}

enum ohem_transport ohem_transport(const struct ohem_client *client)
{
    return (enum ohem_transport)(client->way + OHEM_INLINE);
}

const char *ohem_transport_name(enum ohem_transport transport)
{
    static const char *const names[] = {
        [OHEM_AUTO] = "auto", [OHEM_INLINE] = "inline", [OHEM_SHM] = "shm", [OHEM_MAP] = "map"};

    return (unsigned)transport <= OHEM_MAP ? names[transport] : "?";
}

const char *ohem_transport_reason(const struct ohem_client *client)
{
    enum message_way best = client->hello.layout == RECORDS_SCATTERED ? WAY_MAP : WAY_SHM;

    if (client->way == best)
        return "";
    if (client->way_why.text[0] != '\0')
        return client->way_why.text;
    if (client->hello.ways == 1u << WAY_INLINE && client->wanted != OHEM_INLINE)
        return "the endpoint is not an ipc:// one: nothing can be mapped";
    if ((client->hello.ways & 1u << best) == 0)
        return "it was asked for";
    return "the daemon offers no better one (`share` of the data set, shm_bytes_max, or an LMDB "
           "that it cannot map)";
}

size_t ohem_field_count(const struct ohem_client *client)
{
    return client->fields.count;
}

/* What ohem.h promises of a field is what fields.h has. */
_Static_assert(sizeof(struct ohem_field) == sizeof(struct field) &&
                   offsetof(struct ohem_field, type) == offsetof(struct field, type) &&
                   offsetof(struct ohem_field, item_bytes) == offsetof(struct field, item_bytes) &&
                   offsetof(struct ohem_field, shape) == offsetof(struct field, shape) &&
                   offsetof(struct ohem_field, offset) == offsetof(struct field, offset) &&
                   offsetof(struct ohem_field, bytes) == offsetof(struct field, bytes),
               "struct ohem_field is struct field");

const struct ohem_field *ohem_field_at(const struct ohem_client *client, size_t i)
{
    return i < client->fields.count ? (const void *)&client->fields.list[i] : NULL;
}

const struct ohem_field *ohem_field_find(const struct ohem_client *client, const char *name)
{
    return (const void *)fields_find(&client->fields, name);
}
