/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of a checkpoint message before anyone looks closer: shapes, bounds, order, and that page
 * contents belong to memory that the message describes. Whether it can be restored here is the business of
 * src/state.
 */
#include <errno.h>
#include <string.h>
#include <sys/user.h>

#include "base/util.h"
#include "image/private.h"

#define USER_END (UINT64_C(1) << 47)
#define REGIONS_MAX (1u << 20)
#define THREADS_MAX 65536u
#define FILES_MAX (2u << 20)
#define XSTATE_MAX 65536u
#define STORED_MAX (IMAGE_CHUNK_MAX + IMAGE_CHUNK_MAX / 128 + 1024)
#define OBJECT_MAX (UINT64_C(1) << 47)

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s", what);
}

/* --- the process --- */

static int check_threads(const Godwit__Ckpt__Process *p, struct err *e)
{
	if (!p->n_threads)
		return bad(e, "a process without threads");
	if (p->n_threads > THREADS_MAX)
		return bad(e, "too many threads");
	if (p->threads[0]->tid != p->pid)
		return bad(e, "the first thread is not the process's leader");
	for (size_t i = 0; i < p->n_threads; i++) {
		const Godwit__Ckpt__Thread *t = p->threads[i];

		if (t->tid <= 0)
			return bad(e, "a thread with an impossible number");
		if (t->regs.len != sizeof(struct user_regs_struct))
			return bad(e, "a thread with an impossible number of registers");
		if (t->xstate.len > XSTATE_MAX)
			return bad(e, "a thread with too many vector registers");
	}
	return 0;
}

static int check_region(const Godwit__Ckpt__Region *g, uint64_t floor, struct err *e)
{
	if (g->start >= g->end || (g->start | g->end | g->offset) % IMAGE_PAGE || g->end > USER_END)
		return bad(e, "a mapping with impossible bounds");
	if (g->start < floor)
		return bad(e, "overlapping mappings");
	if (g->kind <= GODWIT__CKPT__REGION__KIND__NONE || g->kind > GODWIT__CKPT__REGION__KIND__STACK)
		return bad(e, "a mapping of an unknown kind");
	if (g->prot > 7)
		return bad(e, "a mapping with impossible protections");
	return 0;
}

static int check_memory(const Godwit__Ckpt__Memory *m, struct err *e)
{
	uint64_t floor = 0;

	if (!m)
		return bad(e, "a process without memory");
	if (m->n_regions > REGIONS_MAX)
		return bad(e, "too many mappings");
	if (m->auxv.len % 16 || m->auxv.len > 4096)
		return bad(e, "an impossible auxiliary vector");
	if (m->vdso_len > (1u << 20) || m->vdso_start > USER_END - (1u << 20))
		return bad(e, "an impossible vDSO");
	for (size_t i = 0; i < m->n_regions; i++) {
		int err = check_region(m->regions[i], floor, e);

		if (err < 0)
			return err;
		floor = m->regions[i]->end;
	}
	return 0;
}

/* --- page contents --- */

static int check_chunk(const Godwit__Image__Chunk *c, const Godwit__Image__Chunk *before, uint64_t size,
		       struct err *e)
{
	uint64_t stored = c->stored ? c->stored : c->bytes;

	if (!c->bytes || c->bytes > IMAGE_CHUNK_MAX || (c->start | c->bytes) % IMAGE_PAGE ||
	    c->start >= OBJECT_MAX)
		return bad(e, "page contents with impossible bounds");
	if (before &&
	    (before->space > c->space || (before->space == c->space && before->start + before->bytes > c->start)))
		return bad(e, "page contents out of order");
	if (stored > STORED_MAX || c->offset > size || stored > size - c->offset)
		return bad(e, "page contents outside of the file");
	return 0;
}

/* Contents of addresses must lie in mappings; both ascend. */
static int check_places(const Godwit__Image__Image *m, struct err *e)
{
	const Godwit__Ckpt__Memory *memory = m->process->memory;
	size_t r = 0;

	for (size_t i = 0; i < m->n_chunks && !m->chunks[i]->space; i++) {
		uint64_t at = m->chunks[i]->start, end = at + m->chunks[i]->bytes;

		while (at < end) {
			while (r < memory->n_regions && memory->regions[r]->end <= at)
				r++;
			if (r == memory->n_regions || memory->regions[r]->start > at)
				return bad(e, "page contents where nothing is mapped");
			at = MIN(end, memory->regions[r]->end);
		}
	}
	return 0;
}

/* After the chunks: their number of pages is bounded. */
static int check_hashes(const Godwit__Image__Image *m, uint64_t size, struct err *e)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < m->n_chunks; i++)
		pages += m->chunks[i]->bytes / IMAGE_PAGE;
	if (m->hashes > size || pages * IMAGE_HASH_LEN > size - m->hashes)
		return bad(e, "hashes of page contents outside of the file");
	return 0;
}

int image_check(const Godwit__Image__Image *m, uint64_t size, int32_t pid, struct err *e)
{
	int err;

	if (m->version != IMAGE_VERSION)
		return err_set(e, -EBADMSG, "version %u of the format, not %u", m->version, IMAGE_VERSION);
	if (!m->of || m->of > IMAGE_PROCESSES_MAX || m->index >= m->of)
		return bad(e, "an impossible number of processes");
	if (!m->process || m->process->pid <= 0)
		return bad(e, "a core without a process");
	if (m->process->pid != pid)
		return err_set(e, -EBADMSG, "process %d under the name of another", m->process->pid);
	if ((m->index == 0) != (m->job != NULL) || (m->job && m->job->n_processes))
		return bad(e, "the job is not where it should be");
	if (m->siginfo.len && m->siginfo.len != IMAGE_SIGINFO_LEN)
		return bad(e, "an impossible siginfo");
	if (m->hash.len != IMAGE_HASH_LEN)
		return bad(e, "no hash of the page contents");
	if (m->n_chunks > IMAGE_CHUNKS_MAX ||
	    (m->job && (m->job->n_files > FILES_MAX || m->job->n_shared > REGIONS_MAX)))
		return bad(e, "too many pieces");
	err = check_threads(m->process, e);
	if (!err)
		err = check_memory(m->process->memory, e);
	if (!err && m->vdso.len && m->vdso.len != m->process->memory->vdso_len)
		err = bad(e, "a vDSO of another length");
	for (size_t i = 0; i < m->n_chunks && !err; i++)
		err = check_chunk(m->chunks[i], i ? m->chunks[i - 1] : NULL, size, e);
	if (!err)
		err = check_hashes(m, size, e);
	return err ? err : check_places(m, e);
}
