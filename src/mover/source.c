/* SPDX-License-Identifier: Apache-2.0 */
/* The source's side: looks, describes, stops, sends, and puts everything back if it comes to that. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "inject/linger.h"
#include "mover/image.h"
#include "mover/mover.h"
#include "state/clock.h"
#include "state/file.h"
#include "state/thread.h"

#define UNTRACED_US 500000u
#define TELL_US 100000u /* between two words about progress */

/* --- check --- */

/* What keeps us from even looking further. */
static bool refuse_at_once(struct state_source *s)
{
	_cleanup_free_ char *status = NULL;
	const char *line;

	if (state_slurp(s->problems, s->proc, "status", 65536, &status) < 0)
		return false;
	line = strstr(status, "\nNSpid:");
	line = line ? strrchr(strndupa(line + 1, strcspn(line + 1, "\n")), '\t') : NULL;
	if (line)
		s->vpid = atoi(line + 1);
	line = strstr(status, "\nState:\t");
	if (line && line[8] == 'Z')
		problem_add(s->problems, s->vpid, -1, "main thread", "wait until its other threads have ended",
			    "its main thread has ended");
	line = strstr(status, "\nTracerPid:\t");
	if (line && atoi(line + 12))
		problem_add(s->problems, s->vpid, -1, "tracer", "detach the debugger or strace",
			    "it is being traced by process %d", atoi(line + 12));
	return s->problems->n != 0;
}

static int open_process(struct state_source *s, pid_t pid, struct err *e)
{
	char path[32];
	struct remote r;
	int err;

	(void)snprintf(path, sizeof path, "/proc/%d", pid);
	s->pid = pid;
	s->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (s->proc < 0 || s->pidfd < 0)
		return err_errno(e, "there is no process %d", pid);
	if (refuse_at_once(s))
		return 0;
	err = remote_open(&r, pid, e);
	if (err < 0)
		return err;
	s->vpid = r.vpid;
	remote_done(&r);
	return clock_offsets(s->proc, &s->monotonic_offset_ns, &s->boottime_offset_ns, e);
}

static Godwit__Ckpt__Job *new_job(struct state_source *s)
{
	Godwit__Ckpt__Job *job = xmalloc(sizeof *job);
	Godwit__Ckpt__Process *p = xmalloc(sizeof *p);

	godwit__ckpt__job__init(job);
	godwit__ckpt__process__init(p);
	p->pid = s->vpid;
	job->processes = xcalloc(1, sizeof(*job->processes));
	job->processes[0] = p;
	job->n_processes = 1;
	s->job = job;
	s->process = p;
	return job;
}

static int run_checks(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	int err = 0;

	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->check)
			err = state_modules[i]->check(s, e);
	return err ?: problems_judge(&m->problems, e);
}

static void fill_checked(struct mover *m, Godwit__Mover__Checked *c)
{
	struct state_source *s = &m->from.s;

	godwit__mover__checked__init(c);
	c->problems = m->problems.list;
	c->n_problems = m->problems.n;
	m->problems = (struct problems) { 0 };
	c->requirements.len = godwit__ckpt__requirements__get_packed_size(s->requirements);
	c->requirements.data = xmalloc(c->requirements.len);
	(void)godwit__ckpt__requirements__pack(s->requirements, c->requirements.data);
	c->pids = xmalloc(sizeof(*c->pids));
	c->pids[0] = s->vpid;
	c->n_pids = 1;
	c->bytes = s->requirements->memory;
	c->monotonic_ns = now_us() * 1000 + (uint64_t)s->monotonic_offset_ns;
	c->boottime_ns = boottime_ns() + (uint64_t)s->boottime_offset_ns;
}

static void new_source(struct mover *m)
{
	struct state_source *s = &m->from.s;

	*s = (struct state_source) { .proc = -EBADF, .pidfd = -EBADF, .problems = &m->problems };
	s->requirements = xmalloc(sizeof *s->requirements);
	godwit__ckpt__requirements__init(s->requirements);
}

int source_check(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		 struct err *e)
{
	const Godwit__Mover__CheckSource *ask = in->check_source;
	struct state_source *s = &m->from.s;
	int err;

	if (m->from.check)
		return err_set(e, -EALREADY, "this mover has a job already");
	m->from.check = (Godwit__Mover__MoverMessage *)(uintptr_t)in;
	new_source(m);
	s->carry = ask->carry;
	s->adopted = ask->adopted;
	s->flip_socket = ask->flip_socket;
	s->streams = (const Godwit__Mover__Stream *const *)ask->streams;
	s->n_streams = ask->n_streams;
	err = open_process(s, ask->leader, e);
	if (!err)
		err = problems_judge(&m->problems, e);
	if (!err && !m->problems.n)
		err = run_checks(m, e);
	if (err < 0)
		return err;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_CHECKED;
	out->checked = xmalloc(sizeof *out->checked);
	fill_checked(m, out->checked);
	return 0;
}

/* --- prepare --- */

static int describe(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	int err = 0;

	m->from.early = new_job(s);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->describe)
			err = state_modules[i]->describe(s, e);
	return err ?: problems_judge(&m->problems, e);
}

static int introduce(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	struct file_io io = frame_file_io(m);
	int err = describe(m, e);

	if (!err)
		err = stream_send_msg(m->stream, FRAME_DESCRIPTION, &m->from.early->base, e);
	if (!err)
		err = file_carry_serve(s, &io, e);
	if (!err && m->strategy->send_before)
		err = m->strategy->send_before(s->mm, m->stream, &m->stats, e);
	if (!err)
		err = frame_expect(m, FRAME_PREPARED, NULL, NULL, e);
	return err;
}

int source_prepare(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		   struct err *e)
{
	const Godwit__Mover__Connect *ask = in->connect;
	int err;

	if (!m->from.check || m->stream)
		return err_set(e, -EPROTO, "not the time to connect");
	if (ask->key.len != STREAM_KEY_LEN)
		return err_set(e, -EPROTO, "the key has %zu bytes", ask->key.len);
	m->strategy = memory_strategy_find(ask->strategy);
	if (!m->strategy)
		return err_set(e, -EINVAL, "there is no strategy %s", ask->strategy);
	err = stream_connect(ask->address, (uint16_t)ask->port, ask->key.data, ask->sealed, STREAM_NEVER,
			     m->control, &m->stream, e);
	if (!err)
		err = m->from.image ? image_introduce(m, e) : introduce(m, e);
	if (err < 0)
		return err;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_PREPARED;
	out->prepared = xmalloc(sizeof *out->prepared);
	godwit__mover__prepared__init(out->prepared);
	return 0;
}

/* Nobody is to get it: only the message is wanted. */
int source_describe(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		    struct err *e)
{
	int err;

	(void)in;
	if (!m->from.check || m->from.image || m->from.early)
		return err_set(e, -EPROTO, "not the time to describe");
	err = describe(m, e);
	if (err < 0)
		return err;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_PREPARED;
	out->prepared = xmalloc(sizeof *out->prepared);
	godwit__mover__prepared__init(out->prepared);
	return 0;
}

/* --- stun --- */

/* The agent leaves, and each thread gets what it needs to go on in what it was doing. */
int source_put_back(struct mover *m, struct err *e)
{
	struct remote *r = &m->remote;
	int err = call_resume_source(&m->from.s, e);
	int unmapped = remote_agent_unmap(r, err ? NULL : e);

	return err ? err : unmapped;
}

void source_undo_stop(struct mover *m)
{
	struct err e = { 0 };

	if (!m->from.stopped)
		return;
	if (source_put_back(m, &e) < 0)
		log_error("%s", err_text(&e));
	if (m->from.thawed)
		source_freeze_again(m);
	remote_release(&m->remote);
	m->from.stopped = false;
	m->from.s.remote = NULL;
}

/* For procd: flipd is to keep still about them before we copy what is in them. */
static void fill_connections(struct mover *m, Godwit__Mover__Stunned *out)
{
	const Godwit__Ckpt__Job *job = m->from.final;

	if (!job || m->from.take_error.code || !file_flip_any(job))
		return;
	out->connections = xcalloc(job->n_files, sizeof(*out->connections));
	for (size_t i = 0; i < job->n_files; i++) {
		const Godwit__Ckpt__FlipSocket *f = job->files[i]->flip;
		Godwit__Mover__Connection *c;

		if (!f || !f->inode) /* flipd has gone: the program will see that there, too */
			continue;
		c = xmalloc(sizeof *c);
		godwit__mover__connection__init(c);
		c->token = f->token;
		c->inode = f->inode;
		out->connections[out->n_connections++] = c;
	}
}

static int say_stunned(struct mover *m, uint64_t started_us, struct err *e)
{
	Godwit__Mover__MoverMessage out = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Stunned stunned = GODWIT__MOVER__STUNNED__INIT;
	int err;

	stage_boundary(m, "stun");
	stunned.at_us = m->remote.stopped_at_us;
	stunned.us = now_us() - started_us;
	fill_connections(m, &stunned);
	out.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_STUNNED;
	out.stunned = &stunned;
	err = control_send(m, &out, e);
	for (size_t i = 0; i < stunned.n_connections; i++)
		free(stunned.connections[i]);
	free(stunned.connections);
	return err;
}

static void collect(struct mover *m)
{
	m->from.final = new_job(&m->from.s);
	m->from.take_error.code = source_take(m, &m->from.take_error);
	timing_add(&m->timings, "collect");
}

/* Says so as soon as the threads stand still, and collects while procd sees to the job's surroundings; but of a
 * job with connections to flipd it has to say which, and so must look first. */
int source_stun(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		struct err *e)
{
	uint64_t started_us = now_us();
	bool talks;
	int err;

	(void)out;
	if (!m->from.early || m->from.image || m->from.stopped)
		return err_set(e, -EPROTO, "not the time to stop");
	timing_start(&m->timings);
	err = source_stop(m, in->stun, e);
	timing_add(&m->timings, "stop");
	talks = file_flip_any(m->from.early);
	if (!err && talks)
		collect(m);
	if (!err)
		err = say_stunned(m, started_us, e);
	if (err < 0) {
		source_undo_stop(m);
		return err;
	}
	if (!talks)
		collect(m);
	if (!talks && file_flip_any(m->from.final) && !m->from.take_error.code)
		m->from.take_error.code =
			err_set(&m->from.take_error, -EAGAIN, "the job has just connected to flipd; try again");
	return 0;
}

/* --- move --- */

/* Somebody may be watching, and on a slow link it takes a while. */
static void tell_progress(void *arg, const struct memory_stats *stats)
{
	Godwit__Mover__MoverMessage out = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Progress progress = GODWIT__MOVER__PROGRESS__INIT;
	struct mover *m = arg;
	uint64_t now = now_us();

	if (now < m->from.tell_at_us)
		return;
	m->from.tell_at_us = now + TELL_US;
	progress.bytes = stats->bytes;
	out.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_PROGRESS;
	out.progress = &progress;
	(void)!control_send(m, &out, NULL); /* if procd is gone, the next thing that is read from it will say so */
}

static int send_all(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	struct file_io io = frame_file_io(m);
	int err = stream_send_msg(m->stream, FRAME_CHECKPOINT, &m->from.final->base, e);

	timing_add(&m->timings, "checkpoint");
	m->stats.tell = tell_progress;
	m->stats.tell_arg = m;
	m->from.tell_at_us = now_us() + TELL_US;
	if (!err)
		err = file_carry_push(s, &io, e);
	if (!err)
		err = memory_send(s->mm, m->strategy, m->stream, &m->stats, e);
	timing_add(&m->timings, "pages");
	if (!err)
		err = memory_source_verify(s->mm, e);
	return err;
}

static int receive_ready(struct mover *m, Godwit__Mover__MoverMessage *out, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	Godwit__Mover__Ready *ready;
	int err = frame_expect(m, FRAME_READY, &godwit__mover__ready__descriptor, &msg, e);

	timing_add(&m->timings, "wait");
	if (err < 0)
		return err;
	ready = (Godwit__Mover__Ready *)msg;
	ready->pages = m->stats.pages;
	ready->bytes = m->stats.bytes;
	ready->timings = xrealloc(ready->timings, (ready->n_timings + m->timings.n) * sizeof(*ready->timings));
	for (size_t i = 0; i < m->timings.n; i++)
		ready->timings[ready->n_timings++] = m->timings.list[i];
	m->timings.n = 0;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	out->ready = ready;
	return 0;
}

int source_move(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		struct err *e)
{
	int err;

	(void)in;
	if (!m->from.stopped && (!m->from.image || !m->stream))
		return err_set(e, -EPROTO, "not the time to move");
	timing_add(&m->timings, "told");
	err = m->from.take_error.code;
	if (err < 0)
		*e = m->from.take_error;
	if (!err && !m->from.image)
		err = file_flip_take_unread(&m->from.s, m->from.final, e);
	if (!err)
		err = m->from.image ? image_send(m, e) : send_all(m, e);
	if (!err)
		err = receive_ready(m, out, e);
	if (err < 0) {
		source_undo_stop(m);
		frame_fail(m, e);
	}
	return err;
}

static int write_message(const Godwit__Ckpt__Job *job, const char *path, struct err *e)
{
	size_t len = godwit__ckpt__job__get_packed_size(job);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return err_errno(e, "cannot make %s", path);
	(void)godwit__ckpt__job__pack(job, bytes);
	err = fd_write_full(fd, bytes, len);
	return err < 0 ? err_code(e, err, "cannot write %s", path) : 0;
}

int source_write(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		 struct err *e)
{
	int err;

	if (!m->from.stopped || m->stream)
		return err_set(e, -EPROTO, "not the time to take");
	err = m->from.take_error.code;
	if (err < 0)
		*e = m->from.take_error;
	else
		err = write_message(m->from.final, in->take->path, e);
	if (err < 0) {
		source_undo_stop(m);
		return err;
	}
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	out->ready = xmalloc(sizeof *out->ready);
	godwit__mover__ready__init(out->ready);
	return 0;
}

/* --- commit --- */

static void fill_frozen(Godwit__Mover__MoverMessage *out, Godwit__Mover__LateSignal **late, size_t n)
{
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_FROZEN;
	out->frozen = xmalloc(sizeof *out->frozen);
	godwit__mover__frozen__init(out->frozen);
	out->frozen->signals = late;
	out->frozen->n_signals = n;
}

/* A stopped thread counts as frozen, so the cgroup is frozen before any of them is let go; they go from our hands
 * into the freezer's without a step in between. */
int source_freeze(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		  struct err *e)
{
	_cleanup_free_ char *path = NULL;
	Godwit__Mover__LateSignal **late = NULL;
	size_t n = 0;
	int err;

	if (!m->from.stopped)
		return err_set(e, -EPROTO, "not the time to freeze");
	path = xasprintf("%s/cgroup.freeze", in->freeze->cgroup);
	err = source_put_back(m, e); /* in the frozen cgroup nobody could work for us any more */
	if (!err) {
		err = fd_write_file(AT_FDCWD, path, "1");
		if (err < 0)
			err_code(e, err, "cannot freeze %s", in->freeze->cgroup);
	}
	if (!err)
		err = signals_late(&m->from.s, m->from.final->processes[0], &late, &n, e);
	if (err < 0) {
		source_undo_stop(m);
		return err;
	}
	remote_release(&m->remote);
	m->from.thawed = false;
	m->from.stopped = false;
	m->from.s.remote = NULL;
	fill_frozen(out, late, n);
	return 0;
}

/* --- ends --- */

int source_rollback(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		    struct err *e)
{
	(void)in;
	(void)e;
	source_undo_stop(m);
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_UNDONE;
	out->undone = xmalloc(sizeof *out->undone);
	godwit__mover__undone__init(out->undone);
	m->done = true;
	return 0;
}

/* A process that is being killed closes its descriptors before it lets go of those it traces. */
static int wait_untraced(pid_t pid, struct err *e)
{
	uint64_t until_us = now_us() + UNTRACED_US;
	struct remote r;
	int err;

	while ((err = remote_open(&r, pid, e)) == -EBUSY && now_us() < until_us)
		(void)usleep(1000);
	if (!err)
		remote_done(&r);
	return err;
}

#define TIDY_TRIES 3
#define TIDY_PAUSE_US 50000u

/* Nothing is lost by letting a busy job run on for a moment. */
static int stop_to_tidy(struct mover *m, struct err *e)
{
	int err = source_stop_threads(m, e);

	for (unsigned i = 1; err < 0 && !m->from.stopped && i < TIDY_TRIES; i++) {
		(void)usleep(TIDY_PAUSE_US);
		*e = (struct err) { 0 };
		err = source_stop_threads(m, e);
	}
	return err;
}

/* The threads have found their own way, but a mapping cannot unmap itself. */
int source_tidy(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		struct err *e)
{
	struct state_source *s = &m->from.s;
	struct err why = { 0 };
	int err;

	(void)out;
	if (m->from.check)
		return err_set(e, -EALREADY, "this mover has a job already");
	m->from.check = (Godwit__Mover__MoverMessage *)(uintptr_t)in;
	new_source(m);
	err = wait_untraced(in->tidy->leader, &why) ?: open_process(s, in->tidy->leader, &why);
	if (!err && !m->problems.n)
		err = state_call.check(s, &why) ?: stop_to_tidy(m, &why) ?: linger_sweep(&m->remote, &why);
	source_undo_stop(m);
	if (err < 0) /* it does no harm where it is */
		log_warn("something of a mover that died may stay in process %d: %s", s->pid, err_text(&why));
	return 0;
}

int source_finish(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		  struct err *e)
{
	(void)in;
	(void)out;
	(void)e;
	m->done = true;
	return 0;
}

void source_done(struct mover *m)
{
	struct state_source *s = &m->from.s;

	if (m->from.image) {
		image_load_done(m);
		return;
	}
	if (!m->from.check)
		return;
	source_undo_stop(m);
	remote_done(&m->remote);
	file_source_done(s);
	call_source_done(s);
	memory_source_free(s->mm);
	stream_free(m->stream);
	free(m->from.frozen_cgroup);
	if (m->from.early)
		godwit__ckpt__job__free_unpacked(m->from.early, NULL);
	if (m->from.final)
		godwit__ckpt__job__free_unpacked(m->from.final, NULL);
	godwit__ckpt__requirements__free_unpacked(s->requirements, NULL);
	fd_close(&s->proc);
	fd_close(&s->pidfd);
	problems_done(&m->problems);
	timings_done(&m->timings);
	godwit__mover__mover_message__free_unpacked(m->from.check, NULL);
	m->from.check = NULL;
}
