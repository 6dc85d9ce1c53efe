/* rig_inner.h - what the ways of rig.h have in common; for rig*.c only. */
#ifndef BENCH_RIG_INNER_H
#define BENCH_RIG_INNER_H

#include "rig.h"

struct frames;

#define RIG_FILE       "rig.sock"
#define RIG_ENDPOINT   "ipc://" RIG_FILE
#define RIG_PEER_BYTES 255
#define RIG_ANSWER_MS  10000
#define RIG_LINK_BYTES (4 << 20) /* of the kernel's buffers */

/* Who asked. */
struct rig_peer {
    unsigned char id[RIG_PEER_BYTES];
    size_t size;
};

struct rig_server {
    const struct rig_plan *plan;
    void *socket;
    uint64_t random;
    uint32_t ids[WORKLOAD_BATCH];
    unsigned char *memory; /* of the way: slots or buffers */
    size_t slot_bytes;
    uint32_t slot_count;
};

struct run_client {
    const struct rig_plan *plan;
    void *socket;
    const unsigned char *memory;
    size_t slot_bytes;
    const struct frames *request; /* of a round trip */
};

/* What a way must do. */
struct rig_ops {
    /* In the bench, before server and clients are forked. May be NULL. */
    void (*prepare)(struct rig_server *s);
    /* In the server: a batch for this peer, whose credit said `slot`. */
    void (*answer)(struct rig_server *s, const struct rig_peer *peer, uint32_t slot);
    /* In the client: receive a batch, read it. @return its bytes; the credit to give back */
    double (*take)(struct run_client *c, uint32_t *slot);
};

extern const struct rig_ops rig_index_ops, rig_slot_ops, rig_inline_ops;

/** A DEALER connected to RIG_ENDPOINT, or a ROUTER bound to it. */
void *rig_connect(void);
void *rig_bind(void);

/** Send and receive a frame; a rig that cannot ends. */
void rig_send(void *socket, const void *data, size_t size, bool more);
void rig_receive(void *socket, void *out, size_t size);

/** Fork a process that runs serve(ctx) for ever; rig_kill() ends it. */
pid_t rig_fork(void (*serve)(void *ctx), void *ctx);
void rig_kill(pid_t pid);

/** The largest batch, in whole pages. */
size_t rig_block_bytes(const struct workload *w);

/** Memory for slots, shared with what is forked. */
unsigned char *rig_share(size_t bytes);

/** Copy the records of ids[from..to) to `out`. @return the bytes */
size_t rig_copy(const struct workload *w, const uint32_t *ids, uint32_t from, uint32_t to,
                unsigned char *out);

#endif
