/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/internal.h"

#define PAGE 4096u
#define UNIT (2 * PAGE) /* a page of code, a page of data */
#define STRIDE (PAGE / LINGER_PER_PAGE)
#define SYSCALL_INSN_LEN 2

/* The last bytes of a page of code tell it from everything else. */
static const uint8_t magic[16] = "godwit lingers\n";

struct slot {
	struct agent_home home;
	uint64_t done, pad;
	uint8_t payload[LINGER_PAYLOAD];
};

_Static_assert(sizeof(struct slot) == STRIDE, "assembly knows the distance");
_Static_assert(offsetof(struct slot, done) == 176, "assembly knows the offset");

static bool is_ours(const struct remote *r, uint64_t page)
{
	uint8_t end[sizeof magic];

	return remote_read(r, (raddr_t) { page + PAGE - sizeof end }, end, sizeof end) == 0 &&
	       !memcmp(end, magic, sizeof end);
}

/* --- finding and sweeping --- */

#define AGENT_MAGIC_AT 24
#define BLANK_BELOW 0x400000u /* where programs that are linked to an address begin */
#define PAGEMAP_TOUCHED 61    /* this bit and those above: file or shared, swapped, present */

/*
 * Is this an agent's mapping whose mover died before it could write into it? Nobody else is given memory that low
 * without asking for just that address, or maps so much that is executable and cannot be written, and has touched
 * none of it.
 */
static bool is_blank_agent(const struct remote *r, uint64_t start, uint64_t len)
{
	size_t n = remote_agent_size() / PAGE;
	_cleanup_free_ uint64_t *entries = xcalloc(n, sizeof(*entries));
	_cleanup_fd_ int fd = -EBADF;

	if (start >= BLANK_BELOW || (len != remote_agent_size() && len != AGENT_CODE_SIZE))
		return false;
	fd = openat(r->link->proc, "pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, entries, n * sizeof *entries, (off_t)(start / PAGE * sizeof *entries)) !=
			      (ssize_t)(n * sizeof *entries))
		return false;
	for (size_t i = 0; i < n; i++)
		if (entries[i] >> PAGEMAP_TOUCHED)
			return false;
	return true;
}

/* Whole mappings of ours, code first: how long it is from a page of code on, 0 if it is none. */
static size_t left_behind(const struct remote *r, uint64_t start, uint64_t len)
{
	uint8_t head[AGENT_MAGIC_AT + sizeof magic];

	if (len == PAGE)
		return is_ours(r, start) ? UNIT : 0;
	if (is_blank_agent(r, start, len))
		return remote_agent_size();
	if (len != AGENT_CODE_SIZE || remote_read(r, (raddr_t) { start }, head, sizeof head) < 0)
		return 0;
	return memcmp(head + AGENT_MAGIC_AT, agent_blob_start + AGENT_MAGIC_AT, sizeof magic)
		       ? 0
		       : remote_agent_size();
}

int linger_find(struct remote *r, struct err *e)
{
	_cleanup_free_ char *maps = NULL;
	struct agent_link *link = r->link;

	link->n_lingering = 0;
	if (fd_slurp(link->proc, "maps", 64u << 20, &maps) < 0)
		return err_set(e, -ESRCH, "process %d has ended", r->pid);
	for (char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned long start, end, inode;
		char prot[5];

		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &start, &end, prot, &inode) != 4)
			continue;
		if (end - start > remote_agent_size() || strcmp(prot, "r-xp") != 0 || inode ||
		    !left_behind(r, start, end - start))
			continue;
		link->lingering = xrealloc(link->lingering, (link->n_lingering + 1) * sizeof(*link->lingering));
		link->lingering[link->n_lingering++] = (struct leftover) { start, end - start };
	}
	return 0;
}

static bool is_inhabited(const struct remote *r, const struct leftover *l)
{
	for (size_t i = 0; i < r->n_threads; i++)
		if (r->threads[i].regs.rip - l->start < l->code_len)
			return true;
	return false;
}

int linger_sweep(struct remote *r, struct err *e)
{
	_cleanup_free_ struct batch *b = NULL;
	struct agent_link *link = r->link;
	int err;

	if (!link->n_lingering)
		return 0;
	b = xmalloc(sizeof *b);
	batch_init(b);
	for (size_t i = 0; i < link->n_lingering && batch_fits(b, 1, 0); i++) {
		const struct leftover *l = &link->lingering[i];
		size_t len = left_behind(r, l->start, l->code_len);

		if (len && !is_inhabited(r, l))
			(void)batch_call(b, NULL, SYS_munmap, bval(l->start), bval(len));
	}
	err = batch_run(r, &r->threads[0], b, e);
	link->n_lingering = 0;
	return err;
}

/* --- entering --- */

/* The slot in whose call that thread is; 0: in none. */
static uint64_t present_slot(const struct remote *r, const struct remote_thread *t)
{
	uint64_t call = t->regs.rip - SYSCALL_INSN_LEN;

	if (call % STRIDE || !is_ours(r, ALIGN_DOWN(call, (uint64_t)PAGE)))
		return 0;
	return call;
}

static int map_units(struct remote *r, size_t units, uint64_t *ret_at, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	raddr_t at = remote_hole(r, units * UNIT, NULL, 0);
	int err;

	if (!at.a)
		return err_set(e, -ENOMEM, "there is no hole for interrupted calls");
	batch_init(b);
	(void)batch_call(b, "cannot map a place for interrupted calls", SYS_mmap, bval(at.a), bval(units * UNIT),
			 bval(PROT_READ | PROT_EXEC), bval(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE),
			 bval((uint64_t)-1), bval(0));
	for (size_t i = 0; i < units && batch_fits(b, 1, 0); i++)
		(void)batch_call(b, "cannot map a place for interrupted calls", SYS_mprotect,
				 bval(at.a + i * UNIT + PAGE), bval(PAGE), bval(PROT_READ | PROT_WRITE));
	err = batch_run(r, &r->threads[0], b, e);
	*ret_at = at.a;
	return err;
}

static int write_code(struct remote *r, uint64_t at, size_t units, struct err *e)
{
	uint8_t page[PAGE];

	memset(page, 0x0f, sizeof page); /* rubbish that faults */
	for (size_t i = 0; i < LINGER_PER_PAGE; i++)
		memcpy(page + i * STRIDE, linger_code_start, (size_t)(linger_code_end - linger_code_start));
	memcpy(page + PAGE - sizeof magic, magic, sizeof magic);
	for (size_t i = 0; i < units; i++)
		if (pwrite(r->link->mem, page, sizeof page, (off_t)(at + i * UNIT)) != (ssize_t)sizeof page)
			return err_errno(e, "cannot write a place for interrupted calls");
	return 0;
}

static void enter_call(struct remote_thread *t, const struct linger_call *l, uint64_t code, uint64_t payload)
{
	uint64_t arg[6];
	uint64_t rsp = t->regs.rsp;

	for (int i = 0; i < 6; i++)
		arg[i] = l->arg[i] + (l->in_payload >> i & 1 ? payload : 0);
	arch_call(&t->regs, &t->regs, code + SYSCALL_INSN_LEN, l->nr, arg);
	t->regs.rsp = rsp;
	t->regs.orig_rax = (uint64_t)l->nr;
	t->regs.rax = (uint64_t)l->result;
	t->call_nr = l->nr;
}

static int fill_slot(struct remote *r, struct linger_call *l, uint64_t code, bool is_new, struct err *e)
{
	struct remote_thread *t = &r->threads[l->thread];
	uint64_t data = code + PAGE, payload = data + offsetof(struct slot, payload);
	struct slot s;
	int err = 0;

	if (is_new) {
		struct remote_thread home = *t;

		home.regs.orig_rax = (uint64_t)-1; /* it comes home with the result */
		memset(&s, 0, sizeof s);
		arch_home(&s.home, r, &home);
	} else {
		err = remote_read(r, (raddr_t) { data }, &s, sizeof s);
	}
	s.done += l->done;
	if (l->fix_to) {
		uint64_t to = payload + l->fix_to;

		memcpy(l->payload + l->fix_at, &to, sizeof to);
	}
	memcpy(s.payload, l->payload, sizeof s.payload);
	if (!err)
		err = remote_write(r, (raddr_t) { data }, &s, sizeof s);
	if (err < 0)
		return err_code(e, err, "cannot describe an interrupted call");
	enter_call(t, l, code, payload);
	err = trace_set_regs(t->tid, &t->regs);
	return err < 0 ? err_code(e, err, "cannot set the registers of thread %d", t->vtid) : 0;
}

int linger_enter(struct remote *r, struct linger_call *list, size_t n, struct err *e)
{
	uint64_t *slots = xcalloc(n, sizeof(*slots)), at = 0;
	size_t fresh = 0, used = 0;
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		slots[i] = present_slot(r, &r->threads[list[i].thread]);
		fresh += !slots[i];
	}
	if (fresh) {
		size_t units = (fresh + LINGER_PER_PAGE - 1) / LINGER_PER_PAGE;

		err = map_units(r, units, &at, e);
		if (!err)
			err = write_code(r, at, units, e);
	}
	for (size_t i = 0; i < n && !err; i++) {
		bool is_new = !slots[i];

		if (is_new) {
			slots[i] = at + used / LINGER_PER_PAGE * UNIT + used % LINGER_PER_PAGE * STRIDE;
			used++;
		}
		err = fill_slot(r, &list[i], slots[i], is_new, e);
	}
	free(slots);
	return err;
}
