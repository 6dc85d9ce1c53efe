/* client.c - the trainer's side of the conversation: one DEALER, no thread of its own.
 *
 * All receiving happens in pump(), which takes one message and files it: a BATCH with the ready
 * ones, an answer with its batch. The calls say what they wait for and pump until it is there or
 * their deadline has passed. When the daemon is silent it is asked by PING; when it says that it
 * does not know the session (the connection or the daemon is a new one), HELLO goes out again with
 * the tokens of all batches at hand, and what is unanswered is sent again after WELCOME.
 */
#include "batch.h"
#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000
#define PING_MS            1000 /* of silence while a call waits, and then again */
#define SILENT_MS          2000 /* without an answer, from then on the daemon may be gone */
#define ENDPOINT_BYTES_MAX 512

struct ohem_client {
    pid_t pid; /* of the process that may use it */
    struct link link;
    struct message_hello hello; /* as first sent */
    struct message_welcome welcome;
    uint32_t held_capacity;
    struct token *held;        /* scratch for HELLO */
    struct batch_list batches; /* ready and held, in the order received; orphans too */
    struct batch_list spare;   /* memory to use again */
    uint64_t report_seq;
    uint64_t ping_nonce, pong_nonce; /* of the last PING sent, and the last PONG heard */
    int64_t heard_ms, asked_ms;      /* when the daemon was last heard; when it was last asked */
    int64_t unanswered_ms;           /* when it was first asked since it was heard, 0: was not */
    bool welcomed;                   /* a session is open as far as is known */
    bool came_back;                  /* WELCOME arrived since a report was last sent */
    bool draining;
    int dead; /* an error that ends the session, 0: none */
    struct reason why;
};

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

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t deadline_in(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static void note_asked(struct ohem_client *c)
{
    c->asked_ms = now_ms();
    if (c->unanswered_ms == 0)
        c->unanswered_ms = c->asked_ms;
}

static void send_hello(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_HELLO, .hello = c->hello};
    struct ohem_batch *b;
    size_t count = 0;

    TAILQ_FOREACH (b, &c->batches, entry)
        if (b->state != BATCH_ORPHAN && count < c->held_capacity)
            c->held[count++] = b->token;
    m.hello.held = (struct vector){c->held, count};
    c->welcomed = false;
    note_asked(c);
    link_send(&c->link, &m);
}

static void send_ping(struct ohem_client *c)
{
    struct message m = {.type = MESSAGE_PING};

    note_asked(c);
    m.ping.key = c->hello.key;
    m.ping.nonce = ++c->ping_nonce;
    link_send(&c->link, &m);
}

static void send_loss(struct ohem_client *c, const struct ohem_batch *b)
{
    struct message m = {.type = MESSAGE_LOSS};

    m.loss.key = c->hello.key;
    m.loss.token = b->token;
    m.loss.seq = b->seq;
    m.loss.losses = (struct vector){b->losses, b->count};
    link_send(&c->link, &m);
}

static void send_credit(struct ohem_client *c, struct token token)
{
    struct message m = {.type = MESSAGE_CREDIT};

    m.credit.key = c->hello.key;
    m.credit.token = token;
    link_send(&c->link, &m);
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

static struct ohem_batch *find_batch(struct ohem_client *c, struct token token)
{
    struct ohem_batch *b;

    TAILQ_FOREACH (b, &c->batches, entry)
        if (b->state != BATCH_ORPHAN && token_equal(b->token, token))
            return b;
    return NULL;
}

static uint32_t count_batches(const struct ohem_client *c, enum batch_state state)
{
    const struct ohem_batch *b;
    uint32_t count = 0;

    TAILQ_FOREACH (b, &c->batches, entry)
        count += b->state == state;
    return count;
}

/* Memory that is used again, or freed when it is of another size. */
static void recycle(struct ohem_client *c, struct ohem_batch *b)
{
    TAILQ_REMOVE(&c->batches, b, entry);
    (void)zmq_msg_close(&b->payload);
    (void)zmq_msg_init(&b->payload);
    if (b->capacity == c->welcome.batch_size)
        TAILQ_INSERT_HEAD(&c->spare, b, entry);
    else
        batch_free(b);
}

static int take_batch(struct ohem_client *c, const struct message_batch *m)
{
    struct ohem_batch *b = TAILQ_FIRST(&c->spare);

    if (find_batch(c, m->token) != NULL)
        return 0; /* sent twice, around a reconnect */
    if (m->count > c->welcome.batch_size) {
        reason_set(&c->why, "a batch of %u instances came, %u were agreed on", m->count,
                   c->welcome.batch_size);
        return -OHEM_MALFORMED;
    }
    if (count_batches(c, BATCH_READY) + count_batches(c, BATCH_HELD) >= c->welcome.credit) {
        reason_set(&c->why, "a batch came beyond the credit of %u", c->welcome.credit);
        return -OHEM_MALFORMED;
    }
    if (b != NULL)
        TAILQ_REMOVE(&c->spare, b, entry);
    else
        b = batch_new(c, c->welcome.batch_size);
    if (b == NULL) {
        reason_set(&c->why, "no memory for a batch of %u", c->welcome.batch_size);
        return -OHEM_NOMEM;
    }
    batch_fill(b, m, link_payload(&c->link));
    TAILQ_INSERT_TAIL(&c->batches, b, entry);
    return 0;
}

static int take_selection(struct ohem_client *c, const struct message_selection *m)
{
    struct ohem_batch *b = find_batch(c, m->token);

    if (b == NULL || b->seq != m->seq || b->selection.arrived)
        return 0; /* of a batch that was given back meanwhile, or the answer to a repeat */
    if (m->indices.count > b->count) {
        reason_set(&c->why, "%zu instances were selected out of %u", m->indices.count, b->count);
        return -OHEM_MALFORMED;
    }
    batch_answer(b, m);
    return 0;
}

/* The daemon has made a new session: what was handed out under the old one is nobody's. */
static void orphan_batches(struct ohem_client *c)
{
    struct ohem_batch *b, *next;

    for (b = TAILQ_FIRST(&c->batches); b != NULL; b = next) {
        next = TAILQ_NEXT(b, entry);
        if (b->state == BATCH_READY)
            recycle(c, b);
        else
            b->state = BATCH_ORPHAN;
    }
}

/* A trainer has arrays by id and sizes by record: they must not change under it. */
static bool is_same_dataset(const struct message_welcome *a, const struct message_welcome *b)
{
    return a->generation == b->generation && a->instance_count == b->instance_count &&
           a->record_bytes == b->record_bytes;
}

static void take_welcome(struct ohem_client *c, const struct message_welcome *m)
{
    bool first = c->welcome.session == 0;

    if (!first && !is_same_dataset(m, &c->welcome)) {
        c->dead = -OHEM_DATASET;
        reason_set(&c->why,
                   "the daemon came back with another data set: %" PRIu64 " instances of %" PRIu64
                   " bytes, generation %016" PRIx64 "; before: %" PRIu64 " of %" PRIu64
                   ", %016" PRIx64,
                   m->instance_count, m->record_bytes, m->generation, c->welcome.instance_count,
                   c->welcome.record_bytes, c->welcome.generation);
        return;
    }
    if (!first && (m->boot != c->welcome.boot || m->session != c->welcome.session))
        orphan_batches(c);
    c->welcome = *m;
    c->welcomed = c->came_back = true;
    /* the session keeps what it was given when nothing was asked for */
    c->hello.batch_size = m->batch_size;
    c->hello.credit = m->credit;
}

static void take_error(struct ohem_client *c, const struct message_error *m)
{
    struct ohem_batch *b = find_batch(c, m->token);

    if (m->code == OHEM_NO_SESSION) {
        if (c->welcomed)
            send_hello(c);
    } else if (m->about == MESSAGE_LOSS && b != NULL) {
        b->refused = -(int)m->code;
        memcpy(b->why, m->text, sizeof b->why);
    } else if (m->about == MESSAGE_HELLO || m->about == 0) {
        c->dead = -(int)m->code;
        reason_set(&c->why, "%s", m->text);
    }
    /* a CREDIT that came too late to matter needs no answer */
}

static int file_message(struct ohem_client *c, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_WELCOME:
        take_welcome(c, &m->welcome);
        return 0;
    case MESSAGE_BATCH:
        return take_batch(c, &m->batch);
    case MESSAGE_SELECTION:
        return take_selection(c, &m->selection);
    case MESSAGE_ERROR:
        take_error(c, &m->error);
        return 0;
    case MESSAGE_BYE:
        c->draining = true;
        return 0;
    case MESSAGE_PONG:
        if (m->pong.nonce > c->pong_nonce)
            c->pong_nonce = m->pong.nonce; /* 0: the daemon asks by itself whether we are here */
        return 0;
    default:
        return 0; /* what only a client sends means nothing here */
    }
}

/* Receive one message, if one is there, and file it. @return 1, 0 when none is there, or an error.
 */
static int receive_one(struct ohem_client *c)
{
    struct message m;
    int rc = link_receive(&c->link, &m, &c->why);

    if (rc == 0)
        return 0;
    c->heard_ms = now_ms();
    c->unanswered_ms = 0;
    if (rc > 0)
        rc = file_message(c, &m);
    return rc == 0 ? 1 : rc;
}

/* How long to wait for the socket: until the deadline, or until the daemon has to be asked again.
 */
static long wait_ms(const struct ohem_client *c, int64_t deadline)
{
    int64_t quiet_since = c->heard_ms > c->asked_ms ? c->heard_ms : c->asked_ms;
    int64_t until = quiet_since + PING_MS, now = now_ms();

    if (deadline < until)
        until = deadline;
    return until > now ? (long)(until - now) : 0;
}

static void ask_if_silent(struct ohem_client *c)
{
    int64_t now = now_ms();

    if (now - c->heard_ms < PING_MS || now - c->asked_ms < PING_MS)
        return;
    if (c->welcomed)
        send_ping(c);
    else
        send_hello(c);
}

/* A trainer may be busy for long and then only look: silence that nobody asked into says nothing.
 */
static int timed_out(struct ohem_client *c)
{
    int64_t now = now_ms(), silent = now - c->heard_ms;

    if (c->welcomed && (c->unanswered_ms == 0 || now - c->unanswered_ms < SILENT_MS)) {
        reason_set(&c->why, "nothing came in time; the daemon was heard %" PRId64 " ms ago",
                   silent);
        return -OHEM_TIMEDOUT;
    }
    reason_set(&c->why, "nothing heard of the daemon for %" PRId64 " ms", silent);
    return -OHEM_UNREACHABLE;
}

/* Wait for one message and file it. @return 0, the error that ended the session, or a time-out. */
static int pump(struct ohem_client *c, int64_t deadline)
{
    int rc;

    for (;;) {
        if (c->dead != 0)
            return c->dead;
        rc = receive_one(c);
        if (rc != 0)
            return rc > 0 ? c->dead : rc;
        ask_if_silent(c);
        if (now_ms() >= deadline)
            return timed_out(c);
        link_wait(&c->link, wait_ms(c, deadline));
    }
}

/* Before each call: is this client usable here? */
static int check(struct ohem_client *c)
{
    if (c->pid != getpid()) {
        reason_set(&c->why, "the client was opened by process %d; open one in each process",
                   (int)c->pid);
        return -OHEM_FORKED;
    }
    return 0;
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

static int check_options(const struct ohem_options *o, struct reason *why)
{
    if (o->struct_bytes != sizeof *o) {
        reason_set(why, "options of %zu bytes: start from OHEM_OPTIONS_INIT", o->struct_bytes);
        return -OHEM_INVALID;
    }
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
    return 0;
}

static int fill_hello(struct message_hello *hello, const struct ohem_options *o, struct reason *why)
{
    const char *agent = o->agent != NULL ? o->agent : program_invocation_short_name;

    *hello = (struct message_hello){
        .major = PROTO_MAJOR,
        .minor = PROTO_MINOR,
        .rank = o->rank,
        .batch_size = o->batch_size,
        .credit = o->credit,
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
    int64_t deadline = deadline_in(timeout_ms != 0 ? timeout_ms : CONNECT_TIMEOUT_MS);
    int rc = 0;

    c->heard_ms = now_ms();
    send_hello(c);
    while (rc == 0 && !c->welcomed)
        rc = pump(c, deadline);
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
        if (b->state == BATCH_READY)
            batch_free(b);
    }
    while ((b = TAILQ_FIRST(&c->spare)) != NULL) {
        TAILQ_REMOVE(&c->spare, b, entry);
        batch_free(b);
    }
    link_close(&c->link, discard);
    free(c->held);
    free(c);
}

int ohem_connect(const struct ohem_options *options, struct ohem_client **out_client)
{
    static const struct ohem_options defaults = OHEM_OPTIONS_INIT;
    const struct ohem_options *o = options != NULL ? options : &defaults;
    char endpoint[ENDPOINT_BYTES_MAX];
    struct ohem_client *c;
    int rc;

    reason_set(&connect_why, "%s", "");
    rc = check_options(o, &connect_why);
    if (rc == 0)
        rc = find_endpoint(o->endpoint, endpoint, sizeof endpoint, &connect_why);
    if (rc != 0)
        return rc;
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        reason_set(&connect_why, "out of memory");
        return -OHEM_NOMEM;
    }
    c->pid = getpid();
    TAILQ_INIT(&c->batches);
    TAILQ_INIT(&c->spare);
    c->held_capacity = MESSAGE_CREDIT_MAX;
    c->held = malloc(c->held_capacity * sizeof *c->held);
    rc = c->held != NULL ? fill_hello(&c->hello, o, &connect_why) : -OHEM_NOMEM;
    if (rc == 0)
        rc = link_open(&c->link, endpoint, &connect_why);
    if (rc == 0)
        rc = greet(c, endpoint, o->connect_timeout_ms, &connect_why);
    if (rc != 0) {
        destroy(c, true);
        return rc;
    }
    *out_client = c;
    return 0;
}

void ohem_close(struct ohem_client *client)
{
    struct message m = {.type = MESSAGE_BYE};

    if (client == NULL || client->pid != getpid())
        return; /* in a forked child the socket is the parent's: leave it alone */
    m.bye.key = client->hello.key;
    if (client->welcomed)
        link_send(&client->link, &m);
    destroy(client, false);
}

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

uint64_t ohem_session(const struct ohem_client *client)
{
    return client->welcome.session;
}

/* ---- the trainer's loop ------------------------------------------------------------------------
 */

static struct ohem_batch *first_ready(struct ohem_client *c)
{
    struct ohem_batch *b;

    TAILQ_FOREACH (b, &c->batches, entry)
        if (b->state == BATCH_READY)
            return b;
    return NULL;
}

/* File what has arrived, without waiting. */
static int listen_once(struct ohem_client *c)
{
    int rc;

    do
        rc = receive_one(c);
    while (rc > 0);
    return rc;
}

/* Why no batch can come, if so. */
static int check_next(struct ohem_client *c)
{
    if (c->draining) {
        reason_set(&c->why, "the daemon is going down; report what you hold and close");
        return -OHEM_DRAINING;
    }
    if (count_batches(c, BATCH_HELD) < c->welcome.credit)
        return 0;
    reason_set(&c->why, "all %u batches (credit) are held; release one first", c->welcome.credit);
    return -OHEM_LIMIT;
}

int ohem_next(struct ohem_client *client, int timeout_ms, struct ohem_batch **out_batch)
{
    int64_t deadline = deadline_in(timeout_ms);
    struct ohem_batch *b = NULL;
    int rc = check(client);

    if (rc == 0)
        rc = listen_once(client);
    while (rc == 0) {
        rc = check_next(client);
        if (rc != 0)
            break;
        b = first_ready(client);
        if (b != NULL) {
            b->state = BATCH_HELD;
            *out_batch = b;
            return 0;
        }
        rc = pump(client, deadline);
    }
    return rc;
}

static int check_report(struct ohem_batch *b, const float *losses, size_t count)
{
    struct ohem_client *c = b->client;

    if (c == NULL)
        return -OHEM_INVALID;
    if (check(c) != 0)
        return -OHEM_FORKED;
    if (b->state == BATCH_ORPHAN) {
        reason_set(&c->why, "the daemon has forgotten the session that this batch was handed to");
        return -OHEM_TOKEN;
    }
    if (count != b->count) {
        reason_set(&c->why, "%zu losses for a batch of %u instances", count, b->count);
        return -OHEM_COUNT;
    }
    if (b->seq != 0 && memcmp(b->losses, losses, count * sizeof *losses) != 0) {
        reason_set(&c->why, "the batch of step %" PRIu64 " was reported before with other losses",
                   b->token.step);
        return -OHEM_CONFLICT;
    }
    return 0;
}

/* Is an answer to this report lost? So it is when the connection is a new one, and when a PING that
 * was sent after the report is answered before it. */
static bool is_report_lost(struct ohem_client *c, uint64_t *ping_nonce)
{
    bool lost = c->came_back || c->pong_nonce > *ping_nonce;

    c->came_back = false;
    if (lost)
        *ping_nonce = c->ping_nonce;
    return lost;
}

/* Wait for the answer; send the report again when it got lost. */
static int await_selection(struct ohem_client *c, struct ohem_batch *b, int64_t deadline)
{
    uint64_t ping_nonce = c->ping_nonce;
    int rc = 0;

    while (rc == 0 && !b->selection.arrived && b->refused == 0) {
        rc = pump(c, deadline);
        if (b->state == BATCH_ORPHAN)
            return check_report(b, b->losses, b->count);
        if (rc == 0 && !b->selection.arrived && b->refused == 0 && is_report_lost(c, &ping_nonce))
            send_loss(c, b);
    }
    if (rc == 0 && b->refused != 0) {
        reason_set(&c->why, "%s", b->why);
        return b->refused;
    }
    return rc;
}

int ohem_report(struct ohem_batch *batch, const float *losses, size_t count, int timeout_ms,
                const struct ohem_selection **out_selection)
{
    int64_t deadline = deadline_in(timeout_ms);
    struct ohem_client *c = batch->client;
    int rc = check_report(batch, losses, count);

    if (rc != 0)
        return rc;
    if (batch->seq == 0)
        batch->seq = ++c->report_seq;
    memcpy(batch->losses, losses, count * sizeof *losses);
    batch->selection.arrived = false;
    batch->refused = 0;
    c->came_back = false;
    send_loss(c, batch);
    rc = await_selection(c, batch, deadline);
    if (rc == 0)
        *out_selection = &batch->selection;
    return rc;
}

void ohem_release(struct ohem_batch *batch)
{
    struct ohem_client *c;

    if (batch == NULL)
        return;
    c = batch->client;
    if (c == NULL || c->pid != getpid()) {
        if (c == NULL)
            batch_free(batch);
        return;
    }
    if (batch->state == BATCH_HELD)
        send_credit(c, batch->token);
    recycle(c, batch);
}

int ohem_keepalive(struct ohem_client *client, int timeout_ms)
{
    int64_t deadline = deadline_in(timeout_ms);
    int rc = check(client);

    if (rc != 0)
        return rc;
    client->came_back = false;
    send_ping(client);
    while (rc == 0 && client->pong_nonce != client->ping_nonce) {
        rc = pump(client, deadline);
        if (rc == 0 && client->came_back) {
            client->came_back = false;
            send_ping(client); /* the session is open again: what was asked before is lost */
        }
    }
    return rc;
}
