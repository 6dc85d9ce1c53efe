/* test_ragged.c - from many losses an instance to one, and which items are selected. */
#include "../../daemon/engine/ragged.h"
#include "../lib/test.h"

#include <math.h>

#define NONE NAN

struct report {
    struct message_loss loss;
    float losses[16], boxes[64];
    uint8_t flags[16];
    uint32_t counts[8], classes[16];
};

/* A report of k instances; losses are set from a list that the counts add up to. */
static void set_items(struct report *r, const uint32_t *counts, size_t k, const float *losses)
{
    size_t n = 0;

    *r = (struct report){0};
    for (size_t i = 0; i < k; i++)
        n += counts[i];
    memcpy(r->counts, counts, k * sizeof *counts);
    memcpy(r->losses, losses, n * sizeof *losses);
    r->loss.losses = (struct vector){r->losses, n};
    r->loss.items.counts = (struct vector){r->counts, k};
}

static void set_flags(struct report *r, const uint8_t *flags)
{
    memcpy(r->flags, flags, r->loss.losses.count);
    r->loss.flags = (struct vector){r->flags, r->loss.losses.count};
}

static void set_boxes(struct report *r, double iou, const float (*boxes)[4])
{
    memcpy(r->boxes, boxes, 4 * r->loss.losses.count * sizeof(float));
    r->loss.items.iou = iou;
    r->loss.items.boxes = (struct vector){r->boxes, 4 * r->loss.losses.count};
}

static void set_classes(struct report *r, const uint32_t *classes)
{
    memcpy(r->classes, classes, r->loss.losses.count * sizeof *classes);
    r->loss.items.classes = (struct vector){r->classes, r->loss.losses.count};
}

static void work(struct ragged *r, const struct report *report)
{
    assert_int_equal(ragged_reserve(r, &report->loss), 0);
    ragged_work(r, &report->loss);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void assert_scores(const struct ragged *r, uint32_t k, const float *wanted)
{
    assert_int_equal(r->k, k);
    for (uint32_t i = 0; i < k; i++)
        if (isnan(wanted[i]) ? !isnan(r->scores[i]) : bits_of(wanted[i]) != bits_of(r->scores[i]))
            fail_msg("the loss of instance %u is %g, not %g", i, (double)r->scores[i],
                     (double)wanted[i]);
}

static void assert_kept(const struct ragged *r, const uint32_t *indices, uint32_t count)
{
    assert_int_equal(r->selection.count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(r->selection.indices[i], indices[i]);
}

static struct ragged ragged_of(enum selection_rule rule, uint32_t keep)
{
    struct ragged r;

    ragged_init(&r);
    r.policy = (struct selection_policy)SELECTION_POLICY_DEFAULT;
    r.policy.rule = rule;
    r.policy.keep_count = keep;
    return r;
}

/* ---- an instance's loss ------------------------------------------------------------------------
 */

static const uint32_t FOUR[] = {3, 0, 1, 4};
static const float LOSSES[] = {1, 4, 2.5f, -3, NAN, 8, INFINITY, 0.5f};

static void an_instances_loss_is_its_largest_its_mean_or_that_of_its_top(void **state)
{
    static const float by_score[][4] = {
        {4, NONE, -3, 8}, {2.5f, NONE, -3, 4.25f}, {3.25f, NONE, -3, 4.25f}};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, FOUR, 4, LOSSES);
    for (uint32_t score = SCORE_MAX; score <= SCORE_TOP; score++) {
        report.loss.items.score = score;
        report.loss.items.top = score == SCORE_TOP ? 2 : 0;
        work(&r, &report);
        assert_scores(&r, 4, by_score[score]);
    }
    ragged_deinit(&r);
}

static void an_item_that_is_ignored_does_not_count_for_its_instance(void **state)
{
    static const uint8_t flags[] = {0, 2, 0, 2, 0, 3, 0, 0};
    static const float wanted[] = {2.5f, NONE, NONE, 0.5f};
    static const uint32_t kept[] = {0, 2, 7};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, FOUR, 4, LOSSES);
    set_flags(&report, flags);
    work(&r, &report);
    assert_scores(&r, 4, wanted);
    assert_kept(&r, kept, 3);
    assert_int_equal(r.selection.ignored_count, 3);
    assert_int_equal(r.selection.nonfinite_count, 2);
    ragged_deinit(&r);
}

static void no_item_at_all_is_no_loss_and_no_selection(void **state)
{
    static const uint32_t counts[] = {0, 0};
    static const float wanted[] = {NONE, NONE};
    struct ragged r = ragged_of(SELECTION_TOP, 3);
    struct report report;

    (void)state;
    set_items(&report, counts, 2, LOSSES);
    work(&r, &report);
    assert_scores(&r, 2, wanted);
    assert_kept(&r, NULL, 0);
    ragged_deinit(&r);
}

/* ---- the selection -----------------------------------------------------------------------------
 */

static void the_hardest_of_all_items_are_selected_and_counted_by_instance(void **state)
{
    static const uint32_t kept[] = {1, 2, 5}, per_instance[] = {2, 0, 0, 1};
    struct ragged r = ragged_of(SELECTION_TOP, 3);
    struct report report;

    (void)state;
    set_items(&report, FOUR, 4, LOSSES);
    work(&r, &report);
    assert_kept(&r, kept, 3);
    assert_memory_equal(r.kept, per_instance, sizeof per_instance);
    assert_int_equal(r.selection.all.count, 6);
    ragged_deinit(&r);
}

static void items_of_an_instance_that_is_set_aside_are_not_selected_but_count(void **state)
{
    static const uint32_t kept[] = {3, 5, 7};
    static const float wanted[] = {4, NONE, -3, 8};
    struct ragged r = ragged_of(SELECTION_TOP, 3);
    struct report report;

    (void)state;
    set_items(&report, FOUR, 4, LOSSES);
    assert_int_equal(ragged_reserve(&r, &report.loss), 0);
    r.has_aside = true;
    memcpy(r.aside, "\1\0\0\0", 4);
    ragged_work(&r, &report.loss);
    assert_scores(&r, 4, wanted);
    assert_kept(&r, kept, 3);
    assert_int_equal(r.selection.ignored_count, 3);
    ragged_deinit(&r);
}

static void positives_and_negatives_are_those_of_items(void **state)
{
    static const uint8_t flags[] = {1, 0, 0, 0, 0, 0, 0, 0};
    static const uint32_t kept[] = {0, 1, 5};
    struct ragged r = ragged_of(SELECTION_NEGPOS, 0);
    struct report report;

    (void)state;
    r.policy.neg_ratio = 2;
    set_items(&report, FOUR, 4, LOSSES);
    set_flags(&report, flags);
    work(&r, &report);
    assert_kept(&r, kept, 3);
    ragged_deinit(&r);
}

/* ---- overlaps ----------------------------------------------------------------------------------
 */

/* 0 and 1 overlap by 9/11, 1 and 2 by 9/11, 0 and 2 by 8/12; 3 is elsewhere. */
static const float CHAIN[][4] = {{0, 0, 10, 10}, {1, 0, 11, 10}, {2, 0, 12, 10}, {50, 50, 51, 51}};
static const uint32_t ONE_OF_FOUR[] = {4};

static void a_harder_item_takes_out_what_it_overlaps(void **state)
{
    static const float losses[] = {3, 2, 1, 0.5f}, middle[] = {2, 3, 1, 0.5f};
    static const uint32_t ends[] = {0, 2, 3}, centre[] = {1, 3};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, ONE_OF_FOUR, 1, losses);
    set_boxes(&report, 0.7, CHAIN);
    work(&r, &report);
    assert_kept(&r, ends, 3); /* 1 is out, so that 2 stays: greedy */
    assert_int_equal(r.selection.ignored_count, 1);
    set_items(&report, ONE_OF_FOUR, 1, middle);
    set_boxes(&report, 0.7, CHAIN);
    work(&r, &report);
    assert_kept(&r, centre, 2);
    ragged_deinit(&r);
}

static void of_equals_the_first_is_the_harder_and_an_iou_that_is_reached_is_not_over(void **state)
{
    static const float losses[] = {0.0f, -0.0f, -1};
    static const float boxes[][4] = {{0, 0, 2, 1}, {0, 0, 2, 1}, {1, 0, 2, 1}}; /* 1, and a half */
    static const uint32_t counts[] = {3}, kept[] = {0, 2}, first[] = {0};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, counts, 1, losses);
    set_boxes(&report, 0.5, boxes);
    work(&r, &report);
    assert_kept(&r, kept, 2);
    set_boxes(&report, 0.49, boxes);
    work(&r, &report);
    assert_kept(&r, first, 1);
    ragged_deinit(&r);
}

static void items_of_other_instances_and_other_classes_stay(void **state)
{
    static const float losses[] = {3, 2, 1, 0.5f};
    static const float same[][4] = {{0, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}};
    static const uint32_t two[] = {2, 2}, classes[] = {7, 8, 7, 7};
    static const uint32_t by_instance[] = {0, 2}, by_class[] = {0, 1, 2};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, two, 2, losses);
    set_boxes(&report, 0.7, same);
    work(&r, &report);
    assert_kept(&r, by_instance, 2);
    set_classes(&report, classes);
    work(&r, &report);
    assert_kept(&r, by_class, 3);
    ragged_deinit(&r);
}

static void strange_boxes_overlap_nothing(void **state)
{
    static const float losses[] = {3, 2, 1, 0.5f};
    static const float strange[][4] = {
        {0, 0, 0, 0}, {0, 0, 0, 0}, {5, 5, 1, 1}, {NAN, 0, 1, INFINITY}};
    static const uint32_t kept[] = {0, 1, 2, 3};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, ONE_OF_FOUR, 1, losses);
    set_boxes(&report, 0.01, strange);
    work(&r, &report);
    assert_kept(&r, kept, 4);
    ragged_deinit(&r);
}

static void what_is_ignored_or_not_finite_takes_out_nothing(void **state)
{
    static const float losses[] = {9, INFINITY, 1, NAN};
    static const float same[][4] = {{0, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}};
    static const uint8_t flags[] = {2, 0, 0, 0};
    static const uint32_t kept[] = {2};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, ONE_OF_FOUR, 1, losses);
    set_boxes(&report, 0.7, same);
    set_flags(&report, flags);
    work(&r, &report);
    assert_kept(&r, kept, 1);
    assert_int_equal(r.selection.nonfinite_count, 2);
    assert_int_equal(r.selection.ignored_count, 1);
    ragged_deinit(&r);
}

static void what_is_taken_out_counts_for_its_instance(void **state)
{
    static const float losses[] = {3, 2, 1, 0};
    static const float wanted[] = {1.5f};
    struct ragged r = ragged_of(SELECTION_ALL, 0);
    struct report report;

    (void)state;
    set_items(&report, ONE_OF_FOUR, 1, losses);
    set_boxes(&report, 0.1, CHAIN);
    report.loss.items.score = SCORE_MEAN;
    work(&r, &report);
    assert_scores(&r, 1, wanted);
    ragged_deinit(&r);
}

TEST_MAIN(TEST(an_instances_loss_is_its_largest_its_mean_or_that_of_its_top),
          TEST(an_item_that_is_ignored_does_not_count_for_its_instance),
          TEST(no_item_at_all_is_no_loss_and_no_selection),
          TEST(the_hardest_of_all_items_are_selected_and_counted_by_instance),
          TEST(items_of_an_instance_that_is_set_aside_are_not_selected_but_count),
          TEST(positives_and_negatives_are_those_of_items),
          TEST(a_harder_item_takes_out_what_it_overlaps),
          TEST(of_equals_the_first_is_the_harder_and_an_iou_that_is_reached_is_not_over),
          TEST(items_of_other_instances_and_other_classes_stay),
          TEST(strange_boxes_overlap_nothing),
          TEST(what_is_ignored_or_not_finite_takes_out_nothing),
          TEST(what_is_taken_out_counts_for_its_instance))
