/* scale_job.c - see scale_job.h. */
#include "scale_job.h"

#include "../../daemon/dataset.h"
#include "measure.h"
#include "scale_life.h"
#include "usage.h"

#include <string.h>

#define K               SCALE_LIFE_BATCH
#define HASH_MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static void add(const char *size, const char *name, double value)
{
    row_add_metric(size, name, 0, ROW_VALUE, value);
}

static double since_s(uint64_t began_ns)
{
    return (double)(measure_now_ns() - began_ns) / MEASURE_NS_PER_S;
}

static double private_mb(void)
{
    double rss, private;

    usage_memory(0, &rss, &private);
    return private;
}

static void add_commits(struct scale_commits *c, const char *size)
{
    add(size, "commit: MB, median", samples_quantile(&c->megabytes, 0.5));
    add(size, "commit: MB, largest", samples_quantile(&c->megabytes, 1));
    add(size, "commit: on its thread, synced, ms, median",
        times_quantile_us(&c->writes, 0.5) / 1e3);
    add(size, "pause of the loop in a commit, ms, median",
        times_quantile_us(&c->pauses, 0.5) / 1e3);
    add(size, "... by the CPU time of its thread, median",
        times_quantile_us(&c->pauses_cpu, 0.5) / 1e3);
    ratio_add_part("pause of the loop in a commit, ms, p99", size,
                   times_quantile_us(&c->pauses, 0.99) / 1e3);
    ratio_add_part("... by the CPU time of its thread, p99", size,
                   times_quantile_us(&c->pauses_cpu, 0.99) / 1e3);
}

static void train(struct scale_life *l, uint32_t n, const char *size, uint32_t commits)
{
    uint64_t reports = (n + K - 1) / K, least = (uint64_t)commits * SCALE_LIFE_REPORTS, began;

    reports = reports > least ? reports : least;
    began = measure_now_ns();
    scale_life_train(l, reports);
    add(size, "a batch of 256 and its report, commits beside, us",
        since_s(began) * 1e6 / (double)reports);
    add_commits(&l->commits, size);
}

static double partition_bytes(const struct partition *p)
{
    double ids = (double)((uint64_t)p->page_count << p->page_shift) * sizeof *p->ids;

    return ids + (double)p->n * sizeof *p->place + (double)p->page_count * sizeof *p->free_pages;
}

/* By what each instance has of its own; and measured, with all that is small and all that is beside
 * but the address index. The last loss is kept for whoever asks about one instance, not for draws.
 */
static void add_memory(struct scale_life *l, double mb, const char *size)
{
    const struct job *j = scale_life_job(l);
    double n = j->hardness.n, last_loss = sizeof j->hardness.entries->last_loss;
    double scores = sizeof *j->hardness.entries - last_loss;
    double chunks =
        (sizeof *j->journal.needs + sizeof *j->journal.images) * (double)j->journal.chunk_count;
    double buffers = (double)(j->journal.capacity + state_rows(l->state)->capacity);
    double coverage = (double)COVERAGE_OPEN_MAX * sizeof(struct coverage_report) +
                      (double)j->coverage.pool_capacity * sizeof *j->coverage.pool;

    ratio_add_part("bytes: score, visits, variance, step, place, id", size,
                   scores + sizeof *j->hardness.partition.place +
                       sizeof *j->hardness.partition.ids);
    add(size, "bytes: ends of the buckets' pages",
        partition_bytes(&j->hardness.partition) / n - sizeof *j->hardness.partition.place -
            sizeof *j->hardness.partition.ids);
    add(size, "bytes beside: last loss", last_loss);
    add(size, "bytes beside: chunks of the state", chunks / n);
    add(size, "bytes beside: address index of a data set", sizeof(struct dataset_record));
    add(size, "MB beside: buffers of a commit", buffers / 1e6);
    add(size, "MB beside: coverage", coverage / 1e6);
    add(size, "bytes: all, measured, without that index", mb * 1e6 / n);
}

static uint64_t digest(const struct hardness *h)
{
    uint64_t sum = h->partition.count;

    for (uint32_t id = 0; id < h->n; id++) {
        uint64_t words[2];

        memcpy(words, &h->entries[id], sizeof words);
        sum = (sum ^ rng_mix(words[0] + id) ^ words[1]) * HASH_MULTIPLIER;
    }
    return sum;
}

/* The state's file is in the page cache, as it is after a daemon's death. */
static void recover(struct scale_life *l, uint32_t n, const char *dir, uint64_t before,
                    const char *size)
{
    uint64_t began = measure_now_ns();

    scale_life_begin(l, n);
    scale_life_load(l, dir);
    add(size, "recovery, s", since_s(began));
    add(size, "recovery: MB of state", (double)state_status(l->state)->bytes / 1e6);
    if (digest(&scale_life_job(l)->hardness) != before)
        die("the recovered scores are others");
}

void scale_job(uint32_t n, const char *dir, const char *size, uint32_t commits)
{
    static struct scale_life life;
    double mb = private_mb();
    uint64_t scores, began = measure_now_ns();

    scale_life_begin(&life, n);
    add(size, "start, s", since_s(began));
    scale_life_open_new(&life, dir);
    train(&life, n, size, commits);
    add_memory(&life, private_mb() - mb, size);
    scores = digest(&scale_life_job(&life)->hardness);
    scale_life_end(&life);
    recover(&life, n, dir, scores, size);
    scale_life_end(&life);
}
