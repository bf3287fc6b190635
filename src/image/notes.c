/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notes of a core file as the kernel writes them (fs/binfmt_elf.c, fill_note_info): those of the first thread
 * are PRSTATUS, PRPSINFO, SIGINFO, AUXV, FILE, then its vector registers; each further thread has PRSTATUS and
 * vector registers. gdb makes a thread of each PRSTATUS.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include "base/util.h"
#include "image/private.h"

#define FXSAVE_LEN 512u
#define XSAVE_HEADER_LEN 64u
#define XSTATE_ROOM 16384u

void notes_done(struct notes *n)
{
	free(n->bytes);
	*n = (struct notes) { 0 };
}

static void append(struct notes *n, const void *bytes, size_t len)
{
	size_t padded = ALIGN_UP(len, (size_t)4);

	if (n->room - n->len < padded) {
		n->room = MAX(2 * n->room, n->len + padded);
		n->bytes = xrealloc(n->bytes, n->room);
	}
	if (len)
		memcpy(n->bytes + n->len, bytes, len);
	memset(n->bytes + n->len + len, 0, padded - len);
	n->len += padded;
}

void notes_add(struct notes *n, const char *owner, uint32_t type, const void *desc, size_t len)
{
	Elf64_Nhdr head = { .n_namesz = (uint32_t)strlen(owner) + 1, .n_descsz = (uint32_t)len, .n_type = type };

	append(n, &head, sizeof head);
	append(n, owner, head.n_namesz);
	append(n, desc, len);
}

/* --- a thread --- */

static int add_status(struct notes *n, const struct image_process *p, const Godwit__Ckpt__Thread *t, struct err *e)
{
	const Godwit__Ckpt__ProcessMisc *misc = p->process->misc;
	struct elf_prstatus s = { 0 };

	if (t->regs.len != sizeof s.pr_reg)
		return err_set(e, -EINVAL, "thread %d has %zu bytes of registers", t->tid, t->regs.len);
	if (p->siginfo)
		memcpy(&s.pr_info.si_signo, p->siginfo, sizeof s.pr_info.si_signo);
	s.pr_cursig = (short)s.pr_info.si_signo;
	s.pr_sighold = t->sigmask;
	s.pr_pid = t->tid;
	s.pr_ppid = p->parent;
	s.pr_pgrp = misc ? (int)misc->pgid : 0;
	s.pr_sid = misc ? (int)misc->sid : 0;
	s.pr_fpvalid = t->xstate.len >= FXSAVE_LEN;
	memcpy(s.pr_reg, t->regs.data, sizeof s.pr_reg);
	notes_add(n, "CORE", NT_PRSTATUS, &s, sizeof s);
	return 0;
}

#define XSTATE_PKRU 9 /* the last component that gdb knows; it wants exactly what ends there */

/* How long the state is whose features are enabled, as gdb works it out from the features. */
static size_t xstate_full_len(uint64_t features)
{
	size_t len = FXSAVE_LEN + XSAVE_HEADER_LEN;
	unsigned size, offset, c, d;

	for (unsigned i = 2; i <= XSTATE_PKRU; i++)
		if (features >> i & 1 && __get_cpuid_count(0xd, i, &size, &offset, &c, &d) && size)
			len = MAX(len, (size_t)offset + size);
	return MIN(len, (size_t)XSTATE_ROOM);
}

/* The message leaves out what is in its initial state at the end; gdb wants all of it. */
static void add_vectors(struct notes *n, const Godwit__Ckpt__Thread *t)
{
	uint8_t room[XSTATE_ROOM] = { 0 };
	uint64_t features;
	size_t len = MIN(t->xstate.len, sizeof room);

	if (len < FXSAVE_LEN)
		return;
	memcpy(room, t->xstate.data, len);
	notes_add(n, "CORE", NT_FPREGSET, room, FXSAVE_LEN);
	/* The kernel puts XCR0 into bytes that FXSAVE leaves to software. */
	memcpy(&features, room + 464, sizeof features);
	if (features)
		notes_add(n, "LINUX", NT_X86_XSTATE, room, xstate_full_len(features));
}

/* --- the process --- */

static void add_psinfo(struct notes *n, const struct image_process *p, const char *args)
{
	const Godwit__Ckpt__Process *m = p->process;
	const Godwit__Ckpt__Creds *creds = m->threads[0]->creds;
	struct elf_prpsinfo s = { .pr_sname = 'T', .pr_state = 3 };

	s.pr_uid = creds ? creds->uid : 0;
	s.pr_gid = creds ? creds->gid : 0;
	s.pr_pid = m->pid;
	s.pr_ppid = p->parent;
	s.pr_pgrp = m->misc ? (int)m->misc->pgid : 0;
	s.pr_sid = m->misc ? (int)m->misc->sid : 0;
	memcpy(s.pr_fname, m->threads[0]->comm, strnlen(m->threads[0]->comm, sizeof s.pr_fname - 1));
	memcpy(s.pr_psargs, args, strnlen(args, sizeof s.pr_psargs - 1));
	notes_add(n, "CORE", NT_PRPSINFO, &s, sizeof s);
}

static const char *path_of(const Godwit__Ckpt__Job *job, uint32_t id)
{
	for (size_t i = 0; i < job->n_files; i++)
		if (job->files[i]->id == id)
			return job->files[i]->path;
	return NULL;
}

static const char *mapped_path(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Region *g)
{
	if (g->kind != GODWIT__CKPT__REGION__KIND__FILE_PRIVATE &&
	    g->kind != GODWIT__CKPT__REGION__KIND__FILE_SHARED)
		return NULL;
	return path_of(job, g->object);
}

/* Count, page size; start, end, offset in pages of each mapping; their names. */
static void add_files(struct notes *n, const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Memory *m)
{
	_cleanup_free_ uint64_t *table = xmalloc((2 + 3 * m->n_regions) * sizeof *table);
	_cleanup_free_ uint8_t *desc = NULL;
	uint64_t *at = table + 2;
	size_t names = 0, len;

	for (size_t i = 0; i < m->n_regions; i++) {
		const char *path = mapped_path(job, m->regions[i]);

		if (!path)
			continue;
		*at++ = m->regions[i]->start;
		*at++ = m->regions[i]->end;
		*at++ = m->regions[i]->offset / IMAGE_PAGE;
		names += strlen(path) + 1;
	}
	table[0] = (uint64_t)(at - table - 2) / 3;
	table[1] = IMAGE_PAGE;
	len = (size_t)(at - table) * sizeof *table;
	desc = xmalloc(len + names);
	memcpy(desc, table, len);
	for (size_t i = 0; i < m->n_regions; i++) {
		const char *path = mapped_path(job, m->regions[i]);

		if (path) {
			memcpy(desc + len, path, strlen(path) + 1);
			len += strlen(path) + 1;
		}
	}
	notes_add(n, "CORE", NT_FILE, desc, len);
}

int notes_add_process(struct notes *n, const Godwit__Ckpt__Job *job, const struct image_process *p,
		      const char *args, struct err *e)
{
	const Godwit__Ckpt__Process *m = p->process;
	uint8_t siginfo[IMAGE_SIGINFO_LEN] = { 0 };

	for (size_t i = 0; i < m->n_threads; i++) {
		int err = add_status(n, p, m->threads[i], e);

		if (err < 0)
			return err;
		if (i == 0) {
			add_psinfo(n, p, args);
			if (p->siginfo)
				memcpy(siginfo, p->siginfo, sizeof siginfo);
			notes_add(n, "CORE", NT_SIGINFO, siginfo, sizeof siginfo);
			notes_add(n, "CORE", NT_AUXV, m->memory->auxv.data, m->memory->auxv.len);
			add_files(n, job, m->memory);
		}
		add_vectors(n, m->threads[i]);
	}
	return 0;
}
