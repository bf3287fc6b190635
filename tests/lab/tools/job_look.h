/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_TESTS_JOB_LOOK_H
#define GW_TESTS_JOB_LOOK_H

/* What a job looks like from outside, for tools that disturb movers and want to know whether that left a trace. */

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

#define AGENTS_BELOW 0x400000 /* the lowest hole is where agents go */

static inline void look_at_file(FILE *to, const char *dir, const char *name, const char *const *only)
{
	char path[PATH_MAX];
	_cleanup_free_ char *text = NULL;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	if (fd_slurp(-1, path, 4 << 20, &text) < 0)
		return;
	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool wanted = !only;

		for (size_t i = 0; only && only[i] && !wanted; i++)
			wanted = !strncmp(line, only[i], strlen(only[i]));
		if (wanted)
			fprintf(to, "%s: %s\n", name, line);
	}
}

/* A call that goes on in a page of ours has every right to; an agent has more of them. */
static inline bool is_one_page(const char *line)
{
	char *rest;
	unsigned long start = strtoul(line, &rest, 16);

	return strtoul(rest + 1, NULL, 16) - start == 4096;
}

/* DIEAT_BUSY: a job that maps memory itself meanwhile. DIEAT_LINGERS: one that is cut short in transfers. */
static inline void look_at_maps(FILE *to, pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/maps", pid);
	if (fd_slurp(-1, path, 4 << 20, &text) < 0)
		return;
	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strtoull(line, NULL, 16) < AGENTS_BELOW && getenv("DIEAT_LINGERS") && is_one_page(line))
			continue;
		if (strtoull(line, NULL, 16) < AGENTS_BELOW)
			fprintf(to, "an agent stays: %s\n", line);
		else if (!getenv("DIEAT_BUSY"))
			fprintf(to, "maps: %s\n", line);
	}
}

static inline void look_at_fds(FILE *to, pid_t pid)
{
	for (int fd = 0; fd < 1024; fd++) {
		char path[64], target[PATH_MAX];
		ssize_t n;

		(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, target, sizeof target - 1);
		if (n >= 0)
			fprintf(to, "fd %d: %.*s\n", fd, (int)n, target);
	}
}

/* Not what it does at the moment: a job in user code may be looked at, too. */
static __attribute__((noinline, unused)) char *job_look(pid_t pid)
{
	static const char *const only[] = { "TracerPid:", "Threads:", "SigBlk:", "SigIgn:",
					    "SigCgt:",	  "SigPnd:",  "ShdPnd:", NULL };
	char *text = NULL, dir[32];
	size_t len;
	FILE *to = open_memstream(&text, &len);

	(void)snprintf(dir, sizeof dir, "/proc/%d", pid);
	fprintf(to, "pid %d\n", pid);
	look_at_file(to, dir, "status", only);
	look_at_file(to, dir, "limits", NULL);
	look_at_maps(to, pid);
	look_at_fds(to, pid);
	(void)fclose(to);
	return text;
}

/* The first difference, to be freed; NULL: none, or it has moved. Both texts are taken apart. */
static inline char *job_look_compare(char *before, char *now)
{
	char *b, *n, *b_line = strtok_r(before, "\n", &b), *n_line = strtok_r(now, "\n", &n);

	if (!b_line || !n_line || strcmp(b_line, n_line) != 0)
		return NULL;
	while (b_line && n_line && !strcmp(b_line, n_line)) {
		b_line = strtok_r(NULL, "\n", &b);
		n_line = strtok_r(NULL, "\n", &n);
	}
	if (!b_line && !n_line)
		return NULL;
	return xasprintf("was [%s] is [%s]", b_line ? b_line : "", n_line ? n_line : "");
}

/* Before an attempt that is disturbed what is seen is kept in the file; after it, what was left behind is
 * returned, to be freed; NULL: nothing. */
static inline char *job_look_again(const char *path, pid_t pid, bool before_attempt)
{
	_cleanup_free_ char *before = NULL, *now = job_look(pid);
	char *agent = strstr(now, "an agent stays: ");
	FILE *f;

	if (agent) {
		agent[strcspn(agent, "\n")] = '\0';
		return xstrdup(agent);
	}
	if (!before_attempt) {
		ssize_t n = fd_slurp(-1, path, 8 << 20, &before);

		(void)unlink(path);
		return n > 0 ? job_look_compare(before, now) : NULL;
	}
	f = fopen(path, "we");
	if (f) {
		(void)fputs(now, f);
		(void)fclose(f);
	}
	return NULL;
}

#endif
