/* SPDX-License-Identifier: Apache-2.0 */
/* What is on the hosts of a lab, seen from the machine on which they are: no daemon is asked. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "journal.pb-c.h"
#include "strike.h"

#define TEXT_MAX (8u << 20)
#define AGENTS_BELOW 0x400000
#define THINGS_MAX 4096

static char *slurp(const char *path)
{
	char *text = NULL;

	return fd_slurp(-1, path, TEXT_MAX, &text) < 0 ? xstrdup("") : text;
}

static char *host_file(const struct strike *s, int host, const char *path)
{
	return xasprintf("%s/h%d/%s", s->cgroup, host, path);
}

static void comm_of(pid_t pid, char ret[32])
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/comm", pid), *text = slurp(path);

	(void)snprintf(ret, 32, "%.31s", text);
	ret[strcspn(ret, "\n")] = '\0';
}

bool view_is(pid_t pid, const char *name)
{
	char comm[32];

	comm_of(pid, comm);
	return !strcmp(comm, name);
}

/* The process of that name in a cgroup of a host (NULL: any). */
static pid_t process_in(const struct strike *s, int host, const char *cgroup, const char *name)
{
	_cleanup_free_ char *sub = xasprintf("%s/cgroup.procs", cgroup), *path = host_file(s, host, sub),
			    *text = slurp(path);

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char comm[32];

		comm_of(atoi(line), comm);
		if (!name || !strcmp(comm, name))
			return atoi(line);
	}
	return 0;
}

pid_t view_daemon(const struct strike *s, int host, const char *name)
{
	return process_in(s, host, name, name);
}

pid_t view_shepherd(const struct strike *s, int host)
{
	_cleanup_free_ char *cgroup = xasprintf("godwit/%s/shepherd", s->job);

	return process_in(s, host, cgroup, NULL);
}

static pid_t init_of(const struct strike *s, int host)
{
	return process_in(s, host, "init", NULL);
}

static pid_t leader_of(const struct strike *s, int host)
{
	_cleanup_free_ char *cgroup = xasprintf("godwit/%s/job", s->job);

	return process_in(s, host, cgroup, NULL);
}

/* A blank, or what a mover is still making of it: it runs the shepherd's program, or is traced. */
static bool is_unfinished(pid_t pid)
{
	_cleanup_free_ char *exe = xasprintf("/proc/%d/exe", pid), *status = xasprintf("/proc/%d/status", pid),
			    *text = slurp(status);
	char target[PATH_MAX], *base;
	ssize_t n = readlink(exe, target, sizeof target - 1);

	target[MAX(n, 0)] = '\0';
	base = strrchr(target, '/');
	/* None at all: it has just died. */
	return !base || !strcmp(base, "/shepherd") || !strstr(text, "TracerPid:\t0\n");
}

enum copy view_copy(const struct strike *s, int host)
{
	_cleanup_free_ char *sub = xasprintf("godwit/%s/job/cgroup.events", s->job),
			    *path = host_file(s, host, sub), *text = slurp(path);
	pid_t pid;

	if (!strstr(text, "populated 1"))
		return COPY_NONE;
	if (strstr(text, "frozen 1"))
		return COPY_FROZEN;
	pid = leader_of(s, host);
	if (!pid)
		return COPY_NONE; /* it has just ended */
	return is_unfinished(pid) ? COPY_UNFINISHED : COPY_RUNNING;
}

/* --- lists of things --- */

struct things {
	char *list[THINGS_MAX];
	size_t n;
};

static void add(struct things *t, char *text)
{
	if (t->n < THINGS_MAX)
		t->list[t->n++] = text;
	else
		free(text);
}

static int order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Numbers of sockets, pipes and namespaces mean nothing. */
static void strip_numbers(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		bool inside = to > text && (to[-1] == '[' || to[-1] == '#') && isdigit((unsigned char)*at);

		if (!inside)
			*to++ = *at;
	}
	*to = '\0';
}

/* Sorted, with the job's name out of it. */
static char *finish(const struct strike *s, struct things *t)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	qsort(t->list, t->n, sizeof *t->list, order);
	for (size_t i = 0; i < t->n; i++) {
		char *at = *s->job ? strstr(t->list[i], s->job) : NULL;

		if (at)
			fprintf(to, "%.*sJOB%s\n", (int)(at - t->list[i]), t->list[i], at + strlen(s->job));
		else
			fprintf(to, "%s\n", t->list[i]);
		free(t->list[i]);
	}
	(void)fclose(to);
	free(t);
	return text;
}

static void add_fds(struct things *t, pid_t pid, const char *whose)
{
	_cleanup_free_ char *dir = xasprintf("/proc/%d/fd", pid);
	DIR *d = opendir(dir);

	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		char target[PATH_MAX];
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		strip_numbers(target);
		add(t, xasprintf("fd of %s: %s", whose, target));
	}
	if (d)
		(void)closedir(d);
}

static void add_processes(struct things *t, const char *path, const char *rel)
{
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", path), *text = slurp(procs);

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char comm[32];

		comm_of(atoi(line), comm);
		add(t, xasprintf("process %s in %s", comm, rel));
	}
}

static void add_cgroups(struct things *t, const char *path, const char *rel)
{
	DIR *d = opendir(path);

	add_processes(t, path, rel);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		_cleanup_free_ char *sub = NULL, *sub_rel = NULL;

		if (e->d_type != DT_DIR || *e->d_name == '.' || (!*rel && !strcmp(e->d_name, "exec")))
			continue;
		sub = xasprintf("%s/%s", path, e->d_name);
		sub_rel = xasprintf("%s/%s", rel, e->d_name);
		add(t, xasprintf("cgroup %s", sub_rel));
		add_cgroups(t, sub, sub_rel);
	}
	if (d)
		(void)closedir(d);
}

static void add_files(struct things *t, const char *path, const char *rel)
{
	DIR *d = opendir(path);

	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		_cleanup_free_ char *sub = NULL, *sub_rel = NULL;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		sub = xasprintf("%s/%s", path, e->d_name);
		sub_rel = xasprintf("%s/%s", rel, e->d_name);
		add(t, xasprintf("file %s", sub_rel));
		if (e->d_type == DT_DIR)
			add_files(t, sub, sub_rel);
	}
	if (d)
		(void)closedir(d);
}

static unsigned lines_of(pid_t pid, const char *name)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", pid, name), *text = slurp(path);
	unsigned n = 0;

	for (const char *at = text; (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

/* Streams that listen or are open; those that are only waiting to be forgotten do not count. */
static unsigned tcp_of(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/net/tcp", pid), *text = slurp(path);
	unsigned n = 0;

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned state = 0;

		if (sscanf(line, " %*s %*s %*s %x", &state) == 1 && state != 6)
			n++;
	}
	return n;
}

char *view_host(const struct strike *s, int host)
{
	struct things *t = xcalloc(1, sizeof *t);
	pid_t init = init_of(s, host);
	_cleanup_free_ char *root = host_file(s, host, ""), *run = xasprintf("/proc/%d/root/run/godwit", init);

	root[strlen(root) - 1] = '\0';
	add_cgroups(t, root, "");
	add_files(t, run, "");
	add_fds(t, view_daemon(s, host, "procd"), "procd");
	add_fds(t, view_daemon(s, host, "flipd"), "flipd");
	add(t, xasprintf("mounts %u", lines_of(init, "mountinfo")));
	add(t, xasprintf("unix sockets %u", lines_of(init, "net/unix")));
	add(t, xasprintf("udp sockets %u", lines_of(init, "net/udp")));
	add(t, xasprintf("tcp sockets %u", tcp_of(init)));
	return finish(s, t);
}

/* --- the job --- */

static void add_lines(struct things *t, pid_t pid, const char *name, const char *const *only)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", pid, name), *text = slurp(path);

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool wanted = !only;

		for (size_t i = 0; only && only[i] && !wanted; i++)
			wanted = !strncmp(line, only[i], strlen(only[i]));
		if (wanted)
			add(t, xasprintf("%s: %s", name, line));
	}
}

static void add_maps(struct things *t, pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/maps", pid), *text = slurp(path);

	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char range[64], perms[8], *file = strchr(line, '/');

		if (sscanf(line, "%63s %7s", range, perms) != 2)
			continue;
		file = file ? file : strchr(line, '[');
		add(t, xasprintf("%s: %s %s %s", strtoull(line, NULL, 16) < AGENTS_BELOW ? "agent" : "map", range,
				 perms, file ? file : ""));
	}
}

char *view_job(const struct strike *s, int host)
{
	static const char *const status[] = { "TracerPid:", "Threads:", "SigBlk:", "SigIgn:",
					      "SigCgt:",    "SigPnd:",	"ShdPnd:", NULL };
	struct things *t = xcalloc(1, sizeof *t);
	pid_t pid = leader_of(s, host);

	add_lines(t, pid, "status", status);
	add_lines(t, pid, "limits", NULL);
	add_maps(t, pid);
	add_fds(t, pid, "the job");
	return finish(s, t);
}

/* --- journals and logs --- */

static char *journal_path(const struct strike *s, int host)
{
	return xasprintf("/proc/%d/root/run/godwit/journal", init_of(s, host));
}

off_t view_journal_size(const struct strike *s, int host)
{
	_cleanup_free_ char *path = journal_path(s, host);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

bool view_journal(const struct strike *s, int host, int kind)
{
	_cleanup_free_ char *path = journal_path(s, host), *text = NULL;
	ssize_t len = fd_slurp(-1, path, TEXT_MAX, &text);
	size_t at = (size_t)s->journal_offset[host];
	bool found = false;

	while (len > 0 && at + 16 <= (size_t)len && !found) {
		Godwit__Journal__Record *r;
		uint64_t n;

		memcpy(&n, text + at, sizeof n); /* journal.c: length, checksum, record */
		at += 16;
		if (n > (size_t)len - at)
			break;
		r = godwit__journal__record__unpack(NULL, n, (uint8_t *)text + at);
		at += n;
		if (!r)
			break;
		found = (int)r->kind == kind && !strcmp(r->job, s->job);
		godwit__journal__record__free_unpacked(r, NULL);
	}
	return found;
}

off_t view_log_size(const struct strike *s, int host)
{
	_cleanup_free_ char *path = xasprintf("%s/h%d/procd.log", s->lab_dir, host);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

bool view_stage(struct strike *s)
{
	_cleanup_free_ char *path = xasprintf("%s/h%d/procd.log", s->lab_dir, s->from),
			    *wanted = xasprintf("job %s: ", s->job);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[16384];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, s->log_offset);
	bool found = false;

	if (n <= 0)
		return false;
	text[n] = '\0';
	for (char *at = text; (at = strstr(at, wanted));) {
		char word[16] = "";

		at += strlen(wanted);
		if (sscanf(at, "%15[a-z]", word) == 1 && at[strlen(word)] == '\n' && stage_number(word) > 0) {
			(void)snprintf(s->stage, sizeof s->stage, "%s", word);
			found = true;
		}
	}
	return found;
}

/* --- the output --- */

bool view_output(struct strike *s)
{
	_cleanup_free_ char *path = xasprintf("%s/have", s->work);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[8192];
	ssize_t n;

	while (fd >= 0 && (n = pread(fd, text, sizeof text, s->have_offset)) > 0) {
		s->have_offset += n;
		for (ssize_t i = 0; i < n; i++) {
			size_t len = strlen(s->half);
			char wanted[64];

			if (text[i] != '\n') {
				if (len + 1 < sizeof s->half) {
					s->half[len] = text[i];
					s->half[len + 1] = '\0';
				}
				continue;
			}
			(void)snprintf(wanted, sizeof wanted, "line %ld", s->next_line);
			if (strcmp(wanted, s->half) != 0)
				return false;
			s->next_line++;
			*s->half = '\0';
		}
	}
	return true;
}

char *view_difference(const char *was, const char *is)
{
	_cleanup_free_ char *a = xstrdup(was), *b = xstrdup(is);
	char *sa, *sb, *la = strtok_r(a, "\n", &sa), *lb = strtok_r(b, "\n", &sb);

	while (la && lb && !strcmp(la, lb)) {
		la = strtok_r(NULL, "\n", &sa);
		lb = strtok_r(NULL, "\n", &sb);
	}
	if (!la && !lb)
		return NULL;
	/* Sorted: the smaller one is what the other text lacks. */
	if (!lb || (la && strcmp(la, lb) < 0))
		return xasprintf("lost: %s", la);
	return xasprintf("new: %s", lb);
}
