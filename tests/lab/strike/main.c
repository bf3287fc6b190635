/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "strike.h"

static const char *const stages[STAGES] = { "before", "check",	"prepare", "stun", "move",
					    "ready",  "commit", "delete",  "after" };

int stage_number(const char *name)
{
	for (int i = 0; i < STAGES; i++)
		if (!strcmp(stages[i], name))
			return i;
	return -1;
}

void bad(struct strike *s, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	s->bad++;
	printf("BAD %s %s k=%ld stage %s (h%d to h%d): %s\n", s->program, s->at_source ? "source" : "destination",
	       s->k, s->stage, s->from, s->to, text);
	(void)fflush(stdout);
}

/* The cgroup of the lab as this machine sees it. */
static bool find_cgroup(struct strike *s)
{
	static const char *const roots[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		(void)snprintf(s->cgroup, sizeof s->cgroup, "%s/godwit-lab-%s", roots[i], s->prefix);
		if (access(s->cgroup, F_OK) == 0)
			return true;
	}
	fprintf(stderr, "strike: there is no lab '%s'\n", s->prefix);
	return false;
}

static bool set_up(struct strike *s)
{
	_cleanup_free_ char *path = NULL;
	ssize_t n = readlink("/proc/self/exe", s->godwit, sizeof s->godwit - 16);
	char *cut = NULL;
	sigset_t chld;

	if (n > 0) {
		s->godwit[n] = '\0';
		cut = strstr(s->godwit, "/tests/lab/tools/");
	}
	if (!cut || !find_cgroup(s))
		return false;
	(void)strcpy(cut, "/bin/godwit");
	(void)snprintf(s->lab_dir, sizeof s->lab_dir, "/run/godwit-lab/%.30s", s->prefix);
	(void)snprintf(s->work, sizeof s->work, "/tmp/strike.XXXXXX");
	if (!mkdtemp(s->work))
		return false;
	path = xasprintf("%s/instants", s->work);
	s->log = fopen(path, "we");
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	return s->log != NULL;
}

/* One migration, disturbed at s->k. False: there is no point in going on. */
static bool attempt(struct strike *s)
{
	s->from = s->at;
	s->to = HOSTS + 1 - s->at;
	if (!trace_migration(s))
		return false;
	if (!s->struck && s->client_status) {
		_cleanup_free_ char *why = act_output(s, "migrate.err");

		bad(s, "a move that nobody disturbed fails: %.300s", why);
	} else if (!s->struck) {
		s->lived++;
		(void)snprintf(s->stage, sizeof s->stage, "after");
	}
	judge(s);
	if (!s->at)
		return false;
	return s->front || act_new_job(s, s->at);
}

static void sweep(struct strike *s)
{
	uint64_t until = s->limit_s ? now_us() + s->limit_s * 1000000ull : UINT64_MAX;

	for (s->k = s->first; s->lived < LIVED_MAX && (s->last < 0 || s->k <= s->last); s->k += s->stride) {
		if (now_us() > until) {
			printf("time is up before k=%ld\n", s->k);
			return;
		}
		if (s->bad > 20 || !attempt(s)) {
			printf("given up at k=%ld\n", s->k);
			return;
		}
	}
}

static void report(const struct strike *s)
{
	const char *side = s->at_source ? "source" : "destination";

	for (int i = 0; i < STAGES; i++)
		if (s->by_stage[i])
			printf("total %s %s %s %s %ld\n", s->program, side, s->hang ? "STOP" : "KILL", stages[i],
			       s->by_stage[i]);
	printf("%s of the %s %s: %ld instants, %ld bad", s->program, side, s->hang ? "stands still" : "dies",
	       s->instants, s->bad);
	if (s->none)
		printf(", %ld times the only copy died", s->none);
	for (int i = 0; i < STAGES; i++)
		if (s->by_stage[i])
			printf(", %s %ld", stages[i], s->by_stage[i]);
	printf("\n");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: strike PREFIX procd|flipd|shepherd|mover source|destination KILL|STOP FIRST STRIDE LAST "
		"SECONDS COMMAND...\n"
		"LAST -1: until migrations end before their k-th call. SECONDS 0: however long it takes.\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct strike s;

	if (argc < 10)
		return usage();
	s.prefix = argv[1];
	s.program = argv[2];
	s.at_source = !strcmp(argv[3], "source");
	s.hang = !strcmp(argv[4], "STOP");
	s.first = atol(argv[5]);
	s.stride = atol(argv[6]);
	s.last = atol(argv[7]);
	s.limit_s = (unsigned)atoi(argv[8]);
	s.command = argv + 9;
	(void)snprintf(s.stage, sizeof s.stage, "before");
	if (s.stride < 1 || !set_up(&s))
		return usage();
	for (int h = 1; h <= HOSTS; h++)
		act_restart(&s, h, "procd"); /* with a log that tells stages */
	if (act_new_job(&s, 1) && act_baseline(&s)) {
		sweep(&s);
		act_end_job(&s);
	}
	report(&s);
	return s.bad || !s.instants;
}
