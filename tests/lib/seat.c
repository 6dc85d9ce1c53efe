/* seat.c - sessions for tests; see seat.h. */
#include "seat.h"

#include "test.h"

struct session *seat_new(uint64_t number, uint32_t credit, uint32_t batch_size)
{
    const struct message_hello hello = {
        .key = {{(uint8_t)number, 7}}, .batch_size = batch_size, .credit = credit};
    struct session *s = session_new(&hello, NULL, 0, number, 0);

    assert_non_null(s);
    return s;
}
