/* test_fields.c - what a record consists of: cases are lines of text, in fields.cases beside this
 * file; lists made up at random print and read back to themselves.
 *
 * A refusal is compared to the letter: that it names the field, the value and the limit is what an
 * operator has of it.
 */
#include "../../proto/error.h"
#include "../../proto/fields.h"
#include "../lib/test.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES_MAX  8192
#define REFUSAL_MAX     200 /* characters: callers put a few words before it */
#define LISTS           20000
#define FIELD_BYTES_MAX (UINT64_C(1) << 30)

/* A line of the file: `record bytes | text | what it means`. */
struct line {
    size_t number;
    uint64_t record_bytes;
    char text[TEXT_BYTES_MAX];
    const char *meaning;
};

/* ---- parsing under watch -------------------------------------------------------------------- */

/* Parse from memory of the text's own size, so that a sanitizer sees a step too far. What a refusal
 * may not do (touch the output, say nothing, say more than a line) ends the test. */
static int parse(const char *text, uint64_t record_bytes, struct fields *out, struct reason *why)
{
    static struct fields untouched;
    char *copy = strdup(text);
    int rc;

    assert_non_null(copy);
    memset(&untouched, 0xa5, sizeof untouched);
    memset(out, 0xa5, sizeof *out);
    why->text[0] = '\0';
    rc = fields_parse(copy, record_bytes, out, why);
    assert_int_equal(fields_parse(copy, record_bytes, out, NULL), rc);
    free(copy);
    if (rc == 0) {
        assert_string_equal(why->text, "");
        return 0;
    }
    assert_int_equal(rc, -OHEM_INVALID);
    assert_memory_equal(out, &untouched, sizeof untouched);
    assert_in_range(strlen(why->text), 1, REFUSAL_MAX);
    for (const char *c = why->text; *c != '\0'; c++)
        assert_in_range(*c, ' ', '~');
    return rc;
}

/* What follows from a field's other parts. */
static void check_sizes(const struct field *f)
{
    uint64_t bytes = f->item_bytes;

    assert_int_equal(f->item_bytes * 8, strtoul(f->type + 1, NULL, 10));
    for (uint32_t i = 0; i < f->dims; i++)
        bytes *= f->shape[i];
    assert_int_equal(f->bytes, bytes);
}

/* ---- the cases ------------------------------------------------------------------------------ */

static void print_meaning(const struct fields *fields, FILE *out)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->list[i];

        check_sizes(f);
        (void)fprintf(out, "%s%s %s [", i > 0 ? "; " : "", f->name, f->type);
        for (uint32_t d = 0; d < f->dims; d++)
            (void)fprintf(out, "%s%" PRIu64, d > 0 ? "," : "", f->shape[d]);
        (void)fprintf(out, "] %" PRIu64 "+%" PRIu64, f->offset, f->bytes);
    }
}

/* \t and \x1b are what they say. */
static void unescape(const char *from, size_t size, char *to)
{
    for (size_t i = 0; i < size; i++)
        if (strncmp(from + i, "\\t", 2) == 0) {
            *to++ = '\t';
            i++;
        } else if (strncmp(from + i, "\\x", 2) == 0) {
            const char digits[] = {from[i + 2], from[i + 3], '\0'};

            *to++ = (char)strtoul(digits, NULL, 16);
            i += 3;
        } else {
            *to++ = from[i];
        }
    *to = '\0';
}

/* One blank on each side of a text belongs to the form of the file. */
static void read_line(struct line *l, const char *text)
{
    const char *first = strchr(text, '|');
    const char *second = first != NULL ? strchr(first + 1, '|') : NULL;
    const char *begin, *end;

    if (second == NULL || second - first >= TEXT_BYTES_MAX) {
        fail_msg("line %zu is not of the form record bytes | text | meaning", l->number);
        return;
    }
    begin = first + (first[1] == ' ' ? 2 : 1);
    end = second > begin && second[-1] == ' ' ? second - 1 : second;
    unescape(begin, end > begin ? (size_t)(end - begin) : 0, l->text);
    l->record_bytes = strtoull(text, NULL, 10);
    l->meaning = second + 1 + strspn(second + 1, " ");
}

static void check_line(const struct line *l)
{
    char *meaning = NULL;
    size_t size;
    struct fields fields;
    struct reason why;
    FILE *out = open_memstream(&meaning, &size);

    assert_non_null(out);
    if (parse(l->text, l->record_bytes, &fields, &why) == 0)
        print_meaning(&fields, out);
    else
        (void)fprintf(out, "! %s", why.text);
    assert_int_equal(fclose(out), 0);
    if (strcmp(meaning, l->meaning) != 0)
        fail_msg("line %zu: '%s' is\n  %s, not\n  %s", l->number, l->text, meaning, l->meaning);
    free(meaning);
}

static FILE *open_in_source(const char *name)
{
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", test_source(), name);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("no file %s", path);
    return file;
}

static void each_line_means_what_it_says(void **state)
{
    FILE *file = open_in_source("tests/unit/fields.cases");
    static struct line l;
    char *text = NULL;
    size_t size = 0, checked = 0;

    (void)state;
    while (getline(&text, &size, file) > 0) {
        l.number++;
        text[strcspn(text, "\n")] = '\0';
        if (text[0] == '#' || text[0] == '\0')
            continue;
        read_line(&l, text);
        check_line(&l);
        checked++;
    }
    assert_true(checked > 0);
    print_message("%zu cases\n", checked);
    free(text);
    assert_int_equal(fclose(file), 0);
}

static void the_document_lists_the_types_as_a_refusal_does(void **state)
{
    FILE *file = open_in_source("proto/PROTOCOL.md");
    struct fields fields;
    struct reason why;
    const char *list;
    char *text = NULL;
    size_t size = 0;
    bool found = false;

    (void)state;
    assert_int_not_equal(parse("a=none@0", 0, &fields, &why), 0);
    list = strstr(why.text, "u8 ");
    assert_non_null(list);
    while (getline(&text, &size, file) > 0)
        found = found || strstr(text, list) != NULL;
    assert_true(found);
    free(text);
    assert_int_equal(fclose(file), 0);
}

static void a_field_is_found_by_its_whole_name(void **state)
{
    struct fields fields;
    struct reason why;

    (void)state;
    assert_int_equal(parse("label=u8@0, image=u8[28,28]@1", 785, &fields, &why), 0);
    assert_ptr_equal(fields_find(&fields, "label"), &fields.list[0]);
    assert_ptr_equal(fields_find(&fields, "image"), &fields.list[1]);
    assert_null(fields_find(&fields, "imag"));
    assert_null(fields_find(&fields, "images"));
    assert_null(fields_find(&fields, "Image"));
    assert_null(fields_find(&fields, ""));
    assert_int_equal(parse("", 785, &fields, &why), 0);
    assert_null(fields_find(&fields, "label"));
}

/* ---- lists made up at random ---------------------------------------------------------------- */

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)random_state * n >> 32);
}

/* The last two characters say which field it is: no name is there twice. */
static void make_name(struct field *f, size_t i)
{
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t size = 2 + random_below(FIELDS_NAME_BYTES_MAX - 1);

    for (size_t c = 0; c < size - 1; c++)
        f->name[c] = all[random_below(c == 0 ? 53 : 63)];
    f->name[size - 1] = all[i];
}

static struct field make_field(size_t i)
{
    static const char *const types[] = {"u8",  "i8",  "u16", "i16", "u32", "i32",
                                        "u64", "i64", "f16", "f32", "f64"};
    struct field f = {.dims = random_below(FIELDS_DIMS_MAX + 1)};
    const char *type = types[random_below(sizeof types / sizeof types[0])];

    make_name(&f, i);
    memcpy(f.type, type, strlen(type));
    f.item_bytes = (uint32_t)strtoul(type + 1, NULL, 10) / 8;
    f.bytes = f.item_bytes;
    for (uint32_t d = 0; d < f.dims; d++) {
        uint64_t room = FIELD_BYTES_MAX / f.bytes;
        uint64_t most = random_below(2) == 0 || room < 9 ? room : 9;

        f.shape[d] = 1 + random_below((uint32_t)most);
        f.bytes *= f.shape[d];
    }
    f.offset = random_below((uint32_t)FIELD_BYTES_MAX + 1);
    return f;
}

static void print_blanks(FILE *out)
{
    while (random_below(3) == 0)
        (void)fputc(random_below(4) == 0 ? '\t' : ' ', out);
}

static void print_part(FILE *out, const char *part)
{
    print_blanks(out);
    (void)fputs(part, out);
    print_blanks(out);
}

static void print_number(FILE *out, uint64_t number)
{
    print_blanks(out);
    (void)fprintf(out, "%" PRIu64, number);
    print_blanks(out);
}

static void print_field(const struct field *f, FILE *out)
{
    print_part(out, f->name);
    print_part(out, "=");
    print_part(out, f->type);
    for (uint32_t d = 0; d < f->dims; d++) {
        print_part(out, d == 0 ? "[" : ",");
        print_number(out, f->shape[d]);
    }
    if (f->dims > 0)
        print_part(out, "]");
    print_part(out, "@");
    print_number(out, f->offset);
}

/* A list, its text, and the end of its last byte. @return the text, to be freed */
static char *make_list(struct fields *fields, uint64_t *out_end)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    memset(fields, 0, sizeof *fields);
    *out_end = 0;
    fields->count = random_below(FIELDS_MAX + 1);
    for (size_t i = 0; i < fields->count; i++) {
        struct field *f = &fields->list[i];

        *f = make_field(i);
        *out_end = f->offset + f->bytes > *out_end ? f->offset + f->bytes : *out_end;
        (void)fputs(i > 0 ? "," : "", out);
        print_field(f, out);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static bool same_field(const struct field *a, const struct field *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->type, b->type) == 0 &&
           a->item_bytes == b->item_bytes && a->dims == b->dims &&
           memcmp(a->shape, b->shape, sizeof a->shape) == 0 && a->offset == b->offset &&
           a->bytes == b->bytes;
}

static void what_was_printed_reads_back_to_itself(void **state)
{
    (void)state;
    random_state = 20240607;
    for (size_t n = 0; n < LISTS; n++) {
        struct fields made, read;
        struct reason why;
        uint64_t end;
        char *text = make_list(&made, &end);

        if (parse(text, end, &read, &why) != 0)
            fail_msg("list %zu, '%s': %s", n, text, why.text);
        assert_int_equal(read.count, made.count);
        for (size_t i = 0; i < made.count; i++)
            if (!same_field(&read.list[i], &made.list[i]))
                fail_msg("list %zu, '%s': field %zu differs", n, text, i);
        if (end > 1)
            assert_int_equal(parse(text, end - 1, &read, &why), -OHEM_INVALID);
        free(text);
    }
}

/* parse() looks at the refusals; most of these are some. */
static void a_changed_byte_is_read_or_refused_with_a_line(void **state)
{
    size_t refused = 0;

    (void)state;
    random_state = 4711;
    for (size_t n = 0; n < LISTS; n++) {
        struct fields made, read;
        struct reason why;
        uint64_t end;
        char *text = make_list(&made, &end);
        size_t size = strlen(text);

        if (size > 0)
            text[random_below((uint32_t)size)] = (char)(random_below(256));
        refused += parse(text, 0, &read, &why) != 0;
        free(text);
    }
    assert_in_range(refused, LISTS / 2, LISTS - 1);
}

TEST_MAIN(TEST(each_line_means_what_it_says), TEST(the_document_lists_the_types_as_a_refusal_does),
          TEST(a_field_is_found_by_its_whole_name), TEST(what_was_printed_reads_back_to_itself),
          TEST(a_changed_byte_is_read_or_refused_with_a_line))
