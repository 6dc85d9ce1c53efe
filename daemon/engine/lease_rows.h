/* lease_rows.h - leases and sessions as rows, and back. */
#ifndef OHEM_LEASE_ROWS_H
#define OHEM_LEASE_ROWS_H

#include "../../proto/reason.h"
#include "rows.h"
#include "session.h"

/** Bytes that the next two will need at most. */
size_t lease_capture_bytes(const struct lease_table *t);
size_t session_capture_bytes(void);

/** Collect the leases that changed (table ROWS_LEASE). */
void lease_capture(struct lease_table *t, uint32_t job, struct rows *out);

/** Collect a session (table ROWS_SESSION). */
void session_capture(struct session *s, uint32_t job, struct rows *out);

/** Remove the rows of a session that is no more, and of its leases. */
void session_capture_gone(uint64_t number, uint32_t job, struct rows *out);

/** Whose lease a row is: the session's number. */
uint64_t lease_row_session(uint64_t number);

/** A lease's row comes back into its slot. @return 0, or -OHEM_STATE with the reason */
int lease_row_restore(struct lease_table *t, struct session *s, uint64_t number, const void *value,
                      size_t size, uint64_t n, struct reason *why);

/** What a session's row says: as its HELLO did. @return 0, or -OHEM_STATE with the reason */
int session_row_read(const void *value, size_t size, struct message_hello *out, struct reason *why);

/** The rest of it, into the session that was made of that. */
void session_row_restore(struct session *s, const void *value);

#endif
