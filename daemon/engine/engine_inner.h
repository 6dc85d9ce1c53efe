/* engine_inner.h - what the engine's own files share. */
#ifndef OHEM_ENGINE_INNER_H
#define OHEM_ENGINE_INNER_H

#include "engine.h"

/* ---- engine.c ---- */

/** Send, and count what cannot be sent. @return as out->send() */
int engine_send(struct engine *e, uint64_t peer, const struct message *m);

/** Answer by an ERROR, and count it. */
void engine_refuse(struct engine *e, uint64_t peer, uint32_t about, struct token token, int code,
                   const char *why);

/** A line for the log. */
void engine_tell(struct engine *e, const struct session *s, const char *what, const char *detail);

/** Put the session into the queue of those to be served, or take it out, as it should be. */
void engine_feed(struct engine *e, struct session *s);
void engine_end_session(struct engine *e, struct session *s, const char *what);

/** Do something for each session; it may end the session. */
void engine_each_session(struct engine *e, uint64_t now_ms,
                         void (*visit)(struct engine *e, struct session *s, uint64_t now_ms));

/** An open batch that did not arrive. NULL is allowed. */
void engine_mark_unsent(struct session *s, struct lease *l);

/** Answer a SYNC if all that it asks for is durable. */
void engine_tell_durable(struct engine *e, struct session *s);

/* ---- engine_hello.c ---- */

void engine_handle_hello(struct engine *e, uint64_t peer, const struct message_hello *hello,
                         uint64_t now_ms);

#endif
