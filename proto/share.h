/* share.h - what the daemon's share socket says: which memory to map, and how to use it.
 *
 * The socket is a Unix stream. A client sends the 16 bytes of WELCOME's cookie; the daemon answers
 * with this struct, as it lies in memory, and the descriptors beside it (SCM_RIGHTS). Then nothing
 * more is said: the connection stands for as long as the client uses what it got. PROTOCOL.md,
 * section 9.
 *
 * To change it: append in `reserved`, or raise PROTO_MAJOR; edit PROTOCOL.md in the same commit.
 */
#ifndef OHEM_SHARE_H
#define OHEM_SHARE_H

#include <stdint.h>

#define SHARE_COOKIE_BYTES    16u
#define SHARE_DESCRIPTORS_MAX 2u

/* The thread that guards a mapped file holds the word at the start of the life page; the kernel
 * takes these bits away when it dies (robust futexes, get_robust_list(2)). */
#define SHARE_LIFE_BYTES 4096u
#define SHARE_LIFE_MASK  UINT32_C(0x3fffffff)

struct share_answer {
    uint32_t code;  /* 0, or why nothing is handed out (error.h, positive): then no descriptors */
    uint32_t way;   /* enum message_way. shm: 1 descriptor, the ring. map: 2, file and life page */
    uint64_t bytes; /* of the first descriptor, to be mapped from 0 */
    uint64_t slot_bytes;    /* shm: slot i begins at i * slot_bytes */
    uint32_t slot_count;    /* shm */
    uint32_t reserved_a;    /* 0 */
    uint64_t watch[2];      /* map: where in the file two u64 lie that only rise ... */
    uint64_t watch_max;     /* ... and how far before pages of ours can be written over */
    uint64_t reserved_b[1]; /* 0 */
};

_Static_assert(sizeof(struct share_answer) == 64, "as PROTOCOL.md has it");

#endif
