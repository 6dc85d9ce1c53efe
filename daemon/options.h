/* options.h - the command line: what ohemd was asked to do, and with which configuration.
 *
 * Prints nothing but what was asked for (help, version, the configuration); errors are returned as
 * a line for main to print.
 */
#ifndef OHEMD_OPTIONS_H
#define OHEMD_OPTIONS_H

#include "config.h"

enum options_action {
    OPTIONS_RUN,     /* serve with the configuration */
    OPTIONS_CHECK,   /* --check-config: say that it is valid */
    OPTIONS_PRINT,   /* --print-config */
    OPTIONS_ANSWERED /* --help and the like: printed, there is no configuration */
};

/**
 * Read the options and the configuration that they name: the defaults, then the file, then what the
 * command line says. May be called again, to read them anew.
 * @param config  set on success, unless answered; checked. config_deinit() it
 * @return 0, or -OHEM_INVALID, -OHEM_CONFIG, -OHEM_NOMEM with the reason
 */
int options_read(int argc, char **argv, enum options_action *out_action, struct config *config,
                 struct reason *why);

#endif
