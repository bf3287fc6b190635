/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_OPS_H
#define GW_PROCD_OPS_H

#include "procd/procd.h"

/* A request to procd@HOST, or to job:NAME. Both take the call over. */
void ops_host(struct procd *p, struct call *c);
void ops_job(struct job *j, struct call *c);

/* Handlers that live in files of their own. */
void ops_list(struct procd *p, struct call *c);
void ops_load(struct procd *p, struct call *c);
void ops_info(struct job *j, struct call *c);
/* stun.c */
void stun_start(struct job *j, struct call *c);
void stun_resume(struct job *j, struct call *c);
/* Lets it go on. */
void stun_wake(struct job *j);
/* owner.c */
void owner_set(struct job *j, struct call *c);
/* Why that cannot be an owner's port; NULL: it can. */
const char *owner_why_not(const char *port);
/* Both save the job's file. */
void owner_stunned(struct job *j);
void owner_exited(struct job *j);
/* Does what it has said meanwhile, if that can be done now. */
void owner_decided(struct job *j);
/* Says again what it may not have heard. */
void owner_again(struct job *j);
/* Nothing that it may still say counts. */
void owner_forget(struct job *j);
void stun_memory(struct job *j, struct call *c);
void stun_segment(struct job *j, struct call *c);
/* Where its checkpoint message is kept; the caller's to free. */
char *stun_message_path(const struct job *j);
#define STUN_MESSAGE_MAX (15u << 20) /* GW_MSG_MAX, and room for a name */
/* look.c */
void look_segments(struct job *j, struct call *c);
/* The segment that begins at an address; its length, 0 if there is none. */
uint64_t look_segment(const struct job *j, uint64_t address);
void look_threads(struct job *j, struct call *c);
/* The job stands still and the caller may see into it; else it has been told that not. */
bool look_is_allowed(const struct job *j, struct call *c);
void exec_start(struct procd *p, struct call *c);
void restart_start(struct procd *p, struct call *c);
/* Whether a job out of an image is on its way under that id, undecided. */
bool restart_is_going_on(const struct procd *p, const char *id);
void adopt_start(struct procd *p, struct call *c);
/* After our restart: the leader of an adopted job that has not moved yet. */
void adopt_find_again(struct job *j);

#endif
