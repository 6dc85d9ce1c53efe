/* error.h - every error of ohemd, once: for the daemon, the client and the wire.
 *
 * Functions return 0 or the negative of one of these; an ERROR message carries the positive number.
 * A number, once released, keeps its meaning; new ones are added at the end of their group.
 * Installed beside ohem.h.
 */
#ifndef OHEM_ERROR_H
#define OHEM_ERROR_H

/* X(name, number, what it says to a person) */
#define OHEM_ERRORS(X) \
    /* the caller or the machine */ \
    X(NOMEM, 1, "out of memory") \
    X(INVALID, 2, "an argument or a setting is not allowed") \
    X(SYSTEM, 3, "the operating system refused") \
    X(TIMEDOUT, 4, "nothing came in time") \
    X(UNREACHABLE, 5, "no daemon answers at the endpoint") \
    X(FORKED, 6, "a client cannot be used in a process forked after it was opened") \
    X(CONFIG, 7, "the configuration is not valid") \
    X(DATASET, 8, "the data set cannot be used") \
    X(EXISTS, 9, "the target exists already") \
    X(INTERNAL, 10, "a fault of ohemd's own") \
    X(TRANSPORT, 11, "the transport that was asked for cannot be had") \
    X(STATE, 12, "the state directory cannot be used") \
    /* the conversation */ \
    X(VERSION, 20, "the two sides speak different major versions of the protocol") \
    X(MALFORMED, 21, "a message cannot be read") \
    X(TOO_LARGE, 22, "a message, batch or count is over its limit") \
    X(NO_JOB, 23, "the daemon has no job of that name") \
    X(NO_SESSION, 24, "the daemon does not know this session; HELLO comes first") \
    X(LIMIT, 25, "a limit of the daemon is reached") \
    X(DRAINING, 26, "the daemon is going down; report what you hold and close") \
    /* a report */ \
    X(TOKEN, 40, "no batch is held under this token") \
    X(FOREIGN, 41, "the batch was handed to another session") \
    X(COUNT, 42, "a report must have one loss for each instance of its batch") \
    X(CONFLICT, 43, "the batch was reported before with other losses") \
    X(EXPIRED, 44, "the batch was closed long after its lease ended") \
    X(STALE, 45, "the batch's records may have been overwritten in the data set's file") \
    X(RETRY, 46, "the report's turn has not come yet; send it again in a moment")

enum ohem_error {
    OHEM_OK = 0,
#define OHEM_ERROR_ENUM(name, number, text) OHEM_##name = (number),
    OHEM_ERRORS(OHEM_ERROR_ENUM)
#undef OHEM_ERROR_ENUM
};

#endif
