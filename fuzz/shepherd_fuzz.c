/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shepherd is told: requests of front-ends, which come from any user through procd, and streams that
 * another host exported. A script of packets; starting and ending programs is left out.
 */
#include <sys/socket.h>

#include "base/fd.h"
#include "fuzz.h"
#include "shepherd/shepherd.h"

static struct shepherd *sh;

int leader_start(struct shepherd *s, const Godwit__Procd__Exec *exec, struct err *e)
{
	(void)s;
	(void)exec;
	return err_set(e, -ENOSYS, "not here");
}

int leader_reap(struct shepherd *s)
{
	(void)s;
	return 0;
}

void leader_drop_privileges(struct shepherd *s, uid_t uid, gid_t gid)
{
	(void)s;
	(void)uid;
	(void)gid;
}

int blank_make(struct shepherd *s, const Godwit__Shepherd__Blank *b, struct blank_ends *ret, struct err *e)
{
	(void)s;
	(void)b;
	(void)ret;
	return err_set(e, -ENOSYS, "not here");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static int start(bool terminal, int ends[STREAM_N])
{
	Godwit__Procd__Terminal t = GODWIT__PROCD__TERMINAL__INIT;
	struct err e = { 0 };
	int fds[2];

	sh = xcalloc(1, sizeof *sh);
	sh->listener = sh->conn = sh->signals = sh->cgroup = sh->slave = sh->leader_pidfd = -EBADF;
	for (unsigned i = 0; i < STREAM_N; i++)
		sh->streams[i] = (struct stream) { .fd = -EBADF, .tail = -EBADF, .spool.fd = -EBADF };
	sh->outbox_end = &sh->outbox;
	sh->now_us = 1000000;
	sh->log_bytes = 1 << 16;
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__RUNNING;
	sh->terminal = terminal;
	ends[0] = ends[1] = ends[2] = -EBADF;
	if (terminal ? streams_open_pty(sh, getuid(), &t, &ends[0], &e)
		     : streams_open_pipes(sh, getuid(), getgid(), ends, &e)) {
		(void)fprintf(stderr, "%s\n", err_text(&e));
		abort();
	}
	for (unsigned i = 0; i < STREAM_N; i++)
		if (ends[i] >= 0 && fd_set_nonblock(ends[i], 1) < 0)
			abort();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	sh->conn = fds[0];
	return fds[1];
}

static void stop(int peer, int ends[STREAM_N])
{
	serve_drop_held(sh);
	control_close(sh);
	for (unsigned i = 0; i < STREAM_N; i++) {
		struct stream *s = &sh->streams[i];

		if (i == 0 || !sh->terminal)
			fd_close(&s->fd);
		fd_close(&s->tail);
		if (s->used)
			spool_close(&s->spool);
		fd_close(&ends[i]);
	}
	fd_close(&sh->slave);
	tty_taken_free(&sh->taken);
	free(sh);
	(void)close(peer);
}

static bool is_harmful(const uint8_t *data, size_t len)
{
	Godwit__Shepherd__Request *q = godwit__shepherd__request__unpack(NULL, len, data);
	bool bye = q && q->op_case == GODWIT__SHEPHERD__REQUEST__OP_BYE;

	if (q)
		godwit__shepherd__request__free_unpacked(q, NULL);
	return bye; /* it would end us */
}

static void drain(int peer)
{
	uint8_t buf[4096];
	ssize_t n;

	while ((n = recv(peer, buf, sizeof buf, MSG_DONTWAIT | MSG_TRUNC)) > 0)
		;
}

/* What the job reads. */
static void drain_input(int end)
{
	uint8_t buf[1000];

	(void)!read(end, buf, sizeof buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	int ends[STREAM_N], peer = start(fuzz_get(&in, 1) & 1, ends);

	for (unsigned i = 0; in.left && i < 64; i++) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);
		size_t len;
		const uint8_t *bytes = fuzz_bytes(&in, 8192, &len);

		sh->now_us += (uint64_t)1 << op % 28;
		if (op & 0x20)
			drain_input(ends[0]);
		if (op & 0x80 && !sh->terminal)
			(void)!write(ends[op & 0x40 ? 1 : 2], bytes, MIN(len, (size_t)4096));
		else if (op & 0x80)
			(void)!write(ends[0], bytes, MIN(len, (size_t)4096));
		else if (len && !is_harmful(bytes, len))
			(void)send(peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		control_read(sh);
		(void)streams_pump(sh);
		streams_trim(sh);
		serve_retry(sh);
		control_flush(sh);
		drain(peer);
		if (sh->conn < 0)
			break;
	}
	stop(peer, ends);
	return 0;
}
