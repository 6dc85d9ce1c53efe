/* test_lease_damage.c - rows of leases that are not what was written. */
#include "../../daemon/engine/lease_rows.h"
#include "../../proto/error.h"
#include "../lib/damage.h"
#include "../lib/seat.h"
#include "../lib/test.h"

#include <string.h>

#define SLOTS 6u
#define K     9u

/* Where these stand in a row; the ids follow the fixed part, the indices are behind all else. */
#define STATE_AT     4
#define COUNT_AT     40
#define COVERAGE_AT  44
#define SELECTED_AT  76
#define NONFINITE_AT 80
#define IGNORED_AT   84
#define ALL_AT       88
#define KEPT_AT      104
#define PRESENT_AT   124
#define IDS_AT       136

/* A row of that number, into a session of its own. */
struct reader {
    uint64_t number;
    uint32_t batch_size;
};

static int read_row(void *ctx, const void *value, size_t size)
{
    const struct reader *r = ctx;
    struct reason why = {""};
    struct seat s;
    int rc;

    seat_open(&s, 1, SLOTS, r->batch_size);
    rc = lease_row_restore(&s.table, s.session, r->number, value, size, SEAT_N, &why);
    assert_int_equal(s.session->free_count, rc == 0 ? SLOTS - 1 : SLOTS);
    assert_true((why.text[0] != '\0') == (rc != 0));
    seat_close(&s);
    return rc;
}

/* The rows of a lease in each state. */
static void open_all(struct seat *s, struct disk *disk)
{
    *disk = (struct disk){0};
    seat_open(s, 1, SLOTS, K);
    seat_grant_all(s);
    (void)seat_capture(s, disk, 0);
    assert_int_equal(disk->count, SEAT_GRANTED);
}

static void close_all(struct seat *s, struct disk *disk)
{
    seat_close(s);
    disk_deinit(disk);
}

static void refuse_number(const struct disk_row *row, size_t offset, uint32_t value)
{
    struct reader r = {row->key.number, K};

    assert_int_equal(damage_read(read_row, &r, row->value, row->size, offset, &value, 4),
                     -OHEM_STATE);
}

static void damaged_leases_are_refused(void **state)
{
    const uint32_t states[] = {LEASE_FREE, LEASE_CLOSED + 1, UINT32_MAX};
    struct disk disk;
    struct seat s;

    (void)state;
    open_all(&s, &disk);
    for (size_t i = 0; i < disk.count; i++) {
        const struct disk_row *row = &disk.rows[i];
        const struct lease *l = &s.session->slots[i];
        struct reader r = {row->key.number, K};

        assert_int_equal(read_row(&r, row->value, row->size), 0);
        damage_refused(read_row, &r, row->value, row->size);
        for (int k = 0; k < 3; k++)
            refuse_number(row, STATE_AT, states[k]);
        refuse_number(row, COUNT_AT, UINT32_MAX);
        refuse_number(row, COVERAGE_AT, l->coverage_count + 1);
        refuse_number(row, SELECTED_AT, UINT32_MAX);
        for (uint32_t k = 0; k < l->count; k++)
            refuse_number(row, IDS_AT + 4 * (size_t)k, SEAT_N);
    }
    close_all(&s, &disk);
}

static void a_lease_that_does_not_fit_its_session_is_refused(void **state)
{
    struct disk disk;
    struct seat s;

    (void)state;
    open_all(&s, &disk);
    for (size_t i = 0; i < disk.count; i++) {
        const struct disk_row *row = &disk.rows[i];
        uint32_t count = s.session->slots[i].count;
        struct reader small = {row->key.number, count - 1}, nowhere = {row->key.number + SLOTS, K};

        assert_true(count > 1);
        assert_int_equal(read_row(&small, row->value, row->size), -OHEM_STATE);
        assert_int_equal(read_row(&nowhere, row->value, row->size), -OHEM_STATE);
        assert_int_equal(lease_row_restore(&s.table, s.session, row->key.number, row->value,
                                           row->size, SEAT_N, NULL),
                         -OHEM_STATE); /* its slot is taken */
    }
    close_all(&s, &disk);
}

static void a_lease_of_nothing_is_refused(void **state)
{
    struct disk disk;
    struct seat s;
    struct reader r;

    (void)state;
    open_all(&s, &disk);
    r = (struct reader){disk.rows[4].key.number, K};
    memset((char *)disk.rows[4].value + COUNT_AT, 0, 8); /* no ids, no epochs: the right size */
    assert_int_equal(read_row(&r, disk.rows[4].value, IDS_AT), -OHEM_STATE);
    close_all(&s, &disk);
}

/* Only a settled one has an answer, and that is of its own batch. */
static void an_answer_that_does_not_fit_is_refused(void **state)
{
    struct disk disk;
    struct seat s;

    (void)state;
    open_all(&s, &disk);
    for (size_t slot = 2; slot < 4; slot++) {
        const struct lease *l = &s.session->slots[slot];
        size_t indices_at = IDS_AT + 4 * (3 * (size_t)l->count + l->coverage_count);

        assert_true(l->answer.selection.count > 0);
        for (uint32_t i = 0; i < l->answer.selection.count; i++)
            refuse_number(&disk.rows[slot], indices_at + 4 * (size_t)i, l->count);
        for (uint32_t by = 1; by < 4; by++) { /* numbers that do not add up to the batch */
            const struct selection *a = &l->answer.selection;

            refuse_number(&disk.rows[slot], NONFINITE_AT, a->nonfinite_count + by);
            refuse_number(&disk.rows[slot], IGNORED_AT, a->ignored_count + by);
            refuse_number(&disk.rows[slot], ALL_AT, a->all.count + by);
            refuse_number(&disk.rows[slot], KEPT_AT, a->count + by);
        }
        refuse_number(&disk.rows[slot], IGNORED_AT, UINT32_MAX);
        refuse_number(&disk.rows[slot], PRESENT_AT, MESSAGE_ROUND_RANKS_MAX + 1);
        refuse_number(&disk.rows[slot], STATE_AT, LEASE_OPEN);
        refuse_number(&disk.rows[slot], STATE_AT, LEASE_CLOSED);
    }
    close_all(&s, &disk);
}

TEST_MAIN(TEST(damaged_leases_are_refused), TEST(a_lease_that_does_not_fit_its_session_is_refused),
          TEST(a_lease_of_nothing_is_refused), TEST(an_answer_that_does_not_fit_is_refused))
