/* config_table.c - the table of settings and its defaults.
 *
 * The rows say what there is; config_value.c reads and prints one value by its row. The defaults
 * lie in structs, those of the policies in the engine's headers, so the table repeats none of them.
 */
#include "config_table.h"

#include "engine/infobatch.h"

#include <string.h>

const struct config config_defaults = {
    .socket_mode = 0660,
    .control_mode = 0600,
    .log_level = LOG_LEVEL_INFO,
    .sessions_max = 1024,
    .gather_threads = 2,
    .payload_bytes_max = 1u << 28,
    .prefetch_bytes_max = 1u << 30,
    .slot_bytes_max = 1u << 26,
    .shm_bytes_max = 1u << 31,
    .drain_ms = 10000,
    .state_bytes_max = UINT64_C(1) << 36,
    .commit_ms = 200,
};

const struct config_dataset config_dataset_defaults = {.immutable = false};

const struct config_job config_job_defaults = {
    .staleness = 64,
    .settings =
        {
            .lambda = 0.5,
            .sampler = SAMPLER_POLICY_DEFAULT,
            .selection = SELECTION_POLICY_DEFAULT,
            .quarantine = QUARANTINE_POLICY_DEFAULT,
            .round = ROUND_POLICY_DEFAULT,
            .batch_size = 256,
            .credit = 4,
            .lease_ms = 120000,
            .late_ms = 600000,
            .audit_bytes_max = UINT64_C(1) << 32,
            .warm_factor = 0.5,
        },
};

/* Indexed by the enums of log.h, sampler.h and selection.h. */
static const char *const level_words[] = {
#define LEVEL_WORD(name, word, priority) word,
    LOG_LEVELS(LEVEL_WORD)
#undef LEVEL_WORD
        NULL,
};
static const char *const weight_words[] = {
    [SAMPLER_HARD] = "hard",
    [SAMPLER_RANK] = "rank",
    [SAMPLER_UNIFORM] = "uniform",
    [SAMPLER_UNIFORM + 1] = NULL,
};
static const char *const sampling_words[] = {
    [SAMPLER_MIX] = "mix",
    [SAMPLER_INFOBATCH] = "infobatch",
    [SAMPLER_INFOBATCH + 1] = NULL,
};
static const char *const normalise_words[] = {
    [SAMPLER_MEAN] = "mean",
    [SAMPLER_MAX] = "max",
    [SAMPLER_NONE] = "none",
    [SAMPLER_NONE + 1] = NULL,
};
static const char *const order_words[] = {
    [CONFIG_ORDER_FREE] = "free",
    [CONFIG_ORDER_STRICT] = "strict",
    [CONFIG_ORDER_STRICT + 1] = NULL,
};
static const char *const share_words[] = {
    [CONFIG_SHARE_MAP] = "map",
    [CONFIG_SHARE_SHM] = "shm",
    [CONFIG_SHARE_NONE] = "none",
    [CONFIG_SHARE_NONE + 1] = NULL,
};
static const char *const readahead_words[] = {
    [DATASET_READAHEAD_AUTO] = "auto",
    [DATASET_READAHEAD_YES] = "yes",
    [DATASET_READAHEAD_NO] = "no",
    [DATASET_READAHEAD_NO + 1] = NULL,
};
static const char *const bias_words[] = {
    [SAMPLER_ON] = "on",   [SAMPLER_AUTO] = "auto",  [SAMPLER_SHADOW] = "shadow",
    [SAMPLER_OFF] = "off", [SAMPLER_OFF + 1] = NULL,
};
static const char *const mode_words[] = {
    [SELECTION_ON] = "on",
    [SELECTION_SHADOW] = "shadow",
    [SELECTION_OFF] = "off",
    [SELECTION_OFF + 1] = NULL,
};
static const char *const select_words[] = {
    [SELECTION_ALL] = "all",       [SELECTION_TOP] = "top", [SELECTION_THRESHOLD] = "threshold",
    [SELECTION_NEGPOS] = "negpos", [SELECTION_CDF] = "cdf", [SELECTION_CDF + 1] = NULL,
};

#define SIZE_OF(type, field) sizeof(((type *)NULL)->field)
#define AT(type, field)      .offset = offsetof(type, field), .size = SIZE_OF(type, field)
#define DAEMON(name, field)  .section = CONFIG_DAEMON, .key = name, AT(struct config, field)
#define DATASET(name, field) \
    .section = CONFIG_DATASET, .key = name, AT(struct config_dataset, field)
#define JOB(name, field)      .section = CONFIG_JOB, .key = name, AT(struct config_job, field)
#define WHOLE(kind, from, to) .type = CONFIG_##kind, .min = (from), .max = (to)
#define REAL(from, to)        .type = CONFIG_F64, .low = (from), .high = (to)
#define SHARE                 .type = CONFIG_F64, .low = 0, .high = 1, .above_low = true
#define WORD(list)            .type = CONFIG_WORD, .words = (list)
#define LIVE                  .live = true
#define EPOCHS_MAX            1e9
#define DAY_MS                86400000u

/* clang-format off: a table reads by its columns */
const struct config_setting config_settings[] = {
    {DAEMON("commit_ms", commit_ms), WHOLE(U64, 1, 60000), .unit = "ms", LIVE,
     .meaning = "a report is on its way to disk after at most so long"},
    {DAEMON("control_mode", control_mode), WHOLE(MODE, 0, 0777), .unit = "octal",
     .meaning = "who may use the control socket, as file permissions"},
    {DAEMON("control_socket", control_socket), .type = CONFIG_PATH, .optional = true,
     .default_shown = "RUNTIME/control.sock",
     .meaning = "path of the Unix socket where ohemctl changes things"},
    {DAEMON("drain_ms", drain_ms), WHOLE(U64, 0, DAY_MS), .unit = "ms", LIVE,
     .meaning = "how long SIGTERM waits for the reports of batches that are out"},
    {DAEMON("gather_threads", gather_threads), WHOLE(U32, 1, 64), .unit = "threads",
     .meaning = "threads that copy records into batches"},
    {DAEMON("insecure_tcp", insecure_tcp), .type = CONFIG_BOOL,
     .meaning = "allow a tcp:// endpoint, which is open to all who reach it"},
    {DAEMON("listen", listen), .type = CONFIG_ENDPOINT, .default_shown = "ipc://RUNTIME/ohemd.sock",
     .meaning = "where trainers connect: ipc://PATH or tcp://HOST:PORT"},
    {DAEMON("log_level", log_level), WORD(level_words), LIVE,
     .meaning = "what is below this is not written"},
    {DAEMON("metrics_port", metrics_port), WHOLE(U32, 0, 65535),
     .meaning = "a port of 127.0.0.1 where Prometheus may scrape /metrics; 0: none"},
    {DAEMON("payload_bytes_max", payload_bytes_max), WHOLE(U64, 1, MESSAGE_PAYLOAD_BYTES_MAX),
     .unit = "bytes", LIVE, .meaning = "records of one batch together: K times the largest"},
    {DAEMON("prefetch_bytes_max", prefetch_bytes_max), WHOLE(U64, 1, UINT64_C(1) << 40),
     .unit = "bytes", LIVE, .meaning = "batches of one session together: more credit is not given"},
    {DAEMON("sessions_max", sessions_max), WHOLE(U32, 1, 4096), .unit = "sessions",
     .meaning = "trainers connected at once, of all jobs"},
    {DAEMON("share_socket", share_socket), .type = CONFIG_PATH, .optional = true,
     .default_shown = "LISTEN.share",
     .meaning = "path of the Unix socket where clients get what they may map"},
    {DAEMON("shm_bytes_max", shm_bytes_max), WHOLE(U64, 0, UINT64_C(1) << 40), .unit = "bytes",
     LIVE, .meaning = "shared slots of all sessions together; who comes later gets batches inline"},
    {DAEMON("slot_bytes_max", slot_bytes_max), WHOLE(U64, 4096, MESSAGE_PAYLOAD_BYTES_MAX),
     .unit = "bytes", LIVE, .meaning = "a shared slot; a batch that does not fit goes inline"},
    {DAEMON("socket_mode", socket_mode), WHOLE(MODE, 0, 0777), .unit = "octal",
     .meaning = "who may use the Unix sockets, as file permissions"},
    {DAEMON("state", state), .type = CONFIG_PATH, .optional = true,
     .default_shown = "$STATE_DIRECTORY, if set",
     .meaning = "folder for what survives a restart; empty: memory only"},
    {DAEMON("state_bytes_max", state_bytes_max), WHOLE(U64, 1 << 20, UINT64_C(1) << 46),
     .unit = "bytes", .meaning = "the state grows no further; takes address space only"},
    {DAEMON("status_socket", status_socket), .type = CONFIG_PATH,
     .default_shown = "RUNTIME/status.sock",
     .meaning = "path of the Unix socket that ohemctl and curl ask"},

    {DATASET("database", database), .type = CONFIG_TEXT, .default_shown = "(the main one)",
     .meaning = "a named sub-database of the LMDB environment"},
    {DATASET("fields", fields), .type = CONFIG_TEXT, .default_shown = "(opaque)",
     .meaning = "what a record consists of: NAME = TYPE[SHAPE]@BYTE, ..."},
    {DATASET("immutable", immutable), .type = CONFIG_BOOL,
     .meaning = "nobody writes to it: open it without the lock file"},
    {DATASET("path", path), .type = CONFIG_PATH, .default_shown = "(needed)",
     .meaning = "an LMDB folder, or a data file"},
    {DATASET("readahead", readahead), WORD(readahead_words),
     .meaning = "read a batch's records ahead; auto: when the disk was waited for"},
    {DATASET("share", share), WORD(share_words), LIVE,
     .meaning = "what trainers on this host may map: the data file, copies in slots, or none"},

    {JOB("alpha", settings.sampler.alpha), REAL(0, 8), .default_shown = "1, or 0.7 with rank", LIVE,
     .meaning = "how sharply weight prefers hard instances: its exponent"},
    {JOB("anneal_in", settings.sampler.anneal_in), REAL(0, EPOCHS_MAX), .unit = "epochs", LIVE,
     .meaning = "after the warm-up the bias rises over so long"},
    {JOB("anneal_out", settings.sampler.anneal_out), REAL(0, EPOCHS_MAX), .unit = "epochs", LIVE,
     .meaning = "before the end of `epochs` the bias falls over so long"},
    {JOB("audit", settings.audit), .type = CONFIG_BOOL,
     .meaning = "keep each draw and report for `ohemctl why`; needs a state directory"},
    {JOB("audit_bytes_max", settings.audit_bytes_max), WHOLE(U64, 1 << 20, UINT64_C(1) << 44),
     .unit = "bytes", .meaning = "then the oldest of it goes"},
    {JOB("batch_size", settings.batch_size), WHOLE(U32, 1, MESSAGE_BATCH_SIZE_MAX),
     .unit = "instances", LIVE, .meaning = "K, for trainers that ask for none"},
    {JOB("beta", settings.sampler.beta), REAL(0, 1), LIVE,
     .meaning = "how far the weights (N p)^-beta undo the bias: 0 not, 1 wholly"},
    {JOB("bias", settings.sampler.mode), WORD(bias_words), LIVE,
     .meaning = "draws by hardness: auto, where they pay; shadow: none, but status tells what they "
                "would do"},
    {JOB("bias_gain", settings.sampler.gain_min), REAL(1, 1e6), LIVE,
     .meaning = "with bias = auto: the gain above which they pay"},
    {JOB("cdf_floor", settings.selection.cdf_floor), SHARE, LIVE,
     .meaning = "with select = cdf: the least probability"},
    {JOB("cdf_power", settings.selection.cdf_power), REAL(0, SELECT_CDF_POWER_MAX), LIVE,
     .meaning = "with select = cdf: kept with probability percentile^cdf_power"},
    {JOB("classes", classes), .type = CONFIG_NAME, .default_shown = "(none)",
     .meaning = "a field of the records (u8): the status tells what is selected of each class"},
    {JOB("credit", settings.credit), WHOLE(U32, 1, MESSAGE_CREDIT_MAX), .unit = "batches", LIVE,
     .meaning = "batches a trainer may hold at once, when it does not say"},
    {JOB("dataset", dataset), .type = CONFIG_NAME, .default_shown = "(the only one)",
     .meaning = "which [dataset NAME] it trains on"},
    {JOB("epochs", settings.sampler.epochs), REAL(0, EPOCHS_MAX), .unit = "epochs", LIVE,
     .meaning = "length of the run, for anneal_out and infobatch_full; 0: endless"},
    {JOB("infobatch_full", settings.sampler.infobatch_full), REAL(0, 1), LIVE,
     .meaning = "with sampling = infobatch: the last so large a share of `epochs` skips nothing"},
    {JOB("infobatch_ratio", settings.sampler.infobatch_ratio), .type = CONFIG_F64, .low = 0,
     .high = INFOBATCH_RATIO_MAX, .above_low = true, LIVE,
     .meaning = "with sampling = infobatch: r, the share of the easy that is skipped"},
    {JOB("irreducible", irreducible), .type = CONFIG_PATH, .optional = true,
     .default_shown = "(none)",
     .meaning = "a file of float32 by id, subtracted from the losses that are reported"},
    {JOB("keep", settings.selection.keep_ratio), SHARE, LIVE,
     .meaning = "share of the batch that is selected"},
    {JOB("keep_count", settings.selection.keep_count), WHOLE(U32, 0, MESSAGE_ITEMS_MAX),
     .unit = "instances", LIVE, .meaning = "number of instances selected; 0: use keep"},
    {JOB("keep_epochs", settings.selection.keep_epochs), REAL(0, EPOCHS_MAX), .unit = "epochs",
     LIVE, .meaning = "over so many it goes from keep_from to keep; or keep_steps"},
    {JOB("keep_from", settings.selection.keep_from), REAL(0, 1), LIVE,
     .meaning = "with select = top: the share selected at the job's first step; 0: keep at once"},
    {JOB("keep_steps", settings.selection.keep_steps), WHOLE(U64, 0, UINT32_MAX), .unit = "batches",
     LIVE, .meaning = "over so many it goes from keep_from to keep"},
    {JOB("lambda", settings.lambda), SHARE,
     .meaning = "how fast a score follows the losses: h += lambda * (loss - h)"},
    {JOB("late_ms", settings.late_ms), WHOLE(U64, 0, DAY_MS), .unit = "ms",
     .meaning = "how long after its lease a report still reaches the scores"},
    {JOB("lease_ms", settings.lease_ms), WHOLE(U64, 100, DAY_MS), .unit = "ms",
     .meaning = "how long a trainer may hold a batch without a report"},
    {JOB("max_age", settings.max_age), WHOLE(U64, 0, UINT32_MAX), .unit = "reports", LIVE,
     .meaning = "batches that more reports have overtaken are drawn anew; 0: never"},
    {JOB("max_keep", settings.selection.max_keep), WHOLE(U32, 0, MESSAGE_ITEMS_MAX),
     .unit = "instances", LIVE,
     .meaning = "with select = threshold: at most so many, the hardest; 0: no limit"},
    {JOB("min_keep", settings.selection.min_keep), WHOLE(U32, 1, MESSAGE_ITEMS_MAX),
     .unit = "instances", LIVE, .meaning = "at least so many are selected"},
    {JOB("neg_min", settings.selection.neg_min), WHOLE(U32, 0, MESSAGE_ITEMS_MAX),
     .unit = "instances", LIVE,
     .meaning = "with select = negpos: negatives of a batch without a positive"},
    {JOB("neg_ratio", settings.selection.neg_ratio), .type = CONFIG_F64, .low = 0,
     .high = SELECT_NEG_RATIO_MAX, .above_low = true, LIVE,
     .meaning = "with select = negpos: negatives per positive"},
    {JOB("normalise", settings.sampler.normalise), WORD(normalise_words), LIVE,
     .meaning = "a batch's weights have this mean or max 1"},
    {JOB("order", order), WORD(order_words),
     .meaning = "strict: batches follow from seed and losses alone; free: never waits"},
    {JOB("quarantine", settings.quarantine.on), .type = CONFIG_BOOL,
     .meaning = "instances whose loss stays high are not drawn for it and not selected"},
    {JOB("quarantine_cap", settings.quarantine.cap), SHARE, LIVE,
     .meaning = "at most so large a share of the scored is in quarantine"},
    {JOB("quarantine_cv", settings.quarantine.cv), REAL(0, 1e6), LIVE,
     .meaning = "for those whose deviation / score is at most so much; 0: any"},
    {JOB("quarantine_share", settings.quarantine.share), REAL(0, 1), LIVE,
     .meaning = "the highest so large a share of the scores; 0: find it in the histogram"},
    {JOB("quarantine_visits", settings.quarantine.visits), WHOLE(U32, 1, HARDNESS_VISITS_MAX),
     .unit = "reports", LIVE, .meaning = "before an instance can be in quarantine"},
    {JOB("redraws", settings.sampler.redraws), WHOLE(U32, 0, 64), .unit = "draws", LIVE,
     .meaning = "with unique: tries before a hard slot falls to coverage"},
    {JOB("rho", settings.sampler.rho), SHARE, LIVE,
     .meaning = "share of coverage slots; the rest is drawn by hardness"},
    {JOB("round", settings.round.ranks), WHOLE(U32, 0, MESSAGE_ROUND_RANKS_MAX), .unit = "ranks",
     .meaning = "trainers with the ranks below it are answered together, with the hardest of all "
                "their batches; 0: each by itself"},
    {JOB("round_balanced", settings.round.balanced), .type = CONFIG_BOOL, LIVE,
     .meaning = "of each rank's batch is selected what the rule says of it alone"},
    {JOB("round_ms", settings.round.ms), WHOLE(U64, 1, DAY_MS), .unit = "ms", LIVE,
     .meaning = "from the first report of a round until it is answered without those missing"},
    {JOB("sampling", settings.sampler.sampling), WORD(sampling_words), LIVE,
     .meaning = "mix: coverage and draws by hardness; infobatch: coverage that skips some of those "
                "with a score below the mean"},
    {JOB("seed", settings.seed), WHOLE(U64, 0, UINT64_MAX),
     .meaning = "of all that is drawn at random"},
    {JOB("select", settings.selection.rule), WORD(select_words), LIVE,
     .meaning = "what is back-propagated: the hardest, those above threshold, positives and the "
                "hardest negatives, by chance, or all"},
    {JOB("select_by_report", settings.selection.by_report), .type = CONFIG_BOOL, LIVE,
     .meaning = "a trainer may choose another rule for a report"},
    {JOB("select_mode", settings.selection.mode), WORD(mode_words), LIVE,
     .meaning = "off: all are selected; shadow: all, but status tells what select would do"},
    {JOB("staleness", staleness), WHOLE(U32, 1, STRICT_STALENESS_MAX), .unit = "batches",
     .meaning = "strict: a batch is drawn when those so far before it are reported"},
    {JOB("threshold", settings.selection.threshold),
     REAL(-SELECT_THRESHOLD_MAX, SELECT_THRESHOLD_MAX), LIVE,
     .meaning = "with select = threshold: losses above it are selected"},
    {JOB("unique", settings.sampler.unique), .type = CONFIG_BOOL, LIVE,
     .meaning = "no instance twice in a batch"},
    {JOB("warm_factor", settings.warm_factor), REAL(0, 1),
     .meaning = "scores taken over by warm_start are multiplied by it"},
    {JOB("warm_start", settings.warm_start), .type = CONFIG_NAME, .default_shown = "(no job)",
     .meaning = "a job that begins takes over the scores of this one"},
    {JOB("warmup_epochs", settings.sampler.warmup_epochs), REAL(0, EPOCHS_MAX), .unit = "epochs",
     LIVE, .meaning = "no bias before"},
    {JOB("weight", settings.sampler.weight), WORD(weight_words), LIVE,
     .meaning = "hard draws by score^alpha, by rank^-alpha, or all alike"},
};
/* clang-format on */

const size_t config_setting_count = sizeof config_settings / sizeof config_settings[0];

const char *config_section_name(enum config_section section)
{
    static const char *const names[] = {"daemon", "dataset", "job"};

    return names[section];
}

const struct config_setting *config_find(enum config_section section, const char *key)
{
    for (size_t i = 0; i < config_setting_count; i++)
        if (config_settings[i].section == section && strcmp(config_settings[i].key, key) == 0)
            return &config_settings[i];
    return NULL;
}

/* Levenshtein's distance, one row at a time; texts longer than a key can be are just far. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[MESSAGE_NAME_BYTES_MAX + 1];
    size_t columns = strlen(b);

    if (columns > MESSAGE_NAME_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < columns; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            size_t other = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);

            diagonal = row[j + 1];
            row[j + 1] = change < other ? change : other;
        }
    }
    return row[columns];
}

bool config_is_near(const char *a, const char *b)
{
    size_t distance = edit_distance(a, b);

    return distance <= 2 && 2 * distance < strlen(b);
}

const char *config_nearest_key(enum config_section section, const char *key)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        size_t distance = s->section == section ? edit_distance(key, s->key) : SIZE_MAX;

        if (distance < best && config_is_near(key, s->key)) {
            nearest = s->key;
            best = distance;
        }
    }
    return nearest;
}
