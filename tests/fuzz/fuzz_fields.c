/* fuzz_fields.c - any bytes as a list of fields: read or refused with a line, never worse.
 *
 * What is accepted must fit in a record that ends with its last byte and in none that is shorter,
 * and print as a list that reads to the same.
 */
#include "../../proto/error.h"
#include "../../proto/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELD_BYTES_MAX (UINT64_C(1) << 30)
#define REFUSAL_MAX     200
#define UNTOUCHED       0xa5

static bool is_untouched(const void *bytes, size_t size)
{
    const uint8_t *b = bytes;

    while (size > 0 && b[size - 1] == UNTOUCHED)
        size--;
    return size == 0;
}

/* As fields_parse(); a refusal must be a line and leave the output alone. */
static int parse(const char *text, uint64_t record_bytes, struct fields *out)
{
    struct reason why = {""};
    int rc;

    memset(out, UNTOUCHED, sizeof *out);
    rc = fields_parse(text, record_bytes, out, &why);
    assert(rc == 0 || rc == -OHEM_INVALID);
    assert((rc == 0) == (why.text[0] == '\0'));
    assert(strlen(why.text) <= REFUSAL_MAX);
    for (const char *c = why.text; *c != '\0'; c++)
        assert(*c >= ' ' && *c <= '~');
    assert(rc == 0 || is_untouched(out, sizeof *out));
    return rc;
}

static void check_field(const struct fields *fields, size_t i)
{
    const struct field *f = &fields->list[i];
    uint64_t bytes = f->item_bytes;

    assert(memchr(f->name, '\0', sizeof f->name) != NULL && f->name[0] != '\0');
    assert(memchr(f->type, '\0', sizeof f->type) != NULL);
    assert(f->item_bytes * 8 == strtoul(f->type + 1, NULL, 10));
    assert(f->dims <= FIELDS_DIMS_MAX && f->offset <= FIELD_BYTES_MAX);
    for (uint32_t d = 0; d < f->dims; d++) {
        assert(f->shape[d] >= 1 && f->shape[d] <= FIELD_BYTES_MAX);
        bytes *= f->shape[d];
        assert(bytes <= FIELD_BYTES_MAX);
    }
    assert(f->bytes == bytes);
    assert(fields_find(fields, f->name) == f);
}

static uint64_t end_of(const struct fields *fields)
{
    uint64_t end = 0;

    for (size_t i = 0; i < fields->count; i++) {
        uint64_t e = fields->list[i].offset + fields->list[i].bytes;

        end = e > end ? e : end;
    }
    return end;
}

static char *print_text(const struct fields *fields)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert(out != NULL);
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->list[i];

        (void)fprintf(out, "%s%s = %s", i > 0 ? ", " : "", f->name, f->type);
        for (uint32_t d = 0; d < f->dims; d++)
            (void)fprintf(out, "%s%" PRIu64, d == 0 ? "[" : ",", f->shape[d]);
        (void)fprintf(out, "%s@%" PRIu64, f->dims > 0 ? "]" : "", f->offset);
    }
    (void)fclose(out);
    return text;
}

static void check_accepted(const char *text, const struct fields *fields)
{
    struct fields again;
    uint64_t end = end_of(fields);
    char *first = print_text(fields), *second;

    assert(fields->count <= FIELDS_MAX);
    for (size_t i = 0; i < fields->count; i++)
        check_field(fields, i);
    if (end > 1)
        assert(parse(text, end - 1, &again) != 0);
    assert(parse(first, end, &again) == 0);
    second = print_text(&again);
    assert(strcmp(first, second) == 0);
    free(second);
    free(first);
}

/* The text gets memory of its own size, so that a step behind it is seen. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct fields fields;

    assert(text != NULL);
    if (parse(text, 0, &fields) == 0)
        check_accepted(text, &fields);
    free(text);
    return 0;
}
