/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/peek_vma.h"

#include <stdlib.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/util.h"
#include "inject/bpf_insn.h"
#include "inject/peek_facts.h"

#define VMAS_MAX (1u << 22)

struct peek_vma {
	int prog, link;
};

/* The context is { meta, task, mapping }, each a pointer that the verifier knows; the last is NULL at the end. */
static int load_program(const struct peek_facts *f)
{
	const struct bpf_insn p[] = {
		MOV_REG(6, 1),
		LOAD64(7, 6, 16),
		IF_NOT_ZERO(7, 2),
		MOV_IMM(0, 0),
		EXIT(),
		LOAD64(1, 7, (short)f->v[FACT_VMA_START]),
		STORE64(10, 1, -16),
		LOAD64(1, 7, (short)f->v[FACT_VMA_FLAGS]),
		STORE64(10, 1, -8),
		LOAD64(1, 6, 0),
		LOAD64(1, 1, 0), /* meta->seq */
		MOV_REG(2, 10),
		ADD_IMM(2, -16),
		MOV_IMM(3, sizeof(struct vma_raw)),
		CALL(BPF_FUNC_seq_write),
		MOV_IMM(0, 0),
		EXIT(),
	};
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_TRACING,
				.expected_attach_type = BPF_TRACE_ITER,
				.attach_btf_id = (uint32_t)f->v[FACT_ITER_VMA],
				.insns = (uint64_t)(uintptr_t)p,
				.insn_cnt = ARRAY_LEN(p),
				.license = (uint64_t)(uintptr_t) "GPL" };

	return bpf(BPF_PROG_LOAD, &attr);
}

static int link_program(int prog, pid_t pid)
{
	/* By process: for a single thread the kernel (6.18) starts over at each read, for ever. */
	union bpf_iter_link_info info = { .task = { .pid = (uint32_t)pid } };
	union bpf_attr attr = { .link_create = { .prog_fd = (uint32_t)prog,
						 .attach_type = BPF_TRACE_ITER,
						 .iter_info = (uint64_t)(uintptr_t)&info,
						 .iter_info_len = sizeof info } };

	return bpf(BPF_LINK_CREATE, &attr);
}

int peek_vma_open(pid_t pid, struct peek_vma **ret, struct err *e)
{
	struct peek_facts facts;
	_cleanup_fd_ int prog = -EBADF, link = -EBADF;
	int err;

	if (!kernel_has(KERNEL_BPF_PEEK))
		return err_set(e, -ENOSYS, "this kernel does not describe its types");
	err = peek_facts_get(&facts, e);
	if (err < 0)
		return err;
	prog = load_program(&facts);
	if (prog < 0)
		return err_code(e, prog, "loading a program that walks mappings");
	link = link_program(prog, pid);
	if (link < 0)
		return err_code(e, link, "a program that walks the mappings of process %d", pid);
	*ret = xmalloc(sizeof **ret);
	**ret = (struct peek_vma) { steal_fd(&prog), steal_fd(&link) };
	return 0;
}

void peek_vma_free(struct peek_vma *p)
{
	if (!p)
		return;
	fd_close(&p->link);
	fd_close(&p->prog);
	free(p);
}

int peek_vma_read(struct peek_vma *p, struct vma_raw **ret, size_t *ret_n)
{
	union bpf_attr attr = { .iter_create = { .link_fd = (uint32_t)p->link } };
	_cleanup_fd_ int iter = bpf(BPF_ITER_CREATE, &attr);
	_cleanup_free_ struct vma_raw *list = NULL;
	size_t used = 0, room = 256 * sizeof *list;

	if (iter < 0)
		return iter;
	list = xmalloc(room);
	for (;;) {
		ssize_t n = read(iter, (char *)list + used, room - used);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		if (used && list[used / sizeof *list].start <= list[used / sizeof *list - 1].start)
			return -EIO;
		used += (size_t)n;
		if (used > VMAS_MAX * sizeof *list)
			return -EFBIG;
		if (used == room)
			list = xrealloc(list, room *= 2);
	}
	*ret_n = used / sizeof *list;
	*ret = steal_ptr(&list);
	return 0;
}
