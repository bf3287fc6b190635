/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/movers.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define MOVER_CONTROL_FD 3
#define GO_WITHIN_MS 5000

struct mover {
	uv_process_t process;
	struct chan *chan;
	const struct mover_ops *ops;
	void *arg;
	bool exited, ended, waiting;
	uv_timer_t patience; /* if waiting: how long it may take to go by itself */
};

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_closed(uv_handle_t *handle)
{
	struct mover *m = handle->data;

	if (m->waiting)
		uv_close((uv_handle_t *)&m->patience, on_timer_closed);
	else
		free(m);
}

static void free_when_over(struct mover *m)
{
	if (m->exited && m->ended && !uv_is_closing((uv_handle_t *)&m->process))
		uv_close((uv_handle_t *)&m->process, on_closed);
}

static void on_ended(uv_process_t *process, int64_t status, int number)
{
	struct mover *m = process->data;

	if (number)
		log_warn("mover %d was killed by signal %d", process->pid, number);
	else if (status)
		log_debug("mover %d ended with status %d", process->pid, (int)status);
	m->exited = true;
	free_when_over(m);
}

static void on_packet(void *arg, const void *bytes, size_t len, int *fds, size_t n_fds)
{
	mover_message *msg = godwit__mover__mover_message__unpack(NULL, len, bytes);
	struct mover *m = arg;

	(void)fds;
	(void)n_fds;
	if (!msg) {
		log_error("a mover sent something damaged");
		mover_kill(m);
		return;
	}
	m->ops->message(m->arg, msg);
	godwit__mover__mover_message__free_unpacked(msg, NULL);
}

static void on_gone(void *arg, int reason)
{
	struct mover *m = arg;

	(void)reason;
	m->ops->gone(m->arg);
}

static const struct chan_ops chan_ops = { .packet = on_packet, .gone = on_gone };

/* It becomes the user itself, so that the user cannot get at it: mover/main.c. */
static int spawn(struct procd *p, struct mover *m, const char *side, uid_t uid, gid_t gid, int control,
		 struct err *e)
{
	_cleanup_free_ char *program = xasprintf("%s/mover", p->programs);
	_cleanup_free_ char *user = xasprintf("%u", uid), *group = xasprintf("%u", gid);
	char *argv[] = { (char *)(uintptr_t) "mover", (char *)(uintptr_t)side, uid ? user : NULL, group, NULL };
	uv_stdio_container_t stdio[MOVER_CONTROL_FD + 1] = {
		{ .flags = UV_IGNORE },
		{ .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
		{ .flags = UV_INHERIT_FD, .data.fd = control },
	};
	uv_process_options_t o = { .exit_cb = on_ended,
				   .file = program,
				   .args = argv,
				   .stdio = stdio,
				   .stdio_count = MOVER_CONTROL_FD + 1 };
	int r;

	r = uv_spawn(p->loop, &m->process, &o);
	m->process.data = m;
	return r < 0 ? err_code(e, r, "cannot start %s", program) : 0;
}

int mover_start_as(struct procd *p, const char *side, uid_t uid, gid_t gid, const struct mover_ops *ops, void *arg,
		   struct mover **ret, struct err *e)
{
	struct mover *m = xcalloc(1, sizeof *m);
	int pair[2], r;

	m->ops = ops;
	m->arg = arg;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(m);
		return err_errno(e, "cannot make a socket pair");
	}
	r = spawn(p, m, side, uid, gid, pair[1], e);
	(void)close(pair[1]);
	if (r < 0) {
		(void)close(pair[0]);
		m->exited = true;
		m->ended = true;
		free_when_over(m);
		return r;
	}
	m->chan = chan_new(p->loop, pair[0], &chan_ops, m);
	*ret = m;
	return 0;
}

int mover_start(struct procd *p, const char *side, const struct mover_ops *ops, void *arg, struct mover **ret,
		struct err *e)
{
	return mover_start_as(p, side, 0, 0, ops, arg, ret, e);
}

int mover_say(struct mover *m, Godwit__Mover__MoverMessage__KindCase kind, void *body, const int *fds,
	      size_t n_fds)
{
	mover_message msg = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int r;

	if (!m)
		return -EPIPE;
	msg.kind_case = kind;
	msg.check_source = body; /* all members of the union are pointers to messages */
	len = godwit__mover__mover_message__get_packed_size(&msg);
	bytes = xmalloc(len);
	(void)godwit__mover__mover_message__pack(&msg, bytes);
	r = chan_send(m->chan, bytes, len, fds, n_fds);
	/* It died a moment ago. What it said last is still to be read and names the cause; then comes `gone`. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

void mover_kill(struct mover *m)
{
	if (m && !m->exited)
		(void)uv_process_kill(&m->process, SIGKILL);
}

static void on_patience_over(uv_timer_t *timer)
{
	log_warn("a mover does not go by itself");
	mover_kill(timer->data);
}

void mover_end(struct mover *m)
{
	if (!m || m->ended)
		return;
	m->ended = true;
	chan_close(m->chan);
	m->chan = NULL;
	if (!m->exited) {
		m->waiting = true;
		(void)uv_timer_init(m->process.loop, &m->patience);
		m->patience.data = m;
		(void)uv_timer_start(&m->patience, on_patience_over, GO_WITHIN_MS, 0);
	}
	free_when_over(m);
}
