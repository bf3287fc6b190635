/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stun. The mover stops the job as for a migration, writes its checkpoint message down, and leaves it frozen in
 * its cgroup, where it needs nobody: neither the mover nor a procd that lives. The owner gets the message and says
 * what comes next; until then the job's memory can be read and written.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define MESSAGE_MOVES_MAX (4 << 20)
#define MEMORY_MAX (1u << 20)

char *stun_message_path(const struct job *j)
{
	return xasprintf("%s/checkpoint", j->container.dir);
}

void stun_wake(struct job *j)
{
	_cleanup_free_ char *path = stun_message_path(j);
	struct err e = { 0 };

	owner_forget(j);
	j->spec->stunned = false;
	(void)unlink(path);
	if (jobs_save(j, &e) < 0)
		log_error("job %s: %s", j->name, err_text(&e));
	(void)jobs_settle(j);
}

/* --- stopping --- */

void stun_fill(const struct migration_out *m, Godwit__Mover__Stun *ret)
{
	ret->kind = m->emergency ? GODWIT__MOVER__STUN__KIND__EMERGENCY : GODWIT__MOVER__STUN__KIND__NORMAL;
	ret->timeout_ms = m->calls_ms;
}

void stun_prepare(struct migration_out *m)
{
	Godwit__Mover__Describe q = GODWIT__MOVER__DESCRIBE__INIT;

	m->spooled = true;
	if (mover_say(m->mover, MOVER_KIND(DESCRIBE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover");
}

void stun_fill_commit(const struct job *j, Godwit__Procd__Commit *c)
{
	_cleanup_free_ char *path = stun_message_path(j);
	char *bytes = NULL;
	ssize_t len = j->spec->stunned ? fd_slurp(AT_FDCWD, path, MESSAGE_MOVES_MAX, &bytes) : 0;

	if (len <= 0) {
		free(bytes);
		return;
	}
	c->message.data = (uint8_t *)bytes;
	c->message.len = (size_t)len;
}

void stun_keep_message(const struct job *j, const Godwit__Procd__Commit *c)
{
	_cleanup_free_ char *path = stun_message_path(j);
	_cleanup_fd_ int fd = -EBADF;

	if (!j->spec->stunned || !c->message.len)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, c->message.data, c->message.len) < 0) {
		log_warn("job %s: its checkpoint message is lost", j->name);
		(void)unlink(path);
	}
}

void stun_take(struct migration_out *m)
{
	Godwit__Mover__Take q = GODWIT__MOVER__TAKE__INIT;
	_cleanup_free_ char *path = stun_message_path(m->job);

	q.path = path;
	if (mover_say(m->mover, MOVER_KIND(TAKE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover");
}

static void stay(struct job *j)
{
	j->spec->stunned = true;
	j->spec->stuns++;
	log_info("job %s: stunned", j->name);
	owner_stunned(j);
}

void stun_done(struct migration_out *m)
{
	Godwit__Mover__Finish finish = GODWIT__MOVER__FINISH__INIT;

	m->resumed_us = now_us();
	(void)!mover_say(m->mover, MOVER_KIND(FINISH), &finish, NULL, 0);
	stay(m->job);
	out_finish(m);
}

bool stun_anyway(struct migration_out *m)
{
	if (!m->emergency || !m->job || m->job->state != JOB_RUNNING ||
	    container_freeze(&m->job->container, &m->p->cgroups, true) < 0)
		return false;
	stay(m->job);
	return true;
}

/* --- requests --- */

void stun_start(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Report report = GODWIT__PROCD__REPORT__INIT;

	if (!j->spec->stunned) {
		migrate_stun(j, c);
		return;
	}
	if (!c->request->stun->emergency) {
		call_refuse(c, -EALREADY, "job %s is stunned already", j->name);
		return;
	}
	owner_stunned(j);
	report.job = j->name;
	report.source = j->p->settings.name;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_REPORT;
	r.report = &report;
	call_reply(c, &r);
}

void stun_resume(struct job *j, struct call *c)
{
	if (!j->spec->stunned) {
		call_refuse(c, -EALREADY, "job %s is not stunned", j->name);
		return;
	}
	if (j->out && !j->out->check_only) {
		call_refuse(c, -EBUSY, "job %s is being moved, or written into an image", j->name);
		return;
	}
	stun_wake(j);
	call_ok(c);
}

/* --- memory, in a thread of libuv's pool: what a page lies on may be slow, or never answer --- */

struct access {
	uv_work_t work;
	struct call *call;
	int fd;
	uint64_t address;
	size_t len;
	bool write;
	uint8_t *bytes;
	int result;
};

static void access_work(uv_work_t *work)
{
	struct access *a = work->data;
	ssize_t n;

	if (a->write)
		n = pwrite(a->fd, a->bytes, a->len, (off_t)a->address);
	else
		n = pread(a->fd, a->bytes, a->len, (off_t)a->address);
	a->result = n == (ssize_t)a->len ? 0 : n < 0 ? -errno : -EFAULT;
}

static void access_over(uv_work_t *work, int status)
{
	struct access *a = work->data;
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Data data = GODWIT__PROCD__DATA__INIT;
	Godwit__Procd__Written written = GODWIT__PROCD__WRITTEN__INIT;
	uint64_t base = a->call->by_cap ? a->call->priv.object : 0; /* what addresses count from */

	if (status < 0 || a->result < 0) {
		call_refuse(a->call, status < 0 ? status : a->result, "memory at %#llx: %s",
			    (unsigned long long)a->address, strerror(status < 0 ? -status : -a->result));
	} else if (a->write) {
		written.offset = a->address + a->len - base;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_WRITTEN;
		r.written = &written;
		call_reply(a->call, &r);
	} else {
		data.offset = a->address - base;
		data.bytes.data = a->bytes;
		data.bytes.len = a->len;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_DATA;
		r.data = &data;
		call_reply(a->call, &r);
	}
	fd_close(&a->fd);
	free(a->bytes);
	free(a);
}

static struct access *access_new(struct call *c, uint64_t address, size_t len, const uint8_t *bytes)
{
	struct access *a = xcalloc(1, sizeof *a);

	a->work.data = a;
	a->call = c;
	a->write = bytes;
	a->address = address;
	a->len = len;
	a->bytes = xcalloc(1, len + 1);
	if (bytes)
		memcpy(a->bytes, bytes, len);
	return a;
}

/* `bytes` NULL: reads. */
static void access_start(struct job *j, struct call *c, uint64_t address, size_t len, const uint8_t *bytes)
{
	struct access *a;
	char path[32];

	if (!len || len > MEMORY_MAX) {
		call_refuse(c, -EINVAL, "1 to %u bytes at once", MEMORY_MAX);
		return;
	}
	a = access_new(c, address, len, bytes);
	(void)snprintf(path, sizeof path, "/proc/%d/mem", j->pid);
	a->fd = open(path, (a->write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (a->fd < 0)
		call_refuse(c, -ESRCH, "job %s has ended", j->name);
	else if (uv_queue_work(j->p->loop, &a->work, access_work, access_over) == 0)
		return;
	else
		call_refuse(c, -EAGAIN, "too much is going on");
	fd_close(&a->fd);
	free(a->bytes);
	free(a);
}

void stun_memory(struct job *j, struct call *c)
{
	const Godwit__Procd__Request *q = c->request;

	if (!look_is_allowed(j, c))
		return;
	if (q->op_case == GODWIT__PROCD__REQUEST__OP_MEM_READ)
		access_start(j, c, q->mem_read->address, q->mem_read->length, NULL);
	else
		access_start(j, c, q->mem_write->address, q->mem_write->bytes.len,
			     q->mem_write->bytes.data ?: (const uint8_t *)"");
}

static void answer_size(struct call *c, uint64_t size)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Written written = GODWIT__PROCD__WRITTEN__INIT;

	written.offset = size;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_WRITTEN;
	r.written = &written;
	call_reply(c, &r);
}

void stun_segment(struct job *j, struct call *c)
{
	const Godwit__Procd__Request *q = c->request;
	uint64_t start = c->priv.object, size, offset, len;

	if (!look_is_allowed(j, c))
		return;
	size = look_segment(j, start);
	if (q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_SIZE && size) {
		answer_size(c, size);
		return;
	}
	offset = q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_READ    ? q->seg_read->offset
		 : q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_WRITE ? q->seg_write->offset
								      : 0;
	len = q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_READ	   ? q->seg_read->length
	      : q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_WRITE ? q->seg_write->bytes.len
								   : 0;
	if (offset > size || len > size - offset)
		call_refuse(c, -EINVAL, "the segment has %llu bytes", (unsigned long long)size);
	else if (q->op_case == GODWIT__PROCD__REQUEST__OP_SEG_READ)
		access_start(j, c, start + offset, len, NULL);
	else
		access_start(j, c, start + offset, len, q->seg_write->bytes.data ?: (const uint8_t *)"");
}
