/* test_codec.c - the codec against the vectors of proto/vectors, and against broken bytes. */
#include "../lib/test.h"
#include "../lib/vectors.h"

#include "../../proto/error.h"

#include <malloc.h>
#include <stdlib.h>

/* ---- helpers ------------------------------------------------------------------------------- */

/* Decode, or fail with the reason. */
static void decode(struct codec *c, const struct vectors_block *b, struct message *out)
{
    struct reason why = {""};
    int rc = codec_decode(c, b->list, b->frame_count, out, &why);

    if (rc != 0)
        fail_msg("%s: %s (%s)", b->name, why.text, error_name(rc));
}

static void assert_fields(const struct vectors_block *b, const struct message *m)
{
    char got[sizeof b->fields];

    vectors_describe(m, got, sizeof got);
    if (strcmp(got, b->fields) != 0)
        fail_msg("%s is\n%swanted\n%s", b->name, got, b->fields);
}

static void assert_frames(const struct vectors_block *b, const struct frames *f)
{
    assert_int_equal(f->count, b->frame_count);
    for (size_t i = 0; i < f->count; i++) {
        if (f->list[i].size == b->list[i].size &&
            memcmp(f->list[i].data, b->list[i].data, f->list[i].size) == 0)
            continue;
        print_message("frame ");
        for (size_t k = 0; k < f->list[i].size; k++)
            print_message("%02x", ((const unsigned char *)f->list[i].data)[k]);
        fail_msg("\n%s: frame %zu is as above", b->name, i);
    }
}

/* A block of valid.txt by its name; free it. */
static struct vectors_block find_block(const char *name)
{
    FILE *file = vectors_open("valid.txt");
    struct vectors_block b;

    while (vectors_read(file, &b)) {
        if (strcmp(b.name, name) == 0) {
            (void)fclose(file);
            return b;
        }
        vectors_free(&b);
    }
    fail_msg("no vector '%s'", name);
    abort();
}

/* ---- vectors ------------------------------------------------------------------------------- */

static size_t check_file(const char *name, bool encode, uint32_t *out_types)
{
    FILE *file = vectors_open(name);
    struct codec *c = codec_new();
    struct vectors_block b;
    struct message m;
    struct frames f;
    size_t count = 0;

    for (; vectors_read(file, &b); count++) {
        decode(c, &b, &m);
        assert_fields(&b, &m);
        if (encode) {
            codec_encode(&m, &f);
            assert_frames(&b, &f);
        }
        *out_types |= 1u << m.type;
        vectors_free(&b);
    }
    codec_free(c);
    (void)fclose(file);
    return count;
}

static void each_valid_vector_decodes_to_its_fields_and_encodes_to_its_bytes(void **state)
{
    uint32_t types = 0;

    (void)state;
    (void)check_file("valid.txt", true, &types);
#define ASSERT_SEEN(name, number) assert_true(types & 1u << (number));
    MESSAGE_TYPES(ASSERT_SEEN)
}

static void wider_numbers_and_what_a_newer_minor_appends_are_accepted(void **state)
{
    uint32_t types = 0;

    (void)state;
    assert_true(check_file("wider.txt", false, &types) >= 4);
}

static void assert_refused(struct codec *c, const struct vectors_block *b)
{
    struct message m;
    struct reason why = {""};
    int rc = codec_decode(c, b->list, b->frame_count, &m, &why);

    if (strcmp(error_name(rc), b->error) != 0)
        fail_msg("%s: %s (%s)", b->name, error_name(rc), why.text);
    assert_string_equal(message_type_name(m.type), b->type);
    assert_true(b->reason_count > 0);
    for (size_t i = 0; i < b->reason_count; i++)
        if (strstr(why.text, b->reasons[i]) == NULL)
            fail_msg("%s: '%s' does not say '%s'", b->name, why.text, b->reasons[i]);
}

static void each_hostile_vector_is_refused_by_its_error_and_reason(void **state)
{
    FILE *file = vectors_open("hostile.txt");
    struct codec *c = codec_new();
    struct vectors_block b;
    size_t count = 0;

    (void)state;
    for (; vectors_read(file, &b); count++) {
        assert_refused(c, &b);
        vectors_free(&b);
    }
    assert_true(count > 70);
    codec_free(c);
    (void)fclose(file);
}

static void a_message_without_frames_is_refused(void **state)
{
    struct codec *c = codec_new();
    struct reason why;
    struct message m;

    (void)state;
    assert_int_equal(codec_decode(c, NULL, 0, &m, &why), -OHEM_MALFORMED);
    assert_non_null(strstr(why.text, "0 frames"));
    assert_int_equal(m.type, 0);
    codec_free(c);
}

static void a_refusal_needs_no_reason_to_fill(void **state)
{
    struct codec *c = codec_new();
    struct message m;

    (void)state;
    assert_int_equal(codec_decode(c, &(struct frame){"\x91\x63", 2}, 1, &m, NULL), -OHEM_MALFORMED);
    codec_free(c);
}

/* A payload over its limit cannot be a vector of a file: only its size is looked at. */
static void a_payload_over_its_limit_is_refused_by_name(void **state)
{
    struct vectors_block b = find_block("batch");
    struct codec *c = codec_new();
    struct reason why;
    struct message m;

    (void)state;
    b.list[5].size = (size_t)MESSAGE_PAYLOAD_BYTES_MAX + 1;
    assert_int_equal(codec_decode(c, b.list, b.frame_count, &m, &why), -OHEM_TOO_LARGE);
    assert_non_null(strstr(why.text, "payload has 1073741825 bytes"));
    assert_non_null(strstr(why.text, "MESSAGE_PAYLOAD_BYTES_MAX"));
    codec_free(c);
    vectors_free(&b);
}

/* ---- broken bytes -------------------------------------------------------------------------- */

static struct frame copy_frame(struct frame f, size_t size)
{
    unsigned char *bytes = malloc(size > 0 ? size : 1);

    memcpy(bytes, f.data, size);
    return (struct frame){.data = bytes, .size = size};
}

/* Each header cut at each byte is refused: a sanitizer sees a read behind the cut. */
static void each_header_cut_anywhere_is_refused(void **state)
{
    FILE *file = vectors_open("valid.txt");
    struct codec *c = codec_new();
    struct vectors_block b;
    struct message m;

    (void)state;
    for (; vectors_read(file, &b); vectors_free(&b)) {
        struct frame whole = b.list[0];

        for (size_t size = 0; size < whole.size; size++) {
            b.list[0] = copy_frame(whole, size);
            assert_int_equal(codec_decode(c, b.list, b.frame_count, &m, NULL), -OHEM_MALFORMED);
            free((void *)(uintptr_t)b.list[0].data);
        }
        b.list[0] = whole;
    }
    codec_free(c);
    (void)fclose(file);
}

/* What is accepted after a byte was changed is a message: it can be encoded, and says the same. */
static void assert_survives(struct codec *c, const struct vectors_block *b)
{
    struct message m, again;
    struct frames f;
    char first[sizeof b->fields], second[sizeof b->fields];

    if (codec_decode(c, b->list, b->frame_count, &m, NULL) != 0)
        return;
    codec_encode(&m, &f);
    assert_int_equal(codec_decode(c, f.list, f.count, &again, NULL), 0);
    vectors_describe(&m, first, sizeof first);
    vectors_describe(&again, second, sizeof second);
    assert_string_equal(first, second);
}

static void each_header_with_one_byte_changed_is_refused_or_is_a_message(void **state)
{
    FILE *file = vectors_open("valid.txt");
    struct codec *c = codec_new();
    struct vectors_block b;

    (void)state;
    for (; vectors_read(file, &b); vectors_free(&b)) {
        unsigned char *header = (unsigned char *)(uintptr_t)b.list[0].data;

        for (size_t i = 0; i < b.list[0].size; i++) {
            unsigned char was = header[i];

            for (unsigned int byte = 0; byte < 256; byte += 3) {
                header[i] = (unsigned char)byte;
                assert_survives(c, &b);
            }
            header[i] = was;
        }
    }
    codec_free(c);
    (void)fclose(file);
}

/* ---- memory, limits, texts ----------------------------------------------------------------- */

static void decoding_allocates_nothing(void **state)
{
    struct vectors_block b = find_block("selection");
    struct codec *c = codec_new();
    struct message m;
    struct mallinfo2 before, after;

    (void)state;
    before = mallinfo2();
    for (int i = 0; i < 10000; i++)
        (void)codec_decode(c, b.list, b.frame_count, &m, NULL);
    after = mallinfo2();
    assert_int_equal(after.uordblks, before.uordblks);
    codec_free(c);
    vectors_free(&b);
}

static void vectors_are_lent_and_not_copied(void **state)
{
    struct vectors_block b = find_block("loss");
    struct codec *c = codec_new();
    struct message m;
    struct frames f;

    (void)state;
    decode(c, &b, &m);
    assert_ptr_equal(m.loss.losses.data, b.list[1].data);
    codec_encode(&m, &f);
    assert_ptr_equal(f.list[1].data, b.list[1].data);
    codec_free(c);
    vectors_free(&b);
}

/* Frames lie at any address. */
static void vectors_may_be_unaligned(void **state)
{
    struct vectors_block b = find_block("batch");
    struct codec *c = codec_new();
    unsigned char moved[8][64];
    struct frame list[8];
    struct message m;

    (void)state;
    for (size_t i = 0; i < b.frame_count; i++) {
        memcpy(moved[i] + 1, b.list[i].data, b.list[i].size);
        list[i] = (struct frame){moved[i] + 1, b.list[i].size};
    }
    assert_int_equal(codec_decode(c, list, b.frame_count, &m, NULL), 0);
    assert_fields(&b, &m);
    codec_free(c);
    vectors_free(&b);
}

/* The longest message of each kind fits the header's limit. */
static void the_longest_texts_fit_a_header(void **state)
{
    struct message m = {.type = MESSAGE_ERROR}, got;
    struct codec *c = codec_new();
    struct frames f;

    (void)state;
    m.error = (struct message_error){
        .code = INT32_MAX, .about = UINT32_MAX, .token = {UINT64_MAX, UINT64_MAX}};
    memset(m.error.text, 'x', MESSAGE_TEXT_BYTES_MAX);
    codec_encode(&m, &f);
    assert_int_equal(codec_decode(c, f.list, f.count, &got, NULL), 0);
    assert_string_equal(got.error.text, m.error.text);
    assert_int_equal(strlen(got.error.text), MESSAGE_TEXT_BYTES_MAX);
    codec_free(c);
}

static void a_batch_of_the_largest_size_goes_both_ways(void **state)
{
    struct message m = {.type = MESSAGE_LOSS}, got;
    struct codec *c = codec_new();
    float *losses = calloc(MESSAGE_BATCH_SIZE_MAX, sizeof *losses);
    struct frames f;

    (void)state;
    losses[MESSAGE_BATCH_SIZE_MAX - 1] = 3.5f;
    m.loss.seq = UINT64_MAX;
    m.loss.losses = (struct vector){losses, MESSAGE_BATCH_SIZE_MAX};
    codec_encode(&m, &f);
    assert_int_equal(codec_decode(c, f.list, f.count, &got, NULL), 0);
    assert_int_equal(got.loss.losses.count, MESSAGE_BATCH_SIZE_MAX);
    assert_true(vector_f32(got.loss.losses, MESSAGE_BATCH_SIZE_MAX - 1) == 3.5f);
    codec_free(c);
    free(losses);
}

/* A text from elsewhere must not make a message that the other side refuses. */
static void a_text_is_sent_as_far_as_it_is_clean(void **state)
{
    static const struct {
        const char *text, *sent;
    } cases[] = {{"line one\nline two", "line one"},
                 {"cut in \xe2\x82", "cut in "},
                 {"gr\xc3\xb6\xc3\x9f"
                  "e \xf0\x9f\x98\x80",
                  "gr\xc3\xb6\xc3\x9f"
                  "e \xf0\x9f\x98\x80"},
                 {"\xf4\x90\x80\x80", ""},
                 {"\x7f", ""}};
    struct message m = {.type = MESSAGE_BYE}, got;
    struct codec *c = codec_new();
    struct frames f;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)snprintf(m.bye.text, sizeof m.bye.text, "%s", cases[i].text);
        codec_encode(&m, &f);
        assert_int_equal(codec_decode(c, f.list, f.count, &got, NULL), 0);
        assert_string_equal(got.bye.text, cases[i].sent);
    }
    codec_free(c);
}

static void each_type_has_its_name(void **state)
{
    (void)state;
#define ASSERT_NAME(name, number) assert_string_equal(message_type_name(number), #name);
    MESSAGE_TYPES(ASSERT_NAME)
    assert_string_equal(message_type_name(0), "?");
    assert_string_equal(message_type_name(11), "?");
    assert_string_equal(message_type_name(UINT32_MAX), "?");
}

TEST_MAIN(TEST(each_valid_vector_decodes_to_its_fields_and_encodes_to_its_bytes),
          TEST(wider_numbers_and_what_a_newer_minor_appends_are_accepted),
          TEST(each_hostile_vector_is_refused_by_its_error_and_reason),
          TEST(a_message_without_frames_is_refused), TEST(a_refusal_needs_no_reason_to_fill),
          TEST(a_payload_over_its_limit_is_refused_by_name),
          TEST(each_header_cut_anywhere_is_refused),
          TEST(each_header_with_one_byte_changed_is_refused_or_is_a_message),
          TEST(decoding_allocates_nothing), TEST(vectors_are_lent_and_not_copied),
          TEST(vectors_may_be_unaligned), TEST(the_longest_texts_fit_a_header),
          TEST(a_batch_of_the_largest_size_goes_both_ways),
          TEST(a_text_is_sent_as_far_as_it_is_clean), TEST(each_type_has_its_name))
