/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's side: judges, listens, and lets the job grow in the blank process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "image/decode.h"
#include "mover/arrival.h"
#include "mover/image.h"
#include "mover/mover.h"
#include "state/clock.h"
#include "state/confine.h"
#include "state/file.h"

#define TELL_WITHIN_US 2000000u

/* --- check --- */

static int run_admits(struct mover *m, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	int err = 0;

	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->admit)
			err = state_modules[i]->admit(&m->to.d, q, e);
	return err ?: problems_judge(&m->problems, e);
}

int destination_check(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		      struct err *e)
{
	const Godwit__Mover__CheckDestination *ask = in->check_destination;
	ProtobufCMessage *msg = NULL;
	Godwit__Ckpt__Requirements *q;
	int err;

	if (m->to.decoder)
		return err_set(e, -EALREADY, "this mover has a job already");
	err = decoder_start(&m->to.decoder, e);
	if (!err)
		err = decoder_take(m->to.decoder, DECODE_REQUIREMENTS, ask->requirements.data,
				   ask->requirements.len, &msg, e);
	if (err < 0)
		return err;
	q = (Godwit__Ckpt__Requirements *)msg;
	m->to.scratch = xstrdup(ask->scratch);
	m->to.d = (struct state_target) { .proc = -EBADF,
					  .pidfd = -EBADF,
					  .agent_sock = -EBADF,
					  .carry = ask->carry,
					  .scratch = m->to.scratch,
					  .problems = &m->problems };
	confine_set(&m->to.d.confined, ask->confined);
	err = run_admits(m, q, e);
	godwit__ckpt__requirements__free_unpacked(q, NULL);
	if (err < 0)
		return err;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_CHECKED;
	out->checked = xmalloc(sizeof *out->checked);
	godwit__mover__checked__init(out->checked);
	out->checked->problems = m->problems.list;
	out->checked->n_problems = m->problems.n;
	m->problems = (struct problems) { 0 };
	return 0;
}

/* --- listen --- */

int destination_listen(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		       struct err *e)
{
	const Godwit__Mover__Listen *ask = in->listen;
	uint16_t port = 0;

	if (m->to.listener >= 0)
		return err_set(e, -EALREADY, "already listening");
	if (ask->key.len != STREAM_KEY_LEN)
		return err_set(e, -EPROTO, "the key has %zu bytes", ask->key.len);
	memcpy(m->to.key, ask->key.data, STREAM_KEY_LEN);
	m->to.sealed = ask->sealed;
	m->to.listener = stream_listen(ask->address, &port, e);
	if (m->to.listener < 0)
		return m->to.listener;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_LISTENING;
	out->listening = xmalloc(sizeof *out->listening);
	godwit__mover__listening__init(out->listening);
	out->listening->port = port;
	return 0;
}

/* --- prepare, and move when the checkpoint comes --- */

static int open_flip(void *ctx, const Godwit__Ckpt__FlipSocket *f, struct err *e)
{
	const struct mover *m = ctx;

	return arrival_open(m->to.restore->restore->flip_socket, f, e);
}

static int open_blank(struct mover *m, const Godwit__Mover__Restore *ask, struct err *e)
{
	struct state_target *d = &m->to.d;
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/%d", ask->blank);
	d->pid = ask->blank;
	d->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	d->pidfd = (int)syscall(SYS_pidfd_open, ask->blank, 0);
	if (d->proc < 0 || d->pidfd < 0)
		return err_errno(e, "there is no process %d", ask->blank);
	m->to.n_fds = m->n_came;
	memcpy(m->to.fds, m->came, sizeof m->to.fds);
	m->n_came = 0;
	if (m->to.n_fds != 1 + ask->n_streams)
		return err_set(e, -EPROTO, "%zu descriptors came for %zu streams", m->to.n_fds, ask->n_streams);
	d->streams = (const Godwit__Mover__Stream *const *)ask->streams;
	d->n_streams = ask->n_streams;
	d->stream_fds = m->to.fds + 1;
	d->agent_sock = m->to.fds[0];
	d->agent_sock_there = (int)ask->agent_socket;
	d->open_flip = open_flip;
	d->open_flip_ctx = m;
	m->to.cgroup = xstrdup(ask->cgroup);
	return clock_offsets(d->proc, &d->monotonic_offset_ns, &d->boottime_offset_ns, e);
}

static int receive_job(struct mover *m, enum frame frame, Godwit__Ckpt__Job **ret, struct err *e)
{
	Godwit__Ckpt__Job *job;
	int err = frame_expect_job(m, frame, &job, e);

	if (err < 0)
		return err;
	*ret = job;
	m->to.d.job = job;
	m->to.d.process = job->processes[0];
	m->to.d.vpid = job->processes[0]->pid;
	return 0;
}

static int prepare(struct mover *m, struct err *e)
{
	struct file_io io = frame_file_io(m);
	int err = stream_accept(m->to.listener, m->to.key, m->to.sealed, STREAM_NEVER, m->control, &m->stream, e);

	fd_close(&m->to.listener);
	if (!err)
		err = receive_job(m, FRAME_DESCRIPTION, &m->to.early, e);
	if (!err)
		err = file_carry_fetch(&m->to.d, &io, e);
	if (!err)
		err = destination_prepare(m, e);
	if (!err && m->strategy->receive_before)
		err = m->strategy->receive_before(m->to.d.mm, m->stream, &m->stats, e);
	if (!err) {
		stage_boundary(m, "prepare");
		err = stream_send_msg(m->stream, FRAME_PREPARED, NULL, e);
	}
	return err;
}

static int move(struct mover *m, struct err *e)
{
	struct file_io io = frame_file_io(m);
	int err = receive_job(m, FRAME_CHECKPOINT, &m->to.final, e);

	timing_add(&m->timings, "decode");
	if (err < 0)
		return err;
	m->to.d.early = m->to.early;
	err = file_carry_pull(&m->to.d, &io, e);
	if (!err)
		err = destination_apply(m, e);
	if (!err)
		stage_boundary(m, "move");
	return err;
}

static int say_ready(struct mover *m, Godwit__Mover__MoverMessage *out, struct err *e)
{
	Godwit__Mover__Ready *ready = xmalloc(sizeof *ready);

	godwit__mover__ready__init(ready);
	ready->pages = m->stats.pages;
	ready->bytes = m->stats.bytes;
	ready->timings = m->timings.list;
	ready->n_timings = m->timings.n;
	m->timings = (struct timings) { 0 };
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	out->ready = ready;
	return stream_send_msg(m->stream, FRAME_READY, &ready->base, e);
}

int destination_restore(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
			struct err *e)
{
	struct err ignored = { 0 };
	int err;

	if (m->to.listener < 0 || m->to.restore)
		return err_set(e, -EPROTO, "not the time to restore");
	m->to.restore = (Godwit__Mover__MoverMessage *)(uintptr_t)in;
	m->strategy = memory_strategy_find(NULL);
	err = open_blank(m, in->restore, e);
	if (!err)
		err = prepare(m, e);
	if (!err)
		err = move(m, e);
	if (!err)
		err = say_ready(m, out, e);
	if (err < 0 && m->to.listener >= 0 && !m->stream) /* the source is on its way: it is to hear why */
		(void)!stream_accept(m->to.listener, m->to.key, m->to.sealed, now_us() + TELL_WITHIN_US,
				     m->control, &m->stream, &ignored);
	fd_close(&m->to.listener);
	m->to.standing = !err;
	if (err < 0 && err != -ECANCELED)
		frame_fail(m, e);
	return err;
}

/* --- ends --- */

static void kill_blank(struct mover *m)
{
	if (!m->to.standing && m->to.restore && m->to.d.pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, m->to.d.pidfd, SIGKILL, NULL, 0);
}

int destination_rollback(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
			 struct err *e)
{
	(void)in;
	(void)e;
	m->to.standing = false;
	kill_blank(m);
	file_target_undo(&m->to.d);
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_UNDONE;
	out->undone = xmalloc(sizeof *out->undone);
	godwit__mover__undone__init(out->undone);
	m->done = true;
	return 0;
}

int destination_finish(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		       struct err *e)
{
	(void)in;
	(void)out;
	(void)e;
	m->done = true;
	return 0;
}

void destination_done(struct mover *m)
{
	if (m->source)
		return;
	kill_blank(m); /* what is half built must not run when it is let go */
	image_save_done(m);
	decoder_free(m->to.decoder);
	remote_done(&m->remote);
	file_target_done(&m->to.d);
	memory_target_free(m->to.d.mm);
	stream_free(m->stream);
	if (m->to.early)
		godwit__ckpt__job__free_unpacked(m->to.early, NULL);
	if (m->to.final)
		godwit__ckpt__job__free_unpacked(m->to.final, NULL);
	if (m->to.restore) {
		for (size_t i = 0; i < m->to.n_fds; i++)
			fd_close(&m->to.fds[i]);
		godwit__mover__mover_message__free_unpacked(m->to.restore, NULL);
	}
	fd_close(&m->to.listener);
	fd_close(&m->to.d.proc);
	fd_close(&m->to.d.pidfd);
	problems_done(&m->problems);
	timings_done(&m->timings);
	free(m->to.cgroup);
	free(m->to.scratch);
}
