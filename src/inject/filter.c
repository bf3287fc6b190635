/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "inject/internal.h"

#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif

struct metadata { /* the kernel's struct seccomp_metadata */
	uint64_t filter_off, flags;
};

void filters_free(struct filters *f)
{
	for (size_t i = 0; f && i < f->n; i++)
		free(f->list[i].code);
	if (f)
		free(f->list);
	free(f);
}

/* The `i`th, oldest first (Linux 6.18 counts so, whatever its comment says); 0: there is none. */
static int read_one(pid_t tid, size_t i, struct filter *f)
{
	struct metadata meta = { .filter_off = i };
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, NULL);

	/* EINVAL: this thread has no filters; ENOENT: not so many. */
	if (n < 0)
		return errno == EINVAL || errno == ENOENT ? 0 : -errno;
	if (n == 0 || n > BPF_MAXINSNS)
		return -EPROTO;
	f->code = xcalloc((size_t)n, sizeof(*f->code));
	f->len = (uint16_t)n;
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, f->code) != n)
		return -EPROTO;
	if (ptrace(PTRACE_SECCOMP_GET_METADATA, tid, sizeof meta, &meta) < 0)
		return -errno;
	f->log = meta.flags & SECCOMP_FILTER_FLAG_LOG;
	return 1;
}

int filters_read(pid_t tid, struct filters **ret)
{
	struct filters *f = xcalloc(1, sizeof(*f));
	int got = 1;

	*ret = NULL;
	while (got > 0 && f->n < FILTERS_MAX) {
		struct filter one = { 0 };

		got = read_one(tid, f->n, &one);
		if (got > 0) {
			f->list = xrealloc(f->list, (f->n + 1) * sizeof(*f->list));
			f->list[f->n++] = one;
		} else {
			free(one.code);
		}
	}
	if (got > 0)
		got = -E2BIG;
	if (got < 0 || !f->n)
		filters_free(f);
	else
		*ret = f;
	return got;
}

bool filters_equal(const struct filter *a, const struct filter *b)
{
	return a->len == b->len && a->log == b->log && !memcmp(a->code, b->code, a->len * sizeof(*a->code));
}

bool filter_notifies(const struct filter *f)
{
	for (uint16_t i = 0; i < f->len; i++)
		if (f->code[i].code == (BPF_RET | BPF_K) &&
		    (f->code[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

/* --- what a filter says: classic BPF as far as the kernel takes it for seccomp --- */

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
};

static void compute(struct machine *m, const struct sock_filter *c)
{
	uint32_t by = BPF_SRC(c->code) == BPF_X ? m->x : c->k;

	switch (BPF_OP(c->code)) {
	case BPF_ADD:
		m->a += by;
		break;
	case BPF_SUB:
		m->a -= by;
		break;
	case BPF_MUL:
		m->a *= by;
		break;
	case BPF_DIV:
		m->a = by ? m->a / by : 0;
		break;
	case BPF_AND:
		m->a &= by;
		break;
	case BPF_OR:
		m->a |= by;
		break;
	case BPF_XOR:
		m->a ^= by;
		break;
	case BPF_LSH:
		m->a <<= by & 31;
		break;
	case BPF_RSH:
		m->a >>= by & 31;
		break;
	default:
		m->a = -m->a;
	}
}

static size_t jump(const struct machine *m, const struct sock_filter *c)
{
	uint32_t with = BPF_SRC(c->code) == BPF_X ? m->x : c->k;
	bool yes;

	switch (BPF_OP(c->code)) {
	case BPF_JA:
		return c->k;
	case BPF_JEQ:
		yes = m->a == with;
		break;
	case BPF_JGT:
		yes = m->a > with;
		break;
	case BPF_JGE:
		yes = m->a >= with;
		break;
	default:
		yes = m->a & with;
	}
	return yes ? c->jt : c->jf;
}

/* False: an instruction that the kernel would not have taken. */
static bool load(struct machine *m, const struct sock_filter *c, const struct seccomp_data *d)
{
	bool to_x = BPF_CLASS(c->code) == BPF_LDX;
	uint32_t value;

	switch (BPF_MODE(c->code)) {
	case BPF_IMM:
		value = c->k;
		break;
	case BPF_LEN:
		value = sizeof *d;
		break;
	case BPF_MEM:
		if (c->k >= BPF_MEMWORDS)
			return false;
		value = m->mem[c->k];
		break;
	case BPF_ABS:
		if (c->k > sizeof *d - sizeof value || c->k % sizeof value)
			return false;
		memcpy(&value, (const uint8_t *)d + c->k, sizeof value);
		break;
	default:
		return false;
	}
	*(to_x ? &m->x : &m->a) = value;
	return true;
}

static uint32_t run(const struct filter *f, const struct seccomp_data *d)
{
	struct machine m = { 0 };

	for (size_t pc = 0; pc < f->len; pc++) { /* jumps go forward only */
		const struct sock_filter *c = &f->code[pc];

		switch (BPF_CLASS(c->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (!load(&m, c, d))
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_ST:
		case BPF_STX:
			if (c->k >= BPF_MEMWORDS)
				return SECCOMP_RET_KILL_PROCESS;
			m.mem[c->k] = BPF_CLASS(c->code) == BPF_ST ? m.a : m.x;
			break;
		case BPF_ALU:
			compute(&m, c);
			break;
		case BPF_JMP:
			pc += jump(&m, c);
			break;
		case BPF_RET:
			return BPF_RVAL(c->code) == BPF_A ? m.a : c->k;
		default:
			if (BPF_MISCOP(c->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static enum filter_verdict judge_action(uint32_t action)
{
	switch (action & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return FILTER_LETS;
	case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE: /* nobody traces it then: ENOSYS */
		return FILTER_DENIES;
	default:
		return FILTER_DESTROYS;
	}
}

enum filter_verdict filters_ask(const struct filters *f, uint64_t nr, const uint64_t arg[6], uint64_t ip)
{
	struct seccomp_data d = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = ip };
	enum filter_verdict worst = FILTER_LETS;

	for (int i = 0; i < 6; i++)
		d.args[i] = arg[i];
	for (size_t i = 0; f && i < f->n; i++)
		worst = MAX(worst, judge_action(run(&f->list[i], &d)));
	return worst;
}

/* --- what that means for us --- */

static int refuse(const struct remote_thread *t, uint64_t nr, struct err *e)
{
	char *name = seccomp_syscall_resolve_num_arch(AUDIT_ARCH_X86_64, (int)nr);

	(void)err_set(
		e, -EPERM,
		"the seccomp filter of thread %d would end it at %s(), which it may need to come back to what it "
		"was doing",
		t->vtid, name ? name : "?");
	free(name);
	return -EPERM;
}

int filter_judge(const struct remote *r, const struct remote_thread *t, uint64_t nr, const uint64_t arg[6],
		 uint64_t ip, struct err *e)
{
	uint64_t mask[6] = { SIG_SETMASK, r->link->data, 0, sizeof(uint64_t) };
	uint64_t ring[6] = { (uint64_t)r->vpid, (uint64_t)t->vtid, (uint64_t)r->link->doorbell };

	if (!t->filters)
		return 0;
	if (filters_ask(t->filters, nr, arg, ip) == FILTER_DESTROYS)
		return refuse(t, nr, e);
	if (filters_ask(t->filters, SYS_tgkill, ring, ip) == FILTER_DESTROYS)
		return refuse(t, SYS_tgkill, e);
	/* Only this must be done: all else may fail. */
	if (filters_ask(t->filters, SYS_rt_sigprocmask, mask, ip) != FILTER_LETS)
		return refuse(t, SYS_rt_sigprocmask, e);
	return 0;
}

bool filter_can_suspend(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return prctl(PR_GET_SECCOMP) == 0 && syscall(SYS_capget, &head, data) == 0 &&
	       data[0].effective >> CAP_SYS_ADMIN & 1;
}
