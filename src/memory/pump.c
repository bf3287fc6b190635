/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

static int make_there(struct pump *p, uint32_t *ret_at, struct err *e)
{
	int first = 0, err;

	batch_init(p->b);
	*ret_at = batch_room(p->b, PUMP_PIPES * 2 * sizeof(int));
	for (uint32_t i = 0; i < PUMP_PIPES; i++) {
		int call = batch_call(p->b, NULL, SYS_pipe2, bdata(*ret_at + i * 2 * (uint32_t)sizeof(int)),
				      bval(O_CLOEXEC));

		first = i ? first : call;
	}
	err = batch_run(p->remote, &p->remote->threads[0], p->b, e);
	for (int i = 0; i < PUMP_PIPES && !err; i++)
		err = batch_ret(p->b, first + i) < 0 ? (int)batch_ret(p->b, first + i) : 0;
	return err;
}

/* What could be made of the pipes is closed again by pump_close. */
static int take_here(struct pump *p, const int (*ends)[2], struct err *e)
{
	for (int i = 0; i < PUMP_PIPES; i++) {
		p->there[i] = ends[i][1];
		remote_undo_close(p->remote, ends[i][1]);
	}
	for (int i = 0; i < PUMP_PIPES; i++) {
		p->here[i] = remote_getfd(p->remote, ends[i][0], e);
		if (p->here[i] < 0)
			return p->here[i];
		if (fcntl(p->here[i], F_SETPIPE_SZ, PUMP_PIPE_PAGES * PAGE_BYTES) < 0)
			return err_errno(e, "enlarging a pipe");
	}
	batch_init(p->b);
	for (int i = 0; i < PUMP_PIPES; i++)
		batch_call(p->b, NULL, SYS_close, bval((uint64_t)ends[i][0]));
	return batch_run(p->remote, &p->remote->threads[0], p->b, e);
}

/* Too few descriptors: gives back the ones it got. */
static int give_back(struct pump *p, const int (*ends)[2], int err, struct err *e)
{
	batch_init(p->b);
	for (int i = 0; i < PUMP_PIPES; i++) {
		if (!ends[i][1])
			continue;
		batch_call(p->b, NULL, SYS_close, bval((uint64_t)ends[i][0]));
		batch_call(p->b, NULL, SYS_close, bval((uint64_t)ends[i][1]));
	}
	if (p->b->n_calls) {
		int failed = batch_run(p->remote, &p->remote->threads[0], p->b, e);

		if (failed)
			return failed;
	}
	return err_code(e, err, "making pipes in process %d", p->remote->pid);
}

int pump_open(struct pump *p, struct remote *r, struct stream *stream, struct memory_stats *stats, struct err *e)
{
	int ends[PUMP_PIPES][2], err;
	uint32_t at;

	*p = (struct pump) { .remote = r, .stream = stream, .stats = stats, .b = xmalloc(sizeof(struct batch)) };
	for (int i = 0; i < PUMP_PIPES; i++)
		p->there[i] = p->here[i] = -EBADF;
	err = make_there(p, &at, e);
	if (err && e && e->code)
		return err;
	memcpy(ends, batch_at(p->b, at), sizeof ends);
	return err ? give_back(p, ends, err, e) : take_here(p, ends, e);
}

int pump_close(struct pump *p, struct err *e)
{
	int err;

	if (!p->b)
		return 0;
	batch_init(p->b);
	for (int i = 0; i < PUMP_PIPES; i++) {
		fd_close(&p->here[i]);
		if (p->there[i] >= 0)
			batch_call(p->b, NULL, SYS_close, bval((uint64_t)p->there[i]));
	}
	err = batch_run(p->remote, &p->remote->threads[0], p->b, e);
	if (!err)
		remote_undo_close(p->remote, -1);
	free(p->b);
	p->b = NULL;
	return err;
}

/* Queues one vmsplice a pipe. Nothing can make it wait: each pipe is empty and as large as what goes in. Returns
 * how many pipes are filled. */
static int queue_splices(struct pump *p, int *calls, size_t *lens)
{
	struct iovec iov[PUMP_PIPE_PAGES];
	uint64_t at = p->run[0].start;
	uint32_t run = 0;
	int n = 0;

	batch_init(p->b);
	for (; run < p->n_runs; n++) {
		uint32_t pages = 0, parts = 0;

		while (run < p->n_runs && pages < PUMP_PIPE_PAGES) {
			uint64_t left = (p->run[run].end - at) / PAGE_BYTES;
			uint32_t some = (uint32_t)MIN(left, PUMP_PIPE_PAGES - pages);

			iov[parts++] = (struct iovec) { (void *)(uintptr_t)at, some * PAGE_BYTES };
			pages += some;
			at += some * PAGE_BYTES;
			if (at == p->run[run].end && ++run < p->n_runs)
				at = p->run[run].start;
		}
		lens[n] = pages * PAGE_BYTES;
		calls[n] = batch_call(p->b, "putting pages into a pipe", SYS_vmsplice, bval((uint64_t)p->there[n]),
				      bdata(batch_put(p->b, iov, parts * sizeof *iov)), bval(parts),
				      bval(SPLICE_F_NONBLOCK));
	}
	return n;
}

static int send_head(struct pump *p, struct err *e)
{
	uint8_t head[CHUNK_HEAD_LEN], run[CHUNK_RUN_LEN];
	int err;

	chunk_put_head(head, p->n_runs, p->n_pages, 0);
	err = stream_write(p->stream, head, sizeof head, e);
	for (uint32_t i = 0; i < p->n_runs && !err; i++) {
		chunk_put_run(run, &p->run[i]);
		err = stream_write(p->stream, run, sizeof run, e);
	}
	return err ? err : stream_flush(p->stream, e);
}

int pump_flush(struct pump *p, struct err *e)
{
	size_t lens[PUMP_PIPES];
	int calls[PUMP_PIPES], n, err;

	if (!p->n_pages)
		return 0;
	n = queue_splices(p, calls, lens);
	err = send_head(p, e);
	if (!err)
		err = batch_run(p->remote, &p->remote->threads[0], p->b, e);
	for (int i = 0; i < n && !err; i++) {
		if (batch_ret(p->b, calls[i]) != (int64_t)lens[i])
			return err_set(e, -EFAULT, "a page of process %d cannot be read (near %llx)",
				       p->remote->pid, (unsigned long long)p->run[0].start);
		err = stream_splice(p->stream, p->here[i], lens[i], e);
	}
	p->stats->pages += p->n_pages;
	p->stats->bytes += p->n_pages * PAGE_BYTES;
	if (p->stats->tell)
		p->stats->tell(p->stats->tell_arg, p->stats);
	p->n_runs = p->n_pages = 0;
	return err;
}

int pump_send(struct pump *p, const struct extents *x, struct err *e)
{
	for (size_t i = 0; i < x->n; i++) {
		for (uint64_t at = x->e[i].start; at < x->e[i].end;) {
			uint64_t left = (x->e[i].end - at) / PAGE_BYTES;
			uint32_t some = (uint32_t)MIN(left, PUMP_PAGES - p->n_pages);

			p->run[p->n_runs++] = (struct extent) { at, at + some * PAGE_BYTES };
			p->n_pages += some;
			at += some * PAGE_BYTES;
			if (p->n_pages == PUMP_PAGES) {
				int err = pump_flush(p, e);

				if (err)
					return err;
			}
		}
	}
	return 0;
}
