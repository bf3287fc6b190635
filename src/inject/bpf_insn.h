/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_BPF_INSN_H
#define GW_INJECT_BPF_INSN_H

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Just enough to write small BPF programs by hand. */

#define INSN(c, d, s, o, i)                                                                                       \
	(struct bpf_insn)                                                                                         \
	{                                                                                                         \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (int)(i)                          \
	}
#define MOV_REG(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LOAD64(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define LOAD32(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE64(d, s, o) INSN(BPF_STX | BPF_MEM | BPF_DW, d, s, o, 0)
#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define CALL_KERNEL(id) INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define IF_NOT_ZERO(d, skip) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, skip, 0)

static inline int bpf(int what, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, what, attr, sizeof *attr);

	return r < 0 ? -errno : r;
}

#endif
