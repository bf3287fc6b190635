/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failat source|destination, in the place of a mover: runs the mover under ptrace and lets its k-th system call
 * that can fail with a certain errno fail with it, counted from the first message that it got.
 *
 * The file $FAILAT_STATE holds "K STRIDE SIDE ERRNO CALLS|ACTIONS" (ERRNO: ENOSPC, ...). In attempts that are to
 * be disturbed (GODWIT_DIE_AT is set) a call of that side's mover fails, and the file then says K + STRIDE; once a
 * mover has outlived its K it says -1. ACTIONS: calls that the mover makes inside the job's process fail instead,
 * by GODWIT_FAIL_AT.
 *
 * As with dieat the job is looked at before a disturbed attempt and after it. $FAILAT_LOG gets lines "K SIDE STAGE
 * ERRNO CALL failed" and, if the mover then gave up, "K said TEXT" or, if it went without a word, "K died"; and
 * "BAD why" for a trace that was left.
 *
 * failat PID K ERRNO: lets one call of a program that runs already fail, its K-th from now on that can, says which
 * and leaves it alone; what it says first is "attached". Nothing happens to that program if it ends earlier.
 *
 * A call that is to fail is not made: at its entry its number is taken away, at its exit its result is set.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "job_look.h"
#include "mover_watch.h"

#define PAGEMAP_SCAN_REQUEST 0xc0606610 /* of <linux/fs.h>, Linux 6.7 */

enum errno_bit { NOSPC = 1, NOMEM = 2, MFILE = 4, IO = 8, FILE_ONLY = 16, CREATES = 32 };

/* What can fail how. FILE_ONLY: only on a file of a file system; CREATES: no space only if it creates. */
static const struct {
	long nr;
	unsigned how;
} calls[] = {
	{ SYS_mmap, NOMEM },
	{ SYS_brk, NOMEM },
	{ SYS_mremap, NOMEM },
	{ SYS_mprotect, NOMEM },
	{ SYS_openat, NOMEM | MFILE | NOSPC | CREATES },
	{ SYS_open, NOMEM | MFILE | NOSPC | CREATES },
	{ SYS_openat2, NOMEM | MFILE | NOSPC | CREATES },
	{ SYS_memfd_create, NOMEM | MFILE },
	{ SYS_socket, NOMEM | MFILE },
	{ SYS_socketpair, NOMEM | MFILE },
	{ SYS_accept, NOMEM | MFILE },
	{ SYS_accept4, NOMEM | MFILE },
	{ SYS_pipe2, NOMEM | MFILE },
	{ SYS_dup, MFILE },
	{ SYS_pidfd_open, NOMEM | MFILE },
	{ SYS_pidfd_getfd, NOMEM | MFILE },
	{ SYS_eventfd2, NOMEM | MFILE },
	{ SYS_epoll_create1, NOMEM | MFILE },
	{ SYS_signalfd4, NOMEM | MFILE },
	{ SYS_timerfd_create, NOMEM | MFILE },
	{ SYS_clone, NOMEM },
	{ SYS_clone3, NOMEM },
	{ SYS_mkdir, NOMEM | NOSPC },
	{ SYS_mkdirat, NOMEM | NOSPC },
	{ SYS_symlinkat, NOMEM | NOSPC },
	{ SYS_linkat, NOMEM | NOSPC },
	{ SYS_rename, NOMEM | NOSPC },
	{ SYS_mount, NOMEM },
	{ SYS_write, NOSPC | IO | FILE_ONLY },
	{ SYS_pwrite64, NOSPC | IO | FILE_ONLY },
	{ SYS_writev, NOSPC | IO | FILE_ONLY },
	{ SYS_read, IO | FILE_ONLY },
	{ SYS_pread64, IO | FILE_ONLY },
	{ SYS_ftruncate, NOSPC | IO },
	{ SYS_fallocate, NOSPC | IO },
	{ SYS_fsync, NOSPC | IO },
	{ SYS_fdatasync, NOSPC | IO },
	{ SYS_copy_file_range, NOSPC | IO | NOMEM },
	{ SYS_sendfile, NOMEM | IO },
	{ SYS_splice, NOMEM },
	{ SYS_vmsplice, NOMEM },
	{ SYS_process_vm_readv, NOMEM },
	{ SYS_process_vm_writev, NOMEM },
	{ SYS_ioctl, NOMEM },
	{ SYS_kcmp, NOMEM },
};

struct failat {
	struct watched w;
	const char *state_path, *log_path;
	char errno_name[16];
	int code;
	unsigned bit;
	bool attempt, disturbed, actions;
	long k, stride, count;
	bool counting, looked, failed, said, failing;
};

static const struct {
	const char *name;
	int code;
	unsigned bit;
} errnos[] = {
	{ "ENOSPC", ENOSPC, NOSPC }, { "ENOMEM", ENOMEM, NOMEM }, { "EMFILE", EMFILE, MFILE }, { "EIO", EIO, IO }
};

static void __attribute__((format(printf, 2, 3))) note(const struct failat *f, const char *fmt, ...)
{
	FILE *log = fopen(f->log_path, "ae");
	va_list ap;

	if (!log)
		give_up(f->log_path);
	va_start(ap, fmt);
	(void)vfprintf(log, fmt, ap);
	va_end(ap);
	(void)fputc('\n', log);
	(void)fclose(log);
}

static void keep_state(const struct failat *f, long k)
{
	FILE *file = fopen(f->state_path, "we");

	if (!file)
		give_up(f->state_path);
	fprintf(file, "%ld %ld %s %s %s\n", k, f->stride, f->w.side, f->errno_name,
		f->actions ? "ACTIONS" : "CALLS");
	(void)fclose(file);
}

static void look_at(struct failat *f, pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("%s.seen", f->state_path);
	_cleanup_free_ char *trace = job_look_again(path, pid, f->attempt);

	f->looked = true;
	if (trace)
		note(f, "BAD after the failure before %ld: %s", f->k, trace);
}

static void failed_at(struct failat *f, const char *what)
{
	f->failed = true;
	if (!f->log_path) {
		printf("%s failed\n", what);
		return;
	}
	note(f, "%ld %s %s %s %s failed", f->k, f->w.side, f->w.stage, f->errno_name, what);
	keep_state(f, f->k + f->stride);
}

/* --- which calls --- */

static bool is_file(pid_t pid, uint64_t fd)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, (int)fd);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool can_fail(const struct failat *f, const struct user_regs_struct *r)
{
	unsigned how = 0;
	uint64_t flags = r->orig_rax == SYS_open ? r->rsi : r->rdx;

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i].nr == (long)r->orig_rax)
			how = calls[i].how;
	if (!(how & f->bit) || (r->orig_rax == SYS_ioctl && r->rsi != PAGEMAP_SCAN_REQUEST))
		return false;
	if (how & CREATES && f->bit == NOSPC && !(flags & O_CREAT))
		return false;
	return !(how & FILE_ONLY) || is_file(f->w.pid, r->rdi);
}

/* --- the tracer --- */

static void see_packet(struct failat *f, const struct user_regs_struct *r)
{
	Godwit__Mover__MoverMessage *msg;

	if (r->orig_rax != SYS_sendmsg || r->rdi != CONTROL_FD || !f->failed || f->said)
		return;
	msg = watch_packet(f->w.pid, r->rsi, 0);
	if (msg && msg->kind_case == KIND(FAILED)) {
		note(f, "%ld said %s", f->k, msg->failed->text);
		f->said = true;
	}
	if (msg)
		godwit__mover__mover_message__free_unpacked(msg, NULL);
}

/* What it logs when an action is made to fail. */
static void see_log(struct failat *f, const struct user_regs_struct *r)
{
	static const char word[] = "GODWIT_FAIL_AT: ";
	char line[256] = "", *at;

	if (!f->actions || f->failed || r->orig_rax != SYS_write || r->rdi != STDERR_FILENO)
		return;
	if (!peek(f->w.pid, r->rsi, line, MIN(r->rdx, sizeof line - 1)))
		return;
	at = strstr(line, word);
	if (!at)
		return;
	at[strcspn(at, "\n")] = '\0';
	failed_at(f, at + sizeof word - 1);
}

static void see_entry(struct failat *f, struct user_regs_struct *r)
{
	char what[32];

	watch_entry(&f->w, r);
	see_packet(f, r);
	see_log(f, r);
	if (f->actions || !f->disturbed || !f->counting || f->failed || !can_fail(f, r) || f->count++ != f->k)
		return;
	(void)snprintf(what, sizeof what, "call %ld", (long)r->orig_rax);
	f->failing = true;
	r->rax = r->orig_rax == SYS_brk ? 0 : (uint64_t)-f->code;
	failed_at(f, what);
	r->orig_rax = (uint64_t)-1;
	if (ptrace(PTRACE_SETREGS, f->w.pid, 0, r) < 0)
		give_up("PTRACE_SETREGS");
	if (r->rax == 0)
		f->code = 0; /* brk fails by not changing anything */
}

static void see_exit(struct failat *f, struct user_regs_struct *r)
{
	Godwit__Mover__MoverMessage *msg;

	if (f->failing) {
		f->failing = false;
		r->rax = (uint64_t)-f->code;
		(void)ptrace(PTRACE_SETREGS, f->w.pid, 0, r);
		return;
	}
	msg = watch_received(&f->w, r);
	if (!msg)
		return;
	f->counting = true;
	if ((int)msg->kind_case == KIND(CHECK_SOURCE) && !f->looked)
		look_at(f, (pid_t)msg->check_source->leader);
	godwit__mover__mover_message__free_unpacked(msg, NULL);
}

static void at_call(struct failat *f)
{
	struct __ptrace_syscall_info info;
	struct user_regs_struct r;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, f->w.pid, sizeof info, &info) < 0 ||
	    ptrace(PTRACE_GETREGS, f->w.pid, 0, &r) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		see_exit(f, &r);
	else
		see_entry(f, &r);
}

static int run_traced(struct failat *f)
{
	int status;

	for (;;) {
		int sig = 0;

		if (waitpid(f->w.pid, &status, __WALL) < 0)
			give_up("waitpid");
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			at_call(f);
		else if (!(status >> 16))
			sig = WSTOPSIG(status);
		if (f->looked && !f->disturbed) {
			(void)ptrace(PTRACE_DETACH, f->w.pid, 0, sig);
			(void)waitpid(f->w.pid, &status, 0);
			break;
		}
		(void)ptrace(PTRACE_SYSCALL, f->w.pid, 0, sig);
	}
	if (f->disturbed && f->failed && !f->said && (WIFSIGNALED(status) || WEXITSTATUS(status)))
		note(f, "%ld died", f->k);
	if (f->disturbed && !f->failed && !strcmp(f->w.stage, "delete")) {
		note(f, "%ld %s end lived", f->k, f->w.side);
		keep_state(f, -1);
	} else if (f->disturbed && !f->failed) {
		note(f, "BAD %ld %s %s: failed by itself", f->k, f->w.side, f->w.stage);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static void choose_errno(struct failat *f)
{
	for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
		if (strcmp(errnos[i].name, f->errno_name) != 0)
			continue;
		f->code = errnos[i].code;
		f->bit = errnos[i].bit;
	}
}

static void read_state(struct failat *f, char side[16])
{
	_cleanup_free_ char *text = NULL;
	char how[8] = "";

	if (fd_slurp(-1, f->state_path, 4096, &text) < 0 ||
	    sscanf(text, "%ld %ld %15s %15s %7s", &f->k, &f->stride, side, f->errno_name, how) != 5)
		give_up(f->state_path);
	choose_errno(f);
	f->actions = !strcmp(how, "ACTIONS");
}

static int run_attached(struct failat *f)
{
	int status;

	if (ptrace(PTRACE_SEIZE, f->w.pid, 0, PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, f->w.pid, 0, 0) < 0)
		give_up("PTRACE_SEIZE");
	for (bool told = false; !f->failed || f->failing; told = true) {
		int sig = 0;

		if (waitpid(f->w.pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
			return 1;
		if (!told) {
			puts("attached");
			(void)fflush(stdout);
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			at_call(f);
		else if (!(status >> 16))
			sig = WSTOPSIG(status);
		if (f->failed && !f->failing)
			break;
		(void)ptrace(PTRACE_SYSCALL, f->w.pid, 0, sig);
	}
	(void)ptrace(PTRACE_DETACH, f->w.pid, 0, 0);
	return 0;
}

static int attach(char **argv)
{
	static struct failat f = { .w = { .stage = "", .side = "" }, .disturbed = true, .counting = true };

	f.w.pid = atoi(argv[1]);
	f.k = atol(argv[2]);
	(void)snprintf(f.errno_name, sizeof f.errno_name, "%s", argv[3]);
	choose_errno(&f);
	if (!f.code || f.w.pid <= 0)
		return 2;
	return run_attached(&f);
}

int main(int argc, char **argv)
{
	static struct failat f = { .w.stage = "start", .k = -1 };
	_cleanup_free_ char *mover = watch_find_mover(), *at = NULL;
	char side[16] = "";

	if (argc == 4)
		return attach(argv);
	f.state_path = getenv("FAILAT_STATE");
	f.log_path = getenv("FAILAT_LOG");
	if (argc != 2 || !f.state_path || !f.log_path) {
		fprintf(stderr, "usage: FAILAT_STATE=FILE FAILAT_LOG=FILE failat source|destination\n"
				"       failat PID K ERRNO\n");
		return 2;
	}
	f.w.side = argv[1];
	read_state(&f, side);
	f.attempt = getenv("GODWIT_DIE_AT") != NULL;
	f.disturbed = f.attempt && f.k >= 0 && !strcmp(side, f.w.side);
	(void)unsetenv("GODWIT_DIE_AT");
	if (f.disturbed && f.actions) {
		at = xasprintf("%ld:%d", f.k, f.code);
		(void)setenv("GODWIT_FAIL_AT", at, 1);
	}
	if (!f.disturbed && strcmp(f.w.side, "source") != 0) {
		(void)execl(mover, "mover", f.w.side, NULL);
		give_up(mover);
	}
	watch_start(&f.w, mover);
	return run_traced(&f);
}
