/* config.h - what an operator may set: one sorted table of settings, one struct per section.
 *
 * INI, as systemd units have it: [daemon], [dataset NAME], [job NAME]. Everything is checked before
 * anything starts; an error is one line with file, line, key, value and what is allowed. A relative
 * path starts at the folder of the file that it stands in, or on the command line at the working
 * directory; in here all paths are absolute.
 */
#ifndef OHEMD_CONFIG_H
#define OHEMD_CONFIG_H

#include "dataset.h"
#include "engine/job.h"
#include "log.h"

#include <stdio.h>

#define CONFIG_DATASETS_MAX 64
#define CONFIG_JOBS_MAX     64
#define CONFIG_PATH_MAX     4096

/* What clients on the same host may get of a data set, beside inline batches. */
enum config_share {
    CONFIG_SHARE_MAP, /* the data file itself, to read; and shm */
    CONFIG_SHARE_SHM, /* copies of the records of their batches */
    CONFIG_SHARE_NONE
};

struct config_dataset {
    char name[MESSAGE_NAME_BYTES_MAX + 1];
    char path[CONFIG_PATH_MAX];                /* LMDB folder, or data file */
    char database[MESSAGE_NAME_BYTES_MAX + 1]; /* named sub-database; "": the main one */
    bool immutable;                            /* nobody writes: open without the lock file */
    enum config_share share;
    enum dataset_readahead readahead;
    char fields[MESSAGE_TEXT_BYTES_MAX + 1]; /* what a record consists of (fields.h), or "" */
};

/* What the sequence of a job's batches may depend on (DESIGN 5). */
enum config_order {
    CONFIG_ORDER_FREE,  /* never waits: timing decides, too */
    CONFIG_ORDER_STRICT /* data set, seed, settings and losses alone: may wait for reports */
};

struct config_job {
    char dataset[MESSAGE_NAME_BYTES_MAX + 1]; /* a [dataset NAME]; "": the only one */
    enum config_order order;
    char irreducible[CONFIG_PATH_MAX];        /* a file of losses (irreducible.h); "": none */
    char classes[MESSAGE_NAME_BYTES_MAX + 1]; /* a field of the records (classes.h); "": none */
    uint32_t staleness;                       /* D of the strict order, 1..4096; 64 */
    struct job_settings settings; /* all but dataset and secret; staleness by config_check() */
};

struct config {
    char listen[CONFIG_PATH_MAX];         /* ZeroMQ endpoint for trainers */
    uint32_t metrics_port;                /* of the loopback interface; 0: none */
    char status_socket[CONFIG_PATH_MAX];  /* path of the Unix socket */
    char share_socket[CONFIG_PATH_MAX];   /* likewise; config_check() makes it LISTEN.share if "" */
    char control_socket[CONFIG_PATH_MAX]; /* likewise; config_check() places it if "" and it can;
                                             "": none */
    uint32_t socket_mode;                 /* of the Unix sockets but control's, octal: 0660 */
    uint32_t control_mode;                /* of the control socket, octal: 0600 */
    bool insecure_tcp;                    /* allow a tcp:// endpoint */
    enum log_level log_level;
    uint32_t sessions_max;           /* 1..4096, 1024 */
    uint32_t gather_threads;         /* 1..64, 2 */
    uint64_t payload_bytes_max;      /* of one batch, 1..2^30; 2^28 */
    uint64_t prefetch_bytes_max;     /* of all batches that one session holds; 2^30 */
    uint64_t slot_bytes_max;         /* of a shared slot, 4096..2^30; 2^26 */
    uint64_t shm_bytes_max;          /* of all shared slots; 2^31 */
    uint64_t drain_ms;               /* how long SIGTERM waits for reports; 10,000 */
    char state[CONFIG_PATH_MAX];     /* folder of the state; "": scores are in memory only */
    uint64_t state_bytes_max;        /* of the state's environment, 2^20..2^46; 2^36 */
    uint64_t commit_ms;              /* from a change to the commit that holds it, 1..60,000; 200 */
    bool fresh;                      /* jobs start over: of the command line, no setting */
    struct config_dataset *datasets; /* [dataset_count] */
    size_t dataset_count;
    struct config_job *jobs; /* [job_count] */
    size_t job_count;
};

/**
 * All defaults: sockets in the runtime directory ($RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/ohemd,
 * else /run/ohemd), the state in the first of $STATE_DIRECTORY, no data set, no job.
 * @return 0, or -OHEM_NOMEM, -OHEM_CONFIG (a path too long) with the reason
 */
int config_init(struct config *c, struct reason *why);
void config_deinit(struct config *c);

/** Read a file over the defaults. Syntax and each value are checked. A line may be as long as inih
 *  was built for (198 bytes in Debian). @return 0, -OHEM_CONFIG, -OHEM_NOMEM. */
int config_read(struct config *c, const char *file, struct reason *why);

/** The short way: data set and job, both named "default", from a path (relative is fine). */
int config_add_dataset(struct config *c, const char *path, struct reason *why);

/** Set a key of [daemon], as the command line may. @return 0 or -OHEM_CONFIG. */
int config_set(struct config *c, const char *key, const char *value, struct reason *why);

/**
 * Finish: jobs get their data sets (a file with data sets but no job gets one job "default" if
 * there is exactly one data set), and what fits no single line is checked across sections. From
 * then on job.dataset names a data set of the list, and job.settings.dataset.number is its place
 * there.
 * @return 0 or -OHEM_CONFIG, -OHEM_NOMEM with the reason
 */
int config_check(struct config *c, struct reason *why);

/* One difference between two configurations, as a line: "[job j] rho = 0.4, was 0.5".
 * @param waits_why  why it does not apply to a daemon that runs, or NULL: it does */
typedef void (*config_say_cb)(void *ctx, const char *line, const char *waits_why);

/**
 * Go on with another configuration, a checked one, as far as a running daemon can: settings that
 * need a restart stay what they are, and what is in force then fits together.
 * @param say_cb  called for each difference
 * @return 0, or -OHEM_CONFIG, -OHEM_NOMEM with the reason: nothing has changed, nothing was said
 */
int config_change(struct config *running, const struct config *next, config_say_cb say_cb,
                  void *ctx, struct reason *why);

/** Print all settings in force, as a file that config_read() takes and reads to the same. */
void config_print(const struct config *c, FILE *out);

/** The section of one job of it. */
void config_print_job(const struct config_job *job, FILE *out);

/** Print the table: key, type, unit, default, range, meaning (for --help-config and the docs'
 * test). */
void config_print_table(FILE *out);

#endif
