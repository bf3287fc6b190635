/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/util.h"
#include "inject/filter.h"
#include "inject/internal.h"

_Static_assert(BATCH_CALLS_MAX == AGENT_CALLS_MAX && BATCH_DATA_MAX == AGENT_DATA_MAX,
	       "one is copied into the other");

void batch_init(struct batch *b)
{
	b->n_calls = 0;
	b->data_len = 0;
	b->error = 0;
}

int batch_call_n(struct batch *b, const char *expect, long nr, const struct barg *args, size_t n)
{
	struct batch_call *c;

	if (b->n_calls == BATCH_CALLS_MAX || n > 6) {
		b->error = -E2BIG;
		return 0;
	}
	c = &b->call[b->n_calls];
	memset(c, 0, sizeof *c);
	c->nr = (uint64_t)nr;
	c->expect = expect;
	c->ret = -ECANCELED;
	for (size_t i = 0; i < n; i++) {
		c->arg[i] = args[i].value;
		c->from[i] = args[i].from;
		if (args[i].from == AGENT_RESULT && args[i].value >= b->n_calls)
			b->error = -EINVAL;
		if (args[i].from == AGENT_DATA && args[i].value > b->data_len)
			b->error = -EINVAL;
	}
	return b->n_calls++;
}

uint32_t batch_room(struct batch *b, size_t len)
{
	uint32_t at = b->data_len;

	if (len > BATCH_DATA_MAX - at) {
		b->error = -E2BIG;
		return 0;
	}
	memset(b->data + at, 0, len);
	b->data_len = (uint32_t)MIN(ALIGN_UP(at + len, (size_t)8), (size_t)BATCH_DATA_MAX);
	return at;
}

uint32_t batch_put(struct batch *b, const void *data, size_t len)
{
	uint32_t at = batch_room(b, len);

	if (!b->error && len)
		memcpy(b->data + at, data, len);
	return at;
}

void batch_touch_tiles(struct batch *b)
{
	/* Palette 1; one tile of one row of 64 bytes. */
	uint8_t config[64] = { [0] = 1, [16] = 64, [48] = 1 };
	uint32_t at = batch_put(b, config, sizeof config);

	(void)batch_call(b, NULL, AGENT_CALL_TILES, bdata(at));
}

static void to_agent(struct agent_call *to, const struct batch_call *from)
{
	to->nr = from->nr;
	memcpy(to->arg, from->arg, sizeof to->arg);
	memcpy(to->from, from->from, sizeof to->from);
	to->flags = from->expect ? AGENT_STOP_ON_ERROR : 0;
	to->pad = 0;
	to->ret = -ECANCELED;
}

#define NO_SUCH_CALL UINT64_MAX

/* Head, calls and data lie one behind the other there, apart from what is not used of each. */
static int send_batch(struct remote *r, struct remote_thread *t, const struct batch *b, struct agent_data *d)
{
	uint64_t there = r->link->data;
	size_t calls_len = b->n_calls * sizeof d->call[0];
	struct iovec from[] = { { d, offsetof(struct agent_data, call) + calls_len },
				{ (void *)(uintptr_t)b->data, b->data_len } };
	struct iovec to[] = { { (void *)there, from[0].iov_len },
			      { (void *)(there + offsetof(struct agent_data, data)), b->data_len } };
	int parts = b->data_len ? 2 : 1;

	arch_home(&d->home, r, t);
	d->batch_mask = batch_mask(r->link);
	d->stack_top = there + offsetof(struct agent_data, stack) + AGENT_STACK_SIZE;
	d->n_calls = b->n_calls;
	d->n_done = 0;
	d->n_undo = r->link->n_undo;
	memcpy(d->undo, r->link->undo, sizeof d->undo);
	for (unsigned i = 0; i < b->n_calls; i++)
		to_agent(&d->call[i], &b->call[i]);
	for (unsigned i = 0; r->link->fail.code && i < b->n_calls; i++)
		if (fail_now(r->link, b->call[i].nr, b->call[i].expect))
			d->call[i].nr = NO_SUCH_CALL;
	if (process_vm_writev(r->pid, from, (unsigned)parts, to, (unsigned)parts, 0) < 0)
		return -errno;
	return 0;
}

static int fetch_results(struct remote *r, struct batch *b, struct agent_data *d)
{
	uint64_t there = r->link->data;
	size_t calls_len = b->n_calls * sizeof d->call[0];
	struct iovec here[] = { { d->call, calls_len }, { b->data, b->data_len } };
	struct iovec from[] = { { (void *)(there + offsetof(struct agent_data, call)), calls_len },
				{ (void *)(there + offsetof(struct agent_data, data)), b->data_len } };
	ssize_t n = process_vm_readv(r->pid, here, 2, from, 2, 0);

	if (n != (ssize_t)(calls_len + b->data_len))
		return n < 0 ? -errno : -EFAULT;
	for (unsigned i = 0; i < b->n_calls; i++) {
		bool failed = d->call[i].nr == NO_SUCH_CALL && d->call[i].ret == -ENOSYS;

		b->call[i].ret = failed ? -r->link->fail.code : d->call[i].ret;
	}
	return 0;
}

static int judge(const struct batch *b, struct err *e)
{
	for (unsigned i = 0; i < b->n_calls; i++) {
		const struct batch_call *c = &b->call[i];

		if (c->expect && c->ret < 0 && c->ret > -4096)
			return err_code(e, (int)c->ret, "%s", c->expect);
	}
	return 0;
}

/* Should we die, the agent may be in the middle of it. */
static int judge_beforehand(const struct remote *r, const struct remote_thread *t, const struct batch *b,
			    struct err *e)
{
	int err = 0;

	for (unsigned i = 0; t->filters && i < b->n_calls && !err; i++) {
		const struct batch_call *c = &b->call[i];
		uint64_t arg[6];

		for (int k = 0; k < 6; k++)
			arg[k] = c->from[k] == AGENT_DATA    ? remote_batch_addr(r, (uint32_t)c->arg[k]).a
				 : c->from[k] == AGENT_VALUE ? c->arg[k]
							     : 0;
		if (c->nr != AGENT_CALL_TILES)
			err = filter_judge(r, t, c->nr, arg, r->agent.a, e);
	}
	for (unsigned i = 0; t->filters && i < r->link->n_undo && !err; i++)
		err = filter_judge(r, t, r->link->undo[i].nr, r->link->undo[i].arg, r->agent.a, e);
	return err;
}

int batch_run(struct remote *r, struct remote_thread *t, struct batch *b, struct err *e)
{
	/* Only what is used of it is ever touched. */
	_cleanup_free_ struct agent_data *d = NULL;
	struct user_regs_struct go;
	const uint64_t *head = (const void *)agent_blob_start;
	int err;

	if (b->error)
		return err_code(e, b->error, "a batch does not fit");
	if (!b->n_calls)
		return 0;
	if (!r->agent.a)
		return err_set(e, -EINVAL, "no agent in process %d", r->pid);
	err = judge_beforehand(r, t, b, e);
	if (err < 0)
		return err;
	d = xmalloc(offsetof(struct agent_data, data));
	err = send_batch(r, t, b, d);
	if (err < 0)
		return err_code(e, err, "cannot hand work to process %d", r->pid);
	arch_enter(&go, &t->regs, r->agent.a + head[0]);
	err = trace_run(r, t, &go, r->agent.a + head[1], NULL, e);
	if (err < 0)
		return err;
	err = fetch_results(r, b, d);
	if (err < 0)
		return err_code(e, err, "cannot take results from process %d", r->pid);
	return judge(b, e);
}

int64_t remote_call(struct remote *r, struct remote_thread *t, struct err *e, long nr, const uint64_t args[6])
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	struct barg barg[6];
	int call, err;

	for (int i = 0; i < 6; i++)
		barg[i] = bval(args[i]);
	batch_init(b);
	call = batch_call_n(b, NULL, nr, barg, 6);
	err = batch_run(r, t, b, e);
	return err < 0 ? err : batch_ret(b, call);
}

void remote_die_in_batch(struct remote *r, struct remote_thread *t)
{
	const uint64_t *head = (const void *)agent_blob_start;
	struct agent_data *d = xcalloc(1, sizeof *d);
	struct batch *b = xmalloc(sizeof *b);
	struct user_regs_struct go;

	batch_init(b);
	(void)batch_call(b, NULL, SYS_getpid);
	if (!send_batch(r, t, b, d)) {
		arch_enter(&go, &t->regs, r->agent.a + head[0]);
		if (trace_set_regs(t->tid, &go) < 0 || trace_set_mask(t->tid, batch_mask(r->link)) < 0 ||
		    trace_go(t->tid, 0) < 0)
			abort();
	}
	(void)raise(SIGKILL);
	abort();
}
