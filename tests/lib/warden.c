/* warden.c - lists of a quarantine, compared; see warden.h. */
#include "warden.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static struct warden_list list_of(const struct job *j)
{
    const struct quarantine *q = &j->quarantine;
    uint32_t n = q->policy.on ? q->n : 0;
    struct warden_list list = {.marks = calloc(n + 1, 1),
                               .n = n,
                               .cut = q->cut,
                               .explained = q->explained,
                               .unseen = q->unseen};

    assert_non_null(list.marks);
    for (uint32_t id = 0; id < n; id++)
        list.marks[id] =
            (uint8_t)(quarantine_is_suspect(q, id) | quarantine_is_pardoned(q, id) << 1);
    return list;
}

/* To another that is a copy, or nothing. */
static void replace(struct warden_list *list, struct warden_list by)
{
    free(list->marks);
    *list = by;
}

void warden_deinit(struct warden *w)
{
    replace(&w->captured, (struct warden_list){0});
    replace(&w->disk, (struct warden_list){0});
}

void warden_capture(struct warden *w, const struct job *j)
{
    replace(&w->captured, list_of(j));
}

void warden_written(struct warden *w)
{
    replace(&w->disk, w->captured);
    w->captured = (struct warden_list){0};
}

void warden_restored(struct warden *w, const struct job *j)
{
    struct warden_list now = list_of(j);

    if (w->disk.marks == NULL) { /* nothing was ever written */
        replace(&now, (struct warden_list){0});
        return;
    }
    assert_int_equal(now.n, w->disk.n);
    for (uint32_t id = 0; id < now.n; id++) {
        if (now.marks[id] != w->disk.marks[id])
            fail_msg("instance %u: marks %u, and %u were written", id, now.marks[id],
                     w->disk.marks[id]);
        if ((now.marks[id] & 1) != 0 && !hardness_is_aside(&j->hardness, id))
            fail_msg("instance %u is a suspect and can be drawn", id);
        w->found += now.marks[id] & 1;
    }
    assert_int_equal(j->hardness.aside_count, j->quarantine.suspects);
    assert_memory_equal(&now.cut, &w->disk.cut, sizeof now.cut);
    assert_memory_equal(&now.explained, &w->disk.explained, sizeof now.explained);
    assert_int_equal(now.unseen, w->disk.unseen);
    replace(&now, (struct warden_list){0});
}
