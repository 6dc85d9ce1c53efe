/* json_text.h - text of any origin as a JSON string. */
#ifndef OHEMD_JSON_TEXT_H
#define OHEMD_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>

/** What is not valid UTF-8 or not printable is replaced by '?'.
 *  @return a new reference, or NULL when there is no memory */
json_t *json_text(const char *text);

/** Without control characters? */
bool json_text_is_printable(const char *text, size_t size);

#endif
