/* seat.h - a session and its slots without a job, for tests of what leases and batches are. */
#ifndef SEAT_H
#define SEAT_H

#include "../../daemon/engine/session.h"

/** A session of this number with slots of batches up to K. */
struct session *seat_new(uint64_t number, uint32_t credit, uint32_t batch_size);

#endif
