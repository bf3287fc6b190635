/* SPDX-License-Identifier: Apache-2.0 */
/* Current and root directory, umask: shared by all threads of a process (one that has its own is refused). */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/remote.h"
#include "state/kinds.h"

#define NAME_MAX_LEN 4095

static int read_link(const struct state_source *s, const char *which, char name[static NAME_MAX_LEN + 1],
		     struct err *e)
{
	ssize_t n = readlinkat(s->proc, which, name, NAME_MAX_LEN);

	if (n < 0)
		return err_errno(e, "pid %d: %s", s->vpid, which);
	name[n] = '\0';
	return 0;
}

static bool is_gone(const struct state_source *s, const char *which)
{
	struct stat st;

	return fstatat(s->proc, which, &st, 0) < 0 || st.st_nlink == 0;
}

#define PF_EXITING 4 /* in the flags of /proc/PID/stat */

/* A thread that is about to end has given back already what it shared with the others. */
static bool is_ending(const struct state_source *s, pid_t tid)
{
	_cleanup_free_ char *stat = NULL;
	const char *rest;
	char path[48];
	unsigned flags;

	(void)snprintf(path, sizeof path, "task/%d/stat", tid);
	if (fd_slurp(s->proc, path, 4096, &stat) <= 0 || !(rest = strrchr(stat, ')')))
		return true;
	return sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1 || flags & PF_EXITING;
}

static bool has_own(const struct state_source *s, pid_t tid, int what)
{
	return syscall(SYS_kcmp, s->pid, tid, what, 0, 0) > 0 && !is_ending(s, tid);
}

static void check_shared(struct state_source *s, pid_t tid)
{
	if (has_own(s, tid, KCMP_FS))
		problem_add(s->problems, s->vpid, -1, "thread", "do not unshare(CLONE_FS) in a thread",
			    "thread %d has a current directory of its own, which cannot move yet", tid);
	if (has_own(s, tid, KCMP_FILES))
		problem_add(s->problems, s->vpid, -1, "thread", "do not unshare(CLONE_FILES) in a thread",
			    "thread %d has descriptors of its own, which cannot move yet", tid);
}

static int fs_check(struct state_source *s, struct err *e)
{
	char name[NAME_MAX_LEN + 1];
	struct remote r;
	int err = remote_open(&r, s->pid, NULL);

	if (err == 0) {
		for (size_t i = 1; i < r.n_threads; i++)
			check_shared(s, r.threads[i].tid);
		remote_done(&r);
	}
	err = read_link(s, "cwd", name, e);
	if (err < 0)
		return err;
	if (is_gone(s, "cwd"))
		problem_add(s->problems, s->vpid, -1, "current directory",
			    "let the program change to one that exists", "its current directory was removed (%s)",
			    name);
	else if (s->requirements)
		s->requirements->cwd = xstrdup(name);
	err = read_link(s, "root", name, e);
	if (err == 0 && s->requirements && strcmp(name, "/") != 0)
		s->requirements->root = xstrdup(name);
	return err;
}

static int fill(struct state_source *s, struct err *e)
{
	Godwit__Ckpt__FsContext *m = xmalloc(sizeof *m);
	_cleanup_free_ char *status = NULL;
	char name[NAME_MAX_LEN + 1];
	const char *line;
	ssize_t n = fd_slurp(s->proc, "status", 65536, &status);
	int err;

	godwit__ckpt__fs_context__init(m);
	if (s->process->fs)
		godwit__ckpt__fs_context__free_unpacked(s->process->fs, NULL);
	s->process->fs = m;
	if (n < 0)
		return err_code(e, (int)n, "pid %d: status", s->vpid);
	err = read_link(s, "cwd", name, e);
	if (err < 0)
		return err;
	m->cwd = xstrdup(name);
	err = read_link(s, "root", name, e);
	if (err < 0)
		return err;
	m->root = xstrdup(name);
	line = strstr(status, "\nUmask:");
	m->umask = line ? (uint32_t)strtoul(line + 7, NULL, 8) & 0777 : 022;
	return 0;
}

static int fs_describe(struct state_source *s, struct err *e)
{
	return fill(s, e);
}

static int fs_take(struct state_source *s, struct batch *b, struct err *e)
{
	(void)b;
	if (is_gone(s, "cwd"))
		return err_set(e, -ENOENT, "pid %d: its current directory was removed", s->vpid);
	return fill(s, e);
}

/* Names are those of the mount namespace's root, where the blank still is. */
static int fs_restore(struct state_target *d, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__FsContext *m = d->process->fs;
	int err;

	if (!m)
		return err_set(e, -EBADMSG, "the message does not name a current directory");
	if (m->cwd[0] != '/' || strlen(m->cwd) > NAME_MAX_LEN || strlen(m->root) > NAME_MAX_LEN)
		return err_set(e, -EBADMSG, "an impossible current directory");
	/* A set-user-ID program of ours trusts what it finds under /. */
	if (d->confined.on && m->root[0] && strcmp(m->root, "/") != 0)
		return err_set(
			e, -EPERM,
			"it has a root directory of its own, and its source may not send privileged jobs here");
	err = state_room(d, NULL, b, 3, strlen(m->cwd) + strlen(m->root) + 32, e);
	if (err < 0)
		return err;
	(void)batch_call(b, "cannot enter the job's current directory", SYS_chdir,
			 bdata(batch_put(b, m->cwd, strlen(m->cwd) + 1)));
	if (m->root[0] && strcmp(m->root, "/") != 0)
		(void)batch_call(b, "cannot enter the job's root directory", SYS_chroot,
				 bdata(batch_put(b, m->root, strlen(m->root) + 1)));
	(void)batch_call(b, "umask", SYS_umask, bval(m->umask & 0777));
	return b->error;
}

const struct state_module state_fs = {
	.name = "fs",
	.phase = STATE_PROCESS,
	.check = fs_check,
	.describe = fs_describe,
	.take = fs_take,
	.restore = fs_restore,
};
