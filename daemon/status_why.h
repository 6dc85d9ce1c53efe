/* status_why.h - why an instance was drawn: a part of its job's audit, read on the state's thread.
 *
 * The answer to a request is made there, too; the loop only begins and sends it. A part is a
 * bounded number of bytes of the audit (WHY_BYTES_MAX) and of events; the answer says where the
 * next one begins.
 */
#ifndef OHEMD_STATUS_WHY_H
#define OHEMD_STATUS_WHY_H

#include "http.h"
#include "server.h"

#define WHY_BYTES_MAX  (16u << 20) /* of the audit, beside the last row */
#define WHY_EVENTS_MAX 2000u       /* likewise */

struct why;

/* Those under way. */
TAILQ_HEAD(why_list, why);

/** Begin: http_put_off() and state_read(). @param from  the byte of the audit to begin at
 *  @return NULL, as an answer() that comes later or has no memory; or the body of an error */
json_t *why_answer(struct why_list *list, struct http_request *r, struct server *server,
                   const struct job *j, uint32_t id, uint64_t from);

/** Those that never came to their end. After http_close(), when the state's thread has ended. */
void why_free_all(struct why_list *list);

#endif
