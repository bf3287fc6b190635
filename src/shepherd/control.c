/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

#define SPEC_MAX (2u << 20)

void control_close(struct shepherd *sh)
{
	fd_close(&sh->conn);
	serve_drop_held(sh);
	while (sh->outbox) {
		struct packet *p = sh->outbox;

		sh->outbox = p->next;
		free(p);
	}
	sh->outbox_end = &sh->outbox;
}

void control_accept(struct shepherd *sh)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;
	int size = 1 << 20;
	int fd = accept4(sh->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* A process outside our pid namespace has pid 0 here, but its uid is true. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != 0) {
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	control_close(sh);
	sh->conn = fd;
}

void control_flush(struct shepherd *sh)
{
	while (sh->outbox && sh->conn >= 0) {
		struct packet *p = sh->outbox;
		int r = fd_msg_send(sh->conn, p->bytes, p->len, NULL, 0);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			control_close(sh);
			return;
		}
		sh->outbox = p->next;
		if (!sh->outbox)
			sh->outbox_end = &sh->outbox;
		free(p);
	}
}

void control_send(struct shepherd *sh, Godwit__Shepherd__Reply *r, const int *fds, size_t n_fds)
{
	size_t len = godwit__shepherd__reply__get_packed_size(r);
	struct packet *p;
	int sent;

	if (sh->conn < 0)
		return;
	if (len > SHEPHERD_PACKET_MAX) {
		log_error("a reply of %zu bytes is too long", len);
		return;
	}
	p = xmalloc(sizeof *p + len);
	p->next = NULL;
	p->len = len;
	(void)godwit__shepherd__reply__pack(r, p->bytes);
	if (n_fds || !sh->outbox) {
		sent = fd_msg_send(sh->conn, p->bytes, len, fds, n_fds);
		if (sent != -EAGAIN || n_fds) {
			/* Descriptors cannot wait; they are sent when nothing else is under way, so there is room.
			 */
			free(p);
			if (sent < 0)
				log_warn("cannot answer procd: %s", strerror(-sent));
			return;
		}
	}
	*sh->outbox_end = p;
	sh->outbox_end = &p->next;
}

void control_send_error(struct shepherd *sh, uint64_t id, const struct err *e)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;

	r.id = id;
	r.code = e->code;
	if (e->code)
		r.text = (char *)(uintptr_t)err_text(e);
	control_send(sh, &r, NULL, 0);
}

static int read_spec(int fd, Godwit__Shepherd__Spec **ret, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > SPEC_MAX)
		return err_set(e, -EINVAL, "no specification of the job, or a huge one");
	bytes = xmalloc((size_t)st.st_size);
	n = pread(fd, bytes, (size_t)st.st_size, 0);
	if (n != st.st_size)
		return err_set(e, -EIO, "cannot read the specification of the job");
	*ret = godwit__shepherd__spec__unpack(NULL, (size_t)n, bytes);
	if (!*ret || !(*ret)->exec || !(*ret)->exec->n_argv) {
		if (*ret)
			godwit__shepherd__spec__free_unpacked(*ret, NULL);
		return err_set(e, -EINVAL, "the specification of the job is damaged");
	}
	return 0;
}

static void do_start(struct shepherd *sh, uint64_t id, int fd)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Shepherd__Started started = GODWIT__SHEPHERD__STARTED__INIT;
	Godwit__Shepherd__Spec *spec = NULL;
	struct err e = { 0 };
	int failed;

	if (sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EMPTY)
		failed = err_set(&e, -EINVAL, "there is a job already");
	else
		failed = read_spec(fd, &spec, &e);
	if (!failed)
		failed = leader_start(sh, spec->exec, &e);
	if (spec)
		godwit__shepherd__spec__free_unpacked(spec, NULL);
	if (failed) {
		control_send_error(sh, id, &e);
		return;
	}
	started.pid = sh->leader;
	r.id = id;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_STARTED;
	r.started = &started;
	control_send(sh, &r, &sh->leader_pidfd, 1);
}

static void do_blank(struct shepherd *sh, uint64_t id, const Godwit__Shepherd__Blank *b)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Shepherd__Blanked blanked = GODWIT__SHEPHERD__BLANKED__INIT;
	Godwit__Mover__Stream streams[STREAM_N], *list[STREAM_N];
	struct blank_ends ends = { .n = 0 };
	struct err e = { 0 };
	int failed;

	if (sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EMPTY)
		failed = err_set(&e, -EINVAL, "there is a job already");
	else
		failed = blank_make(sh, b, &ends, &e);
	if (failed) {
		control_send_error(sh, id, &e);
	} else {
		blanked.agent_socket = ends.agent_socket;
		blanked.n_streams = streams_describe(sh, streams);
		for (size_t i = 0; i < blanked.n_streams; i++)
			list[i] = &streams[i];
		blanked.streams = list;
		r.id = id;
		r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_BLANKED;
		r.blanked = &blanked;
		control_send(sh, &r, ends.fds, ends.n);
	}
	for (size_t i = 0; i < ends.n; i++)
		fd_close(&ends.fds[i]);
}

static void do_get_state(struct shepherd *sh, uint64_t id)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Shepherd__State state = GODWIT__SHEPHERD__STATE__INIT;
	Godwit__Mover__Stream streams[STREAM_N], *stream_list[STREAM_N];
	Godwit__Procd__StreamState states[STREAM_N], *state_list[STREAM_N];
	Godwit__Procd__Exited exited;

	state.phase = sh->phase;
	state.pid = sh->leader;
	state.attached = sh->attachment != 0;
	state.terminal = sh->terminal;
	state.log_bytes = sh->log_bytes;
	state.n_streams = streams_describe(sh, streams);
	state.n_states = streams_states(sh, states);
	for (size_t i = 0; i < STREAM_N; i++) {
		stream_list[i] = &streams[i];
		state_list[i] = &states[i];
	}
	state.streams = stream_list;
	state.states = state_list;
	if (sh->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED) {
		serve_fill_exited(sh, &exited);
		state.exited = &exited;
	}
	r.id = id;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_STATE;
	r.state = &state;
	control_send(sh, &r, &sh->leader_pidfd, sh->leader_pidfd >= 0);
}

static void do_spool_read(struct shepherd *sh, uint64_t id, const Godwit__Shepherd__SpoolRead *q)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Procd__Data data = GODWIT__PROCD__DATA__INIT;
	struct err e = { 0 };
	const struct spool *s;
	ssize_t n;

	if (q->stream >= STREAM_N || !sh->streams[q->stream].used) {
		(void)err_set(&e, -EINVAL, "no such stream");
		control_send_error(sh, id, &e);
		return;
	}
	s = &sh->streams[q->stream].spool;
	data.offset = MIN(MAX(q->offset, s->start), s->end);
	n = spool_read(s, data.offset, sh->buf, MIN(q->max ? q->max : DATA_MAX, 2 * DATA_MAX));
	if (n < 0) {
		(void)err_code(&e, (int)n, "cannot read a spool");
		control_send_error(sh, id, &e);
		return;
	}
	data.bytes.data = sh->buf;
	data.bytes.len = (size_t)n;
	r.id = id;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_DATA;
	r.data = &data;
	control_send(sh, &r, NULL, 0);
}

/* Takes the request over. */
static void dispatch(struct shepherd *sh, Godwit__Shepherd__Request *q, int fd)
{
	struct err e = { 0 };

	switch (q->op_case) {
	case GODWIT__SHEPHERD__REQUEST__OP_RELAY:
		serve_relay(sh, q);
		return;
	case GODWIT__SHEPHERD__REQUEST__OP_START:
		do_start(sh, q->id, fd);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_BLANK:
		do_blank(sh, q->id, q->blank);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_QUIESCE:
		if (move_quiesce(sh, &e) < 0)
			control_send_error(sh, q->id, &e);
		else
			move_reply_streams(sh, q->id);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_RESUME:
		move_resume(sh);
		control_send_error(sh, q->id, &e);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_IMPORT:
		if (!q->import->streams)
			(void)err_set(&e, -EINVAL, "no streams");
		else
			(void)move_import(sh, q->import->streams, &e);
		control_send_error(sh, q->id, &e);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_SPOOL_READ:
		do_spool_read(sh, q->id, q->spool_read);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_SPOOL_WRITE:
		(void)move_spool_write(sh, q->spool_write, &e);
		control_send_error(sh, q->id, &e);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_GET_STATE:
		do_get_state(sh, q->id);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_ADOPT:
		(void)leader_adopt(sh, q->adopt, &e);
		control_send_error(sh, q->id, &e);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_ENDED:
		if (q->ended->exited)
			leader_ended(sh, q->ended->exited);
		control_send_error(sh, q->id, &e);
		break;
	case GODWIT__SHEPHERD__REQUEST__OP_BYE:
		_exit(0); /* the kernel kills whatever is left in the namespace */
	default:
		(void)err_set(&e, -ENOSYS, "unknown request");
		control_send_error(sh, q->id, &e);
	}
	godwit__shepherd__request__free_unpacked(q, NULL);
}

void control_read(struct shepherd *sh)
{
	for (;;) {
		_cleanup_fd_ int fd = -EBADF;
		Godwit__Shepherd__Request *q;
		size_t n_fds = 0;
		ssize_t n;

		if (sh->conn < 0)
			return;
		n = fd_msg_recv(sh->conn, sh->buf, sizeof sh->buf, &fd, 1, &n_fds);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			control_close(sh);
			return;
		}
		q = godwit__shepherd__request__unpack(NULL, (size_t)n, sh->buf);
		if (!q || (q->op_case == GODWIT__SHEPHERD__REQUEST__OP_RELAY && !q->relay)) {
			log_error("procd sent something damaged");
			control_close(sh);
			return;
		}
		dispatch(sh, q, fd);
	}
}
