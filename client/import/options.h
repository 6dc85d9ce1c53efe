/* options.h - the command line: which source, which target, which filters. */
#ifndef IMPORT_OPTIONS_H
#define IMPORT_OPTIONS_H

#include "filter.h"
#include "reader.h"

struct options {
    struct source source;
    struct filter filter;
    uint64_t limit; /* instances of the source to look at; 0: all */
    const char *target;
};

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/**
 * Parse and check all that needs no file. Paths stay those of argv, whose order may change.
 * @return 0, or -OHEM_INVALID with the reason
 */
int options_parse(int argc, char **argv, struct options *out, enum options_result *out_result,
                  struct reason *why);

void options_print_help(void);

#endif
