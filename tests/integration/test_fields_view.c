/* test_fields_view.c - fields of a record as a trainer sees them: who says what they are, where
 * they lie, and what is wrong with a text that cannot be read. How a text is read: fields.h.
 */
#include "../../client/ohem.h"
#include "../lib/daemon.h"
#include "../lib/test.h"
#include "../lib/tinyset.h"
#include "../lib/ways.h"

#include <stdio.h>
#include <string.h>

#define N            200
#define K            16
#define RECORD_BYTES 29
#define TEXT         "label = u8@0, image = i16[2,5]@1, place = f32[2]@21"
#define STRIDE_64    64

static const struct tinyset fixed = {
    .count = N, .size_min = RECORD_BYTES, .size_max = RECORD_BYTES};
static const struct tinyset varied = {.count = N, .size_min = 0, .size_max = 40};

static struct ohem_client *connect_with(const struct daemon *d, struct way way, const char *fields)
{
    struct ohem_options options = ways_options(d, way);
    struct ohem_client *client = NULL;

    options.fields = fields;
    options.batch_size = K;
    if (ohem_connect(&options, &client) != 0)
        fail_msg("connect: %s", ohem_connect_error());
    return client;
}

/* ---- who says what they are -------------------------------------------------------------------
 */

static void assert_field(const struct ohem_client *client, size_t at,
                         const struct ohem_field *expected)
{
    const struct ohem_field *f = ohem_field_at(client, at);

    assert_non_null(f);
    assert_ptr_equal(ohem_field_find(client, expected->name), f);
    assert_string_equal(f->name, expected->name);
    assert_string_equal(f->type, expected->type);
    assert_int_equal(f->item_bytes, expected->item_bytes);
    assert_int_equal(f->dims, expected->dims);
    for (uint32_t i = 0; i < f->dims; i++)
        assert_int_equal(f->shape[i], expected->shape[i]);
    assert_int_equal(f->offset, expected->offset);
    assert_int_equal(f->bytes, expected->bytes);
}

static void assert_those_of_the_text(const struct ohem_client *client)
{
    static const struct ohem_field expected[] = {
        {.name = "label", .type = "u8", .item_bytes = 1, .offset = 0, .bytes = 1},
        {.name = "image",
         .type = "i16",
         .item_bytes = 2,
         .dims = 2,
         .shape = {2, 5},
         .offset = 1,
         .bytes = 20},
        {.name = "place",
         .type = "f32",
         .item_bytes = 4,
         .dims = 1,
         .shape = {2},
         .offset = 21,
         .bytes = 8},
    };

    assert_int_equal(ohem_field_count(client), 3);
    for (size_t i = 0; i < 3; i++)
        assert_field(client, i, &expected[i]);
    assert_null(ohem_field_at(client, 3));
    assert_null(ohem_field_find(client, "lab"));
}

static void the_operator_says_what_the_fields_are(void **state)
{
    struct daemon d = {.dataset = "fields = " TEXT "\n"};
    struct ohem_client *client;

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    client = connect_with(&d, (struct way){0}, NULL);
    assert_those_of_the_text(client);
    ohem_close(client);
    daemon_stop(&d);
}

static void the_trainer_knows_better_than_the_operator(void **state)
{
    struct daemon d = {.dataset = "fields = all = u8[29]@0\n"};
    struct ohem_client *client;

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    client = connect_with(&d, (struct way){0}, TEXT);
    assert_those_of_the_text(client);
    ohem_close(client);
    client = connect_with(&d, (struct way){0}, NULL);
    assert_int_equal(ohem_field_count(client), 1);
    assert_non_null(ohem_field_find(client, "all"));
    ohem_close(client);
    daemon_stop(&d);
}

static void where_nobody_says_anything_there_are_no_fields(void **state)
{
    struct daemon d = {0};
    struct ohem_client *client;

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    client = connect_with(&d, (struct way){0}, NULL);
    assert_int_equal(ohem_field_count(client), 0);
    assert_null(ohem_field_at(client, 0));
    assert_null(ohem_field_find(client, "label"));
    ohem_close(client);
    daemon_stop(&d);
}

/* ---- where they lie ---------------------------------------------------------------------------
 */

static void assert_view(const struct ohem_batch *b, const struct ohem_field *f, size_t expected)
{
    size_t stride = 1;
    const char *view = ohem_batch_field_view(b, f, &stride);

    assert_int_equal(stride, expected);
    assert_int_equal(view != NULL, expected > 0);
    assert_ptr_equal(ohem_batch_field_view(b, f, NULL), view);
    for (uint32_t i = 0; i < K; i++) {
        const char *data = ohem_batch_data(b, i, NULL), *field = ohem_batch_field(b, f, i);

        assert_ptr_equal(field, data + f->offset);
        if (view != NULL)
            assert_ptr_equal(field, view + i * stride);
    }
    assert_null(ohem_batch_field(b, f, K));
}

static size_t stride_of(enum ohem_layout layout)
{
    if (layout == OHEM_SCATTERED)
        return 0;
    return layout == OHEM_PACKED ? RECORD_BYTES : STRIDE_64;
}

static void a_field_of_all_records_is_a_strided_view_of_the_block(void **state)
{
    struct daemon d = {.dataset = "fields = " TEXT "\n"};

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    for (int n = 0; n < WAYS_COUNT; n++) {
        struct ohem_client *client = connect_with(&d, ways[n], NULL);
        struct ohem_batch *b = daemon_next(client);

        ways_assert_records(&fixed, ways[n], b);
        for (size_t at = 0; at < ohem_field_count(client); at++)
            assert_view(b, ohem_field_at(client, at), stride_of(ways[n].layout));
        ohem_release(b);
        ohem_close(client);
    }
    daemon_stop(&d);
}

/* No view, and in a record that ends too early no field. */
static void a_short_record_has_no_field_beyond_its_end(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&varied, DAEMON_DATASET);
    daemon_start(&d);
    for (int n = 0; n < WAYS_COUNT; n++) {
        struct ohem_client *client = connect_with(&d, ways[n], TEXT);
        struct ohem_batch *b = daemon_next(client);
        size_t stride = 1;

        for (size_t at = 0; at < 3; at++) {
            const struct ohem_field *f = ohem_field_at(client, at);

            assert_null(ohem_batch_field_view(b, f, &stride));
            assert_int_equal(stride, 0);
            for (uint32_t i = 0; i < K; i++) {
                size_t size;
                const char *data = ohem_batch_data(b, i, &size);

                assert_ptr_equal(ohem_batch_field(b, f, i),
                                 f->offset + f->bytes <= size ? data + f->offset : NULL);
            }
        }
        ohem_release(b);
        ohem_close(client);
    }
    daemon_stop(&d);
}

/* ---- texts that cannot be read ----------------------------------------------------------------
 */

static const struct {
    const char *text, *says;
} bad[] = {
    {"label = u9@0", "'label'"},
    {"label = u8", "'label'"},
    {"label u8@0", "'label'"},
    {"label = u8@0, label = u8@1", "'label'"},
    {"label = u8@0, image = u8[28,28]@1", "'image'"}, /* beyond the record */
    {"label = u8@29", "'label'"},
    {"image = u8[]@0", "'image'"},
    {"image = u8[0]@0", "'image'"},
    {"image = u8[1,1,1,1,1,1,1,1,1]@0", "'image'"},
    {"image = u64[4294967296,4294967296]@0", "'image'"},
    {"image = u8@18446744073709551616", "'image'"},
    {"image = U8@0", "'image'"},
    {"9lives = u8@0", "9lives"},
    {"a-b = u8@0", "'a-b'"},
    {"label = u8@0,", ""},
    {"= u8@0", ""},
    {"a_name_that_has_thirty-three_bytes", ""},
    {"a=u8@0,b=u8@0,c=u8@0,d=u8@0,e=u8@0,f=u8@0,g=u8@0,h=u8@0,i=u8@0,j=u8@0,k=u8@0,l=u8@0,"
     "m=u8@0,n=u8@0,o=u8@0,p=u8@0,q=u8@0",
     "16"},
};

static void a_trainers_text_that_cannot_be_read_is_refused_by_the_fields_name(void **state)
{
    struct daemon d = {0};

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    daemon_start(&d);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ohem_options options = ways_options(&d, (struct way){0});
        struct ohem_client *client = NULL;

        options.fields = bad[i].text;
        if (ohem_connect(&options, &client) != -OHEM_INVALID)
            fail_msg("'%s' was accepted", bad[i].text);
        assert_null(client);
        if (strstr(ohem_connect_error(), bad[i].says) == NULL || ohem_connect_error()[0] == '\0')
            fail_msg("'%s': '%s'", bad[i].text, ohem_connect_error());
    }
    daemon_stop(&d);
}

/* @return what a daemon with this text says before it ends, as it must */
static char *words_of_a_daemon_with(const char *text, char *out, size_t size)
{
    char command[DAEMON_PATH_MAX];
    FILE *config = fopen("bad.conf", "w"), *words;
    size_t got;

    assert_non_null(config);
    (void)fprintf(config,
                  "[daemon]\nlisten = ipc://bad.sock\nstatus_socket = bad-status.sock\n"
                  "share_socket = bad-share.sock\n[dataset default]\npath = %s\nfields = %s\n"
                  "[job default]\n",
                  DAEMON_DATASET, text);
    assert_int_equal(fclose(config), 0);
    (void)snprintf(command, sizeof command, "exec %s/ohemd --config bad.conf 2>&1", test_build());
    words = popen(command, "r");
    assert_non_null(words);
    got = fread(out, 1, size - 1, words);
    out[got] = '\0';
    if (pclose(words) == 0)
        fail_msg("fields = %s: the daemon ended as if all were well", text);
    return out;
}

static void an_operators_text_that_cannot_be_read_is_refused_by_the_fields_name(void **state)
{
    char words[4096];

    (void)state;
    tinyset_make(&fixed, DAEMON_DATASET);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (strstr(words_of_a_daemon_with(bad[i].text, words, sizeof words), bad[i].says) == NULL)
            fail_msg("fields = %s: '%s'", bad[i].text, words);
}

TEST_MAIN(TEST(the_operator_says_what_the_fields_are),
          TEST(the_trainer_knows_better_than_the_operator),
          TEST(where_nobody_says_anything_there_are_no_fields),
          TEST(a_field_of_all_records_is_a_strided_view_of_the_block),
          TEST(a_short_record_has_no_field_beyond_its_end),
          TEST(a_trainers_text_that_cannot_be_read_is_refused_by_the_fields_name),
          TEST(an_operators_text_that_cannot_be_read_is_refused_by_the_fields_name))
