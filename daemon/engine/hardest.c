/* hardest.c - the list of the hardest instances; a part of hardness.h.
 *
 * Buckets are walked from the hardest down into a heap of the list's size.
 */
#include "hardness.h"

#include <assert.h>

/* Is instance a less hard than b? Ties: the larger id is. */
static bool less_hard(const struct hardness *h, uint32_t a, uint32_t b)
{
    float x = h->entries[a].score, y = h->entries[b].score;

    return x != y ? x < y : a > b;
}

/* ids[0..count) is a heap with the least hard on top; let the one at i sink to its place. */
static void sift_down(const struct hardness *h, uint32_t *ids, size_t count, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        uint32_t id;

        if (child >= count)
            return;
        if (child + 1 < count && less_hard(h, ids[child + 1], ids[child]))
            child++;
        if (!less_hard(h, ids[child], ids[i]))
            return;
        id = ids[i];
        ids[i] = ids[child];
        ids[child] = id;
        i = child;
    }
}

static void heap_offer(const struct hardness *h, uint32_t *ids, size_t *count, size_t n,
                       uint32_t id)
{
    if (*count < n) {
        ids[(*count)++] = id;
        if (*count == n)
            for (size_t i = n / 2; i-- > 0;)
                sift_down(h, ids, n, i);
    } else if (less_hard(h, ids[0], id)) {
        ids[0] = id;
        sift_down(h, ids, n, 0);
    }
}

/* From a heap, or from any order when it never filled, to hardest first. */
static void heap_sort(const struct hardness *h, uint32_t *ids, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(h, ids, count, i);
    for (size_t end = count; end > 1; end--) {
        uint32_t least = ids[0];

        ids[0] = ids[end - 1];
        ids[end - 1] = least;
        sift_down(h, ids, end - 1, 0);
    }
}

size_t hardness_hardest(const struct hardness *h, size_t n, uint32_t *ids)
{
    size_t count = 0, scanned = 0;

    assert(n <= HARDNESS_HARDEST_MAX);
    /* from the hardest bucket down; once n are found, the buckets below cannot matter */
    for (unsigned b = PARTITION_BUCKETS; b-- > 0 && count < n && scanned < HARDNESS_SCAN_MAX;)
        for (uint32_t i = 0; i < h->partition.buckets[b].count; i++) {
            if (scanned++ >= HARDNESS_SCAN_MAX)
                break;
            heap_offer(h, ids, &count, n, partition_at(&h->partition, b, i));
        }
    heap_sort(h, ids, count);
    return count;
}
