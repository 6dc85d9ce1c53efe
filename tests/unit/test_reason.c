/* test_reason.c - the words of errors, and that PROTOCOL.md lists all that the headers define. */
#include "../lib/test.h"
#include "../lib/vectors.h"

#include "../../proto/error.h"
#include "../../proto/layout.h"

#include <ctype.h>
#include <stdlib.h>

/* ---- helpers ------------------------------------------------------------------------------- */

/* A file of the source tree as text; free it. */
static char *read_source(const char *name)
{
    enum { BYTES_MAX = 1 << 18 };
    char path[4096], *text = malloc(BYTES_MAX);
    FILE *file;
    size_t size;

    (void)snprintf(path, sizeof path, "%s/%s", test_source(), name);
    file = fopen(path, "r");
    if (file == NULL || text == NULL)
        fail_msg("cannot read %s", path);
    size = fread(text, 1, BYTES_MAX - 1, file);
    assert_true(size < BYTES_MAX - 1);
    text[size] = '\0';
    (void)fclose(file);
    return text;
}

/* The document has this text; @return where it ends. */
static const char *assert_has(const char *document, const char *text)
{
    const char *at = strstr(document, text);

    if (at == NULL)
        fail_msg("PROTOCOL.md lacks: %s", text);
    return at + strlen(text);
}

/* ---- errors -------------------------------------------------------------------------------- */

static void each_error_has_its_name_and_text_for_either_sign(void **state)
{
    (void)state;
#define ASSERT_ERROR(name, number, text) \
    assert_string_equal(error_name(number), #name); \
    assert_string_equal(error_name(-(number)), #name); \
    assert_string_equal(error_text(number), text); \
    assert_string_equal(error_text(-(number)), text); \
    assert_int_equal(OHEM_##name, number);
    OHEM_ERRORS(ASSERT_ERROR)
    assert_string_equal(error_name(0), "OK");
    assert_string_equal(error_text(0), "no error");
}

static void an_unknown_error_still_has_words(void **state)
{
    static const int unknown[] = {13, -13, 9999, INT32_MAX, -INT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_string_equal(error_name(unknown[i]), "?");
        assert_true(strlen(error_text(unknown[i])) > 0);
    }
}

static void a_reason_is_cut_at_its_limit_and_may_be_absent(void **state)
{
    char text[2 * REASON_BYTES_MAX];
    struct reason why;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    reason_set(&why, "%s", text);
    assert_int_equal(strlen(why.text), REASON_BYTES_MAX - 1);
    reason_set(&why, "K is %d", 7);
    assert_string_equal(why.text, "K is 7");
    reason_set(NULL, "%s", text);
}

/* ---- the document -------------------------------------------------------------------------- */

static void the_document_lists_each_error(void **state)
{
    char *document = read_source("proto/PROTOCOL.md"), row[256];

    (void)state;
#define ASSERT_ROW(name, number, text) \
    (void)snprintf(row, sizeof row, "\n| %d | %s | %s |", number, #name, text); \
    (void)assert_has(document, row);
    OHEM_ERRORS(ASSERT_ROW)
    free(document);
}

static size_t count_limits(const char *header)
{
    size_t count = 0;

    for (const char *at = header; (at = strstr(at, "#define MESSAGE_")) != NULL; at++) {
        size_t size = strcspn(at + 8, " (");

        count += size > 4 && strncmp(at + 8 + size - 4, "_MAX", 4) == 0;
    }
    return count;
}

static void the_document_lists_each_limit_with_its_value(void **state)
{
#define LIMIT(name) \
    { \
#name, (name) \
    }
    static const struct {
        const char *name;
        unsigned int value;
    } limits[] = {
        LIMIT(MESSAGE_HEADER_BYTES_MAX),
        LIMIT(MESSAGE_FIELDS_MAX),
        LIMIT(MESSAGE_FRAMES_MAX),
        LIMIT(MESSAGE_FRAME_BYTES_MAX),
        LIMIT(MESSAGE_TRANSPORT_BYTES_MAX),
        LIMIT(MESSAGE_PAYLOAD_BYTES_MAX),
        LIMIT(MESSAGE_BATCH_SIZE_MAX),
        LIMIT(MESSAGE_ITEMS_MAX),
        LIMIT(MESSAGE_BOXES_MAX),
        LIMIT(MESSAGE_INSTANCE_BOXES_MAX),
        LIMIT(MESSAGE_CREDIT_MAX),
        LIMIT(MESSAGE_RANK_MAX),
        LIMIT(MESSAGE_ROUND_RANKS_MAX),
        LIMIT(MESSAGE_NAME_BYTES_MAX),
        LIMIT(MESSAGE_AGENT_BYTES_MAX),
        LIMIT(MESSAGE_TEXT_BYTES_MAX),
        LIMIT(MESSAGE_SHARE_BYTES_MAX),
        LIMIT(MESSAGE_PARTS_MAX),
        LIMIT(MESSAGE_KEPT_MAX),
        LIMIT(MESSAGE_WAY_MAX),
        LIMIT(MESSAGE_WAYS_MAX),
        LIMIT(MESSAGE_RECORDS_MAX),
        LIMIT(MESSAGE_RULE_MAX),
        LIMIT(MESSAGE_SCORE_MAX),
    };
    char *document = read_source("proto/PROTOCOL.md");
    char *header = read_source("proto/message.h"), row[128];

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        (void)snprintf(row, sizeof row, "\n| `%s` | %u |", limits[i].name, limits[i].value);
        (void)assert_has(document, row);
    }
    assert_int_equal(count_limits(header), sizeof limits / sizeof limits[0]);
    free(header);
    free(document);
}

/* The rows stand behind the message's heading, and in the order of the wire. */
static void assert_tables(const char *document, uint32_t type)
{
    static const char *const kinds[] = {
        [FIELD_U32] = "u32", [FIELD_U64] = "u64",  [FIELD_SIZE] = "u32", [FIELD_F32] = "f32",
        [FIELD_F64] = "f64", [FIELD_TEXT] = "str", [FIELD_KEY] = "key",  [FIELD_TOKEN] = "token"};
    const struct layout *l = layout_find(type);
    char text[128];
    const char *at, *end;

    (void)snprintf(text, sizeof text, "\n### %s (%u), ", message_type_name(type), type);
    at = assert_has(document, text);
    end = strstr(at, "\n##");
    for (size_t i = 0; i < l->field_count; i++) {
        (void)snprintf(text, sizeof text, "\n| `%s` | %s |", l->fields[i].name,
                       kinds[l->fields[i].kind]);
        at = assert_has(at, text);
    }
    for (size_t i = 0; i < l->column_count; i++) {
        (void)snprintf(text, sizeof text, "\n| %zu `%s` |", i + 1, l->columns[i].name);
        at = assert_has(at, text);
    }
    assert_true(at < end);
}

static void the_document_lists_each_field_of_each_message(void **state)
{
    char *document = read_source("proto/PROTOCOL.md");

    (void)state;
#define ASSERT_TABLES(name, number) assert_tables(document, number);
    MESSAGE_TYPES(ASSERT_TABLES)
    free(document);
}

static void remove_spaces(char *text)
{
    char *out = text;

    for (; *text != '\0'; text++)
        if (!isspace((unsigned char)*text))
            *out++ = *text;
    *out = '\0';
}

/* As the document shows a frame, but for the spaces. */
static void frame_text(size_t number, struct frame f, char *out, size_t out_bytes)
{
    int used = snprintf(out, out_bytes, "frame%zu", number);

    for (size_t i = 0; i < f.size; i++)
        used += snprintf(out + used, out_bytes - (size_t)used, "%02x",
                         ((const unsigned char *)f.data)[i]);
}

static void the_documents_examples_are_the_vectors(void **state)
{
    char *document = read_source("proto/PROTOCOL.md"), text[1024];
    FILE *file = vectors_open("valid.txt");
    struct vectors_block b;
    size_t count = 0;

    (void)state;
    remove_spaces(document);
    for (; vectors_read(file, &b); vectors_free(&b)) {
        const char *at = document;

        if (strpbrk(b.name, "_") != NULL)
            continue; /* the document shows one of each type: the one that has its name */
        for (size_t i = 0; i < b.frame_count; i++) {
            frame_text(i, b.list[i], text, sizeof text);
            at = assert_has(at, text);
        }
        count++;
    }
#define COUNT_TYPE(name, number) -1
    assert_int_equal((int)count MESSAGE_TYPES(COUNT_TYPE), 0);
    (void)fclose(file);
    free(document);
}

TEST_MAIN(TEST(each_error_has_its_name_and_text_for_either_sign),
          TEST(an_unknown_error_still_has_words),
          TEST(a_reason_is_cut_at_its_limit_and_may_be_absent), TEST(the_document_lists_each_error),
          TEST(the_document_lists_each_limit_with_its_value),
          TEST(the_document_lists_each_field_of_each_message),
          TEST(the_documents_examples_are_the_vectors))
