/* test_lease_rows.c - leases as rows, and back. Damaged rows are in test_lease_damage.c, those of
 * sessions in test_session_rows.c. */
#include "../../daemon/engine/lease_rows.h"
#include "../lib/seat.h"
#include "../lib/test.h"

#include <string.h>

#define SLOTS 6u
#define K     9u

static void restore(struct seat *to, const struct disk *disk)
{
    for (size_t i = 0; i < disk->count; i++) {
        const struct disk_row *r = &disk->rows[i];

        assert_true(r->key.table == ROWS_LEASE && r->key.job == SEAT_JOB);
        assert_int_equal(lease_row_session(r->key.number), to->session->number);
        assert_int_equal(lease_row_restore(&to->table, to->session, r->key.number, r->value,
                                           r->size, SEAT_N, NULL),
                         0);
    }
}

static void assert_answer(const struct lease_answer *got, const struct lease_answer *wanted)
{
    const struct selection *g = &got->selection, *w = &wanted->selection;

    assert_true(got->digest == wanted->digest && got->seq == wanted->seq);
    assert_true(got->lsn == wanted->lsn && got->flags == wanted->flags);
    assert_true(g->count == w->count && g->nonfinite_count == w->nonfinite_count);
    assert_int_equal(g->ignored_count, w->ignored_count);
    assert_memory_equal(&g->all, &w->all, sizeof g->all);
    assert_memory_equal(&g->kept, &w->kept, sizeof g->kept);
    assert_memory_equal(g->indices, w->indices, 4 * w->count);
    assert_memory_equal(g->weights, w->weights, 4 * w->count);
}

static void assert_lease(const struct lease *got, const struct lease *wanted)
{
    assert_int_equal(got->state, wanted->state);
    if (wanted->state == LEASE_FREE)
        return;
    assert_true(token_equal(got->token, wanted->token));
    assert_true(got->epoch == wanted->epoch && got->lsn == wanted->lsn);
    assert_int_equal(got->count, wanted->count);
    assert_int_equal(got->coverage_count, wanted->coverage_count);
    assert_memory_equal(got->ids, wanted->ids, 4 * wanted->count);
    assert_memory_equal(got->epochs, wanted->epochs, 4 * wanted->coverage_count);
    assert_memory_equal(got->probabilities, wanted->probabilities, 4 * wanted->count);
    assert_memory_equal(got->weights, wanted->weights, 4 * wanted->count);
    if (wanted->state == LEASE_SETTLED)
        assert_answer(&got->answer, &wanted->answer);
    assert_true(got->saved && !got->dirty);
}

static void leases_come_back_into_their_slots_as_they_were(void **state)
{
    /* the highest number that a session may have, beside the lowest */
    const uint64_t numbers[] = {1, (UINT64_C(1) << 56) - 1};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct seat d, next;
        struct disk disk = {0};

        seat_open(&d, numbers[i], SLOTS, K);
        seat_open(&next, numbers[i], SLOTS, K);
        seat_grant_all(&d);
        assert_int_equal(seat_capture(&d, &disk, 0), SEAT_GRANTED);
        restore(&next, &disk);
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            assert_lease(&next.session->slots[slot], &d.session->slots[slot]);
        assert_int_equal(next.session->free_count, 1);
        assert_int_equal(next.table.open_count, 1);
        assert_int_equal(next.table.returned_count, 1);
        assert_int_equal(next.table.settled_count, 2);
        seat_close(&d);
        seat_close(&next);
        disk_deinit(&disk);
    }
}

static void only_what_changed_is_saved_and_what_is_free_has_no_row(void **state)
{
    struct seat d;
    struct disk disk = {0};

    (void)state;
    seat_open(&d, 1, SLOTS, K);
    assert_int_equal(seat_capture(&d, &disk, 0), 0);
    seat_grant_all(&d);
    (void)seat_capture(&d, &disk, 0);
    assert_int_equal(seat_capture(&d, &disk, 0), 0);
    lease_release(&d.table, &d.session->slots[2]);
    assert_ptr_equal(lease_expire(&d.table, 2000), &d.session->slots[4]);
    assert_int_equal(seat_capture(&d, &disk, 0), 2);
    assert_int_equal(disk.count, SEAT_GRANTED - 1);
    for (size_t i = 0; i < disk.count; i++) /* by slot */
        assert_int_equal(disk.rows[i].key.number & 255, i < 2 ? i : i + 1);
    seat_close(&d);
    disk_deinit(&disk);
}

/* An answer is of a settled one: what the slot's last lease was answered is not saved with it. */
static void the_same_lease_gives_the_same_bytes(void **state)
{
    struct seat d[2];
    struct disk disks[2] = {{0}, {0}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        seat_open(&d[i], 1, SLOTS, K);
        seat_grant_all(&d[i]);
        d[i].session->slots[4].answer.digest = (uint64_t)i;
        d[i].session->slots[4].answer.selection.count = (uint32_t)i;
        (void)seat_capture(&d[i], &disks[i], i == 0 ? 0x55 : 0xaa);
    }
    assert_int_equal(disks[0].count, disks[1].count);
    for (size_t i = 0; i < disks[0].count; i++) {
        assert_int_equal(disks[0].rows[i].size, disks[1].rows[i].size);
        assert_memory_equal(disks[0].rows[i].value, disks[1].rows[i].value, disks[0].rows[i].size);
    }
    for (int i = 0; i < 2; i++) {
        seat_close(&d[i]);
        disk_deinit(&disks[i]);
    }
}

TEST_MAIN(TEST(leases_come_back_into_their_slots_as_they_were),
          TEST(only_what_changed_is_saved_and_what_is_free_has_no_row),
          TEST(the_same_lease_gives_the_same_bytes))
