/* classes.h - the class of each instance, out of a field of its record.
 *
 * For the status: what share of each class the selection takes. Nothing is drawn or selected by it.
 */
#ifndef OHEMD_CLASSES_H
#define OHEMD_CLASSES_H

#include "dataset.h"

/**
 * Read a field of every record: long, if the records are on a disk.
 * @param fields  what a record consists of (fields.h)
 * @param name    the field: of type u8 and a single element
 * @param out     [dataset_count()], for free()
 * @return 0, or -OHEM_CONFIG (no such field, or of another kind; a record that is too short),
 *         -OHEM_NOMEM with the reason
 */
int classes_read(const struct dataset *d, const char *fields, const char *name, uint8_t **out,
                 struct reason *why);

#endif
