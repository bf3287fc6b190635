/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

enum { POLL_SIGNALS, POLL_LISTENER, POLL_CONN, POLL_STREAMS, POLL_N = POLL_STREAMS + (int)STREAM_N };

static int set_up(struct shepherd *sh)
{
	sigset_t chld;

	sh->listener = SHEPHERD_LISTEN_FD;
	sh->cgroup = SHEPHERD_CGROUP_FD;
	sh->conn = -EBADF;
	sh->slave = -EBADF;
	sh->leader_pidfd = -EBADF;
	sh->outbox_end = &sh->outbox;
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__EMPTY;
	for (unsigned i = 0; i < STREAM_N; i++) {
		sh->streams[i].fd = -EBADF;
		sh->streams[i].tail = -EBADF;
		sh->streams[i].spool.fd = -EBADF;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &chld, NULL);
	sh->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	return sh->signals < 0 ? -errno : 0;
}

static void report_exit(struct shepherd *sh)
{
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Procd__Exited exited;

	serve_fill_exited(sh, &exited);
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_EXITED;
	r.exited = &exited;
	control_send(sh, &r, NULL, 0);
}

static int timeout_ms(const struct shepherd *sh)
{
	int64_t us = serve_next_due_us(sh);

	return us < 0 ? -1 : (int)MIN((us + 999) / 1000, 60000);
}

static void fill(struct shepherd *sh, struct pollfd p[POLL_N])
{
	p[POLL_SIGNALS] = (struct pollfd) { .fd = sh->signals, .events = POLLIN };
	p[POLL_LISTENER] = (struct pollfd) { .fd = sh->listener, .events = POLLIN };
	p[POLL_CONN] = (struct pollfd) { .fd = sh->conn, .events = (short)(POLLIN | (sh->outbox ? POLLOUT : 0)) };
	for (unsigned i = 0; i < STREAM_N; i++) {
		short events = 0;

		if (sh->phase == GODWIT__SHEPHERD__STATE__PHASE__RUNNING ||
		    sh->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED)
			events = streams_events(sh, i);
		/* A stream that is of no interest now must not wake us with POLLHUP or POLLERR either. */
		p[POLL_STREAMS + (int)i] =
			(struct pollfd) { .fd = events ? sh->streams[i].fd : -1, .events = events };
	}
}

static void turn(struct shepherd *sh)
{
	struct pollfd p[POLL_N];
	struct signalfd_siginfo drop;

	fill(sh, p);
	if (poll(p, POLL_N, timeout_ms(sh)) < 0)
		return;
	sh->now_us = now_us();
	if (p[POLL_LISTENER].revents)
		control_accept(sh);
	if (p[POLL_CONN].revents & POLLOUT)
		control_flush(sh);
	if (p[POLL_CONN].revents)
		control_read(sh);
	while (streams_pump(sh))
		;
	/* After the pump: what the leader wrote last is in the spools before its end is told. */
	if (p[POLL_SIGNALS].revents) {
		(void)!read(sh->signals, &drop, sizeof drop);
		if (leader_reap(sh))
			report_exit(sh);
	}
	serve_retry(sh);
}

int main(void)
{
	static struct shepherd shepherd; /* 200 KiB: not for the stack */
	struct shepherd *sh = &shepherd;
	int r;

	log_open("shepherd");
	r = set_up(sh);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	if (getpid() != 1) {
		log_error("only procd can start a shepherd, as PID 1 of a job's container");
		return 2;
	}
	for (;;)
		turn(sh);
}
