/* generations.h - which generation of each data set is served, and the earlier ones that batches
 * still lie in.
 *
 * A generation that is replaced stays, with the pages that its snapshot pins, until the last batch
 * that lies in them is given back (by map; the other ways copy). Generations of a data set are
 * counted by a serial, from 0. Loop's thread only.
 */
#ifndef OHEMD_GENERATIONS_H
#define OHEMD_GENERATIONS_H

#include "config.h"
#include "dataset.h"
#include "engine/engine.h"
#include "share.h"

#include <uv.h>

#define GENERATIONS_RETIRED_MAX 16 /* kept for batches, of all data sets */

struct generations;

/** A line for a person: a job that did not follow its data set. */
typedef void (*generations_say_cb)(void *ctx, const char *line);

/**
 * @param datasets  [config->dataset_count], open; a grown one is put in its place here
 * @param engine    of the jobs that train on them
 * @return 0 or -OHEM_NOMEM
 */
int generations_new(uv_loop_t *loop, const struct config *config, struct dataset **datasets,
                    struct engine *engine, struct generations **out);

/** Who knows which clients have the file mapped. */
void generations_set_share(struct generations *g, struct share *share);

/** What the engine has to know of the data set that is served. */
struct job_dataset generations_describe(const struct generations *g, uint32_t number);

uint64_t generations_serial(const struct generations *g, uint32_t number);

/** Earlier ones that are kept for batches, of this data set. */
size_t generations_kept(const struct generations *g, uint32_t number);

/**
 * Serve this generation from now on; dataset_compare() agreed. No session ends.
 * @param next  taken, if it succeeds
 * @return 0, or -OHEM_LIMIT with the reason: the present one is served on
 */
int generations_replace(struct generations *g, uint32_t number, struct dataset *next,
                        generations_say_cb say_cb, void *ctx, struct reason *why);

/** Jobs that could not grow when their data set did try again; and it is looked which generations
 *  can be let go. */
void generations_catch_up(struct generations *g, generations_say_cb say_cb, void *ctx);

/** Run the loop until it is empty, then free. Both take NULL. */
void generations_close(struct generations *g);
void generations_free(struct generations *g);

#endif
