/* workload.c - make the data sets, and find their records; see workload.h. */
#include "workload.h"

#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_MODE       0755
#define FILE_MODE         0644
#define PAGE_BYTES        4096u
#define TXN_BYTES         (16u << 20) /* LMDB keeps what is not committed in memory of ours */
#define QUICK_LARGE_COUNT 4000u

static const struct workload workloads[WORKLOADS] = {
    {.name = "w1",
     .meaning = "Fashion-MNIST's shape",
     .count = 60000,
     .size_min = 785,
     .size_max = 785},
    {.name = "w2",
     .meaning = "CIFAR-10's shape",
     .count = 50000,
     .size_min = 3073,
     .size_max = 3073},
    /* multiples of 8, so that a trainer in Python can add them up by words */
    {.name = "w3",
     .meaning = "encoded images",
     .count = 20000,
     .size_min = 80000,
     .size_max = 140000},
};

void workload_list(struct workload out[WORKLOADS], bool quick)
{
    memcpy(out, workloads, sizeof workloads);
    if (quick)
        out[WORKLOADS - 1].count = QUICK_LARGE_COUNT;
}

double workload_batch_bytes(const struct workload *w)
{
    return (double)w->bytes / w->count * WORKLOAD_BATCH;
}

void workload_draw(const struct workload *w, uint64_t *state, uint32_t ids[WORKLOAD_BATCH])
{
    for (uint32_t i = 0; i < WORKLOAD_BATCH; i++)
        ids[i] = (uint32_t)((workload_random(state) >> 32) * w->count >> 32);
}

void workload_touch(const struct workload *w)
{
    uint64_t sum = 0;

    for (size_t at = 0; at < w->map_bytes; at += PAGE_BYTES)
        sum += w->map[at];
    measure_keep(sum);
}

/* ---- make ---- */

static void must(int rc, const char *what)
{
    if (rc != 0)
        die("data set: %s: %s", what, mdb_strerror(rc));
}

/* What the bytes are does not matter, only that no page is like another. */
static void fill(unsigned char *out, size_t size, uint64_t *state)
{
    size_t i = 0;
    uint64_t word;

    for (; i + sizeof word <= size; i += sizeof word) {
        word = workload_random(state);
        memcpy(out + i, &word, sizeof word);
    }
    word = workload_random(state);
    memcpy(out + i, &word, size - i);
}

static uint32_t size_of(const struct workload *w, uint64_t *state)
{
    uint32_t range = w->size_max - w->size_min;

    return range == 0 ? w->size_min
                      : w->size_min + (uint32_t)(workload_random(state) % range) / 8 * 8;
}

static size_t put_record(const struct workload *w, MDB_txn *txn, MDB_dbi dbi, uint32_t id,
                         uint64_t *state)
{
    char name[16];
    MDB_val key = {.mv_size = (size_t)snprintf(name, sizeof name, "%08u", id), .mv_data = name};
    MDB_val value = {.mv_size = size_of(w, state)};

    must(mdb_put(txn, dbi, &key, &value, MDB_RESERVE | MDB_APPEND), "put");
    fill(value.mv_data, value.mv_size, state);
    return value.mv_size;
}

static void write_records(const struct workload *w, MDB_env *env)
{
    uint64_t state = 1;

    for (uint32_t id = 0; id < w->count;) {
        MDB_txn *txn;
        MDB_dbi dbi;

        must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        must(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
        for (size_t bytes = 0; id < w->count && bytes < TXN_BYTES; id++)
            bytes += put_record(w, txn, dbi, id, &state);
        must(mdb_txn_commit(txn), "commit");
    }
}

/* ---- find ---- */

/* Where the mapping of a file begins that this address lies in: LMDB does not say. */
static const unsigned char *map_around(const void *address)
{
    FILE *file = fopen("/proc/self/maps", "r");
    unsigned long from, to, found = 0;
    char line[512];

    while (file != NULL && found == 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (uintptr_t)address >= from &&
            (uintptr_t)address < to)
            found = from;
    if (found == 0)
        die("/proc/self/maps does not say where a record lies");
    (void)fclose(file);
    return (const unsigned char *)found;
}

static void find_records(struct workload *w, MDB_env *env)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    const unsigned char *map = NULL;
    uint32_t id = 0;
    MDB_txn *txn;
    MDB_dbi dbi;

    w->offsets = calloc(w->count, sizeof *w->offsets);
    w->sizes = calloc(w->count, sizeof *w->sizes);
    if (w->offsets == NULL || w->sizes == NULL)
        die("out of memory for %u records", w->count);
    must(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
    must(mdb_cursor_open(txn, dbi, &cursor), "cursor");
    for (; id < w->count && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0; id++) {
        if (map == NULL)
            map = map_around(value.mv_data);
        w->offsets[id] = (uint64_t)((unsigned char *)value.mv_data - map);
        w->sizes[id] = (uint32_t)value.mv_size;
        w->bytes += value.mv_size;
    }
    if (id < w->count)
        die("data set '%s' has %u records of %u", w->name, id, w->count);
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

static void map_file(struct workload *w)
{
    char path[64];
    struct stat file;
    int fd;

    (void)snprintf(path, sizeof path, "%s/data.mdb", w->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || fstat(fd, &file) != 0) /* no writing back while we measure */
        die("'%s': %s", path, strerror(errno));
    w->map_bytes = (size_t)file.st_size;
    w->map = mmap(NULL, w->map_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (w->map == MAP_FAILED)
        die("'%s': %s", path, strerror(errno));
    (void)close(fd);
}

void workload_make(struct workload *w)
{
    size_t room = (size_t)w->count * (w->size_max + PAGE_BYTES) + (16u << 20);
    MDB_env *env;

    if (mkdir(w->name, FOLDER_MODE) != 0)
        die("folder '%s': %s", w->name, strerror(errno));
    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, room), "map size");
    must(mdb_env_open(env, w->name, MDB_NOSYNC | MDB_NORDAHEAD, FILE_MODE), "open");
    write_records(w, env);
    find_records(w, env);
    mdb_env_close(env);
    (void)malloc_trim(0); /* the clients are forked: what is ours looks like theirs */
    map_file(w);
}
