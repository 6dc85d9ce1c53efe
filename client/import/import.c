/* import.c - one import; see import.h.
 *
 * Pass 1, only when a filter is set: the labels, from which the plan is made. Pass 2: all that the
 * plan keeps, from reader to writer. A source that changes between the two is found out.
 */
#include "import.h"

#include "progress.h"
#include "target.h"
#include "writer.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LABEL_BYTE_MAX 255

/* Everything that pass 2 has at hand. */
struct run {
    const struct options *options;
    const volatile sig_atomic_t *stop;
    struct plan plan;
    struct target target;
    struct writer *writer;
    FILE *noise; /* NULL without --noise */
    struct import_result *result;
};

/* Called for each instance of a pass; `index` is its place in the source. */
typedef int (*instance_cb)(struct run *run, uint64_t index, const struct instance *in,
                           struct reason *why);

static bool needs_labels(const struct options *o)
{
    return filter_is_set(&o->filter) || o->source.label_byte;
}

static int fail_label(const struct options *o, const char *who, int size, struct reason *why)
{
    reason_set(why, "%s: %.*s has no label; for %s labels come from %s", o->source.paths[0], size,
               who, o->source.format->name, o->source.format->label_from);
    return -OHEM_DATASET;
}

static int check_instance(struct run *run, const struct instance *in, struct reason *why)
{
    if (*run->stop != 0) {
        reason_set(why, "interrupted");
        return -OHEM_SYSTEM;
    }
    if (needs_labels(run->options) && in->label == READER_LABEL_NONE)
        return fail_label(run->options, in->key, (int)in->key_size, why);
    return 0;
}

static int run_reader(struct run *run, struct reader *r, const char *what, instance_cb each_cb,
                      struct reason *why)
{
    uint64_t limit = run->options->limit != 0 ? run->options->limit : READER_INSTANCES_MAX;
    struct progress progress;
    struct instance in;
    uint64_t index = 0;
    int rc = 1;

    if (needs_labels(run->options) && !r->labelled)
        return fail_label(run->options, "it", 2, why);
    progress_begin(&progress, what);
    while (index < limit && (rc = r->format->next(r, &in, why)) == 1) {
        rc = check_instance(run, &in, why);
        if (rc == 0)
            rc = each_cb(run, index++, &in, why);
        if (rc != 0)
            break;
        if (run->options->limit != 0)
            progress_update(&progress, index, index, run->options->limit);
        else
            progress_update(&progress, index, r->done, r->total);
    }
    progress_end(&progress);
    return rc < 0 ? rc : 0;
}

/* Read the source once, from its beginning. */
static int run_pass(struct run *run, bool labels_only, instance_cb each_cb, struct reason *why)
{
    struct source source = run->options->source;
    struct reader *r;
    int rc;

    source.labels_only = labels_only;
    rc = source.format->open(&source, &r, why);
    if (rc != 0)
        return rc;
    rc = run_reader(run, r, labels_only ? "labels" : "records", each_cb, why);
    source.format->close(r);
    return rc;
}

static int add_to_plan(struct run *run, uint64_t index, const struct instance *in,
                       struct reason *why)
{
    assert(index == run->plan.count);
    return plan_add(&run->plan, in->label, why);
}

static int make_plan(struct run *run, struct reason *why)
{
    int rc = run_pass(run, true, add_to_plan, why);

    return rc != 0 ? rc : plan_make(&run->plan, &run->options->filter, why);
}

/* A key as one field of a line: what is not plain text becomes \xHH. */
static void print_key(FILE *out, const struct instance *in)
{
    const unsigned char *key = in->key;

    for (size_t i = 0; i < in->key_size; i++) {
        if (key[i] >= 0x80 || (isprint(key[i]) && key[i] != '\\'))
            (void)fputc(key[i], out);
        else
            (void)fprintf(out, "\\x%02x", key[i]);
    }
}

/* Failures of the file show at its end. */
static void note_noise(struct run *run, uint64_t index, const struct instance *in)
{
    int32_t old = plan_clean_label(&run->plan, &run->options->filter, index);

    if (run->noise == NULL || run->plan.label[index] == old)
        return;
    print_key(run->noise, in);
    (void)fprintf(run->noise, "\t%" PRId32 "\t%" PRId32 "\n", old, run->plan.label[index]);
    run->result->flipped++;
}

static int check_unchanged(const struct run *run, uint64_t index, const struct instance *in,
                           struct reason *why)
{
    if (index < run->plan.count && run->plan.read[index] == in->label)
        return 0;
    reason_set(why, "%s: changed while it was read: instance %" PRIu64,
               run->options->source.paths[0], index);
    return -OHEM_DATASET;
}

static int check_label_byte(const struct instance *in, int32_t label, struct reason *why)
{
    if (label <= LABEL_BYTE_MAX)
        return 0;
    reason_set(why, "'%.*s' has label %" PRId32 "; a label byte holds 0 to %d", (int)in->key_size,
               (const char *)in->key, label, LABEL_BYTE_MAX);
    return -OHEM_TOO_LARGE;
}

static int copy_instance(struct run *run, uint64_t index, const struct instance *in,
                         struct reason *why)
{
    bool planned = filter_is_set(&run->options->filter);
    bool label_byte = run->options->source.label_byte;
    int32_t label = in->label;
    int rc = 0;

    if (planned) {
        rc = check_unchanged(run, index, in, why);
        if (rc != 0)
            return rc;
        label = run->plan.label[index];
        if (label == PLAN_DROPPED)
            return 0;
        note_noise(run, index, in);
    }
    if (label_byte)
        rc = check_label_byte(in, label, why);
    if (rc == 0)
        rc = writer_put(run->writer, in, label_byte ? label : WRITER_NO_LABEL_BYTE, why);
    if (rc == 0 && label != READER_LABEL_NONE) {
        run->result->labelled = true;
        run->result->class_counts[label]++;
    }
    return rc;
}

static int open_noise(struct run *run, struct reason *why)
{
    char path[TARGET_PATH_MAX];

    if (run->options->filter.noise <= 0)
        return 0;
    target_file(&run->target, TARGET_NOISE_FILE, path);
    run->noise = fopen(path, "wxe");
    if (run->noise == NULL)
        return reader_fail_errno(path, why);
    (void)fputs("key\told\tnew\n", run->noise);
    return 0;
}

static int finish_noise(struct run *run, struct reason *why)
{
    FILE *file = run->noise;
    bool good;

    if (file == NULL)
        return 0;
    run->noise = NULL;
    good = fflush(file) == 0 && ferror(file) == 0 && fsync(fileno(file)) == 0;
    if (fclose(file) == 0 && good)
        return 0;
    return reader_fail_errno(TARGET_NOISE_FILE, why);
}

static int check_not_empty(const struct run *run, struct reason *why)
{
    if (writer_count(run->writer) > 0)
        return 0;
    reason_set(why, "%s: no instance", run->options->source.paths[0]);
    return -OHEM_DATASET;
}

static int copy_all(struct run *run, struct reason *why)
{
    int rc = writer_open(run->target.work, &run->writer, why);

    if (rc == 0)
        rc = open_noise(run, why);
    if (rc == 0)
        rc = run_pass(run, false, copy_instance, why);
    if (rc == 0)
        rc = check_not_empty(run, why);
    if (rc == 0)
        rc = finish_noise(run, why);
    if (rc == 0)
        rc = writer_finish(run->writer, why);
    if (rc == 0)
        rc = target_commit(&run->target, why);
    return rc;
}

int import_run(const struct options *o, const volatile sig_atomic_t *stop,
               struct import_result *out, struct reason *why)
{
    struct run run = {.options = o, .stop = stop, .result = out};
    int rc = target_begin(&run.target, o->target, why);

    if (rc == 0 && filter_is_set(&o->filter))
        rc = make_plan(&run, why);
    if (rc == 0)
        rc = copy_all(&run, why);
    if (rc == 0) {
        out->instances = writer_count(run.writer);
        out->bytes = writer_bytes(run.writer);
    }
    out->removed_leftover = run.target.removed_leftover;
    if (run.noise != NULL)
        (void)fclose(run.noise);
    writer_free(run.writer);
    target_end(&run.target);
    plan_deinit(&run.plan);
    return rc;
}
