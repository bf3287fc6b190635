/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What procd relays from front-ends. A handler either fills the reply and says DONE, or says NOT_YET; then the
 * request is held and tried again after whatever happens next, until its time is up and the answer is `again`.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "base/util.h"
#include "shepherd/shepherd.h"

/* When the pty's job has to read before more can be given to it. */
#define PTY_LOOK_AGAIN_US 5000

enum outcome { DONE, NOT_YET };

/* A reply under construction, with room for what its parts point to. */
struct answer {
	Godwit__Procd__Reply reply;
	Godwit__Procd__Exited exited;
	Godwit__Procd__Attached attached;
	Godwit__Procd__StreamState states[STREAM_N];
	Godwit__Procd__StreamState *state_list[STREAM_N];
	Godwit__Procd__Data data;
	Godwit__Procd__Written written;
	uint8_t bytes[DATA_MAX];
};

static enum outcome refuse(struct answer *a, int code, const char *text)
{
	a->reply.code = code;
	a->reply.text = (char *)(uintptr_t)text;
	return DONE;
}

/* False, with the answer made, when the front-end is not (or no longer) the attached one. */
static bool is_attached(struct shepherd *sh, uint64_t attachment, struct answer *a)
{
	if (!attachment || attachment != sh->attachment) {
		(void)refuse(a, -ESTALE, "another front-end is attached, or none");
		return false;
	}
	sh->heard_us = sh->now_us;
	return true;
}

void serve_fill_exited(const struct shepherd *sh, Godwit__Procd__Exited *x)
{
	godwit__procd__exited__init(x);
	if (WIFSIGNALED(sh->status)) {
		x->signal = WTERMSIG(sh->status);
		x->core = WCOREDUMP(sh->status);
	} else {
		x->status = WEXITSTATUS(sh->status);
	}
	x->at_us = sh->exited_at_us;
}

static enum outcome do_wait(struct shepherd *sh, struct answer *a)
{
	if (sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EXITED)
		return NOT_YET;
	serve_fill_exited(sh, &a->exited);
	a->reply.result_case = GODWIT__PROCD__REPLY__RESULT_EXITED;
	a->reply.exited = &a->exited;
	return DONE;
}

static void set_size(struct shepherd *sh, uint32_t rows, uint32_t columns, uint32_t xpixel, uint32_t ypixel)
{
	struct winsize w = { .ws_row = (unsigned short)rows,
			     .ws_col = (unsigned short)columns,
			     .ws_xpixel = (unsigned short)xpixel,
			     .ws_ypixel = (unsigned short)ypixel };

	if (sh->terminal && sh->streams[STREAM_OUTPUT].fd >= 0)
		(void)ioctl(sh->streams[STREAM_OUTPUT].fd, TIOCSWINSZ, &w);
}

static enum outcome do_logs(struct shepherd *sh, struct answer *a)
{
	godwit__procd__attached__init(&a->attached);
	a->attached.terminal = sh->terminal;
	a->attached.n_streams = streams_states(sh, a->states);
	for (size_t i = 0; i < a->attached.n_streams; i++)
		a->state_list[i] = &a->states[i];
	a->attached.streams = a->state_list;
	a->reply.result_case = GODWIT__PROCD__REPLY__RESULT_ATTACHED;
	a->reply.attached = &a->attached;
	return DONE;
}

static enum outcome do_attach(struct shepherd *sh, const Godwit__Procd__Attach *q, struct answer *a)
{
	uint64_t wanted = q->attachment;

	if (wanted && sh->attachment && wanted != sh->attachment)
		return refuse(a, -ESTALE, "another front-end has taken over");
	while (!wanted)
		if (getrandom(&wanted, sizeof wanted, 0) < 0)
			return refuse(a, -EIO, "no random numbers");
	sh->attachment = wanted;
	sh->heard_us = sh->now_us;
	if (q->terminal)
		set_size(sh, q->terminal->rows, q->terminal->columns, q->terminal->xpixel, q->terminal->ypixel);
	(void)do_logs(sh, a);
	a->attached.attachment = wanted;
	return DONE;
}

static enum outcome do_detach(struct shepherd *sh, const Godwit__Procd__Detach *q, struct answer *a)
{
	if (is_attached(sh, q->attachment, a)) {
		sh->attachment = 0;
		streams_trim(sh);
	}
	return DONE;
}

static enum outcome do_read(struct shepherd *sh, const Godwit__Procd__Read *q, struct answer *a)
{
	size_t max = q->max && q->max < DATA_MAX ? q->max : DATA_MAX;
	uint64_t offset = q->offset;
	struct stream *s;
	ssize_t n;

	if (q->stream == STREAM_INPUT || q->stream >= STREAM_N || !sh->streams[q->stream].used)
		return refuse(a, -EINVAL, "no such output stream");
	s = &sh->streams[q->stream];
	if (offset > s->spool.end)
		return refuse(a, -ERANGE, "that offset is not written yet");
	if (q->attachment) {
		if (!is_attached(sh, q->attachment, a))
			return DONE;
		s->mark = MAX(s->mark, offset);
		streams_trim(sh);
	}
	offset = MAX(offset, s->spool.start);
	if (offset == s->spool.end && !s->eof)
		return NOT_YET;
	n = spool_read(&s->spool, offset, a->bytes, max);
	if (n < 0)
		return refuse(a, (int)n, "cannot read the output kept");
	godwit__procd__data__init(&a->data);
	a->data.offset = offset;
	a->data.bytes.data = a->bytes;
	a->data.bytes.len = (size_t)n;
	a->data.eof = s->eof && offset + (uint64_t)n == s->spool.end;
	a->reply.result_case = GODWIT__PROCD__REPLY__RESULT_DATA;
	a->reply.data = &a->data;
	return DONE;
}

static enum outcome written(struct stream *s, struct answer *a)
{
	godwit__procd__written__init(&a->written);
	a->written.offset = s->spool.end;
	a->written.closed = s->closed;
	a->reply.result_case = GODWIT__PROCD__REPLY__RESULT_WRITTEN;
	a->reply.written = &a->written;
	return DONE;
}

static enum outcome do_write(struct shepherd *sh, const Godwit__Procd__Write *q, struct answer *a)
{
	struct stream *s = &sh->streams[STREAM_INPUT];
	uint64_t skip, fresh, room;
	int r;

	if (!s->used || q->bytes.len > DATA_MAX)
		return refuse(a, -EINVAL, "no input, or too much at once");
	if (!is_attached(sh, q->attachment, a))
		return DONE;
	if (q->offset > s->spool.end)
		return refuse(a, -ERANGE, "earlier input is missing");
	if (s->closed || sh->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED) {
		s->closed = true;
		return written(s, a);
	}
	skip = s->spool.end - q->offset;
	fresh = q->bytes.len > skip ? q->bytes.len - skip : 0;
	if (fresh && s->eof)
		return refuse(a, -EPIPE, "the end of the input was given already");
	room = INPUT_MAX - MIN(s->spool.end - s->mark, INPUT_MAX);
	if (fresh && !room)
		return NOT_YET;
	if (fresh) {
		r = spool_append(&s->spool, q->bytes.data + skip, MIN(fresh, room));
		if (r < 0)
			return refuse(a, r, "cannot keep the input");
	}
	if (q->end && q->offset + q->bytes.len == s->spool.end)
		s->eof = true;
	return written(s, a);
}

static enum outcome do_window(struct shepherd *sh, const Godwit__Procd__WindowSize *q, struct answer *a)
{
	if (is_attached(sh, q->attachment, a))
		set_size(sh, q->rows, q->columns, q->xpixel, q->ypixel);
	return DONE;
}

static enum outcome attempt(struct shepherd *sh, const Godwit__Procd__Request *q, struct answer *a)
{
	godwit__procd__reply__init(&a->reply);
	switch (q->op_case) {
	case GODWIT__PROCD__REQUEST__OP_WAIT:
		return do_wait(sh, a);
	case GODWIT__PROCD__REQUEST__OP_ATTACH:
		return do_attach(sh, q->attach, a);
	case GODWIT__PROCD__REQUEST__OP_DETACH:
		return do_detach(sh, q->detach, a);
	case GODWIT__PROCD__REQUEST__OP_READ:
		return do_read(sh, q->read, a);
	case GODWIT__PROCD__REQUEST__OP_WRITE:
		return do_write(sh, q->write, a);
	case GODWIT__PROCD__REQUEST__OP_WINDOW:
		return do_window(sh, q->window, a);
	case GODWIT__PROCD__REQUEST__OP_LOGS:
		return do_logs(sh, a);
	default:
		return refuse(a, -ENOSYS, "not a shepherd's business");
	}
}

static uint32_t timeout_ms(const Godwit__Procd__Request *q)
{
	uint32_t ms = q->op_case == GODWIT__PROCD__REQUEST__OP_WAIT    ? q->wait->timeout_ms
		      : q->op_case == GODWIT__PROCD__REQUEST__OP_READ  ? q->read->timeout_ms
		      : q->op_case == GODWIT__PROCD__REQUEST__OP_WRITE ? q->write->timeout_ms
								       : 0;

	return MIN(ms, POLL_TIMEOUT_MAX_MS);
}

static void answer(struct shepherd *sh, const Godwit__Shepherd__Request *request, struct answer *a)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;

	r.id = request->id;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_RELAY;
	r.relay = &a->reply;
	control_send(sh, &r, NULL, 0);
}

static void answer_again(struct shepherd *sh, const Godwit__Shepherd__Request *request)
{
	struct answer *a = xmalloc(sizeof *a);

	godwit__procd__reply__init(&a->reply);
	a->reply.again = 1;
	answer(sh, request, a);
	free(a);
}

/* True if the request has been answered. */
static bool try_to_answer(struct shepherd *sh, const Godwit__Shepherd__Request *request)
{
	struct answer *a = xmalloc(sizeof *a); /* 64 KiB: not for the stack */
	bool quiet = sh->phase != GODWIT__SHEPHERD__STATE__PHASE__RUNNING &&
		     sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EXITED;
	bool done = true;

	if (quiet) {
		free(a);
		answer_again(sh, request);
		return true;
	}
	done = attempt(sh, request->relay, a) == DONE;
	if (done)
		answer(sh, request, a);
	free(a);
	return done;
}

void serve_relay(struct shepherd *sh, Godwit__Shepherd__Request *request)
{
	uint32_t ms = timeout_ms(request->relay);
	struct held *h;

	if (try_to_answer(sh, request)) {
		godwit__shepherd__request__free_unpacked(request, NULL);
		return;
	}
	if (!ms || sh->n_held >= HELD_MAX) {
		answer_again(sh, request);
		godwit__shepherd__request__free_unpacked(request, NULL);
		return;
	}
	h = xcalloc(1, sizeof *h);
	h->request = request;
	h->deadline_us = sh->now_us + (uint64_t)ms * 1000;
	h->next = sh->held;
	sh->held = h;
	sh->n_held++;
}

static void unlink_held(struct shepherd *sh, struct held **at)
{
	struct held *h = *at;

	*at = h->next;
	sh->n_held--;
	godwit__shepherd__request__free_unpacked(h->request, NULL);
	free(h);
}

void serve_retry(struct shepherd *sh)
{
	struct held **at = &sh->held;

	while (*at) {
		if (try_to_answer(sh, (*at)->request)) {
			unlink_held(sh, at);
		} else if (sh->now_us >= (*at)->deadline_us) {
			answer_again(sh, (*at)->request);
			unlink_held(sh, at);
		} else {
			at = &(*at)->next;
		}
	}
	if (sh->attachment && sh->now_us - sh->heard_us > ATTACHMENT_SILENCE_US)
		sh->attachment = 0;
}

void serve_answer_again(struct shepherd *sh)
{
	while (sh->held) {
		answer_again(sh, sh->held->request);
		unlink_held(sh, &sh->held);
	}
}

void serve_drop_held(struct shepherd *sh)
{
	while (sh->held)
		unlink_held(sh, &sh->held);
}

int64_t serve_next_due_us(const struct shepherd *sh)
{
	const struct stream *in = &sh->streams[STREAM_INPUT];
	int64_t due = -1;

	for (const struct held *h = sh->held; h; h = h->next) {
		int64_t left = h->deadline_us > sh->now_us ? (int64_t)(h->deadline_us - sh->now_us) : 0;

		due = due < 0 ? left : MIN(due, left);
	}
	if (sh->attachment) {
		int64_t left = (int64_t)(sh->heard_us + ATTACHMENT_SILENCE_US) - (int64_t)sh->now_us;

		left = MAX(left + 1000, 0);
		due = due < 0 ? left : MIN(due, left);
	}
	if (sh->terminal && sh->phase == GODWIT__SHEPHERD__STATE__PHASE__RUNNING && in->mark < in->spool.end)
		due = due < 0 ? PTY_LOOK_AGAIN_US : MIN(due, PTY_LOOK_AGAIN_US);
	return due;
}
