/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/internal.h"

#define HOLE_LOWEST 0x10000u	     /* below, hosts may forbid it (vm.mmap_min_addr) */
#define HOLE_HIGHEST 0x7fff00000000u /* stay clear of the end of user space */
#define PAGE 4096u

size_t remote_agent_size(void)
{
	return ALIGN_UP(AGENT_CODE_SIZE + sizeof(struct agent_data), (size_t)PAGE);
}

static int by_start(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (x[0] > y[0]) - (x[0] < y[0]);
}

/* The lowest hole: programs are given their memory from above, so it stays free for longest. */
raddr_t remote_hole(const struct remote *r, size_t size, const uint64_t (*busy)[2], size_t n_busy)
{
	_cleanup_free_ char *maps = NULL;
	uint64_t(*taken)[2] = NULL;
	uint64_t at = HOLE_LOWEST;
	size_t n = 0, room = n_busy + 64;
	ssize_t read;

	read = fd_slurp(r->link->proc, "maps", 64u << 20, &maps);
	r->link->no_maps = MIN((int)read, 0);
	if (read < 0)
		return (raddr_t) { 0 };
	size += 2 * PAGE; /* stay clear of the neighbours */
	taken = xmalloc(room * sizeof *taken);
	if (n_busy)
		memcpy(taken, busy, n_busy * sizeof *taken);
	n = n_busy;
	for (char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (n == room)
			taken = xrealloc(taken, (room *= 2) * sizeof *taken);
		/* Not sscanf, which measures all of the text that follows, for each line. */
		char *rest;

		taken[n][0] = strtoull(line, &rest, 16);
		taken[n][1] = *rest == '-' ? strtoull(rest + 1, NULL, 16) : 0;
		n += taken[n][1] > taken[n][0];
	}
	qsort(taken, n, sizeof *taken, by_start);
	for (size_t i = 0; i < n && taken[i][0] < at + size; i++)
		if (taken[i][1] > at)
			at = taken[i][1];
	free(taken);
	return (raddr_t) { at + size > HOLE_HIGHEST ? 0 : at + PAGE };
}

int remote_no_hole(const struct remote *r, const char *what, struct err *e)
{
	if (r->link->no_maps)
		return session_unreadable(r, r->link->no_maps, "maps", e);
	return err_set(e, -ENOMEM, "process %d has no room for %s", r->pid, what);
}

static void agent_prepare_data(struct remote *r, struct agent_data *d)
{
	d->batch_mask = batch_mask(r->link);
	d->stack_top = r->link->data + offsetof(struct agent_data, stack) + AGENT_STACK_SIZE;
}

static int agent_fill(struct remote *r, struct err *e)
{
	size_t len = (size_t)(agent_blob_end - agent_blob_start);
	_cleanup_free_ struct agent_data *d = xcalloc(1, offsetof(struct agent_data, undo));
	int err;

	/* The code is not writable for the process itself, so this goes past remote_write's first way. */
	if (pwrite(r->link->mem, agent_blob_start, len, (off_t)r->agent.a) != (ssize_t)len)
		return err_errno(e, "cannot write the agent into process %d", r->pid);
	agent_prepare_data(r, d);
	err = remote_write(r, (raddr_t) { r->link->data }, d, offsetof(struct agent_data, undo));
	return err < 0 ? err_code(e, err, "cannot write the agent's data into process %d", r->pid) : 0;
}

/* Never writable and executable at once: some programs have asked the kernel to refuse that (PR_SET_MDWE). */
static int64_t map_parts(struct remote *r, struct err *e)
{
	struct remote_thread *t = &r->threads[0];
	size_t size = remote_agent_size();
	int64_t got = foothold_call(r, t, e, SYS_mmap,
				    (uint64_t[6]) { r->agent.a, size, PROT_READ | PROT_EXEC,
						    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
						    (uint64_t)-1, 0 });

	if (got < 0)
		return got;
	got = foothold_call(r, t, e, SYS_mprotect,
			    (uint64_t[6]) { r->link->data, size - AGENT_CODE_SIZE, PROT_READ | PROT_WRITE });
	if (got < 0)
		(void)!foothold_call(r, t, NULL, SYS_munmap, (uint64_t[6]) { r->agent.a, size });
	return got;
}

/* The process may be close to its limit of address space. The limit is looked at by mmap() and the like only, so
 * it is lifted for as long as that takes. */
static int64_t map_beyond_limits(struct remote *r, struct err *e)
{
	static const int limits[] = { RLIMIT_AS, RLIMIT_DATA };
	static const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit before[ARRAY_LEN(limits)];
	int64_t got;

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		if (prlimit(r->pid, limits[i], NULL, &before[i]) < 0)
			return -errno;
		(void)prlimit(r->pid, limits[i], &none, NULL);
	}
	got = map_parts(r, e);
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		(void)prlimit(r->pid, limits[i], &before[i], NULL);
	return got;
}

int remote_agent_map(struct remote *r, raddr_t at, struct err *e)
{
	int64_t got;
	int err;

	r->agent = at.a ? at : remote_hole(r, remote_agent_size(), NULL, 0);
	if (!r->agent.a)
		return remote_no_hole(r, "the agent", e);
	r->link->data = r->agent.a + AGENT_CODE_SIZE;
	got = map_parts(r, e);
	if (got == -ENOMEM)
		got = map_beyond_limits(r, e);
	if (got < 0) {
		r->agent.a = 0;
		return e && e->code == got ? err_wrap(e, "cannot map the agent into process %d", r->pid)
					   : err_code(e, (int)got, "cannot map the agent into process %d", r->pid);
	}
	err = agent_fill(r, e);
	if (err < 0)
		return err;
	foothold_remove(r);
	return 0;
}

int remote_agent_unmap(struct remote *r, struct err *e)
{
	int64_t got;

	if (!r->agent.a)
		return 0;
	got = foothold_call(r, &r->threads[0], e, SYS_munmap, (uint64_t[6]) { r->agent.a, remote_agent_size() });
	foothold_remove(r);
	if (got < 0)
		return err_code(e, (int)got, "cannot unmap the agent from process %d", r->pid);
	r->agent.a = 0;
	return 0;
}

void remote_undo_close(struct remote *r, int fd)
{
	struct agent_call *c;

	if (fd < 0) {
		r->link->n_undo = 0;
		return;
	}
	if (r->link->n_undo == AGENT_UNDO_MAX)
		return;
	c = &r->link->undo[r->link->n_undo++];
	memset(c, 0, sizeof *c);
	c->nr = SYS_close;
	c->arg[0] = (uint64_t)fd;
}
