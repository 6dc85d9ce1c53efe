/* world.h - an engine with its clock, disk and network, all of which may fail; and who judges it.
 *
 * The daemon dies (world_die()) and comes back with what is on the disk. Between, its changes are
 * captured, written and said to be written in three moves (world_capture(), world_write(),
 * world_commit()), as keeper.c makes them, so that it can die between any two. All that survivors
 * say goes through here, and each job's oracle is told. Everything follows from the dice.
 */
#ifndef WORLD_H
#define WORLD_H

#include "disk.h"
#include "oracle.h"
#include "referee.h"
#include "scribe.h"
#include "warden.h"
#include "survivor.h"
#include "undisturbed.h"

#define WORLD_JOBS_MAX      2u
#define WORLD_SURVIVORS_MAX 48u
#define WORLD_TRACE_BYTES   (1u << 19)

enum world_stage { WORLD_IDLE, WORLD_CAPTURED, WORLD_WRITTEN, WORLD_STAGES };

struct world_failure {
    uint64_t peer;
    struct token token;
};

struct world {
    struct engine engine;
    uint64_t dice;
    uint64_t now_ms, clock_ms; /* the daemon's clock is now_ms + clock_ms: another in each life */
    uint64_t boot, peer_count;
    struct job_settings jobs[WORLD_JOBS_MAX];
    struct oracle oracles[WORLD_JOBS_MAX];
    struct scribe scribes[WORLD_JOBS_MAX]; /* of jobs with an audit */
    struct warden wardens[WORLD_JOBS_MAX];
    struct referee referees[WORLD_JOBS_MAX]; /* of jobs with rounds */
    struct undisturbed undisturbed[WORLD_JOBS_MAX];
    bool compares; /* strict order: with the undisturbed run */
    size_t job_count;
    struct disk disk;
    struct rows rows;
    enum world_stage stage;
    struct survivor *survivors; /* [WORLD_SURVIVORS_MAX] */
    size_t survivor_count;

    struct survivor *speaker;   /* of the message that the engine has now */
    struct token asked;         /* a report in a round is answered by its token */
    enum message_type answered; /* what it was answered; 0: nothing yet */
    struct oracle_answer answer;
    struct message_share share; /* likewise */
    const struct message *said; /* a report that was made ragged on its way to the engine ... */
    size_t said_items;          /* ... of so many items; 0: the message was told as it is */
    uint64_t ragged;            /* how many were */
    bool says_bye, drains;
    bool lies; /* what answers it is not told to the speaker, who would believe it */
    struct world_failure failures[256]; /* deliveries, to be told to the engine */
    size_t failure_count;

    uint64_t deaths[WORLD_STAGES + 1], lives, forgotten; /* deaths at the start stand last */
    char *trace;
    size_t trace_size;
};

uint64_t world_roll(struct world *w, uint64_t sides);
bool world_chance(struct world *w, uint64_t per_mille);

/** Note what happens; printed when the seed fails. */
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Jobs are filled in already. The daemon starts for the first time. */
void world_init(struct world *w);
void world_deinit(struct world *w);

struct survivor *world_add_survivor(struct world *w, size_t job);
const char *world_job_name(const struct world *w, const struct survivor *s);
struct oracle *world_oracle(struct world *w, const struct survivor *s);

/** A survivor says this. If its connection stands the engine hears it, and its answer is judged. */
void world_say(struct world *w, struct survivor *s, const struct message *m);

/** A survivor has made its report number seq. */
void world_note_report(struct world *w, const struct survivor *s, struct token token, uint64_t seq);

/** A new connection, over which nothing was said yet. */
void world_connect(struct world *w, struct survivor *s);

/** Draw; the engine is told of deliveries that failed. */
size_t world_work(struct world *w, size_t batches);

/** Time passes, with ticks where the engine wants them (or only one at the end). */
void world_pass(struct world *w, uint64_t ms, bool punctual);

void world_capture(struct world *w);
void world_write(struct world *w);
void world_commit(struct world *w);

/** All three, until nothing is left to be written. */
void world_save_all(struct world *w);

/** It is to go down in a while, and says so. */
void world_drain(struct world *w);

/** kill -9 as things stand, and a new start. */
void world_die(struct world *w);

/** Compare the engine with the oracles. */
void world_check(struct world *w, bool all);

/** Compare what the disk's audit tells of so many instances with what happened to them. */
void world_check_audit(struct world *w, uint32_t instances);

#endif
