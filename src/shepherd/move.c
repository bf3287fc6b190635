/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving and arriving. When the job is stopped its shepherd becomes quiet: everything the job wrote is drained
 * into the spools, everything written to it but not yet read is taken out. A pipe needs no taking out: its unread
 * bytes are the last ones given, and FIONREAD says how many. A pty is read back (tty.c). From then on nothing
 * changes until `resume` (the move failed) or the end. The successor gets the spools in pieces, most of them
 * before the freeze, and then the small description that says which offsets count.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

#define RUNNING GODWIT__SHEPHERD__STATE__PHASE__RUNNING
#define QUIET GODWIT__SHEPHERD__STATE__PHASE__QUIET
#define BLANK GODWIT__SHEPHERD__STATE__PHASE__BLANK

/* Bytes of the input that are in the pipe, or -errno. */
static int unread_in_pipe(const struct stream *s)
{
	int fd = s->fd >= 0 ? s->fd : s->tail, n = 0;

	if (fd < 0 || s->closed)
		return 0;
	return ioctl(fd, FIONREAD, &n) < 0 ? -errno : n;
}

int move_quiesce(struct shepherd *sh, struct err *e)
{
	int r;

	if (sh->phase == QUIET)
		return 0;
	if (sh->phase != RUNNING)
		return err_set(e, -EINVAL, "there is no running job");
	if (sh->terminal) {
		r = tty_take(sh->slave, &sh->taken, e);
		if (r < 0) {
			struct err ignored;

			(void)tty_put_back(sh->streams[STREAM_OUTPUT].fd, sh->slave, &sh->taken, &ignored);
			tty_taken_free(&sh->taken);
			return r;
		}
	}
	/* After the input: reading it may have flushed echoes. */
	r = streams_drain(sh, e);
	if (r < 0)
		return r;
	sh->phase = QUIET;
	serve_answer_again(sh);
	return 0;
}

void move_resume(struct shepherd *sh)
{
	struct err e = { 0 };

	if (sh->phase != QUIET)
		return;
	if (sh->taken.valid && tty_put_back(sh->streams[STREAM_OUTPUT].fd, sh->slave, &sh->taken, &e) < 0)
		log_error("%s", err_text(&e));
	tty_taken_free(&sh->taken);
	sh->heard_us = sh->now_us;
	sh->phase = RUNNING;
}

/* --- describing --- */

struct description {
	Godwit__Shepherd__Streams streams;
	Godwit__Shepherd__Side sides[STREAM_N], *side_list[STREAM_N];
	Godwit__Shepherd__Pty pty;
	Godwit__Shepherd__Line *lines, **line_list;
};

static void describe_side(const struct shepherd *sh, unsigned i, Godwit__Shepherd__Side *m)
{
	const struct stream *s = &sh->streams[i];
	int in_pipe = i == STREAM_INPUT && !sh->terminal ? unread_in_pipe(s) : 0;

	godwit__shepherd__side__init(m);
	m->stream = i;
	m->start = s->spool.start;
	m->unread = s->mark;
	m->end = s->spool.end;
	m->eof = s->eof;
	m->closed = s->closed;
	if (i == STREAM_INPUT) {
		m->unread -= MIN(m->unread - m->start, (uint64_t)MAX(in_pipe, 0));
		m->start = m->unread; /* what the job has read is nobody's any more */
	}
	if (!sh->terminal && (s->fd >= 0 || s->tail >= 0))
		m->pipe_size = (uint32_t)MAX(fcntl(s->fd >= 0 ? s->fd : s->tail, F_GETPIPE_SZ), 0);
}

static void describe_pty(const struct tty_taken *t, struct description *d)
{
	godwit__shepherd__pty__init(&d->pty);
	d->pty.termios.data = (uint8_t *)(uintptr_t)&t->termios;
	d->pty.termios.len = sizeof t->termios;
	d->pty.rows = t->size.ws_row;
	d->pty.columns = t->size.ws_col;
	d->pty.xpixel = t->size.ws_xpixel;
	d->pty.ypixel = t->size.ws_ypixel;
	d->lines = xcalloc(t->n_lines, sizeof *d->lines);
	d->line_list = xcalloc(t->n_lines, sizeof *d->line_list);
	for (size_t i = 0; i < t->n_lines; i++) {
		godwit__shepherd__line__init(&d->lines[i]);
		d->lines[i].bytes.data = (uint8_t *)t->lines[i].bytes;
		d->lines[i].bytes.len = t->lines[i].len;
		d->lines[i].end = t->lines[i].end;
		d->line_list[i] = &d->lines[i];
	}
	d->pty.lines = d->line_list;
	d->pty.n_lines = t->n_lines;
	d->pty.rest.data = (uint8_t *)t->rest;
	d->pty.rest.len = t->rest_len;
	d->streams.pty = &d->pty;
}

void move_reply_streams(struct shepherd *sh, uint64_t id)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	struct description d = { 0 };

	godwit__shepherd__streams__init(&d.streams);
	for (unsigned i = 0; i < STREAM_N; i++) {
		if (!sh->streams[i].used)
			continue;
		describe_side(sh, i, &d.sides[d.streams.n_sides]);
		d.side_list[d.streams.n_sides] = &d.sides[d.streams.n_sides];
		d.streams.n_sides++;
	}
	d.streams.sides = d.side_list;
	if (sh->taken.valid)
		describe_pty(&sh->taken, &d);
	d.streams.attachment = sh->attachment;
	d.streams.log_bytes = sh->log_bytes;
	r.id = id;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_STREAMS;
	r.streams = &d.streams;
	control_send(sh, &r, NULL, 0);
	free(d.lines);
	free(d.line_list);
}

/* --- arriving --- */

int move_spool_write(struct shepherd *sh, const Godwit__Shepherd__SpoolWrite *w, struct err *e)
{
	struct spool *s;
	uint64_t skip;
	int r;

	if (sh->phase != BLANK || w->stream >= STREAM_N || !sh->streams[w->stream].used)
		return err_set(e, -EINVAL, "no such stream to be filled");
	s = &sh->streams[w->stream].spool;
	if (w->offset > s->end || s->start == s->end) {
		/* The first piece, or older ones were dropped at the predecessor meanwhile. */
		(void)spool_trim(s, s->end);
		s->start = w->offset;
		s->end = w->offset;
	}
	skip = s->end - MIN(w->offset, s->end);
	if (w->offset + w->bytes.len <= s->end)
		return 0; /* a repeated piece */
	r = spool_append(s, w->bytes.data + skip, w->bytes.len - skip);
	return r < 0 ? err_code(e, r, "cannot keep a piece of a stream") : 0;
}

static int import_side(struct shepherd *sh, const Godwit__Shepherd__Side *m, struct err *e)
{
	struct stream *s;

	if (m->stream >= STREAM_N || !sh->streams[m->stream].used)
		return err_set(e, -EINVAL, "stream %u does not exist here", m->stream);
	s = &sh->streams[m->stream];
	if (m->start > m->unread || m->unread > m->end)
		return err_set(e, -EINVAL, "stream %u: impossible offsets", m->stream);
	if (m->start == m->end) {
		s->spool.start = m->start;
		s->spool.end = m->end;
	}
	if (s->spool.end != m->end || s->spool.start > m->unread)
		return err_set(e, -EINVAL, "stream %u: have %llu to %llu, need %llu to %llu", m->stream,
			       (unsigned long long)s->spool.start, (unsigned long long)s->spool.end,
			       (unsigned long long)m->unread, (unsigned long long)m->end);
	spool_trim(&s->spool, m->start);
	if (m->stream == STREAM_INPUT)
		s->spool.start = m->start;
	s->mark = m->unread;
	s->eof = m->eof;
	s->closed = m->closed;
	if (m->pipe_size)
		(void)fcntl(s->fd, F_SETPIPE_SZ, (int)m->pipe_size);
	if (s->closed || (s->eof && m->stream != STREAM_INPUT && !sh->terminal))
		fd_close(&s->fd);
	return 0;
}

static int import_pty(struct shepherd *sh, const Godwit__Shepherd__Pty *p, struct err *e)
{
	struct tty_taken t = { .valid = true,
			       .size = { .ws_row = (unsigned short)p->rows,
					 .ws_col = (unsigned short)p->columns,
					 .ws_xpixel = (unsigned short)p->xpixel,
					 .ws_ypixel = (unsigned short)p->ypixel },
			       .rest = (char *)p->rest.data,
			       .rest_len = p->rest.len };
	size_t total = p->rest.len;
	int r;

	if (p->termios.len != sizeof t.termios)
		return err_set(e, -EINVAL, "the terminal's settings have the wrong size");
	memcpy(&t.termios, p->termios.data, sizeof t.termios);
	t.lines = xcalloc(p->n_lines, sizeof *t.lines);
	t.n_lines = p->n_lines;
	for (size_t i = 0; i < p->n_lines; i++) {
		t.lines[i].bytes = (char *)p->lines[i]->bytes.data;
		t.lines[i].len = p->lines[i]->bytes.len;
		t.lines[i].end = p->lines[i]->end;
		total += t.lines[i].len;
	}
	if (total > TTY_INPUT_MAX)
		r = err_set(e, -EFBIG, "the terminal's unread input is too long");
	else
		r = tty_put_back(sh->streams[STREAM_OUTPUT].fd, sh->slave, &t, e);
	streams_were_put_back(sh, t.rest_len);
	free(t.lines);
	return r;
}

int move_import(struct shepherd *sh, const Godwit__Shepherd__Streams *m, struct err *e)
{
	int r = 0;

	if (sh->phase == RUNNING)
		return 0; /* repeated */
	if (sh->phase != BLANK)
		return err_set(e, -EINVAL, "nothing can arrive here");
	for (size_t i = 0; i < m->n_sides && !r; i++)
		r = import_side(sh, m->sides[i], e);
	if (!r && m->pty && sh->terminal)
		r = import_pty(sh, m->pty, e);
	if (r < 0)
		return r;
	sh->attachment = m->attachment;
	sh->heard_us = sh->now_us;
	sh->log_bytes = m->log_bytes;
	sh->phase = RUNNING;
	return 0;
}
