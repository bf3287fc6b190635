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
#include "image/check_job.h"
#include "image/private.h"

#define STORED_MAX (IMAGE_CHUNK_MAX + IMAGE_CHUNK_MAX / 128 + 1024)
#define OBJECT_MAX (UINT64_C(1) << 47)

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s", what);
}

/* --- the process --- */

static int check_process(const Godwit__Ckpt__Process *p, struct err *e)
{
	int err = process_check(p, false, e);

	for (size_t i = 0; i < p->n_threads && !err; i++)
		if (p->threads[i]->regs.len != sizeof(struct user_regs_struct))
			err = bad(e, "a thread with an impossible number of registers");
	return err;
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
	    (m->job && (m->job->n_files > CHECK_FILES_MAX || m->job->n_shared > CHECK_REGIONS_MAX)))
		return bad(e, "too many pieces");
	err = check_process(m->process, e);
	if (!err && m->vdso.len && m->vdso.len != m->process->memory->vdso_len)
		err = bad(e, "a vDSO of another length");
	for (size_t i = 0; i < m->n_chunks && !err; i++)
		err = check_chunk(m->chunks[i], i ? m->chunks[i - 1] : NULL, size, e);
	if (!err)
		err = check_hashes(m, size, e);
	return err ? err : check_places(m, e);
}
