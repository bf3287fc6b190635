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

#define MEMORY_MAX 65536u

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
	if (jobs_settle(j) < 0)
		log_error("job %s: cannot be thawed", j->name);
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

	if (status < 0 || a->result < 0) {
		call_refuse(a->call, status < 0 ? status : a->result, "memory at %#llx: %s",
			    (unsigned long long)a->address, strerror(status < 0 ? -status : -a->result));
	} else if (a->write) {
		written.offset = a->address + a->len;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_WRITTEN;
		r.written = &written;
		call_reply(a->call, &r);
	} else {
		data.offset = a->address;
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

static struct access *access_new(struct call *c)
{
	bool write = c->request->op_case == GODWIT__PROCD__REQUEST__OP_MEM_WRITE;
	struct access *a = xcalloc(1, sizeof *a);

	a->work.data = a;
	a->call = c;
	a->write = write;
	a->address = write ? c->request->mem_write->address : c->request->mem_read->address;
	a->len = write ? c->request->mem_write->bytes.len : c->request->mem_read->length;
	a->bytes = xcalloc(1, MIN(a->len, (size_t)MEMORY_MAX) + 1);
	if (write)
		memcpy(a->bytes, c->request->mem_write->bytes.data, MIN(a->len, (size_t)MEMORY_MAX));
	return a;
}

void stun_memory(struct job *j, struct call *c)
{
	struct access *a;
	char path[32];

	if (!look_is_allowed(j, c))
		return;
	a = access_new(c);
	(void)snprintf(path, sizeof path, "/proc/%d/mem", j->pid);
	a->fd = a->len <= MEMORY_MAX && a->len ? open(path, (a->write ? O_RDWR : O_RDONLY) | O_CLOEXEC) : -1;
	if (a->fd < 0)
		call_refuse(c, -EINVAL, "1 to %u bytes of a living process", MEMORY_MAX);
	else if (uv_queue_work(j->p->loop, &a->work, access_work, access_over) == 0)
		return;
	else
		call_refuse(c, -EAGAIN, "too much is going on");
	fd_close(&a->fd);
	free(a->bytes);
	free(a);
}
