/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/kinds.h"
#include "state/mm.h"
#include "state/state.h"
#include "state/thread.h"

/* Every kind of kernel state that moves. The order is that in which they act, at the source and at the
 * destination. */
const struct state_module *const state_modules[] = {
	/* STATE_MEMORY */
	&state_mm,
	/* STATE_FILES */
	&state_file,
	/* STATE_PROCESS */
	&state_refuse,
	&state_cpu,
	&state_signal,
	&state_fs,
	&state_misc,
	/* STATE_THREADS */
	&state_thread,
	&state_call,
	&state_sched,
	&state_timer,
	&state_file_owner,
	/* STATE_LAST: each takes something away that others need */
	&state_pending,
	&state_limit,
	&state_seccomp,
	&state_creds,
	&state_policy,
	&state_dumpable,
	NULL,
};

void problem_add(struct problems *p, int pid, int fd, const char *object, const char *help, const char *reason_fmt,
		 ...)
{
	Godwit__Mover__Problem *m = xmalloc(sizeof *m);
	va_list ap;

	godwit__mover__problem__init(m);
	m->pid = pid;
	m->fd = fd;
	m->object = xstrdup(object ? object : "");
	m->help = xstrdup(help ? help : "");
	va_start(ap, reason_fmt);
	if (vasprintf(&m->reason, reason_fmt, ap) < 0)
		m->reason = xstrdup(reason_fmt);
	va_end(ap);
	p->list = xrealloc(p->list, (p->n + 1) * sizeof(*p->list));
	p->list[p->n++] = m;
}

bool problem_scarce(struct problems *p, int code, const char *fmt, ...)
{
	static const int codes[] = { ENOMEM, EMFILE, ENFILE, EIO, ENOSPC, ENOBUFS };
	char text[200];
	bool scarce = false;
	va_list ap;

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		scarce |= code == -codes[i];
	if (!scarce || !p || p->scarce.code)
		return scarce;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)err_code(&p->scarce, code, "%s", text);
	return true;
}

ssize_t state_slurp(struct problems *p, int dir, const char *path, size_t max, char **ret_text)
{
	ssize_t n = fd_slurp(dir, path, max, ret_text);

	if (n < 0)
		(void)problem_scarce(p, (int)n, "cannot read %s", path);
	return n;
}

int problems_judge(struct problems *p, struct err *e)
{
	struct err scarce = p->scarce;

	if (!scarce.code)
		return 0;
	problems_done(p);
	return err_set(e, scarce.code, "%s", scarce.text);
}

void problems_done(struct problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		godwit__mover__problem__free_unpacked(p->list[i], NULL);
	free(p->list);
	*p = (struct problems) { 0 };
}

int state_flush(struct state_target *d, struct remote_thread *t, struct batch *b, struct err *e)
{
	return batch_run(d->remote, t ? t : &d->remote->threads[0], b, e);
}

int state_room(struct state_target *d, struct remote_thread *t, struct batch *b, unsigned calls, size_t bytes,
	       struct err *e)
{
	int err;

	if (batch_fits(b, calls, bytes))
		return 0;
	err = state_flush(d, t, b, e);
	batch_init(b);
	return err;
}
