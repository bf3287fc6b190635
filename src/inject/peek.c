/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/peek.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/util.h"
#include "inject/bpf_insn.h"
#include "inject/peek_facts.h"

#define RESTART_LEN 64 /* bytes of a restart block that we read */
#define STACK_LEN 16384

struct peek {
	struct peek_facts facts;
	int restart_prog, stack_prog, stack_map;
	uint64_t *stack; /* the map, mapped: one word of nothing, then the thread's stack */
};

static int load(const struct bpf_insn *insns, size_t n)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SYSCALL,
				.insns = (uint64_t)(uintptr_t)insns,
				.insn_cnt = (uint32_t)n,
				.license = (uint64_t)(uintptr_t) "GPL",
				.prog_flags = BPF_F_SLEEPABLE };

	return bpf(BPF_PROG_LOAD, &attr);
}

/* The context is { pid, RESTART_LEN bytes of restart block, switches }. */
static int load_restart(const struct peek_facts *f)
{
	struct bpf_insn p[64];
	size_t n = 0;

	p[n++] = MOV_REG(6, 1);
	p[n++] = LOAD32(1, 6, 0);
	p[n++] = CALL_KERNEL(f->v[FACT_TASK_FROM_VPID]);
	p[n++] = IF_NOT_ZERO(0, 2);
	p[n++] = MOV_IMM(0, 1);
	p[n++] = EXIT();
	p[n++] = MOV_REG(7, 0);
	p[n++] = MOV_REG(1, 10);
	p[n++] = ADD_IMM(1, -RESTART_LEN);
	p[n++] = MOV_IMM(2, RESTART_LEN);
	p[n++] = MOV_REG(3, 7);
	p[n++] = ADD_IMM(3, f->v[FACT_RESTART_BLOCK]);
	p[n++] = CALL(BPF_FUNC_probe_read_kernel);
	for (short i = 0; i < RESTART_LEN; i += 8) {
		p[n++] = LOAD64(1, 10, (short)(i - RESTART_LEN));
		p[n++] = STORE64(6, 1, (short)(8 + i));
	}
	p[n++] = MOV_REG(1, 10);
	p[n++] = ADD_IMM(1, -8);
	p[n++] = MOV_IMM(2, 8);
	p[n++] = MOV_REG(3, 7);
	p[n++] = ADD_IMM(3, f->v[FACT_TASK_SWITCHES]);
	p[n++] = CALL(BPF_FUNC_probe_read_kernel);
	p[n++] = LOAD64(1, 10, -8);
	p[n++] = STORE64(6, 1, 8 + RESTART_LEN);
	p[n++] = MOV_REG(1, 7);
	p[n++] = CALL_KERNEL(f->v[FACT_TASK_RELEASE]);
	p[n++] = MOV_IMM(0, 0);
	p[n++] = EXIT();
	return load(p, n);
}

/* The context is { pid }; the stack goes to the map, behind its first word. */
static int load_stack(const struct peek_facts *f, int map)
{
	const struct bpf_insn p[] = {
		LOAD32(1, 1, 0),
		CALL_KERNEL(f->v[FACT_TASK_FROM_VPID]),
		IF_NOT_ZERO(0, 2),
		MOV_IMM(0, 1),
		EXIT(),
		MOV_REG(7, 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 6, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV_REG(1, 10),
		ADD_IMM(1, -8),
		MOV_IMM(2, 8),
		MOV_REG(3, 7),
		ADD_IMM(3, f->v[FACT_TASK_STACK]),
		CALL(BPF_FUNC_probe_read_kernel),
		MOV_REG(1, 6),
		ADD_IMM(1, 8),
		MOV_IMM(2, STACK_LEN),
		LOAD64(3, 10, -8),
		CALL(BPF_FUNC_probe_read_kernel),
		MOV_REG(8, 0),
		MOV_REG(1, 7),
		CALL_KERNEL(f->v[FACT_TASK_RELEASE]),
		MOV_REG(0, 8),
		EXIT(),
	};

	return load(p, ARRAY_LEN(p));
}

static int make_map(struct peek *p)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = STACK_LEN + 8,
				.max_entries = 1,
				.map_flags = BPF_F_MMAPABLE };
	void *at;

	p->stack_map = bpf(BPF_MAP_CREATE, &attr);
	if (p->stack_map < 0)
		return p->stack_map;
	at = mmap(NULL, STACK_LEN + 4096, PROT_READ, MAP_SHARED, p->stack_map, 0);
	if (at == MAP_FAILED)
		return -errno;
	p->stack = at;
	return 0;
}

int peek_open(struct peek **ret, struct err *e)
{
	struct peek *p;
	int err;

	if (!kernel_has(KERNEL_BPF_PEEK))
		return err_set(e, -ENOSYS, "this kernel does not describe its types");
	p = xcalloc(1, sizeof *p);
	p->restart_prog = p->stack_prog = p->stack_map = -EBADF;
	err = peek_facts_get(&p->facts, e);
	if (!err)
		err = make_map(p);
	if (!err)
		err = p->restart_prog = load_restart(&p->facts);
	if (err >= 0)
		err = p->stack_prog = load_stack(&p->facts, p->stack_map);
	if (err < 0) {
		peek_free(p);
		return err_code(e, err, "cannot look at timeouts with BPF");
	}
	*ret = p;
	return 0;
}

void peek_free(struct peek *p)
{
	if (!p)
		return;
	if (p->stack)
		(void)munmap(p->stack, STACK_LEN + 4096);
	fd_close(&p->restart_prog);
	fd_close(&p->stack_prog);
	fd_close(&p->stack_map);
	free(p);
}

static int run(int prog, void *ctx, size_t len)
{
	union bpf_attr attr = { .test = { .prog_fd = (uint32_t)prog,
					  .ctx_in = (uint64_t)(uintptr_t)ctx,
					  .ctx_size_in = (uint32_t)len } };
	int err = bpf(BPF_PROG_TEST_RUN, &attr);

	if (err < 0)
		return err;
	return attr.test.retval ? -ESRCH : 0;
}

static uint64_t word(const uint8_t *block, uint64_t at)
{
	uint64_t v = 0;

	if (at + sizeof v <= RESTART_LEN)
		memcpy(&v, block + at, sizeof v);
	return v;
}

static enum peek_kind kind_of(const struct peek_facts *f, uint64_t fn)
{
	static const struct {
		enum peek_fact fact;
		enum peek_kind kind;
	} known[] = {
		{ FACT_NANOSLEEP_RESTART, PEEK_NANOSLEEP }, { FACT_POLL_RESTART, PEEK_POLL },
		{ FACT_FUTEX_RESTART, PEEK_FUTEX },	    { FACT_CPU_RESTART, PEEK_CPU_SLEEP },
		{ FACT_ALARM_RESTART, PEEK_ALARM_SLEEP },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (fn && f->v[known[i].fact] == fn)
			return known[i].kind;
	return PEEK_NOTHING;
}

int peek_restart(struct peek *p, pid_t tid, struct peek_restart *ret)
{
	struct {
		uint64_t pid;
		uint8_t block[RESTART_LEN];
		uint64_t switches;
	} ctx = { .pid = (uint64_t)tid };
	const uint64_t *f = p->facts.v;
	int err = run(p->restart_prog, &ctx, sizeof ctx);

	if (err < 0)
		return err;
	*ret = (struct peek_restart) { .kind = kind_of(&p->facts, word(ctx.block, f[FACT_RESTART_FN])),
				       .clock = CLOCK_MONOTONIC,
				       .expires_ns = -1,
				       .switches = ctx.switches };
	switch (ret->kind) {
	case PEEK_NANOSLEEP:
	case PEEK_CPU_SLEEP:
	case PEEK_ALARM_SLEEP:
		ret->clock = (int)(uint32_t)word(ctx.block, f[FACT_SLEEP_CLOCK]);
		ret->expires_ns = (int64_t)word(ctx.block, f[FACT_SLEEP_EXPIRES]);
		ret->remainder = word(ctx.block, f[FACT_SLEEP_REMAINDER]);
		return 0;
	case PEEK_FUTEX:
		ret->expires_ns = (int64_t)word(ctx.block, f[FACT_FUTEX_TIME]);
		return 0;
	case PEEK_POLL:
		if ((uint32_t)word(ctx.block, f[FACT_POLL_HAS_TIMEOUT]))
			ret->expires_ns = (int64_t)(word(ctx.block, f[FACT_POLL_SEC]) * 1000000000 +
						    word(ctx.block, f[FACT_POLL_NSEC]));
		return 0;
	default:
		return 0;
	}
}

/* A timer that wakes a sleeper lies on the sleeper's stack; its function gives it away. */
int peek_sleep(struct peek *p, pid_t tid, int64_t *ret_expires_ns)
{
	struct {
		uint64_t pid;
	} ctx = { .pid = (uint64_t)tid };
	const uint64_t *stack = p->stack + 1, *f = p->facts.v;
	uint64_t function = f[FACT_TIMER_FUNCTION] / 8, expires = f[FACT_TIMER_EXPIRES] / 8;
	int err = run(p->stack_prog, &ctx, sizeof ctx);

	if (err < 0)
		return err;
	for (size_t i = function; i < STACK_LEN / 8; i++) {
		if (stack[i] != f[FACT_TIMER_WAKEUP] || i - function + expires >= STACK_LEN / 8)
			continue;
		*ret_expires_ns = (int64_t)stack[i - function + expires];
		return 0;
	}
	return -ENOENT;
}
