/* ohemctl_why.c - the draws and reports of an instance, one line each; see ohemctl.h. */
#include "ohemctl.h"

#include <stdio.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* "hard^1", "rank^0.7", "uniform": by what a hard slot was drawn. */
static void add_policy(struct table *t, const json_t *event)
{
    const json_t *policy = json_object_get(event, "policy");
    const char *weight = json_text_at(policy, "weight");
    char text[64];

    (void)snprintf(text, sizeof text, "%.20s^%g", weight, json_real_at(policy, "alpha"));
    table_add_text(t, strcmp(json_text_at(event, "slot"), "hard") != 0 ? "-"
                      : strcmp(weight, "uniform") == 0                 ? weight
                                                                       : text);
    table_add_real(t, json_real_at(policy, "bias_share"));
}

static const char *fate_of(const json_t *event)
{
    bool late = json_is_true(json_object_get(event, "late"));

    if (json_is_null(json_object_get(event, "selected"))) /* what its round selects was not known */
        return late ? "late, in a round" : "in a round";
    if (json_is_true(json_object_get(event, "selected")))
        return late ? "late, selected" : "selected";
    return late ? "late, not selected" : "not selected";
}

/* The columns of one kind are empty in the other. */
static void add_event(struct table *t, const json_t *event)
{
    bool draw = strcmp(json_text_at(event, "event"), "draw") == 0;

    table_add_count(t, json_real_at(event, "step"));
    table_add_text(t, json_text_at(event, "event"));
    table_add_count(t, json_real_at(event, "session"));
    table_add_count(t, json_real_at(event, "lsn"));
    table_add_count(t, json_real_at(event, "place"));
    table_add_count(t, json_real_at(event, "count"));
    table_add_text(t, json_text_at(event, "slot"));
    add_policy(t, event);
    table_add_real(t, json_real_at(event, "p"));
    table_add_real(t, json_real_at(event, "w"));
    table_add_real(t, json_real_at(event, "loss"));
    table_add_count(t, json_real_at(event, "rank"));
    table_add_text(t, draw ? "-" : fate_of(event));
}

static void print_events(const json_t *events)
{
    static const struct table_column columns[] = {
        {"STEP", true}, {"EVENT", false}, {"SESSION", true}, {"LSN", true},  {"PLACE", true},
        {"OF", true},   {"SLOT", false},  {"POLICY", false}, {"BIAS", true}, {"P", true},
        {"W", true},    {"LOSS", true},   {"RANK", true},    {"FATE", false}};
    struct table *t = table_new(columns, LENGTH(columns));
    const json_t *event;
    size_t i;

    json_array_foreach (events, i, event)
        add_event(t, event);
    table_print(t, "");
}

void view_why(const json_t *story)
{
    const json_t *events = json_object_get(story, "events");
    double damaged = json_real_at(story, "damaged_rows");

    if (json_array_size(events) == 0)
        (void)printf("the audit tells of no draw and no report of instance %.0f\n",
                     json_real_at(story, "id"));
    else
        print_events(events);
    if (damaged > 0)
        (void)printf("%.0f rows of the audit cannot be read to their end: more may have happened\n",
                     damaged);
}
