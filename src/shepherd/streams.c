/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

/* A pipe's unread input is what was given last; keep as much as the largest unprivileged pipe holds. */
#define INPUT_KEEP (1u << 20)
/*
 * A pty's unread input must fit into the 4095 bytes of its line discipline, or it could not be put back (tty.c).
 * But what is written to the master goes first into the driver's buffer (64 KiB), out of which a kernel worker
 * feeds the line discipline; FIONREAD sees only what is behind that, so that between a write and the worker's turn
 * any amount seems to fit:
 *
 *   1. we write 1 KiB; FIONREAD says 0, since the worker has not run; again and again: 17 KiB at one turn, idle
 * host
 *   2. the job is stopped; all of it is taken out; 4095 bytes of it is what the next line discipline takes
 *
 * So everything given counts as unread until poll() has found nothing to read: that flushes the worker
 * (n_tty_poll, since 3.12) and then says no only if less than VMIN bytes (255 at most) or an unfinished line are
 * there. A line that is longer than all of this has to be given up to its end, since nobody can read it earlier,
 * and no further; the kernel cuts it at 4095.
 */
#define PTY_UNREAD_MAX 3072u
#define PTY_VMIN_MAX 255u
#define PTY_LINE_GIVE 512u

static int remember_identity(struct stream *s, int job_end, struct err *e)
{
	struct stat st;

	if (fstat(job_end, &st) < 0)
		return err_errno(e, "cannot stat a stream");
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->rdev = st.st_rdev;
	return 0;
}

static int open_stream(struct stream *s, unsigned i, struct err *e)
{
	char name[32];

	(void)snprintf(name, sizeof name, "godwit-stream-%u", i);
	s->used = true;
	s->tail = -EBADF;
	return spool_open(&s->spool, name, 0, e);
}

static int open_pipe(struct stream *s, unsigned i, uid_t uid, gid_t gid, int *ret_job_end, struct err *e)
{
	bool input = i == STREAM_INPUT;
	int p[2], ours, r;

	r = open_stream(s, i, e);
	if (r < 0)
		return r;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, "cannot make a pipe");
	ours = p[input];
	*ret_job_end = p[!input];
	s->fd = ours;
	/* The job may open /dev/stdin and the like by name; so the pipe is its owner's. */
	if (fchown(ours, uid, gid) < 0)
		return err_errno(e, "cannot give a pipe away");
	r = fd_set_nonblock(ours, 1);
	if (r < 0)
		return err_code(e, r, "cannot set up a pipe");
	return remember_identity(s, *ret_job_end, e);
}

int streams_open_pipes(struct shepherd *sh, uid_t uid, gid_t gid, int ret_job_ends[STREAM_N], struct err *e)
{
	for (unsigned i = 0; i < STREAM_N; i++) {
		int r = open_pipe(&sh->streams[i], i, uid, gid, &ret_job_ends[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int size_and_settings(int master, int slave, const Godwit__Procd__Terminal *t, struct err *e)
{
	struct winsize w = { .ws_row = (unsigned short)t->rows,
			     .ws_col = (unsigned short)t->columns,
			     .ws_xpixel = (unsigned short)t->xpixel,
			     .ws_ypixel = (unsigned short)t->ypixel };
	struct tty_termios termios;
	int r;

	if (ioctl(master, TIOCSWINSZ, &w) < 0)
		return err_errno(e, "cannot set the terminal's size");
	if (t->termios.len != sizeof termios)
		return 0;
	memcpy(&termios, t->termios.data, sizeof termios);
	r = tty_set(slave, &termios);
	return r < 0 ? err_code(e, r, "cannot set the terminal") : 0;
}

int streams_open_pty(struct shepherd *sh, uid_t uid, const Godwit__Procd__Terminal *t, int *ret_slave,
		     struct err *e)
{
	_cleanup_fd_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int zero = 0, r;

	if (master < 0)
		return err_errno(e, "cannot open a pty");
	if (ioctl(master, TIOCSPTLCK, &zero) < 0)
		return err_errno(e, "cannot unlock the pty");
	sh->slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	*ret_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (sh->slave < 0 || *ret_slave < 0)
		return err_errno(e, "cannot open the pty's slave");
	if (fchown(sh->slave, uid, (gid_t)-1) < 0 || fchmod(sh->slave, 0620) < 0)
		return err_errno(e, "cannot give the pty away");
	r = size_and_settings(master, sh->slave, t, e);
	if (r < 0)
		return r;
	for (unsigned i = STREAM_INPUT; i <= STREAM_OUTPUT; i++) {
		r = open_stream(&sh->streams[i], i, e);
		if (!r)
			r = remember_identity(&sh->streams[i], *ret_slave, e);
		if (r < 0)
			return r;
		sh->streams[i].fd = master;
	}
	sh->terminal = true;
	(void)steal_fd(&master);
	return 0;
}

/* --- output --- */

static bool has_room(const struct shepherd *sh, const struct stream *s)
{
	return !sh->attachment || s->spool.end - s->mark < UNREAD_MAX;
}

static void output_ended(struct shepherd *sh, struct stream *s)
{
	s->eof = true;
	if (!sh->terminal)
		fd_close(&s->fd);
}

/* Returns bytes moved, 0 when there are none now or any more, -errno when the spool failed. */
static ssize_t read_output(struct shepherd *sh, struct stream *s)
{
	char *buf = (char *)sh->buf;
	ssize_t n;
	int r;

	do
		n = read(s->fd, buf, DATA_MAX);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0) { /* EIO: a pty all of whose slaves are closed; ours never is before the end */
		output_ended(sh, s);
		return 0;
	}
	r = spool_append(&s->spool, buf, (size_t)n);
	return r < 0 ? r : n;
}

static bool is_output(const struct stream *s, unsigned i)
{
	return s->used && i != STREAM_INPUT && !s->eof && s->fd >= 0;
}

void streams_trim(struct shepherd *sh)
{
	for (unsigned i = STREAM_OUTPUT; i < STREAM_N; i++) {
		struct stream *s = &sh->streams[i];
		uint64_t floor;

		if (!s->used || s->spool.end <= sh->log_bytes)
			continue;
		floor = s->spool.end - sh->log_bytes;
		if (sh->attachment)
			floor = MIN(floor, s->mark);
		spool_trim(&s->spool, floor);
		s->mark = MAX(s->mark, s->spool.start);
	}
}

static bool pump_output(struct shepherd *sh)
{
	bool moved = false;

	for (unsigned i = STREAM_OUTPUT; i < STREAM_N; i++) {
		struct stream *s = &sh->streams[i];
		bool was_open = is_output(s, i);

		if (!was_open || !has_room(sh, s))
			continue;
		if (read_output(sh, s) > 0 || s->eof)
			moved = true;
	}
	if (moved)
		streams_trim(sh);
	return moved;
}

int streams_drain(struct shepherd *sh, struct err *e)
{
	for (unsigned i = STREAM_OUTPUT; i < STREAM_N; i++) {
		struct stream *s = &sh->streams[i];
		ssize_t n = 1;

		while (is_output(s, i) && n > 0)
			n = read_output(sh, s);
		if (n < 0)
			return err_code(e, (int)n, "cannot keep the job's output");
	}
	return 0;
}

void streams_after_exit(struct shepherd *sh)
{
	struct err e = { 0 };

	/* Whoever inherited a pipe from the leader is being killed; its end comes by itself. A pty has no end of
	 * its own while we hold it open. */
	if (!sh->terminal)
		return;
	if (streams_drain(sh, &e) < 0)
		log_warn("%s", err_text(&e));
	sh->streams[STREAM_OUTPUT].eof = true;
}

/* --- input --- */

void streams_were_put_back(struct shepherd *sh, size_t rest)
{
	sh->streams[STREAM_INPUT].given = PTY_UNREAD_MAX;
	sh->streams[STREAM_INPUT].line = MIN(rest, PTY_UNREAD_MAX);
}

static size_t pty_allowance(const struct shepherd *sh, struct stream *s)
{
	struct pollfd p = { .fd = sh->slave, .events = POLLIN };

	if (s->given < PTY_UNREAD_MAX)
		return PTY_UNREAD_MAX - s->given;
	if (poll(&p, 1, 0) != 0)
		return 0;
	s->given = MAX(s->line, PTY_VMIN_MAX);
	return s->given + PTY_LINE_GIVE < PTY_UNREAD_MAX ? PTY_UNREAD_MAX - s->given : PTY_LINE_GIVE;
}

/* How much may be given to the kernel now. */
static size_t input_allowance(const struct shepherd *sh, struct stream *s)
{
	return MIN(s->spool.end - s->mark, sh->terminal ? pty_allowance(sh, s) : DATA_MAX);
}

/* Where to stop, if a line is long: see above. */
static size_t up_to_line_end(const struct stream *s, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = s->given + PTY_LINE_GIVE < PTY_UNREAD_MAX ? NULL : memchr(bytes, '\n', len);

	return end ? (size_t)(end - bytes) + 1 : len;
}

static void count_given(struct stream *s, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = memrchr(bytes, '\n', len);

	s->given += MIN(len, PTY_UNREAD_MAX);
	s->line = end ? (size_t)(bytes + len - end) - 1 : MIN(s->line + len, PTY_UNREAD_MAX);
}

static void input_closed(struct stream *s)
{
	s->closed = true;
	s->mark = s->spool.end;
	fd_close(&s->fd);
}

/* After the last byte: the job reads end-of-file. An end of ours remains to see how much it has not read. */
static void finish_input(struct shepherd *sh, struct stream *s)
{
	char path[64];

	if (sh->terminal || s->fd < 0)
		return;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
	s->tail = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	fd_close(&s->fd);
}

static void trim_input(const struct shepherd *sh, struct stream *s)
{
	uint64_t keep = sh->terminal ? 0 : INPUT_KEEP;

	if (s->mark > keep)
		spool_trim(&s->spool, s->mark - keep);
}

static bool pump_input(struct shepherd *sh)
{
	struct stream *s = &sh->streams[STREAM_INPUT];
	size_t len;
	ssize_t n;

	if (!s->used || s->fd < 0 || s->closed)
		return false;
	if (s->mark == s->spool.end) {
		if (s->eof)
			finish_input(sh, s);
		return false;
	}
	len = input_allowance(sh, s);
	if (!len)
		return false;
	n = spool_read(&s->spool, s->mark, sh->buf, len);
	if (n <= 0)
		return false;
	if (sh->terminal)
		n = (ssize_t)up_to_line_end(s, sh->buf, (size_t)n);
	do
		n = write(s->fd, sh->buf, (size_t)n);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EPIPE)
		input_closed(s);
	if (n <= 0)
		return s->closed;
	s->mark += (uint64_t)n;
	if (sh->terminal)
		count_given(s, sh->buf, (size_t)n);
	trim_input(sh, s);
	return true;
}

bool streams_pump(struct shepherd *sh)
{
	bool moved;

	if (sh->phase != GODWIT__SHEPHERD__STATE__PHASE__RUNNING &&
	    sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EXITED)
		return false;
	moved = pump_output(sh);
	if (sh->phase == GODWIT__SHEPHERD__STATE__PHASE__RUNNING)
		moved |= pump_input(sh);
	return moved;
}

short streams_events(struct shepherd *sh, unsigned i)
{
	struct stream *s = &sh->streams[i];

	if (!s->used || s->fd < 0)
		return 0;
	if (i != STREAM_INPUT)
		return is_output(s, i) && has_room(sh, s) ? POLLIN : 0;
	/* A full pty is looked at again by time (serve_next_due_us): no event tells that its job has read. */
	return s->mark < s->spool.end && !s->closed && input_allowance(sh, s) ? POLLOUT : 0;
}

/* --- what they are --- */

size_t streams_describe(const struct shepherd *sh, Godwit__Mover__Stream *list)
{
	size_t n = 0;

	for (unsigned i = 0; i < STREAM_N; i++) {
		const struct stream *s = &sh->streams[i];
		Godwit__Mover__Stream *m = &list[n];

		if (!s->used || (sh->terminal && i))
			continue;
		godwit__mover__stream__init(m);
		m->kind = sh->terminal	      ? GODWIT__MOVER__STREAM__KIND__PTY_SLAVE
			  : i == STREAM_INPUT ? GODWIT__MOVER__STREAM__KIND__PIPE_READ
					      : GODWIT__MOVER__STREAM__KIND__PIPE_WRITE;
		m->dev = s->dev;
		m->ino = s->ino;
		m->rdev = s->rdev;
		m->index = i;
		n++;
	}
	return n;
}

size_t streams_states(const struct shepherd *sh, Godwit__Procd__StreamState *list)
{
	size_t n = 0;

	for (unsigned i = 0; i < STREAM_N; i++) {
		const struct stream *s = &sh->streams[i];
		Godwit__Procd__StreamState *m = &list[n];

		if (!s->used)
			continue;
		godwit__procd__stream_state__init(m);
		m->stream = i;
		m->start = s->spool.start;
		m->unread = i == STREAM_INPUT ? s->spool.end : s->mark;
		m->end = s->spool.end;
		m->eof = s->eof;
		n++;
	}
	return n;
}
