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
    assert_true(check_file("wider.txt", false, &types) >= 6);
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
    assert_true(count > 125);
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
static void assert_payload_over(const char *name)
{
    struct vectors_block b = find_block(name);
    struct codec *c = codec_new();
    struct reason why;
    struct message m;

    b.list[b.frame_count - 1].size = (size_t)MESSAGE_PAYLOAD_BYTES_MAX + 1;
    assert_int_equal(codec_decode(c, b.list, b.frame_count, &m, &why), -OHEM_TOO_LARGE);
    assert_non_null(strstr(why.text, "payload has 1073741825 bytes"));
    assert_non_null(strstr(why.text, "MESSAGE_PAYLOAD_BYTES_MAX"));
    codec_free(c);
    vectors_free(&b);
}

static void a_payload_over_its_limit_is_refused_by_name(void **state)
{
    (void)state;
    assert_payload_over("batch");
    assert_payload_over("part");
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

/* ---- where records may lie ----------------------------------------------------------------- */

#define ANYWHERE UINT64_MAX /* of no block: the largest offset there is */

/* Two records of a batch, by each way. A block has 16 bytes; the file has no end that we know. */
struct placing {
    uint64_t offsets[2];
    uint32_t sizes[2];
    bool in_block, in_file; /* are they good? */
};

static const struct placing placings[] = {
    {{0, 8}, {8, 8}, true, true},
    {{0, 16}, {16, 0}, true, true}, /* of nothing, at the very end */
    {{16, 16}, {0, 0}, true, true},
    {{3, 9}, {2, 1}, true, true}, /* gaps anywhere */
    {{0, 7}, {8, 8}, false, true},
    {{8, 0}, {8, 8}, false, true},
    {{0, 0}, {8, 8}, false, true},
    {{0, 9}, {8, 8}, false, true},
    {{0, 17}, {8, 0}, false, true},
    {{17, 17}, {0, 0}, false, true},
    {{0, 8}, {8, UINT32_MAX}, false, true},
    {{0, ANYWHERE}, {8, 0}, false, true},
    {{0, ANYWHERE}, {8, 8}, false, true}, /* the end wraps to 7 */
    {{ANYWHERE, 7}, {8, 8}, false, true}, /* and the next one begins there */
    {{ANYWHERE - 7, 0}, {8, 8}, false, true},
    {{ANYWHERE, ANYWHERE}, {UINT32_MAX, UINT32_MAX}, false, true},
};

static int decode_placing(struct codec *c, const struct placing *at, enum message_way way,
                          uint64_t record_bytes)
{
    static const uint64_t ids[2] = {1, 2};
    static const float ones[2] = {1, 1};
    static const unsigned char payload[16];
    bool is_payload = way == WAY_INLINE;
    struct message got, m = {
                            .type = MESSAGE_BATCH,
                            .batch =
                                {
                                    .count = 2,
                                    .record_bytes = record_bytes,
                                    .way = way,
                                    .bytes = way == WAY_MAP ? 0 : sizeof payload,
                                    .ids = {ids, 2},
                                    .probabilities = {ones, 2},
                                    .weights = {ones, 2},
                                    .offsets = {at->offsets, 2},
                                    .sizes = {at->sizes, 2},
                                    .payload = {payload, is_payload ? sizeof payload : 0},
                                },
                        };
    struct frames f;

    codec_encode(&m, &f);
    return codec_decode(c, f.list, f.count, &got, NULL);
}

static void records_lie_behind_each_other_in_a_block_and_anywhere_in_a_file(void **state)
{
    struct codec *c = codec_new();

    (void)state;
    for (size_t i = 0; i < sizeof placings / sizeof placings[0]; i++) {
        const struct placing *at = &placings[i];
        bool same = at->sizes[0] == at->sizes[1];
        int in_block = at->in_block ? 0 : -OHEM_MALFORMED;

        print_message("placing %zu\n", i);
        assert_int_equal(decode_placing(c, at, WAY_INLINE, 0), in_block);
        assert_int_equal(decode_placing(c, at, WAY_SHM, 0), in_block);
        assert_int_equal(decode_placing(c, at, WAY_MAP, 0), at->in_file ? 0 : -OHEM_MALFORMED);
        if (at->sizes[0] > 0)
            assert_int_equal(decode_placing(c, at, WAY_MAP, at->sizes[0]),
                             same ? 0 : -OHEM_MALFORMED);
    }
    codec_free(c);
}

/* Which of slot, bytes, parts and payload each way may have; the payload is 16 bytes or none. */
static void each_way_has_its_own_fields(void **state)
{
    enum { K = 2, BYTES = 16 };
    static const struct {
        uint32_t way, slot, parts;
        size_t bytes, payload;
        bool good;
    } cases[] = {
        {WAY_INLINE, 0, 0, BYTES, BYTES, true},
        {WAY_INLINE, 0, K, BYTES, 0, true},
        {WAY_INLINE, 0, 1, BYTES, 0, true},
        {WAY_INLINE, 0, 0, BYTES, 0, false},
        {WAY_INLINE, 0, K, BYTES, BYTES, false},
        {WAY_INLINE, 0, K + 1, BYTES, 0, false},
        {WAY_INLINE, 1, 0, BYTES, BYTES, false},
        {WAY_INLINE, 0, 0, BYTES + 1, BYTES, false},
        {WAY_INLINE, 0, 0, BYTES - 1, BYTES, false},
        {WAY_SHM, 0, 0, BYTES, 0, true},
        {WAY_SHM, 63, 0, BYTES, 0, true},
        {WAY_SHM, 0, 1, BYTES, 0, false},
        {WAY_SHM, 0, 0, BYTES, BYTES, false},
        {WAY_MAP, 0, 0, 0, 0, true},
        {WAY_MAP, 0, 0, BYTES, 0, false},
        {WAY_MAP, 1, 0, 0, 0, false},
        {WAY_MAP, 0, 1, 0, 0, false},
        {WAY_MAP, 0, 0, 0, BYTES, false},
    };
    static const unsigned char zeros[BYTES];
    struct codec *c = codec_new();
    struct message m = {.type = MESSAGE_BATCH}, got;
    struct frames f;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m.batch = (struct message_batch){
            .count = K,
            .way = cases[i].way,
            .slot = cases[i].slot,
            .parts = cases[i].parts,
            .bytes = cases[i].bytes,
            .ids = {zeros, K},
            .probabilities = {zeros, K},
            .weights = {zeros, K},
            .offsets = {zeros, K},
            .sizes = {zeros, K},
            .payload = {zeros, cases[i].payload},
        };
        print_message("case %zu\n", i);
        codec_encode(&m, &f);
        assert_int_equal(codec_decode(c, f.list, f.count, &got, NULL),
                         cases[i].good ? 0 : -OHEM_MALFORMED);
    }
    codec_free(c);
}

/* ---- the longest --------------------------------------------------------------------------- */

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

static void the_longest_welcome_fits_a_header(void **state)
{
    struct vectors_block b = find_block("welcome_widest");

    (void)state;
    assert_true(b.list[0].size > 700 && b.list[0].size <= MESSAGE_HEADER_BYTES_MAX);
    vectors_free(&b);
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
    assert_string_equal(message_type_name(MESSAGE_DURABLE + 1), "?");
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
          TEST(vectors_may_be_unaligned),
          TEST(records_lie_behind_each_other_in_a_block_and_anywhere_in_a_file),
          TEST(each_way_has_its_own_fields), TEST(the_longest_texts_fit_a_header),
          TEST(the_longest_welcome_fits_a_header), TEST(a_batch_of_the_largest_size_goes_both_ways),
          TEST(a_text_is_sent_as_far_as_it_is_clean), TEST(each_type_has_its_name))
