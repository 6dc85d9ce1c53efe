/* options.c - the command line; see options.h. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_MAX 0.999999

static const char help_text[] =
    "\n"
    "Make an LMDB data set for ohemd out of other formats. TARGET is a new folder; it appears\n"
    "when it is whole.\n"
    "\n"
    "  idx     MNIST's files, plain or gzipped. Key: the ordinal, as 00000042. Record: the label\n"
    "          as one byte, then the elements as they are.\n"
    "  folder  ROOT/CLASS/FILE, also deeper. Key: the path below ROOT. Record: the file's bytes.\n"
    "          Label: the place of CLASS in the order of names, from 0. Hidden files and files\n"
    "          directly in ROOT are left out.\n"
    "  tar     WebDataset's shards, plain or compressed (gz bz2 xz zst lz4). Key: the path up to\n"
    "          the file name's first dot. Record: all members of the sample as a msgpack map,\n"
    "          name -> bytes, or with --member one member's bytes. Label: the number in member "
    "cls.\n"
    "  npy     NumPy arrays in C order. Key: the ordinal. Record: row i of DATA as it is.\n"
    "          Label: LABELS[i].\n"
    "  lmdb    another LMDB, folder or file, with the same keys and values. Label: the first byte\n"
    "          of the value, with --label-byte.\n"
    "\n"
    "  --label-byte      the record begins with its label as one byte: it is put there (folder,\n"
    "                    tar, npy), or is there already (lmdb; always so in idx)\n"
    "  --member EXT      tar: only this member of each sample, as jpg\n"
    "  --database NAME   lmdb: a named database instead of the main one\n"
    "\n"
    "Filters, in the order in which they work; they choose by --seed, always the same:\n"
    "  --limit N         only the first N instances of the source\n"
    "  --longtail F      class c of C (by number, from 0) keeps n_max * F^(-c/(C-1)) instances\n"
    "  --positive CLASS  label 1 for this class (a number), 0 for all others\n"
    "  --share P         and only as many of the positives as make up this share of the data set;\n"
    "                    0, the default, keeps all of them\n"
    "  --noise P         give this share of the instances the label of another class, and list\n"
    "                    them in TARGET/noise.tsv: key, old label, new label\n"
    "                    (in the key, what is no text is written as \\xHH)\n"
    "  --seed S          a number, 1 by default\n"
    "--positive and --noise rewrite labels, so the records must hold them: see --label-byte.\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Exit code: 0 done, 1 failed (and there is no TARGET), 2 wrong usage.\n";

void options_print_help(void)
{
    const struct reader_format *const *formats = reader_formats();

    for (size_t i = 0; formats[i] != NULL; i++)
        (void)printf("%s ohem-import %-6s %s [options]\n", i == 0 ? "usage:" : "      ",
                     formats[i]->name, formats[i]->usage);
    (void)fputs(help_text, stdout);
}

enum option_code {
    CODE_LABEL_BYTE = 256,
    CODE_MEMBER,
    CODE_DATABASE,
    CODE_LIMIT,
    CODE_LONGTAIL,
    CODE_POSITIVE,
    CODE_SHARE,
    CODE_NOISE,
    CODE_SEED,
    CODE_HELP,
    CODE_VERSION,
};

static const struct option long_options[] = {
    {"label-byte", no_argument, NULL, CODE_LABEL_BYTE},
    {"member", required_argument, NULL, CODE_MEMBER},
    {"database", required_argument, NULL, CODE_DATABASE},
    {"limit", required_argument, NULL, CODE_LIMIT},
    {"longtail", required_argument, NULL, CODE_LONGTAIL},
    {"positive", required_argument, NULL, CODE_POSITIVE},
    {"share", required_argument, NULL, CODE_SHARE},
    {"noise", required_argument, NULL, CODE_NOISE},
    {"seed", required_argument, NULL, CODE_SEED},
    {"help", no_argument, NULL, CODE_HELP},
    {"version", no_argument, NULL, CODE_VERSION},
    {NULL, 0, NULL, 0},
};

static int parse_whole(const char *name, uint64_t least, uint64_t most, uint64_t *out,
                       struct reason *why)
{
    char *end = optarg;

    errno = 0;
    if (*optarg >= '0' && *optarg <= '9')
        *out = strtoull(optarg, &end, 10);
    if (end != optarg && *end == '\0' && errno == 0 && *out >= least && *out <= most)
        return 0;
    reason_set(why, "--%s '%s': a whole number from %" PRIu64 " to %" PRIu64 " is needed", name,
               optarg, least, most);
    return -OHEM_INVALID;
}

/* Written so that a NaN fails. */
static int parse_number(const char *name, double least, double most, double *out,
                        struct reason *why)
{
    char *end = optarg;
    double value;

    value = strtod(optarg, &end);
    if (end != optarg && *end == '\0' && value >= least && value <= most) {
        *out = value;
        return 0;
    }
    reason_set(why, "--%s '%s': a number from %g to %.15g is needed", name, optarg, least, most);
    return -OHEM_INVALID;
}

static int parse_positive(struct filter *f, struct reason *why)
{
    uint64_t value = 0;
    int rc = parse_whole("positive", 0, READER_LABEL_MAX, &value, why);

    if (rc == 0)
        f->positive = (int32_t)value;
    return rc;
}

static int apply(struct options *o, int code, struct reason *why)
{
    switch (code) {
    case CODE_LABEL_BYTE:
        o->source.label_byte = true;
        return 0;
    case CODE_MEMBER:
        o->source.member = optarg;
        return 0;
    case CODE_DATABASE:
        o->source.database = optarg;
        return 0;
    case CODE_LIMIT:
        return parse_whole("limit", 1, READER_INSTANCES_MAX, &o->limit, why);
    case CODE_LONGTAIL:
        return parse_number("longtail", 1, FILTER_LONGTAIL_MAX, &o->filter.longtail, why);
    case CODE_POSITIVE:
        return parse_positive(&o->filter, why);
    case CODE_SHARE:
        return parse_number("share", 0, SHARE_MAX, &o->filter.share, why);
    case CODE_NOISE:
        return parse_number("noise", 0, 1, &o->filter.noise, why);
    default:
        return parse_whole("seed", 0, UINT64_MAX, &o->filter.seed, why);
    }
}

static int set_paths(struct options *o, char **paths, size_t count, struct reason *why)
{
    const struct reader_format *format = o->source.format;

    if (count < format->paths_min + 1 || count - 1 > format->paths_max) {
        reason_set(why, "%s: %zu arguments; the usage is: ohem-import %s %s", format->name, count,
                   format->name, format->usage);
        return -OHEM_INVALID;
    }
    o->target = format->target_first ? paths[0] : paths[count - 1];
    o->source.paths = format->target_first ? paths + 1 : paths;
    o->source.path_count = count - 1;
    return 0;
}

static int fail_misfit(const char *option, const char *text, struct reason *why)
{
    reason_set(why, "%s %s", option, text);
    return -OHEM_INVALID;
}

/* What no single option shows to be wrong. */
static int check(struct options *o, bool share_given, struct reason *why)
{
    const struct reader_format *format = o->source.format;

    o->source.label_byte = o->source.label_byte || format->label_byte_always;
    if (o->source.member != NULL && format != &reader_tar)
        return fail_misfit("--member", "is for tar only", why);
    if (o->source.database != NULL && format != &reader_lmdb)
        return fail_misfit("--database", "is for lmdb only", why);
    if (share_given && o->filter.positive == FILTER_OFF)
        return fail_misfit("--share", "needs --positive", why);
    if (filter_rewrites(&o->filter) && !o->source.label_byte) {
        reason_set(why, "%s rewrites labels, but the records of %s hold none: add --label-byte",
                   o->filter.noise > 0 ? "--noise" : "--positive", format->name);
        return -OHEM_INVALID;
    }
    return 0;
}

static int take_format(struct options *o, int argc, char **argv, struct reason *why)
{
    if (optind == argc)
        return fail_misfit("a format is needed:", "idx, folder, tar, npy or lmdb; see --help", why);
    o->source.format = reader_find(argv[optind]);
    if (o->source.format == NULL) {
        reason_set(why, "'%s' is no format: idx, folder, tar, npy or lmdb; see --help",
                   argv[optind]);
        return -OHEM_INVALID;
    }
    return set_paths(o, argv + optind + 1, (size_t)(argc - optind - 1), why);
}

int options_parse(int argc, char **argv, struct options *out, enum options_result *out_result,
                  struct reason *why)
{
    struct options o = {.filter = {.positive = FILTER_OFF, .seed = 1}};
    bool share_given = false;
    int code, rc = 0;

    *out_result = OPTIONS_RUN;
    opterr = 0;
    while (rc == 0 && (code = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (code == CODE_HELP || code == CODE_VERSION) {
            *out_result = code == CODE_HELP ? OPTIONS_HELP : OPTIONS_VERSION;
            return 0;
        }
        if (code == '?' || code == ':') {
            reason_set(why, "'%s': %s; see --help", argv[optind - 1],
                       code == ':' ? "needs a value" : "no such option, or one without a value");
            return -OHEM_INVALID;
        }
        share_given = share_given || code == CODE_SHARE;
        rc = apply(&o, code, why);
    }
    if (rc == 0)
        rc = take_format(&o, argc, argv, why);
    if (rc == 0)
        rc = check(&o, share_given, why);
    if (rc == 0)
        *out = o;
    return rc;
}
