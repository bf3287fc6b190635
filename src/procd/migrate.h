/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_MIGRATE_H
#define GW_PROCD_MIGRATE_H

#include "procd/procd.h"

/*
 * Theory of operation
 *
 * A migration is a table of stages (migrate_stages.c), each with what the source does, what the destination does,
 * how it is undone, how long it may take and what a crash in it leaves. Two-phase commit, presumed abort:
 *
 *   The source's journal record COMMITTED decides. Before it, whatever goes wrong (a mover, procd, the link) is
 * undone and the job goes on at the source; nothing on disk is needed for that. After it the destination's copy is
 * the job: the source's stays frozen and repeats COMMIT until it is acknowledged. The destination never decides
 * alone. Complete and frozen (READY), it asks the source when it hears nothing. The source may take a record back
 * only when the destination says NEVER_RAN, which it says only in the boot it had when the migration began and
 * without a THAWED record. Everything else is in doubt: both keep asking.
 *
 * migrate_out.c        drives the stages at the source, and undoes them
 * migrate_out_*.c      what the source does in them

 * migrate_image.c      a checkpoint: prepare to move with an image for a destination, and undone in any case
 * restart.c            the source that an image has
 * migrate_in.c         the destination, driven by RPC
 * migrate_recover.c    after procd's restart
 */

/* Requests to a job. */
void migrate_check(struct job *j, struct call *c);
void migrate_start(struct job *j, struct call *c);
void migrate_checkpoint(struct job *j, struct call *c);
void migrate_stun(struct job *j, struct call *c);
void migrate_progress(struct job *j, struct call *c);
void migrate_cancel(struct job *j, struct call *c);
/* Requests to a host. */
void migrate_outcome(struct procd *p, struct call *c);
void migrate_hello(struct procd *p, struct call *c);
void migrate_in_begin(struct procd *p, struct call *c);
void migrate_in_spool(struct procd *p, struct call *c);
void migrate_in_commit(struct procd *p, struct call *c);
void migrate_in_abort(struct procd *p, struct call *c);
void migrate_in_forget(struct procd *p, struct call *c);
void migrate_query(struct procd *p, struct call *c);

/* The job has ended, whatever it was in the middle of; `gone`: its shepherd too, and `j` is about to be freed. */
void migrate_job_lost(struct job *j, bool gone);
/* Its memory goes. */
void migrate_job_freed(struct job *j);
/* It stands still, or is another host's already: requests wait. */
bool migrate_is_moving(const struct job *j);
/* It is being moved, or written into an image. */
bool migrate_is_going_on(const struct job *j);
bool migrate_is_in_doubt(const struct job *j);
void migrate_describe(const struct job *j, Godwit__Procd__Job *ret);
/* Fills what JobFile holds about an arriving job; the strings are the job's. */
void migrate_describe_arrival(const struct job *j, Godwit__Journal__JobFile *f);

/* Recovery: a job file says that the job was arriving; a job's shepherd has told its state; flipd is back. */
void migrate_recover_arrival(struct job *j, const Godwit__Journal__JobFile *f);
void migrate_recover_job(struct job *j, const Godwit__Shepherd__State *s);
/* A job that is about to be freed may be one that a record has given away. */
void migrate_recover_freed(struct job *j);
void migrate_busy_again(struct job *j);
/* Records of jobs that are no longer there. Call once, after jobs_load. */
void migrate_recover_rest(struct procd *p);

#endif
