/* draw.c - see draw.h.
 *
 * An epoch hands out every instance, so a session that takes batches and gives them back without a
 * report sees all of them, and changes no score. No second way to the data set is needed.
 */
#include "draw.h"

#include "../../ohem.h"
#include "ascii.h"
#include "idx.h"
#include "train.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define INSTANCES_MAX   64u
#define COLUMNS_DEFAULT 90u /* three pictures, when there is no terminal to ask */

struct wanted {
    uint64_t id;
    double score;
    uint8_t record[1 + IDX_PIXELS]; /* label, pixels */
    int found;
};

static uint32_t read_table(FILE *table, struct wanted *wanted)
{
    uint32_t count = 0;
    char line[512];

    while (count < INSTANCES_MAX && fgets(line, sizeof line, table) != NULL)
        if (sscanf(line, "%" SCNu64 " %lf", &wanted[count].id, &wanted[count].score) == 2)
            count++;
    return count;
}

/* @return how many of the wanted were found in this batch */
static uint32_t look_through(const struct ohem_batch *batch, struct wanted *wanted, uint32_t count)
{
    const uint64_t *ids = ohem_batch_ids(batch);
    uint32_t found = 0;

    for (uint32_t i = 0; i < ohem_batch_count(batch); i++)
        for (uint32_t n = 0; n < count; n++)
            if (!wanted[n].found && wanted[n].id == ids[i]) {
                memcpy(wanted[n].record, ohem_batch_data(batch, i, NULL), sizeof wanted[n].record);
                wanted[n].found = 1;
                found++;
            }
    return found;
}

static int fetch(struct ohem_client *client, struct wanted *wanted, uint32_t count)
{
    /* the rest of this epoch and all of the next, even if half of the slots are drawn by hardness
     */
    uint64_t batches_max = 4 * (ohem_instance_count(client) / ohem_batch_size(client) + 1);
    uint32_t found = 0;

    for (uint64_t b = 0; found < count && b < batches_max; b++) {
        struct ohem_batch *batch;
        int rc = ohem_next(client, TRAIN_TIMEOUT_MS, &batch);

        if (rc != 0) {
            (void)fprintf(stderr, "ohem-demo: next: %s (%s)\n", ohem_strerror(rc),
                          ohem_client_error(client));
            return -1;
        }
        found += look_through(batch, wanted, count);
        ohem_release(batch);
    }
    if (found == count)
        return 0;
    (void)fprintf(stderr, "ohem-demo: %u of %u instances did not come in an epoch\n", count - found,
                  count);
    return -1;
}

static uint32_t terminal_columns(void)
{
    struct winsize size;

    if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
        size.ws_col == 0)
        return COLUMNS_DEFAULT;
    return size.ws_col;
}

static void print_pictures(const struct wanted *wanted, uint32_t count)
{
    struct ascii_picture pictures[INSTANCES_MAX];

    for (uint32_t n = 0; n < count; n++) {
        pictures[n].pixels = wanted[n].record + 1;
        (void)snprintf(pictures[n].caption, sizeof pictures[n].caption, "%" PRIu64 " %s score %.2f",
                       wanted[n].id, wanted[n].record[0] != 0 ? "shirt" : "other", wanted[n].score);
    }
    ascii_print(pictures, count, terminal_columns(), stdout);
}

int draw_instances(const char *job, FILE *table)
{
    static struct wanted wanted[INSTANCES_MAX];
    struct ohem_options options = OHEM_OPTIONS_INIT;
    struct ohem_client *client;
    uint32_t count = read_table(table, wanted);
    int rc;

    if (count == 0) {
        (void)fprintf(stderr, "ohem-demo: draw: the input names no instance\n");
        return -1;
    }
    options.job = job;
    rc = ohem_connect(&options, &client);
    if (rc != 0) {
        (void)fprintf(stderr, "ohem-demo: job %s: %s (%s)\n", job, ohem_strerror(rc),
                      ohem_connect_error());
        return -1;
    }
    if (ohem_record_bytes(client) == sizeof wanted[0].record) {
        rc = fetch(client, wanted, count);
    } else {
        (void)fprintf(stderr, "ohem-demo: job %s: its records are no pictures of 28 x 28\n", job);
        rc = -1;
    }
    ohem_close(client);
    if (rc == 0)
        print_pictures(wanted, count);
    return rc;
}
