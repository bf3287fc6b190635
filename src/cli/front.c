/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Bytes have offsets that go on across moves, and every request may be repeated (proto/procd.proto), so that a
 * lost answer, a move or a restarted daemon is always dealt with in the same way: ask the same once more.
 *
 *   output   One read per stream is under way. What it brings is written out; only then the next read is sent,
 * whose offset acknowledges what is below it: the job's side keeps everything that is not yet written here. If our
 *            own standard output is stuck, a read at the old offset each KEEP_US says that we are still there.
 *   input    One write per time is under way; what the answer says was taken is dropped, the rest is sent again.
 *   end      A wait is always under way. After its answer the output streams are read to their end.
 *
 * Descriptors we share with others (a shell's terminal) are never made non-blocking: poll says when a write of
 * WRITE_MAX bytes will not block.
 */
#include "cli/front.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/retry.h"
#include "cli/term.h"

#define CHUNK 65536u
#define WRITE_MAX PIPE_BUF /* a pipe that polls writable takes so much */
#define KEEP_US 15000000u
#define DRAIN_MS 2000u /* after the end: how long a stream that somebody else holds open may stay silent */

struct front;

struct output {
	struct front *f;
	uint32_t number;
	int fd;
	uint64_t offset; /* of the next byte to be written here */
	uint8_t bytes[CHUNK];
	size_t have, written;
	uint64_t asked_us;
	bool busy;    /* a read is under way */
	bool drained; /* ... that was asked when the job had ended: if it finds nothing, there is no more */
	bool eof;
	bool broken; /* nobody reads what we write: the rest is thrown away */
};

struct input {
	int fd;
	uint64_t offset; /* of bytes[0] */
	uint8_t bytes[CHUNK];
	size_t have;
	bool busy;
	bool ended;  /* ours is at its end */
	bool closed; /* nobody wants any more, or the end has been handed over */
};

struct front {
	struct cli *c;
	const char *job;
	char *port;
	uint64_t attachment;
	bool terminal;
	struct term term;
	int escape;   /* the key that leaves the job alone, -1: none */
	bool leaving; /* it was typed: what came before it is still handed over */
	struct output out[2];
	size_t n_out;
	struct input in;
	int signals;
	int interrupts;
	bool waiting;
	bool exited;
	bool resuming; /* our attachment was given up while we were silent: ask for it back */
	int status;
	struct retry retry;
	uint64_t pause_until; /* after a failure */
	int r;		      /* the end, if negative */
	struct err *e;
};

/* A failed request, whichever: either it is worth trying again, or this is the end. */
static void failed(struct front *f, int code, const char *why)
{
	if (code == -ESTALE) {
		f->resuming = true;
	} else if (retry_allowed(&f->retry, code)) {
		f->pause_until = now_us() + RETRY_PAUSE_US;
	} else if (!f->r) {
		f->r = err_set(f->e, code, "%s", why);
	}
}

/* True if the reply says yes. */
static bool good(struct front *f, int r, const cli_reply *reply, const char *why)
{
	if (r == 0 && reply->code == 0) {
		retry_success(&f->retry);
		return true;
	}
	failed(f, r < 0 ? r : reply->code, r < 0 ? why : reply->text);
	return false;
}

/* --- output --- */

static void on_data(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct output *o = arg;
	const Godwit__Procd__Data *data;

	o->busy = false;
	if (!good(o->f, r, reply, why))
		return;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_DATA) {
		/* Somebody outside the job holds it open, and is silent. An answer from before the end says
		 * nothing: it may have been overtaken by the news of the end, and the last words come after it. */
		o->eof = o->drained;
		return;
	}
	data = reply->data;
	if (o->have > o->written || data->bytes.len > CHUNK || data->offset < o->offset)
		return; /* it was only a sign of life */
	o->offset = data->offset;
	if (data->bytes.len)
		memcpy(o->bytes, data->bytes.data, data->bytes.len);
	o->have = data->bytes.len;
	o->written = 0;
	o->eof = data->eof && !data->bytes.len;
}

static void ask_output(struct front *f, struct output *o)
{
	Godwit__Procd__Read read = GODWIT__PROCD__READ__INIT;
	CLI_REQUEST(req, READ, read, &read);
	bool stuck = o->have > o->written;

	if (o->busy || o->eof || (stuck && now_us() - o->asked_us < KEEP_US))
		return;
	read.stream = o->number;
	read.offset = o->offset;
	read.timeout_ms = stuck ? 0 : f->exited ? DRAIN_MS : CLI_POLL_MS;
	read.attachment = f->attachment;
	o->asked_us = now_us();
	o->drained = f->exited;
	o->busy = cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_data, o) > 0;
}

static void on_signalled(void *arg, int r, const cli_reply *reply, const char *why)
{
	(void)good(arg, r, reply, why);
}

static void send_signal(struct front *f, int sig)
{
	Godwit__Procd__Signal message = GODWIT__PROCD__SIGNAL__INIT;
	CLI_REQUEST(req, SIGNAL, signal, &message);

	message.signal = sig;
	(void)cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_signalled, f);
}

static void write_output(struct front *f, struct output *o)
{
	size_t len = MIN(o->have - o->written, (size_t)WRITE_MAX);
	ssize_t n = o->broken ? (ssize_t)(o->have - o->written) : write(o->fd, o->bytes + o->written, len);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		/* The job's own write would have told it so. */
		o->broken = true;
		send_signal(f, SIGPIPE);
		return;
	}
	o->written += (size_t)n;
	if (o->written == o->have) {
		o->offset += o->have;
		o->have = o->written = 0;
	}
}

/* --- input --- */

static void on_written(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct front *f = arg;
	struct input *in = &f->in;
	uint64_t taken;

	in->busy = false;
	if (f->exited) {
		in->closed = true;
		return;
	}
	if (!good(f, r, reply, why) || reply->result_case != GODWIT__PROCD__REPLY__RESULT_WRITTEN)
		return;
	taken = reply->written->offset - in->offset;
	if (reply->written->offset < in->offset || taken > in->have)
		return;
	in->offset += taken;
	in->have -= (size_t)taken;
	memmove(in->bytes, in->bytes + taken, in->have);
	in->closed = reply->written->closed || (in->ended && !in->have);
}

static void send_input(struct front *f)
{
	Godwit__Procd__Write write = GODWIT__PROCD__WRITE__INIT;
	CLI_REQUEST(req, WRITE, write, &write);
	struct input *in = &f->in;

	if (in->busy || in->closed || f->exited || (!in->have && !in->ended))
		return;
	if (!in->have && f->terminal) { /* a terminal has no end: its users type one */
		in->closed = true;
		return;
	}
	write.offset = in->offset;
	write.bytes.data = in->bytes;
	write.bytes.len = in->have;
	write.end = in->ended && !f->terminal;
	write.timeout_ms = CLI_POLL_MS;
	write.attachment = f->attachment;
	in->busy = cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_written, f) > 0;
}

static bool wants_input(const struct front *f)
{
	return !f->in.have && !f->in.ended && !f->in.closed && !f->exited && !f->leaving;
}

static void read_input(struct front *f)
{
	ssize_t n = read(f->in.fd, f->in.bytes, CHUNK);

	if (n > 0) {
		uint8_t *key = f->term.raw && f->escape >= 0 ? memchr(f->in.bytes, f->escape, (size_t)n) : NULL;

		f->leaving = key != NULL;
		f->in.have = key ? (size_t)(key - f->in.bytes) : (size_t)n;
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		f->in.ended = true;
}

/* --- the end, and other requests --- */

static void on_exited(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct front *f = arg;

	f->waiting = false;
	if (!good(f, r, reply, why) || reply->result_case != GODWIT__PROCD__REPLY__RESULT_EXITED)
		return;
	f->exited = true;
	f->status = job_exit_status(reply->exited);
}

static void ask_wait(struct front *f)
{
	Godwit__Procd__Wait wait = GODWIT__PROCD__WAIT__INIT;
	CLI_REQUEST(req, WAIT, wait, &wait);

	if (f->waiting || f->exited)
		return;
	wait.timeout_ms = CLI_POLL_MS;
	f->waiting = cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_exited, f) > 0;
}

static void on_resumed(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct front *f = arg;

	if (r == 0 && reply->code == -ESTALE) {
		f->r = err_set(f->e, -ENOLINK, "somebody else has attached to it");
		return;
	}
	if (good(f, r, reply, why))
		f->resuming = false;
}

/* An attachment that nothing was heard of for a minute (we were stopped, say) is given up; it can be had again as
 * long as nobody else took it. */
static void ask_resume(struct front *f)
{
	Godwit__Procd__Attach attach = GODWIT__PROCD__ATTACH__INIT;
	CLI_REQUEST(req, ATTACH, attach, &attach);

	attach.attachment = f->attachment;
	f->pause_until = now_us() + RETRY_PAUSE_US;
	(void)cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_resumed, f);
}

static void send_size(struct front *f)
{
	Godwit__Procd__WindowSize size = GODWIT__PROCD__WINDOW_SIZE__INIT;
	CLI_REQUEST(req, WINDOW, window, &size);

	if (!f->terminal || !isatty(f->in.fd))
		return;
	size.attachment = f->attachment;
	term_size(f->in.fd, &size);
	(void)cli_start(f->c, f->port, &req, CLI_LOCATE_MS, on_signalled, f);
}

static void hang_up(struct front *f, int why)
{
	Godwit__Procd__Detach detach = GODWIT__PROCD__DETACH__INIT;
	CLI_REQUEST(req, DETACH, detach, &detach);
	_cleanup_reply_ cli_reply *reply = NULL;

	detach.attachment = f->attachment;
	f->r = why;
	if (cli_call(f->c, f->port, &req, &reply, NULL) < 0)
		return; /* then it is given up by itself, in a minute */
}

/* What reaches us is meant for the job. Who insists three times gets out without it. */
static void on_signal(struct front *f)
{
	struct signalfd_siginfo si;

	if (read(f->signals, &si, sizeof si) != sizeof si)
		return;
	switch (si.ssi_signo) {
	case SIGWINCH:
		send_size(f);
		return;
	case SIGCONT:
		if (f->term.raw)
			term_enter_raw(&f->term);
		send_size(f);
		return;
	case SIGHUP:
		hang_up(f, -ECONNABORTED);
		return;
	default:
		if (++f->interrupts > 3 && f->retry.since_us) {
			f->r = err_set(f->e, -EHOSTUNREACH,
				       "its host does not answer; the job may still run there");
			return;
		}
		send_signal(f, (int)si.ssi_signo);
	}
}

/* --- the loop --- */

static bool finished(const struct front *f)
{
	if (!f->exited)
		return f->r < 0;
	for (size_t i = 0; i < f->n_out; i++)
		if (!f->out[i].eof || f->out[i].have > f->out[i].written)
			return f->r < 0;
	return true;
}

static void start_requests(struct front *f)
{
	if (now_us() < f->pause_until || !f->c->connected)
		return;
	if (f->resuming) {
		ask_resume(f);
		return;
	}
	for (size_t i = 0; i < f->n_out; i++)
		ask_output(f, &f->out[i]);
	send_input(f);
	ask_wait(f);
}

/* How long to sleep at most, in ms: until a pause is over, until a sign of life is due. */
static int patience(const struct front *f)
{
	if (f->pause_until > now_us())
		return (int)((f->pause_until - now_us()) / 1000) + 1;
	if (!f->c->connected)
		return RETRY_PAUSE_US / 1000;
	for (size_t i = 0; i < f->n_out; i++)
		if (f->out[i].have > f->out[i].written)
			return 1000;
	return -1;
}

static void reconnect(struct front *f)
{
	if (cli_reopen(f->c) == 0)
		return;
	failed(f, -ECONNRESET, "flipd of this host is gone");
}

static void turn(struct front *f)
{
	struct pollfd p[5] = { { .fd = f->signals, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
	size_t n = 3;

	if (!f->c->connected)
		reconnect(f);
	start_requests(f);
	if (wants_input(f))
		p[1].fd = f->in.fd;
	p[2].fd = f->c->connected ? gwc_fd(f->c->gwc) : -1;
	p[2].events = f->c->connected ? (short)gwc_events(f->c->gwc) : 0;
	for (size_t i = 0; i < f->n_out; i++, n++) {
		p[n].fd = f->out[i].have > f->out[i].written ? f->out[i].fd : -1;
		p[n].events = POLLOUT;
	}
	if (poll(p, n, patience(f)) < 0)
		return;
	if (p[0].revents)
		on_signal(f);
	if (p[1].revents)
		read_input(f);
	for (size_t i = 0; i < f->n_out; i++)
		if (p[3 + i].revents)
			write_output(f, &f->out[i]);
	if (p[2].revents && gwc_dispatch(f->c->gwc) < 0)
		f->c->connected = false;
}

static int block_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT };
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		(void)sigaddset(&set, signals[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void take_attachment(struct front *f, const Godwit__Procd__Attached *attached)
{
	f->attachment = attached->attachment;
	f->terminal = attached->terminal;
	for (size_t i = 0; i < attached->n_streams; i++) {
		const Godwit__Procd__StreamState *s = attached->streams[i];

		if (s->stream == STDIN_FILENO) {
			f->in.offset = s->unread;
			f->in.closed = s->eof;
		} else if (f->n_out < ARRAY_LEN(f->out)) {
			struct output *o = &f->out[f->n_out++];

			o->f = f;
			o->number = s->stream;
			o->fd = (int)(s->stream == STDERR_FILENO ? STDERR_FILENO : STDOUT_FILENO);
			o->offset = s->unread;
		}
	}
}

int front_run(struct cli *c, const char *job, const Godwit__Procd__Attached *attached, int escape, struct err *e)
{
	struct front *f = xcalloc(1, sizeof *f);
	int r;

	f->c = c;
	f->job = job;
	f->port = cli_port_job(job);
	f->in.fd = STDIN_FILENO;
	f->escape = escape;
	f->e = e;
	retry_init(&f->retry, RETRY_KNOWN_JOB);
	term_init(&f->term, STDIN_FILENO);
	take_attachment(f, attached);
	f->signals = block_signals();
	if (f->terminal)
		term_enter_raw(&f->term);
	send_size(f);
	while (!finished(f)) {
		turn(f);
		if (f->leaving && !f->in.have && !f->exited)
			hang_up(f, -ECANCELED);
	}
	term_restore(&f->term);
	r = f->r < 0 ? f->r : f->status;
	fd_close(&f->signals);
	/* The answer to a write may still be under way when the job has ended; it would find nobody here. */
	cli_forget_all(c);
	free(f->port);
	free(f);
	return r;
}
