/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to see of a job that stands still. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "checkpoint.pb-c.h"
#include "procd/caps.h"
#include "procd/jobs.h"
#include "procd/migrate.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define THREADS_MAX 4096u
#define WHERE(x) GODWIT__PROCD__THREAD_STATE__WHERE__##x

/* --- its threads --- */

struct threads {
	Godwit__Procd__Threads message;
	Godwit__Procd__ThreadState *pointers[THREADS_MAX], list[THREADS_MAX];
};

static Godwit__Procd__ThreadState *add_thread(struct threads *t, int32_t tid)
{
	Godwit__Procd__ThreadState *x;

	if (t->message.n_threads == THREADS_MAX)
		return NULL;
	x = &t->list[t->message.n_threads];
	godwit__procd__thread_state__init(x);
	x->tid = tid;
	t->pointers[t->message.n_threads++] = x;
	return x;
}

static void name_call(Godwit__Procd__ThreadState *x, int64_t nr)
{
	char *name = seccomp_syscall_resolve_num_arch(AUDIT_ARCH_X86_64, (int)nr);

	x->nr = nr;
	x->call = name ? xstrdup(name) : xasprintf("call %lld", (long long)nr);
	free(name);
}

static void from_message(struct threads *t, const Godwit__Ckpt__Thread *m)
{
	Godwit__Procd__ThreadState *x = add_thread(t, m->tid);
	struct user_regs_struct regs = { .orig_rax = (uint64_t)-1 };

	if (!x)
		return;
	memcpy(&regs, m->regs.data, MIN(sizeof regs, m->regs.len));
	x->name = xstrdup(m->comm);
	x->result = (int64_t)regs.rax;
	if (!m->call)
		return;
	if (m->call->kind != GODWIT__CKPT__SYS_CALL__KIND__NONE)
		x->where = WHERE(IN_CALL);
	else if (m->call->over || (int64_t)regs.orig_rax >= 0)
		x->where = WHERE(OUT_OF_CALL);
	if (x->where != WHERE(OWN_CODE))
		name_call(x, (int64_t)m->call->nr);
}

/* Without a message: what the kernel says about threads in its freezer. */
static void from_proc(struct threads *t, int tasks, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/syscall", name), *syscall = NULL;
	_cleanup_free_ char *path_comm = xasprintf("%s/comm", name), *path_status = xasprintf("%s/status", name);
	_cleanup_free_ char *comm = NULL, *status = NULL;
	Godwit__Procd__ThreadState *x;
	long long nr = -1;
	const char *line;

	if (fd_slurp(tasks, path, 4096, &syscall) < 0 || fd_slurp(tasks, path_comm, 64, &comm) < 0 ||
	    fd_slurp(tasks, path_status, 65536, &status) < 0)
		return;
	line = strstr(status, "\nNSpid:");
	line = line ? strrchr(strndupa(line + 1, strcspn(line + 1, "\n")), '\t') : NULL;
	x = add_thread(t, line ? atoi(line + 1) : atoi(name));
	if (!x)
		return;
	comm[strcspn(comm, "\n")] = '\0';
	x->name = xstrdup(comm);
	if (sscanf(syscall, "%lld", &nr) != 1 || nr < 0)
		return;
	x->where = WHERE(IN_CALL);
	name_call(x, nr);
}

static void read_proc(struct threads *t, pid_t leader)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/task", leader);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			from_proc(t, dirfd(dir), entry->d_name);
	if (dir)
		(void)closedir(dir);
}

static bool read_message(struct threads *t, const struct job *j)
{
	_cleanup_free_ char *path = stun_message_path(j), *bytes = NULL;
	ssize_t len = fd_slurp(AT_FDCWD, path, STUN_MESSAGE_MAX, &bytes);
	Godwit__Ckpt__Job *m = len > 0 ? godwit__ckpt__job__unpack(NULL, (size_t)len, (uint8_t *)bytes) : NULL;

	for (size_t i = 0; m && i < m->n_processes; i++)
		for (size_t k = 0; k < m->processes[i]->n_threads; k++)
			from_message(t, m->processes[i]->threads[k]);
	if (m)
		godwit__ckpt__job__free_unpacked(m, NULL);
	return t->message.n_threads;
}

bool look_is_allowed(const struct job *j, struct call *c)
{
	if (!j->spec->stunned || !j->pid || migrate_is_moving(j))
		call_refuse(c, -EBUSY, "job %s is not stunned", j->name);
	else if (!jobs_may_look(j, c))
		call_refuse(c, -EPERM, "job %s has privileges that you have not", j->name);
	else
		return true;
	return false;
}

void look_threads(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	struct threads *t;

	if (!look_is_allowed(j, c))
		return;
	t = xcalloc(1, sizeof *t);
	godwit__procd__threads__init(&t->message);
	t->message.threads = t->pointers;
	if (!read_message(t, j))
		read_proc(t, j->pid);
	r.result_case = GODWIT__PROCD__REPLY__RESULT_THREADS;
	r.threads = &t->message;
	call_reply(c, &r);
	for (size_t i = 0; i < t->message.n_threads; i++) {
		if (t->list[i].name != protobuf_c_empty_string)
			free(t->list[i].name);
		if (t->list[i].call != protobuf_c_empty_string)
			free(t->list[i].call);
	}
	free(t);
}

/* --- its segments --- */

#define SEGMENTS_MAX 65536u
#define MAPS_MAX (64u << 20)

struct one_segment {
	Godwit__Procd__Segment message;
	Godwit__Procd__Capability cap;
	struct gw_cap made;
};

/* A line of maps; `ret_name` points into it. False: what is the kernel's, and cannot be read. */
static bool parse_line(char *line, Godwit__Procd__Segment *ret)
{
	unsigned long long start, end;
	char prot[5];
	int at = 0;

	if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n", &start, &end, prot, &at) != 3 || !at)
		return false;
	godwit__procd__segment__init(ret);
	ret->name = line + at;
	ret->address = start;
	ret->length = end - start;
	ret->prot = (prot[0] == 'r') | (uint32_t)(prot[1] == 'w') << 1 | (uint32_t)(prot[2] == 'x') << 2;
	ret->shared = prot[3] == 's';
	return strncmp(ret->name, "[vvar", 5) && strcmp(ret->name, "[vsyscall]") != 0 && start;
}

static char *read_maps(const struct job *j)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/maps", j->pid);
	char *text = NULL;

	return fd_slurp(AT_FDCWD, path, MAPS_MAX, &text) > 0 ? text : NULL;
}

uint64_t look_segment(const struct job *j, uint64_t address)
{
	_cleanup_free_ char *maps = read_maps(j);
	Godwit__Procd__Segment s;
	char *next = maps, *line;

	while (next && (line = strsep(&next, "\n")) && *line)
		if (parse_line(line, &s) && s.address == address)
			return s.length;
	return 0;
}

static void add_capability(const struct job *j, const struct call *c, struct one_segment *s)
{
	/* Whoever has not all rights to the job gets no more than his to a segment. */
	uint32_t rights = c->rights == GW_RIGHTS_ALL ? GW_RIGHTS_ALL : c->rights & (GW_PSR_READ | GW_PSR_WRITE);

	caps_make(j, s->message.address, rights, &s->made);
	godwit__procd__capability__init(&s->cap);
	s->cap.port = (ProtobufCBinaryData) { GW_PORT_LEN, s->made.port.bytes };
	s->cap.object = s->made.priv.object;
	s->cap.rights = s->made.priv.rights;
	s->cap.check = (ProtobufCBinaryData) { GW_CHECK_LEN, s->made.priv.check };
	s->message.capability = &s->cap;
}

void look_segments(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Segments all = GODWIT__PROCD__SEGMENTS__INIT;
	_cleanup_free_ struct one_segment *list = NULL;
	_cleanup_free_ Godwit__Procd__Segment **pointers = NULL;
	_cleanup_free_ char *maps = NULL;
	char *next, *line;

	if (!look_is_allowed(j, c))
		return;
	next = maps = read_maps(j);
	list = xcalloc(SEGMENTS_MAX, sizeof(*list));
	pointers = xcalloc(SEGMENTS_MAX, sizeof(*pointers));
	while (next && (line = strsep(&next, "\n")) && *line && all.n_segments < SEGMENTS_MAX) {
		struct one_segment *s = &list[all.n_segments];

		if (!parse_line(line, &s->message))
			continue;
		add_capability(j, c, s);
		pointers[all.n_segments++] = &s->message;
	}
	all.segments = pointers;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_SEGMENTS;
	r.segments = &all;
	call_reply(c, &r);
}
