/* test_transport.c - by which way the records of a batch come, and why.
 *
 * That the way makes no difference is in test_transport_records.c.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N          400
#define K          32
#define LINE_BYTES 64

static const struct tinyset varied = {.count = N, .size_min = 0, .size_max = 150};

static void set_line(char *out, const char *key, const char *value)
{
    (void)snprintf(out, LINE_BYTES, "%s = %s\n", key, value);
}

/* A connect that must fail so, and say these words. */
static void assert_refused(const struct ohem_options *options, int error, const char *word)
{
    struct ohem_client *client = NULL;
    int rc = ohem_connect(options, &client);

    if (rc != -error)
        fail_msg("%s, not %s: %s", ohem_error_name(rc), ohem_error_name(error),
                 ohem_connect_error());
    assert_null(client);
    if (strstr(ohem_connect_error(), word) == NULL)
        fail_msg("'%s' is not in '%s'", word, ohem_connect_error());
}

/* ---- which it is ------------------------------------------------------------------------------
 */

static enum ohem_transport best_of(enum ohem_layout layout, const char *share)
{
    if (ways_allowed(layout, OHEM_MAP, share))
        return OHEM_MAP;
    return ways_allowed(layout, OHEM_SHM, share) ? OHEM_SHM : OHEM_INLINE;
}

/* The layout's best has no reason to excuse itself; whatever else was chosen has. */
static void assert_chosen(const struct ohem_client *client, enum ohem_layout layout,
                          enum ohem_transport expected)
{
    bool is_best = expected == best_of(layout, "map");

    assert_int_equal(ohem_transport(client), expected);
    if ((ohem_transport_reason(client)[0] == '\0') != is_best)
        fail_msg("layout %d by %s, since '%s'", (int)layout, ohem_transport_name(expected),
                 ohem_transport_reason(client));
}

static void choose(const struct daemon *d, struct way way, const char *share)
{
    struct ohem_options options = ways_options(d, way);
    struct ohem_client *client = NULL;
    struct ohem_batch *b;

    if (way.transport != OHEM_AUTO && !ways_allowed(way.layout, way.transport, share)) {
        assert_refused(&options, OHEM_TRANSPORT, ohem_transport_name(way.transport));
        return;
    }
    if (ohem_connect(&options, &client) != 0)
        fail_msg("share %s, layout %d, %s: %s", share, (int)way.layout,
                 ohem_transport_name(way.transport), ohem_connect_error());
    assert_chosen(client, way.layout,
                  way.transport != OHEM_AUTO ? way.transport : best_of(way.layout, share));
    b = daemon_next(client);
    assert_int_equal(ohem_batch_transport(b), ohem_transport(client));
    ways_assert_records(&varied, way, b);
    ohem_release(b);
    ohem_close(client);
}

static void layout_and_share_and_wish_decide_the_transport(void **state)
{
    static const char *const shares[] = {"map", "shm", "none"};
    char line[LINE_BYTES];
    struct daemon d = {.dataset = line};

    (void)state;
    tinyset_make(&varied, DAEMON_DATASET);
    for (size_t n = 0; n < sizeof shares / sizeof shares[0]; n++) {
        set_line(line, "share", shares[n]);
        daemon_start(&d);
        for (int layout = OHEM_SCATTERED; layout <= OHEM_ALIGNED64; layout++)
            for (int transport = OHEM_AUTO; transport <= OHEM_MAP; transport++)
                choose(&d, (struct way){layout, transport}, shares[n]);
        daemon_stop(&d);
    }
}

static void sharing_the_file_is_the_default(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&varied, DAEMON_DATASET);
    daemon_start(&d);
    choose(&d, (struct way){OHEM_SCATTERED, OHEM_AUTO}, "map");
    choose(&d, (struct way){OHEM_PACKED, OHEM_AUTO}, "map");
    daemon_stop(&d);
}

static void a_layout_or_transport_that_is_none_is_invalid(void **state)
{
    struct daemon d = {0};
    struct ohem_options options = ways_options(&d, (struct way){OHEM_ALIGNED64 + 1, OHEM_AUTO});

    (void)state;
    options.endpoint = "ipc://nobody.sock"; /* is not even asked */
    assert_refused(&options, OHEM_INVALID, "layout");
    options.layout = OHEM_PACKED;
    options.transport = OHEM_MAP + 1;
    assert_refused(&options, OHEM_INVALID, "transport");
}

static void transports_have_names(void **state)
{
    (void)state;
    assert_string_equal(ohem_transport_name(OHEM_AUTO), "auto");
    assert_string_equal(ohem_transport_name(OHEM_INLINE), "inline");
    assert_string_equal(ohem_transport_name(OHEM_SHM), "shm");
    assert_string_equal(ohem_transport_name(OHEM_MAP), "map");
    assert_non_null(ohem_transport_name(OHEM_MAP + 1));
}

/* A port that nobody has, for now. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static void over_tcp_records_come_inline(void **state)
{
    char endpoint[LINE_BYTES];
    struct daemon d = {.settings = "insecure_tcp = yes\n", .listen = endpoint};
    struct ohem_options options;

    (void)state;
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", free_port());
    tinyset_make(&varied, DAEMON_DATASET);
    daemon_start(&d);
    for (int layout = OHEM_SCATTERED; layout <= OHEM_ALIGNED64; layout++) {
        choose(&d, (struct way){layout, OHEM_AUTO}, "none");
        choose(&d, (struct way){layout, OHEM_INLINE}, "none");
    }
    options = ways_options(&d, (struct way){OHEM_SCATTERED, OHEM_MAP});
    assert_refused(&options, OHEM_TRANSPORT, "map");
    options.transport = OHEM_SHM;
    assert_refused(&options, OHEM_TRANSPORT, "shm");
    daemon_stop(&d);
}

static void without_the_share_socket_records_come_inline(void **state)
{
    struct daemon d = {0};
    struct ohem_options options;

    (void)state;
    tinyset_make(&varied, DAEMON_DATASET);
    daemon_start(&d);
    assert_int_equal(unlink(DAEMON_SHARE), 0);
    choose(&d, (struct way){OHEM_SCATTERED, OHEM_AUTO}, "none");
    choose(&d, (struct way){OHEM_PACKED, OHEM_AUTO}, "none");
    options = ways_options(&d, (struct way){OHEM_SCATTERED, OHEM_MAP});
    assert_refused(&options, OHEM_TRANSPORT, DAEMON_SHARE);
    daemon_stop(&d);
}

/* One ring of 2 slots, of 32 records of 20,000 bytes, fits; two do not. */
static void beyond_shm_bytes_max_records_come_inline_until_a_ring_is_given_back(void **state)
{
    const struct way way = {OHEM_PACKED, OHEM_AUTO};
    struct daemon d = {.settings = "shm_bytes_max = 2000000\n"};
    struct tinyset large = {.count = N, .size_min = 20000, .size_max = 20000};
    struct ohem_options forced;
    struct ohem_client *first, *second;

    (void)state;
    tinyset_make(&large, DAEMON_DATASET);
    daemon_start(&d);
    first = ways_connect(&d, way, K, 2);
    assert_int_equal(ohem_transport(first), OHEM_SHM);
    second = ways_connect(&d, way, K, 2);
    assert_chosen(second, OHEM_PACKED, OHEM_INLINE);
    forced = ways_options(&d, (struct way){OHEM_PACKED, OHEM_SHM});
    forced.batch_size = K;
    forced.credit = 2;
    assert_refused(&forced, OHEM_TRANSPORT, "shm");
    ohem_close(first);
    ohem_close(second);
    daemon_await_counter(&d, "sessions_closed", 2);
    first = ways_connect(&d, way, K, 2);
    assert_int_equal(ohem_transport(first), OHEM_SHM);
    ohem_close(first);
    daemon_stop(&d);
}

TEST_MAIN(TEST(layout_and_share_and_wish_decide_the_transport),
          TEST(sharing_the_file_is_the_default),
          TEST(a_layout_or_transport_that_is_none_is_invalid), TEST(transports_have_names),
          TEST(over_tcp_records_come_inline), TEST(without_the_share_socket_records_come_inline),
          TEST(beyond_shm_bytes_max_records_come_inline_until_a_ring_is_given_back))
