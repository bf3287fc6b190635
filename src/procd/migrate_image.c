/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint. It is a migration up to READY whose destination is a mover of this host, with the rights of
 * whoever asked, that writes an image instead of building a process. There is no commit: all is undone at the end,
 * as it is when the migration failed, and the job goes on; or it is killed before that.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/migration.h"

#define LOOPBACK "127.0.0.1"

struct image_out {
	char *path;
	bool kill, replace, compress;
	uid_t uid;
	gid_t gid;
	struct mover *saver;
};

struct image_out *image_out_new(struct migration_out *m, struct call *c)
{
	const Godwit__Procd__Checkpoint *q = c->request->checkpoint;
	struct image_out *i = xcalloc(1, sizeof *i);

	(void)m;
	i->path = xstrdup(q->path);
	i->kill = q->kill;
	i->replace = q->replace;
	i->compress = q->compress;
	i->uid = c->uid;
	i->gid = c->gid;
	return i;
}

void image_out_free(struct image_out *i)
{
	if (!i)
		return;
	mover_end(i->saver);
	free(i->path);
	free(i);
}

/* The order to save goes with what a restart needs: see restart.c. */
static void say_save(struct migration_out *m)
{
	Godwit__Mover__Save q = GODWIT__MOVER__SAVE__INIT;
	Godwit__Procd__Begin b = GODWIT__PROCD__BEGIN__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	Godwit__Procd__JobSpec spec;
	size_t len;

	out_fill_begin(m, &b, &spec);
	spec.moves = 0;
	len = godwit__procd__begin__get_packed_size(&b);
	bytes = xmalloc(len);
	(void)godwit__procd__begin__pack(&b, bytes);
	q.path = m->image->path;
	q.replace = m->image->replace;
	q.compress = m->image->compress;
	q.name = m->name;
	q.host = m->p->settings.name;
	q.begin.data = bytes;
	q.begin.len = len;
	if (mover_say(m->image->saver, MOVER_KIND(SAVE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover that writes the image");
}

static void on_message(void *arg, const mover_message *msg)
{
	struct migration_out *m = arg;

	if (m->over || m->failing)
		return;
	if (msg->kind_case == MOVER_KIND(LISTENING) && m->stage == STAGE_PREPARE) {
		say_save(m);
		if (!m->failing)
			out_connect(m, LOOPBACK, msg->listening->port, false);
	} else if (msg->kind_case == MOVER_KIND(FAILED)) {
		out_fail(m, msg->failed->code ? msg->failed->code : -EIO, "%s", msg->failed->text);
	}
}

static void on_gone(void *arg)
{
	struct migration_out *m = arg;

	mover_end(m->image->saver);
	m->image->saver = NULL;
	if (!m->over && !m->failing && !m->ready)
		out_fail(m, -EIO, "the mover that writes the image died");
}

static const struct mover_ops ops = { .message = on_message, .gone = on_gone };

void image_out_prepare(struct migration_out *m)
{
	Godwit__Mover__Listen listen = GODWIT__MOVER__LISTEN__INIT;
	struct image_out *i = m->image;
	struct err e = { 0 };

	if (mover_start_as(m->p, "destination", i->uid, i->gid, &ops, m, &i->saver, &e) < 0) {
		out_fail(m, e.code, "%s", err_text(&e));
		return;
	}
	listen.address = (char *)(uintptr_t)LOOPBACK;
	listen.key.data = m->key;
	listen.key.len = sizeof m->key;
	if (mover_say(i->saver, MOVER_KIND(LISTEN), &listen, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover that writes the image");
}

void image_out_ready(struct migration_out *m)
{
	log_info("job %s: checkpoint in %s", m->name, m->image->path);
	/* A stopped thread dies of it as well as any. */
	if (m->image->kill && m->job->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, m->job->pidfd, SIGKILL, NULL, 0);
	m->failing = true; /* without an error: see out_finish */
	out_arm(m, 3000);
	out_undo_next(m);
}
