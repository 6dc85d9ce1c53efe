/* ohemctl_quarantine.c - who is in quarantine, for people and for other programs; see ohemctl.h. */
#include "ohemctl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static double deviation_of(const json_t *instance)
{
    return sqrt(json_real_at(instance, "variance"));
}

/* Where the cut lies, and where it comes from. */
static void print_cut(const json_t *quarantine)
{
    double share = json_real_at(quarantine, "share_ratio"),
           cut = json_real_at(quarantine, "cut_score"),
           explained = json_real_at(quarantine, "explained_ratio");

    if (!isnan(cut))
        (void)printf("scores above %.6g", cut);
    else
        (void)fputs("no cut", stdout);
    if (!isnan(share))
        (void)printf(" (the highest %.4g of them)", share);
    else
        (void)printf(" (the best explains %.0f %% of the histogram)", 100 * explained);
    (void)printf(", after %.0f reports: %.0f instances, %.2g %% of the scored; %.0f pardoned\n",
                 json_real_at(quarantine, "visits_min"), json_real_at(quarantine, "suspect_count"),
                 100 * json_real_at(quarantine, "suspect_ratio"),
                 json_real_at(quarantine, "pardoned_count"));
}

void view_quarantine(const json_t *whole)
{
    static const struct table_column columns[] = {{"ID", true},        {"KEY", false},
                                                  {"SCORE", true},     {"DEVIATION", true},
                                                  {"LAST_LOSS", true}, {"VISITS", true}};
    const json_t *instances = json_object_get(whole, "instances"), *instance;
    struct table *t;
    size_t i;

    print_cut(json_object_get(whole, "quarantine"));
    if (json_array_size(instances) == 0)
        return;
    t = table_new(columns, LENGTH(columns));
    json_array_foreach (instances, i, instance) {
        char *key = view_key(instance);

        table_add_count(t, json_real_at(instance, "id"));
        table_add_text(t, key);
        table_add_real(t, json_real_at(instance, "score"));
        table_add_real(t, deviation_of(instance));
        table_add_real(t, json_real_at(instance, "last_loss"));
        table_add_count(t, json_real_at(instance, "visits"));
        free(key);
    }
    table_print(t, "");
}

/* In quotes, and quotes twice. */
static void print_quoted(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            (void)putchar('"');
        (void)putchar(*text);
    }
    (void)putchar('"');
}

void view_quarantine_csv(const json_t *whole)
{
    const json_t *instance;
    size_t i;

    (void)puts("id,key,score,deviation,last_loss,visits");
    json_array_foreach (json_object_get(whole, "instances"), i, instance) {
        char *key = view_key(instance);

        (void)printf("%.0f,", json_real_at(instance, "id"));
        print_quoted(key);
        (void)printf(",%.9g,%.9g,%.9g,%.0f\n", json_real_at(instance, "score"),
                     deviation_of(instance), json_real_at(instance, "last_loss"),
                     json_real_at(instance, "visits"));
        free(key);
    }
}

void view_pardon(const json_t *done)
{
    bool pardoned = json_is_true(json_object_get(done, "pardoned"));

    (void)printf(pardoned ? "instance %.0f is pardoned: it will not come into quarantine again\n"
                          : "instance %.0f may come into quarantine again\n",
                 json_real_at(done, "id"));
}
