/* ways.c - records by every way; see ways.h. */
#include "ways.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT  64u
#define LINE_BYTES 1024

const struct way ways[WAYS_COUNT] = {
    {OHEM_SCATTERED, OHEM_INLINE}, {OHEM_SCATTERED, OHEM_SHM}, {OHEM_SCATTERED, OHEM_MAP},
    {OHEM_PACKED, OHEM_INLINE},    {OHEM_PACKED, OHEM_SHM},    {OHEM_ALIGNED64, OHEM_INLINE},
    {OHEM_ALIGNED64, OHEM_SHM},
};

bool ways_allowed(enum ohem_layout layout, enum ohem_transport transport, const char *share)
{
    if (transport == OHEM_MAP)
        return layout == OHEM_SCATTERED && strcmp(share, "map") == 0;
    return transport == OHEM_INLINE || strcmp(share, "none") != 0;
}

struct ohem_options ways_options(const struct daemon *d, struct way way)
{
    struct ohem_options options = OHEM_OPTIONS_INIT;

    options.endpoint = d->endpoint;
    options.connect_timeout_ms = DAEMON_DEADLINE_MS;
    options.layout = way.layout;
    options.transport = way.transport;
    return options;
}

struct ohem_client *ways_connect(const struct daemon *d, struct way way, uint32_t batch_size,
                                 uint32_t credit)
{
    struct ohem_options options = ways_options(d, way);
    struct ohem_client *client = NULL;

    options.batch_size = batch_size;
    options.credit = credit;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("layout %d by %s: %s", (int)way.layout, ohem_transport_name(way.transport),
                 ohem_connect_error());
    if (way.transport != OHEM_AUTO)
        assert_int_equal(ohem_transport(client), way.transport);
    return client;
}

/* ---- what must hold ---------------------------------------------------------------------------
 */

bool ways_records_are(const struct tinyset *set, const struct ohem_batch *b)
{
    for (uint32_t i = 0; i < ohem_batch_count(b); i++) {
        size_t size = 0;
        const void *data = ohem_batch_data(b, i, &size);

        if (data == NULL || !tinyset_is(set, ohem_batch_ids(b)[i], data, size))
            return false;
    }
    return true;
}

static size_t expected_stride(const struct tinyset *set, enum ohem_layout layout)
{
    bool one_size = set->size_min == set->size_max && set->size_min > 0;

    if (!one_size || layout == OHEM_SCATTERED)
        return 0;
    return layout == OHEM_PACKED ? set->size_min
                                 : (set->size_min + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void assert_laid_out(enum ohem_layout layout, const struct ohem_batch *b, uint32_t i)
{
    const char *data, *before;
    size_t size_before;

    data = ohem_batch_data(b, i, NULL);
    if (layout == OHEM_ALIGNED64)
        assert_int_equal((uintptr_t)data % ALIGNMENT, 0);
    if (layout != OHEM_PACKED || i == 0)
        return;
    before = ohem_batch_data(b, i - 1, &size_before);
    assert_ptr_equal(data, before + size_before);
}

void ways_assert_records(const struct tinyset *set, struct way way, const struct ohem_batch *b)
{
    size_t stride = 1, expected = expected_stride(set, way.layout);
    const char *block = ohem_batch_block(b, &stride);

    if (!ways_records_are(set, b))
        fail_msg("layout %d by %s: step %u has other bytes", (int)way.layout,
                 ohem_transport_name(ohem_batch_transport(b)), (unsigned)ohem_batch_step(b));
    assert_int_equal(stride, expected);
    assert_int_equal(block != NULL, expected > 0);
    for (uint32_t i = 0; i < ohem_batch_count(b); i++) {
        assert_laid_out(way.layout, b, i);
        if (block != NULL)
            assert_ptr_equal(ohem_batch_data(b, i, NULL), block + i * stride);
    }
    assert_null(ohem_batch_data(b, ohem_batch_count(b), NULL));
    assert_int_equal(ohem_batch_check(b), 0);
}

void ways_report_and_release(struct ohem_batch *b)
{
    uint32_t count = ohem_batch_count(b);
    float *losses = calloc(count, sizeof *losses);

    assert_non_null(losses);
    for (uint32_t i = 0; i < count; i++)
        losses[i] = 1 + (float)(ohem_batch_ids(b)[i] * 2654435761u % 1024) / 64;
    (void)daemon_report(b, losses);
    ohem_release(b);
    free(losses);
}

unsigned ways_mappings(pid_t pid, const char *text)
{
    char path[64], line[LINE_BYTES];
    unsigned count = 0;
    FILE *f;

    if (pid == 0)
        pid = getpid();
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        count += strstr(line, text) != NULL;
    (void)fclose(f);
    return count;
}
