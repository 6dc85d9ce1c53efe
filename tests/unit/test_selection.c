/* test_selection.c - the mining step: cases are lines of text, in selection.cases beside this file.
 *
 * What a line says is the kept indices; the rest of the answer (weights, statistics, the count of
 * non-finite losses) is worked out here the slow way and compared. OHEM_CASES names another file of
 * the same form: the NumPy reference writes its random cases for this program to check.
 */
#include "../../daemon/engine/selection.h"
#include "../lib/test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SHOWN_MAX 160 /* characters of a line in a failure */

/* A line of the file: `policy | losses | kept [ | weights ]`. */
struct line {
    size_t number;
    const char *text;
    struct selection_policy policy;
    struct selection_input in; /* but for the losses and flags: */
    struct recent recent;
    float *losses;
    uint8_t *flags;
    uint32_t *kept;
    float *weights; /* as many as are kept, or none */
    size_t loss_count, kept_count, weight_count;
};

static void blame(const struct line *l, const char *what)
{
    fail_msg("line %zu: %s: %.*s", l->number, what, LINE_SHOWN_MAX, l->text);
}

/* ---- reading a line ------------------------------------------------------------------------- */

static void parse_rule(struct line *l, const char *word)
{
    if (word != NULL && strcmp(word, "all") == 0)
        l->policy.rule = SELECTION_ALL;
    else if (word != NULL && strcmp(word, "top") == 0)
        l->policy.rule = SELECTION_TOP;
    else if (word != NULL && strcmp(word, "threshold") == 0)
        l->policy.rule = SELECTION_THRESHOLD;
    else if (word != NULL && strcmp(word, "negpos") == 0)
        l->policy.rule = SELECTION_NEGPOS;
    else if (word != NULL && strcmp(word, "cdf") == 0)
        l->policy.rule = SELECTION_CDF;
    else
        blame(l, "the policy is none of all, top, threshold, negpos and cdf");
}

/* `name=value`. @return the value, or NULL if the word has another name */
static const char *value_of(const char *word, const char *name)
{
    size_t size = strlen(name);

    return strncmp(word, name, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

static void parse_setting(struct line *l, const char *word)
{
    struct selection_policy *p = &l->policy;
    const char *value;

    if ((value = value_of(word, "count")) != NULL)
        p->keep_count = (uint32_t)strtoul(value, NULL, 10);
    else if ((value = value_of(word, "ratio")) != NULL)
        p->keep_ratio = strtod(value, NULL);
    else if ((value = value_of(word, "min")) != NULL)
        p->min_keep = (uint32_t)strtoul(value, NULL, 10);
    else if ((value = value_of(word, "max")) != NULL)
        p->max_keep = (uint32_t)strtoul(value, NULL, 10);
    else if ((value = value_of(word, "above")) != NULL)
        p->threshold = strtod(value, NULL);
    else if ((value = value_of(word, "from")) != NULL)
        p->keep_from = strtod(value, NULL);
    else if ((value = value_of(word, "steps")) != NULL)
        p->keep_steps = strtoull(value, NULL, 10);
    else if ((value = value_of(word, "step")) != NULL)
        l->in.step = strtoull(value, NULL, 10);
    else if ((value = value_of(word, "negatives")) != NULL)
        p->neg_ratio = strtod(value, NULL);
    else if ((value = value_of(word, "without")) != NULL)
        p->neg_min = (uint32_t)strtoul(value, NULL, 10);
    else if ((value = value_of(word, "power")) != NULL)
        p->cdf_power = strtod(value, NULL);
    else if ((value = value_of(word, "floor")) != NULL)
        p->cdf_floor = strtod(value, NULL);
    else if ((value = value_of(word, "key")) != NULL)
        l->in.rng.key = strtoull(value, NULL, 10);
    else if ((value = value_of(word, "recent")) != NULL)
        recent_add(&l->recent, &(float){strtof(value, NULL)}, 1);
    else
        blame(l, "the policy has an unknown word");
}

static void parse_policy(struct line *l, char *text)
{
    static const struct selection_policy initial = SELECTION_POLICY_DEFAULT;
    char *rest, *word = strtok_r(text, " ", &rest);

    l->policy = initial;
    l->in = (struct selection_input){.recent = &l->recent};
    l->recent = (struct recent){.count = 0};
    parse_rule(l, word);
    while ((word = strtok_r(NULL, " ", &rest)) != NULL)
        parse_setting(l, word);
}

static void add_loss(struct line *l, float loss, uint8_t flags)
{
    assert_true(l->loss_count < MESSAGE_BATCH_SIZE_MAX);
    l->flags[l->loss_count] = flags;
    l->losses[l->loss_count++] = loss;
}

static uint8_t parse_flags(const char *word)
{
    return (uint8_t)((strchr(word, '#') != NULL ? LOSS_FLAG_POSITIVE : 0) |
                     (strchr(word, '!') != NULL ? LOSS_FLAG_IGNORED : 0));
}

/* `2.5` is itself, `7*100` a hundred sevens, `1..100` the whole numbers; with `#` positive, with
 * `!` ignored. */
static void parse_losses(struct line *l, char *text)
{
    char *rest, *end;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *dots = strstr(word, "..");
        float first = strtof(word, &end);
        size_t times = *end == '*' ? strtoul(end + 1, NULL, 10) : 1;

        if (dots != NULL)
            for (long x = strtol(word, NULL, 10); x <= strtol(dots + 2, NULL, 10); x++)
                add_loss(l, (float)x, 0);
        else
            for (size_t i = 0; i < times; i++)
                add_loss(l, first, parse_flags(word));
    }
}

/* `3` is itself, `3-7` all from 3 to 7. */
static void parse_kept(struct line *l, char *text)
{
    char *rest, *end;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        unsigned long i = strtoul(word, &end, 10);
        unsigned long last = *end == '-' ? strtoul(end + 1, NULL, 10) : i;

        for (; i <= last; i++) {
            assert_true(l->kept_count < MESSAGE_BATCH_SIZE_MAX);
            l->kept[l->kept_count++] = (uint32_t)i;
        }
    }
}

static void parse_weights(struct line *l, char *text)
{
    char *rest;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        assert_true(l->weight_count < MESSAGE_BATCH_SIZE_MAX);
        l->weights[l->weight_count++] = strtof(word, NULL);
    }
}

static void parse(struct line *l, char *copy)
{
    char *losses = strchr(copy, '|');
    char *kept = losses != NULL ? strchr(losses + 1, '|') : NULL, *weights;

    if (kept == NULL) {
        blame(l, "not of the form policy | losses | kept");
        return;
    }
    weights = strchr(kept + 1, '|');
    *losses = *kept = '\0';
    l->loss_count = l->kept_count = l->weight_count = 0;
    parse_policy(l, copy);
    parse_losses(l, losses + 1);
    if (weights != NULL) {
        *weights = '\0';
        parse_weights(l, weights + 1);
    }
    parse_kept(l, kept + 1);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static bool near(double a, double b, double scale)
{
    return fabs(a - b) <= 1e-6 * scale;
}

/* The statistics over some of the losses: those at the indices, or all that may be selected. */
static bool stats_fit(const struct loss_stats *s, const struct line *l, const uint32_t *indices,
                      size_t count)
{
    double sum = 0, scale = 0, min = INFINITY, max = -INFINITY;
    size_t finite = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = indices != NULL ? indices[i] : i;
        double x = (double)l->losses[at];

        if (!isfinite(x) || (l->flags[at] & LOSS_FLAG_IGNORED) != 0)
            continue;
        finite++;
        sum += x;
        scale += fabs(x);
        min = fmin(min, x);
        max = fmax(max, x);
    }
    if (finite == 0)
        return s->count == 0 && s->mean == 0 && s->min == 0 && s->max == 0;
    return s->count == finite && (double)s->min == min && (double)s->max == max &&
           near((double)s->mean, sum / (double)finite, scale / (double)finite + 1e-30);
}

static size_t nonfinite(const struct line *l)
{
    size_t count = 0;

    for (size_t i = 0; i < l->loss_count; i++)
        count += isfinite(l->losses[i]) ? 0 : 1;
    return count;
}

static size_t ignored(const struct line *l)
{
    size_t count = 0;

    for (size_t i = 0; i < l->loss_count; i++)
        count += isfinite(l->losses[i]) && (l->flags[i] & LOSS_FLAG_IGNORED) != 0;
    return count;
}

/* With cdf the reciprocal of the probability, which is at least the floor. */
static bool weighs(const struct line *l, size_t i, float weight)
{
    if (l->weight_count > 0)
        return near((double)weight, (double)l->weights[i], (double)l->weights[i]);
    if (l->policy.rule == SELECTION_CDF)
        return weight >= 1 && (double)weight <= 1 / l->policy.cdf_floor * (1 + 1e-6);
    return weight == 1.0f;
}

static void compare(const struct line *l, const struct selection *s)
{
    if (s->count != l->kept_count)
        blame(l, "another number is kept");
    if (l->weight_count > 0 && l->weight_count != l->kept_count)
        blame(l, "not as many weights as kept");
    for (size_t i = 0; i < l->kept_count; i++) {
        if (s->indices[i] != l->kept[i])
            blame(l, "other indices are kept");
        if (!weighs(l, i, s->weights[i]))
            blame(l, "a kept loss weighs something else");
    }
    if (s->nonfinite_count != nonfinite(l))
        blame(l, "the non-finite are counted wrong");
    if (s->ignored_count != ignored(l))
        blame(l, "the ignored are counted wrong");
    if (!stats_fit(&s->all, l, NULL, l->loss_count))
        blame(l, "the statistics over all are wrong");
    if (!stats_fit(&s->kept, l, l->kept, l->kept_count))
        blame(l, "the statistics over the kept are wrong");
}

/* Without one, none are given. */
static bool has_flags(const struct line *l)
{
    for (size_t i = 0; i < l->loss_count; i++)
        if (l->flags[i] != 0)
            return true;
    return false;
}

/* The arrays have room for K and no more, so that a sanitizer sees a step too far. */
static void choose_and_compare(struct line *l)
{
    size_t k = l->loss_count > 0 ? l->loss_count : 1; /* room: malloc(0) may be NULL */
    float *losses = malloc(k * sizeof *losses);
    uint8_t *flags = malloc(k);
    struct selection_input in = l->in;
    struct selection s = {.indices = malloc(k * sizeof *s.indices),
                          .weights = malloc(k * sizeof *s.weights)};

    assert_true(losses != NULL && flags != NULL && s.indices != NULL && s.weights != NULL);
    memcpy(losses, l->losses, l->loss_count * sizeof *losses);
    memcpy(flags, l->flags, l->loss_count);
    in.losses = losses;
    in.flags = has_flags(l) ? flags : NULL;
    in.count = (uint32_t)l->loss_count;
    selection_choose(&l->policy, &in, &s);
    compare(l, &s);
    if (memcmp(losses, l->losses, l->loss_count * sizeof *losses) != 0)
        blame(l, "the losses have been changed");
    free(s.weights);
    free(s.indices);
    free(flags);
    free(losses);
}

static struct line line_new(void)
{
    struct line l = {.losses = calloc(MESSAGE_BATCH_SIZE_MAX, sizeof *l.losses),
                     .flags = calloc(MESSAGE_BATCH_SIZE_MAX, 1),
                     .kept = calloc(MESSAGE_BATCH_SIZE_MAX, sizeof *l.kept),
                     .weights = calloc(MESSAGE_BATCH_SIZE_MAX, sizeof *l.weights)};

    assert_true(l.losses != NULL && l.flags != NULL && l.kept != NULL && l.weights != NULL);
    return l;
}

static void line_free(struct line *l)
{
    free(l->losses);
    free(l->flags);
    free(l->kept);
    free(l->weights);
}

/* ---- the cases ------------------------------------------------------------------------------ */

static FILE *open_cases(void)
{
    const char *other = getenv("OHEM_CASES");
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/tests/unit/selection.cases", test_source());
    file = fopen(other != NULL ? other : path, "r");
    if (file == NULL)
        fail_msg("no cases at %s", other != NULL ? other : path);
    return file;
}

static void each_line_keeps_what_it_says(void **state)
{
    FILE *file = open_cases();
    struct line l = line_new();
    char *text = NULL;
    size_t size = 0, checked = 0;

    (void)state;
    while (getline(&text, &size, file) > 0) {
        char *copy;

        l.number++;
        text[strcspn(text, "\n")] = '\0';
        if (text[0] == '#' || text[0] == '\0')
            continue;
        copy = strdup(text);
        assert_non_null(copy);
        l.text = text;
        parse(&l, copy);
        recent_sort(&l.recent);
        choose_and_compare(&l);
        free(copy);
        checked++;
    }
    assert_true(checked > 0);
    print_message("%zu cases\n", checked);
    free(text);
    line_free(&l);
    assert_int_equal(fclose(file), 0);
}

static const float *sorted_losses;

/* Harder first, ties by position. */
static int harder_first(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

    if (sorted_losses[i] != sorted_losses[j])
        return sorted_losses[i] > sorted_losses[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

static int by_position(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

    return i < j ? -1 : i > j;
}

static void sort_and_keep(struct line *l, size_t m)
{
    for (size_t i = 0; i < l->loss_count; i++)
        l->kept[i] = (uint32_t)i;
    sorted_losses = l->losses;
    qsort(l->kept, l->loss_count, sizeof *l->kept, harder_first);
    qsort(l->kept, m, sizeof *l->kept, by_position);
    l->kept_count = m;
}

static void the_largest_batch_is_chosen_as_by_sorting(void **state)
{
    static const uint32_t distinct[] = {1, 3, 1000, 1u << 24};
    struct line l = line_new();
    uint32_t x = 12345;

    (void)state;
    l.text = "K = MESSAGE_BATCH_SIZE_MAX";
    for (size_t d = 0; d < sizeof distinct / sizeof distinct[0]; d++) {
        int half = (int)distinct[d] / 2;

        l.number = d;
        l.loss_count = MESSAGE_BATCH_SIZE_MAX;
        for (size_t i = 0; i < l.loss_count; i++) {
            x = x * 1664525u + 1013904223u;
            l.losses[i] = ldexpf((float)((int)((x >> 8) % distinct[d]) - half), -8);
        }
        l.policy = (struct selection_policy){.rule = SELECTION_TOP, .keep_count = 20001};
        sort_and_keep(&l, l.policy.keep_count);
        choose_and_compare(&l);
    }
    line_free(&l);
}

/* Losses with few bits over many octaves and both signs: ties, zeros of both signs, far ranges. */
static float coarse_loss(uint32_t x, uint32_t octaves)
{
    return ldexpf((float)((int)(x >> 16 & 7) - 3), (int)((x >> 20) % octaves) - (int)octaves / 2);
}

static void batches_of_all_sizes_are_chosen_as_by_sorting(void **state)
{
    static const uint32_t octaves[] = {1, 4, 30, 200};
    static const size_t sizes[] = {1, 2, 11, 12, 13, 100, 256, 1023, 1024, 1025, 4096};
    struct line l = line_new();
    uint32_t x = 54321;

    (void)state;
    l.text = "coarse losses";
    for (size_t run = 0; run < 20 * 4 * 11; run++) {
        l.number = run;
        l.loss_count = sizes[run % 11];
        for (size_t i = 0; i < l.loss_count; i++) {
            x = x * 1664525u + 1013904223u;
            l.losses[i] = coarse_loss(x, octaves[run / 11 % 4]);
        }
        x = x * 1664525u + 1013904223u;
        l.policy = (struct selection_policy){.rule = SELECTION_TOP,
                                             .keep_count = 1 + (uint32_t)((x >> 8) % l.loss_count)};
        sort_and_keep(&l, l.policy.keep_count);
        choose_and_compare(&l);
    }
    line_free(&l);
}

static void the_default_keeps_the_harder_half(void **state)
{
    struct line l = line_new();

    (void)state;
    l.text = "the default";
    l.policy = (struct selection_policy)SELECTION_POLICY_DEFAULT;
    l.loss_count = 5;
    memcpy(l.losses, (const float[]){3, 1, 5, 2, 4}, 5 * sizeof(float));
    l.kept[0] = 2;
    l.kept[1] = 4;
    l.kept_count = 2;
    choose_and_compare(&l);
    line_free(&l);
}

TEST_MAIN(TEST(each_line_keeps_what_it_says), TEST(the_largest_batch_is_chosen_as_by_sorting),
          TEST(batches_of_all_sizes_are_chosen_as_by_sorting),
          TEST(the_default_keeps_the_harder_half))
