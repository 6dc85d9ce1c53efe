/* config_table.h - the one table of settings, and what can be done with a row of it.
 *
 * Private to config*.c and their tests. Reading, printing, the help and the documentation's test
 * all walk this table, so a setting is added by adding a field, its default and one row.
 */
#ifndef OHEMD_CONFIG_TABLE_H
#define OHEMD_CONFIG_TABLE_H

#include "config.h"

#define CONFIG_SOCKET_PATH_MAX 107 /* what sockaddr_un holds, without its final zero */

enum config_section { CONFIG_DAEMON, CONFIG_DATASET, CONFIG_JOB, CONFIG_SECTION_COUNT };

enum config_type {
    CONFIG_TEXT,     /* char[size] */
    CONFIG_NAME,     /* char[size]: [A-Za-z0-9_.-], or empty */
    CONFIG_PATH,     /* char[size]: a file's path */
    CONFIG_ENDPOINT, /* char[size]: ipc://PATH or tcp://HOST:PORT */
    CONFIG_BOOL,     /* bool */
    CONFIG_MODE,     /* uint32_t, written in octal */
    CONFIG_U32,      /* uint32_t */
    CONFIG_U64,      /* uint64_t */
    CONFIG_F64,      /* double */
    CONFIG_WORD      /* an enum: the index into `words` */
};

struct config_setting {
    enum config_section section;
    const char *key;
    enum config_type type;
    const char *unit;
    size_t offset;             /* in the struct of its section */
    size_t size;               /* of a text, final zero included */
    uint64_t min, max;         /* of whole numbers and modes, both allowed */
    double low, high;          /* of an F64, both allowed ... */
    bool above_low;            /* ... but `low` itself when this is set */
    const char *const *words;  /* ends with NULL */
    const char *default_shown; /* where the default is not a constant; else NULL */
    bool optional;             /* a path that may be empty */
    bool live;                 /* a reload may change it; else a restart has to */
    const char *meaning;
};

/** The table: by section, then by key. */
extern const struct config_setting config_settings[];
extern const size_t config_setting_count;
#define CONFIG_SETTINGS_MAX 128 /* and more than there are */

/* The defaults of each section, the same for every instance of it. */
extern const struct config config_defaults; /* but the sockets, see config_init() */
extern const struct config_dataset config_dataset_defaults;
extern const struct config_job config_job_defaults;

/* The default of `alpha` when weight = rank and alpha is not given (PER: Schaul et al., table 3).
 */
#define CONFIG_ALPHA_RANK 0.7

/** "daemon", "dataset", "job". */
const char *config_section_name(enum config_section section);

/** @return the row, or NULL. */
const struct config_setting *config_find(enum config_section section, const char *key);

/** The known key of a section that is close to a mistyped one, or NULL. */
const char *config_nearest_key(enum config_section section, const char *key);

/** Is b what somebody may have meant who wrote a? (few edits, for the length) */
bool config_is_near(const char *a, const char *b);

/** 1..64 of [A-Za-z0-9_.-]? */
bool config_is_name(const char *text);

/**
 * Read a value into its place.
 * @param base  the struct of the setting's section
 * @param must  filled on failure with what is allowed: "must be above 0 and at most 1"
 * @return 0 or -OHEM_CONFIG; then the place is untouched
 */
int config_value_parse(const struct config_setting *s, const char *text, void *base,
                       struct reason *must);

/** Write a value as config_value_parse() reads it. @return how many bytes. */
int config_value_print(const struct config_setting *s, const void *base, FILE *out);

/** "above 0 to 1", "1 to 64", "yes|no": what is allowed, in short. @return how many bytes. */
int config_range_print(const struct config_setting *s, FILE *out);

/**
 * A relative path, also one in an ipc:// endpoint, gets `folder` in front of it.
 * @param text  in and out, a text of CONFIG_PATH_MAX
 * @return 0, or -OHEM_CONFIG with what is allowed
 */
int config_path_resolve(enum config_type type, const char *folder, char *text, struct reason *must);

/** The section of that name, or NULL. */
struct config_dataset *config_find_dataset(const struct config *c, const char *name);
struct config_job *config_find_job(const struct config *c, const char *name);

/**
 * Open a section of its own name, with the defaults.
 * @return 0, or -OHEM_NOMEM, -OHEM_CONFIG (the name is not one, is taken, or there are too many)
 */
int config_new_dataset(struct config *c, const char *name, struct config_dataset **out,
                       struct reason *why);
int config_new_job(struct config *c, const char *name, struct config_job **out, struct reason *why);

#endif
