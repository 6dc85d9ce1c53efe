/* bench.c - how fast is it, and what is the limit? The real daemon, the real client, bare rigs, and
 * what trainers use today.
 *
 *     bench [-q] [-c CREDIT] [-p PEER_SCRIPT] [-s SELECT_SCRIPT] OHEMD JSON_FILE
 *
 * in an empty working directory; bench.sh makes one. -q is quick. OHEMD "-" leaves ohemd out: rigs
 * and peers only. Each round measures everything once, one after the other, so that what else the
 * machine does falls on all alike; ratios are made within a round. It says nothing about learning.
 */
#include "modules.h"
#include "peer.h"
#include "quiet.h"
#include "rounds.h"
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDIT     8 /* of 4 and 8 the better one, for rigs and ohemd alike */
#define CREDIT_MAX 64

static const struct effort full = {.rounds = 5,
                                   .seconds = 0.8,
                                   .repeat_s = 60,
                                   .all_peers = true,
                                   .rigs_of_two = true,
                                   .module_rounds = 9,
                                   .module_s = 0.1};
static const struct effort quick = {
    .rounds = 3, .seconds = 0.2, .repeat_s = 5, .module_rounds = 5, .module_s = 0.03};

struct options {
    bool quick;
    uint32_t credit;
    const char *peer, *select, *program, *json;
};

static bool read_options(int argc, char **argv, struct options *out)
{
    int option;

    *out = (struct options){.credit = CREDIT};
    while ((option = getopt(argc, argv, "qc:p:s:")) != -1)
        switch (option) {
        case 'q':
            out->quick = true;
            break;
        case 'c':
            out->credit = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            out->peer = optarg;
            break;
        case 's':
            out->select = optarg;
            break;
        default:
            return false;
        }
    if (argc - optind != 2 || out->credit < 1 || out->credit > CREDIT_MAX)
        return false;
    out->program = argv[optind];
    out->json = argv[optind + 1];
    return true;
}

static void print_conditions(const struct bench *b)
{
    (void)printf("K = %u, credit %u for rigs and ohemd alike; median of %d rounds of %g s for each "
                 "measurement.\n",
                 WORKLOAD_BATCH, b->credit, b->effort->rounds, b->effort->seconds);
    for (int i = 0; i < WORKLOADS; i++) {
        const struct workload *w = &b->workloads[i];

        (void)printf("%s: %u records of ", w->name, w->count);
        if (workload_is_varied(w))
            (void)printf("%u to %u bytes, %s\n", w->size_min, w->size_max, w->meaning);
        else
            (void)printf("%u bytes, %s\n", w->size_min, w->meaning);
    }
    (void)printf("A large batch of the inline rig goes in messages of %zu MB.\n",
                 b->part_bytes >> 20);
    (void)fflush(stdout); /* rigs fork */
}

static void run(struct bench *b, const struct options *o)
{
    rounds_tune(b);
    print_conditions(b);
    if (o->peer != NULL)
        b->has_peer = peer_start(o->peer);
    if (strcmp(o->program, "-") != 0) {
        b->daemon = serve_start(o->program, b->workloads, false);
        rounds_warm_up(b);
    }
    for (int round = 0; round < b->effort->rounds; round++)
        rounds_run(b, round);
    peer_stop();
    if (b->daemon != 0) {
        serve_stop();
        rounds_promises(b);
        rounds_turns(b);
    }
    modules_run(b->effort->module_rounds, b->effort->module_s, o->select);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct options o;

    if (!read_options(argc, argv, &o)) {
        (void)fputs(
            "usage: bench [-q] [-c CREDIT] [-p PEER_SCRIPT] [-s SELECT_SCRIPT] OHEMD JSON_FILE\n",
            stderr);
        return 2;
    }
    b.effort = o.quick ? &quick : &full;
    b.credit = o.credit;
    b.program = o.program;
    quiet_init(b.effort->repeat_s);
    workload_list(b.workloads, o.quick);
    for (int i = 0; i < WORKLOADS; i++)
        workload_make(&b.workloads[i]);
    run(&b, &o);
    quiet_note();
    rows_write(o.json, o.quick);
    rows_print();
    return 0;
}
