/* tinyset.c - a data set of known bytes; see tinyset.h. */
#include "tinyset.h"

#include "test.h"

#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_BYTES  4096 /* a record takes at most so much more than itself */
#define FOLDER_MODE 0755
#define FILE_MODE   0644
#define KEY_BYTES   24

size_t tinyset_size(const struct tinyset *set, uint64_t id)
{
    return set->size_min + (size_t)(id % (set->size_max - set->size_min + 1));
}

/* Neighbours in a record and records side by side both differ. */
static unsigned char byte_at(uint64_t id, size_t i)
{
    return (unsigned char)((id * 2654435761u + i * 40503u) >> 7 ^ id ^ i);
}

bool tinyset_is(const struct tinyset *set, uint64_t id, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    if (size != tinyset_size(set, id))
        return false;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(id, i))
            return false;
    return true;
}

static void must(int rc, const char *what)
{
    if (rc != 0)
        fail_msg("tiny data set: %s: %s", what, mdb_strerror(rc));
}

static void put_record(const struct tinyset *set, MDB_txn *txn, MDB_dbi dbi, uint64_t id)
{
    char name[KEY_BYTES];
    int length = snprintf(name, sizeof name, "%020" PRIu64, id);
    MDB_val key = {.mv_size = (size_t)length, .mv_data = name};
    MDB_val value = {.mv_size = tinyset_size(set, id)};

    must(mdb_put(txn, dbi, &key, &value, MDB_RESERVE | MDB_APPEND), "put");
    for (size_t i = 0; i < value.mv_size; i++)
        ((unsigned char *)value.mv_data)[i] = byte_at(id, i);
}

static void write_from(const struct tinyset *set, const char *path, uint64_t first)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    must(mdb_env_create(&env), "create");
    must(mdb_env_set_mapsize(env, (set->count + 256) * (set->size_max + PAGE_BYTES)), "map");
    must(mdb_env_open(env, path, MDB_NOSYNC, FILE_MODE), path);
    must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
    for (uint64_t id = first; id < set->count; id++)
        put_record(set, txn, dbi, id);
    must(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
}

void tinyset_make(const struct tinyset *set, const char *path)
{
    must(mkdir(path, FOLDER_MODE), "folder");
    write_from(set, path, 0);
}

void tinyset_grow(const struct tinyset *set, const char *path, uint64_t had)
{
    write_from(set, path, had);
}
