/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks and leases do not move yet, and must not be lost either. /proc/locks is one short read for the whole host;
 * only if it names an inode that the job has open is fdinfo asked which lock that is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"

static void copy_line(const char *from, char *to, size_t room)
{
	size_t n = strcspn(from, "\n");

	while (*from == ' ' || *from == '\t') {
		from++;
		n--;
	}
	(void)snprintf(to, room, "%.*s", (int)n, from);
}

int file_fdinfo_parse(const char *text, struct fdinfo *ret)
{
	memset(ret, 0, sizeof *ret);
	for (const char *line = text; line && *line;) {
		const char *next = strchr(line, '\n');

		if (strncmp(line, "flags:", 6) == 0)
			ret->flags = (unsigned)strtoul(line + 6, NULL, 8);
		else if (strncmp(line, "eventfd-count:", 14) == 0) {
			ret->eventfd = true;
			ret->eventfd_count = strtoull(line + 14, NULL, 16);
		} else if (strncmp(line, "eventfd-semaphore:", 18) == 0)
			ret->semaphore = strtoul(line + 18, NULL, 10) != 0;
		else if (strncmp(line, "lock:", 5) == 0 && !ret->lock[0])
			copy_line(line + 5, ret->lock, sizeof ret->lock);
		line = next ? next + 1 : NULL;
	}
	return 0;
}

int file_fdinfo_read(int proc, int fd, struct fdinfo *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[32];
	ssize_t n;

	(void)snprintf(path, sizeof path, "fdinfo/%d", fd);
	n = fd_slurp(proc, path, 1 << 20, &text);
	if (n < 0)
		return (int)n;
	return file_fdinfo_parse(text, ret);
}

/* One line of /proc/locks: "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; waiters have "->" after the number.
 */
static bool line_inode(const char *line, uint64_t *ret_ino)
{
	const char *at = line;
	unsigned long major_nr, minor_nr;
	unsigned long long ino;

	while ((at = strchr(at + 1, ' '))) {
		if (sscanf(at, " %lx:%lx:%llu ", &major_nr, &minor_nr, &ino) == 3) {
			*ret_ino = ino;
			return true;
		}
	}
	return false;
}

static int find_on_inode(struct state_source *s, uint64_t ino, int *ret_fd, char *words, size_t len)
{
	const struct file_table *t = s->files;

	for (size_t i = 0; i < t->n_fds; i++) {
		struct fdinfo info;

		if (t->fds[i].st.st_ino != ino || file_fdinfo_read(s->proc, t->fds[i].fd, &info) < 0 ||
		    !info.lock[0])
			continue;
		*ret_fd = t->fds[i].fd;
		(void)snprintf(words, len, "%s", info.lock);
		return 1;
	}
	return 0;
}

int file_locks_find(struct state_source *s, int *ret_fd, char *words, size_t len)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(-1, "/proc/locks", 16 << 20, &text);

	if (n < 0)
		return (int)n;
	for (const char *line = text; line && *line;) {
		const char *next = strchr(line, '\n');
		uint64_t ino;

		if (line_inode(line, &ino) && find_on_inode(s, ino, ret_fd, words, len))
			return 1;
		line = next ? next + 1 : NULL;
	}
	return 0;
}
