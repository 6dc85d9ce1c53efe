/* classes.c - see classes.h. */
#include "classes.h"

#include "../proto/error.h"
#include "../proto/fields.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int find_field(const struct dataset *d, const char *fields, const char *name,
                      struct field *out, struct reason *why)
{
    struct fields all = {.count = 0};
    const struct field *field;
    int rc = fields_parse(fields, dataset_record_bytes(d), &all, why);

    if (rc != 0)
        return rc;
    field = fields_find(&all, name);
    if (field == NULL) {
        reason_set(why, "classes = %s: the data set has no field of that name (fields)", name);
        return -OHEM_CONFIG;
    }
    if (strcmp(field->type, "u8") != 0 || field->dims > 0) {
        reason_set(why, "classes = %s: the field is of type %s%s; a single u8 is wanted", name,
                   field->type, field->dims > 0 ? "[]" : "");
        return -OHEM_CONFIG;
    }
    *out = *field;
    return 0;
}

static int read_all(const struct dataset *d, const struct field *field, uint8_t *classes,
                    struct reason *why)
{
    for (uint64_t id = 0; id < dataset_count(d); id++) {
        struct dataset_record record = dataset_record(d, id);

        if (record.size <= field->offset) {
            reason_set(why,
                       "classes = %s: the record of instance %" PRIu64 " has %zu bytes, the field "
                       "begins at %" PRIu64,
                       field->name, id, record.size, field->offset);
            return -OHEM_CONFIG;
        }
        classes[id] = ((const uint8_t *)record.data)[field->offset];
    }
    return 0;
}

int classes_read(const struct dataset *d, const char *fields, const char *name, uint8_t **out,
                 struct reason *why)
{
    struct field field;
    uint8_t *classes;
    int rc = find_field(d, fields, name, &field, why);

    if (rc != 0)
        return rc;
    classes = malloc(dataset_count(d));
    if (classes == NULL) {
        reason_set(why, "classes = %s: no memory for %" PRIu64 " instances", name,
                   dataset_count(d));
        return -OHEM_NOMEM;
    }
    rc = read_all(d, &field, classes, why);
    if (rc == 0)
        *out = classes;
    else
        free(classes);
    return rc;
}
