/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The foothold: a few dozen instructions that make one system call in a process that has no agent yet, or no more.
 *
 * Theory of operation. Where can such code go, without a call that would make room for it? Into the last bytes of
 * the vDSO's mapping: behind what its program header says is loaded there is nothing that anyone uses, the page is
 * executable, and the kernel lets a tracer write it (into a private copy of the page). All threads are stopped
 * while it is there, and what was there before is put back. The foothold carries its home context with it, so that
 * a thread whose tracer dies in the middle finds its own way, as from the agent; it reads that context and never
 * writes.
 *
 * If no vDSO has room, the end of another executable mapping serves; then, for as long as the foothold is there,
 * the death of the mover could leave changed code behind.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/arch/x86_64/home.h"
#include "inject/filter.h"
#include "inject/internal.h"

extern const uint8_t foothold_start[], foothold_rang[], foothold_data[], foothold_end[];

__asm__(".pushsection .rodata\n"
	".balign 16\n"
	".global foothold_start, foothold_rang, foothold_data, foothold_end\n"
	"foothold_start:\n"
	"syscall\n"
	"mov %rax, %rbx\n" /* the result, for the session */
	"mov foothold_data+160(%rip), %edi\n"
	"mov foothold_data+164(%rip), %esi\n"
	"mov foothold_data+168(%rip), %edx\n"
	"mov $234, %eax\n" /* tgkill */
	"syscall\n"
	"foothold_rang:\n" GO_HOME_ASM("foothold_data") ".balign 16\n"
							"foothold_data:\n"
							".skip 176\n"
							"foothold_end:\n"
							".popsection\n");

/* Where the part of an ELF image that is loaded ends, as its first program header says; 0 if it makes no sense. */
static uint64_t loaded_end(const struct remote *r, uint64_t start, uint64_t end)
{
	Elf64_Ehdr head;
	Elf64_Phdr ph;

	if (remote_read(r, (raddr_t) { start }, &head, sizeof head) < 0 ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	for (int i = 0; i < head.e_phnum && i < 16; i++) {
		if (remote_read(r, (raddr_t) { start + head.e_phoff + (uint64_t)i * sizeof ph }, &ph, sizeof ph) <
		    0)
			return 0;
		if (ph.p_type == PT_LOAD && ph.p_memsz < end - start)
			return start + ph.p_memsz;
	}
	return 0;
}

void foothold_find(struct remote *r)
{
	uint64_t len = (uint64_t)(foothold_end - foothold_start), start, end, vdso = 0, other = 0;
	_cleanup_free_ char *maps = NULL;
	ssize_t n;

	r->link->foothold.at = 0;
	r->link->foothold.len = len;
	n = fd_slurp(r->link->proc, "maps", 64u << 20, &maps);
	r->link->foothold.why = MIN((int)n, 0);
	if (n < 0)
		return;
	for (char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		const char *eol = strchrnul(line, '\n');
		char *rest;

		/* start-end prot ... */
		start = strtoull(line, &rest, 16);
		end = *rest == '-' ? strtoull(rest + 1, &rest, 16) : 0;
		if (eol - rest < 5 || rest[3] != 'x' || rest[4] != 'p')
			continue;
		if (start >> 63) /* [vsyscall] */
			continue;
		other = end - len;
		if (eol - line > 6 && !strncmp(eol - 6, "[vdso]", 6)) {
			uint64_t used = loaded_end(r, start, end);

			if (used && used <= end - len)
				vdso = end - len;
		}
	}
	r->link->foothold.at = ALIGN_DOWN(vdso ? vdso : other, 16);
}

/* Left by a mover that died: what was there before is not known, but was nothing that anyone uses. */
static bool is_foothold(const uint8_t *at)
{
	return !memcmp(at, foothold_start, (size_t)(foothold_rang - foothold_start));
}

bool foothold_is_left(const struct remote *r)
{
	const struct agent_link *link = r->link;
	uint8_t there[FOOTHOLD_MAX];

	return link->foothold.at && link->foothold.len <= sizeof there &&
	       pread(link->mem, there, link->foothold.len, (off_t)link->foothold.at) ==
		       (ssize_t)link->foothold.len &&
	       is_foothold(there);
}

void remote_clean_vdso(uint8_t *image, size_t len)
{
	size_t own = (size_t)(foothold_end - foothold_start), at;

	if (len < own)
		return;
	at = ALIGN_DOWN(len - own, (size_t)16);
	if (is_foothold(image + at))
		memset(image + at, 0, own);
}

int foothold_plant(struct remote *r, const struct remote_thread *t, struct err *e)
{
	struct agent_link *link = r->link;
	uint8_t code[FOOTHOLD_MAX];
	struct agent_home home;

	_Static_assert(FOOTHOLD_MAX >= 448, "the foothold is about this long");
	if (link->foothold.why)
		return session_unreadable(r, link->foothold.why, "maps", e);
	if (!link->foothold.at || link->foothold.len > sizeof code)
		return err_set(e, -ENOSPC, "process %d has no place for a foothold", r->pid);
	if (!link->foothold.planted && pread(link->mem, link->foothold.saved, link->foothold.len,
					     (off_t)link->foothold.at) != (ssize_t)link->foothold.len)
		return err_errno(e, "cannot read the vDSO of process %d", r->pid);
	if (!link->foothold.planted && is_foothold(link->foothold.saved))
		memset(link->foothold.saved, 0, link->foothold.len);
	memcpy(code, foothold_start, link->foothold.len);
	arch_home(&home, r, t);
	memcpy(code + (foothold_data - foothold_start), &home, sizeof home);
	link->foothold.planted = true;
	if (pwrite(link->mem, code, link->foothold.len, (off_t)link->foothold.at) != (ssize_t)link->foothold.len)
		return err_errno(e, "cannot write into the vDSO of process %d", r->pid);
	return 0;
}

void foothold_remove(struct remote *r)
{
	struct agent_link *link = r->link;

	if (!link->foothold.planted)
		return;
	(void)!pwrite(link->mem, link->foothold.saved, link->foothold.len, (off_t)link->foothold.at);
	link->foothold.planted = false;
}

int64_t foothold_call(struct remote *r, struct remote_thread *t, struct err *e, long nr, const uint64_t args[6])
{
	struct user_regs_struct go, after;
	int err = filter_judge(r, t, (uint64_t)nr, args, r->link->foothold.at, e);

	if (!err)
		err = foothold_plant(r, t, e);
	if (err < 0)
		return err;
	if (fail_now(r->link, (uint64_t)nr, "from the foothold"))
		return -r->link->fail.code;
	arch_call(&go, &t->regs, r->link->foothold.at, nr, args);
	err = trace_run(r, t, &go, r->link->foothold.at + (uint64_t)(foothold_rang - foothold_start), &after, e);
	return err < 0 ? err : (int64_t)after.rbx;
}
