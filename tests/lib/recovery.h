/* recovery.h - a durable job that is on a disk, with every kind of row, and comes back from there.
 *
 * Its earlier life is always the same: two trainers work and four are silent, then one leaves
 * with its batches. What comes after it is an engine without a shell, in which a test may look and
 * let things fail.
 */
#ifndef RECOVERY_H
#define RECOVERY_H

#include "disk.h"

#define RECOVERY_N      (40u * JOURNAL_CHUNK_IDS) /* more chunks than a capture saves */
#define RECOVERY_K      64u
#define RECOVERY_CREDIT 3u    /* of each trainer; five of them come back */
#define RECOVERY_D      24u   /* staleness that suffices for them */
#define RECOVERY_NOW_MS 9000u /* when the job comes back */

struct recovery {
    struct disk disk;
    struct job_settings settings;
    struct engine engine;
    struct job *job;
    struct reason why;
    struct rows rows; /* captured */
};

/** Live the life before, up to what is on the disk; there is no engine yet.
 *  @param staleness  of strict order; 0: free */
void recovery_open(struct recovery *r, uint32_t staleness);

/** There is an engine. */
void recovery_close(struct recovery *r);

/** An engine with its job, which knows nothing. @return as engine_add_job() */
int recovery_begin(struct recovery *r);

/** All rows come back. @return as engine_restore_row() */
int recovery_restore(struct recovery *r);

/** Both. If it fails there is no engine. */
int recovery_start(struct recovery *r);

/** Save, and draw all that the sessions may be sent. */
void recovery_hand_out(struct recovery *r);

#endif
