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
#define ARMED                                                                                                     \
	8 /* how often a thread may be cut short from before a stop until the end of it: by us, by a rescuer */

/* The last bytes of a page of code tell it from everything else. */
static const uint8_t magic[16] = "godwit lingers2";

struct slot {
	struct agent_home home; /* `tid`, while not `gone`, is in it */
	uint64_t done;
	uint32_t armed, shape;
	uint64_t nr;
	uint8_t payload[LINGER_PAYLOAD];
};

_Static_assert(sizeof(struct slot) == STRIDE, "assembly knows the distance");
_Static_assert(offsetof(struct slot, home.gone) == 172 && offsetof(struct slot, done) == 176 &&
		       offsetof(struct slot, armed) == 184 && offsetof(struct slot, shape) == 188 &&
		       offsetof(struct slot, nr) == 192,
	       "assembly knows the offsets");

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

void linger_note(struct remote *r, uint64_t start, size_t code_len)
{
	struct agent_link *link = r->link;

	link->lingering = xrealloc(link->lingering, (link->n_lingering + 1) * sizeof(*link->lingering));
	link->lingering[link->n_lingering++] = (struct leftover) { start, code_len };
}

int linger_find(struct remote *r, struct err *e)
{
	_cleanup_free_ char *maps = NULL;
	struct agent_link *link = r->link;
	ssize_t n;

	link->n_lingering = 0;
	n = fd_slurp(link->proc, "maps", 64u << 20, &maps);
	if (n < 0)
		return session_unreadable(r, (int)n, "maps", e);
	for (char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned long start, end, inode;
		char prot[5];

		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &start, &end, prot, &inode) != 4)
			continue;
		if (end - start > remote_agent_size() || strcmp(prot, "r-xp") != 0 || inode ||
		    !left_behind(r, start, end - start))
			continue;
		linger_note(r, start, end - start);
	}
	return 0;
}

static bool has_thread(const struct remote *r, uint32_t vtid)
{
	for (size_t i = 0; i < r->n_threads; i++)
		if ((uint32_t)r->threads[i].vtid == vtid)
			return true;
	return false;
}

/* Its registers do not always tell: a thread may be in the handler of a signal that came while it lingered. */
static bool is_inhabited(const struct remote *r, const struct leftover *l)
{
	struct slot slots[LINGER_PER_PAGE];

	for (size_t i = 0; i < r->n_threads; i++)
		if (r->threads[i].regs.rip - l->start < l->code_len)
			return true;
	if (l->code_len != PAGE || remote_read(r, (raddr_t) { l->start + PAGE }, slots, sizeof slots) < 0)
		return false;
	for (size_t i = 0; i < LINGER_PER_PAGE; i++)
		if (slots[i].home.tid && !slots[i].home.gone && has_thread(r, slots[i].home.tid))
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

/* The slot in whose call a thread is that stopped there; 0: in none. */
static uint64_t slot_at(const struct remote *r, uint64_t rip)
{
	uint64_t call = rip - SYSCALL_INSN_LEN;

	if (call % STRIDE || !is_ours(r, ALIGN_DOWN(call, (uint64_t)PAGE)))
		return 0;
	return call;
}

static uint64_t present_slot(const struct remote *r, const struct remote_thread *t)
{
	return slot_at(r, t->regs.rip);
}

bool linger_holds_at(const struct remote *r, uint64_t rip)
{
	return slot_at(r, rip) != 0;
}

static void set_armed(const struct remote *r, uint64_t slot_data, uint32_t armed)
{
	(void)!remote_write(r, (raddr_t) { slot_data + offsetof(struct slot, armed) }, &armed, sizeof armed);
}

void linger_arm(struct remote *r)
{
	for (size_t i = 0; i < r->link->n_lingering; i++)
		for (size_t k = 0; r->link->lingering[i].code_len == PAGE && k < LINGER_PER_PAGE; k++)
			set_armed(r, r->link->lingering[i].start + PAGE + k * STRIDE, ARMED);
}

/* Has its thread a part that it has not dealt with yet? It may stand anywhere behind the call. */
static bool is_cut(const struct remote *r, uint64_t code)
{
	for (size_t i = 0; i < r->n_threads; i++) {
		const struct user_regs_struct *regs = &r->threads[i].regs;
		uint64_t behind = regs->rip - code - SYSCALL_INSN_LEN;

		if (behind < STRIDE - SYSCALL_INSN_LEN && (behind || (int64_t)regs->rax > 0))
			return true;
	}
	return false;
}

void linger_disarm(struct remote *r)
{
	for (size_t i = 0; i < r->link->n_lingering; i++) {
		uint64_t code = r->link->lingering[i].start;

		for (size_t k = 0; r->link->lingering[i].code_len == PAGE && k < LINGER_PER_PAGE; k++)
			set_armed(r, code + PAGE + k * STRIDE, is_cut(r, code + k * STRIDE));
	}
}

/* Before there is an agent. */
static int map_from_foothold(struct remote *r, uint64_t at, size_t units, struct err *e)
{
	struct remote_thread *t = &r->threads[0];
	int64_t got = foothold_call(r, t, e, SYS_mmap,
				    (uint64_t[6]) { at, units * UNIT, PROT_READ | PROT_EXEC,
						    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
						    (uint64_t)-1, 0 });

	for (size_t i = 0; i < units && got >= 0; i++)
		got = foothold_call(r, t, e, SYS_mprotect,
				    (uint64_t[6]) { at + i * UNIT + PAGE, PAGE, PROT_READ | PROT_WRITE });
	return got < 0 ? err_code(e, (int)got, "cannot map a place for interrupted calls") : 0;
}

/* Not where an agent would go, here or at the destination, which has chosen by now. */
static raddr_t find_place(const struct remote *r, size_t units)
{
	uint64_t agent[1][2] = { { r->agent.a ? r->agent.a : remote_agent_hole(r, NULL, 0).a } };

	agent[0][1] = agent[0][0] + remote_agent_size();
	return remote_hole(r, units * UNIT, (const uint64_t(*)[2])agent, 1);
}

static int map_units(struct remote *r, size_t units, uint64_t *ret_at, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	raddr_t at = find_place(r, units);

	if (!at.a)
		return remote_no_hole(r, "interrupted calls", e);
	*ret_at = at.a;
	if (!r->agent.a)
		return map_from_foothold(r, at.a, units, e);
	batch_init(b);
	(void)batch_call(b, "cannot map a place for interrupted calls", SYS_mmap, bval(at.a), bval(units * UNIT),
			 bval(PROT_READ | PROT_EXEC), bval(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE),
			 bval((uint64_t)-1), bval(0));
	for (size_t i = 0; i < units && batch_fits(b, 1, 0); i++)
		(void)batch_call(b, "cannot map a place for interrupted calls", SYS_mprotect,
				 bval(at.a + i * UNIT + PAGE), bval(PAGE), bval(PROT_READ | PROT_WRITE));
	return batch_run(r, &r->threads[0], b, e);
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
	for (size_t i = 0; i < units; i++)
		linger_note(r, at + i * UNIT, PAGE);
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
	s.done = is_new ? l->done : s.done;
	s.nr = (uint64_t)l->nr;
	s.shape = l->shape;
	s.armed = l->armed ? ARMED : 0;
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
