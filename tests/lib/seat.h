/* seat.h - a session and its leases without a job, for tests of what leases and batches are. */
#ifndef SEAT_H
#define SEAT_H

#include "../../daemon/engine/session.h"
#include "disk.h"

#define SEAT_LEASE_MS 1000u
#define SEAT_LATE_MS  5000u
#define SEAT_GRANTED  5u    /* leases of seat_grant_all() */
#define SEAT_N        1000u /* ids that they are of */
#define SEAT_JOB      5u    /* in the keys of seat_capture() */

struct seat {
    struct lease_table table;
    struct session *session;
};

/** A session of this number with slots of batches up to K. */
struct session *seat_new(uint64_t number, uint32_t credit, uint32_t batch_size);

/** The same with a table that has room for its leases. */
void seat_open(struct seat *s, uint64_t number, uint32_t credit, uint32_t batch_size);
void seat_close(struct seat *s);

/** Slots 0 to 4 hold leases of the steps 0 to 4: a closed one, a returned one, two that are settled
 *  and an open one. What else is in a lease follows from its step. Ends at 6000 ms. */
void seat_grant_all(struct seat *s);

/** Put what is unsaved on the disk, within the bytes that are asked for, through memory that was
 *  filled with `soil`. @return how many changes it was */
size_t seat_capture(struct seat *s, struct disk *to, int soil);

#endif
