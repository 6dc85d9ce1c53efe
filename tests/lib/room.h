/* room.h - a small room for cases about messages: an engine, one job of 20 instances, three
 * trainers.
 *
 * Each call says something and hands out what comes back, so that a case reads as a conversation.
 * What is not as it must be fails the case.
 */
#ifndef ROOM_H
#define ROOM_H

#include "test.h"
#include "trainer.h"

#define N        20u
#define K        4u
#define CREDIT   2u
#define LEASE_MS 1000u
#define LATE_MS  5000u
#define TRAINERS 3u
#define ENOUGH   100u /* batches to draw, or ticks, when all that can be is meant */

struct room {
    struct shell *shell;
    struct job *job;
    struct trainer trainers[TRAINERS];
};

/** The job is called "train" and has the constants above, or other settings. */
struct room *room_new(void);
struct room *room_with(const struct engine_settings *settings,
                       const struct job_settings *job_settings);
void room_free(struct room *r);

/** A room in which the first trainer has joined and holds its batches. */
struct room *room_at_work(void);

/** Hand out what waits. */
void room_hear(struct room *r);

/** Draw all that can be drawn, and hand it out. @return batches */
size_t room_work(struct room *r);

void room_hello(struct room *r, struct trainer *t);
void room_report(struct room *r, struct trainer *t, uint32_t i);
void room_release(struct room *r, struct trainer *t, uint32_t i);

/** A message of a type that only a session may send. */
struct message room_message(enum message_type type, struct session_key key, struct token token);

/** What the trainer just said is answered by this error and nothing else. */
void assert_refused(struct room *r, struct trainer *t, int code, enum message_type about);

/** The text of that error says this. */
void assert_text_has(const struct trainer *t, const char *part);

/** Whatever the trainer says under this key is refused: no session. */
void assert_no_session_for(struct room *r, struct trainer *t, const struct session_key *key);

#endif
