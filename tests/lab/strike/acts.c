/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "strike.h"

#define ARGS_MAX 32

pid_t act_start(struct strike *s, int host, const char *name, char *const argv[])
{
	_cleanup_free_ char *out = xasprintf("%s/%s", s->work, name), *err = xasprintf("%s/%s.err", s->work, name);
	char where[16];
	const char *args[ARGS_MAX] = { s->godwit, "lab", "--prefix", s->prefix, "exec", where, "--" };
	/* Here and not in the child: nobody must see what an earlier command wrote. */
	_cleanup_fd_ int to = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
			 to_err = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	sigset_t none;
	pid_t pid;

	(void)snprintf(where, sizeof where, "h%d", host);
	for (size_t i = 0, n = 7; argv[i] && n < ARGS_MAX - 1; i++)
		args[n++] = argv[i];
	pid = fork();
	if (pid)
		return pid;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0) < 0 || dup2(to, 1) < 0 || dup2(to_err, 2) < 0)
		_exit(126);
	(void)execv(s->godwit, (char *const *)(uintptr_t)args);
	_exit(127);
}

int act_run(struct strike *s, int host, const char *name, char *const argv[])
{
	pid_t pid = act_start(s, host, name, argv);
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *act_output(const struct strike *s, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", s->work, name);
	char *text = NULL;

	return fd_slurp(-1, path, 1 << 20, &text) < 0 ? xstrdup("") : text;
}

/* As `godwit lab restart` does, without waiting until all are ready: that is for the system itself to bear. */
void act_restart(struct strike *s, int host, const char *daemon)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	_cleanup_free_ char *line =
		xasprintf("restart %s%s", daemon, strcmp(daemon, "procd") ? "" : "\nGODWIT_LOG=debug");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char reply[256] = "";

	(void)snprintf(a.sun_path, sizeof a.sun_path, "%.60s/h%d/control", s->lab_dir, host);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
	    send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || recv(fd, reply, sizeof reply - 1, 0) <= 0 ||
	    strcmp(reply, "ok") != 0)
		bad(s, "%s of h%d cannot be started again: %s", daemon, host, *reply ? reply : strerror(errno));
}

static void *text(const char *t)
{
	return (void *)(uintptr_t)t;
}

pid_t act_migrate(struct strike *s, int to)
{
	char where[16],
		*argv[] = { text("timeout"), text("80"), text("godwit"), text("migrate"), s->job, where, NULL };

	(void)snprintf(where, sizeof where, "h%d", to);
	return act_start(s, 3, "migrate", argv);
}

static bool wait_for_lines(struct strike *s, long n, unsigned seconds)
{
	uint64_t until = now_us() + seconds * 1000000ull;

	while (s->next_line < n) {
		if (!view_output(s) || now_us() > until)
			return false;
		(void)usleep(3000);
	}
	return true;
}

/* What is there once it stays the same for a while. */
static char *stable_view(struct strike *s, int host, char *(*view)(const struct strike *s, int host))
{
	char *now = view(s, host);

	for (unsigned i = 0, same = 0; i < 200 && same < 10; i++) {
		char *next;

		(void)usleep(20000);
		next = view(s, host);
		same = strcmp(now, next) ? 0 : same + 1;
		free(now);
		now = next;
	}
	return now;
}

bool act_new_job(struct strike *s, int host)
{
	char where[16], *argv[ARGS_MAX] = { text("godwit"), text("run"), text("--name"), s->job,
					    text("--host"), where,	 text("--") };

	(void)snprintf(s->job, sizeof s->job, "struck-%u", ++s->lives);
	(void)snprintf(where, sizeof where, "h%d", host);
	for (size_t i = 0; s->command[i] && i + 8 < ARGS_MAX; i++)
		argv[7 + i] = s->command[i];
	s->next_line = s->have_offset = 0;
	*s->half = '\0';
	s->front = act_start(s, 3, "have", argv);
	s->at = host;
	if (!wait_for_lines(s, 3, 30)) {
		_cleanup_free_ char *why = act_output(s, "have.err");

		bad(s, "job %s does not start: %.200s", s->job, why);
		return false;
	}
	free(s->look);
	s->look = stable_view(s, host, view_job);
	return true;
}

void act_end_job(struct strike *s)
{
	char *argv[] = { text("timeout"), text("20"), text("godwit"), text("kill"), s->job, NULL };
	int status;

	if (!s->front)
		return;
	if (act_run(s, 3, "kill", argv) != 0)
		bad(s, "job %s cannot be ended", s->job);
	for (unsigned i = 0; i < 2000 && waitpid(s->front, &status, WNOHANG) == 0; i++)
		(void)usleep(10000);
	if (waitpid(s->front, &status, WNOHANG) == 0) {
		bad(s, "the front-end of %s does not end", s->job);
		(void)kill(s->front, SIGKILL);
		(void)waitpid(s->front, &status, 0);
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		bad(s, "job %s does not end with status 0", s->job);
	}
	s->front = 0;
	if (!view_output(s))
		bad(s, "the output of %s is not intact at line %ld", s->job, s->next_line);
}

bool act_baseline(struct strike *s)
{
	int status;

	for (int i = 0; i < 4; i++) {
		int other = HOSTS + 1 - s->at;
		pid_t pid;

		free(s->with[s->at]);
		free(s->without[other]);
		s->with[s->at] = stable_view(s, s->at, view_host);
		s->without[other] = stable_view(s, other, view_host);
		s->addresses_with[s->at] = judge_addresses(s, s->at);
		s->addresses_without[other] = judge_addresses(s, other);
		pid = act_migrate(s, other);
		if (waitpid(pid, &status, 0) != pid || status) {
			_cleanup_free_ char *why = act_output(s, "migrate.err");

			bad(s, "an undisturbed move fails: %.200s", why);
			return false;
		}
		s->at = other;
	}
	free(s->look);
	s->look = stable_view(s, s->at, view_job);
	return true;
}
