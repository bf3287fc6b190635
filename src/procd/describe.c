/* SPDX-License-Identifier: Apache-2.0 */
/* What LIST, INFO and LOAD tell about jobs and about the host. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "procd/jobs.h"
#include "procd/migrate.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define LIST_MAX 1024u

/* State letter, threads and resident pages of a process, from /proc/PID/stat. */
static bool read_stat(pid_t pid, char *ret_state, uint32_t *ret_threads, uint64_t *ret_resident)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *at;
	unsigned threads;
	long pages;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (fd_slurp(AT_FDCWD, path, 4096, &text) < 0)
		return false;
	at = strrchr(text, ')'); /* the name before it may hold anything */
	if (!at || sscanf(at + 1,
			  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u %*d %*u %*u %ld",
			  ret_state, &threads, &pages) != 3)
		return false;
	*ret_threads = threads;
	*ret_resident = (uint64_t)MAX(pages, 0) * (uint64_t)sysconf(_SC_PAGESIZE);
	return true;
}

static Godwit__Procd__State state_of(struct job *j)
{
	char letter = 'R';
	uint32_t threads;
	uint64_t resident;

	switch (j->state) {
	case JOB_ARRIVING:
		return migrate_is_in_doubt(j) ? GODWIT__PROCD__STATE__IN_DOUBT : GODWIT__PROCD__STATE__ARRIVING;
	case JOB_LEAVING:
		return migrate_is_in_doubt(j) ? GODWIT__PROCD__STATE__IN_DOUBT : GODWIT__PROCD__STATE__MIGRATING;
	case JOB_EXITED:
	case JOB_ENDING:
		return GODWIT__PROCD__STATE__EXITED;
	default:
		break;
	}
	if (j->spec->stunned)
		return GODWIT__PROCD__STATE__STUNNED;
	if (migrate_is_going_on(j))
		return GODWIT__PROCD__STATE__MIGRATING;
	if (j->pid && read_stat(j->pid, &letter, &threads, &resident) && letter == 'T')
		return GODWIT__PROCD__STATE__STOPPED;
	return GODWIT__PROCD__STATE__RUNNING;
}

void jobs_describe(struct job *j, Godwit__Procd__Job *ret, struct job_scratch *scratch)
{
	char letter;

	godwit__procd__job__init(ret);
	ret->name = j->name;
	ret->host = j->p->settings.name;
	ret->pid = j->pid;
	ret->inner_pid = j->spec->leader;
	ret->uid = j->spec->uid;
	ret->state = state_of(j);
	ret->command = j->spec->command;
	ret->n_command = j->spec->n_command;
	ret->started_us = j->spec->started_us;
	ret->incarnation = j->incarnation;
	ret->terminal = j->spec->terminal;
	ret->attached = j->attached;
	ret->adopted = j->spec->adopted;
	ret->carry = j->spec->carry;
	ret->moves = j->spec->moves;
	if (j->pid)
		(void)read_stat(j->pid, &letter, &ret->threads, &ret->memory);
	if (j->state == JOB_EXITED) {
		scratch->exited = j->exited;
		ret->exited = &scratch->exited;
	}
	migrate_describe(j, ret);
}

void ops_list(struct procd *p, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Jobs jobs = GODWIT__PROCD__JOBS__INIT;
	_cleanup_free_ Godwit__Procd__Job *list = xcalloc(LIST_MAX, sizeof *list);
	_cleanup_free_ Godwit__Procd__Job **pointers = xcalloc(LIST_MAX, sizeof(void *));
	_cleanup_free_ struct job_scratch *scratch = xcalloc(LIST_MAX, sizeof *scratch);

	for (struct job *j = p->jobs; j; j = j->next) {
		size_t n = jobs.n_jobs;

		if (j->state == JOB_ENDING || (j->state == JOB_EXITED && !c->request->list->all))
			continue;
		if (n == LIST_MAX) {
			jobs.truncated = 1;
			break;
		}
		jobs_describe(j, &list[n], &scratch[n]);
		pointers[n] = &list[n];
		jobs.n_jobs++;
	}
	jobs.jobs = pointers;
	jobs.host = p->settings.name;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_JOBS;
	r.jobs = &jobs;
	call_reply(c, &r);
}

static uint64_t memory_field(const char *meminfo, const char *key)
{
	const char *at = strstr(meminfo, key);

	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static void read_memory(Godwit__Procd__LoadInfo *l)
{
	_cleanup_free_ char *text = NULL;

	if (fd_slurp(AT_FDCWD, "/proc/meminfo", 65536, &text) < 0)
		return;
	l->memory_total = memory_field(text, "MemTotal:");
	l->memory_available = memory_field(text, "MemAvailable:");
}

static void read_load(Godwit__Procd__LoadInfo *l)
{
	_cleanup_free_ char *text = NULL;
	double one, five, fifteen;
	unsigned running, all;

	if (fd_slurp(AT_FDCWD, "/proc/loadavg", 4096, &text) < 0 ||
	    sscanf(text, "%lf %lf %lf %u/%u", &one, &five, &fifteen, &running, &all) != 5)
		return;
	l->load1_milli = (uint64_t)(one * 1000);
	l->load5_milli = (uint64_t)(five * 1000);
	l->load15_milli = (uint64_t)(fifteen * 1000);
	l->processes = all;
}

void ops_load(struct procd *p, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__LoadInfo l = GODWIT__PROCD__LOAD_INFO__INIT;
	struct utsname u;

	(void)uname(&u);
	l.host = p->settings.name;
	l.cpus = (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
	l.kernel = u.release;
	l.version = (char *)(uintptr_t) "0.1";
	read_memory(&l);
	read_load(&l);
	for (const struct job *j = p->jobs; j; j = j->next)
		l.jobs += j->state == JOB_RUNNING || j->state == JOB_STARTING;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_LOAD;
	r.load = &l;
	call_reply(c, &r);
}

void ops_info(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Job job;
	struct job_scratch scratch;

	jobs_describe(j, &job, &scratch);
	r.result_case = GODWIT__PROCD__REPLY__RESULT_JOB;
	r.job = &job;
	call_reply(c, &r);
}
