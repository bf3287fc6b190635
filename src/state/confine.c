/* SPDX-License-Identifier: Apache-2.0 */
#include "state/confine.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include "base/util.h"

void confine_set(struct state_confined *c, const Godwit__Mover__Confined *from)
{
	*c = (struct state_confined) { 0 };
	if (!from)
		return;
	c->on = true;
	c->uid = from->uid;
	c->gid = from->gid;
	c->n_groups = MIN(from->n_groups, (size_t)STATE_GROUPS_MAX);
	for (size_t i = 0; i < c->n_groups; i++)
		c->groups[i] = from->groups[i];
	/* For good: this process is root by its id, and groups decide only when it is not. */
	(void)setgroups(c->n_groups, c->groups);
}

void confine_enter(const struct state_target *d)
{
	if (!d->confined.on)
		return;
	(void)setfsgid(d->confined.gid);
	(void)setfsuid(d->confined.uid);
}

void confine_leave(const struct state_target *d)
{
	int saved = errno;

	if (!d->confined.on)
		return;
	(void)setfsuid(geteuid());
	(void)setfsgid(getegid());
	errno = saved;
}

mode_t confine_mode(const struct state_target *d, mode_t mode)
{
	return mode & (d->confined.on ? 0777 : 07777);
}

int confine_own(const struct state_target *d, int fd, uid_t uid, gid_t gid)
{
	struct stat st;

	if (!d->confined.on)
		return fchown(fd, uid, gid) < 0 ? -errno : 0;
	/* Only what nobody can name is made by root for him; a named one is his, or stays whose it is. */
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_nlink == 0 && fchown(fd, d->confined.uid, d->confined.gid) < 0 ? -errno : 0;
}

static bool has_group(const struct state_confined *c, gid_t gid)
{
	for (size_t i = 0; i < c->n_groups; i++)
		if (c->groups[i] == gid)
			return true;
	return gid == c->gid;
}

int confine_judge(const struct state_target *d, const Godwit__Ckpt__Creds *m, struct err *e)
{
	const struct state_confined *c = &d->confined;
	const uint32_t uids[] = { m->uid, m->euid, m->suid, m->fsuid };
	const uint32_t gids[] = { m->gid, m->egid, m->sgid, m->fsgid };

	if (!c->on)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(uids); i++) {
		if (uids[i] != c->uid)
			return err_set(e, -EPERM, "it claims to be user %u, and comes as a job of user %u",
				       uids[i], c->uid);
		if (!has_group(c, gids[i]))
			return err_set(e, -EPERM, "it claims group %u, which its user is not known to be in here",
				       gids[i]);
	}
	for (size_t i = 0; i < m->n_groups; i++)
		if (!has_group(c, m->groups[i]))
			return err_set(e, -EPERM, "it claims group %u, which its user is not known to be in here",
				       m->groups[i]);
	if (m->cap_permitted || m->cap_effective || m->cap_inheritable || m->cap_ambient || m->securebits)
		return err_set(e, -EPERM,
			       "it claims capabilities, and its source may not send privileged jobs here");
	return 0;
}

#define IOPRIO_CLASS(x) ((x) >> 13)
#define IOPRIO_CLASS_RT 1

int confine_judge_sched(const struct state_target *d, const Godwit__Ckpt__Sched *m, struct err *e)
{
	if (!d->confined.on)
		return 0;
	if ((m->policy != SCHED_OTHER && m->policy != SCHED_BATCH && m->policy != SCHED_IDLE) || m->nice < 0 ||
	    IOPRIO_CLASS(m->ioprio) == IOPRIO_CLASS_RT)
		return err_set(e, -EPERM, "it claims a priority that only root can give");
	return 0;
}
