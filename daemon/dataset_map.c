/* dataset_map.c - where a data set lies in its file, so that a client can map it; see dataset.h.
 *
 * LMDB tells the address of a record; its place in the file follows from the mapping that holds the
 * address. The two transaction ids that a client watches are fields of LMDB's meta pages, whose
 * format no function tells: so we look for them where version 0.9 has them, and offer nothing if
 * what stands there does not agree with what LMDB says.
 */
#include "dataset_env.h"

#include "../proto/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* lmdb.h promises none of this; mdb.c of 0.9 has a page header of 16 bytes, then struct MDB_meta.
 */
#define META_MAGIC    UINT32_C(0xBEEFC0DE)
#define META_MAGIC_AT 16u
#define META_TXNID_AT 144u /* header, magic, version, address, map size, two MDB_db, last page */
#define LOOKS_MAX     100  /* a writer may commit between two looks */

/* The mapping that holds an address: a line of /proc/self/maps. @return false if there is none */
static bool find_mapping(const struct environment *e, const void *address, const char **out_base)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    uintptr_t at = (uintptr_t)address, from, to;
    uint64_t offset, inode;
    unsigned major, minor;
    bool found = false;
    char line[512];

    while (!found && maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*4s %" SCNx64 " %x:%x %" SCNu64, &from, &to,
                   &offset, &major, &minor, &inode) == 6 &&
            at >= from && at < to) {
            found = inode == e->inode;
            *out_base = (const char *)from - offset;
        }
    if (maps != NULL)
        (void)fclose(maps);
    return found;
}

/* The field of a meta page, in the file as it lies in memory. */
static bool read_meta(const struct environment_file *f, uint64_t page, uint64_t *out_txnid)
{
    const volatile uint64_t *txnid;
    uint32_t magic;

    if (page + META_TXNID_AT + sizeof *txnid > f->bytes)
        return false;
    memcpy(&magic, f->base + page + META_MAGIC_AT, sizeof magic);
    txnid = (const volatile uint64_t *)(const volatile void *)(f->base + page + META_TXNID_AT);
    *out_txnid = *txnid;
    return magic == META_MAGIC;
}

/* Do the two ids say what LMDB says? Unless a writer is at it just now, so look again. */
static bool check_metas(struct environment *e, struct environment_file *f)
{
    MDB_envinfo before, after;
    MDB_stat pages;
    uint64_t a = 0, b = 0;

    if (mdb_env_stat(e->env, &pages) != 0)
        return false;
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (mdb_env_info(e->env, &before) != 0 || !read_meta(f, 0, &a) ||
            !read_meta(f, pages.ms_psize, &b) || mdb_env_info(e->env, &after) != 0)
            return false;
        if (before.me_last_txnid != after.me_last_txnid)
            continue;
        f->watch[0] = META_TXNID_AT;
        f->watch[1] = pages.ms_psize + META_TXNID_AT;
        return (a > b ? a : b) == after.me_last_txnid;
    }
    return false;
}

int dataset_env_file(const struct snapshot *s, const void *record, struct environment_file *out,
                     struct reason *why)
{
    struct environment *e = s->in;
    struct stat st;

    *out = (struct environment_file){.snapshot = mdb_txn_id(s->txn)};
    if (mdb_env_get_fd(e->env, &out->fd) != 0 || fstat(out->fd, &st) != 0)
        reason_set(why, "its file has no descriptor");
    else if (!find_mapping(e, record, &out->base))
        reason_set(why, "its mapping is not in /proc/self/maps");
    else {
        out->bytes = (uint64_t)st.st_size;
        if (check_metas(e, out))
            return 0;
        reason_set(why, "its meta pages are not as this version of LMDB writes them");
    }
    return -OHEM_DATASET;
}
