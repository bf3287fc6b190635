/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dieat source|destination, in the place of a mover: runs the mover under ptrace and kills it just before its k-th
 * system call, counted from the first message that it got.
 *
 * The file $DIEAT_STATE holds "K STRIDE SIDE KILL|STOP". In attempts that are to be disturbed (GODWIT_DIE_AT is
 * set) that side's mover dies before its K-th call, and the file then says K + STRIDE; once a mover has outlived
 * its K it says -1. STOP: it is stopped instead, for ever as far as anyone can tell, and killed after HANG_MS.
 *
 * Before that, and in every attempt of a source's mover, the job is looked at as soon as its pid is known: what
 * was seen before a disturbed attempt must be seen again after it. $DIEAT_LOG gets a line for each death ("K SIDE
 * STAGE CALL died"), and "BAD why" for each trace that was left.
 *
 * A tracer may itself be traced; a mover that dies in the stop at the entry of a call has not made that call.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "job_look.h"
#include "mover_watch.h"

#define HANG_MS 3000

struct dieat {
	struct watched w;
	const char *state_path, *log_path;
	bool attempt;	/* this attempt is to be disturbed, on whichever side */
	bool disturbed; /* on this one */
	bool stop;
	long k, stride;
	long count;
	bool counting, looked;
};

static void __attribute__((format(printf, 2, 3))) note(const struct dieat *d, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, fd = open(d->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	n = MIN(n, (int)sizeof line - 2);
	line[n] = '\n';
	if (fd < 0 || write(fd, line, (size_t)n + 1) < 0)
		give_up(d->log_path);
	(void)close(fd);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) < 0)
		give_up(path);
	(void)close(fd);
}

static void look_at(struct dieat *d, pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("%s.seen", d->state_path);
	_cleanup_free_ char *trace = job_look_again(path, pid, d->attempt);

	d->looked = true;
	if (trace)
		note(d, "BAD after the death before %ld: %s", d->k - d->stride, trace);
}

static void see_exit(struct dieat *d, const struct user_regs_struct *r)
{
	Godwit__Mover__MoverMessage *msg = watch_received(&d->w, r);

	if (!msg)
		return;
	d->counting = true;
	if ((int)msg->kind_case == KIND(CHECK_SOURCE) && !d->looked)
		look_at(d, (pid_t)msg->check_source->leader);
	godwit__mover__mover_message__free_unpacked(msg, NULL);
}

/* --- the tracer --- */

static void keep_state(const struct dieat *d, long k)
{
	_cleanup_free_ char *text =
		xasprintf("%ld %ld %s %s\n", k, d->stride, d->w.side, d->stop ? "STOP" : "KILL");

	write_text(d->state_path, text);
}

static void die_now(struct dieat *d, long nr)
{
	note(d, "%ld %s %s call %ld died", d->k, d->w.side, d->w.stage, nr);
	keep_state(d, d->k + d->stride);
	if (d->stop)
		(void)usleep(HANG_MS * 1000);
	(void)kill(d->w.pid, SIGKILL);
}

static void at_call(struct dieat *d)
{
	struct __ptrace_syscall_info info;
	struct user_regs_struct r;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, d->w.pid, sizeof info, &info) < 0 ||
	    ptrace(PTRACE_GETREGS, d->w.pid, 0, &r) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		see_exit(d, &r);
		return;
	}
	watch_entry(&d->w, &r);
	if (d->counting && d->count++ == d->k && d->disturbed)
		die_now(d, (long)r.orig_rax);
}

static int run_traced(struct dieat *d)
{
	int status;

	for (;;) {
		int sig = 0;

		if (waitpid(d->w.pid, &status, __WALL) < 0)
			give_up("waitpid");
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			at_call(d);
		else if (!(status >> 16))
			sig = WSTOPSIG(status);
		if (d->looked && !d->disturbed) {
			(void)ptrace(PTRACE_DETACH, d->w.pid, 0, sig);
			(void)waitpid(d->w.pid, &status, 0);
			break;
		}
		(void)ptrace(PTRACE_SYSCALL, d->w.pid, 0, sig);
	}
	if (d->disturbed && d->count <= d->k && strcmp(d->w.stage, "delete") != 0) {
		note(d, "%ld %s %s failed by itself", d->k, d->w.side, d->w.stage);
	} else if (d->disturbed && d->count <= d->k) {
		note(d, "%ld %s end %ld calls lived", d->k, d->w.side, d->count);
		keep_state(d, -1);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

int main(int argc, char **argv)
{
	static struct dieat d = { .w.stage = "start", .k = -1 };
	_cleanup_free_ char *text = NULL, *mover = NULL;
	char side[16] = "", how[8] = "";

	d.state_path = getenv("DIEAT_STATE");
	d.log_path = getenv("DIEAT_LOG");
	if (argc != 2 || !d.state_path || !d.log_path) {
		fprintf(stderr, "usage: DIEAT_STATE=FILE DIEAT_LOG=FILE dieat source|destination\n");
		return 2;
	}
	d.w.side = argv[1];
	mover = watch_find_mover();
	if (fd_slurp(-1, d.state_path, 4096, &text) < 0 ||
	    sscanf(text, "%ld %ld %15s %7s", &d.k, &d.stride, side, how) != 4)
		give_up(d.state_path);
	d.stop = !strcmp(how, "STOP");
	d.attempt = getenv("GODWIT_DIE_AT") != NULL;
	d.disturbed = d.attempt && d.k >= 0 && !strcmp(side, d.w.side);
	(void)unsetenv("GODWIT_DIE_AT");
	if (!d.disturbed && strcmp(d.w.side, "source") != 0) {
		(void)execl(mover, "mover", d.w.side, NULL);
		give_up(mover);
	}
	watch_start(&d.w, mover);
	return run_traced(&d);
}
