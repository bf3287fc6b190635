/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_JOBS_H
#define GW_PROCD_JOBS_H

#include "procd/procd.h"

struct job *jobs_by_name(struct procd *p, const char *name);
struct job *jobs_by_endpoint(struct procd *p, uint32_t endpoint);

/* Makes a job in its container, its shepherd running, nothing in it yet. Takes `spec` over, also on failure. */
int jobs_new(struct procd *p, Godwit__Procd__JobSpec *spec, enum job_state state, struct job **ret,
	     struct err *e) must_check;
/* Takes the leader's pidfd over. -errno: its pid is not known. */
int jobs_set_leader(struct job *j, int pidfd);
/* It runs, or stands still if it is stunned; if that fails, then a little later. */
int jobs_settle(struct job *j);
/* Writes what a later procd has to know. */
int jobs_save(struct job *j, struct err *e);
/* The job is over; its status and streams stay for a while. */
void jobs_exited(struct job *j, const Godwit__Procd__Exited *x);
/* lost.c: the shepherd of a job that was nowhere else has been killed. What was the job's is gone; keeps its name,
 * and answers (takes the call over) in its shepherd's place. */
void lost_keep(struct job *j);
void lost_answer(struct job *j, struct call *c);
/* Takes everything away; `fn` (may be NULL) is called when nothing is left. The job cannot be found any more from
 * now on. */
void jobs_end(struct job *j, void (*fn)(void *arg), void *arg);
/* A request that cannot be answered while the job moves: answered here after all, or by its new host. */
void jobs_hold(struct job *j, struct call *c);
void jobs_release(struct job *j);
/* Another host serves the job with a higher incarnation. */
void jobs_superseded(struct job *j, uint32_t incarnation);
/* After a reconnection to flipd. */
void jobs_serve_again(struct job *j);

/* Fills a message with what can be told about the job. Its strings are the job's, or in `scratch`. */
struct job_scratch {
	Godwit__Procd__Exited exited;
	char stage[32];
};
void jobs_describe(struct job *j, Godwit__Procd__Job *ret, struct job_scratch *scratch);
/* Whether the caller may see all of it: not if its program has gained privileges. */
bool jobs_may_look(const struct job *j, const struct call *c);
bool jobs_is_allowed(const struct job *j, const struct call *c);

/* At the start: finds the jobs of an earlier procd. */
int jobs_load(struct procd *p, struct err *e) must_check;

/* A deep copy of a spec, NULL for NULL. */
Godwit__Procd__JobSpec *jobs_copy_spec(const Godwit__Procd__JobSpec *s);

#endif
