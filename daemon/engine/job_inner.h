/* job_inner.h - what the job's own files share. */
#ifndef OHEM_JOB_INNER_H
#define OHEM_JOB_INNER_H

#include "job.h"

/* ---- job.c ---- */

/** Another policy of selection. Its epochs become steps: those that cover N as often with the
 *  job's own K and rho, whatever trainers ask for and the bias does. */
void job_set_selection(struct job *j, const struct selection_policy *policy);

/* A batch to apply. */
struct job_batch {
    uint64_t step;
    const uint32_t *ids, *epochs;
    uint32_t count, coverage_count; /* 0: what it covered is not settled by it */
    uint64_t session;               /* the number of the one that reports it */
    bool late;
    const uint32_t *selected; /* of a report, ascending, for the audit */
    uint32_t selected_count;
    bool undecided; /* they are not known yet: the round is open */
};

/** Room for what is kept of a report. @return 0 or -OHEM_NOMEM: it must not be applied */
int job_reserve_report(struct job *j, uint32_t count);

/** Settle coverage, move the scores, note the report: it is the next in the job's order.
 *  job_reserve_report() has said yes, if there are losses. @return its LSN
 *  @param losses  NULL: the batch was released without */
uint64_t job_apply(struct job *j, const struct job_batch *b, const float *losses);

/** A report of the session was taken: its number counts. */
void job_note_seq(struct job *j, struct session *s, uint64_t seq);

/* ---- job_session.c ---- */

/** It is active: to the end of the list, since nobody was later. */
void job_touch(struct job *j, struct session *s, uint64_t now_ms);

/** What the session claims under this token, or NULL. */
struct session_claim *job_find_claim(struct session *s, struct token token);

/* ---- job_lease.c ---- */

/** Draw the batch of a step, the job's next. @return the epoch that its BATCH says */
uint64_t job_sample(struct job *j, uint64_t step, uint64_t now_ms, struct sampler_batch *out);

/** A batch was sent or reported: so many reports were applied since its draw. */
void job_note_age(struct job_ages *ages, uint64_t age);

/** It need not be sent again. */
void job_no_longer_unsent(struct lease *l);

/** What a lease handed out is handed out again: in strict order the batch as a whole. */
void job_return_batch(struct job *j, const struct lease *l);

/** After its draw, without a report: nothing of a step is known any more then. */
uint64_t job_forgotten_after_ms(const struct job *j);

/* ---- job_token.c ---- */

/** A keyed hash over all that makes a batch this one (DESIGN 7). */
uint64_t job_token_tag(const struct job *j, uint64_t generation, const struct session_key *key,
                       uint64_t step, const uint32_t *ids, uint32_t count);

/** Of a report's losses, for what becomes of its step: nobody makes the same who does not report
 *  this batch with these losses. */
uint64_t job_report_digest(const struct job *j, const struct message_loss *loss,
                           const float *losses);

/* ---- job_ragged.c ---- */

/** Of a ragged report: the instances of which an item was selected. */
void job_choose_ragged(const struct ragged *r, struct selection *out);

/* ---- job_grow.c ---- */

/** Was the token given to this session for these ids, in this generation or an earlier one? */
bool job_token_fits(const struct job *j, const struct session_key *key, struct token token,
                    const uint32_t *ids, uint32_t count);

/** A job of an earlier life had these keys: are they the first ones of its data set now?
 *  @return 0, or -OHEM_STATE with the reason */
int job_check_generation(const struct job *j, uint64_t n, uint64_t generation, struct reason *why);

/** In strict order: nothing is drawn for now, and so nothing may be applied. */
bool job_growth_holds(const struct job *j);

/** In strict order, before the next step is drawn: if the new ids are to join there, they do. */
void job_growth_join(struct job *j);

/** All of it is back: the ids that its data set has more now join. @return 0, or as job_grow() */
int job_resume_growth(struct job *j, struct reason *why);

/* ---- job_report.c ---- */

/** No slot of a session holds the token: whose is it? @return -OHEM_FOREIGN or -OHEM_TOKEN */
int job_explain_token(const struct job *j, struct token token, struct reason *why);

/* ---- job_select.c ---- */

/** May a trainer have its report answered so? One that was taken before, or may have been, is not
 *  asked: it must not be lost for a setting that has changed. @return 0 or -OHEM_INVALID */
int job_check_select(struct job *j, const struct message_select *select, struct reason *why);

/** Choose what the report is answered; its losses are in j->losses.
 *  @param ids  the batch's, as many; NULL: they are not known, and nobody is a suspect */
void job_choose(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                struct selection *out);

/** Nothing is selected; the losses are described all the same. @return the flags that they have,
 *  those of suspects included, or NULL: none; lent until the next choice */
const uint8_t *job_choose_none(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                               struct selection *out);

/** What a selection would have kept. */
struct job_shadow job_shadow_of(const struct selection *s);

/** What the policy would have kept, if it only looks on; else zeros. */
struct job_shadow job_look_on(struct job *j, const struct message_loss *loss, const uint32_t *ids,
                              struct selection *scratch);

/** Count the classes of a report that counts, and of what the policy selects of it. */
void job_note_classes(struct job *j, const uint32_t *ids, const float *losses, uint32_t count,
                      const uint32_t *selected, uint32_t selected_count);

/** The report counts: so does what was seen of it in shadow, and what was selected. */
void job_note_shadow(struct job *j, const struct job_shadow *seen);
void job_note_selected(struct job *j, const struct selection *s);

/* ---- job_round.c ---- */

/* A report on its way into its round. */
struct job_entry {
    bool waits; /* the round answers it; else it came too late */
    const uint8_t *flags;
};

/** Room in its round for a report whose losses are in j->losses, or it came too late: the lease's
 *  answer is that of one that did. @return 0 or -OHEM_NOMEM: it must not be applied */
int job_begin_round(struct job *j, struct session *s, struct lease *l,
                    const struct message_loss *loss, struct job_entry *out);

/** It is applied: into the round, or it is late. */
void job_end_round(struct job *j, struct session *s, struct lease *l,
                   const struct message_loss *loss, const struct job_entry *entry);

/* ---- job_order.c: strict order ---- */

/** Draw what may be drawn. */
void job_draw_ahead(struct job *j);

/** Apply what is its turn, and draw on. */
void job_apply_ready(struct job *j);

/** What was captured is on disk: what waited for that goes on. */
void job_order_committed(struct job *j);

/** The batch of a step is reported, or (losses NULL) released. */
void job_finish_batch(struct job *j, struct strict_batch *b, struct session *s, uint64_t seq,
                      uint64_t digest, const float *losses, const struct selection *selected);

/** The next batch for this session, into its free slot; all but the token's tag.
 *  @return the share of hard slots that was planned for */
double job_take_ready(struct job *j, struct session *s, struct lease *l);

#endif
