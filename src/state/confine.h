/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_CONFINE_H
#define GW_STATE_CONFINE_H

#include <sys/stat.h>

#include "state/state.h"

/*
 * A job that comes from a host which is not root here. Its checkpoint may say anything: names of files that its
 * user may not read, user 0, a set-user-ID copy. What it gets is what its user has at this host: names    are
 * looked up and opened with his rights: between confine_enter and confine_leave this thread's file system ids are
 * his. setfsuid(2) takes the file capabilities away with root's id, and nothing else, so that /proc and ptrace go
 * on working. copies   that come along are his, and never set-user-ID creds    must be his ids, his groups as
 * procd found them, and no capability None of these does anything for a job that is not confined.
 */
void confine_set(struct state_confined *c, const Godwit__Mover__Confined *from);
void confine_enter(const struct state_target *d);
void confine_leave(const struct state_target *d);
/* The mode that a copy may have. */
mode_t confine_mode(const struct state_target *d, mode_t mode);
/* Gives a file that was made for him to him. 0 or -errno. */
int confine_own(const struct state_target *d, int fd, uid_t uid, gid_t gid);
/* Priority over others is root's to give. */
int confine_judge_sched(const struct state_target *d, const Godwit__Ckpt__Sched *m, struct err *e) must_check;
int confine_judge(const struct state_target *d, const Godwit__Ckpt__Creds *c, struct err *e) must_check;

#endif
